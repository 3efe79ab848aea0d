//! Direct convolution of bytes: as [`direct`](super::direct), but four products of bytes go into each lane at once, and
//! the sums become floats only when they are finished.

use models::network::Activation;

use super::activation::activate;
use super::map::Map;
use super::simd::Simd;
use super::spec::{Addend, ByteConvSpec, ConvSpec, Output};
use super::windows::{Part, Run, Skip, Steps, Tile, Windows, is_even, pixels};

/// Bytes that go into one lane.
const QUAD: usize = 4;
/// Digits of a layer of one pixel that are computed at once.
const DIGITS: usize = 4;
/// Largest bias that keeps a quarter of a sum of 32 bits below 2^31.
const MOST_BIAS: f32 = (1 << 30) as f32;
/// Largest weight for which pairs of products fit in 16 bits.
const NARROW: u8 = 64;

/// A convolution packed for [`run`].
#[derive(Clone, Debug)]
pub struct ByteConv {
    products: Products,
    /// What the sums begin with, and the unit of those sums in units of the others, `[blocks of channels]`.
    shortcut: Option<(Products, Vec<f32>)>,
    /// `[blocks of channels]`: `y = sum * scale + bias + residual * add_scale`.
    scale: Vec<f32>,
    bias: Vec<f32>,
    add_scale: f32,
    /// Where the activation is no line: the result is `activation(y) * byte_scale + zero`. Else these two are counted in
    /// already, and the result is `max(y, floor)`.
    is_smooth: bool,
    activation: Option<Activation>,
    byte_scale: f32,
    zero: f32,
    floor: f32,
    is_bytes: bool,
    tile: Tile,
    /// Where each output pixel lies.
    pixels: Vec<usize>,
    /// Whether the bytes of a part follow each other without a gap, and all that is left to do with `y` is to cut it, being
    /// below 2^31.
    is_dense: bool,
    output_len: usize,
}

/// Kernels and windows.
#[derive(Clone, Debug)]
struct Products {
    /// `[blocks][kernel height][quads][channels of a block][QUAD]`; zeros where a channel is missing.
    weights: Vec<i8>,
    /// `[blocks * channels]`, 128 times the sum of a channel's weights: where the sums begin if [`Simd::SIGNED`].
    offsets: Vec<i32>,
    wide: bool,
    /// Quads in a row of the kernel, rounded up: the last one may reach past it.
    quads: usize,
    windows: Windows,
}

impl ByteConv {
    /// Bytes that [`run`] may read past the last digit.
    pub const SLACK: usize = QUAD;

    /// Packs `spec` for maps that lie so.
    pub fn new(spec: &ByteConvSpec, [input, short, output]: [&Map; 3], tile: Tile) -> ByteConv {
        let conv = &spec.conv;
        let pixels: Vec<usize> = output.pixels().collect();
        let (byte_scale, zero) = spec
            .quant
            .map_or((1.0, 0.0), |quant| (1.0 / quant.scale, f32::from(quant.zero)));
        let is_smooth = matches!(conv.activation, Some(Activation::Sigmoid | Activation::Tanh));
        let (factor, shift) = if is_smooth { (1.0, 0.0) } else { (byte_scale, zero) };
        let whole = |values: &[f32], shift: f32| {
            let mut values: Vec<f32> = values.iter().map(|value| value * factor + shift).collect();
            values.resize(conv.out_channels.next_multiple_of(tile.channels), 0.0);
            values
        };
        let shortcut = spec.shortcut.as_ref().map(|shortcut| {
            let ratios = shortcut
                .scale
                .iter()
                .zip(&spec.scale)
                .map(|(short, scale)| short / scale);
            let mut ratios: Vec<f32> = ratios.collect();
            ratios.resize(conv.out_channels.next_multiple_of(tile.channels), 0.0);
            (
                Products::new(&shortcut.conv, shortcut.zero, short, output, tile),
                ratios,
            )
        });
        let (scale, bias) = (whole(&spec.scale, 0.0), whole(&conv.bias, shift));
        let is_cut = spec.quant.is_some() && !is_smooth && (conv.activation.is_none() || zero == 0.0);
        let is_small = scale.iter().all(|x| x.abs() <= 0.25) && bias.iter().all(|x| x.abs() <= MOST_BIAS);
        let is_even = tile.pixels > 1 && output.depth == tile.channels && is_even(&pixels, tile.pixels, tile.channels);
        let layer = ByteConv {
            products: Products::new(conv, spec.zero, input, output, tile),
            shortcut,
            scale,
            bias,
            add_scale: factor,
            is_smooth,
            activation: conv.activation,
            byte_scale,
            zero,
            floor: if conv.activation.is_none() {
                f32::NEG_INFINITY
            } else {
                zero
            },
            is_bytes: spec.quant.is_some(),
            tile,
            is_dense: is_cut && is_small && is_even,
            pixels,
            output_len: output.len(),
        };
        layer.check(output.depth);
        layer
    }

