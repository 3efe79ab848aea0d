//! The light that falls on the paper is taken away: what stays is how much darker or lighter than its surroundings a
//! pixel is, with dark and light ink told apart.

use image::GrayImage;

use super::in_vectors;

/// Longer side of the coarse picture in which the ground is looked for.
const COARSE: u32 = 96;
/// Side of the square that must fit into the ground, as a part of the picture's mean side; pens are narrower.
const WINDOW: f32 = 0.4;
/// Side of the squares of which each holds ground, where it is of one level, as a part of the mean side.
const SQUARE: f32 = 0.16;
/// Ground darker than this is not divided by, which would blow up noise.
const DARKEST_GROUND: f32 = 80.0;
/// A sheet fills more than this part of the box around it, its shorter side is more than that part of its longer one, and this more
/// than that part of the picture's. Of MNIST's training digits that are as wide, one in 2000 fills as much.
const SHEET_FILL: f32 = 0.7;
const SHEET_WIDTH: f32 = 0.5;
const SHEET_SIZE: f32 = 0.4;
/// Neighbouring cells of ground that differ by more than this have the edge of a shadow or a table between them.
const EDGE: f32 = 12.0;

/// Ink from 0 to 255 on a ground of 0: the part of the ground's light that the ink takes away.
pub fn ink(mut grey: GrayImage) -> GrayImage {
    let coarse = Coarse::new(&grey);
    let mean_side = ((coarse.width * coarse.height) as f32).sqrt();
    let side = ((mean_side * SQUARE).round() as usize).max(2);
    match (coarse.everywhere(side, greater), coarse.everywhere(side, lesser)) {
        (Some(light), dark) if dark.is_none() || frame_is_light(&grey) => {
            return each(grey, |level| share(light, level));
        }
        (_, Some(dark)) => return each(grey, |level| share(255.0 - dark, 255 - level)),
        _ => {}
    }
    let radius = ((mean_side * WINDOW / 2.0).round() as usize).max(1);
    let inverted = coarse.inverted();
    let slope = coarse.slope();
    let light = coarse.closed_on(slope, radius);
    let dark = inverted.closed_on((-slope.0, -slope.1), radius);
    if dark_on_light(&grey, (&coarse, &light), (&inverted, &dark)) {
        darker_than(&light.lower(&coarse.closed(radius)).widened(), grey)
    } else {
        image::imageops::invert(&mut grey);
        darker_than(&dark.lower(&inverted.closed(radius)).widened(), grey)
    }
}

/// Replaces every level, whole blocks of ground at once.
fn each(mut grey: GrayImage, replaced: impl Fn(u8) -> u8) -> GrayImage {
    let table: [u8; 256] = std::array::from_fn(|level| replaced(level as u8));
    let replace = |levels: &mut [u8]| levels.iter_mut().for_each(|level| *level = table[usize::from(*level)]);
    let (blocks, rest) = grey.as_chunks_mut::<32>();
    for block in blocks {
        match *block == [block[0]; 32] {
            true => *block = [table[usize::from(block[0])]; 32],
            false => replace(block),
        }
    }
    replace(rest);
    grey
}

/// Ink is what can be wiped away and leaves the calmer ground: wiping dark ink off light paper leaves paper and its
/// shadows, while wiping the "light ink" between the strokes leaves a dark blob. A sheet that would be wiped off the table is no
/// ink. Each ground comes with the picture that it was closed from, the dark one inverted.
fn dark_on_light(grey: &GrayImage, (picture, light): (&Coarse, &Coarse), (inverted, dark): (&Coarse, &Coarse)) -> bool {
    match (light.has_sheet(picture), dark.has_sheet(inverted)) {
        (true, false) => return false,
        (false, true) => return true,
        _ => {}
    }
    let (calm_light, calm_dark) = (light.variation(), dark.variation());
    let least = (light.width + light.height) as f32;
    if (calm_light - calm_dark).abs() < least {
        return frame_is_light(grey);
    }
    calm_light < calm_dark
}

/// Whether most of the picture's outermost pixels are nearer to its lightest than to its darkest.
pub fn frame_is_light(grey: &GrayImage) -> bool {
    let (width, height) = grey.dimensions();
    let rows = (0..width).flat_map(|x| [(x, 0), (x, height - 1)]);
    let columns = (0..height).flat_map(|y| [(0, y), (width - 1, y)]);
    let mut frame: Vec<u8> = rows.chain(columns).map(|(x, y)| grey.get_pixel(x, y).0[0]).collect();
    frame.sort_unstable();
    let lightest = grey.iter().copied().max().unwrap_or(0);
    let darkest = grey.iter().copied().min().unwrap_or(0);
    u16::from(frame[frame.len() / 2]) * 2 > u16::from(lightest) + u16::from(darkest)
}

