//! Boxes of pixels.

/// A box of pixels, at least one wide and high.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rect {
    /// First column.
    pub left: u32,
    /// First row.
    pub top: u32,
    /// Columns.
    pub width: u32,
    /// Rows.
    pub height: u32,
}

impl Rect {
    /// The box of a whole picture.
    pub(super) fn of(image: &image::GrayImage) -> Rect {
        Rect {
            left: 0,
            top: 0,
            width: image.width(),
            height: image.height(),
        }
    }

    /// The same box on a picture that is `times / parts` as large, on whose pixels its edges may not fall: then it holds them.
    pub(super) fn scaled(&self, (times, parts): (u32, u32)) -> Rect {
        let (left, top) = (self.left * times / parts, self.top * times / parts);
        Rect {
            left,
            top,
            width: (self.right() * times).div_ceil(parts) - left,
            height: (self.bottom() * times).div_ceil(parts) - top,
        }
    }

    /// Pixels in the box.
    pub(super) fn area(&self) -> u64 {
        u64::from(self.width) * u64::from(self.height)
    }

    /// The column after the last.
    pub fn right(&self) -> u32 {
        self.left + self.width
    }

    /// The row after the last.
    pub fn bottom(&self) -> u32 {
        self.top + self.height
    }

    /// The smallest box around both.
    pub(super) fn union(&self, other: &Rect) -> Rect {
        let (left, top) = (self.left.min(other.left), self.top.min(other.top));
        Rect {
            left,
            top,
            width: self.right().max(other.right()) - left,
            height: self.bottom().max(other.bottom()) - top,
        }
    }

    /// Whether the box reaches the border of the page that it lies on.
    pub(super) fn touches(&self, page: &Rect) -> bool {
        self.left == page.left || self.top == page.top || self.right() == page.right() || self.bottom() == page.bottom()
    }

    /// Columns between both boxes, negative where they share columns.
    pub(super) fn gap_x(&self, other: &Rect) -> i64 {
        gap((self.left, self.right()), (other.left, other.right()))
    }

    /// Rows between both boxes, negative where they share rows.
    pub(super) fn gap_y(&self, other: &Rect) -> i64 {
        gap((self.top, self.bottom()), (other.top, other.bottom()))
    }
}

fn gap(one: (u32, u32), other: (u32, u32)) -> i64 {
    i64::from(one.0.max(other.0)) - i64::from(one.1.min(other.1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scaled_boxes_hold_all_pixels() {
        let bounds = Rect {
            left: 3,
            top: 2,
            width: 4,
            height: 6,
        };
        let found = bounds.scaled((1, 2));
        assert_eq!((found.left, found.top, found.right(), found.bottom()), (1, 1, 4, 4));
        let found = bounds.scaled((3, 1));
        assert_eq!((found.left, found.top, found.right(), found.bottom()), (9, 6, 21, 24));
    }

    #[test]
    fn gaps_are_negative_where_boxes_overlap() {
        let one = Rect {
            left: 0,
            top: 0,
            width: 10,
            height: 4,
        };
        let other = Rect {
            left: 7,
            top: 9,
            width: 5,
            height: 2,
        };
        assert_eq!((one.gap_x(&other), one.gap_y(&other)), (-3, 5));
        assert_eq!(
            one.union(&other),
            Rect {
                left: 0,
                top: 0,
                width: 12,
                height: 11
            }
        );
    }
}
