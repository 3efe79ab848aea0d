//! Convolution as a product of matrices, for every kernel and stride: each output pixel's window is a row of one matrix, the
//! kernel the other. The rows are never written out; they lie in the map, around which there are zeros.

use pulp::Simd;

use super::lanes::{BLOCK, Kernel};
use super::matrix::{Runs, add_to, add_transposed, multiply, put};
use super::method::Back;
use super::number::{Number, copy};

/// Sizes of a convolution.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    /// Height and width of a map that is convolved.
    pub side: usize,
    /// Channels in: 1, or a multiple of [`BLOCK`].
    pub in_channels: usize,
    /// Height and width of a map of the output.
    pub out_side: usize,
    /// Channels out.
    pub out_channels: usize,
    /// Height and width of the kernel.
    pub kernel_size: usize,
    /// Step in both directions.
    pub stride: usize,
    /// Zeros on each side.
    pub padding: usize,
}

impl Sizes {
    /// Numbers of a window.
    pub fn window(self) -> usize {
        self.kernel_size * self.run()
    }

    /// Numbers of scratch for `digits` maps, forward or backward.
    pub fn scratch(self, digits: usize) -> usize {
        2 * digits * self.padded()
    }

    /// Numbers of a row of a window.
    fn run(self) -> usize {
        self.kernel_size * self.in_channels
    }

    /// Numbers of a row of a map with its zeros.
    fn row(self) -> usize {
        (self.side + 2 * self.padding) * self.in_channels
    }

    /// Numbers of a map with its zeros.
    fn padded(self) -> usize {
        self.row() * (self.side + 2 * self.padding)
    }

    /// Digits of some maps.
    pub fn digits<N>(self, maps: &[N]) -> usize {
        maps.len() / (self.side * self.side * self.in_channels)
    }

    /// Where each window begins among maps with zeros.
    fn windows(self, digits: usize) -> Vec<usize> {
        let mut windows = Vec::with_capacity(digits * self.out_side * self.out_side);
        for digit in 0..digits {
            for row in 0..self.out_side {
                let first = digit * self.padded() + row * self.stride * self.row();
                windows.extend((0..self.out_side).map(|column| first + column * self.stride * self.in_channels));
            }
        }
        windows
    }

    /// Where each row of maps begins among maps with zeros.
    fn rows(self, digits: usize) -> impl Iterator<Item = usize> {
        let rows = move |digit: usize| {
            (0..self.side).map(move |row| digit * self.padded() + (row + self.padding) * self.row())
        };
        (0..digits)
            .flat_map(rows)
            .map(move |row| row + self.padding * self.in_channels)
    }
}

/// A kernel `[out, window]`, a window being `[kernel_size, kernel_size, in]`, as [`multiply`] wants it: to the outputs,
/// `[out blocks][window][BLOCK]`, and back to each row of the window, `[kernel_size][run blocks][out][BLOCK]`, which a picture of
/// one channel does not need.
pub fn pack(sizes: Sizes, kernel: &[f32], forward: &mut [f32], backward: &mut [f32]) {
    let out_channels = sizes.out_channels;
    let (window, run) = (sizes.window(), sizes.run());
    for (out, kernel) in kernel.chunks_exact(window).enumerate() {
        let forward = forward[(out / BLOCK) * window * BLOCK + out % BLOCK..].iter_mut();
        forward.step_by(BLOCK).zip(kernel).for_each(|(to, value)| *to = *value);
        if sizes.in_channels == 1 {
            continue;
        }
        let backward = backward.chunks_exact_mut(run * out_channels);
        for (kernel, backward) in kernel.chunks_exact(run).zip(backward) {
            let blocks = backward.chunks_exact_mut(out_channels * BLOCK);
            for (kernel, block) in kernel.chunks_exact(BLOCK).zip(blocks) {
                block[out * BLOCK..][..BLOCK].copy_from_slice(kernel);
            }
        }
    }
}

/// The gradient of a kernel `[out, window]` from that of its matrix `[window, out]`.
pub fn unpack(sizes: Sizes, matrix: &[f32], kernel: &mut [f32]) {
    for (out, kernel) in kernel.chunks_exact_mut(sizes.window()).enumerate() {
        let column = matrix[out..].iter().step_by(sizes.out_channels);
        kernel.iter_mut().zip(column).for_each(|(to, value)| *to = *value);
    }
}

