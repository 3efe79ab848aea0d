//! One digit's ink is drawn again as MNIST draws it: strokes of a usual width, the longer side 20 pixels, the centre of mass
//! in the middle. Its grey levels stay, for they tell where in a pixel an edge lies; only strokes that must get wider are drawn
//! anew in black and white.

use std::iter;

use image::GrayImage;

use super::components::Run;
use super::{CENTER, GlyphError, INK_BOX, Rect};
use crate::{Digit, PIXELS, SIDE};

/// Pixels of the fine picture to one of the digit, in each direction.
const FINE: usize = 4;
/// Side of the box in the fine picture.
const FINE_BOX: usize = INK_BOX * FINE;
/// Ink of this part of the threshold counts for the width and the centre of a digit's strokes, and is drawn where they get wider: a
/// pen's pressure varies.
const DRAWN: f32 = 0.8;
/// Strokes thinner than this, in pixels of the digit, are drawn wider.
const THIN_STROKE: f32 = 2.0;
/// The width that they get; MNIST's strokes are about so wide.
const USUAL_STROKE: f32 = 2.4;
/// Wider strokes are solid shapes, in pixels of the digit.
const WIDEST_STROKE: f32 = 7.0;
/// A longer outline is no digit's, in pixels of the digit.
const LONGEST_OUTLINE: f32 = 200.0;
/// Smallest longer side of a digit, in pixels of the picture that is worked on.
const SMALLEST: u32 = 6;

/// Which pen a digit is drawn with.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Pen {
    /// The one that it was written with.
    Own,
    /// One that is at least as wide as usual.
    Usual,
}

/// Draws the ink in a box as a digit; the runs in `others` are no ink of it.
///
/// # Errors
/// When what is drawn can be no digit.
pub fn place<'a>(
    ink: &GrayImage,
    threshold: u8,
    bounds: Rect,
    others: impl IntoIterator<Item = &'a Run>,
    pen: Pen,
) -> Result<Digit, GlyphError> {
    if bounds.width.max(bounds.height) < SMALLEST {
        return Err(GlyphError::Speck);
    }
    let crop = Crop::new(ink, bounds, others);
    let threshold = f32::from(threshold) * DRAWN;
    let drawn = crop.drawn(0.0);
    let fine = drawn.inked(threshold);
    let outline = fine.outline() / FINE as f32;
    let stroke = fine.stroke() / FINE as f32;
    if outline > LONGEST_OUTLINE {
        return Err(GlyphError::Intricate);
    }
    if stroke > WIDEST_STROKE {
        return Err(GlyphError::Solid);
    }
    if pen == Pen::Own || stroke >= THIN_STROKE {
        return Ok(centered(&drawn.levels(), &fine.levels(), fine.width / FINE));
    }
    // The strokes grow outwards by a radius, and the whole must still fill the box. Drawn into the box less the radius
    // on each side a stroke is s * (1 - 2 r / box) wide, and 2 r more is the usual width.
    let radius = FINE as f32 * (USUAL_STROKE - stroke) / 2.0 / (1.0 - stroke / INK_BOX as f32);
    let thick = crop.drawn(radius).inked(threshold).thickened(radius);
    let levels = thick.levels();
    Ok(centered(&levels, &levels, thick.width / FINE))
}

/// The ink in a box, shrunk towards the fine box by a whole factor, with one cell of ground around it.
struct Crop {
    /// Columns and rows of cells, with the ground.
    width: usize,
    height: usize,
    /// Width and height of the ink in cells.
    ink: (f32, f32),
    levels: Vec<u8>,
}

