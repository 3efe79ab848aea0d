//! Marks become digits: specks and print beside the digits go, strokes of one digit come together, and digits are
//! put into the order in which they are read.

use super::components::Component;
use super::{GlyphError, Rect};

/// A mark with less ink than this part of the largest is a speck.
const SPECK_AREA: f32 = 0.01;
/// No stroke of a digit is so many times wider than high: it is a line under digits.
const LINE_WIDTH: f32 = 8.0;
/// More marks than this are texture, and would take long to compare.
const MOST_MARKS: usize = 2000;
/// A digit is at least this high, as a part of the highest on the picture; lower is a dot, a dash or small print.
const MIN_HEIGHT: f32 = 0.4;
/// Marks above each other are one digit up to this gap, as a part of both, where one is a mere stroke.
const STROKE_GAP: f32 = 0.3;
/// A mere stroke is lower than this part of the other.
const STROKE_HEIGHT: f32 = 0.45;
/// What falls into more pieces is no digit, however broken its strokes are.
const MOST_PIECES: usize = 9;
/// Grain has more runs of ink a row than this. A digit has two or three strokes side by side, and at most a few more by ragged edges.
const RUNS_A_ROW: f32 = 5.0;
/// Marks are pieces of one broken stroke up to this gap, as a part of the highest mark.
const BROKEN_GAP: f32 = 0.06;
/// What the border cuts is dropped beside a whole digit of at least this part of its height.
const WHOLE_HEIGHT: f32 = 0.8;
/// Where the ink reaches all borders, what is as wide as this part of the highest whole mark's height was not cut.
const WHOLE_WIDTH: f32 = 0.4;
/// A line along the border, the side of a field, is thinner than this part of its length.
const LINE_THICKNESS: f32 = 0.08;
/// The next digit of a line stands within this many times a digit's height, from middle to middle.
const NEXT: f32 = 3.0;
/// Digits stand in one line where they share this part of the lower one's rows.
const LINE_OVERLAP: f32 = 0.4;

/// The marks of one digit, or of a part of it.
#[derive(Clone, Debug)]
pub struct Group {
    /// The box around all of them.
    pub bounds: Rect,
    /// Their pixels.
    pub area: u32,
    /// Their runs of ink.
    runs: u32,
    /// Indices of the marks.
    pub members: Vec<usize>,
    /// What faint ink connects with the first of them.
    bridge: u32,
}

/// The digits among marks, line by line from the top, each line from the left.
///
/// # Errors
/// When there are more marks than digits on any page, or all that is found is grain, or falls into too many
/// pieces.
pub fn lines(marks: &[Component], page: &Rect) -> Result<Vec<Vec<Group>>, GlyphError> {
    let mut chosen = without_specks(marks);
    if chosen.len() > MOST_MARKS {
        return Err(GlyphError::Intricate);
    }
    drop_cut(&mut chosen, marks, page);
    let pieces = chosen.iter().map(|&index| Group::of(marks, index)).collect();
    let mut groups = joined(pieces);
    let highest = groups.iter().map(|group| group.bounds.height).max().unwrap_or(0);
    groups.retain(|group| {
        let Rect { height, .. } = group.bounds;
        let is_stroked = group.runs as f32 <= RUNS_A_ROW * height as f32;
        height as f32 >= MIN_HEIGHT * highest as f32 && group.members.len() <= MOST_PIECES && is_stroked
    });
    if highest > 0 && groups.is_empty() {
        return Err(GlyphError::Intricate);
    }
    Ok(in_reading_order(groups))
}

impl Group {
    fn of(marks: &[Component], index: usize) -> Group {
        let Component {
            bounds,
            area,
            runs,
            bridge,
        } = marks[index];
        Group {
            bounds,
            area,
            runs,
            members: vec![index],
            bridge,
        }
    }