/// `255 * (ground - grey) / ground` where it is positive.
fn darker_than(ground: &Coarse, mut grey: GrayImage) -> GrayImage {
    let (width, height) = (grey.width() as usize, grey.height() as usize);
    let columns = spans(width, ground.cell, ground.width);
    let cells = ground.levels.chunks_exact(ground.width);
    let stretched: Vec<Vec<f32>> = cells.map(|row| stretched(row, &columns, width)).collect();
    let rows = spans(height, ground.cell, ground.height);
    let rows = rows
        .iter()
        .flat_map(|span| span.parts.iter().map(move |&part| (span, part)));
    for (levels, (span, part)) in grey.chunks_exact_mut(width).zip(rows) {
        let (first, second) = (&stretched[span.first], &stretched[span.second]);
        in_vectors(|| {
            for ((level, first), second) in levels.iter_mut().zip(first).zip(second) {
                *level = share(first + (second - first) * part, *level);
            }
        });
    }
    grey
}

/// The part of the light that a level lacks, from 0 to 255.
#[inline(always)]
fn share(light: f32, level: u8) -> u8 {
    let divisor = if light > DARKEST_GROUND { light } else { DARKEST_GROUND };
    rounded((light - f32::from(level)) / divisor * 255.0)
}

/// The levels of a row of cells at every column of the picture.
fn stretched(row: &[f32], columns: &[Span], width: usize) -> Vec<f32> {
    let mut levels = Vec::with_capacity(width);
    for span in columns {
        let (first, second) = (row[span.first], row[span.second]);
        levels.extend(span.parts.iter().map(|part| first + (second - first) * part));
    }
    levels
}

/// The nearest whole number to `level`, which is at most 255; 0 where it is negative. A cast would not vectorise.
#[inline(always)]
fn rounded(level: f32) -> u8 {
    /// From here on floats are whole numbers, which stand in their lowest bits.
    const WHOLE: f32 = (1 << 23) as f32;
    let level = if level > 0.0 { level + 0.5 } else { 0.5 };
    let near = level + WHOLE;
    let past = if near - WHOLE > level { 1.0 } else { 0.0 };
    (near - past).to_bits() as u8
}

/// The pixels between the centres of two neighbouring cells.
struct Span {
    first: usize,
    second: usize,
    /// For each pixel how far it is on its way from the first centre to the second.
    parts: Vec<f32>,
}

fn spans(pixels: usize, cell: usize, cells: usize) -> Vec<Span> {
    let place = |pixel| ((pixel as f32 + 0.5) / cell as f32 - 0.5).clamp(0.0, (cells - 1) as f32);
    let places: Vec<f32> = (0..pixels).map(place).collect();
    let span = |places: &[f32]| {
        let first = places[0] as usize;
        Span {
            first,
            second: (first + 1).min(cells - 1),
            parts: places.iter().map(|place| place - first as f32).collect(),
        }
    };
    places.chunk_by(|a, b| *a as usize == *b as usize).map(span).collect()
}

/// Means of square cells, row by row.
struct Coarse {
    width: usize,
    height: usize,
    cell: usize,
    levels: Vec<f32>,
}

impl Coarse {
    fn new(grey: &GrayImage) -> Coarse {
        let cell = grey.width().max(grey.height()).div_ceil(COARSE) as usize;
        let (width, height) = (grey.width() as usize, grey.height() as usize);
        let columns = width.div_ceil(cell);
        let mut levels = Vec::with_capacity(columns * height.div_ceil(cell));
        let mut sums = vec![0; width];
        for band in grey.chunks(width * cell) {
            sums.fill(0);
            in_vectors(|| {
                for row in band.chunks_exact(width) {
                    for (sum, &level) in sums.iter_mut().zip(row) {
                        *sum += i32::from(level);
                    }
                }
            });
            let pixels = |columns: usize| (band.len() / width * columns) as f32;
            let (whole, rest) = sums.split_at(width / cell * cell);
            let (whole, n) = (whole.chunks_exact(cell), pixels(cell));
            levels.extend(whole.map(|sums| sums.iter().sum::<i32>() as f32 / n));
            if !rest.is_empty() {
                levels.push(rest.iter().sum::<i32>() as f32 / pixels(rest.len()));
            }
        }
        Coarse {
            width: columns,
            height: height.div_ceil(cell),
            cell,
            levels,
        }
    }

