//! Direct convolution of bytes: as [`direct`](super::direct), but four products of bytes go into each lane at once, and
//! the sums become floats only when they are finished.

use models::network::Activation;

use super::activation::activate;
use super::map::{BLOCK, Map};
use super::simd::Simd;
use super::spec::{ByteConvSpec, Output};

/// Bytes that go into one lane.
const QUAD: usize = 4;
/// Largest weight for which pairs of products fit in 16 bits.
const NARROW: u8 = 64;

/// A convolution packed for [`run`].
#[derive(Clone, Debug)]
pub struct ByteConv {
    /// `[blocks][kernel height][quads][BLOCK][QUAD]`; zeros where a channel is missing.
    weights: Vec<i8>,
    /// `[blocks * BLOCK]`, 128 times the sum of a channel's weights: where the sums begin if [`Simd::SIGNED`].
    offsets: Vec<i32>,
    /// `[blocks * BLOCK]`
    scale: Vec<f32>,
    bias: Vec<f32>,
    /// Scale and zero point of the result, if it is bytes: `byte = y * factor + zero`.
    quant: Option<[f32; 2]>,
    activation: Option<Activation>,
    wide: bool,
    rows: usize,
    /// Quads in a row of the kernel, rounded up: the last one may reach past it.
    quads: usize,
    row: usize,
    windows: Vec<usize>,
    pixels: Vec<usize>,
    input_len: usize,
    output_len: usize,
}

impl ByteConv {
    /// Bytes that [`run`] may read past the last digit.
    pub const SLACK: usize = QUAD;

    /// Packs `spec` for maps that lie so.
    pub fn new(spec: &ByteConvSpec, input: &Map, output: &Map) -> ByteConv {
        let conv = &spec.conv;
        let [rows, width] = conv.kernel;
        let quads = (width * input.depth).div_ceil(QUAD);
        let blocks = conv.out_channels.div_ceil(BLOCK);
        let mut weights = vec![0; blocks * rows * quads * BLOCK * QUAD];
        let mut offsets = vec![0i32; blocks * BLOCK];
        for out in 0..conv.out_channels {
            for channel in 0..conv.in_channels {
                for ky in 0..rows {
                    for kx in 0..width {
                        let k = kx * input.depth + channel;
                        let quad = ((out / BLOCK) * rows + ky) * quads + k / QUAD;
                        let weight = conv.weight[conv.index(out, channel, ky, kx)];
                        weights[(quad * BLOCK + out % BLOCK) * QUAD + k % QUAD] = weight;
                        offsets[out] = offsets[out].wrapping_add(128 * i32::from(weight));
                    }
                }
            }
        }
        let whole = |values: &[f32]| {
            let mut values = values.to_vec();
            values.resize(blocks * BLOCK, 0.0);
            values
        };
        let layer = ByteConv {
            wide: weights.iter().any(|weight| weight.unsigned_abs() > NARROW),
            weights,
            offsets,
            scale: whole(&spec.scale),
            bias: whole(&conv.bias),
            quant: spec.quant.map(|quant| [1.0 / quant.scale, f32::from(quant.zero)]),
            activation: conv.activation,
            rows,
            quads,
            row: input.row(),
            windows: conv.windows(input, output),
            pixels: output.pixels().collect(),
            input_len: input.len(),
            output_len: output.len(),
        };
        layer.check(output.depth);
        layer
    }

    /// What [`run`] relies on: no window and no pixel reaches past its digit, but for the slack.
    fn check(&self, depth: usize) {
        let window = self.windows.iter().max().expect("an output has pixels");
        assert!(window + (self.rows - 1) * self.row + self.quads * QUAD <= self.input_len + ByteConv::SLACK);
        let pixel = self.pixels.iter().max().expect("an output has pixels");
        assert!(pixel + self.bias.len() <= self.output_len && self.bias.len() <= depth);
        assert_eq!(self.windows.len(), self.pixels.len());
    }
}

/// Convolves `digits` maps, `PIXELS` pixels by `VECTORS` vectors of output channels at once.
///
/// # Panics
/// When a slice is too short; `input` must be [`ByteConv::SLACK`] longer than its maps.
#[inline(always)]
pub fn run<S: Simd, const PIXELS: usize, const VECTORS: usize>(
    s: S,
    layer: &ByteConv,
    digits: usize,
    input: &[u8],
    residual: Option<&[f32]>,
    output: Output,
) {
    assert_eq!(VECTORS * S::LANES, BLOCK);
    let out_len = digits * layer.output_len;
    assert!(input.len() >= digits * layer.input_len + ByteConv::SLACK);
    assert!(residual.is_none_or(|add| add.len() >= out_len));
    let (floats, bytes) = match output {
        Output::Floats(floats) if layer.quant.is_none() && floats.len() >= out_len => {
            (floats.as_mut_ptr(), std::ptr::null_mut())
        }
        Output::Bytes(bytes) if layer.quant.is_some() && bytes.len() >= out_len => {
            (std::ptr::null_mut(), bytes.as_mut_ptr())
        }
        _ => panic!("the output is as the layer was packed for"),
    };
    let places = Places {
        input: input.as_ptr(),
        add: residual.map_or(std::ptr::null(), <[f32]>::as_ptr),
        floats,
        bytes,
    };
    // SAFETY: the assertions hold all digits inside the slices.
    unsafe {
        match (layer.wide, layer.pixels.len()) {
            (true, 1) => all::<S, 1, VECTORS, true>(s, layer, digits, &places),
            (true, _) => all::<S, PIXELS, VECTORS, true>(s, layer, digits, &places),
            (false, 1) => all::<S, 1, VECTORS, false>(s, layer, digits, &places),
            (false, _) => all::<S, PIXELS, VECTORS, false>(s, layer, digits, &places),
        }
    }
}

