//! Any decoded picture becomes grey ink on opaque paper, of a size that is quick to work on.

use image::imageops::{self, FilterType};
use image::metadata::Orientation;
use image::{DynamicImage, GrayImage, RgbaImage};

use super::in_vectors;

/// Larger pictures are shrunk by the whole factor that comes nearest to so many pixels: digits are read at 20 pixels, and this
/// leaves many on a page.
const PIXELS: u64 = 1_000_000;
/// Pictures whose longer side is shorter are enlarged by a whole factor: strokes and the ground between them are two pixels wide
/// then, so that the threshold leaves both.
const SHORTEST: u32 = 32;
/// A colour channel is taken for grey where it spreads this much wider than brightness, as with green ink on red.
const CHANNEL_GAIN: f64 = 2.0;
/// Rows of the shrunk picture that are made at once.
const STRIP: u32 = 16;
/// Pixels that are added up at once: their sums and squares fit into 32 bits, and they stay in the cache.
const BLOCK: usize = 1024;

/// Grey levels of the upright picture, shrunk by a whole factor or enlarged by one, which are returned with them.
pub fn grey(image: DynamicImage, orientation: Orientation) -> (GrayImage, (u32, u32)) {
    let (width, height) = (image.width(), image.height());
    let factor = factor(width, height);
    let levels = match image {
        large if factor > 1 => clearest(shrink(large, factor).as_chunks::<4>().0),
        DynamicImage::ImageLuma8(grey) => grey.into_raw(),
        DynamicImage::ImageRgb8(opaque) => clearest(opaque.as_chunks::<3>().0),
        other => clearest(other.into_rgba8().as_chunks::<4>().0),
    };
    let grey = GrayImage::from_raw(width / factor, height / factor, levels).expect("there is a level for every pixel");
    let enlarged = SHORTEST.div_ceil(width.max(height));
    let mut upright = DynamicImage::ImageLuma8(match enlarged {
        1 => grey,
        times => imageops::resize(&grey, width * times, height * times, FilterType::CatmullRom),
    });
    upright.apply_orientation(orientation);
    (upright.into_luma8(), (factor, enlarged))
}

fn factor(width: u32, height: u32) -> u32 {
    let pixels = u64::from(width) * u64::from(height);
    let factor = (1..).find(|factor| 4 * pixels <= PIXELS * (2 * factor + 1) * (2 * factor + 1));
    // A factor may not swallow the shorter side.
    factor.map_or(1, |factor| factor as u32).min(width.min(height)).max(1)
}

/// Means of `factor` x `factor` pixels, colour weighted by opacity.
fn shrink(image: DynamicImage, factor: u32) -> RgbaImage {
    match image {
        DynamicImage::ImageLuma8(image) => means(&image, factor, |&[luma]| [luma, luma, luma, 255]),
        DynamicImage::ImageLumaA8(image) => means(&image, factor, |&[luma, alpha]| [luma, luma, luma, alpha]),
        DynamicImage::ImageRgb8(image) => means(&image, factor, |&[r, g, b]| [r, g, b, 255]),
        DynamicImage::ImageRgba8(image) => means(&image, factor, |&rgba| rgba),
        other => {
            // In strips, for the whole would be large once more.
            let (width, height) = (other.width() / factor, other.height() / factor);
            let strip = |top: u32| {
                let strip = other.crop_imm(0, top * factor, other.width(), STRIP.min(height - top) * factor);
                means(&strip.into_rgba8(), factor, |&rgba| rgba).into_raw()
            };
            let levels = (0..height).step_by(STRIP as usize).flat_map(strip).collect();
            RgbaImage::from_raw(width, height, levels).expect("the strips make the picture")
        }
    }
}

fn means<P, const N: usize>(
    image: &image::ImageBuffer<P, Vec<u8>>,
    factor: u32,
    rgba: impl Fn(&[u8; N]) -> [u8; 4],
) -> RgbaImage
where
    P: image::Pixel<Subpixel = u8>,
{
    let (width, height) = (image.width() / factor, image.height() / factor);
    let (stride, side) = (image.width() as usize * N, factor as usize);
    let mut small = RgbaImage::new(width, height);
    let bands = image.as_raw().chunks_exact(stride * side);
    let mut sums = vec![[0u32; 4]; width as usize];
    for (band, line) in bands.zip(small.chunks_exact_mut(4 * width as usize)) {
        sums.fill([0; 4]);
        for row in band.chunks_exact(stride) {
            for (sum, block) in sums.iter_mut().zip(row.as_chunks::<N>().0.chunks_exact(side)) {
                for pixel in block {
                    let [r, g, b, alpha] = rgba(pixel).map(u32::from);
                    *sum = [
                        sum[0] + r * alpha,
                        sum[1] + g * alpha,
                        sum[2] + b * alpha,
                        sum[3] + alpha,
                    ];
                }
            }
        }
        for (pixel, &[r, g, b, alpha]) in line.as_chunks_mut::<4>().0.iter_mut().zip(&sums) {
            let mean = |sum: u32| ((sum + alpha / 2) / alpha.max(1)) as u8;
            *pixel = [mean(r), mean(g), mean(b), (alpha / (factor * factor)) as u8];
        }
    }
    small
}

