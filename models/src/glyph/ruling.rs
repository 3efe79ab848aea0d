//! Printed lines go: the squares of a page, the box of a form, the axes of a plot. Strokes that cross them stay whole.

use image::{GrayImage, imageops};

use super::Rect;

/// A ruled line runs across this part of the picture.
const LENGTH: f32 = 0.7;
/// Lines are thinner than this part of the picture's longer side; at least one pixel.
const THICKNESS: f32 = 0.012;
/// The lines of a frame run across this part of it, and are thinner than that part of its shorter side.
const FRAME_LENGTH: f32 = 0.9;
const FRAME_THICKNESS: f32 = 0.15;
/// A lone line is the foot of a 2 or the stem of a 1; printed lines come in numbers.
const FEWEST: usize = 2;

/// Erases ruled lines from the ink.
pub fn erase(ink: &mut GrayImage, threshold: u8) {
    let thickest = (ink.width().max(ink.height()) as f32 * THICKNESS) as usize;
    let lines = Lines::find(ink, threshold, LENGTH);
    if lines.n(Axis::Rows) + lines.n(Axis::Columns) >= FEWEST {
        lines.wipe(ink, threshold, thickest.max(1));
    }
}

/// Erases the lines of a frame, which runs along the `bounds`.
pub fn erase_within(ink: &mut GrayImage, bounds: &Rect, threshold: u8) {
    let mut frame = imageops::crop_imm(ink, bounds.left, bounds.top, bounds.width, bounds.height).to_image();
    let thickest = (bounds.width.min(bounds.height) as f32 * FRAME_THICKNESS) as usize;
    let lines = Lines::find(&frame, threshold, FRAME_LENGTH);
    if lines.n(Axis::Rows).min(lines.n(Axis::Columns)) >= FEWEST {
        lines.wipe(&mut frame, threshold, thickest.max(1));
        imageops::replace(ink, &frame, bounds.left.into(), bounds.top.into());
    }
}

/// For each row and column the longest unbroken run of ink, where it is long enough.
struct Lines {
    rows: Vec<Option<(usize, usize)>>,
    columns: Vec<Option<(usize, usize)>>,
}

impl Lines {
    /// The lines that run across this part of a picture.
    fn find(ink: &GrayImage, threshold: u8, part: f32) -> Lines {
        Lines {
            rows: runs(ink, threshold, part, Axis::Rows),
            columns: runs(ink, threshold, part, Axis::Columns),
        }
    }

    /// How many lines there are along an axis: neighbouring runs are one.
    fn n(&self, axis: Axis) -> usize {
        let runs = match axis {
            Axis::Rows => &self.rows,
            Axis::Columns => &self.columns,
        };
        let starts = runs
            .windows(2)
            .filter(|pair| pair[0].is_none() && pair[1].is_some())
            .count();
        starts + usize::from(runs.first().is_some_and(Option::is_some))
    }

    fn wipe(&self, ink: &mut GrayImage, threshold: u8, thickest: usize) {
        wipe(ink, &self.rows, thickest, threshold, Axis::Rows);
        wipe(ink, &self.columns, thickest, threshold, Axis::Columns);
    }
}

#[derive(Clone, Copy)]
enum Axis {
    Rows,
    Columns,
}

impl Axis {
    /// Length of a line along the axis, and number of lines.
    fn size(self, ink: &GrayImage) -> (usize, usize) {
        let (width, height) = (ink.width() as usize, ink.height() as usize);
        match self {
            Axis::Rows => (width, height),
            Axis::Columns => (height, width),
        }
    }

    /// Index of the pixel at `along` in line `line`.
    fn place(self, ink: &GrayImage, line: usize, along: usize) -> usize {
        match self {
            Axis::Rows => line * ink.width() as usize + along,
            Axis::Columns => along * ink.width() as usize + line,
        }
    }
}

/// For each row or column the longest unbroken run of ink, where it has this part of the picture's length.
fn runs(ink: &GrayImage, threshold: u8, part: f32, axis: Axis) -> Vec<Option<(usize, usize)>> {
    let (length, n) = axis.size(ink);
    let least = ((length as f32 * part) as usize).max(1);
    let is_ink = |line, along| ink.as_raw()[axis.place(ink, line, along)] >= threshold;
    let longest = |line| {
        let (mut best, mut start) = ((0, 0), 0);
        for along in 0..length {
            if !is_ink(line, along) {
                start = along + 1;
            } else if along + 1 - start > best.1 - best.0 {
                best = (start, along + 1);
            }
        }
        (best.1 - best.0 >= least).then_some(best)
    };
    // So long a run covers all of the middle.
    let may_be_ruled = |line| (length - least..least).all(|along| is_ink(line, along));
    (0..n)
        .map(|line| may_be_ruled(line).then(|| longest(line)).flatten())
        .collect()
}

/// Wipes the runs, but where ink goes on beyond the line on both of its sides.
fn wipe(ink: &mut GrayImage, runs: &[Option<(usize, usize)>], thickest: usize, threshold: u8, axis: Axis) {
    let (_, n) = axis.size(ink);
    let mut line = 0;
    while line < n {
        let thickness = runs[line..].iter().take_while(|run| run.is_some()).count();
        if (1..=thickest).contains(&thickness) {
            let (start, end) = bounds(&runs[line..line + thickness]);
            for along in start..end {
                let crossed = |beside: Option<usize>| {
                    beside.is_some_and(|beside| beside < n && ink.as_raw()[axis.place(ink, beside, along)] >= threshold)
                };
                if crossed(line.checked_sub(1)) && crossed(Some(line + thickness)) {
                    continue;
                }
                for wiped in line..line + thickness {
                    let place = axis.place(ink, wiped, along);
                    let levels: &mut [u8] = ink;
                    levels[place] = 0;
                }
            }
        }
        line += thickness.max(1);
    }
}

fn bounds(runs: &[Option<(usize, usize)>]) -> (usize, usize) {
    let found = runs.iter().flatten();
    found.fold((usize::MAX, 0), |(start, end), run| (start.min(run.0), end.max(run.1)))
}

#[cfg(test)]
mod tests {
    use image::Luma;

    use super::*;

    #[test]
    fn squares_go_and_the_stroke_across_them_stays_whole() {
        let stroke = |x: u32, y: u32| (48..52).contains(&x) && (15..85).contains(&y);
        let mut ink = GrayImage::from_fn(100, 100, |x, y| {
            Luma([if stroke(x, y) || x % 30 == 5 || y % 30 == 5 {
                255
            } else {
                0
            }])
        });
        erase(&mut ink, 128);
        for (x, y, pixel) in ink.enumerate_pixels() {
            assert_eq!(pixel.0[0] > 0, stroke(x, y), "{x} {y}");
        }
    }

    #[test]
    fn a_lone_line_is_a_stroke() {
        let one = GrayImage::from_fn(50, 50, |x, _| Luma([if x == 20 { 255 } else { 0 }]));
        let mut ink = one.clone();
        erase(&mut ink, 128);
        assert_eq!(ink, one);
    }
}
