//! Printed lines go: the squares of a page, the box of a form, the axes of a plot. Strokes that cross them stay whole.

use image::{GrayImage, imageops};

use super::Rect;

/// A ruled line runs across this part of the picture, and is at least that part of its longer side long: in a low picture of one
/// line of text it is a stem.
const LENGTH: f32 = 0.7;
const LEAST_LENGTH: f32 = 0.35;
/// Lines are thinner than this part of the picture's longer side; at least one pixel.
const THICKNESS: f32 = 0.012;
/// The lines of a frame run across this part of it, and are thinner than that part of its shorter side.
const FRAME_LENGTH: f32 = 0.9;
const FRAME_THICKNESS: f32 = 0.15;
/// Lines slope by at most so many rows a column, and are looked for in every so many columns.
const STEEPEST: f32 = 0.07;
const SAMPLED: usize = 8;
/// On a smaller picture the strokes of a digit are as long as such lines.
const SMALLEST_PAGE: u32 = 100;
/// A sloping line, moved until it is straight, still goes from one row to the next in steps: what is so near counts as the line.
const STEP: usize = 2;
/// A lone line is the foot of a 2 or the stem of a 1; printed lines come in numbers.
const FEWEST: usize = 2;

/// Erases ruled lines from the ink.
pub fn erase(ink: &mut GrayImage, threshold: u8) {
    let thickest = ((ink.width().max(ink.height()) as f32 * THICKNESS) as usize).max(1);
    let is_page = ink.width().max(ink.height()) >= SMALLEST_PAGE;
    if is_page && slope(ink, threshold).is_some_and(|slope| erase_sloping(ink, slope, threshold, thickest + 2 * STEP)) {
        return;
    }
    let lines = AXES.map(|axis| ruled(ink, threshold, axis));
    if lines.iter().map(|runs| n_lines(runs)).sum::<usize>() >= FEWEST {
        wipe_all(ink, &lines, thickest, threshold);
    }
}

/// Erases the lines of a page that is turned, across which they go down by `slope` rows a column, and tells whether there are any.
fn erase_sloping(ink: &mut GrayImage, slope: f32, threshold: u8, thickest: usize) -> bool {
    let straight = [
        Straight::new(ink, Axis::Rows, slope),
        Straight::new(ink, Axis::Columns, -slope),
    ];
    let found = straight
        .each_ref()
        .map(|straight| ruled(&straight.ink, threshold, straight.axis));
    let n: usize = found.iter().map(|runs| n_lines(runs)).sum();
    if n >= FEWEST {
        for (straight, runs) in straight.into_iter().zip(&found) {
            straight.wipe(ink, runs, threshold, thickest);
        }
    }
    n >= FEWEST
}

/// Erases the lines of a frame, which runs along the `bounds`, and returns how many rows and columns there were.
pub fn erase_within(ink: &mut GrayImage, bounds: &Rect, threshold: u8) -> [usize; 2] {
    let mut frame = imageops::crop_imm(ink, bounds.left, bounds.top, bounds.width, bounds.height).to_image();
    let thickest = (bounds.width.min(bounds.height) as f32 * FRAME_THICKNESS) as usize;
    let lines = AXES.map(|axis| runs(&frame, threshold, FRAME_LENGTH, axis));
    let n = lines.each_ref().map(|runs| n_lines(runs));
    if n.iter().all(|&n| n >= FEWEST) {
        wipe_all(&mut frame, &lines, thickest.max(1), threshold);
        imageops::replace(ink, &frame, bounds.left.into(), bounds.top.into());
    }
    n
}

/// How many lines there are: neighbouring runs are one.
fn n_lines(runs: &[Option<(usize, usize)>]) -> usize {
    let starts = runs
        .windows(2)
        .filter(|pair| pair[0].is_none() && pair[1].is_some())
        .count();
    starts + usize::from(runs.first().is_some_and(Option::is_some))
}

