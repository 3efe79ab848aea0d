//! Any decoded picture becomes grey ink on opaque paper, of a size that is quick to work on.

use image::metadata::Orientation;
use image::{DynamicImage, GrayImage, Luma, RgbImage, Rgba, RgbaImage};

/// Larger pictures are shrunk by a whole factor: digits are read at 20 pixels, and this leaves many on a page.
const MAX_PIXELS: u64 = 1_000_000;
/// A colour channel is taken for grey where it spreads this much wider than brightness, as with green ink on red.
const CHANNEL_GAIN: f64 = 2.0;

/// Grey levels of the upright picture, shrunk by the whole factor that is returned with them.
pub fn grey(image: DynamicImage, orientation: Orientation) -> (GrayImage, u32) {
    let factor = factor(image.width(), image.height());
    let mut small = DynamicImage::ImageRgba8(shrink(image, factor));
    small.apply_orientation(orientation);
    (clearest(&on_paper(&small.into_rgba8())), factor)
}

fn factor(width: u32, height: u32) -> u32 {
    let pixels = u64::from(width) * u64::from(height);
    let factor = (1..).find(|factor| pixels <= MAX_PIXELS * factor * factor);
    // A factor may not swallow the shorter side.
    factor.map_or(1, |factor| factor as u32).min(width.min(height)).max(1)
}

/// Means of `factor` x `factor` pixels, colour weighted by opacity.
fn shrink(image: DynamicImage, factor: u32) -> RgbaImage {
    match image {
        DynamicImage::ImageLuma8(image) => means(&image, factor, |&[luma]| [luma, luma, luma, 255]),
        DynamicImage::ImageRgb8(image) => means(&image, factor, |&[r, g, b]| [r, g, b, 255]),
        other => means(&other.into_rgba8(), factor, |&rgba| rgba),
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

/// Fills what is transparent with paper: with the opaque colour's like where most is opaque, else with white, or with
/// black under light ink.
fn on_paper(image: &RgbaImage) -> RgbImage {
    let (mut light, mut opaque) = (0u64, 0u64);
    for pixel in image.pixels() {
        let alpha = u64::from(pixel.0[3]);
        light += u64::from(luma(pixel)) * alpha;
        opaque += alpha;
    }
    let opaque_is_light = light >= 128 * opaque.max(1);
    let mostly_opaque = opaque * 2 > 255 * image.len() as u64 / 4;
    let paper = if opaque_is_light == mostly_opaque { 255 } else { 0 };
    RgbImage::from_fn(image.width(), image.height(), |x, y| {
        let [r, g, b, alpha] = image.get_pixel(x, y).0.map(u32::from);
        image::Rgb([r, g, b].map(|value| ((value * alpha + paper * (255 - alpha) + 127) / 255) as u8))
    })
}

fn luma(pixel: &Rgba<u8>) -> u8 {
    let [r, g, b, _] = pixel.0;
    brightness([r, g, b])
}

/// Brightness as Rec. 601 weighs it.
fn brightness([r, g, b]: [u8; 3]) -> u8 {
    ((77 * u32::from(r) + 150 * u32::from(g) + 29 * u32::from(b) + 128) >> 8) as u8
}

/// Brightness, or the channel that shows far more than brightness does.
fn clearest(image: &RgbImage) -> GrayImage {
    let plane = |value: &dyn Fn([u8; 3]) -> u8| {
        GrayImage::from_fn(image.width(), image.height(), |x, y| {
            Luma([value(image.get_pixel(x, y).0)])
        })
    };
    let grey = plane(&brightness);
    let mut widest = spread(&grey) * CHANNEL_GAIN;
    let mut best = grey;
    for channel in 0..3 {
        let one = plane(&|pixel: [u8; 3]| pixel[channel]);
        if spread(&one) > widest {
            widest = spread(&one);
            best = one;
        }
    }
    best
}

/// Standard deviation of the levels.
fn spread(grey: &GrayImage) -> f64 {
    let n = grey.len().max(1) as f64;
    let (sum, squares) = grey.iter().fold((0u64, 0u64), |(sum, squares), &level| {
        let level = u64::from(level);
        (sum + level, squares + level * level)
    });
    let mean = sum as f64 / n;
    (squares as f64 / n - mean * mean).max(0.0).sqrt()
}
