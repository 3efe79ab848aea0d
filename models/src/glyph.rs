//! Any picture of digits becomes [`Digit`]s as MNIST has them: light on dark, the ink's longer side 20 pixels, its
//! centre of mass in the middle. [`read`] takes the one digit of a picture, [`read_page`] all that stand on it.
//!
//! The steps, a file each, in order: `decode` within limits; `paper` lays what is transparent on paper, makes it grey and of a
//! size to work on; `border` drops a frame along the picture's sides; `ground` takes the light away and finds the ink's
//! polarity; `threshold` tells ink from ground; `table` drops what lies around the paper, `frames` the boxes of a form and
//! `ruling` printed lines; `components` finds the marks; `group` makes digits and lines of them; `place` draws each digit as
//! MNIST does.

mod border;
mod components;
mod decode;
mod frames;
mod ground;
mod group;
pub mod ladder;
mod paper;
mod place;
mod rect;
mod ruling;
mod table;
mod threshold;

use image::metadata::Orientation;
use image::{DynamicImage, GrayImage, ImageError};

use self::components::Components;
use self::group::Group;
use self::place::Pen;
use crate::{Digit, SIDE};

pub use self::decode::{MAX_FILE_BYTES, pixels};
pub use self::rect::Rect;

/// Longer side of the ink's bounding box in a digit, in pixels.
pub const INK_BOX: usize = 20;
/// Row and column of the ink's centre of mass, pixel centres counted from 0.
pub const CENTER: f64 = 14.0;

/// Ink of this part of the threshold still holds a digit together.
const FAINT: f32 = 0.45;

/// Why a picture gives no digit.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GlyphError {
    /// No picture in a known format, or broken.
    #[error("not a readable picture: {0}")]
    Decode(ImageError),
    /// The picture is larger than what is decoded.
    #[error(
        "the picture is too large: at most {} pixels a side, {} MiB of file and {} MiB decoded are read, \
         and less of progressive JPEG, WebP, TIFF and GIF",
        decode::MAX_SIDE,
        decode::MAX_FILE_BYTES >> 20,
        decode::MAX_DECODED_BYTES >> 20
    )]
    TooLarge,
    /// Nothing is drawn.
    #[error("no digit found: the picture is blank")]
    Blank,
    /// What is drawn does not stand out.
    #[error("no digit found: nothing stands out of the noise")]
    Noise,
    /// Fewer pixels than a digit needs.
    #[error("no digit found: there is only a speck")]
    Speck,
    /// A filled shape.
    #[error("no digit found: what is drawn is a solid shape, not strokes")]
    Solid,
    /// Too many edges.
    #[error("no digit found: what is drawn is too intricate for a digit")]
    Intricate,
}

impl GlyphError {
    /// Whether the picture was read, and has no digit on it.
    pub fn is_no_digit(&self) -> bool {
        !matches!(self, GlyphError::Decode(_) | GlyphError::TooLarge)
    }
}

/// What stands on a picture: at least one digit.
#[derive(Clone, Debug)]
pub struct Page {
    /// Lines from the top, the digits of each from the left.
    pub lines: Vec<Vec<Glyph>>,
}

/// One digit on a picture.
#[derive(Clone, Debug)]
pub struct Glyph {
    /// The digit as the network takes it.
    pub digit: Digit,
    /// Where it stands on the upright picture, in its pixels.
    pub bounds: Rect,
}

impl Page {
    /// The digit with the largest box.
    pub fn largest(&self) -> Option<&Glyph> {
        self.lines.iter().flatten().max_by_key(|glyph| glyph.bounds.area())
    }
}

/// Is told the name of every step that is done, and can look at the picture that it made.
pub type Watch<'a> = &'a mut dyn FnMut(&str, &dyn Fn() -> GrayImage);

/// Reads a picture file (PNG, JPEG, GIF, BMP, WebP, TIFF, PNM) from its bytes and makes a digit of the largest on it.
///
/// # Errors
/// As [`read_page`].
pub fn read(bytes: &[u8]) -> Result<Digit, GlyphError> {
    read_largest(bytes, Pen::Usual)
}

fn read_largest(bytes: &[u8], pen: Pen) -> Result<Digit, GlyphError> {
    let page = read_with(bytes, pen, &mut |_, _| ())?;
    page.largest().map(|glyph| glyph.digit).ok_or(GlyphError::Blank)
}

/// Reads a picture file from its bytes and makes digits of all that stand on it.
///
/// # Errors
/// When the bytes are no readable picture, the picture is too large, or nothing on it can be a digit.
pub fn read_page(bytes: &[u8]) -> Result<Page, GlyphError> {
    read_watched(bytes, &mut |_, _| ())
}