    /// What [`run`] relies on: no pixel reaches past its digit.
    fn check(&self, depth: usize) {
        let pixel = self.pixels.iter().max().expect("an output has pixels");
        assert!(pixel + self.bias.len() <= self.output_len && self.bias.len() <= depth);
        assert_eq!(self.products.windows.starts.len(), self.pixels.len());
    }

    /// What is computed at once.
    pub fn tile(&self) -> Tile {
        self.tile
    }
}

impl Products {
    fn new(conv: &ConvSpec<i8>, zero: u8, input: &Map, output: &Map, tile: Tile) -> Products {
        let [rows, width] = conv.kernel;
        let quads = (width * input.depth).div_ceil(QUAD);
        let blocks = conv.out_channels.div_ceil(tile.channels);
        let mut weights = vec![0; blocks * rows * quads * tile.channels * QUAD];
        let mut offsets = vec![0i32; blocks * tile.channels];
        for out in 0..conv.out_channels {
            for channel in 0..conv.in_channels {
                for ky in 0..rows {
                    for kx in 0..width {
                        let k = kx * input.depth + channel;
                        let quad = ((out / tile.channels) * rows + ky) * quads + k / QUAD;
                        let weight = conv.weight[conv.index(out, channel, ky, kx)];
                        weights[(quad * tile.channels + out % tile.channels) * QUAD + k % QUAD] = weight;
                        offsets[out] = offsets[out].wrapping_add(128 * i32::from(weight));
                    }
                }
            }
        }
        let mut windows = Windows::new(conv, input, output, tile);
        if zero != 0 {
            windows.skip_nothing();
        }
        windows.check(quads * QUAD, ByteConv::SLACK);
        assert_eq!(
            windows.runs.iter().map(|run| run.len.div_ceil(QUAD)).sum::<usize>(),
            quads
        );
        Products {
            wide: weights.iter().any(|weight| weight.unsigned_abs() > NARROW),
            weights,
            offsets,
            quads,
            windows,
        }
    }
}