    /// The greatest or the least level, where every square of this side holds it: then it is the ground, and there is no light to
    /// take away.
    fn everywhere(&self, side: usize, pick: impl Fn(f32, f32) -> f32) -> Option<f32> {
        let mut picks = Vec::new();
        for band in self.levels.chunks(side * self.width) {
            let mut row = band[..self.width].to_vec();
            for other in band.chunks_exact(self.width) {
                row.iter_mut().zip(other).for_each(|(a, &b)| *a = pick(*a, b));
            }
            picks.extend(
                row.chunks(side)
                    .map(|square| square.iter().copied().fold(square[0], &pick)),
            );
        }
        picks.iter().all(|pick| *pick == picks[0]).then_some(picks[0])
    }

    /// How the light falls off across and down the picture, a cell. Where it does, closing would hang over the border, where a
    /// slope looks like the flank of a stroke. The median knows no steps: the edge of a shadow or of the paper is no slope.
    fn slope(&self) -> (f32, f32) {
        let rows = self.levels.chunks_exact(self.width);
        let (right, down) = (lag(self.width), lag(self.height));
        let across = rows.flat_map(|row| row.iter().zip(&row[right..]));
        let downwards = self.levels.iter().zip(&self.levels[down * self.width..]);
        (median_step(across) / right as f32, median_step(downwards) / down as f32)
    }

    fn sloped(&self, slope: (f32, f32)) -> Coarse {
        let across: Vec<f32> = (0..self.width).map(|x| from_middle(x, self.width) * slope.0).collect();
        let mut levels = Vec::with_capacity(self.levels.len());
        for (y, row) in self.levels.chunks_exact(self.width).enumerate() {
            let down = from_middle(y, self.height) * slope.1;
            levels.extend(row.iter().zip(&across).map(|(level, across)| level + across + down));
        }
        self.with(levels)
    }

    fn inverted(&self) -> Coarse {
        self.with(self.levels.iter().map(|level| 255.0 - level).collect())
    }

    fn with(&self, levels: Vec<f32>) -> Coarse {
        Coarse { levels, ..*self }
    }

    /// The closing of what is left without a slope of the light, which covers all ink as that of the picture itself does: one is
    /// right for light that falls off evenly, the other for light that changes at one place.
    fn closed_on(&self, slope: (f32, f32), radius: usize) -> Coarse {
        self.sloped((-slope.0, -slope.1)).closed(radius).sloped(slope)
    }

    /// The lower one of both levels.
    fn lower(&self, other: &Coarse) -> Coarse {
        let levels = self.levels.iter().zip(&other.levels);
        self.with(levels.map(|(&a, &b)| lesser(a, b)).collect())
    }

    /// Whether what is darker than this ground is a sheet on it, with little on the sheet.
    fn has_sheet(&self, picture: &Coarse) -> bool {
        let levels = self.levels.iter().zip(&picture.levels);
        let ink: Vec<f32> = levels.map(|(ground, level)| ground - level).collect();
        let half = ink.iter().copied().fold(0.0, greater) / 2.0;
        let cells = (0..ink.len()).filter(|&cell| ink[cell] > half);
        let places = cells.map(|cell| (cell % self.width, cell / self.width));
        let (mut n, mut right, mut bottom) = (0, 0, 0);
        let (mut left, mut top) = (self.width, self.height);
        for (x, y) in places {
            n += 1;
            (left, right) = (left.min(x), right.max(x + 1));
            (top, bottom) = (top.min(y), bottom.max(y + 1));
        }
        let (width, height) = (right.saturating_sub(left) as f32, bottom.saturating_sub(top) as f32);
        let is_wide = width.min(height) > SHEET_WIDTH * width.max(height);
        let is_large = width.max(height) > SHEET_SIZE * self.width.max(self.height) as f32;
        is_wide && is_large && n as f32 > SHEET_FILL * width * height
    }

