//! A fully connected layer over a feature map: vectors run along the features, five outputs at once.

use models::network::Activation;

use super::map::{BLOCK, Map};
use super::plain;
use super::simd::Simd;
use super::spec::LinearSpec;

/// Outputs that are computed at once.
const OUTPUTS: usize = 5;

/// A layer packed for [`run`].
#[derive(Clone, Debug)]
pub struct Linear {
    /// `[blocks of outputs][rows][chunks][OUTPUTS][BLOCK]`, features innermost; zeros where there is none.
    weights: Vec<f32>,
    bias: Vec<f32>,
    activation: Option<Activation>,
    /// Rows of the map.
    rows: usize,
    /// Chunks of `BLOCK` numbers in a row of the map, rounded up.
    chunks: usize,
    input: Map,
    /// Numbers of one digit's outputs, and where they begin.
    output_len: usize,
    output_at: usize,
}

impl Linear {
    /// Packs `spec` for maps that lie so; the output has one pixel.
    pub fn new(spec: &LinearSpec, input: &Map, output: &Map) -> Linear {
        let rows = input.height;
        let chunks = (input.width * input.depth).div_ceil(BLOCK);
        let outputs = spec.bias.len();
        let mut weights = vec![0.0; outputs.div_ceil(OUTPUTS) * rows * chunks * OUTPUTS * BLOCK];
        for (index, pixels) in spec.weight.chunks_exact(input.width).enumerate() {
            let (out, channel, row) = (
                index / rows / input.channels,
                index / rows % input.channels,
                index % rows,
            );
            for (column, &weight) in pixels.iter().enumerate() {
                let k = column * input.depth + channel;
                let chunk = ((out / OUTPUTS) * rows + row) * chunks + k / BLOCK;
                weights[(chunk * OUTPUTS + out % OUTPUTS) * BLOCK + k % BLOCK] = weight;
            }
        }
        Linear {
            weights,
            bias: spec.bias.clone(),
            activation: spec.activation,
            rows,
            chunks,
            input: input.clone(),
            output_len: output.len(),
            output_at: output.at(0, 0),
        }
    }

    /// Numbers that [`run`] may read past the last digit: the last chunk may be longer than its row.
    pub const SLACK: usize = BLOCK;
}

/// Computes the outputs of `digits` maps.
///
/// # Panics
/// When a slice is too short; `input` must be [`Linear::SLACK`] longer than its maps.
#[inline(always)]
pub fn run<S: Simd, const VECTORS: usize>(s: S, layer: &Linear, digits: usize, input: &[f32], output: &mut [f32]) {
    assert_eq!(VECTORS * S::LANES, BLOCK);
    assert!(input.len() >= digits * layer.input.len() + Linear::SLACK);
    for digit in 0..digits {
        let outputs = &mut output[digit * layer.output_len + layer.output_at..][..layer.bias.len()];
        let from = digit * layer.input.len() + layer.input.at(0, 0);
        for (block, outputs) in outputs.chunks_mut(OUTPUTS).enumerate() {
            // SAFETY: the assertion holds every row of the map, and what a chunk reads past it, inside of the input.
            let sums = unsafe { sums::<S, VECTORS>(s, layer, block, input.as_ptr().add(from)) };
            for (out, output) in outputs.iter_mut().enumerate() {
                *output = plain::activate(sums[out] + layer.bias[block * OUTPUTS + out], layer.activation);
            }
        }
    }
}

/// Sums of one block of outputs.
///
/// # Safety
/// `rows` rows of `chunks` chunks can be read after `input`.
#[inline(always)]
unsafe fn sums<S: Simd, const VECTORS: usize>(s: S, layer: &Linear, block: usize, input: *const f32) -> [f32; OUTPUTS] {
    let mut sums = [[s.splat(0.0); VECTORS]; OUTPUTS];
    // SAFETY: the weights hold all rows and chunks of every block; the caller vouches for the input.
    unsafe {
        let per_block = layer.rows * layer.chunks * OUTPUTS * BLOCK;
        let mut weight = layer.weights.as_ptr().add(block * per_block);
        for row in 0..layer.rows {
            let mut from = input.add(row * layer.input.row());
            for _ in 0..layer.chunks {
                for v in 0..VECTORS {
                    let x = s.load(from.add(v * S::LANES));
                    for (out, sums) in sums.iter_mut().enumerate() {
                        let w = s.load(weight.add(out * BLOCK + v * S::LANES));
                        sums[v] = s.mul_add(x, w, sums[v]);
                    }
                }
                from = from.add(BLOCK);
                weight = weight.add(OUTPUTS * BLOCK);
            }
        }
    }
    let mut totals = [0.0; OUTPUTS];
    for (total, vectors) in totals.iter_mut().zip(sums) {
        for vector in vectors {
            *total += s.sum(vector);
        }
    }
    totals
}
