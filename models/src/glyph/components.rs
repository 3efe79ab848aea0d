//! Ink that hangs together: runs of ink in each row, joined where they touch a run of the row above.

use std::iter;
use std::ops::Range;

use image::GrayImage;

use super::Rect;

/// Marks of ink and which of them each run of ink belongs to.
pub struct Components {
    /// The marks, in the order in which their first pixel is met.
    pub list: Vec<Component>,
    /// All runs, row by row from the left.
    runs: Vec<Run>,
    /// For each run the index of its mark.
    marks: Vec<u32>,
}

/// One mark: pixels that touch by side or corner.
#[derive(Clone, Copy, Debug)]
pub struct Component {
    /// The smallest box around it.
    pub bounds: Rect,
    /// Its pixels.
    pub area: u32,
    /// Its runs of ink: as many as rows, where it is one stroke from top to bottom.
    pub runs: u32,
    /// Marks with the same number hang together by faint ink.
    pub bridge: u32,
}

impl Components {
    /// Finds the marks whose pixels are at least at `threshold`. Fainter ink from `faint` on tells which marks hang
    /// together where the pen barely touched the paper.
    pub fn find(ink: &GrayImage, threshold: u8, faint: u8) -> Components {
        let width = ink.width() as usize;
        let (mut firm_runs, mut faint_runs) = (Vec::new(), Vec::new());
        let mut holders = Vec::new();
        for (row, levels) in ink.chunks_exact(width.max(1)).enumerate() {
            for held in runs(levels, faint) {
                for firm in runs(&levels[held.clone()], threshold) {
                    firm_runs.push(Run::new(row, held.start + firm.start..held.start + firm.end));
                    holders.push(faint_runs.len());
                }
                faint_runs.push(Run::new(row, held));
            }
        }
        let (marks, bridges) = (numbered(&firm_runs), numbered(&faint_runs));
        let mut list: Vec<Component> = Vec::new();
        for ((run, &mark), holder) in firm_runs.iter().zip(&marks).zip(holders) {
            match list.get_mut(mark as usize) {
                Some(component) => component.add(run),
                None => list.push(Component {
                    bounds: run.bounds(),
                    area: run.len(),
                    runs: 1,
                    bridge: bridges[holder],
                }),
            }
        }
        Components {
            list,
            runs: firm_runs,
            marks,
        }
    }

    /// The runs in the rows of a box that belong to none of the `members`.
    pub fn others(&self, members: &[usize], bounds: &Rect) -> impl Iterator<Item = &Run> {
        let is_member = self.chosen(members);
        let first = self.runs.partition_point(|run| run.row < bounds.top);
        let runs = self.runs[first..].iter().zip(&self.marks[first..]);
        let runs = runs.take_while(|(run, _)| run.row < bounds.bottom());
        runs.filter_map(move |(run, &mark)| (!is_member[mark as usize]).then_some(run))
    }

    /// The runs of each mark.
    pub fn runs_by_mark(&self) -> Vec<Vec<&Run>> {
        let mut runs = vec![Vec::new(); self.list.len()];
        for (run, &mark) in self.runs.iter().zip(&self.marks) {
            runs[mark as usize].push(run);
        }
        runs
    }

    /// The runs of the `members`.
    pub fn runs_of(&self, members: &[usize]) -> impl Iterator<Item = &Run> + use<'_> {
        let is_member = self.chosen(members);
        let runs = self.runs.iter().zip(&self.marks);
        runs.filter_map(move |(run, &mark)| is_member[mark as usize].then_some(run))
    }

    /// For each mark whether it is one of the `members`.
    fn chosen(&self, members: &[usize]) -> Vec<bool> {
        let mut chosen = vec![false; self.list.len()];
        for &member in members {
            chosen[member] = true;
        }
        chosen
    }
}

impl Component {
    fn add(&mut self, run: &Run) {
        self.bounds = self.bounds.union(&run.bounds());
        self.area += run.len();
        self.runs += 1;
    }
}

/// Ink side by side in a row.
pub struct Run {
    row: u32,
    left: u32,
    /// The column after the last.
    right: u32,
}

impl Run {
    fn new(row: usize, columns: Range<usize>) -> Run {
        Run {
            row: row as u32,
            left: columns.start as u32,
            right: columns.end as u32,
        }
    }

    fn len(&self) -> u32 {
        self.right - self.left
    }

