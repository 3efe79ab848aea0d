//! Winograd's convolution F(4x4, 3x3): 4x4 output pixels from 36 instead of 144 products, for kernels of 3x3 and stride 1.
//!
//! `Y = Aᵀ [(G g Gᵀ) ⊙ (Bᵀ d B)] A`, summed over the input channels, with the points 0, ±1, ±2 and infinity.
//! Source: Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", 2015, section 4.

use models::network::Activation;

use super::activation::activate;
use super::map::{BLOCK, Border, Map};
use super::simd::Simd;
use super::spec::{ConvSpec, Residual};

/// Side of an output tile.
pub const TILE: usize = 4;
/// Side of an input tile.
const SIDE: usize = TILE + 2;
/// Products of one tile.
const POINTS: usize = SIDE * SIDE;

/// `G`: kernel to points.
const G: [[f64; 3]; SIDE] = [
    [1.0 / 4.0, 0.0, 0.0],
    [-1.0 / 6.0, -1.0 / 6.0, -1.0 / 6.0],
    [-1.0 / 6.0, 1.0 / 6.0, -1.0 / 6.0],
    [1.0 / 24.0, 1.0 / 12.0, 1.0 / 6.0],
    [1.0 / 24.0, -1.0 / 12.0, 1.0 / 6.0],
    [0.0, 0.0, 1.0],
];

/// A convolution packed for [`run`].
#[derive(Clone, Debug)]
pub struct Winograd {
    /// `[POINTS][blocks][input depth][BLOCK]`
    weights: Vec<f32>,
    /// `[blocks * BLOCK]`
    bias: Vec<f32>,
    activation: Option<Activation>,
    tiles: Vec<Tile>,
    /// Tiles that go through the three stages together.
    group: usize,
    /// Tiles from one point to the next in the scratch: a number that does not put the same tile of many points into the
    /// same cache set.
    stride: usize,
    input: Map,
    output: Map,
}

/// Where a tile lies in its digit, and how much of it is inside of the map.
#[derive(Clone, Copy, Debug)]
struct Tile {
    from: usize,
    to: usize,
    height: usize,
    width: usize,
}

impl Winograd {
    /// Whether `spec` is of the kind that can be computed so.
    pub fn fits(spec: &ConvSpec) -> bool {
        spec.kernel == [3, 3] && spec.stride == [1, 1] && spec.in_channels >= 8
    }

    /// Border that the input needs: the padding, and on the far sides what the last tiles reach past it.
    pub fn border(spec: &ConvSpec, height: usize, width: usize) -> Border {
        let past = |outputs: usize| outputs.next_multiple_of(TILE) - outputs;
        Border {
            bottom: spec.padding.bottom + past(height),
            right: spec.padding.right + past(width),
            ..spec.padding
        }
    }

    /// Packs `spec` for maps that lie so. `group` tiles go through the stages together: few enough for the first cache.
    pub fn new(spec: &ConvSpec, input: &Map, output: &Map, group: usize) -> Winograd {
        let blocks = spec.out_channels.div_ceil(BLOCK);
        let mut weights = vec![0.0; POINTS * blocks * input.depth * BLOCK];
        for block in 0..blocks {
            for channel in 0..spec.in_channels {
                for (point, values) in kernel_points(spec, block * BLOCK, channel).into_iter().enumerate() {
                    let first = ((point * blocks + block) * input.depth + channel) * BLOCK;
                    weights[first..first + BLOCK].copy_from_slice(&values.map(|value| value as f32));
                }
            }
        }
        let mut bias = spec.bias.clone();
        bias.resize(blocks * BLOCK, 0.0);
        let tiles = tiles(spec, input, output);
        for tile in &tiles {
            assert!(tile.from + (SIDE - 1) * (input.row() + input.depth) + input.depth <= input.len());
            let (down, right) = ((tile.height - 1) * output.row(), (tile.width - 1) * output.depth);
            assert!(tile.to + down + right + bias.len() <= output.len());
        }
        assert!(bias.len() <= output.depth && input.depth.is_multiple_of(BLOCK));
        Winograd {
            weights,
            bias,
            activation: spec.activation,
            tiles,
            group,
            stride: if group.is_power_of_two() { group + 2 } else { group },
            input: input.clone(),
            output: output.clone(),
        }
    }

