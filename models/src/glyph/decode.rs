//! The bytes of a picture file become pixels, and nothing is allocated before its size is known to be modest.

use std::io::Cursor;

use image::metadata::Orientation;
use image::{ColorType, DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader, Limits};

use super::GlyphError;

/// Largest file that is decoded.
pub const MAX_FILE_BYTES: usize = 56 << 20;
/// Largest width and height that are decoded.
pub const MAX_SIDE: u32 = 16_384;
/// Most bytes of decoded pixels, 24 megapixels in colour.
pub const MAX_DECODED_BYTES: u64 = 71 << 20;
/// Most bytes of the file and of what its decoder holds, so that the whole stays under 200 MB.
const MAX_MEMORY: u64 = 178 << 20;

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
    let format = reader.format();
    let mut decoder = reader.into_decoder().map_err(refusal)?;
    let (width, height) = decoder.dimensions();
    let decoded = decoder.total_bytes();
    let copies = format.map_or(1, |format| copies(format, decoder.color_type(), bytes));
    // Not every decoder looks at the limits.
    if is_too_large(width, height, decoded) || bytes.len() as u64 + copies * decoded > MAX_MEMORY {
        return Err(GlyphError::TooLarge);
    }
    if format == Some(ImageFormat::Gif) {
        // Its frame is read beside the screen, and may be larger than it.
        let mut limits = limits();
        limits.max_alloc = Some(decoded);
        decoder.set_limits(limits).map_err(refusal)?;
    }
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let image = DynamicImage::from_decoder(decoder).map_err(refusal)?;
    check(&image)?;
    Ok((image, orientation))
}

/// Whether pixels can be worked on.
///
/// # Errors
/// When there are too many, or none.
pub fn check(image: &DynamicImage) -> Result<(), GlyphError> {
    let (width, height) = (image.width(), image.height());
    if is_too_large(width, height, image.as_bytes().len() as u64) {
        return Err(GlyphError::TooLarge);
    }
    if width == 0 || height == 0 {
        return Err(GlyphError::Blank);
    }
    Ok(())
}

fn is_too_large(width: u32, height: u32, bytes: u64) -> bool {
    width > MAX_SIDE || height > MAX_SIDE || bytes > MAX_DECODED_BYTES
}

/// Width times height as the picture's header says; `None` where nothing more than the header is read.
pub fn pixels(bytes: &[u8]) -> Option<u64> {
    let reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format().ok()?;
    let (width, height) = reader.into_dimensions().ok()?;
    let pixels = u64::from(width) * u64::from(height);
    (width <= MAX_SIDE && height <= MAX_SIDE && pixels <= MAX_DECODED_BYTES).then_some(pixels)
}

/// How many times the size of the decoded pixels a decoder holds, at most.
fn copies(format: ImageFormat, color: ColorType, bytes: &[u8]) -> u64 {
    match format {
        // All coefficients, twice as large as the pixels.
        ImageFormat::Jpeg if is_progressive(bytes) => 3,
        // The planes of brightness and colour, and a picture of the opacity.
        ImageFormat::WebP if color.has_alpha() => 3,
        ImageFormat::WebP | ImageFormat::Tiff | ImageFormat::Gif => 2,
        _ => 1,
    }
}

/// Whether the frame of a JPEG file is progressive, of which its decoder does not tell.
fn is_progressive(jpeg: &[u8]) -> bool {
    let mut rest = jpeg.get(2..).unwrap_or_default();
    while let [0xff, marker, high, low, ..] = *rest {
        match marker {
            0xc2 | 0xc6 | 0xca | 0xce => return true,
            0xc0 | 0xc1 | 0xda => return false,
            // A marker may stand behind any number of these.
            0xff => rest = &rest[1..],
            _ => {
                rest = rest
                    .get(2 + usize::from(u16::from_be_bytes([high, low]))..)
                    .unwrap_or_default()
            }
        }
    }
    false
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progressive_frames_are_told_from_baseline_ones() {
        let frame = |marker: u8| [0xff, 0xd8, 0xff, 0xe0, 0, 4, 1, 2, 0xff, 0xff, marker, 0, 11, 8, 0, 1];
        assert!(is_progressive(&frame(0xc2)));
        assert!(!is_progressive(&frame(0xc0)));
        for end in 0..16 {
            let _ = is_progressive(&frame(0xc2)[..end]);
        }
    }
}