impl Crop {
    fn new<'a>(ink: &GrayImage, bounds: Rect, others: impl IntoIterator<Item = &'a Run>) -> Crop {
        let (width, height) = (bounds.width as usize, bounds.height as usize);
        let cell = (width.max(height) / FINE_BOX).max(1);
        let mut crop = Crop {
            width: width.div_ceil(cell) + 2,
            height: height.div_ceil(cell) + 2,
            ink: (width as f32 / cell as f32, height as f32 / cell as f32),
            levels: Vec::new(),
        };
        crop.levels = vec![0; crop.width * crop.height];
        let mut levels = cut_out(ink, &bounds, others);
        let rows = crop.levels.chunks_exact_mut(crop.width).skip(1);
        for (cells, band) in rows.zip(levels.chunks_mut(cell * width)) {
            // The greatest level and not the mean, in which a pen thinner than a cell would vanish.
            let (most, others) = band.split_at_mut(width);
            for row in others.chunks_exact(width) {
                most.iter_mut()
                    .zip(row)
                    .for_each(|(most, &level)| *most = level.max(*most));
            }
            match cell {
                1 => cells[1..=width].copy_from_slice(most),
                _ => {
                    for (cell, levels) in cells[1..].iter_mut().zip(most.chunks(cell)) {
                        *cell = levels.iter().copied().fold(0, u8::max);
                    }
                }
            }
        }
        crop
    }

    /// The ink scaled so that its longer side fills the fine box less `margin` on each side.
    fn drawn(&self, margin: f32) -> Drawn {
        let (ink_width, ink_height) = self.ink;
        let scale = (FINE_BOX as f32 - 2.0 * margin) / ink_width.max(ink_height);
        // Both sides are whole pixels of the digit, so that the box lies on its grid.
        let whole = |side: f32| ((side * scale + 2.0 * margin) / FINE as f32 - 1e-3).ceil().max(1.0) as usize * FINE;
        let (width, height) = (whole(ink_width), whole(ink_height));
        let source =
            |place: usize, side: usize, ink: f32| (place as f32 + 0.5 - side as f32 / 2.0) / scale + ink / 2.0 + 0.5;
        let columns = (0..width).map(|x| Between::new(source(x, width, ink_width), self.width));
        let columns: Vec<Between> = columns.collect();
        let rows = self.levels.chunks_exact(self.width).map(|row| stretched(row, &columns));
        let rows: Vec<[f32; FINE_BOX]> = rows.collect();
        let between = |y| {
            let place = Between::new(source(y, height, ink_height), self.height);
            let (above, below) = (&rows[usize::from(place.first)], &rows[usize::from(place.second)]);
            std::array::from_fn(|x| above[x] + (below[x] - above[x]) * place.part)
        };
        Drawn {
            width,
            rows: (0..height).map(between).collect(),
        }
    }
}

/// The levels in a box row by row, without the `others`.
fn cut_out<'a>(ink: &GrayImage, bounds: &Rect, others: impl IntoIterator<Item = &'a Run>) -> Vec<u8> {
    let [left, top, width, height] = [bounds.left, bounds.top, bounds.width, bounds.height].map(|value| value as usize);
    let mut levels = Vec::with_capacity(width * height);
    for row in ink.chunks_exact(ink.width() as usize).skip(top).take(height) {
        levels.extend_from_slice(&row[left..left + width]);
    }
    for run in others {
        let columns = run.columns();
        let (start, end) = (columns.start.max(left), columns.end.min(left + width));
        let row = run.row().wrapping_sub(top);
        if start < end && row < height {
            levels[row * width..][start - left..end - left].fill(0);
        }
    }
    levels
}

/// A place between the centres of two cells, which are counted from 0.
struct Between {
    first: u8,
    second: u8,
    /// How far it is on its way from the first to the second.
    part: f32,
}

impl Between {
    fn new(place: f32, cells: usize) -> Between {
        let place = place.max(0.0);
        let last = (cells - 1) as u8;
        let first = (place as u8).min(last);
        Between {
            first,
            second: first.saturating_add(1).min(last),
            part: place - f32::from(first),
        }
    }
}

/// The levels of a row of cells at the columns of a fine picture.
fn stretched(row: &[u8], columns: &[Between]) -> [f32; FINE_BOX] {
    // There are never more cells than bytes can count, so that no index is out of bounds.
    let mut cells = [0.0; 256];
    for (cell, &level) in cells.iter_mut().zip(row) {
        *cell = f32::from(level);
    }
    let mut levels = [0.0; FINE_BOX];
    for (level, column) in levels.iter_mut().zip(columns) {
        let (first, second) = (cells[usize::from(column.first)], cells[usize::from(column.second)]);
        *level = first + (second - first) * column.part;
    }
    levels
}

/// A digit's ink in grey, [`FINE`] times as large as it will be.
struct Drawn {
    width: usize,
    /// Levels from the left; what is beyond the width belongs to nothing.
    rows: Vec<[f32; FINE_BOX]>,
}

impl Drawn {
    /// What is at least at the threshold.
    fn inked(&self, threshold: f32) -> Fine {
        const LANES: usize = 16;
        let row = |levels: &[f32; FINE_BOX]| {
            let blocks = levels.as_chunks::<LANES>().0.iter();
            let bits = blocks.map(|block| -> u32 {
                let is_ink = |at: usize| u32::from(block[at] >= threshold);
                (0..LANES).map(|at| is_ink(at) << at).sum()
            });
            bits.zip((0..).step_by(LANES))
                .fold(0, |row, (bits, at)| row | u128::from(bits) << at)
        };
        Fine {
            width: self.width,
            rows: self.rows.iter().map(row).collect(),
        }
    }

    /// The levels of the digit's box, whose darkest ink is as dark as MNIST's.
    fn levels(&self) -> Vec<u8> {
        let width = self.width / FINE;
        let bands = self.rows.chunks_exact(FINE);
        let sums = bands.flat_map(|band| {
            (0..width).map(|x| {
                let cells = band.iter().flat_map(|row| &row[x * FINE..(x + 1) * FINE]);
                cells.sum::<f32>()
            })
        });
        let sums: Vec<f32> = sums.collect();
        let darkest = self.rows.as_flattened().iter().copied().fold(1.0, f32::max) * (FINE * FINE) as f32;
        sums.iter().map(|sum| (sum / darkest * 255.0).round() as u8).collect()
    }
}