    fn joined(&self, other: &Group) -> Group {
        Group {
            bounds: self.bounds.union(&other.bounds),
            area: self.area + other.area,
            runs: self.runs + other.runs,
            members: [&self.members[..], &other.members].concat(),
            bridge: self.bridge,
        }
    }

    /// Pixels between both, at most 0 where they share columns and rows.
    fn gap(&self, other: &Group) -> i64 {
        self.bounds.gap_x(&other.bounds).max(self.bounds.gap_y(&other.bounds))
    }
}

fn without_specks(marks: &[Component]) -> Vec<usize> {
    let largest = marks.iter().map(|mark| mark.area).max().unwrap_or(0);
    let least = SPECK_AREA * largest as f32;
    let is_line = |bounds: &Rect| bounds.width as f32 > LINE_WIDTH * bounds.height as f32;
    (0..marks.len())
        .filter(|&index| marks[index].area as f32 >= least && !is_line(&marks[index].bounds))
        .collect()
}

/// Drops what the picture's border cuts where something as large stands whole on it: neighbours of what was cropped, and lines along
/// it. A picture that was cropped to its ink cuts nothing: there the ink reaches all borders, and stands whole twice, as a neighbour of
/// one field does not let it, or is too wide for the edge of a neighbour.
fn drop_cut(chosen: &mut Vec<usize>, marks: &[Component], page: &Rect) {
    let bounds = |&index: &usize| marks[index].bounds;
    let whole = chosen.iter().map(bounds).filter(|bounds| !bounds.touches(page));
    let heights: Vec<u32> = whole.map(|bounds| bounds.height).collect();
    let highest = heights.iter().copied().max().unwrap_or(0) as f32;
    let is_side = |bounds: &Rect| {
        let (length, thickness) = (bounds.width.max(bounds.height), bounds.width.min(bounds.height));
        thickness as f32 <= LINE_THICKNESS * length as f32 && highest < WHOLE_HEIGHT * length as f32
    };
    chosen.retain(|index| highest == 0.0 || !bounds(index).touches(page) || !is_side(&bounds(index)));
    let is_cropped_to_ink = chosen.iter().map(bounds).reduce(|a, b| a.union(&b)) == Some(*page);
    chosen.retain(|index| {
        let bounds = bounds(index);
        let is_whole = is_cropped_to_ink && (heights.len() > 1 || bounds.width as f32 >= WHOLE_WIDTH * highest);
        !bounds.touches(page) || is_whole || bounds.height as f32 * WHOLE_HEIGHT > highest
    });
}

/// Joins the pieces that belong to one digit, the nearest first: the bar of a 5 is that of the digit below it and not of one on the
/// line above, and both are whole then.
fn joined(pieces: Vec<Group>) -> Vec<Group> {
    let highest = pieces.iter().map(|piece| piece.bounds.height).max().unwrap_or(0);
    let (mut groups, mut new) = (Vec::new(), pieces);
    while !new.is_empty() {
        let old = groups.len();
        groups.append(&mut new);
        let mut pairs = Vec::new();
        for (second, other) in groups.iter().enumerate().skip(old) {
            let belonging = groups[..second]
                .iter()
                .enumerate()
                .filter(|(_, one)| belong(one, other, highest));
            pairs.extend(belonging.map(|(first, one)| (one.gap(other), first, second)));
        }
        pairs.sort_unstable();
        let mut apart: Vec<Option<Group>> = groups.into_iter().map(Some).collect();
        for (_, first, second) in pairs {
            // What is joined has become another group, and is asked again.
            if let (Some(one), Some(other)) = (&apart[first], &apart[second]) {
                new.push(one.joined(other));
                (apart[first], apart[second]) = (None, None);
            }
        }
        groups = apart.into_iter().flatten().collect();
    }
    groups
}