/// Convolves maps `[digits, side, side, channels]`.
pub struct Forward<'a, N> {
    /// Sizes.
    pub sizes: Sizes,
    /// The maps.
    pub input: &'a [N],
    /// The kernel to the outputs.
    pub kernel: &'a [f32],
    /// Where the sums go.
    pub output: &'a mut [f32],
    /// [`Sizes::scratch`] numbers.
    pub scratch: &'a mut [f32],
}

impl<N: Number> Kernel for Forward<'_, N> {
    #[inline(always)]
    fn run<S: Simd, const V: usize>(self, s: S) {
        let sizes = self.sizes;
        let digits = sizes.digits(self.input);
        let padded = pad(sizes, self.input, self.scratch);
        let windows = sizes.windows(digits);
        let runs = Runs {
            n: sizes.kernel_size,
            len: sizes.run(),
            stride: sizes.row(),
        };
        multiply::<S, V>(
            s,
            windows.len(),
            padded,
            #[inline(always)]
            |pixel| windows[pixel],
            runs,
            self.kernel,
            #[inline(always)]
            |pixel, block, sums| put::<S, V>(&mut self.output[pixel * sizes.out_channels + block * BLOCK..], sums),
        );
    }
}

/// Adds the gradients of maps and kernel, given that of the output.
pub struct Backward<'a, N> {
    /// Sizes.
    pub sizes: Sizes,
    /// The maps; the gradient of the kernel is that of its matrix, `[window, out]`.
    pub back: Back<'a, N>,
    /// [`Sizes::scratch`] numbers.
    pub scratch: &'a mut [f32],
}

impl<N: Number> Kernel for Backward<'_, N> {
    #[inline(always)]
    fn run<S: Simd, const V: usize>(self, s: S) {
        let Backward {
            sizes,
            back: gradients,
            scratch,
        } = self;
        let (run, channels) = (sizes.run(), sizes.out_channels);
        let digits = sizes.digits(gradients.input);
        let windows = sizes.windows(digits);
        let (scratch, back) = scratch.split_at_mut(digits * sizes.padded());
        let padded = pad(sizes, gradients.input, scratch);
        for (y, to_kernel) in gradients.to_kernel.chunks_exact_mut(run * channels).enumerate() {
            let at = |pixel: usize| windows[pixel] + y * sizes.row();
            add_transposed::<S, V>(s, padded, at, run, gradients.output, channels, to_kernel);
        }
        let Some(to_input) = gradients.to_input else { return };
        let back = &mut back[..digits * sizes.padded()];
        back.fill(0.0);
        for (y, kernel) in gradients.kernel.chunks_exact(run * channels).enumerate() {
            multiply::<S, V>(
                s,
                windows.len(),
                gradients.output,
                #[inline(always)]
                |pixel| pixel * channels,
                Runs::one(channels),
                kernel,
                #[inline(always)]
                |pixel, block, sums| {
                    add_to::<S, V>(s, &mut back[windows[pixel] + y * sizes.row() + block * BLOCK..], sums)
                },
            );
        }
        if !gradients.adds {
            to_input.fill(0.0);
        }
        for (to, from) in to_input
            .chunks_exact_mut(sizes.side * sizes.in_channels)
            .zip(sizes.rows(digits))
        {
            for (to, from) in to.iter_mut().zip(&back[from..]) {
                *to += from;
            }
        }
    }
}

/// The maps with zeros around them.
#[inline(always)]
fn pad<'a, N: Number>(sizes: Sizes, maps: &'a [N], scratch: &'a mut [f32]) -> &'a [f32] {
    if sizes.padding == 0 {
        return N::widen(maps, scratch);
    }
    let padded = &mut scratch[..sizes.digits(maps) * sizes.padded()];
    let (edge, inside) = (sizes.padding * sizes.in_channels, sizes.side * sizes.in_channels);
    let maps = maps.chunks_exact(sizes.side * inside);
    for (map, padded) in maps.zip(padded.chunks_exact_mut(sizes.padded())) {
        let (above, rest) = padded.split_at_mut(sizes.padding * sizes.row());
        let (rows, below) = rest.split_at_mut(sizes.side * sizes.row());
        above.fill(0.0);
        below.fill(0.0);
        for (from, to) in map.chunks_exact(inside).zip(rows.chunks_exact_mut(sizes.row())) {
            to[..edge].fill(0.0);
            copy(from, &mut to[edge..][..inside]);
            to[edge + inside..].fill(0.0);
        }
    }
    padded
}
