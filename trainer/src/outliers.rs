//! Pictures of no digit, made by code, on which the network shall learn to be unsure.

use models::glyph::{CENTER, INK_BOX};
use models::{PIXELS, SIDE, digit};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use tch::Tensor;

use crate::data::Dataset;

/// Ink of a picture, row by row: 0 is the ground, 1 is full ink.
pub(crate) type Canvas = [f32; PIXELS];
type Point = (f32, f32);
/// Draws one picture; `None` where the digits offer nothing to make it of.
pub(crate) type Kind = fn(&Digits, &mut ChaCha8Rng) -> Option<Canvas>;

/// What is drawn, all equally often; what is written by hand most of all, because it comes nearest to digits.
const KINDS: [Kind; 17] = [
    noise, noise, clouds, flat, lines, grid, scribble, scribble, scribble, letter, letter, letter, half, close_up,
    pair, shuffled, turned,
];

/// Letters and signs that look like no digit: strokes parted by `/`, each a list of columns 0 to 4 and rows 0 to 6.
const LETTERS: [&str; 22] = [
    "06 20 46/14 34",
    "41 20 01 05 26 45",
    "40 00 06 46/03 33",
    "40 00 06/03 33",
    "00 06/40 46/03 43",
    "00 06/40 03 46",
    "00 06 46",
    "06 00 23 40 46",
    "06 00 46 40",
    "06 00 30 41 42 33 03",
    "06 00 30 41 42 33 03/23 46",
    "00 40/20 26",
    "00 05 16 36 45 40",
    "00 26 40",
    "00 16 22 36 40",
    "00 46/40 06",
    "00 06/03 23 34 36",
    "20 26/03 43",
    "03 43",
    "02 42/04 44",
    "10 16/30 36/02 42/04 44",
    "20 46 06 20",
];

/// `n` normalised pictures `[n, 1, 28, 28]`, some made of pieces of the batch's digits.
///
/// # Panics
/// When the batch is empty.
pub fn outliers(batch: &Dataset, n: usize, rng: &mut ChaCha8Rng) -> Tensor {
    draw(&KINDS, batch, n, rng)
}

/// As [`outliers`], but of the given kinds only.
pub(crate) fn draw(kinds: &[Kind], batch: &Dataset, n: usize, rng: &mut ChaCha8Rng) -> Tensor {
    let digits = Digits::new(batch);
    let (ground, full) = (digit::normalize(0), digit::normalize(255));
    let mut pixels = Vec::with_capacity(n * PIXELS);
    while pixels.len() < n * PIXELS {
        let kind = kinds[rng.random_range(0..kinds.len())];
        if let Some(canvas) = kind(&digits, rng) {
            pixels.extend(canvas.map(|ink| ground + (full - ground) * ink.clamp(0.0, 1.0)));
        }
    }
    let side = SIDE as i64;
    Tensor::from_slice(&pixels)
        .view([n as i64, 1, side, side])
        .to_device(batch.digits.device())
}

/// A batch's digits as ink.
pub(crate) struct Digits {
    canvases: Vec<Canvas>,
    labels: Vec<i64>,
}

impl Digits {
    pub(crate) fn new(batch: &Dataset) -> Digits {
        let ground = digit::normalize(0);
        let full = digit::normalize(255);
        let pixels: Vec<f32> = Vec::try_from(batch.digits.view(-1)).expect("floats");
        let (digits, _) = pixels.as_chunks::<PIXELS>();
        Digits {
            canvases: digits
                .iter()
                .map(|digit| digit.map(|value| (value - ground) / (full - ground)))
                .collect(),
            labels: Vec::try_from(&batch.labels).expect("one label a digit"),
        }
    }

    /// The digits with a label, and their places in the batch.
    pub(crate) fn of(&self, label: i64) -> impl Iterator<Item = (usize, &Canvas)> {
        let all = self.canvases.iter().zip(&self.labels).enumerate();
        all.filter_map(move |(index, (canvas, &of))| (of == label).then_some((index, canvas)))
    }

    /// A random digit, or nothing where it is one of `but`.
    fn pick(&self, rng: &mut ChaCha8Rng, but: &[i64]) -> Option<&Canvas> {
        let index = rng.random_range(0..self.labels.len());
        (!but.contains(&self.labels[index])).then(|| &self.canvases[index])
    }
}

/// Grey noise, from dense to a few specks.
pub(crate) fn noise(_: &Digits, rng: &mut ChaCha8Rng) -> Option<Canvas> {
    let amplitude: f32 = rng.random_range(0.1..1.0);
    let sparseness = rng.random_range(1..12);
    Some([(); PIXELS].map(|()| amplitude * rng.random::<f32>().powi(sparseness)))
}

