//! Winograd's convolution F(4x4, 3x3) and its gradients, for kernels of 3x3 with stride 1 and padding 1.
//!
//! `Y = Aᵀ [(G g Gᵀ) ⊙ (Bᵀ d B)] A`, summed over the input channels, is linear in the kernel `g` and in the tile `d`, so that
//! the gradients are its transposes: with `M = A dY Aᵀ`, that of the kernel is `Gᵀ [M ⊙ (Bᵀ d B)] G`, summed over the tiles,
//! and that of the tile `B [M ⊙ (G g Gᵀ)] Bᵀ`, summed over the output channels.
//! Source: Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", 2015, section 4.
#![allow(clippy::needless_range_loop)] // Indices are those of the formulas.

use pulp::Simd;

use super::lanes::{BLOCK, Kernel, load, store};
use super::matrix::{Runs, add_transposed, multiply, put, transpose};
use super::method::Back;

/// Side of an output tile.
const TILE: usize = 4;
/// Side of an input tile.
const SIDE: usize = TILE + 2;
/// Products of one tile.
const POINTS: usize = SIDE * SIDE;

/// `G`: kernel to points.
const G: [[f32; 3]; SIDE] = [
    [1.0 / 4.0, 0.0, 0.0],
    [-1.0 / 6.0, -1.0 / 6.0, -1.0 / 6.0],
    [-1.0 / 6.0, 1.0 / 6.0, -1.0 / 6.0],
    [1.0 / 24.0, 1.0 / 12.0, 1.0 / 6.0],
    [1.0 / 24.0, -1.0 / 12.0, 1.0 / 6.0],
    [0.0, 0.0, 1.0],
];

/// Sizes of a convolution.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    /// Height and width of a map.
    pub side: usize,
    /// Channels in.
    pub in_channels: usize,
    /// Channels out.
    pub out_channels: usize,
}

impl Sizes {
    /// Tiles of one map.
    pub fn tiles(self) -> usize {
        self.side.div_ceil(TILE).pow(2)
    }

    /// Numbers of the kernel's points.
    pub fn points(self) -> usize {
        POINTS * self.in_channels * self.out_channels
    }

    /// Numbers of scratch for `tiles` tiles, forward or backward.
    pub fn scratch(self, tiles: usize) -> usize {
        POINTS * (2 * plane(tiles, self.in_channels) + plane(tiles, self.out_channels))
    }

    /// Digit, row and column of each tile of `digits` maps.
    #[inline(always)]
    fn each_tile(self, digits: usize, mut visit: impl FnMut(usize, [usize; 3])) {
        let tiles = self.side.div_ceil(TILE);
        for digit in 0..digits {
            for row in 0..tiles {
                for column in 0..tiles {
                    visit(
                        (digit * tiles + row) * tiles + column,
                        [digit, row * TILE, column * TILE],
                    );
                }
            }
        }
    }
}

/// Numbers from one point's matrix `[tiles, channels]` to the next one's: the pad keeps a tile's points out of one cache set.
fn plane(tiles: usize, channels: usize) -> usize {
    tiles * channels + BLOCK
}

/// The points `G g Gᵀ` of a kernel `[out, 3, 3, in]` as [`multiply`] wants them.
pub struct Pack<'a> {
    /// Sizes.
    pub sizes: Sizes,
    /// The kernel.
    pub kernel: &'a [f32],
    /// To the outputs, `[POINTS][out blocks][in][BLOCK]`.
    pub forward: &'a mut [f32],
    /// Back to the inputs, `[POINTS][in blocks][out][BLOCK]`.
    pub backward: &'a mut [f32],
}

