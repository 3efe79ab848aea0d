//! A copy of a picture with a box around each digit and its name above the box.

use std::path::Path;

use anyhow::Context;
use image::{Rgb, RgbImage};
use infer::glyph::{self, Rect};
use infer::{Answer, Reading};
use models::artefact;

/// Boxes and names.
const RED: Rgb<u8> = Rgb([220, 20, 60]);
/// Height of a name, as a part of its box.
const NAME_HEIGHT: u32 = 4;
/// Columns and rows of a name's letter.
const LETTER: (u32, u32) = (3, 5);
/// The ten digits, five rows of three pixels each, the left one highest.
const FONT: [[u8; 5]; 10] = [
    [0b111, 0b101, 0b101, 0b101, 0b111],
    [0b010, 0b110, 0b010, 0b010, 0b111],
    [0b111, 0b001, 0b111, 0b100, 0b111],
    [0b111, 0b001, 0b111, 0b001, 0b111],
    [0b101, 0b101, 0b111, 0b001, 0b001],
    [0b111, 0b100, 0b111, 0b001, 0b111],
    [0b111, 0b100, 0b111, 0b101, 0b111],
    [0b111, 0b001, 0b010, 0b010, 0b010],
    [0b111, 0b101, 0b111, 0b101, 0b111],
    [0b111, 0b101, 0b111, 0b001, 0b111],
];

/// Writes the annotated copy of the picture in `bytes` as PNG.
pub fn annotate(bytes: &[u8], reading: &Reading, path: &Path) -> anyhow::Result<()> {
    let mut picture = glyph::upright(bytes)?.into_rgb8();
    for answer in reading.digits() {
        draw(&mut picture, answer);
    }
    let mut png = std::io::Cursor::new(Vec::new());
    picture.write_to(&mut png, image::ImageFormat::Png)?;
    artefact::write(path, png.get_ref()).with_context(|| path.display().to_string())
}

fn draw(picture: &mut RgbImage, answer: &Answer) {
    let bounds = answer.bounds;
    let dot = (bounds.height / NAME_HEIGHT / LETTER.1).max(1);
    frame(picture, bounds, dot.div_ceil(2));
    let top = bounds.top.saturating_sub((LETTER.1 + 1) * dot);
    for (row, bits) in (0..).zip(FONT[usize::from(answer.prediction.digit)]) {
        for column in (0..LETTER.0).filter(|column| bits >> (LETTER.0 - 1 - column) & 1 == 1) {
            fill(picture, bounds.left + column * dot, top + row * dot, dot, dot);
        }
    }
}

/// Four bars around the box, on its outside.
fn frame(picture: &mut RgbImage, bounds: Rect, thickness: u32) {
    let (left, top) = (
        bounds.left.saturating_sub(thickness),
        bounds.top.saturating_sub(thickness),
    );
    let (width, height) = (bounds.right() + thickness - left, bounds.bottom() + thickness - top);
    fill(picture, left, top, width, thickness);
    fill(picture, left, bounds.bottom(), width, thickness);
    fill(picture, left, top, thickness, height);
    fill(picture, bounds.right(), top, thickness, height);
}

fn fill(picture: &mut RgbImage, left: u32, top: u32, width: u32, height: u32) {
    for y in top..(top + height).min(picture.height()) {
        for x in left..(left + width).min(picture.width()) {
            picture.put_pixel(x, y, RED);
        }
    }
}
