//! Any picture of one digit becomes a [`Digit`] as MNIST has it: light on dark, the ink's longer side 20 pixels,
//! its centre of mass in the middle.
//!
//! The steps, in order: decode within limits, turn upright, lay on paper, find the polarity, crop the ink, scale, centre.

use std::io::Cursor;

use image::imageops::{self, FilterType};
use image::{DynamicImage, GrayImage, ImageDecoder, ImageError, ImageReader, Limits};

use crate::{Digit, PIXELS, SIDE};

/// Longer side of the ink's bounding box in a digit, in pixels.
pub const INK_BOX: usize = 20;
/// Row and column of the ink's centre of mass, pixel centres counted from 0.
pub const CENTER: f64 = 14.0;

/// Largest file that is decoded, in bytes.
pub const MAX_FILE_BYTES: usize = 64 << 20;
/// Largest width and height that are decoded.
const MAX_SIDE: u32 = 16_384;
/// Most memory that decoding may take.
const MAX_DECODED_BYTES: u64 = 256 << 20;
/// A picture whose lightest and darkest pixels differ by less shows nothing.
const MIN_CONTRAST: u8 = 16;

/// Why a picture gives no digit.
#[derive(Debug, thiserror::Error)]
pub enum GlyphError {
    /// No picture in a known format, or broken.
    #[error("not a readable picture: {0}")]
    Decode(ImageError),
    /// The picture is larger than what is decoded.
    #[error("the picture is too large: at most {MAX_SIDE} pixels a side and {} MiB decoded are read", MAX_DECODED_BYTES >> 20)]
    TooLarge,
    /// Nothing is drawn.
    #[error("no digit found: the picture is blank")]
    Blank,
}

/// Reads a picture file (PNG, JPEG, GIF, BMP, WebP, TIFF, PNM) from its bytes and makes a digit of it.
///
/// # Errors
/// When the bytes are no readable picture, the picture is too large, or nothing is drawn on it.
pub fn read(bytes: &[u8]) -> Result<Digit, GlyphError> {
    from_image(&decode(bytes)?)
}

/// Makes a digit of a decoded picture.
///
/// # Errors
/// When nothing is drawn on the picture.
pub fn from_image(image: &DynamicImage) -> Result<Digit, GlyphError> {
    let ink = light_on_dark(on_paper(image))?;
    Ok(center(&crop(&ink)))
}

/// Decodes within limits, by content and not by name, and turns upright by EXIF.
fn decode(bytes: &[u8]) -> Result<DynamicImage, GlyphError> {
    if bytes.len() > MAX_FILE_BYTES {
        return Err(GlyphError::TooLarge);
    }
    let mut limits = Limits::default();
    limits.max_image_width = Some(MAX_SIDE);
    limits.max_image_height = Some(MAX_SIDE);
    limits.max_alloc = Some(MAX_DECODED_BYTES);
    let mut reader = ImageReader::new(Cursor::new(bytes))
        .with_guessed_format()
        .map_err(|error| GlyphError::Decode(error.into()))?;
    reader.limits(limits);
    let too_large = |error| match error {
        ImageError::Limits(_) => GlyphError::TooLarge,
        other => GlyphError::Decode(other),
    };
    let mut decoder = reader.into_decoder().map_err(too_large)?;
    if decoder.total_bytes() > MAX_DECODED_BYTES {
        return Err(GlyphError::TooLarge);
    }
    let orientation = decoder.orientation().map_err(too_large)?;
    let mut image = DynamicImage::from_decoder(decoder).map_err(too_large)?;
    image.apply_orientation(orientation);
    Ok(image)
}

/// Grey levels of the picture on white paper, or on black where its opaque ink is light.
fn on_paper(image: &DynamicImage) -> GrayImage {
    let pixels = image.to_luma_alpha8();
    let (mut ink, mut weight) = (0u64, 0u64);
    for pixel in pixels.pixels() {
        let [luma, alpha] = pixel.0.map(u64::from);
        ink += luma * alpha;
        weight += alpha;
    }
    let transparent = pixels.pixels().any(|pixel| pixel.0[1] < 255);
    let paper = if transparent && weight > 0 && ink / weight >= 128 {
        0
    } else {
        255
    };
    GrayImage::from_fn(pixels.width(), pixels.height(), |x, y| {
        let [luma, alpha] = pixels.get_pixel(x, y).0.map(u32::from);
        image::Luma([((luma * alpha + paper * (255 - alpha) + 127) / 255) as u8])
    })
}

/// Stretches the grey levels to 0..=255 with the border dark, which makes the ink light.
fn light_on_dark(mut grey: GrayImage) -> Result<GrayImage, GlyphError> {
    let lightest = grey.iter().copied().max().unwrap_or(0);
    let darkest = grey.iter().copied().min().unwrap_or(0);
    if lightest - darkest < MIN_CONTRAST {
        return Err(GlyphError::Blank);
    }
    let ground = border_median(&grey);
    let inverted = u16::from(ground) * 2 > u16::from(lightest) + u16::from(darkest);
    let range = if inverted { ground - darkest } else { lightest - ground };
    for value in grey.iter_mut() {
        let ink = if inverted {
            ground.saturating_sub(*value)
        } else {
            value.saturating_sub(ground)
        };
        *value = (u16::from(ink) * 255 / u16::from(range)) as u8;
    }
    Ok(grey)
}