impl Kernel for Pack<'_> {
    #[inline(always)]
    fn run<S: Simd, const V: usize>(self, s: S) {
        let Sizes {
            in_channels,
            out_channels,
            ..
        } = self.sizes;
        for (out, kernel) in self.kernel.chunks_exact(9 * in_channels).enumerate() {
            for input in (0..in_channels).step_by(S::F32_LANES) {
                let mut t = [[s.splat_f32s(0.0); 3]; SIDE];
                for x in 0..3 {
                    let mut g = [s.splat_f32s(0.0); 3];
                    for (y, g) in g.iter_mut().enumerate() {
                        *g = load::<S>(&kernel[(3 * y + x) * in_channels + input..]);
                    }
                    let column = from_kernel(s, g);
                    for y in 0..SIDE {
                        t[y][x] = column[y];
                    }
                }
                let to = ((input / BLOCK) * out_channels + out) * BLOCK + input % BLOCK;
                for (y, t) in t.into_iter().enumerate() {
                    for (x, value) in from_kernel(s, t).into_iter().enumerate() {
                        let point = (y * SIDE + x) * in_channels * out_channels;
                        store::<S>(&mut self.backward[point + to..], value);
                    }
                }
            }
        }
        let (in_blocks, out_blocks) = (in_channels / BLOCK, out_channels / BLOCK);
        let (from, _) = self.backward.as_chunks::<{ BLOCK * BLOCK }>();
        let (to, _) = self.forward.as_chunks_mut::<{ BLOCK * BLOCK }>();
        let matrices = from.chunks_exact(in_blocks * out_blocks);
        for (to, from) in to.chunks_exact_mut(in_blocks * out_blocks).zip(matrices) {
            for out in 0..out_blocks {
                for input in 0..in_blocks {
                    transpose(&from[input * out_blocks + out], &mut to[out * in_blocks + input]);
                }
            }
        }
    }
}

/// The gradient `Gᵀ P G` of a kernel `[out, 3, 3, in]` from that of its points, `[POINTS][out][in]`.
pub struct Unpack<'a> {
    /// Sizes.
    pub sizes: Sizes,
    /// The gradient of the points.
    pub points: &'a [f32],
    /// That of the kernel.
    pub kernel: &'a mut [f32],
}

impl Kernel for Unpack<'_> {
    #[inline(always)]
    fn run<S: Simd, const V: usize>(self, s: S) {
        let Sizes {
            in_channels,
            out_channels,
            ..
        } = self.sizes;
        for (out, kernel) in self.kernel.chunks_exact_mut(9 * in_channels).enumerate() {
            for input in (0..in_channels).step_by(S::F32_LANES) {
                let mut t = [[s.splat_f32s(0.0); SIDE]; 3];
                for x in 0..SIDE {
                    let mut p = [s.splat_f32s(0.0); SIDE];
                    for (y, p) in p.iter_mut().enumerate() {
                        let point = (y * SIDE + x) * in_channels * out_channels;
                        *p = load::<S>(&self.points[point + out * in_channels + input..]);
                    }
                    let column = to_kernel(s, p);
                    for y in 0..3 {
                        t[y][x] = column[y];
                    }
                }
                for (y, t) in t.into_iter().enumerate() {
                    for (x, value) in to_kernel(s, t).into_iter().enumerate() {
                        store::<S>(&mut kernel[(3 * y + x) * in_channels + input..], value);
                    }
                }
            }
        }
    }
}

/// Convolves maps `[digits, side, side, channels]`.
pub struct Forward<'a> {
    /// Sizes.
    pub sizes: Sizes,
    /// The maps.
    pub input: &'a [f32],
    /// Points of the kernel to the outputs.
    pub kernel: &'a [f32],
    /// Where the sums go.
    pub output: &'a mut [f32],
    /// [`Sizes::scratch`] numbers.
    pub scratch: &'a mut [f32],
}

