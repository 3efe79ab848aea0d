//! The bytes of a picture file become pixels, and nothing is allocated before its size is known to be modest.

use std::io::Cursor;

use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageError, ImageReader, Limits};

use super::GlyphError;

/// Largest file that is decoded.
pub const MAX_FILE_BYTES: usize = 64 << 20;
/// Largest width and height that are decoded.
pub const MAX_SIDE: u32 = 16_384;
/// Most bytes of decoded pixels, 24 megapixels in colour. Decoders hold up to as much again, and the whole must stay
/// under 200 MB.
pub const MAX_DECODED_BYTES: u64 = 71 << 20;

/// Decodes by content and not by name; the orientation is what EXIF says of how to turn the picture upright.
///
/// # Errors
/// When the bytes are no readable picture, or the picture is too large.
pub fn decode(bytes: &[u8]) -> Result<(DynamicImage, Orientation), GlyphError> {
    if bytes.len() > MAX_FILE_BYTES {
        return Err(GlyphError::TooLarge);
    }
    let mut reader = ImageReader::new(Cursor::new(bytes))
        .with_guessed_format()
        .map_err(|error| GlyphError::Decode(error.into()))?;
    reader.limits(limits());
    let mut decoder = reader.into_decoder().map_err(refusal)?;
    let (width, height) = decoder.dimensions();
    // Not every decoder looks at the limits.
    if width > MAX_SIDE || height > MAX_SIDE || decoder.total_bytes() > MAX_DECODED_BYTES {
        return Err(GlyphError::TooLarge);
    }
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let image = DynamicImage::from_decoder(decoder).map_err(refusal)?;
    if width == 0 || height == 0 {
        return Err(GlyphError::Blank);
    }
    Ok((image, orientation))
}

/// Width times height as the picture's header says; `None` where nothing more than the header is read.
pub fn pixels(bytes: &[u8]) -> Option<u64> {
    let reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format().ok()?;
    let (width, height) = reader.into_dimensions().ok()?;
    let pixels = u64::from(width) * u64::from(height);
    (width <= MAX_SIDE && height <= MAX_SIDE && pixels <= MAX_DECODED_BYTES).then_some(pixels)
}

fn limits() -> Limits {
    let mut limits = Limits::default();
    limits.max_image_width = Some(MAX_SIDE);
    limits.max_image_height = Some(MAX_SIDE);
    limits.max_alloc = Some(2 * MAX_DECODED_BYTES);
    limits
}

fn refusal(error: ImageError) -> GlyphError {
    match error {
        ImageError::Limits(_) => GlyphError::TooLarge,
        other => GlyphError::Decode(other),
    }
}
