//! Direct convolution: a block of pixels times a block of output channels stays in registers while the sums run over
//! the kernel's rows. Pixels of a row lie side by side, so that a row of the kernel is one run of numbers.

use models::network::Activation;

use super::activation::activate;
use super::map::Map;
use super::simd::Simd;
use super::spec::{ConvSpec, Residual};
use super::windows::{Part, Run, Skip, Steps, Tile, Windows, pixels};

/// A convolution packed for [`run`].
#[derive(Clone, Debug)]
pub struct Direct {
    /// `[blocks][kernel height][numbers in a row of the kernel][channels of a block]`; zeros where a channel is missing.
    weights: Vec<f32>,
    /// `[blocks * channels]`
    bias: Vec<f32>,
    activation: Option<Activation>,
    tile: Tile,
    /// Numbers in a row of the kernel: kernel width times the input's depth.
    run: usize,
    windows: Windows,
    /// Where each output pixel lies.
    pixels: Vec<usize>,
    output_len: usize,
}

impl Direct {
    /// Packs `spec` for maps that lie so.
    pub fn new(spec: &ConvSpec, input: &Map, output: &Map, tile: Tile) -> Direct {
        let [rows, width] = spec.kernel;
        let run = width * input.depth;
        let blocks = spec.out_channels.div_ceil(tile.channels);
        let mut weights = vec![0.0; blocks * rows * run * tile.channels];
        for out in 0..spec.out_channels {
            for channel in 0..spec.in_channels {
                for ky in 0..rows {
                    for kx in 0..width {
                        let k = ((out / tile.channels) * rows + ky) * run + kx * input.depth + channel;
                        weights[k * tile.channels + out % tile.channels] =
                            spec.weight[spec.index(out, channel, ky, kx)];
                    }
                }
            }
        }
        let mut bias = spec.bias.clone();
        bias.resize(blocks * tile.channels, 0.0);
        let direct = Direct {
            weights,
            bias,
            activation: spec.activation,
            tile,
            run,
            windows: Windows::new(spec, input, output, tile),
            pixels: output.pixels().collect(),
            output_len: output.len(),
        };
        direct.check(output.depth);
        direct
    }

    /// What [`run`] relies on: no window and no pixel reaches past its digit.
    fn check(&self, depth: usize) {
        self.windows.check(self.run, 0);
        assert_eq!(self.windows.runs.iter().map(|run| run.len).sum::<usize>(), self.run);
        let pixel = self.pixels.iter().max().expect("an output has pixels");
        assert!(pixel + self.bias.len() <= self.output_len && self.bias.len() <= depth);
        assert_eq!(self.windows.starts.len(), self.pixels.len());
    }

    /// What is computed at once.
    pub fn tile(&self) -> Tile {
        self.tile
    }
}

/// Convolves `digits` maps, a [`Tile`] of `PIXELS` pixels by `VECTORS` vectors of output channels at once.
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
    assert_eq!(
        layer.tile,
        Tile {
            pixels: PIXELS,
            channels: VECTORS * S::LANES
        }
    );
    assert!(input.len() >= digits * layer.windows.input_len && output.len() >= digits * layer.output_len);
    residual.check(digits * layer.output_len);
    let (input, to) = (input.as_ptr(), output.as_mut_ptr());
    let add = residual.pointer(to);
    for part in layer.windows.parts(layer.tile, digits, layer.bias.len()) {
        // SAFETY: `Direct::check` holds the offsets inside a digit, the assertions hold the digits inside the slices, and a
        // residual is as long as the output.
        unsafe {
            let sums = sums::<S, PIXELS, VECTORS>(s, layer, part, input);
            finish::<S, PIXELS, VECTORS>(s, layer, part, sums, add, to);
        }
    }
}

/// Bias and products of one part.
///
/// # Safety
/// The digit can be read after `input`.
#[inline(always)]
unsafe fn sums<S: Simd, const PIXELS: usize, const VECTORS: usize>(
    s: S,
    layer: &Direct,
    part: Part,
    input: *const f32,
) -> [[S::F32; VECTORS]; PIXELS] {
    let windows = &layer.windows;
    // SAFETY: the caller vouches for the digit, `Windows::check` for the windows inside of it.
    unsafe {
        let input = input.add(part.digit * windows.input_len);
        let first = input.add(windows.starts[part.first]);
        match windows.steps {
            Steps::Channels => rows::<S, PIXELS, VECTORS, true>(s, layer, part, first, |i| i * VECTORS * S::LANES),
            Steps::One => rows::<S, PIXELS, VECTORS, false>(s, layer, part, first, |i| i),
            Steps::Any => {
                let starts = pixels::<PIXELS>(&windows.starts, part.first);
                rows::<S, PIXELS, VECTORS, false>(s, layer, part, input, |i| starts[i])
            }
        }
    }
}