    /// Morphological closing by reconstruction (Vincent 1993): what is dark and narrower than the window takes the level of its
    /// surroundings, while shadows and the table around the paper stay as they are, whatever their form.
    fn closed(&self, radius: usize) -> Coarse {
        let mut ground = self.filtered(radius, f32::NEG_INFINITY, greater);
        let reversed: Vec<f32> = self.levels.iter().rev().copied().collect();
        loop {
            let before = ground.levels.clone();
            sink(&mut ground.levels, &self.levels, self.width);
            ground.levels.reverse();
            sink(&mut ground.levels, &reversed, self.width);
            ground.levels.reverse();
            if ground.levels == before {
                return ground;
            }
        }
    }

    /// The ground with the dark side of its edges two cells wider: where in a cell an edge lies is not known, and what is dark beside
    /// it is no ink.
    fn widened(self) -> Coarse {
        if self.cell == 1 {
            return self;
        }
        let low = self.filtered(2, f32::INFINITY, lesser);
        let levels = self.levels.iter().zip(&low.levels);
        let level = |(&level, &low): (&f32, &f32)| if level - low > EDGE { low } else { level };
        self.with(levels.map(level).collect())
    }

    /// The greatest or the least level within `radius` cells in both directions; `none` is what lies beyond the border.
    fn filtered(&self, radius: usize, none: f32, pick: impl Fn(f32, f32) -> f32) -> Coarse {
        let beyond = vec![none; radius * self.width];
        let window = 2 * radius + 1;
        let down = running([&beyond[..], &self.levels, &beyond].concat(), self.width, window, &pick);
        let mut wide = Vec::with_capacity(self.height * (self.width + 2 * radius));
        for row in down.chunks_exact(self.width) {
            wide.extend_from_slice(&beyond[..radius]);
            wide.extend_from_slice(row);
            wide.extend_from_slice(&beyond[..radius]);
        }
        let across = running(wide, 1, window, &pick);
        let mut levels = Vec::with_capacity(self.levels.len());
        for row in across.chunks(self.width + 2 * radius) {
            levels.extend_from_slice(&row[..self.width]);
        }
        self.with(levels)
    }

    /// How much neighbouring cells differ, in total.
    fn variation(&self) -> f32 {
        let rows = self.levels.chunks_exact(self.width);
        let across: f32 = rows.map(|row| differences(row, &row[1..])).sum();
        let down = differences(&self.levels, &self.levels[self.width..]);
        across + down
    }
}

/// How many of `cells` to look ahead for the slope: steps of neighbours are too small for whole levels, and over more of them
/// the edge of a shadow lies.
fn lag(cells: usize) -> usize {
    cells.div_ceil(8)
}

/// The middle one of all steps from one level to another; 0 of none.
fn median_step<'a>(pairs: impl Iterator<Item = (&'a f32, &'a f32)>) -> f32 {
    let mut steps: Vec<f32> = pairs.map(|(from, to)| to - from).collect();
    let middle = steps.len() / 2;
    match steps.is_empty() {
        true => 0.0,
        false => *steps.select_nth_unstable_by(middle, f32::total_cmp).1,
    }
}

/// Lets each level, row by row, sink to those above and on its left, but not below the `floor`.
fn sink(levels: &mut [f32], floor: &[f32], width: usize) {
    let mut above: &[f32] = &[];
    for (row, floor) in levels.chunks_exact_mut(width).zip(floor.chunks_exact(width)) {
        let falling = row.iter_mut().zip(floor).zip(above);
        falling.for_each(|((level, &floor), &above)| *level = greater(lesser(*level, above), floor));
        let mut left = f32::INFINITY;
        for (level, &floor) in row.iter_mut().zip(floor) {
            left = greater(lesser(*level, left), floor);
            *level = left;
        }
        above = row;
    }
}

/// How far a cell is from the middle of `cells`.
fn from_middle(cell: usize, cells: usize) -> f32 {
    cell as f32 - (cells - 1) as f32 / 2.0
}

/// How much two lists of levels differ, in total.
fn differences(one: &[f32], other: &[f32]) -> f32 {
    let differences: Vec<f32> = one.iter().zip(other).map(|(a, b)| (a - b).abs()).collect();
    sum(&differences)
}

/// The sum of all levels, of which many are added at once.
fn sum(levels: &[f32]) -> f32 {
    let (blocks, rest) = levels.as_chunks::<16>();
    let mut sums = [0.0; 16];
    for block in blocks {
        for (sum, level) in sums.iter_mut().zip(block) {
            *sum += level;
        }
    }
    sums.iter().chain(rest).sum()
}

