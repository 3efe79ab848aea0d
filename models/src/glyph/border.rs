//! A frame that runs along all four sides of the picture goes, before it can be taken for its darkest ink: that of a screenshot, of
//! a plot, of a field that was cut out of a form.

use image::GrayImage;

/// The frame is at most this part of the picture's shorter side thick, or so many pixels where that is more.
const THICKEST: f32 = 0.03;
const FEW: u32 = 3;
/// It differs from what lies within it by this part of the picture's levels, along this part of each side.
const APART: f32 = 0.25;
const ALONG: f32 = 0.9;

/// Lets what lies within the frame go on to the picture's sides.
pub fn erase(grey: &mut GrayImage) {
    let (width, height) = grey.dimensions();
    let thickest = ((width.min(height) as f32 * THICKEST) as u32).max(FEW);
    if width.min(height) <= 2 * thickest || !is_framed(grey, thickest) {
        return;
    }
    let within = |place: u32, side: u32| place.clamp(thickest, side - 1 - thickest);
    *grey = GrayImage::from_fn(width, height, |x, y| {
        *grey.get_pixel(within(x, width), within(y, height))
    });
}

/// Whether the outermost pixels of all sides are darker than those so far within, or all are lighter.
fn is_framed(grey: &GrayImage, thickest: u32) -> bool {
    let (lightest, darkest) = (
        grey.iter().fold(0, |a, &b| b.max(a)),
        grey.iter().fold(255, |a, &b| b.min(a)),
    );
    let apart = APART * f32::from(lightest - darkest);
    let (right, bottom) = (grey.width() - 1, grey.height() - 1);
    let level = |x: u32, y: u32| f32::from(grey.get_pixel(x, y).0[0]);
    let row = |outer, inner| {
        (thickest..=right - thickest)
            .map(|x| level(x, inner) - level(x, outer))
            .collect()
    };
    let column = |outer, inner| {
        let rows = thickest..=bottom - thickest;
        rows.map(|y| level(inner, y) - level(outer, y)).collect()
    };
    let sides: [Vec<f32>; 4] = [
        row(0, thickest),
        row(bottom, bottom - thickest),
        column(0, thickest),
        column(right, right - thickest),
    ];
    [1.0, -1.0].iter().any(|sign| {
        sides.iter().all(|side| {
            let framed = side.iter().filter(|&step| sign * step > apart).count();
            framed as f32 >= ALONG * side.len() as f32
        })
    })
}

#[cfg(test)]
mod tests {
    use image::Luma;

    use super::*;

    fn stroke(x: u32, y: u32) -> bool {
        (40..46).contains(&x) && y >= 20
    }

    /// How many pixels other than the stroke's differ from the ground.
    fn left(thickness: u32, sides: impl Fn(u32, u32) -> bool, (pen, paper): (u8, u8)) -> usize {
        let mut grey = GrayImage::from_fn(100, 80, |x, y| {
            let frame = x < thickness || x >= 100 - thickness || y < thickness || y >= 80 - thickness;
            Luma([if stroke(x, y) || frame && sides(x, y) {
                pen
            } else {
                paper
            }])
        });
        erase(&mut grey);
        assert!(
            grey.enumerate_pixels()
                .all(|(x, y, level)| !stroke(x, y) || level.0[0] == pen)
        );
        let pixels = grey.enumerate_pixels();
        pixels
            .filter(|&(x, y, level)| !stroke(x, y) && level.0[0] != paper)
            .count()
    }

    #[test]
    fn a_frame_goes_and_the_stroke_that_touches_it_stays() {
        for colours in [(0, 255), (230, 20)] {
            assert_eq!(left(1, |_, _| true, colours), 0);
            assert_eq!(left(3, |_, _| true, colours), 0);
        }
    }

    #[test]
    fn a_stroke_along_three_sides_and_a_thick_one_stay() {
        assert_ne!(left(2, |_, y| y < 78, (0, 255)), 0);
        assert_ne!(left(8, |_, _| true, (0, 255)), 0);
    }
}