    /// Numbers that [`run`] needs beside its maps.
    pub fn scratch(&self) -> usize {
        POINTS * self.stride * (self.input.depth + self.bias.len())
    }

    fn tile(&self, index: usize) -> Tile {
        let (digit, tile) = (index / self.tiles.len(), self.tiles[index % self.tiles.len()]);
        Tile {
            from: tile.from + digit * self.input.len(),
            to: tile.to + digit * self.output.len(),
            ..tile
        }
    }
}

/// A number for each output channel of a block.
type Lanes = [f64; BLOCK];

/// `G g Gᵀ` of the kernels from `channel` to the block of outputs from `first_out` on.
fn kernel_points(spec: &ConvSpec, first_out: usize, channel: usize) -> [Lanes; POINTS] {
    let outs = BLOCK.min(spec.out_channels - first_out);
    let mut kernels = [[0.0; BLOCK]; 9];
    for lane in 0..outs {
        let first = spec.index(first_out + lane, channel, 0, 0);
        for (lanes, weight) in kernels.iter_mut().zip(&spec.weight[first..first + 9]) {
            lanes[lane] = f64::from(*weight);
        }
    }
    let weigh = |g: [f64; 3], [a, b, c]: [&Lanes; 3]| -> Lanes {
        std::array::from_fn(|lane| g[0] * a[lane] + g[1] * b[lane] + g[2] * c[lane])
    };
    let rows = G.map(|g| [0, 1, 2].map(|x| weigh(g, [0, 3, 6].map(|row| &kernels[row + x]))));
    std::array::from_fn(|point| weigh(G[point % SIDE], rows[point / SIDE].each_ref()))
}

fn tiles(spec: &ConvSpec, input: &Map, output: &Map) -> Vec<Tile> {
    let Border { top, left, .. } = spec.padding;
    let mut tiles = Vec::new();
    for y in (0..output.height).step_by(TILE) {
        for x in (0..output.width).step_by(TILE) {
            tiles.push(Tile {
                from: input.at(y as isize - top as isize, x as isize - left as isize),
                to: output.at(y as isize, x as isize),
                height: TILE.min(output.height - y),
                width: TILE.min(output.width - x),
            });
        }
    }
    tiles
}

/// Convolves `digits` maps, in groups of tiles, of which `TILES` are multiplied at once.
///
/// # Panics
/// When a slice is too short.
#[inline(always)]
pub fn run<S: Simd, const TILES: usize, const VECTORS: usize>(
    s: S,
    layer: &Winograd,
    digits: usize,
    input: &[f32],
    residual: Residual,
    output: &mut [f32],
    scratch: &mut [f32],
) {
    assert_eq!(VECTORS * S::LANES, BLOCK);
    assert!(input.len() >= digits * layer.input.len() && output.len() >= digits * layer.output.len());
    assert!(scratch.len() >= layer.scratch());
    residual.check(digits * layer.output.len());
    let (points, sums) = scratch.split_at_mut(POINTS * layer.stride * layer.input.depth);
    let to = output.as_mut_ptr();
    let add = residual.pointer(to);
    let tiles = digits * layer.tiles.len();
    for first in (0..tiles).step_by(layer.group) {
        let count = layer.group.min(tiles - first);
        // SAFETY: `Winograd::new` holds every tile inside its digit, the assertions hold the digits inside the slices,
        // and the scratch holds a group.
        unsafe {
            for tile in 0..count {
                let from = input.as_ptr().add(layer.tile(first + tile).from);
                input_points(s, layer, from, points.as_mut_ptr().add(tile * layer.input.depth));
            }
            let (from, sums) = (points.as_ptr(), sums.as_mut_ptr());
            // The depths of our network, so that one register holds all rows of a product.
            match layer.input.depth {
                16 => multiply::<S, TILES, VECTORS>(s, layer, 16, count, from, sums),
                32 => multiply::<S, TILES, VECTORS>(s, layer, 32, count, from, sums),
                64 => multiply::<S, TILES, VECTORS>(s, layer, 64, count, from, sums),
                depth => multiply::<S, TILES, VECTORS>(s, layer, depth, count, from, sums),
            }
            for tile in 0..count {
                let from = sums.add(tile * layer.bias.len());
                output_pixels(s, layer, layer.tile(first + tile), from, add, to);
            }
        }
    }
}

