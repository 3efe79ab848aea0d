//! The table around the paper goes: dark ground that the picture's border cuts, too narrow to be taken for a shadow.

use image::GrayImage;

use super::Rect;
use super::components::{Components, Run};

/// A table lies along the border with this part of its width and of its height. Of a digit that the border cuts, no more than a
/// stroke does.
const ALONG: f32 = 0.9;
/// So far in, as a part of the picture's longer side and at least three pixels, it still has this part of both.
const DEEP: f32 = 0.01;
const ALONG_DEEP: f32 = 0.5;
/// The blurred edge of a table is at most so wide, as a part of the picture's longer side.
const EDGE: f32 = 0.005;

/// Erases what lies around a corner of the picture from the ink, all that is at least at `level`, and tells whether there was such.
pub fn erase(ink: &mut GrayImage, level: u8) -> bool {
    let (right, bottom) = (ink.width() - 1, ink.height() - 1);
    let corners = [(0, 0), (right, 0), (0, bottom), (right, bottom)];
    if corners.iter().all(|&(x, y)| ink.get_pixel(x, y).0[0] < level) {
        return false;
    }
    let page = Rect::of(ink);
    let marks = Components::find(ink, level, level);
    let runs = marks.runs_by_mark();
    let is_table = |&mark: &usize| lies_along(&page, &marks.list[mark].bounds, &runs[mark]);
    let tables: Vec<usize> = (0..marks.list.len()).filter(is_table).collect();
    let edge = (ink.width().max(ink.height()) as f32 * EDGE).ceil() as usize;
    let (width, height) = (ink.width() as usize, ink.height() as usize);
    let levels: &mut [u8] = ink;
    for run in marks.runs_of(&tables) {
        let columns = run.columns().start.saturating_sub(edge)..(run.columns().end + edge).min(width);
        for row in run.row().saturating_sub(edge)..(run.row() + edge + 1).min(height) {
            levels[row * width..][columns.clone()].fill(0);
        }
    }
    !tables.is_empty()
}

/// Whether a mark with these bounds and runs lies along a horizontal side of the page and along a vertical one.
fn lies_along(page: &Rect, bounds: &Rect, runs: &[&Run]) -> bool {
    let touches = (bounds.left == page.left || bounds.right() == page.right())
        && (bounds.top == page.top || bounds.bottom() == page.bottom());
    if !touches {
        return false;
    }
    let in_row = |row: u32| {
        let runs = runs.iter().filter(|run| run.row() == row as usize);
        runs.map(|run| run.columns().len()).sum::<usize>() as f32
    };
    let in_column = |column: u32| {
        runs.iter()
            .filter(|run| run.columns().contains(&(column as usize)))
            .count() as f32
    };
    let deep = ((page.width.max(page.height) as f32 * DEEP) as u32).max(3);
    let (right, bottom) = (page.right() - 1, page.bottom() - 1);
    // Lines are no table: further in there is less of them.
    let rows = [(page.top, page.top + deep), (bottom, bottom.saturating_sub(deep))].map(|(outer, inner)| {
        in_row(outer) >= ALONG * bounds.width as f32 && in_row(inner) >= ALONG_DEEP * bounds.width as f32
    });
    let columns = [(page.left, page.left + deep), (right, right.saturating_sub(deep))].map(|(outer, inner)| {
        in_column(outer) >= ALONG * bounds.height as f32 && in_column(inner) >= ALONG_DEEP * bounds.height as f32
    });
    rows.contains(&true) && columns.contains(&true)
}

#[cfg(test)]
mod tests {
    use image::Luma;

    use super::*;

    /// Ink where `is_ink`, on 60x40 pixels, and how many of its pixels are left.
    fn left(is_ink: impl Fn(u32, u32) -> bool) -> (bool, usize) {
        let mut ink = GrayImage::from_fn(60, 40, |x, y| Luma([if is_ink(x, y) { 200 } else { 0 }]));
        let erased = erase(&mut ink, 100);
        (erased, ink.iter().filter(|&&level| level > 0).count())
    }

    #[test]
    fn a_table_goes_and_what_is_written_stays() {
        let stroke = |x, y| (28..32).contains(&x) && (10..30).contains(&y);
        assert_eq!(left(stroke), (false, 80));
        for table in [
            |x: u32, _| x < 5,
            |_, y| y >= 33,
            |x, y| x < 4 || y < 6,
            |x, y| !(5..55).contains(&x) || !(5..36).contains(&y),
            // The corner beside a sheet that is turned.
            |x, y| x + y < 16,
        ] {
            assert_eq!(left(|x, y| table(x, y) || stroke(x, y)), (true, 80));
        }
    }

    #[test]
    fn a_digit_that_fills_the_picture_stays() {
        let seven = |x: u32, y: u32| y < 6 || x.abs_diff(60 - y) < 4;
        assert!(!left(seven).0);
        assert!(!left(|x, _| (28..32).contains(&x)).0);
    }

    #[test]
    fn squares_whose_lines_lie_on_the_border_are_no_table() {
        assert!(!left(|x, y| x % 13 == 0 || y % 13 == 0).0);
    }
}