/// Where the maps begin; null for what there is not.
struct Places {
    input: *const u8,
    add: *const f32,
    floats: *mut f32,
    bytes: *mut u8,
}

/// All blocks of all digits.
///
/// # Safety
/// The places hold `digits` maps.
#[inline(always)]
unsafe fn all<S: Simd, const PIXELS: usize, const VECTORS: usize, const WIDE: bool>(
    s: S,
    layer: &ByteConv,
    digits: usize,
    places: &Places,
) {
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
                // SAFETY: `ByteConv::check` holds the offsets inside a digit, the caller vouches for the digits.
                unsafe {
                    let sums = sums::<S, PIXELS, VECTORS, WIDE>(s, layer, block, places.input, from);
                    finish::<S, PIXELS, VECTORS>(s, layer, block, sums, places, at);
                }
            }
        }
    }
}

/// Products of one block of pixels.
///
/// # Safety
/// The windows that begin `from` bytes after `input` can be read.
#[inline(always)]
unsafe fn sums<S: Simd, const PIXELS: usize, const VECTORS: usize, const WIDE: bool>(
    s: S,
    layer: &ByteConv,
    block: usize,
    input: *const u8,
    from: [usize; PIXELS],
) -> [[S::I32; VECTORS]; PIXELS] {
    let mut sums = [[s.splat_i32(0); VECTORS]; PIXELS];
    // SAFETY: the packed arrays hold whole blocks; the caller vouches for the windows.
    unsafe {
        if S::SIGNED {
            let offsets = layer.offsets.as_ptr().add(block * BLOCK);
            sums = [std::array::from_fn(|v| s.load_bytes(offsets.add(v * S::LANES).cast())); PIXELS];
        }
        let mut weight = layer
            .weights
            .as_ptr()
            .add(block * layer.rows * layer.quads * BLOCK * QUAD);
        for row in 0..layer.rows {
            let windows = from.map(|from| input.add(from + row * layer.row));
            for quad in 0..layer.quads {
                let mut weights = [s.splat_i32(0); VECTORS];
                for (v, vector) in weights.iter_mut().enumerate() {
                    *vector = s.load_bytes(weight.add(v * S::LANES * QUAD));
                }
                for i in 0..PIXELS {
                    let x = s.splat_i32(windows[i].add(quad * QUAD).cast::<i32>().read_unaligned());
                    for v in 0..VECTORS {
                        sums[i][v] = s.dot::<WIDE>(sums[i][v], x, weights[v]);
                    }
                }
                weight = weight.add(BLOCK * QUAD);
            }
        }
    }
    sums
}

/// Scales the sums, adds bias and residual, applies the activation and writes a block of pixels.
///
/// # Safety
/// `BLOCK` numbers can be read and written at each of `at` in those places that are not null.
#[inline(always)]
unsafe fn finish<S: Simd, const PIXELS: usize, const VECTORS: usize>(
    s: S,
    layer: &ByteConv,
    block: usize,
    sums: [[S::I32; VECTORS]; PIXELS],
    places: &Places,
    at: [usize; PIXELS],
) {
    // SAFETY: the caller vouches for the places; scale and bias hold whole blocks.
    unsafe {
        for v in 0..VECTORS {
            let channel = v * S::LANES;
            let scale = s.load(layer.scale.as_ptr().add(block * BLOCK + channel));
            let bias = s.load(layer.bias.as_ptr().add(block * BLOCK + channel));
            for i in 0..PIXELS {
                let mut y = s.mul_add(s.to_f32(sums[i][v]), scale, bias);
                if !places.add.is_null() {
                    y = s.add(y, s.load(places.add.add(at[i] + channel)));
                }
                y = activate(s, y, layer.activation);
                match layer.quant {
                    Some([factor, zero]) => {
                        let y = s.mul_add(y, s.splat(factor), s.splat(zero));
                        s.store_bytes(places.bytes.add(at[i] + channel), y);
                    }
                    None => s.store(places.floats.add(at[i] + channel), y),
                }
            }
        }
    }
}
