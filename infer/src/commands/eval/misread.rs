//! The misread digits as one picture: above each its label, and in red what it was read as.

use std::path::Path;

use anyhow::Context;
use image::{GrayImage, Rgb, RgbImage, imageops};
use models::{Digit, SIDE, artefact};

use crate::commands::letters;

/// Digits in a row of the picture, and pixels for each of theirs.
const ROW: usize = 10;
const ZOOM: u32 = 3;
/// Pixels between digits, and for each dot of a letter.
const GAP: u32 = 8;
const DOT: u32 = 2;

const PAPER: Rgb<u8> = Rgb([255, 255, 255]);
const BLACK: Rgb<u8> = Rgb([0, 0, 0]);
const RED: Rgb<u8> = Rgb([220, 20, 60]);

/// A digit that was misread.
pub struct Misread {
    pub digit: Digit,
    pub label: u8,
    pub answer: u8,
}

/// Writes the picture as PNG; where nothing was misread, an empty one.
pub fn write(path: &Path, misread: &[Misread]) -> anyhow::Result<()> {
    let mut png = std::io::Cursor::new(Vec::new());
    sheet(misread).write_to(&mut png, image::ImageFormat::Png)?;
    artefact::write(path, png.get_ref()).with_context(|| path.display().to_string())
}

fn sheet(misread: &[Misread]) -> RgbImage {
    let side = SIDE as u32 * ZOOM;
    let name = letters::HEIGHT * DOT + GAP / 2;
    let cell = [side + GAP, name + side + GAP];
    let rows = misread.len().div_ceil(ROW).max(1) as u32;
    let mut sheet = RgbImage::from_pixel(GAP + ROW as u32 * cell[0], GAP + rows * cell[1], PAPER);
    for (index, misread) in (0..).zip(misread) {
        let [left, top] = [GAP + index % ROW as u32 * cell[0], GAP + index / ROW as u32 * cell[1]];
        letters::write(&mut sheet, misread.label, [left, top], DOT, BLACK);
        let after = left + (letters::WIDTH + 2) * DOT;
        letters::write(&mut sheet, misread.answer, [after, top], DOT, RED);
        imageops::replace(&mut sheet, &picture(&misread.digit), left.into(), (top + name).into());
    }
    sheet
}

/// The digit as ink on paper, enlarged.
fn picture(digit: &Digit) -> RgbImage {
    let ink = digit.0.map(|byte| 255 - byte).to_vec();
    let small = GrayImage::from_vec(SIDE as u32, SIDE as u32, ink).expect("a digit is a square");
    let side = SIDE as u32 * ZOOM;
    let large = imageops::resize(&small, side, side, imageops::FilterType::Nearest);
    image::DynamicImage::from(large).into_rgb8()
}

#[cfg(test)]
mod tests {
    use models::PIXELS;

    use super::*;

    #[test]
    fn every_misread_digit_has_its_place() {
        let misread = |ink: u8| Misread {
            digit: Digit([ink; PIXELS]),
            label: 4,
            answer: 9,
        };
        let sheet = sheet(&(0..11).map(|_| misread(255)).collect::<Vec<_>>());
        let count = |color: Rgb<u8>| sheet.pixels().filter(|&&pixel| pixel == color).count();
        let dots = |digit: u8| {
            let mut letter = RgbImage::new(letters::WIDTH, letters::HEIGHT);
            letters::write(&mut letter, digit, [0, 0], 1, RED);
            letter.pixels().filter(|&&pixel| pixel == RED).count()
        };
        let area = (DOT * DOT) as usize;
        assert_eq!(count(RED), 11 * area * dots(9));
        assert_eq!(count(BLACK), 11 * (area * dots(4) + PIXELS * (ZOOM * ZOOM) as usize));
    }
}