/// Soft or hard-edged shapes: a coarse noise, stretched over the picture.
fn clouds(_: &Digits, rng: &mut ChaCha8Rng) -> Option<Canvas> {
    let cells = rng.random_range(3..10) as f32;
    let gain = rng.random_range(1.0f32..8.0);
    let level = rng.random_range(0.3f32..0.7);
    let coarse = [(); PIXELS].map(|()| rng.random());
    let stretch = cells / SIDE as f32;
    let soft = remap(&coarse, |row, column| (row * stretch, column * stretch));
    Some(soft.map(|value| ((value - level) * gain + 0.5).clamp(0.0, 1.0)))
}

/// Nothing, or one grey.
pub(crate) fn flat(_: &Digits, rng: &mut ChaCha8Rng) -> Option<Canvas> {
    let ink = rng.random_range(-1.0f32..1.0);
    Some([ink.max(0.0); PIXELS])
}

/// Straight lines from edge to edge.
pub(crate) fn lines(_: &Digits, rng: &mut ChaCha8Rng) -> Option<Canvas> {
    let side = SIDE as f32;
    let mut canvas = [0.0; PIXELS];
    let width = pen(rng);
    for _ in 0..rng.random_range(2..5) {
        let (from, to) = (rng.random_range(0.0..side), rng.random_range(0.0..side));
        let ends = if rng.random() {
            [(0.0, from), (side, to)]
        } else {
            [(from, 0.0), (to, side)]
        };
        stroke(&mut canvas, &ends, width);
    }
    Some(canvas)
}

/// A piece of squared paper, or the corner of a box.
pub(crate) fn grid(_: &Digits, rng: &mut ChaCha8Rng) -> Option<Canvas> {
    let side = SIDE as f32;
    let mut canvas = [0.0; PIXELS];
    let width = pen(rng);
    let period = rng.random_range(7.0..side);
    let (mut x, mut y) = (rng.random_range(0.0..period), rng.random_range(0.0..period));
    while x < side {
        stroke(&mut canvas, &[(x, 0.0), (x, side)], width);
        x += period;
    }
    while y < side {
        stroke(&mut canvas, &[(0.0, y), (side, y)], width);
        y += period;
    }
    Some(canvas)
}

/// Three or four curves of a pen, at a digit's place and in its size; fewer are too often digits.
pub(crate) fn scribble(_: &Digits, rng: &mut ChaCha8Rng) -> Option<Canvas> {
    const STEPS: usize = 12;
    let curve = |rng: &mut ChaCha8Rng| {
        let knots: [Point; 4] = [(); 4].map(|()| (rng.random(), rng.random()));
        (0..=STEPS)
            .map(|step| bezier(&knots, step as f32 / STEPS as f32))
            .collect()
    };
    let curves = (0..rng.random_range(3..5)).map(|_| curve(rng)).collect();
    Some(written(curves, pen(rng)))
}

/// A letter or a sign, written unsteadily.
pub(crate) fn letter(_: &Digits, rng: &mut ChaCha8Rng) -> Option<Canvas> {
    const UNSTEADY: f32 = 0.4;
    let strokes = LETTERS[rng.random_range(0..LETTERS.len())].split('/');
    let mut knot = |digits: &str| {
        let mut place = |byte: u8| f32::from(byte - b'0') + rng.random_range(-UNSTEADY..UNSTEADY);
        let [column, row] = digits.as_bytes() else {
            unreachable!("LETTERS has two digits a knot");
        };
        (place(*column), place(*row))
    };
    let strokes = strokes
        .map(|stroke| stroke.split(' ').map(&mut knot).collect())
        .collect();
    Some(written(strokes, pen(rng)))
}

/// One half of a digit. Half a 1 is a 1.
pub(crate) fn half(digits: &Digits, rng: &mut ChaCha8Rng) -> Option<Canvas> {
    const MIDDLE: usize = SIDE / 2;
    let mut canvas = *digits.pick(rng, &[1])?;
    let side = rng.random_range(0..4);
    for (index, ink) in canvas.iter_mut().enumerate() {
        let (row, column) = (index / SIDE, index % SIDE);
        if [row < MIDDLE, row >= MIDDLE, column < MIDDLE, column >= MIDDLE][side] {
            *ink = 0.0;
        }
    }
    Some(canvas)
}

/// A small piece of a digit, three times as large. Of a 1 it would be a thick 1.
fn close_up(digits: &Digits, rng: &mut ChaCha8Rng) -> Option<Canvas> {
    const ZOOM: f32 = 3.0;
    let (top, left) = (rng.random_range(5.0..14.0), rng.random_range(5.0..14.0));
    let digit = digits.pick(rng, &[1])?;
    Some(remap(digit, |row, column| (top + row / ZOOM, left + column / ZOOM)))
}