/// [`read_page`] of pixels that are decoded already and upright, such as a camera's.
///
/// # Errors
/// When the picture is too large, or nothing on it can be a digit.
pub fn read_image(image: DynamicImage) -> Result<Page, GlyphError> {
    let (width, height) = (image.width(), image.height());
    // A buffer may be longer than its picture.
    let image = image.crop_imm(0, 0, width, height);
    decode::check(&image)?;
    read_decoded(image, Orientation::NoTransforms, Pen::Usual, &mut |_, _| ())
}

/// [`read_page`], and shows what every step makes.
///
/// # Errors
/// As [`read_page`].
pub fn read_watched(bytes: &[u8], watch: Watch) -> Result<Page, GlyphError> {
    read_with(bytes, Pen::Usual, watch)
}

fn read_with(bytes: &[u8], pen: Pen, watch: Watch) -> Result<Page, GlyphError> {
    let (image, orientation) = decode::decode(bytes)?;
    read_decoded(image, orientation, pen, watch)
}

fn read_decoded(image: DynamicImage, orientation: Orientation, pen: Pen, watch: Watch) -> Result<Page, GlyphError> {
    let (mut grey, scale) = paper::grey(image, orientation);
    border::erase(&mut grey);
    watch("grey", &|| grey.clone());
    let mut ink = ground::ink(grey);
    watch("ink", &|| ink.clone());
    let threshold = cleared(&mut ink)?;
    watch("cleared", &|| ink.clone());
    let marks = Components::find(&ink, threshold, faint(threshold));
    let lines = group::lines(&marks.list, &Rect::of(&ink))?;
    watch("marks", &|| chosen(&marks, &lines, &ink));
    let page = drawn(&lines, |group| {
        let digit = place::place(
            &ink,
            threshold,
            group.bounds,
            marks.others(&group.members, &group.bounds),
            pen,
        )?;
        Ok(Glyph {
            digit,
            bounds: group.bounds.scaled(scale),
        })
    })?;
    for glyph in page.lines.iter().flatten() {
        watch("digit", &|| picture(&glyph.digit));
    }
    Ok(page)
}

/// Erases from the ink what is not written: printed frames and lines, and the table around the paper. Returns the threshold of
/// what is left.
fn cleared(ink: &mut GrayImage) -> Result<u8, GlyphError> {
    let mut threshold = threshold::threshold(ink)?;
    if table::erase(ink, faint(threshold)) {
        threshold = threshold::threshold(ink)?;
    }
    frames::erase(ink, threshold);
    ruling::erase(ink, threshold);
    Ok(threshold)
}

/// The level from which ink holds a digit together.
fn faint(threshold: u8) -> u8 {
    (f32::from(threshold) * FAINT) as u8
}

/// The decoded picture, turned upright: [`Glyph::bounds`] lie on it.
///
/// # Errors
/// When the bytes are no readable picture, or the picture is too large.
pub fn upright(bytes: &[u8]) -> Result<DynamicImage, GlyphError> {
    let (mut image, orientation) = decode::decode(bytes)?;
    image.apply_orientation(orientation);
    Ok(image)
}

/// Has the loops in `work` compiled for the widest vectors that this CPU may have, and chooses among them.
fn in_vectors<T>(work: impl FnOnce() -> T) -> T {
    pulp::Arch::new().dispatch(work)
}

/// Draws every digit and leaves out what cannot be one; where nothing stays, the largest says why.
fn drawn(lines: &[Vec<Group>], draw: impl Fn(&Group) -> Result<Glyph, GlyphError>) -> Result<Page, GlyphError> {
    let mut refused = (0, GlyphError::Blank);
    let mut drawn_lines = Vec::new();
    for line in lines {
        let mut glyphs = Vec::new();
        for group in line {
            match draw(group) {
                Ok(glyph) => glyphs.push(glyph),
                Err(error) if group.area > refused.0 => refused = (group.area, error),
                Err(_) => {}
            }
        }
        if !glyphs.is_empty() {
            drawn_lines.push(glyphs);
        }
    }
    if drawn_lines.is_empty() {
        return Err(refused.1);
    }
    Ok(Page { lines: drawn_lines })
}

/// The marks that belong to digits, white on black.
fn chosen(marks: &Components, lines: &[Vec<Group>], ink: &GrayImage) -> GrayImage {
    let groups = lines.iter().flatten();
    let members: Vec<usize> = groups.flat_map(|group| group.members.iter().copied()).collect();
    let mut chosen = GrayImage::new(ink.width(), ink.height());
    for run in marks.runs_of(&members) {
        let levels: &mut [u8] = &mut chosen;
        levels[run.row() * ink.width() as usize..][run.columns()].fill(255);
    }
    chosen
}

fn picture(digit: &Digit) -> GrayImage {
    GrayImage::from_fn(SIDE as u32, SIDE as u32, |x, y| {
        image::Luma([digit.0[y as usize * SIDE + x as usize]])
    })
}

#[cfg(test)]
mod tests;