/// A digit in black and white, [`FINE`] times as large as it will be.
struct Fine {
    width: usize,
    /// A bit for each pixel, the leftmost the lowest.
    rows: Vec<u128>,
}

impl Fine {
    /// Mean width of the strokes: a stroke's area is its length times its width, its outline twice its length.
    fn stroke(&self) -> f32 {
        let area: u32 = self.rows.iter().map(|row| row.count_ones()).sum();
        2.0 * area as f32 / self.outline().max(1.0)
    }

    /// Length of the edges between ink and ground.
    fn outline(&self) -> f32 {
        let above = iter::once(&0).chain(&self.rows);
        let below = self.rows.iter().chain(iter::once(&0));
        let across: u32 = self.rows.iter().map(|row| (row ^ row << 1).count_ones()).sum();
        let down: u32 = above
            .zip(below)
            .map(|(above, below)| (above ^ below).count_ones())
            .sum();
        // Stairs of pixels are longer than the slanted edge, by 4 / pi in the mean of all directions.
        (across + down) as f32 * std::f32::consts::FRAC_PI_4
    }

    /// The levels of the digit's box, which are shares of ink.
    fn levels(&self) -> Vec<u8> {
        let width = self.width / FINE;
        let mut levels = Vec::with_capacity(width * self.rows.len() / FINE);
        for rows in self.rows.chunks_exact(FINE) {
            let (even, odd) = counts(rows);
            let counts = even.into_iter().zip(odd).flat_map(|(even, odd)| [even, odd]);
            levels.extend(
                counts
                    .take(width)
                    .map(|count| (u32::from(count) * 255 / (FINE * FINE) as u32) as u8),
            );
        }
        levels
    }

    /// Every stroke wider by `radius` on each side.
    fn thickened(&self, radius: f32) -> Fine {
        let reach = radius.ceil() as usize;
        let in_disc = |dx: usize, dy: usize| (dx * dx + dy * dy) as f32 <= radius * radius;
        let mut rows = vec![0; self.rows.len()];
        for dy in 0..=reach {
            let Some(half) = (0..=reach).rev().find(|&dx| in_disc(dx, dy)) else {
                continue;
            };
            for (y, row) in self.rows.iter().enumerate() {
                let wide = (1..=half).fold(*row, |wide, dx| wide | row << dx | row >> dx);
                for beside in [y.wrapping_sub(dy), y + dy] {
                    if let Some(thick) = rows.get_mut(beside) {
                        *thick |= wide & ((1 << self.width) - 1);
                    }
                }
            }
        }
        Fine { rows, ..*self }
    }
}

/// How much ink there is in each [`FINE`] columns of as many rows: in the first, the third and so on, and in those between.
fn counts(rows: &[u128]) -> ([u8; 16], [u8; 16]) {
    const PAIRS: u128 = u128::MAX / 0b11;
    const FOURS: u128 = u128::MAX / 0b101;
    const EIGHTS: u128 = u128::MAX / 0b1_0001;
    let (mut even, mut odd) = (0, 0);
    for &row in rows {
        // Neighbouring bits, and then neighbouring sums, are added all at once.
        let pairs = (row & PAIRS) + (row >> 1 & PAIRS);
        let fours = (pairs & FOURS) + (pairs >> 2 & FOURS);
        even += fours & EIGHTS;
        odd += fours >> 4 & EIGHTS;
    }
    (u128::to_le_bytes(even), u128::to_le_bytes(odd))
}

/// The levels of a digit's box, moved so that the centre of the `ink` comes as near to [`CENTER`] as whole pixels allow.
fn centered(levels: &[u8], ink: &[u8], width: usize) -> Digit {
    let height = levels.len() / width;
    let (mut mass, mut mass_x, mut mass_y) = (0, 0, 0);
    for (place, level) in ink.iter().enumerate() {
        let level = u32::from(*level);
        mass += level;
        mass_x += level * (place % width) as u32;
        mass_y += level * (place / width) as u32;
    }
    let offset = |moment: u32, side: usize| {
        let middle = f64::from(moment) / f64::from(mass.max(1));
        ((CENTER - middle).round().max(0.0) as usize).min(SIDE.saturating_sub(side))
    };
    let (left, top) = (offset(mass_x, width), offset(mass_y, height));
    let mut digit = Digit([0; PIXELS]);
    for (place, &level) in levels.iter().enumerate() {
        let (x, y) = (left + place % width, top + place / width);
        digit.0[y * SIDE + x] = level;
    }
    digit
}