impl Kernel for Forward<'_> {
    #[inline(always)]
    fn run<S: Simd, const V: usize>(self, s: S) {
        let Sizes {
            side,
            in_channels,
            out_channels,
        } = self.sizes;
        let digits = self.input.len() / (side * side * in_channels);
        let tiles = digits * self.sizes.tiles();
        let (from, to) = (plane(tiles, in_channels), plane(tiles, out_channels));
        let (points, rest) = self.scratch.split_at_mut(POINTS * from);
        let sums = &mut rest[..POINTS * to];
        let kernels = self.kernel.chunks_exact(in_channels * out_channels);
        input_points(s, self.sizes, digits, self.input, points);
        for ((kernel, points), sums) in kernels.zip(points.chunks_exact(from)).zip(sums.chunks_exact_mut(to)) {
            matrices::<S, V>(s, tiles, points, in_channels, kernel, sums, out_channels);
        }
        self.sizes.each_tile(
            digits,
            #[inline(always)]
            |tile, [digit, row, column]| {
                let output = &mut self.output[digit * side * side * out_channels..][..side * side * out_channels];
                for channel in (0..out_channels).step_by(S::F32_LANES) {
                    let mut t = [[s.splat_f32s(0.0); SIDE]; TILE];
                    for x in 0..SIDE {
                        let mut m = [s.splat_f32s(0.0); SIDE];
                        for (y, m) in m.iter_mut().enumerate() {
                            *m = load::<S>(&sums[(y * SIDE + x) * to + tile * out_channels + channel..]);
                        }
                        let m = to_pixels(s, m);
                        for y in 0..TILE {
                            t[y][x] = m[y];
                        }
                    }
                    for (y, t) in t.into_iter().enumerate() {
                        if row + y < side {
                            for (x, value) in to_pixels(s, t).into_iter().enumerate() {
                                if column + x < side {
                                    let at = ((row + y) * side + column + x) * out_channels + channel;
                                    store::<S>(&mut output[at..], value);
                                }
                            }
                        }
                    }
                }
            },
        );
    }
}

/// Adds the gradients of maps and kernel, given that of the output.
pub struct Backward<'a> {
    /// Sizes.
    pub sizes: Sizes,
    /// The maps; the gradient of the kernel is that of its points, `[POINTS][out][in]`.
    pub back: Back<'a, f32>,
    /// [`Sizes::scratch`] numbers.
    pub scratch: &'a mut [f32],
}

impl Kernel for Backward<'_> {
    #[inline(always)]
    fn run<S: Simd, const V: usize>(self, s: S) {
        let Backward {
            sizes,
            back: gradients,
            scratch,
        } = self;
        let Sizes {
            side,
            in_channels,
            out_channels,
        } = sizes;
        let to_input = gradients
            .to_input
            .expect("the picture, of one channel, is convolved directly");
        if !gradients.adds {
            to_input.fill(0.0);
        }
        let digits = gradients.input.len() / (side * side * in_channels);
        let tiles = digits * sizes.tiles();
        let (from, to) = (plane(tiles, in_channels), plane(tiles, out_channels));
        let (points, rest) = scratch.split_at_mut(POINTS * from);
        let (back, rest) = rest.split_at_mut(POINTS * from);
        let sums = &mut rest[..POINTS * to];
        input_points(s, sizes, digits, gradients.input, points);
        output_points(s, sizes, digits, gradients.output, sums);
        for point in 0..POINTS {
            let matrix = in_channels * out_channels;
            let points = &points[point * from..][..tiles * in_channels];
            let sums = &sums[point * to..][..tiles * out_channels];
            let (kernel, back) = (&gradients.kernel[point * matrix..][..matrix], &mut back[point * from..]);
            let to_kernel = &mut gradients.to_kernel[point * matrix..][..matrix];
            add_transposed::<S, V>(
                s,
                sums,
                |tile| tile * out_channels,
                out_channels,
                points,
                in_channels,
                to_kernel,
            );
            matrices::<S, V>(s, tiles, sums, out_channels, kernel, back, in_channels);
        }
        sizes.each_tile(
            digits,
            #[inline(always)]
            |tile, [digit, row, column]| {
                let map = &mut to_input[digit * side * side * in_channels..][..side * side * in_channels];
                for channel in (0..in_channels).step_by(S::F32_LANES) {
                    let mut t = [[s.splat_f32s(0.0); SIDE]; SIDE];
                    for x in 0..SIDE {
                        let mut m = [s.splat_f32s(0.0); SIDE];
                        for (y, m) in m.iter_mut().enumerate() {
                            *m = load::<S>(&back[(y * SIDE + x) * from + tile * in_channels + channel..]);
                        }
                        let m = to_tile(s, m);
                        for y in 0..SIDE {
                            t[y][x] = m[y];
                        }
                    }
                    for (y, t) in t.into_iter().enumerate() {
                        let y = (row + y).wrapping_sub(1);
                        if y < side {
                            for (x, value) in to_tile(s, t).into_iter().enumerate() {
                                let x = (column + x).wrapping_sub(1);
                                if x < side {
                                    let to = &mut map[(y * side + x) * in_channels + channel..];
                                    let sum = s.add_f32s(load::<S>(to), value);
                                    store::<S>(to, sum);
                                }
                            }
                        }
                    }
                }
            },
        );
    }
}

