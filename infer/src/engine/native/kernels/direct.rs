//! Direct convolution: a block of pixels times a block of 16 output channels stays in registers while the sums run over
//! the kernel's rows. Pixels of a row lie side by side, so that a row of the kernel is one run of numbers.

use models::network::Activation;

use super::activation::activate;
use super::map::{BLOCK, Map};
use super::simd::Simd;
use super::spec::{ConvSpec, Residual};

/// A convolution packed for [`run`].
#[derive(Clone, Debug)]
pub struct Direct {
    /// `[blocks][kernel height][run][BLOCK]`, output channels innermost; zeros where a channel is missing.
    weights: Vec<f32>,
    /// `[blocks * BLOCK]`
    bias: Vec<f32>,
    activation: Option<Activation>,
    /// Rows of the kernel.
    rows: usize,
    /// Numbers in a row of the kernel: kernel width times the input's depth.
    run: usize,
    /// Numbers between two rows of the input.
    row: usize,
    /// Where the window of each output pixel begins.
    windows: Vec<usize>,
    /// Where each output pixel lies.
    pixels: Vec<usize>,
    /// Numbers of one digit, in and out.
    input_len: usize,
    output_len: usize,
}

impl Direct {
    /// Packs `spec` for maps that lie so.
    pub fn new(spec: &ConvSpec, input: &Map, output: &Map) -> Direct {
        let [rows, width] = spec.kernel;
        let run = width * input.depth;
        let blocks = spec.out_channels.div_ceil(BLOCK);
        let mut weights = vec![0.0; blocks * rows * run * BLOCK];
        for out in 0..spec.out_channels {
            for channel in 0..spec.in_channels {
                for ky in 0..rows {
                    for kx in 0..width {
                        let k = ((out / BLOCK) * rows + ky) * run + kx * input.depth + channel;
                        weights[k * BLOCK + out % BLOCK] = spec.weight[spec.index(out, channel, ky, kx)];
                    }
                }
            }
        }
        let mut bias = spec.bias.clone();
        bias.resize(blocks * BLOCK, 0.0);
        let direct = Direct {
            weights,
            bias,
            activation: spec.activation,
            rows,
            run,
            row: input.row(),
            windows: spec.windows(input, output),
            pixels: output.pixels().collect(),
            input_len: input.len(),
            output_len: output.len(),
        };
        direct.check(output.depth);
        direct
    }

    /// What [`run`] relies on: no window and no pixel reaches past its digit.
    fn check(&self, depth: usize) {
        let window = self.windows.iter().max().expect("an output has pixels");
        assert!(window + (self.rows - 1) * self.row + self.run <= self.input_len);
        let pixel = self.pixels.iter().max().expect("an output has pixels");
        assert!(pixel + self.bias.len() <= self.output_len && self.bias.len() <= depth);
        assert_eq!(self.windows.len(), self.pixels.len());
    }
}

/// Convolves `digits` maps, `PIXELS` pixels by `VECTORS` vectors of output channels at once.
///
/// # Panics
/// When a slice is too short.
#[inline(always)]
pub fn run<S: Simd, const PIXELS: usize, const VECTORS: usize>(
    s: S,
    layer: &Direct,
    digits: usize,
    input: &[f32],
    residual: Residual,
    output: &mut [f32],
) {
    assert_eq!(VECTORS * S::LANES, BLOCK);
    assert!(input.len() >= digits * layer.input_len && output.len() >= digits * layer.output_len);
    residual.check(digits * layer.output_len);
    let to = output.as_mut_ptr();
    let add = residual.pointer(to);
    let last = layer.pixels.len() - 1;
    for digit in 0..digits {
        for block in 0..layer.bias.len() / BLOCK {
            for first in (0..=last).step_by(PIXELS) {
                // The last block names its last pixel several times.
                let pixel = |i: usize| (first + i).min(last);
                let mut from = [0; PIXELS];
                let mut at = [0; PIXELS];
                for i in 0..PIXELS {
                    from[i] = digit * layer.input_len + layer.windows[pixel(i)];
                    at[i] = digit * layer.output_len + layer.pixels[pixel(i)] + block * BLOCK;
                }
                // SAFETY: `Direct::check` holds the offsets inside a digit, the assertions hold the digits inside the
                // slices, and a residual is as long as the output.
                unsafe {
                    let sums = sums::<S, PIXELS, VECTORS>(s, layer, block, input.as_ptr(), from);
                    finish::<S, PIXELS, VECTORS>(s, sums, layer.activation, add, to, at);
                }
            }
        }
    }
}

/// Bias plus products of one block of pixels.
///
/// # Safety
/// The windows that begin `from` numbers after `input` can be read.
#[inline(always)]
unsafe fn sums<S: Simd, const PIXELS: usize, const VECTORS: usize>(
    s: S,
    layer: &Direct,
    block: usize,
    input: *const f32,
    from: [usize; PIXELS],
) -> [[S::F32; VECTORS]; PIXELS] {
    let mut sums = [[s.splat(0.0); VECTORS]; PIXELS];
    // SAFETY: the packed arrays hold whole blocks; the caller vouches for the windows.
    unsafe {
        let bias = layer.bias.as_ptr().add(block * BLOCK);
        for pixel in &mut sums {
            for (v, sum) in pixel.iter_mut().enumerate() {
                *sum = s.load(bias.add(v * S::LANES));
            }
        }
        let mut weight = layer.weights.as_ptr().add(block * layer.rows * layer.run * BLOCK);
        for row in 0..layer.rows {
            let windows = from.map(|from| input.add(from + row * layer.row));
            for k in 0..layer.run {
                let mut weights = [s.splat(0.0); VECTORS];
                for (v, vector) in weights.iter_mut().enumerate() {
                    *vector = s.load(weight.add(v * S::LANES));
                }
                for i in 0..PIXELS {
                    let x = s.splat(*windows[i].add(k));
                    for v in 0..VECTORS {
                        sums[i][v] = s.mul_add(x, weights[v], sums[i][v]);
                    }
                }
                weight = weight.add(BLOCK);
            }
        }
    }
    sums
}

/// Adds the residual, applies the activation and writes a block of pixels.
///
/// # Safety
/// `BLOCK` numbers can be written at each of `at` after `to`, and read there after `add` unless it is null.
#[inline(always)]
unsafe fn finish<S: Simd, const PIXELS: usize, const VECTORS: usize>(
    s: S,
    mut sums: [[S::F32; VECTORS]; PIXELS],
    activation: Option<Activation>,
    add: *const f32,
    to: *mut f32,
    at: [usize; PIXELS],
) {
    // SAFETY: the caller vouches for the places. All are read before the first is written: `add` may be `to`.
    unsafe {
        for i in 0..PIXELS {
            for v in 0..VECTORS {
                if !add.is_null() {
                    sums[i][v] = s.add(sums[i][v], s.load(add.add(at[i] + v * S::LANES)));
                }
                sums[i][v] = activate(s, sums[i][v], activation);
            }
        }
        for i in 0..PIXELS {
            for v in 0..VECTORS {
                s.store(to.add(at[i] + v * S::LANES), sums[i][v]);
            }
        }
    }
}
