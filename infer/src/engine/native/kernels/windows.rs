//! [`Windows`]: where a direct convolution reads, for every block of pixels that it computes at once.

use super::map::Map;
use super::spec::ConvSpec;

/// What a kernel computes at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tile {
    /// Pixels.
    pub pixels: usize,
    /// Output channels: a multiple of `BLOCK`.
    pub channels: usize,
}

/// The windows of all output pixels, in blocks of a [`Tile`]'s pixels.
#[derive(Clone, Debug)]
pub struct Windows {
    /// Where the window of each output pixel begins.
    pub starts: Vec<usize>,
    /// Rows of the kernel.
    pub rows: usize,
    /// Numbers between two rows of the input.
    pub row: usize,
    /// Numbers of one digit.
    pub input_len: usize,
    /// How the windows of a block follow each other.
    pub steps: Steps,
}

/// How the windows of a block follow each other. Where the step is known when the kernel is compiled, one register holds
/// all windows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Steps {
    /// By the tile's channels.
    Channels,
    /// By one.
    One,
    /// Otherwise.
    Any,
}

impl Windows {
    /// Those of `spec` over maps that lie so.
    pub fn new<W>(spec: &ConvSpec<W>, input: &Map, output: &Map, tile: Tile) -> Windows {
        let starts = spec.windows(input, output);
        let step = |step| is_even(&starts, tile.pixels, step);
        Windows {
            rows: spec.kernel[0],
            row: input.row(),
            input_len: input.len(),
            steps: match () {
                () if step(tile.channels) => Steps::Channels,
                () if step(1) => Steps::One,
                () => Steps::Any,
            },
            starts,
        }
    }

    /// What kernels rely on: no window of `run` numbers a row reaches past its digit and `slack`.
    pub fn check(&self, run: usize, slack: usize) {
        let window = self.starts.iter().max().expect("an output has pixels");
        assert!(window + (self.rows - 1) * self.row + run <= self.input_len + slack);
    }
}

/// Whether `places` are whole blocks of `pixels`, each `step` after the one before.
pub fn is_even(places: &[usize], pixels: usize, step: usize) -> bool {
    let mut blocks = places.chunks(pixels);
    blocks.all(|block| block.len() == pixels && block.windows(2).all(|pair| pair[0] + step == pair[1]))
}