/// `to = from kernel` with `from` `[tiles, depth]` and `to` `[tiles, columns]`.
#[inline(always)]
fn matrices<S: Simd, const V: usize>(
    s: S,
    tiles: usize,
    from: &[f32],
    depth: usize,
    kernel: &[f32],
    to: &mut [f32],
    columns: usize,
) {
    multiply::<S, V>(
        s,
        tiles,
        from,
        #[inline(always)]
        |tile| tile * depth,
        Runs::one(depth),
        kernel,
        #[inline(always)]
        |tile, block, sums| put::<S, V>(&mut to[tile * columns + block * BLOCK..], sums),
    );
}

/// `Bᵀ d B` of every tile `d` of maps: `[POINTS]`[`plane`].
#[inline(always)]
fn input_points<S: Simd>(s: S, sizes: Sizes, digits: usize, maps: &[f32], points: &mut [f32]) {
    let (side, channels) = (sizes.side, sizes.in_channels);
    let plane = plane(digits * sizes.tiles(), channels);
    sizes.each_tile(
        digits,
        #[inline(always)]
        |tile, [digit, row, column]| {
            let map = &maps[digit * side * side * channels..][..side * side * channels];
            for channel in (0..channels).step_by(S::F32_LANES) {
                let mut t = [[s.splat_f32s(0.0); SIDE]; SIDE];
                for (y, t) in t.iter_mut().enumerate() {
                    let y = (row + y).wrapping_sub(1);
                    if y < side {
                        for (x, t) in t.iter_mut().enumerate() {
                            let x = (column + x).wrapping_sub(1);
                            if x < side {
                                *t = load::<S>(&map[(y * side + x) * channels + channel..]);
                            }
                        }
                        *t = from_tile(s, *t);
                    }
                }
                for x in 0..SIDE {
                    let column = from_tile(s, [t[0][x], t[1][x], t[2][x], t[3][x], t[4][x], t[5][x]]);
                    for (y, value) in column.into_iter().enumerate() {
                        store::<S>(&mut points[(y * SIDE + x) * plane + tile * channels + channel..], value);
                    }
                }
            }
        },
    );
}

/// `A y Aᵀ` of every output tile `y` of maps: `[POINTS]`[`plane`].
#[inline(always)]
fn output_points<S: Simd>(s: S, sizes: Sizes, digits: usize, maps: &[f32], points: &mut [f32]) {
    let (side, channels) = (sizes.side, sizes.out_channels);
    let plane = plane(digits * sizes.tiles(), channels);
    sizes.each_tile(
        digits,
        #[inline(always)]
        |tile, [digit, row, column]| {
            let map = &maps[digit * side * side * channels..][..side * side * channels];
            for channel in (0..channels).step_by(S::F32_LANES) {
                let mut t = [[s.splat_f32s(0.0); SIDE]; TILE];
                for (y, t) in t.iter_mut().enumerate() {
                    if row + y < side {
                        let mut pixels = [s.splat_f32s(0.0); TILE];
                        for (x, pixel) in pixels.iter_mut().enumerate() {
                            if column + x < side {
                                *pixel = load::<S>(&map[((row + y) * side + column + x) * channels + channel..]);
                            }
                        }
                        *t = from_pixels(s, pixels);
                    }
                }
                for x in 0..SIDE {
                    let column = from_pixels(s, [t[0][x], t[1][x], t[2][x], t[3][x]]);
                    for (y, value) in column.into_iter().enumerate() {
                        store::<S>(&mut points[(y * SIDE + x) * plane + tile * channels + channel..], value);
                    }
                }
            }
        },
    );
}

/// `G g`
#[inline(always)]
fn from_kernel<S: Simd>(s: S, g: [S::f32s; 3]) -> [S::f32s; SIDE] {
    let mut points = [s.splat_f32s(0.0); SIDE];
    for (point, weights) in points.iter_mut().zip(G) {
        for (g, weight) in g.into_iter().zip(weights) {
            *point = s.mul_add_f32s(g, s.splat_f32s(weight), *point);
        }
    }
    points
}