/// Brightness on paper, or the channel that shows far more than brightness does.
fn clearest<const N: usize>(pixels: &[[u8; N]]) -> Vec<u8> {
    let paper = paper(pixels);
    let mut levels = vec![0; pixels.len()];
    let mut spreads = [Spread::default(); 3];
    let mut grey = Spread::default();
    let mut channels = [[0; BLOCK]; 3];
    for (pixels, levels) in pixels.chunks(BLOCK).zip(levels.chunks_mut(BLOCK)) {
        in_vectors(|| lay(pixels, paper, &mut channels));
        in_vectors(|| brighten(levels, &channels));
        grey.add(levels);
        for (spread, channel) in spreads.iter_mut().zip(&channels) {
            spread.add(&channel[..pixels.len()]);
        }
    }
    let deviations = spreads.map(Spread::deviation);
    let widest = deviations.into_iter().fold(0.0, f64::max);
    if widest > CHANNEL_GAIN * grey.deviation() {
        let channel = deviations.iter().position(|&one| one == widest);
        let channel = channel.expect("one of the channels is the widest");
        for (pixels, levels) in pixels.chunks(BLOCK).zip(levels.chunks_mut(BLOCK)) {
            lay(pixels, paper, &mut channels);
            levels.copy_from_slice(&channels[channel][..pixels.len()]);
        }
    }
    levels
}

/// What lies under transparent pixels: paper like the opaque colour where most is opaque, else white, or black under
/// light ink.
fn paper<const N: usize>(pixels: &[[u8; N]]) -> u8 {
    let (mut light, mut opaque) = (0u64, 0u64);
    for pixels in pixels.chunks(BLOCK) {
        let (block_light, block_opaque) = in_vectors(|| opaque_light(pixels));
        light += u64::from(block_light);
        opaque += u64::from(block_opaque);
    }
    let opaque_is_light = light >= 128 * opaque.max(1);
    let mostly_opaque = opaque * 2 > 255 * pixels.len() as u64;
    if opaque_is_light == mostly_opaque { 255 } else { 0 }
}

/// Brightness weighted by opacity, and opacity, of up to [`BLOCK`] pixels.
#[inline(always)]
fn opaque_light<const N: usize>(pixels: &[[u8; N]]) -> (u32, u32) {
    let (mut light, mut opaque) = (0, 0);
    for pixel in pixels {
        let alpha = u32::from(alpha(pixel));
        light += u32::from(brightness(pixel[0], pixel[1], pixel[2])) * alpha;
        opaque += alpha;
    }
    (light, opaque)
}

/// Opacity, which is full where a pixel has only three channels.
#[inline(always)]
fn alpha<const N: usize>(pixel: &[u8; N]) -> u8 {
    pixel.get(3).copied().unwrap_or(255)
}

/// Brightness as Rec. 601 weighs it.
#[inline(always)]
fn brightness(red: u8, green: u8, blue: u8) -> u8 {
    ((77 * u16::from(red) + 150 * u16::from(green) + 29 * u16::from(blue) + 128) >> 8) as u8
}

/// Lays up to [`BLOCK`] pixels on paper, each channel on its own.
#[inline(always)]
fn lay<const N: usize>(pixels: &[[u8; N]], paper: u8, channels: &mut [[u8; BLOCK]; 3]) {
    let [red, green, blue] = channels;
    for (((pixel, red), green), blue) in pixels.iter().zip(red).zip(green).zip(blue) {
        let alpha = u16::from(alpha(pixel));
        let beneath = u16::from(paper) * (255 - alpha) + 127;
        let laid = |value: u8| match N {
            3 => value,
            _ => ((u16::from(value) * alpha + beneath) / 255) as u8,
        };
        (*red, *green, *blue) = (laid(pixel[0]), laid(pixel[1]), laid(pixel[2]));
    }
}

/// The brightness of every pixel.
#[inline(always)]
fn brighten(levels: &mut [u8], [red, green, blue]: &[[u8; BLOCK]; 3]) {
    for (((level, red), green), blue) in levels.iter_mut().zip(red).zip(green).zip(blue) {
        *level = brightness(*red, *green, *blue);
    }
}

/// Levels added up.
#[derive(Clone, Copy, Default)]
struct Spread {
    n: u64,
    sum: u64,
    squares: u64,
}

impl Spread {
    /// Adds up to [`BLOCK`] levels.
    fn add(&mut self, levels: &[u8]) {
        self.n += levels.len() as u64;
        let (sum, squares) = in_vectors(|| {
            let levels = levels.iter().copied().map(u32::from);
            levels.fold((0, 0), |(sum, squares), level| (sum + level, squares + level * level))
        });
        self.sum += u64::from(sum);
        self.squares += u64::from(squares);
    }

    /// Standard deviation of the levels.
    fn deviation(self) -> f64 {
        let n = self.n.max(1) as f64;
        let mean = self.sum as f64 / n;
        (self.squares as f64 / n - mean * mean).max(0.0).sqrt()
    }
}
