//! Frames around digits go: the boxes and combs of a form, one by one or side by side, and what a crop left of them.

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
/// How many sides a whole frame has, and what is left of one: three where the form has it open, or fewer where the picture's border
/// cuts it.
const ALL_SIDES: usize = 4;
const FEWEST_SIDES: usize = 2;
/// Such a piece could be a digit but for what it holds: this part of another mark.
const HELD: f32 = 0.4;
/// And that is at least this part of the piece's height.
const HELD_HEIGHT: f32 = 0.4;
/// The rows and columns of an 8 of straight lines, which is a frame with a line across.
const EIGHT: [usize; 2] = [3, 2];

/// Erases frames from the ink. Of a frame that digits touch, the straight lines go.
pub fn erase(ink: &mut GrayImage, threshold: u8) {
    let marks = Components::find(ink, threshold, threshold);
    let page = Rect::of(ink);
    // So high is what the smallest frame holds; of lower marks there may be very many.
    let high: Vec<usize> = (0..marks.list.len())
        .filter(|&mark| marks.list[mark].bounds.height as f32 >= HELD_HEIGHT * SMALLEST as f32)
        .collect();
    let (found, pieces): (Vec<Frame>, Vec<Frame>) = frames(&marks, FEWEST_SIDES)
        .into_iter()
        .filter(|frame| frame.is_whole() || frame.is_piece(&marks, &high, &page))
        .partition(Frame::is_whole);
    erase_marks(ink, &marks, &pieces);
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
    let before = ink.clone();
    let lines = touched
        .iter()
        .map(|frame| ruling::erase_within(ink, &marks.list[frame.mark].bounds, threshold));
    let may_be_digits = lines.fold(bare.is_empty(), |may_be, lines| may_be && lines == EIGHT);
    // What still is a frame is not straight, or drawn by hand. But that of a whole page has more than a digit on it.
    let marks = Components::find(ink, threshold, threshold);
    let (width, height) = (PAGE * ink.width() as f32, PAGE * ink.height() as f32);
    let is_field = |frame: &Frame| {
        let bounds = marks.list[frame.mark].bounds;
        frame.is_bare || (bounds.width as f32) < width || (bounds.height as f32) < height
    };
    let fields: Vec<Frame> = frames(&marks, ALL_SIDES).into_iter().filter(is_field).collect();
    erase_marks(ink, &marks, &fields);
    if may_be_digits && ink.iter().all(|&level| level < threshold) {
        *ink = before;
    }
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

/// A mark that is a frame, or a piece of one.
struct Frame {
    /// Which one.
    mark: usize,
    /// Along how many sides of its box it lies.
    sides: usize,
    /// Whether it lies along the sides of its box only.
    is_bare: bool,
}

impl Frame {
    fn is_whole(&self) -> bool {
        self.sides == ALL_SIDES
    }

    /// Whether it is what a crop left of a frame, or an open one, around one of the `high` marks.
    fn is_piece(&self, marks: &Components, high: &[usize], page: &Rect) -> bool {
        let bounds = marks.list[self.mark].bounds;
        let is_held = |&mark: &usize| {
            let other = marks.list[mark].bounds;
            mark != self.mark
                && other.height as f32 >= HELD_HEIGHT * bounds.height as f32
                && -other.gap_x(&bounds) as f32 >= HELD * other.width as f32
                && -other.gap_y(&bounds) as f32 >= HELD * other.height as f32
        };
        self.is_bare && (self.sides > FEWEST_SIDES || bounds.touches(page)) && high.iter().any(is_held)
    }
}

/// The marks that lie along at least so many sides of their boxes.
fn frames(marks: &Components, fewest_sides: usize) -> Vec<Frame> {
    let frame = |(mark, runs): (usize, &Vec<&Run>)| {
        let Component { bounds, area, .. } = &marks.list[mark];
        let has_room = bounds.width.min(bounds.height) >= SMALLEST;
        let is_hollow = *area as f32 <= MOST_INK * bounds.area() as f32;
        let (sides, is_bare) = (has_room && is_hollow).then(|| along_sides(bounds, runs))?;
        (sides >= fewest_sides).then_some(Frame { mark, sides, is_bare })
    };
    marks.runs_by_mark().iter().enumerate().filter_map(frame).collect()
}

/// Along how many sides of their box the runs lie, and whether along them only.
fn along_sides(bounds: &Rect, runs: &[&Run]) -> (usize, bool) {
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
    let sides = rows.iter().chain(&columns).filter(|side| is_covered(side));
    (sides.count(), is_bare)
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
    fn open_frames_go_for_what_they_hold() {
        let comb = |x, y| frame(x, y) && y >= 30;
        check(|x, y| comb(x, y) || stroke(x, y), stroke);
        check(comb, comb);
        // A crop left two sides, and two strokes of a digit look like them.
        let cut = |x: u32, y: u32| x >= 10 && y >= 10 && (x < 12 || y < 12);
        let long = |x, y| (30..34).contains(&x) && (20..80).contains(&y);
        check(|x, y| cut(x, y) || long(x, y), long);
        let digit = |x, y| frame(x, y) && (x < 12 || y < 12);
        check(|x, y| digit(x, y) || stroke(x, y), |x, y| digit(x, y) || stroke(x, y));
    }

    #[test]
    fn a_square_8_is_a_digit() {
        let eight = |x, y| frame(x, y) || (29..31).contains(&y) && (10..70).contains(&x);
        check(eight, eight);
        let form = |x, y| eight(x, y) || (39..41).contains(&x) && (10..50).contains(&y);
        check(form, |_, _| false);
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