/// Bias and products of one part, whose pixels' windows begin `window` numbers after `input`.
///
/// # Safety
/// The windows can be read.
#[inline(always)]
unsafe fn rows<S: Simd, const PIXELS: usize, const VECTORS: usize, const SKIP: bool>(
    s: S,
    layer: &Direct,
    part: Part,
    input: *const f32,
    window: impl Fn(usize) -> usize,
) -> [[S::F32; VECTORS]; PIXELS] {
    let channels = VECTORS * S::LANES;
    let windows: [usize; PIXELS] = std::array::from_fn(window);
    let mut sums = [[s.splat(0.0); VECTORS]; PIXELS];
    // SAFETY: the packed arrays hold whole blocks; the caller vouches for the windows.
    unsafe {
        for v in 0..VECTORS {
            let bias = s.load(layer.bias.as_ptr().add(part.block * channels + v * S::LANES));
            for i in 0..PIXELS {
                sums[i][v] = bias;
            }
        }
        let inside = layer.windows.inside[part.first / PIXELS].clone();
        let first = (part.block * layer.windows.rows + inside.start) * layer.run;
        let mut weight = layer.weights.as_ptr().add(first * channels);
        for row in inside {
            let mut input = input.add(row * layer.windows.row);
            for &Run { len, skip } in &layer.windows.runs {
                sums = match skip {
                    Skip::First if SKIP => products::<S, PIXELS, VECTORS, 1, 0>(s, len, input, windows, weight, sums),
                    Skip::Last if SKIP => products::<S, PIXELS, VECTORS, 0, 1>(s, len, input, windows, weight, sums),
                    _ => products::<S, PIXELS, VECTORS, 0, 0>(s, len, input, windows, weight, sums),
                };
                input = input.add(len);
                weight = weight.add(len * channels);
            }
        }
    }
    sums
}

/// `sums` and the products of a run, for all pixels but the first `FIRST` and the last `LAST`.
///
/// # Safety
/// `len` numbers can be read after the windows, and the weights of as many.
#[inline(always)]
unsafe fn products<S: Simd, const PIXELS: usize, const VECTORS: usize, const FIRST: usize, const LAST: usize>(
    s: S,
    len: usize,
    input: *const f32,
    windows: [usize; PIXELS],
    weight: *const f32,
    mut sums: [[S::F32; VECTORS]; PIXELS],
) -> [[S::F32; VECTORS]; PIXELS] {
    for k in 0..len {
        let mut weights = [s.splat(0.0); VECTORS];
        // SAFETY: the caller vouches for both places.
        unsafe {
            for (v, vector) in weights.iter_mut().enumerate() {
                *vector = s.load(weight.add((k * VECTORS + v) * S::LANES));
            }
            for i in FIRST..PIXELS - LAST {
                let x = s.splat(*input.add(windows[i] + k));
                for v in 0..VECTORS {
                    sums[i][v] = s.mul_add(x, weights[v], sums[i][v]);
                }
            }
        }
    }
    sums
}

/// Adds the residual, applies the activation and writes a part.
///
/// # Safety
/// The digit can be written after `to`, and read after `add` unless it is null.
#[inline(always)]
unsafe fn finish<S: Simd, const PIXELS: usize, const VECTORS: usize>(
    s: S,
    layer: &Direct,
    part: Part,
    mut sums: [[S::F32; VECTORS]; PIXELS],
    add: *const f32,
    to: *mut f32,
) {
    let start = part.digit * layer.output_len + part.block * VECTORS * S::LANES;
    let at = pixels::<PIXELS>(&layer.pixels, part.first).map(|pixel| start + pixel);
    // SAFETY: the caller vouches for the digit. All is read before the first is written: `add` may be `to`, and the last
    // pixel may stand here several times.
    unsafe {
        if !add.is_null() {
            for i in 0..PIXELS {
                for v in 0..VECTORS {
                    sums[i][v] = s.add(sums[i][v], s.load(add.add(at[i] + v * S::LANES)));
                }
            }
        }
        if layer.activation == Some(Activation::Relu) {
            for i in 0..PIXELS {
                for v in 0..VECTORS {
                    sums[i][v] = s.max(sums[i][v], s.splat(0.0));
                }
            }
        }
        for i in 0..PIXELS {
            for v in 0..VECTORS {
                s.store(to.add(at[i] + v * S::LANES), sums[i][v]);
            }
        }
        if let Some(Activation::Sigmoid | Activation::Tanh) = layer.activation {
            // Read again: an index that is computed would keep the sums out of the registers.
            for at in &at[..PIXELS.min(layer.pixels.len() - part.first)] {
                for v in 0..VECTORS {
                    let place = to.add(at + v * S::LANES);
                    s.store(place, activate(s, s.load(place), layer.activation));
                }
            }
        }
    }
}