/// Two digits side by side, or one over the other.
pub(crate) fn pair(digits: &Digits, rng: &mut ChaCha8Rng) -> Option<Canvas> {
    let (first, second) = (digits.pick(rng, &[])?, digits.pick(rng, &[])?);
    let [narrow, apart] = if rng.random() {
        [2.0, 14.0]
    } else {
        [1.0, rng.random_range(6.0..10.0)]
    };
    let half = SIDE as f32 / 2.0;
    let place = |digit, center: f32| remap(digit, |row, column| (row, (column - center) * narrow + half));
    let (left, right) = (place(first, half - apart / 2.0), place(second, half + apart / 2.0));
    Some(std::array::from_fn(|index| left[index].max(right[index])))
}

/// A digit whose quarters have changed places: left and right, or both ways.
fn shuffled(digits: &Digits, rng: &mut ChaCha8Rng) -> Option<Canvas> {
    let digit = digits.pick(rng, &[1])?;
    let half = SIDE as f32 / 2.0;
    let down = if rng.random() { half } else { 0.0 };
    let wrap = |place: f32| if place < half { place + half } else { place - half };
    Some(remap(digit, |row, column| {
        (if down > 0.0 { wrap(row) } else { row }, wrap(column))
    }))
}

/// A digit on its side, where that is none, or seen in a mirror: 0 and 8 are digits both ways, 2 and 5 each other's mirror
/// image, and 1, 6 and 9 too near to digits.
fn turned(digits: &Digits, rng: &mut ChaCha8Rng) -> Option<Canvas> {
    let last = SIDE as f32 - 1.0;
    Some(match rng.random_range(0..3) {
        0 => remap(digits.pick(rng, &[0, 8])?, |row, column| (column, last - row)),
        1 => remap(digits.pick(rng, &[0, 8])?, |row, column| (last - column, row)),
        _ => remap(digits.pick(rng, &[0, 1, 2, 5, 6, 8, 9])?, |row, column| {
            (row, last - column)
        }),
    })
}

/// Width of a pen in pixels, as thin and as thick as the pens of MNIST.
fn pen(rng: &mut ChaCha8Rng) -> f32 {
    rng.random_range(1.5..4.5)
}

/// A point of the cubic Bezier curve, `time` from 0 to 1.
fn bezier(knots: &[Point; 4], time: f32) -> Point {
    let rest = 1.0 - time;
    let weights = [
        rest * rest * rest,
        3.0 * rest * rest * time,
        3.0 * rest * time * time,
        time * time * time,
    ];
    let sum = |part: fn(&Point) -> f32| {
        knots
            .iter()
            .zip(weights)
            .map(|(knot, weight)| part(knot) * weight)
            .sum()
    };
    (sum(|knot| knot.0), sum(|knot| knot.1))
}

/// Strokes of a pen as MNIST has them: the ink's longer side [`INK_BOX`] pixels, its centre of mass at [`CENTER`].
fn written(mut strokes: Vec<Vec<Point>>, width: f32) -> Canvas {
    let (mut low, mut high) = ((f32::MAX, f32::MAX), (f32::MIN, f32::MIN));
    for (x, y) in strokes.iter().flatten() {
        low = (low.0.min(*x), low.1.min(*y));
        high = (high.0.max(*x), high.1.max(*y));
    }
    let longer = (high.0 - low.0).max(high.1 - low.1).max(f32::EPSILON);
    let scale = (INK_BOX as f32 - width) / longer;
    let (mut mass, mut moment) = (f32::EPSILON, (0.0, 0.0));
    for stroke in &strokes {
        for pair in stroke.windows(2) {
            let length = (pair[1].0 - pair[0].0).hypot(pair[1].1 - pair[0].1);
            mass += length;
            moment.0 += length * (pair[0].0 + pair[1].0) / 2.0;
            moment.1 += length * (pair[0].1 + pair[1].1) / 2.0;
        }
    }
    // Pixel i covers i..i + 1 here, and has its centre at i in the convention.
    let middle = CENTER as f32 + 0.5;
    let mut canvas = [0.0; PIXELS];
    for stroke_points in &mut strokes {
        for (x, y) in stroke_points.iter_mut() {
            *x = (*x - moment.0 / mass) * scale + middle;
            *y = (*y - moment.1 / mass) * scale + middle;
        }
        stroke(&mut canvas, stroke_points, width);
    }
    canvas
}

