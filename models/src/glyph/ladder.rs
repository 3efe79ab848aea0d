//! The front end grown step by step, to see what each step brings. The last rung is what [`super::read`] does.

use image::GrayImage;
use image::imageops::{self, FilterType};

use super::components::Components;
use super::place::{self, Pen};
use super::{GlyphError, Rect, decode, ground, paper, threshold};
use crate::{Digit, SIDE};

/// How far a picture is prepared; each step includes those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rung {
    /// Grey on paper, squeezed to 28x28.
    Resized,
    /// Made light on dark.
    Polarity,
    /// Cut to the ink, in the box of 20 pixels, centred.
    Centered,
    /// The ground's light is taken away, frames, ruling, specks and neighbours are dropped, strokes put together.
    Found,
    /// Thin strokes are drawn as wide as a usual pen's.
    Stroked,
}

impl Rung {
    /// All of them, from the bottom.
    pub const ALL: [Rung; 5] = [
        Rung::Resized,
        Rung::Polarity,
        Rung::Centered,
        Rung::Found,
        Rung::Stroked,
    ];

    /// What the step does.
    pub fn name(self) -> &'static str {
        match self {
            Rung::Resized => "grey, resized to 28x28",
            Rung::Polarity => "+ polarity from the border",
            Rung::Centered => "+ crop to 20 px, centre of mass",
            Rung::Found => "+ ground, marks, digits",
            Rung::Stroked => "+ stroke width",
        }
    }
}

/// Makes a digit of a picture with the steps up to `rung`.
///
/// # Errors
/// As [`super::read`].
pub fn read_up_to(bytes: &[u8], rung: Rung) -> Result<Digit, GlyphError> {
    match rung {
        Rung::Resized | Rung::Polarity | Rung::Centered => first_steps(bytes, rung),
        Rung::Found => super::read_largest(bytes, Pen::Own),
        Rung::Stroked => super::read(bytes),
    }
}

fn first_steps(bytes: &[u8], rung: Rung) -> Result<Digit, GlyphError> {
    let (image, orientation) = decode::decode(bytes)?;
    let (mut grey, _) = paper::grey(image, orientation);
    if rung != Rung::Resized && ground::frame_is_light(&grey) {
        imageops::invert(&mut grey);
    }
    if rung != Rung::Centered {
        return Ok(resized(&grey));
    }
    let threshold = threshold::threshold(&grey)?;
    let bounds = inked(&grey, threshold).ok_or(GlyphError::Blank)?;
    place::place(&grey, threshold, bounds, [], Pen::Own)
}

fn resized(grey: &GrayImage) -> Digit {
    let small = imageops::resize(grey, SIDE as u32, SIDE as u32, FilterType::Triangle);
    Digit::from_bytes(small.as_raw()).expect("it was resized to the side of a digit")
}

/// The box around all ink.
fn inked(ink: &GrayImage, threshold: u8) -> Option<Rect> {
    let marks = Components::find(ink, threshold, threshold);
    marks.list.iter().map(|mark| mark.bounds).reduce(|a, b| a.union(&b))
}