/// `Bᵀ d B` of one tile, for all its channels; `to` is `[POINTS][stride][input depth]`, from this tile on.
///
/// # Safety
/// The tile after `from` can be read, and the scratch after `to` be written.
#[inline(always)]
unsafe fn input_points<S: Simd>(s: S, layer: &Winograd, from: *const f32, to: *mut f32) {
    let (row, depth) = (layer.input.row(), layer.input.depth);
    for channel in (0..depth).step_by(S::LANES) {
        let mut t = [[s.splat(0.0); SIDE]; SIDE];
        // SAFETY: the caller vouches for both places; `depth` is a multiple of `LANES`.
        unsafe {
            for (y, t) in t.iter_mut().enumerate() {
                let pixel = from.add(y * row + channel);
                for (x, t) in t.iter_mut().enumerate() {
                    *t = s.load(pixel.add(x * depth));
                }
                *t = input_transform(s, *t);
            }
            for x in 0..SIDE {
                let column = input_transform(s, [t[0][x], t[1][x], t[2][x], t[3][x], t[4][x], t[5][x]]);
                for (y, value) in column.into_iter().enumerate() {
                    s.store(to.add((y * SIDE + x) * layer.stride * depth + channel), value);
                }
            }
        }
    }
}

/// `Bᵀ d`
#[inline(always)]
fn input_transform<S: Simd>(s: S, d: [S::F32; SIDE]) -> [S::F32; SIDE] {
    let (minus_four, minus_five, four) = (s.splat(-4.0), s.splat(-5.0), s.splat(4.0));
    let even = s.mul_add(d[2], minus_four, d[4]);
    let odd = s.mul_add(d[1], minus_four, d[3]);
    let near = s.sub(d[4], d[2]);
    let far = s.sub(d[3], d[1]);
    let far = s.add(far, far);
    [
        s.mul_add(d[0], four, s.mul_add(d[2], minus_five, d[4])),
        s.add(even, odd),
        s.sub(even, odd),
        s.add(near, far),
        s.sub(near, far),
        s.mul_add(d[1], four, s.mul_add(d[3], minus_five, d[5])),
    ]
}

/// For every point, `[tiles, input depth]` times `[input depth, output depth]`.
///
/// # Safety
/// `points` is `[POINTS][stride][input depth]` and `sums` is `[POINTS][stride][output depth]`.
#[inline(always)]
unsafe fn multiply<S: Simd, const TILES: usize, const VECTORS: usize>(
    s: S,
    layer: &Winograd,
    depth: usize,
    tiles: usize,
    points: *const f32,
    sums: *mut f32,
) {
    let out = layer.bias.len();
    for point in 0..POINTS {
        for block in 0..out / BLOCK {
            // SAFETY: the caller vouches for the scratch; the weights hold a matrix for every point and block.
            unsafe {
                let weights = layer
                    .weights
                    .as_ptr()
                    .add((point * (out / BLOCK) + block) * depth * BLOCK);
                let from = |tile: usize| points.add((point * layer.stride + tile) * depth);
                let to = |tile: usize| sums.add((point * layer.stride + tile) * out + block * BLOCK);
                let mut tile = 0;
                while tile + TILES <= tiles {
                    product::<S, TILES, VECTORS>(s, depth, from(tile), weights, to(tile), out);
                    tile += TILES;
                }
                // Four tiles take as long as one. What the scratch holds beyond the last is multiplied for nothing.
                while tile < tiles && tile + 4 <= layer.stride {
                    product::<S, 4, VECTORS>(s, depth, from(tile), weights, to(tile), out);
                    tile += 4;
                }
                while tile < tiles {
                    product::<S, 1, VECTORS>(s, depth, from(tile), weights, to(tile), out);
                    tile += 1;
                }
            }
        }
    }
}