/// The greater of two levels; unlike [`f32::max`] it is one instruction.
fn greater(a: f32, b: f32) -> f32 {
    if a > b { a } else { b }
}

/// The lesser of two levels.
fn lesser(a: f32, b: f32) -> f32 {
    if a < b { a } else { b }
}

/// Picks among each level and those that follow it at so many steps, as many as the window has.
fn running(mut levels: Vec<f32>, step: usize, window: usize, pick: impl Fn(f32, f32) -> f32) -> Vec<f32> {
    let mut picked = 1;
    // Each is the pick of `picked` levels already, and two of them make one of up to twice as many.
    while picked < window {
        let more = picked.min(window - picked);
        let next = &levels[more * step..];
        levels = in_vectors(|| levels.iter().zip(next).map(|(&a, &b)| pick(a, b)).collect());
        picked += more;
    }
    levels
}

#[cfg(test)]
mod tests {
    use image::Luma;

    use super::*;

    fn stroke(x: u32) -> bool {
        (48..52).contains(&x)
    }

    #[test]
    fn ink_is_a_share_of_the_light_whatever_the_light() {
        let lit = GrayImage::from_fn(100, 60, |x, _| {
            let light = 100.0 + x as f32;
            Luma([if stroke(x) { light * 0.2 } else { light } as u8])
        });
        let ink = ink(lit);
        for (x, y, level) in ink.enumerate_pixels() {
            let expected = if stroke(x) { 204 } else { 0 };
            assert!(level.0[0].abs_diff(expected) < 12, "{x} {y}: {}", level.0[0]);
        }
    }

    #[test]
    fn a_ground_of_one_level_has_no_ink() {
        for (pen, paper) in [(40, 200), (200, 40)] {
            let drawn = GrayImage::from_fn(100, 60, |x, _| Luma([if stroke(x) { pen } else { paper }]));
            let ink = ink(drawn);
            let expected = |x| {
                if stroke(x) {
                    share(f32::from(paper.max(255 - paper)), pen.min(255 - pen))
                } else {
                    0
                }
            };
            assert!(ink.enumerate_pixels().all(|(x, _, level)| level.0[0] == expected(x)));
        }
        // A dark half is not drawn on the other.
        let halves = GrayImage::from_fn(100, 60, |x, _| Luma([if x < 50 { 40 } else { 200 }]));
        assert!(Coarse::new(&halves).everywhere(12, greater).is_none());
    }

    #[test]
    fn edges_of_light_are_no_ink_wherever_they_lie() {
        for edge in 70..90 {
            for slant in [0, 3] {
                let shadow = GrayImage::from_fn(200, 150, |x, y| {
                    Luma([if x < edge + y / 10 * slant { 230 } else { 60 }])
                });
                let most = ink(shadow).iter().copied().max();
                assert!(most < Some(20), "{edge} {slant}: {most:?}");
            }
        }
    }

    #[test]
    fn a_sheet_is_no_ink_though_no_window_fits_between_what_is_on_it() {
        let is_written = |x: u32, y: u32| (40..130).contains(&x) && (35..100).contains(&y) && x % 25 < 4;
        let sheet = GrayImage::from_fn(160, 130, |x, y| {
            let paper = (20..140).contains(&x) && (20..110).contains(&y);
            Luma([if paper && !is_written(x, y) { 220 } else { 40 }])
        });
        let ink = ink(sheet);
        for (x, y, level) in ink
            .enumerate_pixels()
            .filter(|(x, y, _)| (25..135).contains(x) && (25..105).contains(y))
        {
            assert_eq!(level.0[0] > 100, is_written(x, y), "{x} {y}: {}", level.0[0]);
        }
    }

    #[test]
    fn light_ink_is_found_on_dark_ground_and_on_a_table() {
        let chalk = GrayImage::from_fn(100, 60, |x, _| Luma([if stroke(x) { 200 } else { 30 }]));
        assert!(ink(chalk)[(50, 30)].0[0] > 150);
        // Light paper on a dark table: what is written on it is still dark ink.
        let table = GrayImage::from_fn(200, 200, |x, y| {
            let paper = (30..170).contains(&x) && (30..170).contains(&y);
            let pen = (98..102).contains(&x) && (60..140).contains(&y);
            Luma([if pen {
                40
            } else if paper {
                220
            } else {
                70
            }])
        });
        let found = ink(table);
        assert!(found[(100, 100)].0[0] > 150 && found[(60, 60)].0[0] < 20);
    }
}