/// Convolves `digits` maps, a [`Tile`] of `PIXELS` pixels by `VECTORS` vectors of output channels at once.
///
/// # Panics
/// When a slice is too short; `input` must be [`ByteConv::SLACK`] longer than its maps.
#[inline(always)]
pub fn run<S: Simd, const PIXELS: usize, const VECTORS: usize>(
    s: S,
    layer: &ByteConv,
    digits: usize,
    input: &[u8],
    addend: Addend,
    output: Output,
) {
    assert_eq!(
        layer.tile,
        Tile {
            pixels: PIXELS,
            channels: VECTORS * S::LANES
        }
    );
    let out_len = digits * layer.output_len;
    assert!(input.len() >= digits * layer.products.windows.input_len + ByteConv::SLACK);
    let (short, add) = match (addend, &layer.shortcut) {
        (Addend::Bytes(bytes), Some((products, _)))
            if bytes.len() >= digits * products.windows.input_len + ByteConv::SLACK =>
        {
            (bytes.as_ptr(), std::ptr::null())
        }
        (Addend::Floats(floats), None) if floats.len() >= out_len => (std::ptr::null(), floats.as_ptr()),
        (Addend::None, None) => (std::ptr::null(), std::ptr::null()),
        _ => panic!("what is added is as the layer was packed for"),
    };
    let (floats, bytes) = match output {
        Output::Floats(floats) if !layer.is_bytes && floats.len() >= out_len => {
            (floats.as_mut_ptr(), std::ptr::null_mut())
        }
        Output::Bytes(bytes) if layer.is_bytes && bytes.len() >= out_len => (std::ptr::null_mut(), bytes.as_mut_ptr()),
        _ => panic!("the output is as the layer was packed for"),
    };
    let places = Places {
        input: input.as_ptr(),
        short,
        add,
        floats,
        bytes,
    };
    let mut done = 0;
    // SAFETY: the checks of `ByteConv` hold the offsets inside a digit, the assertions hold the digits inside the slices.
    unsafe {
        if PIXELS == 1 && layer.shortcut.is_none() {
            while done + DIGITS <= digits {
                lone_pixels::<S, VECTORS>(s, layer, done, &places);
                done += DIGITS;
            }
        }
        for mut part in layer
            .products
            .windows
            .parts(layer.tile, digits - done, layer.bias.len())
        {
            part.digit += done;
            let sums = shortcut::<S, PIXELS, VECTORS>(s, layer, part, places.short);
            let sums = products::<S, PIXELS, VECTORS>(s, &layer.products, part, places.input, sums);
            write::<S, PIXELS, VECTORS>(s, layer, part, sums, &places);
        }
    }
}

/// Where the maps begin; null for what there is not.
struct Places {
    input: *const u8,
    short: *const u8,
    add: *const f32,
    floats: *mut f32,
    bytes: *mut u8,
}

/// What the sums of a part begin with.
///
/// # Safety
/// The digit can be read after `input`, unless there is no shortcut.
#[inline(always)]
unsafe fn shortcut<S: Simd, const PIXELS: usize, const VECTORS: usize>(
    s: S,
    layer: &ByteConv,
    part: Part,
    input: *const u8,
) -> [[S::I32; VECTORS]; PIXELS] {
    let mut sums = [[s.splat_i32(0); VECTORS]; PIXELS];
    let Some((shortcut, ratios)) = &layer.shortcut else {
        return sums;
    };
    // SAFETY: the caller vouches for the digit; the ratios hold whole blocks.
    unsafe {
        sums = products::<S, PIXELS, VECTORS>(s, shortcut, part, input, sums);
        for v in 0..VECTORS {
            let ratio = s.load(ratios.as_ptr().add(part.block * layer.tile.channels + v * S::LANES));
            for i in 0..PIXELS {
                sums[i][v] = s.to_i32(s.mul(s.to_f32(sums[i][v]), ratio));
            }
        }
    }
    sums
}

/// Layers of one pixel from `digit` on, as if the digits were pixels: weights are loaded once for all.
///
/// # Safety
/// [`DIGITS`] digits can be read and written in those places that are not null.
#[inline(always)]
unsafe fn lone_pixels<S: Simd, const VECTORS: usize>(s: S, layer: &ByteConv, digit: usize, places: &Places) {
    let products = &layer.products;
    let windows = &products.windows;
    for block in 0..layer.bias.len() / layer.tile.channels {
        let part = Part { digit, block, first: 0 };
        // SAFETY: the caller vouches for the digits.
        unsafe {
            let input = places.input.add(digit * windows.input_len + windows.starts[0]);
            let none = [[s.splat_i32(0); VECTORS]; DIGITS];
            let digits = |i| i * windows.input_len;
            let sums = if products.wide && !S::QUADS {
                rows::<S, DIGITS, VECTORS, true, false>(s, products, part, input, digits, none)
            } else {
                rows::<S, DIGITS, VECTORS, false, false>(s, products, part, input, digits, none)
            };
            for (i, sums) in sums.into_iter().enumerate() {
                let part = Part {
                    digit: digit + i,
                    ..part
                };
                write::<S, 1, VECTORS>(s, layer, part, [sums], places);
            }
        }
    }
}

