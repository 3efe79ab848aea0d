//! A frame that runs along all four sides of the picture goes, before it can be taken for its darkest ink: that of a screenshot, of
//! a plot, of a field that was cut out of a form.

use image::GrayImage;

/// The frame is thinner than this part of the picture's shorter side, and than so many pixels where that is more.
const THICKEST: f32 = 0.03;
const FEW: u32 = 3;
/// It differs from what lies within it by this part of the picture's levels, along this part of each side.
const APART: f32 = 0.25;
const ALONG: f32 = 0.9;

/// Lets what lies within the frame go on to the picture's sides.
pub fn erase(grey: &mut GrayImage) {
    let thickest = ((grey.width().min(grey.height()) as f32 * THICKEST) as u32).max(FEW);
    if grey.width().min(grey.height()) <= 2 * thickest || !is_framed(grey, thickest) {
        return;
    }
    let (width, height) = grey.dimensions();
    let inner = |place: u32, side: u32| place.clamp(thickest, side - 1 - thickest);
    *grey = GrayImage::from_fn(width, height, |x, y| *grey.get_pixel(inner(x, width), inner(y, height)));
}

/// Whether the outermost pixels of each side are darker than those within, or lighter on all sides.
fn is_framed(grey: &GrayImage, thickest: u32) -> bool {
    let (right, bottom) = (grey.width() - 1, grey.height() - 1);
    let level = |x: u32, y: u32| f32::from(grey.get_pixel(x, y).0[0]);
    let first = |x: u32, y: u32| level(x, y) - level(right / 2, thickest);
    // Most pictures have no frame, which one look shows.
    if first(right / 2, 0) == 0.0 {
        return false;
    }
    let (lightest, darkest) = (grey.iter().max(), grey.iter().min());
    let apart = APART * (f32::from(*lightest.unwrap_or(&0)) - f32::from(*darkest.unwrap_or(&0)));
    let columns = |outer: u32, inner: u32| (0..=right).map(move |x| level(x, outer) - level(x, inner)).collect();
    let rows = |outer: u32, inner: u32| (0..=bottom).map(move |y| level(outer, y) - level(inner, y)).collect();
    let sides: [Vec<f32>; 4] = [
        columns(0, thickest),
        columns(bottom, bottom - thickest),
        rows(0, thickest),
        rows(right, right - thickest),
    ];
    let along = |side: &Vec<f32>, is_apart: fn(f32, f32) -> bool| {
        side.iter().filter(|&&step| is_apart(step, apart)).count() as f32 >= ALONG * side.len() as f32
    };
    sides.iter().all(|side| along(side, |step, apart| step > apart))
        || sides.iter().all(|side| along(side, |step, apart| step < -apart))
}