/// `Gᵀ p`
#[inline(always)]
fn to_kernel<S: Simd>(s: S, p: [S::f32s; SIDE]) -> [S::f32s; 3] {
    let mut kernel = [s.splat_f32s(0.0); 3];
    for (p, weights) in p.into_iter().zip(G) {
        for (kernel, weight) in kernel.iter_mut().zip(weights) {
            *kernel = s.mul_add_f32s(p, s.splat_f32s(weight), *kernel);
        }
    }
    kernel
}

/// `Bᵀ d`
#[inline(always)]
fn from_tile<S: Simd>(s: S, d: [S::f32s; SIDE]) -> [S::f32s; SIDE] {
    let (minus_four, minus_five, four) = (s.splat_f32s(-4.0), s.splat_f32s(-5.0), s.splat_f32s(4.0));
    let even = s.mul_add_f32s(d[2], minus_four, d[4]);
    let odd = s.mul_add_f32s(d[1], minus_four, d[3]);
    let near = s.sub_f32s(d[4], d[2]);
    let far = s.sub_f32s(d[3], d[1]);
    let far = s.add_f32s(far, far);
    [
        s.mul_add_f32s(d[0], four, s.mul_add_f32s(d[2], minus_five, d[4])),
        s.add_f32s(even, odd),
        s.sub_f32s(even, odd),
        s.add_f32s(near, far),
        s.sub_f32s(near, far),
        s.mul_add_f32s(d[1], four, s.mul_add_f32s(d[3], minus_five, d[5])),
    ]
}

/// `B m`
#[inline(always)]
fn to_tile<S: Simd>(s: S, m: [S::f32s; SIDE]) -> [S::f32s; SIDE] {
    let (two, four) = (s.splat_f32s(2.0), s.splat_f32s(4.0));
    let (minus_two, minus_four, minus_five) = (s.splat_f32s(-2.0), s.splat_f32s(-4.0), s.splat_f32s(-5.0));
    let (one, one_less) = (s.add_f32s(m[1], m[2]), s.sub_f32s(m[1], m[2]));
    let (both, both_less) = (s.add_f32s(m[3], m[4]), s.sub_f32s(m[3], m[4]));
    let ends = s.mul_add_f32s(m[0], minus_five, s.neg_f32s(both));
    let odd = s.mul_add_f32s(both_less, two, one_less);
    [
        s.mul_f32s(m[0], four),
        s.mul_add_f32s(
            m[5],
            four,
            s.mul_add_f32s(one_less, minus_four, s.mul_f32s(both_less, minus_two)),
        ),
        s.mul_add_f32s(one, minus_four, ends),
        s.mul_add_f32s(m[5], minus_five, odd),
        s.add_f32s(m[0], s.add_f32s(one, both)),
        m[5],
    ]
}

/// `Aᵀ m`
#[inline(always)]
fn to_pixels<S: Simd>(s: S, m: [S::f32s; SIDE]) -> [S::f32s; TILE] {
    let (one, one_less) = (s.add_f32s(m[1], m[2]), s.sub_f32s(m[1], m[2]));
    let (two, two_less) = (s.add_f32s(m[3], m[4]), s.sub_f32s(m[3], m[4]));
    [
        s.add_f32s(m[0], s.add_f32s(one, two)),
        s.mul_add_f32s(two_less, s.splat_f32s(2.0), one_less),
        s.mul_add_f32s(two, s.splat_f32s(4.0), one),
        s.add_f32s(m[5], s.mul_add_f32s(two_less, s.splat_f32s(8.0), one_less)),
    ]
}

/// `A y`
#[inline(always)]
fn from_pixels<S: Simd>(s: S, y: [S::f32s; TILE]) -> [S::f32s; SIDE] {
    let (two, four, eight) = (s.splat_f32s(2.0), s.splat_f32s(4.0), s.splat_f32s(8.0));
    let (even, odd) = (s.add_f32s(y[0], y[2]), s.add_f32s(y[1], y[3]));
    let far_even = s.mul_add_f32s(y[2], four, y[0]);
    let far_odd = s.mul_add_f32s(y[3], eight, s.mul_f32s(y[1], two));
    [
        y[0],
        s.add_f32s(even, odd),
        s.sub_f32s(even, odd),
        s.add_f32s(far_even, far_odd),
        s.sub_f32s(far_even, far_odd),
        y[3],
    ]
}