/// Makes of the sums of a part what the layer says, and writes it.
///
/// # Safety
/// The digit can be read and written in those places that are not null.
#[inline(always)]
unsafe fn write<S: Simd, const PIXELS: usize, const VECTORS: usize>(
    s: S,
    layer: &ByteConv,
    part: Part,
    sums: [[S::I32; VECTORS]; PIXELS],
    places: &Places,
) {
    // SAFETY: the caller vouches for the places.
    unsafe {
        if layer.is_dense && places.add.is_null() {
            dense::<S, PIXELS, VECTORS>(s, layer, part, sums, places.bytes);
        } else if layer.is_smooth {
            finish::<S, PIXELS, VECTORS, true>(s, layer, part, sums, places);
        } else {
            finish::<S, PIXELS, VECTORS, false>(s, layer, part, sums, places);
        }
    }
}

/// `sums` and the products of one part.
///
/// # Safety
/// The digit can be read after `input`.
#[inline(always)]
unsafe fn products<S: Simd, const PIXELS: usize, const VECTORS: usize>(
    s: S,
    layer: &Products,
    part: Part,
    input: *const u8,
    sums: [[S::I32; VECTORS]; PIXELS],
) -> [[S::I32; VECTORS]; PIXELS] {
    // SAFETY: the caller vouches for the digit.
    unsafe {
        if layer.wide && !S::QUADS {
            steps::<S, PIXELS, VECTORS, true>(s, layer, part, input, sums)
        } else {
            steps::<S, PIXELS, VECTORS, false>(s, layer, part, input, sums)
        }
    }
}

/// The same for weights that are `WIDE`.
///
/// # Safety
/// The digit can be read after `input`.
#[inline(always)]
unsafe fn steps<S: Simd, const PIXELS: usize, const VECTORS: usize, const WIDE: bool>(
    s: S,
    layer: &Products,
    part: Part,
    input: *const u8,
    sums: [[S::I32; VECTORS]; PIXELS],
) -> [[S::I32; VECTORS]; PIXELS] {
    let windows = &layer.windows;
    // SAFETY: the caller vouches for the digit, `Windows::check` for the windows inside of it.
    unsafe {
        let input = input.add(part.digit * windows.input_len);
        let first = input.add(windows.starts[part.first]);
        match windows.steps {
            Steps::Channels => {
                let window = |i| i * VECTORS * S::LANES;
                rows::<S, PIXELS, VECTORS, WIDE, true>(s, layer, part, first, window, sums)
            }
            Steps::One => rows::<S, PIXELS, VECTORS, WIDE, false>(s, layer, part, first, |i| i, sums),
            Steps::Any => {
                let starts = pixels::<PIXELS>(&windows.starts, part.first);
                rows::<S, PIXELS, VECTORS, WIDE, false>(s, layer, part, input, |i| starts[i], sums)
            }
        }
    }
}