/// Draws a line through the points with soft edges. Pixel `i` covers `i..i + 1`.
pub(crate) fn stroke(canvas: &mut Canvas, points: &[Point], width: f32) {
    for pair in points.windows(2) {
        let [(x0, y0), (x1, y1)] = [pair[0], pair[1]];
        let (dx, dy) = (x1 - x0, y1 - y0);
        let length2 = (dx * dx + dy * dy).max(f32::EPSILON);
        let reach = width / 2.0 + 1.0;
        let pixels =
            |a: f32, b: f32| (a.min(b) - reach).max(0.0) as usize..((a.max(b) + reach).max(0.0) as usize).min(SIDE);
        for row in pixels(y0, y1) {
            for column in pixels(x0, x1) {
                let (x, y) = (column as f32 + 0.5 - x0, row as f32 + 0.5 - y0);
                let along = ((x * dx + y * dy) / length2).clamp(0.0, 1.0);
                let distance = (x - along * dx).hypot(y - along * dy);
                let ink = (width / 2.0 + 0.5 - distance).clamp(0.0, 1.0);
                let pixel = &mut canvas[row * SIDE + column];
                *pixel = pixel.max(ink);
            }
        }
    }
}

/// The picture whose pixel at row and column is the source's at `from(row, column)`, between pixels by their distance.
pub(crate) fn remap(source: &Canvas, from: impl Fn(f32, f32) -> (f32, f32)) -> Canvas {
    let pixel = |row: f32, column: f32| {
        let inside = |place: f32| (0.0..SIDE as f32).contains(&place);
        if inside(row) && inside(column) {
            source[row as usize * SIDE + column as usize]
        } else {
            0.0
        }
    };
    std::array::from_fn(|index| {
        let (row, column) = from((index / SIDE) as f32, (index % SIDE) as f32);
        let (top, left) = (row.floor(), column.floor());
        let (down, right) = (row - top, column - left);
        let upper = pixel(top, left) * (1.0 - right) + pixel(top, left + 1.0) * right;
        let lower = pixel(top + 1.0, left) * (1.0 - right) + pixel(top + 1.0, left + 1.0) * right;
        upper * (1.0 - down) + lower * down
    })
}

#[cfg(test)]
mod tests {
    use models::mnist::Split;
    use models::{CLASSES, Digit};
    use rand::SeedableRng;
    use tch::Device;

    use super::*;

    /// One thick ring of each class.
    fn batch() -> Dataset {
        let mut ring = [0; PIXELS];
        for (index, pixel) in ring.iter_mut().enumerate() {
            let (row, column) = ((index / SIDE) as f32 - 14.0, (index % SIDE) as f32 - 14.0);
            if (row.hypot(column) - 7.0).abs() < 2.0 {
                *pixel = 255;
            }
        }
        let split = Split {
            digits: vec![Digit(ring); CLASSES],
            labels: (0..CLASSES as u8).collect(),
            sha256: Default::default(),
        };
        Dataset::new(&split, Device::Cpu)
    }

    fn rng(seed: u64) -> ChaCha8Rng {
        ChaCha8Rng::seed_from_u64(seed)
    }

    #[test]
    fn a_seed_fixes_every_picture() {
        let first = outliers(&batch(), 20, &mut rng(1));
        assert_eq!(first.size(), [20, 1, 28, 28]);
        assert_eq!(first, outliers(&batch(), 20, &mut rng(1)));
        assert_ne!(first, outliers(&batch(), 20, &mut rng(2)));
    }

    #[test]
    fn every_kind_draws_ink_between_ground_and_full() {
        let (digits, mut rng) = (Digits::new(&batch()), rng(0));
        for (index, kind) in KINDS.into_iter().enumerate() {
            let canvases: Vec<Canvas> = (0..50).filter_map(|_| kind(&digits, &mut rng)).collect();
            assert!(canvases.len() > 5, "kind {index}");
            let ink = canvases.concat();
            assert!(ink.iter().all(|ink| (-1e-5..=1.0 + 1e-5).contains(ink)), "kind {index}");
            assert!(ink.iter().any(|&ink| ink > 0.1), "kind {index}");
        }
    }

    #[test]
    fn digits_that_stay_digits_are_left_out() {
        let mut batch = batch();
        batch.labels = batch.labels.fill(1);
        let digits = Digits::new(&batch);
        assert_eq!(half(&digits, &mut rng(0)), None);
        assert!(pair(&digits, &mut rng(0)).is_some());
    }

    #[test]
    fn what_is_written_lies_like_a_digit() {
        let canvas = written(vec![vec![(0.0, 0.0), (0.0, 10.0), (5.0, 10.0)]], 3.0);
        let rows = canvas
            .chunks(SIDE)
            .filter(|row| row.iter().any(|&ink| ink > 0.5))
            .count();
        assert_eq!(rows, INK_BOX);
        let mass: f32 = canvas.iter().sum();
        let moment: f32 = canvas.iter().enumerate().map(|(i, ink)| ink * (i / SIDE) as f32).sum();
        assert!((f64::from(moment / mass) - CENTER).abs() < 0.3, "{}", moment / mass);
    }
}