/// `TILES` rows of `depth` numbers times `[depth, BLOCK]`.
///
/// # Safety
/// The rows, the weights and, `stride` apart, the places for the sums are there.
#[inline(always)]
unsafe fn product<S: Simd, const TILES: usize, const VECTORS: usize>(
    s: S,
    depth: usize,
    rows: *const f32,
    weights: *const f32,
    to: *mut f32,
    stride: usize,
) {
    let mut sums = [[s.splat(0.0); VECTORS]; TILES];
    // SAFETY: the caller vouches for all places.
    unsafe {
        for k in 0..depth {
            let mut vectors = [s.splat(0.0); VECTORS];
            for (v, vector) in vectors.iter_mut().enumerate() {
                *vector = s.load(weights.add(k * BLOCK + v * S::LANES));
            }
            for (i, sums) in sums.iter_mut().enumerate() {
                let x = s.splat(*rows.add(i * depth + k));
                for v in 0..VECTORS {
                    sums[v] = s.mul_add(x, vectors[v], sums[v]);
                }
            }
        }
        for (i, sums) in sums.into_iter().enumerate() {
            for (v, sum) in sums.into_iter().enumerate() {
                s.store(to.add(i * stride + v * S::LANES), sum);
            }
        }
    }
}

/// `Aᵀ m A` of one tile plus bias and residual, through the activation; only pixels inside of the map are written.
///
/// # Safety
/// `sums` is `[POINTS][stride][output depth]`, from this tile on; the tile lies inside of `to`, and of `add` unless null.
#[inline(always)]
unsafe fn output_pixels<S: Simd>(s: S, layer: &Winograd, tile: Tile, sums: *const f32, add: *const f32, to: *mut f32) {
    let out = layer.bias.len();
    for channel in (0..out).step_by(S::LANES) {
        let mut t = [[s.splat(0.0); SIDE]; TILE];
        // SAFETY: the caller vouches for the places; `out` is a multiple of `LANES`.
        unsafe {
            for x in 0..SIDE {
                let mut column = [s.splat(0.0); SIDE];
                for (y, value) in column.iter_mut().enumerate() {
                    *value = s.load(sums.add((y * SIDE + x) * layer.stride * out + channel));
                }
                let column = output_transform(s, column);
                for y in 0..TILE {
                    t[y][x] = column[y];
                }
            }
            let bias = s.load(layer.bias.as_ptr().add(channel));
            for (y, row) in t.into_iter().enumerate().take(tile.height) {
                for (x, mut value) in output_transform(s, row).into_iter().enumerate().take(tile.width) {
                    let at = tile.to + y * layer.output.row() + x * layer.output.depth + channel;
                    value = s.add(value, bias);
                    if !add.is_null() {
                        value = s.add(value, s.load(add.add(at)));
                    }
                    s.store(to.add(at), activate(s, value, layer.activation));
                }
            }
        }
    }
}

/// `Aᵀ m`
#[inline(always)]
fn output_transform<S: Simd>(s: S, m: [S::F32; SIDE]) -> [S::F32; TILE] {
    let (one, minus_one) = (s.add(m[1], m[2]), s.sub(m[1], m[2]));
    let (two, minus_two) = (s.add(m[3], m[4]), s.sub(m[3], m[4]));
    [
        s.add(m[0], s.add(one, two)),
        s.mul_add(minus_two, s.splat(2.0), minus_one),
        s.mul_add(two, s.splat(4.0), one),
        s.add(m[5], s.mul_add(minus_two, s.splat(8.0), minus_one)),
    ]
}