    pub fn row(&self) -> usize {
        self.row as usize
    }

    pub fn columns(&self) -> Range<usize> {
        self.left as usize..self.right as usize
    }

    fn bounds(&self) -> Rect {
        Rect {
            left: self.left,
            top: self.row,
            width: self.len(),
            height: 1,
        }
    }
}

/// The runs of levels that are at least at `threshold`.
fn runs(levels: &[u8], threshold: u8) -> impl Iterator<Item = Range<usize>> {
    let mut end = 0;
    iter::from_fn(move || {
        let start = end + ground(&levels[end..], threshold);
        let ink = levels[start..].iter().take_while(|&&level| level >= threshold);
        end = start + ink.count();
        (start < end).then_some(start..end)
    })
}

/// How many levels there are before the first that is at `threshold`.
fn ground(levels: &[u8], threshold: u8) -> usize {
    // Whole blocks at once, which compilers make fast.
    let blocks = levels.as_chunks::<32>().0.iter();
    let is_ground = |block: &&[u8; 32]| block.iter().fold(0, |most, &level| level.max(most)) < threshold;
    let skipped = 32 * blocks.take_while(is_ground).count();
    let rest = levels[skipped..].iter().take_while(|&&level| level < threshold);
    skipped + rest.count()
}

/// Numbers the marks in the order in which they are met, and tells for each run of which it is. The runs come row by
/// row from the left.
fn numbered(runs: &[Run]) -> Vec<u32> {
    let mut parents: Vec<u32> = (0..runs.len() as u32).collect();
    let mut above = 0;
    for (index, run) in runs.iter().enumerate() {
        // What ends above or before this run touches none of the next ones either.
        while (runs[above].row + 1, runs[above].right) < (run.row, run.left) {
            above += 1;
        }
        let touching = |other: &&Run| other.row < run.row && other.left <= run.right;
        let n_touching = runs[above..].iter().take_while(touching).count();
        for other in above..above + n_touching {
            join(&mut parents, index as u32, other as u32);
        }
    }
    let mut n_marks = 0;
    for index in 0..parents.len() {
        // Parents come before their children, and have their numbers already.
        let parent = parents[index] as usize;
        parents[index] = if parent == index {
            n_marks += 1;
            n_marks - 1
        } else {
            parents[parent]
        };
    }
    parents
}

/// Joins the marks of two runs, under the first run of both.
fn join(parents: &mut [u32], one: u32, other: u32) {
    let (one, other) = (first(parents, one), first(parents, other));
    parents[one.max(other) as usize] = one.min(other);
}

/// The first run of a run's mark. Halves the way to it for the next time.
fn first(parents: &mut [u32], mut run: u32) -> u32 {
    while parents[run as usize] != run {
        let parent = parents[run as usize];
        parents[run as usize] = parents[parent as usize];
        run = parents[run as usize];
    }
    run
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
    fn marks_that_meet_late_are_one() {
        let found = Components::find(&picture(&["#.#.#..#", "#.#.#..#", "#.###..#", "##......"]), 128, 128);
        let areas: Vec<u32> = found.list.iter().map(|mark| mark.area).collect();
        assert_eq!(areas, [12, 3]);
        assert_eq!(found.marks[..4], [0, 0, 0, 1]);
        assert_eq!(found.list[0].bounds.right(), 5);
    }

    #[test]
    fn ink_is_found_beyond_wide_ground() {
        for place in [0, 31, 32, 63, 64, 99] {
            let ink = GrayImage::from_fn(100, 2, |x, _| image::Luma([if x == place { 255 } else { 0 }]));
            let found = Components::find(&ink, 128, 64);
            assert_eq!(
                (found.list.len(), found.list[0].bounds.left, found.list[0].area),
                (1, place, 2)
            );
        }
    }

    #[test]
    fn runs_are_told_apart_by_their_marks() {
        let found = Components::find(&picture(&["#.#", "#.#"]), 128, 128);
        let columns = |runs: &mut dyn Iterator<Item = &Run>| runs.map(Run::columns).collect::<Vec<_>>();
        assert_eq!(columns(&mut found.runs_of(&[1])), [2..3, 2..3]);
        let lower = Rect {
            top: 1,
            height: 1,
            ..found.list[0].bounds
        };
        assert_eq!(columns(&mut found.others(&[1], &lower)), vec![0..1; 1]);
    }
}