/// Ink moved across its sloping lines until they are straight, every pixel as dark as the darkest within [`STEP`].
struct Straight {
    ink: GrayImage,
    axis: Axis,
    /// For each place along the lines how many lines further the ink lies.
    shifts: Vec<i64>,
}

impl Straight {
    fn new(ink: &GrayImage, axis: Axis, slope: f32) -> Straight {
        let (length, _) = axis.size(ink);
        let wide = widened(ink, axis, ink.width() as usize);
        let mut straight = Straight {
            ink: GrayImage::new(ink.width(), ink.height()),
            axis,
            shifts: (0..length).map(|along| shift(slope, along, length)).collect(),
        };
        let levels: Vec<u8> = straight.sources().map(|place| wide[place]).collect();
        straight.ink.copy_from_slice(&levels);
        straight
    }

    /// Wipes the runs here, and what they are made of from the ink.
    fn wipe(mut self, ink: &mut GrayImage, runs: &[Option<(usize, usize)>], threshold: u8, thickest: usize) {
        let before = self.ink.clone();
        wipe(&mut self.ink, runs, thickest, STEP, threshold, self.axis);
        let levels: &mut [u8] = ink;
        let pixels = self.ink.iter().zip(before.iter()).zip(self.sources());
        let wiped = pixels.filter(|((now, before), _)| now != before);
        wiped.for_each(|(_, place)| levels[place] = 0);
    }

    /// Where in the ink each pixel lies, row by row; beyond the border is what lies on it.
    fn sources(&self) -> impl Iterator<Item = usize> + '_ {
        let (width, height) = (self.ink.width() as usize, self.ink.height() as usize);
        let inside = |place: i64, end: usize| place.clamp(0, end as i64 - 1) as usize;
        let source = move |x: usize, y: usize| match self.axis {
            Axis::Rows => inside(y as i64 + self.shifts[x], height) * width + x,
            Axis::Columns => y * width + inside(x as i64 + self.shifts[y], width),
        };
        (0..height).flat_map(move |y| (0..width).map(move |x| source(x, y)))
    }
}

/// The darkest level within [`STEP`] lines of each pixel. Rows are taken to go on in the next one, which adds no line.
fn widened(ink: &[u8], axis: Axis, width: usize) -> Vec<u8> {
    let mut wide = ink.to_vec();
    for step in 1..=STEP {
        let offset = match axis {
            Axis::Rows => step * width,
            Axis::Columns => step,
        };
        let darken = |(to, from): (&mut u8, &u8)| *to = (*to).max(*from);
        wide.iter_mut().skip(offset).zip(ink).for_each(darken);
        wide.iter_mut().zip(ink.iter().skip(offset)).for_each(darken);
    }
    wide
}

/// How many lines further a sloping line lies at this place than in its middle.
fn shift(slope: f32, along: usize, length: usize) -> i64 {
    (slope * (along as f32 - length as f32 / 2.0)).round() as i64
}

/// The slope at which most ink lies in rows; `None` where it is none, or there are no lines across most of the picture.
fn slope(ink: &GrayImage, threshold: u8) -> Option<f32> {
    let (width, height) = (ink.width() as usize, ink.height() as usize);
    let sampled: Vec<Vec<usize>> = (0..width)
        .step_by(SAMPLED)
        .map(|x| {
            (0..height)
                .filter(|y| ink.as_raw()[y * width + x] >= threshold)
                .collect()
        })
        .collect();
    let crosses_lines = |rows: &&Vec<usize>| {
        let apart = rows.windows(2).filter(|pair| pair[0] + 1 < pair[1]).count();
        apart + 1 >= FEWEST && rows.len() < height / 2
    };
    let crossing = sampled.iter().filter(crosses_lines).count();
    if (crossing as f32) < LENGTH * sampled.len() as f32 {
        return None;
    }
    let furthest = (width as f32 * STEEPEST) as i64;
    let in_rows = |drift: i64| {
        let slope = drift as f32 / width as f32;
        let mut counts = vec![0u64; height];
        for (index, rows) in sampled.iter().enumerate() {
            let shift = shift(slope, index * SAMPLED, width);
            for row in rows {
                if let Some(count) = usize::try_from(*row as i64 - shift)
                    .ok()
                    .and_then(|row| counts.get_mut(row))
                {
                    *count += 1;
                }
            }
        }
        counts.iter().map(|count| count * count).sum::<u64>()
    };
    let drift = (-furthest..=furthest).max_by_key(|&drift| in_rows(drift))?;
    (drift != 0).then_some(drift as f32 / width as f32)
}

