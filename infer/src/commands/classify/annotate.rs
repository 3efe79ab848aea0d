//! A copy of a picture with a box around each digit and its name above the box.

use std::path::Path;

use anyhow::Context;
use image::{Rgb, RgbImage};
use infer::glyph::{self, Rect};
use infer::{Answer, Reading};
use models::artefact;

use crate::commands::letters;

/// Boxes and names.
const RED: Rgb<u8> = Rgb([220, 20, 60]);
/// Height of a name, as a part of its box.
const NAME_HEIGHT: u32 = 4;
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
    let dot = (bounds.height / NAME_HEIGHT / letters::HEIGHT).max(1);
    frame(picture, bounds, dot.div_ceil(2));
    let top = bounds.top.saturating_sub((letters::HEIGHT + 1) * dot);
    letters::write(picture, answer.prediction.digit, [bounds.left, top], dot, RED);
}

/// Four bars around the box, on its outside.
fn frame(picture: &mut RgbImage, bounds: Rect, thickness: u32) {
    let (left, top) = (
        bounds.left.saturating_sub(thickness),
        bounds.top.saturating_sub(thickness),
    );
    let (width, height) = (bounds.right() + thickness - left, bounds.bottom() + thickness - top);
    letters::fill(picture, [left, top], [width, thickness], RED);
    letters::fill(picture, [left, bounds.bottom()], [width, thickness], RED);
    letters::fill(picture, [left, top], [thickness, height], RED);
    letters::fill(picture, [bounds.right(), top], [thickness, height], RED);
}
