//! One digit's ink is drawn again as MNIST draws it: strokes of a usual width, the longer side 20 pixels, smooth edges,
//! the centre of mass in the middle.

use image::GrayImage;

use super::{CENTER, GlyphError, INK_BOX, Rect};
use crate::{Digit, PIXELS, SIDE};

/// Pixels of the fine picture to one of the digit, in each direction.
const FINE: usize = 4;
/// Side of the box in the fine picture.
const FINE_BOX: usize = INK_BOX * FINE;
/// Ink of this part of the threshold is drawn where it hangs on a digit: a pen's pressure varies.
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

/// Draws the ink in a box as a digit; only pixels whose index `keep` allows are ink.
///
/// # Errors
/// When what is drawn can be no digit.
pub fn place(
    ink: &GrayImage,
    threshold: u8,
    bounds: Rect,
    keep: impl Fn(usize) -> bool,
    pen: Pen,
) -> Result<Digit, GlyphError> {
    if bounds.width.max(bounds.height) < SMALLEST {
        return Err(GlyphError::Speck);
    }
    let crop = Crop::new(ink, bounds, keep);
    let threshold = f32::from(threshold) * DRAWN;
    let fine = crop.drawn(0.0, threshold);
    let outline = fine.outline() / FINE as f32;
    let stroke = fine.stroke() / FINE as f32;
    if outline > LONGEST_OUTLINE {
        return Err(GlyphError::Intricate);
    }
    if stroke > WIDEST_STROKE {
        return Err(GlyphError::Solid);
    }
    if pen == Pen::Own || stroke >= THIN_STROKE {
        return Ok(centered(&fine));
    }
    // The strokes grow outwards by a radius, and the whole must still fill the box. Drawn into the box less the radius
    // on each side a stroke is s * (1 - 2 r / box) wide, and 2 r more is the usual width.
    let radius = FINE as f32 * (USUAL_STROKE - stroke) / 2.0 / (1.0 - stroke / INK_BOX as f32);
    let mut fine = crop.drawn(radius, threshold);
    fine.thicken(radius);
    Ok(centered(&fine))
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
    fn new(ink: &GrayImage, bounds: Rect, keep: impl Fn(usize) -> bool) -> Crop {
        let [left, top, width, height] =
            [bounds.left, bounds.top, bounds.width, bounds.height].map(|value| value as usize);
        let cell = (width.max(height) / FINE_BOX).max(1);
        let mut crop = Crop {
            width: width.div_ceil(cell) + 2,
            height: height.div_ceil(cell) + 2,
            ink: (width as f32 / cell as f32, height as f32 / cell as f32),
            levels: Vec::new(),
        };
        crop.levels = vec![0; crop.width * crop.height];
        for y in 0..height {
            let row = (top + y) * ink.width() as usize + left;
            let cells = &mut crop.levels[(y / cell + 1) * crop.width + 1..];
            for x in 0..width {
                // The greatest level and not the mean, in which a pen thinner than a cell would vanish.
                if keep(row + x) {
                    cells[x / cell] = cells[x / cell].max(ink.as_raw()[row + x]);
                }
            }
        }
        crop
    }

    /// The ink scaled so that its longer side fills the fine box less `margin` on each side.
    fn drawn(&self, margin: f32, threshold: f32) -> Fine {
        let (ink_width, ink_height) = self.ink;
        let scale = (FINE_BOX as f32 - 2.0 * margin) / ink_width.max(ink_height);
        // Both sides are whole pixels of the digit, so that the box lies on its grid.
        let whole = |side: f32| ((side * scale + 2.0 * margin) / FINE as f32 - 1e-3).ceil().max(1.0) as usize * FINE;
        let (width, height) = (whole(ink_width), whole(ink_height));
        let source =
            |place: usize, side: usize, ink: f32| (place as f32 + 0.5 - side as f32 / 2.0) / scale + ink / 2.0 + 0.5;
        let columns: Vec<f32> = (0..width).map(|x| source(x, width, ink_width)).collect();
        let mut ink = Vec::with_capacity(width * height);
        for y in 0..height {
            let row = source(y, height, ink_height);
            ink.extend(columns.iter().map(|&column| self.level(column, row) >= threshold));
        }
        Fine { width, height, ink }
    }

    /// The level between the centres of four cells, which are counted from 0.
    fn level(&self, x: f32, y: f32) -> f32 {
        let (x, y) = (x.max(0.0), y.max(0.0));
        let (left, top) = ((x as usize).min(self.width - 1), (y as usize).min(self.height - 1));
        let (right, bottom) = ((left + 1).min(self.width - 1), (top + 1).min(self.height - 1));
        let at = |x: usize, y: usize| f32::from(self.levels[y * self.width + x]);
        let (dx, dy) = (x - left as f32, y - top as f32);
        let above = at(left, top) + (at(right, top) - at(left, top)) * dx;
        let below = at(left, bottom) + (at(right, bottom) - at(left, bottom)) * dx;
        above + (below - above) * dy
    }
}

