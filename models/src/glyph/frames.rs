//! Frames around digits go: the boxes of a form, one by one or side by side.

use image::GrayImage;

use super::Rect;
use super::components::{Component, Components, Run};
use super::ruling;

/// Lower or narrower frames have no room for a digit.
const SMALLEST: u32 = 12;
/// A frame is hollow: at most this part of its box is ink, its own or that of digits on it.
const MOST_INK: f32 = 0.45;
/// A frame lies along this part of each side of its box; no digit does.
const ALONG: f32 = 0.75;
/// How far from the side it may lie: a part of the shorter one, at least two pixels, and where the page is turned a little a part
/// of the side itself.
const AWAY: f32 = 0.05;
const TURNED: f32 = 0.03;
/// What is wider and higher than this part of the picture holds a page, and no field.
const PAGE: f32 = 0.7;

/// Erases frames from the ink. Of a frame that digits touch, the straight lines go.
pub fn erase(ink: &mut GrayImage, threshold: u8) {
    let marks = Components::find(ink, threshold, threshold);
    let found = frames(&marks);
    if let [lone] = &found[..]
        && lone.is_bare
        && !holds_more(&marks, lone.mark)
    {
        // A single box with nothing in it may be a 0.
        return;
    }
    let (bare, touched): (Vec<Frame>, Vec<Frame>) = found.into_iter().partition(|frame| frame.is_bare);
    erase_marks(ink, &marks, &bare);
    if touched.is_empty() {
        return;
    }
    for frame in touched {
        ruling::erase_within(ink, &marks.list[frame.mark].bounds, threshold);
    }
    // What still is a frame is not straight, or drawn by hand. But that of a whole page has more than a digit on it.
    let marks = Components::find(ink, threshold, threshold);
    let (width, height) = (PAGE * ink.width() as f32, PAGE * ink.height() as f32);
    let is_field = |frame: &Frame| {
        let bounds = marks.list[frame.mark].bounds;
        frame.is_bare || (bounds.width as f32) < width || (bounds.height as f32) < height
    };
    let fields: Vec<Frame> = frames(&marks).into_iter().filter(is_field).collect();
    erase_marks(ink, &marks, &fields);
}

fn erase_marks(ink: &mut GrayImage, marks: &Components, frames: &[Frame]) {
    let width = ink.width() as usize;
    let levels: &mut [u8] = ink;
    let frames: Vec<usize> = frames.iter().map(|frame| frame.mark).collect();
    for run in marks.runs_of(&frames) {
        levels[run.row() * width..][run.columns()].fill(0);
    }
}

/// Whether there is another mark within the bounds of this one.
fn holds_more(marks: &Components, mark: usize) -> bool {
    let bounds = marks.list[mark].bounds;
    let mut others = marks.list.iter().enumerate().filter(|&(index, _)| index != mark);
    others.any(|(_, other)| bounds.union(&other.bounds) == bounds)
}

/// A mark that is a frame.
struct Frame {
    /// Which one.
    mark: usize,
    /// Whether it lies along its sides only.
    is_bare: bool,
}

/// The marks that are frames.
fn frames(marks: &Components) -> Vec<Frame> {
    let mut runs: Vec<Vec<&Run>> = vec![Vec::new(); marks.list.len()];
    marks.runs().for_each(|(run, mark)| runs[mark].push(run));
    let frame = |(mark, runs): (usize, &Vec<&Run>)| {
        let Component { bounds, area, .. } = &marks.list[mark];
        let has_room = bounds.width.min(bounds.height) >= SMALLEST;
        let is_hollow = *area as f32 <= MOST_INK * bounds.area() as f32;
        let is_bare = (has_room && is_hollow).then(|| along_sides(bounds, runs)).flatten()?;
        Some(Frame { mark, is_bare })
    };
    runs.iter().enumerate().filter_map(frame).collect()
}

/// Whether the runs lie along the sides of their box only; `None` where they do not lie along all of them.
fn along_sides(bounds: &Rect, runs: &[&Run]) -> Option<bool> {
    let (width, height) = (bounds.width as usize, bounds.height as usize);
    let away = |side: usize| ((width.min(height) as f32 * AWAY).max(2.0) + side as f32 * TURNED) as usize;
    let (beside, beyond) = (away(height), away(width));
    let mut rows = [vec![false; height], vec![false; height]];
    let mut columns = [vec![false; width], vec![false; width]];
    let mut is_bare = true;
    for run in runs {
        let row = run.row() - bounds.top as usize;
        let (start, end) = (
            run.columns().start - bounds.left as usize,
            run.columns().end - bounds.left as usize,
        );
        let (at_left, at_right) = (start < beside, end + beside > width);
        let (at_top, at_bottom) = (row < beyond, row + beyond >= height);
        rows[0][row] |= at_left;
        rows[1][row] |= at_right;
        if at_top {
            columns[0][start..end].fill(true);
        }
        if at_bottom {
            columns[1][start..end].fill(true);
        }
        let at_side = at_left && end <= 2 * beside || at_right && start + 2 * beside >= width;
        is_bare &= at_top || at_bottom || at_side;
    }
    let is_covered =
        |side: &Vec<bool>| side.iter().filter(|&&covered| covered).count() as f32 >= ALONG * side.len() as f32;
    rows.iter().chain(&columns).all(is_covered).then_some(is_bare)
}

#[cfg(test)]
mod tests {
    use image::Luma;

    use super::*;

    fn frame(x: u32, y: u32) -> bool {
        (10..70).contains(&x) && (10..50).contains(&y) && !((12..68).contains(&x) && (12..48).contains(&y))
    }

    fn stroke(x: u32, y: u32) -> bool {
        (30..34).contains(&x) && (20..40).contains(&y)
    }

    #[track_caller]
    fn check(drawn: impl Fn(u32, u32) -> bool, left: impl Fn(u32, u32) -> bool) {
        let mut ink = GrayImage::from_fn(120, 100, |x, y| Luma([if drawn(x, y) { 255 } else { 0 }]));
        erase(&mut ink, 128);
        for (x, y, pixel) in ink.enumerate_pixels() {
            assert_eq!(pixel.0[0] > 0, left(x, y), "{x} {y}");
        }
    }

    #[test]
    fn a_frame_goes_and_what_is_in_it_stays() {
        check(|x, y| frame(x, y) || stroke(x, y), stroke);
        // A page that is turned a little.
        check(|x, y| frame(x + y / 30, y + x / 30) || stroke(x, y), stroke);
    }

    #[test]
    fn fields_side_by_side_are_one_frame() {
        let fields = |x, y| frame(x, y) || (50..52).contains(&x) && (10..50).contains(&y);
        check(|x, y| fields(x, y) || stroke(x, y), stroke);
    }

    #[test]
    fn lines_go_where_a_digit_touches_them() {
        let touching = |x, y| (30..34).contains(&x) && (12..40).contains(&y);
        check(|x, y| frame(x, y) || touching(x, y), touching);
    }

    #[test]
    fn an_empty_box_may_be_a_digit_and_two_are_a_form() {
        check(frame, frame);
        check(|x, y| frame(x, y) || y >= 46 && frame(x, y - 46), |_, _| false);
    }

    #[test]
    fn a_round_0_is_no_frame() {
        let ring = |x: u32, y: u32| (18.0..22.0).contains(&(f64::from(x) - 50.0).hypot(f64::from(y) - 50.0));
        check(
            |x, y| ring(x, y) || x == 50 && y == 50,
            |x, y| ring(x, y) || x == 50 && y == 50,
        );
    }
}
