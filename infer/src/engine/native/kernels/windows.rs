//! [`Windows`]: where a direct convolution reads, for every block of pixels that it computes at once.

use std::ops::Range;

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
    /// For each block, the rows of the kernel that are not in the padding for all of its pixels.
    pub inside: Vec<Range<usize>>,
    /// The parts of a row of the kernel, from left to right.
    pub runs: Vec<Run>,
    /// Numbers between two rows of the input.
    pub row: usize,
    /// Numbers of one digit.
    pub input_len: usize,
    /// How the windows of a block follow each other.
    pub steps: Steps,
}

/// A block of pixels by a block of channels.
#[derive(Clone, Copy, Debug)]
pub struct Part {
    /// Which digit.
    pub digit: usize,
    /// Which block of channels.
    pub block: usize,
    /// The first of its pixels.
    pub first: usize,
}

/// Numbers of a row of the kernel that are multiplied for the same pixels of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// How many.
    pub len: usize,
    /// For which pixels they lie in the padding.
    pub skip: Skip,
}

/// Pixels of a block that a part of the kernel need not be multiplied for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Skip {
    /// None.
    None,
    /// The first.
    First,
    /// The last.
    Last,
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
        let steps = match () {
            () if step(tile.channels) => Steps::Channels,
            () if step(1) => Steps::One,
            () => Steps::Any,
        };
        // A run must be whole where four numbers are multiplied at once.
        let by_rows = steps == Steps::Channels && tile.pixels == output.width && input.depth.is_multiple_of(4);
        Windows {
            rows: spec.kernel[0],
            inside: inside(spec, input, output, tile.pixels),
            runs: if by_rows {
                runs(spec, input, output)
            } else {
                vec![whole(spec, input)]
            },
            row: input.row(),
            input_len: input.len(),
            steps,
            starts,
        }
    }

    /// All parts of `digits` digits, in the order in which weights are used again soonest.
    pub fn parts(&self, tile: Tile, digits: usize, channels: usize) -> impl Iterator<Item = Part> + use<> {
        let (pixels, blocks) = (self.starts.len(), channels / tile.channels);
        (0..digits).flat_map(move |digit| {
            (0..blocks).flat_map(move |block| {
                (0..pixels)
                    .step_by(tile.pixels)
                    .map(move |first| Part { digit, block, first })
            })
        })
    }

    /// Multiplies for all pixels, because the padding holds no zeros.
    pub fn skip_nothing(&mut self) {
        self.inside.fill(0..self.rows);
        let len = self.runs.iter().map(|run| run.len).sum();
        self.runs = vec![Run { len, skip: Skip::None }];
    }

    /// What kernels rely on: no window of `run` numbers a row reaches past its digit and `slack`.
    pub fn check(&self, run: usize, slack: usize) {
        let window = self.starts.iter().max().expect("an output has pixels");
        assert!(window + (self.rows - 1) * self.row + run <= self.input_len + slack);
    }
}

fn inside<W>(spec: &ConvSpec<W>, input: &Map, output: &Map, pixels: usize) -> Vec<Range<usize>> {
    let rows = |y: usize| {
        let top = (y * spec.stride[0]) as isize - spec.padding.top as isize;
        let clamp = |row: isize| row.clamp(0, spec.kernel[0] as isize) as usize;
        clamp(-top)..clamp(input.height as isize - top)
    };
    let all = output.height * output.width;
    let blocks = (0..all).step_by(pixels).map(|first| {
        let last = (first + pixels).min(all) - 1;
        rows(last / output.width).start..rows(first / output.width).end
    });
    blocks.collect()
}

/// A row of the kernel as one run.
fn whole<W>(spec: &ConvSpec<W>, input: &Map) -> Run {
    Run {
        len: spec.kernel[1] * input.depth,
        skip: Skip::None,
    }
}

/// A run for each column of the kernel; the blocks are rows of the output.
fn runs<W>(spec: &ConvSpec<W>, input: &Map, output: &Map) -> Vec<Run> {
    let column = |x: usize| (x * spec.stride[1]) as isize - spec.padding.left as isize;
    let (first, last) = (column(0), column(output.width - 1));
    let run = |kx: usize| Run {
        len: input.depth,
        skip: match kx as isize {
            kx if first + kx < 0 => Skip::First,
            kx if last + kx >= input.width as isize => Skip::Last,
            _ => Skip::None,
        },
    };
    (0..spec.kernel[1]).map(run).collect()
}

/// The places of a block of pixels; the last block names its last pixel several times.
#[inline(always)]
pub fn pixels<const PIXELS: usize>(places: &[usize], first: usize) -> [usize; PIXELS] {
    let mut block = [0; PIXELS];
    for i in 0..PIXELS {
        block[i] = places[(first + i).min(places.len() - 1)];
    }
    block
}

/// Whether `places` are whole blocks of `pixels`, each `step` after the one before.
pub fn is_even(places: &[usize], pixels: usize, step: usize) -> bool {
    let mut blocks = places.chunks(pixels);
    blocks.all(|block| block.len() == pixels && block.windows(2).all(|pair| pair[0] + step == pair[1]))
}
