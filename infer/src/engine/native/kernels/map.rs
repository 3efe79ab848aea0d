//! [`Map`]: how the feature map of one digit lies in memory.

/// Channels that a kernel computes at once: weights are packed in blocks of so many output channels.
pub const BLOCK: usize = 16;

/// A feature map `[height, width, channels]` inside a border of zeros, channels innermost. The border stands for the
/// padding of the convolutions that read the map, so that their inner loops know no edges.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Map {
    /// Channels that mean something.
    pub channels: usize,
    /// Rows that mean something.
    pub height: usize,
    /// Columns that mean something.
    pub width: usize,
    /// Numbers that a pixel takes: `channels`, rounded up to what a kernel writes at once.
    pub depth: usize,
    /// Zeros before and after.
    pub border: Border,
}

/// Rows and columns of zeros on each side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Border {
    /// Rows above.
    pub top: usize,
    /// Columns to the left.
    pub left: usize,
    /// Rows below.
    pub bottom: usize,
    /// Columns to the right.
    pub right: usize,
}

impl Border {
    /// The smallest border that holds both.
    pub fn union(self, other: Border) -> Border {
        Border {
            top: self.top.max(other.top),
            left: self.left.max(other.left),
            bottom: self.bottom.max(other.bottom),
            right: self.right.max(other.right),
        }
    }
}

impl Map {
    /// A map that kernels write: its channels fill whole blocks.
    pub fn blocked(channels: usize, height: usize, width: usize, border: Border) -> Map {
        Map {
            channels,
            height,
            width,
            depth: channels.next_multiple_of(BLOCK),
            border,
        }
    }

    /// Numbers from one pixel to the one below.
    pub fn row(&self) -> usize {
        (self.border.left + self.width + self.border.right) * self.depth
    }

    /// Numbers of one digit.
    pub fn len(&self) -> usize {
        (self.border.top + self.height + self.border.bottom) * self.row()
    }

    /// Where the pixel in row `y` and column `x` begins; negative ones lie in the border.
    pub fn at(&self, y: isize, x: isize) -> usize {
        let y = y + self.border.top as isize;
        let x = x + self.border.left as isize;
        assert!(y >= 0 && x >= 0, "the border is as wide as the padding");
        y as usize * self.row() + x as usize * self.depth
    }

    /// Where each pixel begins, row by row.
    pub fn pixels(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.height).flat_map(move |y| (0..self.width).map(move |x| self.at(y as isize, x as isize)))
    }
}