/// `sums` and the products of one part, whose pixels' windows begin at `window`.
///
/// # Safety
/// The windows can be read.
#[inline(always)]
unsafe fn rows<S: Simd, const PIXELS: usize, const VECTORS: usize, const WIDE: bool, const SKIP: bool>(
    s: S,
    layer: &Products,
    part: Part,
    input: *const u8,
    window: impl Fn(usize) -> usize,
    mut sums: [[S::I32; VECTORS]; PIXELS],
) -> [[S::I32; VECTORS]; PIXELS] {
    let channels = VECTORS * S::LANES;
    let windows: [usize; PIXELS] = std::array::from_fn(window);
    // SAFETY: the packed arrays hold whole blocks; the caller vouches for the windows.
    unsafe {
        if S::SIGNED {
            let offsets = layer.offsets.as_ptr().add(part.block * channels);
            for v in 0..VECTORS {
                let offset = s.load_bytes(offsets.add(v * S::LANES).cast());
                for i in 0..PIXELS {
                    sums[i][v] = s.add_i32(sums[i][v], offset);
                }
            }
        }
        let (rows, quads) = (layer.windows.rows, layer.quads);
        let inside = if S::SIGNED {
            0..rows
        } else {
            layer.windows.inside[part.first / PIXELS].clone()
        };
        let first = (part.block * rows + inside.start) * quads;
        let mut weight = layer.weights.as_ptr().add(first * channels * QUAD);
        for row in inside {
            let mut input = input.add(row * layer.windows.row);
            if PIXELS == 1 {
                sums[0] = lone::<S, VECTORS, WIDE>(s, quads, input.add(windows[0]), weight, sums[0]);
                weight = weight.add(quads * channels * QUAD);
                continue;
            }
            for &Run { len, skip } in &layer.windows.runs {
                let quads = len.div_ceil(QUAD);
                sums = match skip {
                    Skip::First if SKIP && !S::SIGNED => {
                        run_quads::<S, PIXELS, VECTORS, WIDE, 1, 0>(s, quads, input, windows, weight, sums)
                    }
                    Skip::Last if SKIP && !S::SIGNED => {
                        run_quads::<S, PIXELS, VECTORS, WIDE, 0, 1>(s, quads, input, windows, weight, sums)
                    }
                    _ => run_quads::<S, PIXELS, VECTORS, WIDE, 0, 0>(s, quads, input, windows, weight, sums),
                };
                input = input.add(quads * QUAD);
                weight = weight.add(quads * channels * QUAD);
            }
        }
    }
    sums
}

/// `sums` and the products of a run, for all pixels but the first `FIRST` and the last `LAST`.
///
/// # Safety
/// `quads` quads can be read after the windows, and the weights of as many.
#[inline(always)]
unsafe fn run_quads<
    S: Simd,
    const PIXELS: usize,
    const VECTORS: usize,
    const WIDE: bool,
    const FIRST: usize,
    const LAST: usize,
>(
    s: S,
    quads: usize,
    input: *const u8,
    windows: [usize; PIXELS],
    weight: *const i8,
    mut sums: [[S::I32; VECTORS]; PIXELS],
) -> [[S::I32; VECTORS]; PIXELS] {
    for quad in 0..quads {
        let mut weights = [s.splat_i32(0); VECTORS];
        // SAFETY: the caller vouches for both places.
        unsafe {
            for (v, vector) in weights.iter_mut().enumerate() {
                *vector = s.load_bytes(weight.add((quad * VECTORS + v) * S::LANES * QUAD));
            }
            for i in FIRST..PIXELS - LAST {
                let x = s.splat_i32(input.add(windows[i] + quad * QUAD).cast::<i32>().read_unaligned());
                for v in 0..VECTORS {
                    sums[i][v] = s.dot::<WIDE>(sums[i][v], x, weights[v]);
                }
            }
        }
    }
    sums
}

/// `sums` and the products of a row of the only pixel, in chains that do not wait for each other.
///
/// # Safety
/// `quads` quads can be read after `window`, and the weights of as many.
#[inline(always)]
unsafe fn lone<S: Simd, const VECTORS: usize, const WIDE: bool>(
    s: S,
    quads: usize,
    window: *const u8,
    weight: *const i8,
    sums: [S::I32; VECTORS],
) -> [S::I32; VECTORS] {
    let mut chains = [[s.splat_i32(0); VECTORS]; 4];
    chains[0] = sums;
    for first in (0..quads).step_by(4) {
        for (quad, chain) in (first..quads).zip(&mut chains) {
            // SAFETY: the caller vouches for both places.
            unsafe {
                let x = s.splat_i32(window.add(quad * QUAD).cast::<i32>().read_unaligned());
                for v in 0..VECTORS {
                    let weights = s.load_bytes(weight.add((quad * VECTORS + v) * S::LANES * QUAD));
                    chain[v] = s.dot::<WIDE>(chain[v], x, weights);
                }
            }
        }
    }
    let [a, b, c, d] = chains;
    std::array::from_fn(|v| s.add_i32(s.add_i32(a[v], b[v]), s.add_i32(c[v], d[v])))
}