fn belong(one: &Group, other: &Group, highest: u32) -> bool {
    let bridged = one.bridge == other.bridge;
    let (one, other) = (&one.bounds, &other.bounds);
    let both = one.union(other);
    let narrow = both.width <= both.height;
    let part = |part: f32, of: u32| part * of as f32;
    let (gap_x, gap_y) = (one.gap_x(other) as f32, one.gap_y(other) as f32);
    let near = gap_x.max(gap_y) <= part(BROKEN_GAP, highest).max(1.0);
    let above = -gap_x >= 0.5 * one.width.min(other.width) as f32;
    let stroke = (one.height.min(other.height) as f32) < part(STROKE_HEIGHT, one.height.max(other.height));
    // Faint ink between two digits is blur, and a line under digits is no stroke of them: no digit gets wide by either.
    (narrow && bridged)
        || (narrow && stroke && above && gap_y <= part(STROKE_GAP, both.height))
        || (near && (stroke || above))
}

fn in_reading_order(mut groups: Vec<Group>) -> Vec<Vec<Group>> {
    let slope = slope(&groups);
    let level = |bounds: &Rect| {
        let down = (slope * centre(bounds).0) as i64;
        (i64::from(bounds.top) - down, i64::from(bounds.bottom()) - down)
    };
    groups.sort_by_key(|group| {
        let (top, bottom) = level(&group.bounds);
        top + bottom
    });
    let mut lines: Vec<(Rect, Vec<Group>)> = Vec::new();
    for group in groups {
        let (top, bottom) = level(&group.bounds);
        let same = |bounds: &Rect| {
            let (last_top, last_bottom) = level(bounds);
            let lower = bounds.height.min(group.bounds.height) as f32;
            (bottom.min(last_bottom) - top.max(last_top)) as f32 >= LINE_OVERLAP * lower
        };
        match lines.iter_mut().rfind(|(bounds, _)| same(bounds)) {
            Some((bounds, line)) => {
                // The line's height is that of its last digit, so that a sloping line stays one.
                *bounds = group.bounds;
                line.push(group);
            }
            None => lines.push((group.bounds, vec![group])),
        }
    }
    let sorted = lines.into_iter().map(|(_, mut line)| {
        line.sort_by_key(|group| group.bounds.left);
        line
    });
    sorted.collect()
}

/// Rows a column by which lines go down: the median from each digit to the next one beside it; 0 where none has one.
fn slope(groups: &[Group]) -> f32 {
    let next = |group: &Group| {
        let (x, y) = centre(&group.bounds);
        let near = group.bounds.height as f32;
        let steps = groups
            .iter()
            .map(|other| centre(&other.bounds))
            .map(|to| (to.0 - x, to.1 - y));
        let beside = steps.filter(|(across, down)| *across > 0.0 && *across < NEXT * near && down.abs() < near / 2.0);
        beside
            .min_by(|one, other| one.0.total_cmp(&other.0))
            .map(|(across, down)| down / across)
    };
    let mut slopes: Vec<f32> = groups.iter().filter_map(next).collect();
    slopes.sort_by(f32::total_cmp);
    slopes.get(slopes.len() / 2).copied().unwrap_or(0.0)
}