/// A digit in black and white, [`FINE`] times as large as it will be.
struct Fine {
    width: usize,
    height: usize,
    ink: Vec<bool>,
}

impl Fine {
    /// Mean width of the strokes: a stroke's area is its length times its width, its outline twice its length.
    fn stroke(&self) -> f32 {
        let area = self.ink.iter().filter(|&&ink| ink).count() as f32;
        2.0 * area / self.outline().max(1.0)
    }

    /// Length of the edges between ink and ground.
    fn outline(&self) -> f32 {
        let mut edges = 0;
        for y in 0..self.height {
            for x in 0..self.width {
                let here = self.ink[y * self.width + x];
                let right = x + 1 < self.width && self.ink[y * self.width + x + 1];
                let below = y + 1 < self.height && self.ink[(y + 1) * self.width + x];
                edges += usize::from(here != right) + usize::from(here != below);
                edges += usize::from(here && x == 0) + usize::from(here && y == 0);
            }
        }
        // Stairs of pixels are longer than the slanted edge, by 4 / pi in the mean of all directions.
        edges as f32 * std::f32::consts::FRAC_PI_4
    }

    /// Widens every stroke by `radius` on each side.
    fn thicken(&mut self, radius: f32) {
        let reach = radius.ceil() as i64;
        let disc: Vec<(i64, i64)> = (-reach..=reach)
            .flat_map(|dy| (-reach..=reach).map(move |dx| (dx, dy)))
            .filter(|&(dx, dy)| ((dx * dx + dy * dy) as f32) <= radius * radius)
            .collect();
        let thin = std::mem::take(&mut self.ink);
        self.ink = vec![false; thin.len()];
        for place in (0..thin.len()).filter(|&place| thin[place]) {
            let (x, y) = ((place % self.width) as i64, (place / self.width) as i64);
            for &(dx, dy) in &disc {
                let (x, y) = (x + dx, y + dy);
                if (0..self.width as i64).contains(&x) && (0..self.height as i64).contains(&y) {
                    self.ink[y as usize * self.width + x as usize] = true;
                }
            }
        }
    }
}

/// Shares of ink become levels, and the centre of mass comes as near to [`CENTER`] as whole pixels allow.
fn centered(fine: &Fine) -> Digit {
    let (width, height) = (fine.width / FINE, fine.height / FINE);
    let mut levels = vec![0u32; width * height];
    for (place, _) in fine.ink.iter().enumerate().filter(|&(_, &ink)| ink) {
        levels[place / fine.width / FINE * width + place % fine.width / FINE] += 1;
    }
    let (mut mass, mut mass_x, mut mass_y) = (0, 0, 0);
    for (place, &level) in levels.iter().enumerate() {
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
        digit.0[y * SIDE + x] = (level * 255 / (FINE * FINE) as u32) as u8;
    }
    digit
}