/// Scales the sums, adds the bias and writes a part as bytes without a gap.
///
/// # Safety
/// The digit can be written from `bytes` on.
#[inline(always)]
unsafe fn dense<S: Simd, const PIXELS: usize, const VECTORS: usize>(
    s: S,
    layer: &ByteConv,
    part: Part,
    sums: [[S::I32; VECTORS]; PIXELS],
    bytes: *mut u8,
) {
    let channels = part.block * layer.tile.channels;
    let first = part.digit * layer.output_len + layer.pixels[part.first] + channels;
    // SAFETY: the caller vouches for the digit; scale and bias hold whole blocks.
    unsafe {
        let mut scale = [s.splat(0.0); VECTORS];
        let mut bias = [s.splat(0.0); VECTORS];
        for v in 0..VECTORS {
            scale[v] = s.load(layer.scale.as_ptr().add(channels + v * S::LANES));
            bias[v] = s.load(layer.bias.as_ptr().add(channels + v * S::LANES));
        }
        for four in 0..PIXELS * VECTORS / 4 {
            let mut vectors = [s.splat(0.0); 4];
            for (j, vector) in vectors.iter_mut().enumerate() {
                let (i, v) = ((four * 4 + j) / VECTORS, (four * 4 + j) % VECTORS);
                *vector = s.mul_add(s.to_f32(sums[i][v]), scale[v], bias[v]);
            }
            s.store_bytes4(bytes.add(first + four * 4 * S::LANES), vectors);
        }
        for index in PIXELS * VECTORS / 4 * 4..PIXELS * VECTORS {
            let (i, v) = (index / VECTORS, index % VECTORS);
            let y = s.mul_add(s.to_f32(sums[i][v]), scale[v], bias[v]);
            s.store_bytes(bytes.add(first + index * S::LANES), y);
        }
    }
}

/// Scales the sums, adds bias and residual, applies the activation and writes a part.
///
/// # Safety
/// The digit can be read and written in those places that are not null.
#[inline(always)]
unsafe fn finish<S: Simd, const PIXELS: usize, const VECTORS: usize, const SMOOTH: bool>(
    s: S,
    layer: &ByteConv,
    part: Part,
    sums: [[S::I32; VECTORS]; PIXELS],
    places: &Places,
) {
    let start = part.digit * layer.output_len + part.block * layer.tile.channels;
    let at = pixels::<PIXELS>(&layer.pixels, part.first);
    // SAFETY: the caller vouches for the places; scale and bias hold whole blocks.
    unsafe {
        let scale = layer.scale.as_ptr().add(part.block * VECTORS * S::LANES);
        let bias = layer.bias.as_ptr().add(part.block * VECTORS * S::LANES);
        for i in 0..PIXELS {
            for v in 0..VECTORS {
                let at = start + at[i] + v * S::LANES;
                let (scale, bias) = (s.load(scale.add(v * S::LANES)), s.load(bias.add(v * S::LANES)));
                let y = s.mul_add(s.to_f32(sums[i][v]), scale, bias);
                let y = last::<S, SMOOTH>(s, layer, y, places.add, at);
                if layer.is_bytes {
                    s.store_bytes(places.bytes.add(at), y);
                } else {
                    s.store(places.floats.add(at), y);
                }
            }
        }
    }
}

/// Adds the residual and applies the activation.
///
/// # Safety
/// A vector can be read `at` numbers after `add`, unless that is null.
#[inline(always)]
unsafe fn last<S: Simd, const SMOOTH: bool>(
    s: S,
    layer: &ByteConv,
    mut y: S::F32,
    add: *const f32,
    at: usize,
) -> S::F32 {
    if !add.is_null() {
        // SAFETY: the caller vouches for the place.
        let add = unsafe { s.load(add.add(at)) };
        y = s.mul_add(add, s.splat(layer.add_scale), y);
    }
    if SMOOTH {
        let y = activate(s, y, layer.activation);
        return s.mul_add(y, s.splat(layer.byte_scale), s.splat(layer.zero));
    }
    s.max(y, s.splat(layer.floor))
}