/// Column and row of a box's middle.
fn centre(bounds: &Rect) -> (f32, f32) {
    let middle = |start: u32, len: u32| start as f32 + len as f32 / 2.0;
    (middle(bounds.left, bounds.width), middle(bounds.top, bounds.height))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: Rect = Rect {
        left: 0,
        top: 0,
        width: 200,
        height: 200,
    };

    fn mark(left: u32, top: u32, width: u32, height: u32, bridge: u32) -> Component {
        Component {
            bounds: Rect {
                left,
                top,
                width,
                height,
            },
            area: width * height / 4,
            runs: height,
            bridge,
        }
    }

    /// How many marks each digit of each line has.
    fn found(marks: &[Component]) -> Vec<Vec<usize>> {
        let count = |line: &Vec<Group>| line.iter().map(|group| group.members.len()).collect();
        lines(marks, &PAGE).unwrap().iter().map(count).collect()
    }

    #[test]
    fn the_bar_of_a_5_belongs_to_it() {
        assert_eq!(found(&[mark(20, 20, 18, 4, 1), mark(15, 32, 22, 30, 2)]), [[2]]);
        assert_eq!(found(&[mark(9, 4, 12, 4, 1), mark(10, 13, 10, 11, 2)]), [[2]]);
    }

    #[test]
    fn a_bar_belongs_to_a_broken_5() {
        let marks = [mark(9, 4, 12, 4, 1), mark(13, 13, 6, 3, 2), mark(10, 17, 10, 7, 3)];
        assert_eq!(found(&marks), [[3]]);
    }

    #[test]
    fn lines_as_near_as_on_a_form_stay_lines() {
        // Three rows of two digits, the second one of a bar and the rest of a 5.
        let digit = |left, row: u32, height| mark(left, 20 + row * 35, 14, height, left + row);
        let marks = [
            digit(10, 0, 20),
            digit(40, 0, 18),
            digit(10, 1, 20),
            mark(40, 55, 14, 3, 90),
            mark(40, 60, 14, 15, 91),
            digit(10, 2, 17),
            digit(40, 2, 20),
        ];
        assert_eq!(found(&marks), [[1, 1], [1, 2], [1, 1]]);
    }

    #[test]
    fn what_falls_into_many_pieces_is_no_digit() {
        let dashes: Vec<Component> = (0..20).map(|n| mark(10, 10 + 6 * n, 8, 5, n)).collect();
        assert!(matches!(lines(&dashes, &PAGE), Err(GlyphError::Intricate)));
        assert_eq!(found(&dashes[..4]), [[4]]);
    }

    #[test]
    fn grain_is_no_digit() {
        let digit = mark(10, 10, 60, 80, 1);
        let grain = Component { runs: 800, ..digit };
        assert!(matches!(lines(&[grain], &PAGE), Err(GlyphError::Intricate)));
        assert_eq!(found(&[Component { runs: 300, ..digit }]), [[1]]);
    }

    #[test]
    fn faint_ink_joins_an_open_4_but_not_two_digits() {
        assert_eq!(found(&[mark(10, 10, 12, 30, 1), mark(24, 20, 5, 40, 1)]), [[2]]);
        assert_eq!(found(&[mark(10, 10, 25, 40, 1), mark(40, 10, 25, 40, 1)]), [[1, 1]]);
    }

    #[test]
    fn specks_small_print_and_cut_neighbours_are_dropped() {
        let digit = mark(50, 50, 30, 60, 1);
        assert_eq!(found(&[digit, mark(100, 100, 1, 1, 2)]), [[1]]);
        assert_eq!(found(&[digit, mark(120, 100, 6, 9, 2)]), [[1]]);
        assert_eq!(found(&[digit, mark(180, 60, 20, 50, 2)]), [[1]]);
        assert_eq!(found(&[mark(180, 60, 20, 50, 2)]), [[1]]);
    }

    #[test]
    fn a_sloping_line_stays_one_and_two_lines_stay_two() {
        let sloping = [
            mark(10, 40, 20, 40, 1),
            mark(50, 55, 20, 40, 2),
            mark(90, 70, 20, 40, 3),
        ];
        assert_eq!(found(&sloping), [[1, 1, 1]]);
        assert_eq!(found(&[mark(10, 10, 20, 40, 1), mark(10, 70, 20, 40, 2)]), [[1], [1]]);
        // The last digit of a line that is turned stands lower than the first one of the next.
        let turned: Vec<Component> = (0..10)
            .map(|n| mark(10 + n / 2 * 35, 10 + n % 2 * 28 + n / 2 * 8, 14, 20, n))
            .collect();
        assert_eq!(found(&turned), [[1; 5], [1; 5]]);
    }
}