#[derive(Clone, Copy)]
enum Axis {
    Rows,
    Columns,
}

const AXES: [Axis; 2] = [Axis::Rows, Axis::Columns];

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

/// For each row or column the run of ink that is a line of a page.
fn ruled(ink: &GrayImage, threshold: u8, axis: Axis) -> Vec<Option<(usize, usize)>> {
    let (length, n) = axis.size(ink);
    if LENGTH * (length as f32) < LEAST_LENGTH * n as f32 {
        return vec![None; n];
    }
    runs(ink, threshold, LENGTH, axis)
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

/// Wipes the runs along both axes.
fn wipe_all(ink: &mut GrayImage, lines: &[Vec<Option<(usize, usize)>>; 2], thickest: usize, threshold: u8) {
    for (axis, runs) in AXES.into_iter().zip(lines) {
        wipe(ink, runs, thickest, 0, threshold, axis);
    }
}

/// Wipes the runs and so many lines of `fringe` on both of their sides, but where ink goes on beyond that on both.
fn wipe(
    ink: &mut GrayImage,
    runs: &[Option<(usize, usize)>],
    thickest: usize,
    fringe: usize,
    threshold: u8,
    axis: Axis,
) {
    let (_, n) = axis.size(ink);
    let mut line = 0;
    while line < n {
        let thickness = runs[line..].iter().take_while(|run| run.is_some()).count();
        if (1..=thickest).contains(&thickness) {
            let (start, end) = bounds(&runs[line..line + thickness]);
            let (first, last) = (line.saturating_sub(fringe), (line + thickness + fringe).min(n));
            for along in start..end {
                let crossed = |beside: Option<usize>| {
                    beside.is_some_and(|beside| beside < n && ink.as_raw()[axis.place(ink, beside, along)] >= threshold)
                };
                if crossed(first.checked_sub(1)) && crossed(Some(last)) {
                    continue;
                }
                for wiped in first..last {
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
    fn lines_of_a_page_that_is_turned_go() {
        let stroke = |x: u32, y: u32| (96..104).contains(&x) && (30..120).contains(&y);
        for slope in [-0.05, 0.01, 0.03] {
            let is_line = |x: u32, y: u32| (y as f32 - slope * x as f32).rem_euclid(30.0) < 3.0;
            let mut ink = GrayImage::from_fn(200, 150, |x, y| {
                Luma([if stroke(x, y) || is_line(x, y) { 255 } else { 0 }])
            });
            erase(&mut ink, 128);
            let inked = |(x, y): (u32, u32)| ink.get_pixel(x, y).0[0] > 0;
            let places = || (0..200).flat_map(|x| (10..140).map(move |y| (x, y)));
            let far = |x: u32| !(90..110).contains(&x);
            assert_eq!(places().filter(|&(x, y)| far(x) && inked((x, y))).count(), 0, "{slope}");
            // Where the stroke ends beside a line, its end goes with it.
            let within = |y: u32| (38..110).contains(&y);
            let lost: Vec<_> = places()
                .filter(|&(x, y)| stroke(x, y) && within(y) && !inked((x, y)))
                .collect();
            assert!(lost.is_empty(), "{slope} {lost:?}");
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