fn border_median(grey: &GrayImage) -> u8 {
    let (width, height) = grey.dimensions();
    let rows = (0..width).flat_map(|x| [(x, 0), (x, height - 1)]);
    let columns = (0..height).flat_map(|y| [(0, y), (width - 1, y)]);
    let mut border: Vec<u8> = rows.chain(columns).map(|(x, y)| grey.get_pixel(x, y).0[0]).collect();
    border.sort_unstable();
    border[border.len() / 2]
}

/// The bounding box of what is at least half as light as the lightest ink.
fn crop(ink: &GrayImage) -> GrayImage {
    let (mut left, mut top, mut right, mut bottom) = (u32::MAX, u32::MAX, 0, 0);
    for (x, y, pixel) in ink.enumerate_pixels() {
        if pixel.0[0] >= 128 {
            (left, top) = (left.min(x), top.min(y));
            (right, bottom) = (right.max(x), bottom.max(y));
        }
    }
    imageops::crop_imm(ink, left, top, right - left + 1, bottom - top + 1).to_image()
}

/// Scales the ink to [`INK_BOX`] and puts its centre of mass at [`CENTER`].
fn center(ink: &GrayImage) -> Digit {
    let longer = ink.width().max(ink.height());
    let scaled = |side: u32| (side * INK_BOX as u32).div_ceil(longer).max(1);
    let small = imageops::resize(ink, scaled(ink.width()), scaled(ink.height()), FilterType::Triangle);
    let (mut mass, mut mass_x, mut mass_y) = (0.0, 0.0, 0.0);
    for (x, y, pixel) in small.enumerate_pixels() {
        let value = f64::from(pixel.0[0]);
        mass += value;
        mass_x += value * f64::from(x);
        mass_y += value * f64::from(y);
    }
    let offset = |moment: f64, side: u32| {
        let free = SIDE as i64 - i64::from(side);
        ((CENTER - moment / f64::max(mass, 1.0)).round() as i64).clamp(0, free)
    };
    let (left, top) = (offset(mass_x, small.width()), offset(mass_y, small.height()));
    let mut digit = Digit([0; PIXELS]);
    for (x, y, pixel) in small.enumerate_pixels() {
        digit.0[(top as usize + y as usize) * SIDE + left as usize + x as usize] = pixel.0[0];
    }
    digit
}

#[cfg(test)]
mod tests {
    use image::{ImageFormat, Luma, LumaA};

    use super::*;

    /// A thick seven with the given ink and paper, away from the middle.
    fn seven(ink: u8, paper: u8) -> GrayImage {
        GrayImage::from_fn(100, 80, |x, y| {
            let bar = (40..80).contains(&x) && (10..16).contains(&y);
            let stem = (10..70).contains(&y) && (x + y / 2).abs_diff(82) < 4;
            Luma([if bar || stem { ink } else { paper }])
        })
    }

    fn png(image: impl Into<DynamicImage>) -> Vec<u8> {
        let mut bytes = Cursor::new(Vec::new());
        image.into().write_to(&mut bytes, ImageFormat::Png).unwrap();
        bytes.into_inner()
    }

    #[track_caller]
    fn check(image: impl Into<DynamicImage>) {
        let expected = read(&png(seven(255, 0))).unwrap();
        let found = read(&png(image)).unwrap();
        assert_eq!(found, expected, "{found:?}");
    }

    #[test]
    fn ink_and_paper_do_not_matter() {
        check(seven(0, 255));
        check(seven(40, 200));
        check(seven(220, 90));
    }

    #[test]
    fn transparency_is_paper() {
        for ink in [0, 255] {
            check(image::GrayAlphaImage::from_fn(100, 80, |x, y| {
                LumaA([ink, seven(255, 0).get_pixel(x, y).0[0]])
            }));
        }
    }

    #[test]
    fn the_ink_fills_the_box_around_its_centre() {
        let digit = read(&png(seven(0, 255))).unwrap();
        let rows: Vec<_> = (0..SIDE)
            .filter(|row| digit.0[row * SIDE..][..SIDE].iter().any(|&b| b > 0))
            .collect();
        assert_eq!(rows.len(), INK_BOX);
        let mass: f64 = digit.0.iter().map(|&b| f64::from(b)).sum();
        let moment: f64 = digit
            .0
            .iter()
            .enumerate()
            .map(|(i, &b)| f64::from(b) * (i / SIDE) as f64)
            .sum();
        assert!((moment / mass - CENTER).abs() <= 0.5);
    }

    #[test]
    fn refuses_blank_broken_and_huge_pictures() {
        assert!(matches!(read(&png(GrayImage::new(28, 28))), Err(GlyphError::Blank)));
        assert!(matches!(read(b"<html>"), Err(GlyphError::Decode(_))));
        assert!(matches!(
            read(&png(GrayImage::new(MAX_SIDE + 1, 1))),
            Err(GlyphError::TooLarge)
        ));
    }
}
