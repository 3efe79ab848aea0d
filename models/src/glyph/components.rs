//! Ink that hangs together, found by flooding.

use image::GrayImage;

use super::Rect;

/// Marks of ink and which of them each pixel belongs to.
pub struct Components {
    /// Index into `list` plus one for each pixel, row by row; 0 is the ground.
    pub labels: Vec<u32>,
    /// The marks, in the order in which their first pixel is met.
    pub list: Vec<Component>,
}

/// One mark: pixels that touch by side or corner.
#[derive(Clone, Copy, Debug)]
pub struct Component {
    /// The smallest box around it.
    pub bounds: Rect,
    /// Its pixels.
    pub area: u32,
    /// Marks with the same number hang together by faint ink.
    pub bridge: u32,
}

impl Components {
    /// Finds the marks whose pixels are at least at `threshold`. Fainter ink from `faint` on tells which marks hang
    /// together where the pen barely touched the paper.
    pub fn find(ink: &GrayImage, threshold: u8, faint: u8) -> Components {
        let mut found = flooded(ink, threshold);
        let bridges = flooded(ink, faint).labels;
        for (&label, bridge) in found.labels.iter().zip(bridges) {
            if let Some(mark) = (label as usize)
                .checked_sub(1)
                .and_then(|index| found.list.get_mut(index))
            {
                mark.bridge = bridge;
            }
        }
        found
    }

    /// Tells for the index of a pixel whether it is ground or belongs to one of the `members`.
    pub fn only(&self, members: &[usize]) -> impl Fn(usize) -> bool {
        let mut chosen = vec![false; self.list.len() + 1];
        chosen[0] = true;
        for member in members {
            chosen[member + 1] = true;
        }
        move |place| chosen[self.labels[place] as usize]
    }
}

fn flooded(ink: &GrayImage, threshold: u8) -> Components {
    let (width, height) = (ink.width() as usize, ink.height() as usize);
    let levels = ink.as_raw();
    let mut labels = vec![0u32; width * height];
    let mut list = Vec::new();
    let mut open = Vec::new();
    for start in 0..labels.len() {
        if levels[start] < threshold || labels[start] != 0 {
            continue;
        }
        let label = list.len() as u32 + 1;
        let (mut left, mut right, mut bottom, mut area) = (width, 0, 0, 0);
        labels[start] = label;
        open.push(start);
        while let Some(place) = open.pop() {
            let (x, y) = (place % width, place / width);
            (left, right, bottom) = (left.min(x), right.max(x), bottom.max(y));
            area += 1;
            for row in y.saturating_sub(1)..=(y + 1).min(height - 1) {
                for near in row * width + x.saturating_sub(1)..=row * width + (x + 1).min(width - 1) {
                    if labels[near] == 0 && levels[near] >= threshold {
                        labels[near] = label;
                        open.push(near);
                    }
                }
            }
        }
        let top = start / width;
        list.push(Component {
            bounds: Rect {
                left: left as u32,
                top: top as u32,
                width: (right - left + 1) as u32,
                height: (bottom - top + 1) as u32,
            },
            area,
            bridge: 0,
        });
    }
    Components { labels, list }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(rows: &[&str]) -> GrayImage {
        let level = |character| match character {
            '#' => 255,
            '+' => 100,
            _ => 0,
        };
        let levels = rows.concat().chars().map(level).collect();
        GrayImage::from_raw(rows[0].len() as u32, rows.len() as u32, levels).unwrap()
    }

    #[test]
    fn marks_hang_together_by_sides_corners_and_faint_ink() {
        let found = Components::find(&picture(&["#..#+#", ".#....", "......", "##...."]), 128, 64);
        let areas: Vec<u32> = found.list.iter().map(|mark| mark.area).collect();
        assert_eq!(areas, [2, 1, 1, 2]);
        let (left, right) = (found.list[1], found.list[2]);
        assert_eq!(left.bridge, right.bridge);
        assert_ne!(found.list[0].bridge, left.bridge);
        assert_eq!(found.list[3].bounds.bottom(), 4);
    }

    #[test]
    fn only_the_chosen_and_the_ground_are_kept() {
        let found = Components::find(&picture(&["#.#"]), 128, 128);
        let keep = found.only(&[1]);
        assert_eq!([keep(0), keep(1), keep(2)], [false, true, true]);
    }
}
