//! Convolution in bf16 by a CPU's matrix unit. Kernels and gradients, and maps that are none yet, are rounded where they are
//! multiplied; sums are f32.
//!
//! Every product is one of tiles. On the way forward a tile's rows are neighbouring pixels, which lie in a map with zeros
//! around it, and its depth is a row of the kernel. The gradient of the input is the same convolution the other way round: of
//! the output's gradient, spread out by the stride. That of the kernel sums over pixels: the output's gradient is turned to
//! rows of one channel each, the input to pairs of pixels that one step of the stride lies between.

pub mod unit;

use bytemuck::{cast_slice, cast_slice_mut};
use pulp::Simd;

use super::direct::Sizes;
use super::lanes::{BLOCK, Kernel};
use super::method::Back;
use super::number::Number;
use unit::portable::{Portable, nearest};
use unit::{DEPTH, Hardware, SIDE, Unit};

/// Pixels of the output that are enough to be worth loading a kernel's tiles; more would leave the cache.
pub const PIXELS: usize = 196;

/// Numbers of the packed kernels, forward and backward.
pub fn packed(sizes: Sizes) -> [usize; 2] {
    [Convolution::forward(sizes), Convolution::backward(sizes)].map(Convolution::packed)
}

/// Packs a kernel `[out, kernel_size, kernel_size, in]`.
pub struct Pack<'a> {
    /// Sizes.
    pub sizes: Sizes,
    /// The kernel.
    pub kernel: &'a [f32],
    /// To the outputs; as many numbers as [`packed`] says.
    pub forward: &'a mut [f32],
    /// Back to the inputs.
    pub backward: &'a mut [f32],
}

impl Kernel for Pack<'_> {
    #[inline(always)]
    fn run<S: Simd, const V: usize>(self, _: S) {
        let Sizes {
            in_channels,
            kernel_size,
            ..
        } = self.sizes;
        let window = self.sizes.window();
        let (pairs, _) = self.kernel.as_chunks::<2>();
        let windows: Vec<u32> = pairs
            .iter()
            .map(
                #[inline(always)]
                |[first, second]| pair(nearest(*first).to_bits(), nearest(*second).to_bits()),
            )
            .collect();
        let halves: &[u16] = cast_slice(&windows);

        // A row is the same two numbers of the windows of a block of outputs.
        let mut rows = cast_slice_mut(self.forward).chunks_exact_mut(SIDE);
        for block in windows.chunks_exact(BLOCK * window / 2) {
            for (at, row) in (0..window / 2).zip(&mut rows) {
                let column = block[at..].iter().step_by(window / 2);
                row.iter_mut().zip(column).for_each(|(to, from)| *to = *from);
            }
        }

        // A row is a block of inputs, of two outputs.
        let mut rows = cast_slice_mut(self.backward).chunks_exact_mut(SIDE);
        for block in (0..in_channels).step_by(BLOCK) {
            // The other way round.
            for place in (0..kernel_size * kernel_size).rev() {
                let outs = halves[place * in_channels + block..].chunks(2 * window);
                for (outs, row) in outs.zip(&mut rows) {
                    let (first, second) = (&outs[..BLOCK], &outs[window..][..BLOCK]);
                    for (to, (first, second)) in row.iter_mut().zip(first.iter().zip(second)) {
                        *to = pair(*first, *second);
                    }
                }
            }
        }
    }
}

/// Numbers of scratch for `digits` maps, forward or backward.
pub fn scratch(sizes: Sizes, digits: usize) -> usize {
    let forward = lines(sizes.side * sizes.in_channels) + lines(Convolution::forward(sizes).maps(digits));
    let gradient = KernelGradient::new(sizes, digits);
    let backward = lines(sizes.side * sizes.in_channels)
        + 2 * lines(sizes.out_side * sizes.out_channels)
        + lines(gradient.maps())
        + lines(2 * gradient.pairs())
        + lines(2 * gradient.planes())
        + lines(Convolution::backward(sizes).maps(digits));
    forward.max(backward)
}

/// f32 that have room for so many bf16, in whole lines of the cache.
fn lines(halves: usize) -> usize {
    halves.div_ceil(2).next_multiple_of(BLOCK)
}

/// Takes so many bf16 off.
fn carve<'a>(scratch: &mut &'a mut [f32], halves: usize) -> &'a mut [u16] {
    let (taken, rest) = std::mem::take(scratch).split_at_mut(lines(halves));
    *scratch = rest;
    &mut cast_slice_mut(taken)[..halves]
}

/// Two numbers as a tile has neighbours.
#[inline(always)]
fn pair(first: u16, second: u16) -> u32 {
    u32::from(first) | u32::from(second) << 16
}

/// How maps `[digits, side, side, channels]` lie among zeros.
#[derive(Clone, Copy)]
struct Place {
    side: usize,
    channels: usize,
    /// Pixels from one to the next, in both directions.
    step: usize,
    /// Zeros before the first pixel, in both directions.
    margin: usize,
    /// Pixels of a row with its zeros.
    width: usize,
    /// Pixels of a digit with its zeros.
    span: usize,
}

impl Place {
    /// `row` has room for a row of a map.
    #[inline(always)]
    fn write<U: Unit, N: Number>(self, maps: &[N], to: &mut [u16], row: &mut [u16]) {
        let Place { side, channels, .. } = self;
        // Up to where it is written.
        let mut end = 0;
        for (digit, map) in maps.chunks_exact(side * side * channels).enumerate() {
            for (y, from) in map.chunks_exact(side * channels).enumerate() {
                let first = digit * self.span + (y * self.step + self.margin) * self.width + self.margin;
                let row = N::halve::<U>(from, row);
                // Neighbours that stay neighbours are written at once.
                let run = if self.step == 1 { row.len() } else { channels };
                for (x, pixels) in row.chunks_exact(run).enumerate() {
                    let at = (first + x * self.step) * channels;
                    to[end..at].fill(0);
                    end = at + run;
                    to[at..end].copy_from_slice(pixels);
                }
            }
        }
        to[end..].fill(0);
    }
}

/// A convolution of maps that have zeros around them, forward or as the gradient of the input.
#[derive(Clone, Copy)]
struct Convolution {
    /// Height and width of a map with its zeros.
    padded: usize,
    in_channels: usize,
    out_side: usize,
    out_channels: usize,
    kernel_size: usize,
    stride: usize,
}

impl Convolution {
    fn forward(sizes: Sizes) -> Convolution {
        Convolution {
            padded: sizes.side + 2 * sizes.padding,
            in_channels: sizes.in_channels,
            out_side: sizes.out_side,
            out_channels: sizes.out_channels,
            kernel_size: sizes.kernel_size,
            stride: sizes.stride,
        }
    }

    /// The gradient of the input from that of the output.
    fn backward(sizes: Sizes) -> Convolution {
        Convolution {
            padded: sizes.side + sizes.kernel_size - 1,
            in_channels: sizes.out_channels,
            out_side: sizes.side,
            out_channels: sizes.in_channels,
            kernel_size: sizes.kernel_size,
            stride: 1,
        }
    }

    /// Channels of a pixel that a tile takes. It begins and ends with pixels or halves of them, so that no row of it lies across
    /// two lines of the cache, which costs several times as much.
    fn depth(self) -> usize {
        let depth = self.in_channels.min(DEPTH);
        assert!(
            self.in_channels.is_multiple_of(depth),
            "16 channels, or a multiple of 32"
        );
        depth
    }

    /// Tiles of a row of the kernel.
    fn chunks(self) -> usize {
        self.kernel_size * self.in_channels / self.depth()
    }

    /// Numbers of a tile of the packed kernel.
    fn tile(self) -> usize {
        self.depth() / 2 * SIDE
    }

    /// Numbers of the packed kernel, `[out blocks][kernel rows][chunks]` tiles.
    fn packed(self) -> usize {
        self.out_channels / BLOCK * self.kernel_size * self.chunks() * self.tile()
    }

    /// bf16 of maps with their zeros.
    fn maps(self, digits: usize) -> usize {
        digits * self.padded * self.padded * self.in_channels
    }

    /// Convolves `digits` maps, or adds to the output.
    #[inline(always)]
    fn run<U: Unit>(self, digits: usize, maps: &[u16], kernel: &[f32], output: &mut [f32], add: bool) {
        let channels = self.in_channels / 2;
        // Rows of pixels are cut into equal parts.
        let rows = (1..=SIDE).rev().find(|rows| self.out_side.is_multiple_of(*rows));
        let rows = rows.expect("every number is a multiple of 1");
        let mut pixels = Vec::with_capacity(digits * self.out_side.pow(2) / rows);
        for digit in 0..digits {
            for y in 0..self.out_side {
                for x in (0..self.out_side).step_by(rows) {
                    let pixel = (digit * self.padded + y * self.stride) * self.padded + x * self.stride;
                    let out = ((digit * self.out_side + y) * self.out_side + x) * self.out_channels;
                    pixels.push([pixel * channels, out]);
                }
            }
        }
        let block = self.packed() / (self.out_channels / BLOCK);
        let blocks: Vec<_> = (0..self.out_channels / BLOCK).map(|n| [n * block, n * BLOCK]).collect();
        let chunks = (0..self.kernel_size).flat_map(|y| (0..self.chunks()).map(move |chunk| [y, chunk]));
        let row = self.padded * channels;
        let depth: Vec<_> = chunks
            .enumerate()
            .map(|(n, [y, chunk])| [y * row + chunk * self.depth() / 2, n * self.tile()])
            .collect();
        let product = Product {
            left: cast_slice(maps),
            left_stride: self.stride * channels,
            right: cast_slice(kernel),
            right_stride: SIDE,
            depth: &depth,
            sums_stride: self.out_channels,
            add,
        };
        product.run(&mut U::new(rows, self.depth()), &pixels, &blocks, output);
    }
}

/// Products of tiles: for each pair of a place on the left and one on the right, a sum over the depth.
struct Product<'a> {
    left: &'a [u32],
    left_stride: usize,
    right: &'a [u32],
    right_stride: usize,
    /// Steps from a pair's places, on the left and on the right.
    depth: &'a [[usize; 2]],
    sums_stride: usize,
    /// To what stands there.
    add: bool,
}

impl Product<'_> {
    /// `lefts` and `rights` are places among the factors and, added up, among the sums.
    #[inline(always)]
    fn run(&self, unit: &mut impl Unit, lefts: &[[usize; 2]], rights: &[[usize; 2]], sums: &mut [f32]) {
        for rights in rights.chunks(2) {
            for lefts in lefts.chunks(2) {
                match (lefts, rights) {
                    (&[a, b], &[c, d]) => self.block(unit, [a, b], [c, d], sums),
                    (&[a, b], &[c]) => self.block(unit, [a, b], [c], sums),
                    (&[a], &[c, d]) => self.block(unit, [a], [c, d], sums),
                    (&[a], &[c]) => self.block(unit, [a], [c], sums),
                    _ => unreachable!("chunks have one or two"),
                }
            }
        }
    }

    /// Up to two by two tiles of sums.
    #[inline(always)]
    fn block<const M: usize, const N: usize>(
        &self,
        unit: &mut impl Unit,
        lefts: [[usize; 2]; M],
        rights: [[usize; 2]; N],
        sums: &mut [f32],
    ) {
        let at = |m: usize, n: usize| lefts[m][1] + rights[n][1];
        let stride = self.sums_stride;
        if self.add {
            unit.take::<0>(&sums[at(0, 0)..], stride);
            if N == 2 {
                unit.take::<1>(&sums[at(0, 1)..], stride);
            }
            if M == 2 {
                unit.take::<2>(&sums[at(1, 0)..], stride);
            }
            if M == 2 && N == 2 {
                unit.take::<3>(&sums[at(1, 1)..], stride);
            }
        } else {
            unit.clear::<0>();
            unit.clear::<1>();
            unit.clear::<2>();
            unit.clear::<3>();
        }
        for &[left, right] in self.depth {
            unit.left::<4>(&self.left[lefts[0][0] + left..], self.left_stride);
            unit.right::<6>(&self.right[rights[0][0] + right..], self.right_stride);
            unit.multiply::<0, 4, 6>();
            if N == 2 {
                unit.right::<7>(&self.right[rights[1][0] + right..], self.right_stride);
                unit.multiply::<1, 4, 7>();
            }
            if M == 2 {
                unit.left::<5>(&self.left[lefts[1][0] + left..], self.left_stride);
                unit.multiply::<2, 5, 6>();
            }
            if M == 2 && N == 2 {
                unit.multiply::<3, 5, 7>();
            }
        }
        unit.put::<0>(&mut sums[at(0, 0)..], stride);
        if N == 2 {
            unit.put::<1>(&mut sums[at(0, 1)..], stride);
        }
        if M == 2 {
            unit.put::<2>(&mut sums[at(1, 0)..], stride);
        }
        if M == 2 && N == 2 {
            unit.put::<3>(&mut sums[at(1, 1)..], stride);
        }
    }
}

/// The gradient of a kernel: a sum over the slots of all digits, one for each pixel at which a step of the stride can begin.
/// Slots at which there is no pixel of the output have zeros in its planes.
#[derive(Clone, Copy)]
struct KernelGradient {
    sizes: Sizes,
    digits: usize,
    /// Pixels of a row of the input with its zeros; even, so that pairs of slots begin with a row.
    width: usize,
    /// Pixels of a digit of the input with its zeros.
    span: usize,
}

impl KernelGradient {
    fn new(sizes: Sizes, digits: usize) -> KernelGradient {
        let padded = sizes.side + 2 * sizes.padding;
        let width = padded.next_multiple_of(2);
        KernelGradient {
            sizes,
            digits,
            width,
            span: (width * padded).next_multiple_of(2 * sizes.stride),
        }
    }

    /// Tiles that the slots fill.
    fn chunks(self) -> usize {
        (self.digits * self.span / self.sizes.stride).div_ceil(DEPTH)
    }

    /// Pairs of pixels of the input, for each channel.
    fn pairs(self) -> usize {
        let last = (self.sizes.kernel_size - 1) * (self.width + 1);
        (self.chunks() * DEPTH * self.sizes.stride + last) * self.sizes.in_channels
    }

    /// bf16 of the input with its zeros.
    fn maps(self) -> usize {
        self.pairs() + self.sizes.stride * self.sizes.in_channels
    }

    /// Pairs of slots of a channel of the output, and what is written after the last row.
    fn plane(self) -> usize {
        (self.chunks() + 1) * SIDE
    }

    /// Pairs of slots.
    fn planes(self) -> usize {
        self.plane() * self.sizes.out_channels
    }

    /// Adds to the gradient `[out, window]`, given the maps and the output's gradient.
    #[inline(always)]
    fn run<U: Unit>(self, input: &[impl Number], output: &[f32], gradient: &mut [f32], scratch: &mut &mut [f32]) {
        let Sizes {
            side,
            in_channels,
            out_channels,
            kernel_size,
            stride,
            padding,
            ..
        } = self.sizes;
        let row = carve(scratch, side * in_channels);
        let maps = carve(scratch, self.maps());
        let place = Place {
            side,
            channels: in_channels,
            step: 1,
            margin: padding,
            width: self.width,
            span: self.span,
        };
        place.write::<U, _>(input, maps, row);
        let pairs: &mut [u32] = cast_slice_mut(carve(scratch, 2 * self.pairs()));
        let neighbours = maps.iter().zip(&maps[stride * in_channels..]);
        pairs.iter_mut().zip(neighbours).for_each(
            #[inline(always)]
            |(to, (first, second))| *to = pair(*first, *second),
        );
        let planes: &mut [u32] = cast_slice_mut(carve(scratch, 2 * self.planes()));
        self.write_planes::<U>(output, planes, carve(scratch, self.sizes.out_side * out_channels));

        let window = kernel_size * kernel_size * in_channels;
        let outs: Vec<_> = (0..out_channels / BLOCK)
            .map(|n| [n * BLOCK * self.plane(), n * BLOCK * window])
            .collect();
        let mut parts = Vec::with_capacity(window / BLOCK);
        for y in 0..kernel_size {
            for x in 0..kernel_size {
                for channel in (0..in_channels).step_by(BLOCK) {
                    parts.push([
                        (y * self.width + x) * in_channels + channel,
                        (y * kernel_size + x) * in_channels + channel,
                    ]);
                }
            }
        }
        let depth: Vec<_> = (0..self.chunks())
            .map(|chunk| [chunk * SIDE, chunk * DEPTH * stride * in_channels])
            .collect();
        let product = Product {
            left: planes,
            left_stride: self.plane(),
            right: pairs,
            right_stride: 2 * stride * in_channels,
            depth: &depth,
            sums_stride: window,
            add: true,
        };
        product.run(&mut U::new(SIDE, DEPTH), &outs, &parts, gradient);
    }

    /// The gradient of the output, `[digits, out_side, out_side, out]`, as `[out]` planes of slots. `row` has room for a row of it.
    #[inline(always)]
    fn write_planes<U: Unit>(self, output: &[f32], planes: &mut [u32], row: &mut [u16]) {
        planes.fill(0);
        let (side, channels) = (self.sizes.out_side, self.sizes.out_channels);
        let (plane, blocks) = (self.plane(), channels / BLOCK);
        for (digit, map) in output.chunks_exact(side * side * channels).enumerate() {
            for (y, from) in map.chunks_exact(side * channels).enumerate() {
                U::round(from, row);
                let (row, _) = row.as_chunks::<BLOCK>();
                let slot = digit * self.span / self.sizes.stride + y * self.width;
                for first in (0..side).step_by(DEPTH) {
                    for block in 0..blocks {
                        let mut pixels = [[0; SIDE]; DEPTH];
                        let of_block = row[first * blocks + block..].iter().step_by(blocks);
                        pixels.iter_mut().zip(of_block).for_each(|(to, from)| *to = *from);
                        let turned = U::turn(&pixels);
                        // Zeros after the row's end are written over by the next one, or lie where there is no pixel.
                        let planes = planes[block * BLOCK * plane + (slot + first) / 2..].chunks_mut(plane);
                        for (plane, pairs) in planes.zip(turned) {
                            plane[..SIDE].copy_from_slice(&pairs);
                        }
                    }
                }
            }
        }
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
    /// [`scratch`] numbers.
    pub scratch: &'a mut [f32],
}

impl<N: Number> Kernel for Forward<'_, N> {
    #[inline(always)]
    fn run<S: Simd, const V: usize>(self, _: S) {
        if unit::is_here() {
            self.by::<Hardware>();
        } else {
            self.by::<Portable>();
        }
    }
}

impl<N: Number> Forward<'_, N> {
    #[inline(always)]
    fn by<U: Unit>(self) {
        let sizes = self.sizes;
        let convolution = Convolution::forward(sizes);
        let digits = sizes.digits(self.input);
        let mut scratch = self.scratch;
        let row = carve(&mut scratch, sizes.side * sizes.in_channels);
        let maps = carve(&mut scratch, convolution.maps(digits));
        let place = Place {
            side: sizes.side,
            channels: sizes.in_channels,
            step: 1,
            margin: sizes.padding,
            width: convolution.padded,
            span: convolution.padded * convolution.padded,
        };
        place.write::<U, _>(self.input, maps, row);
        convolution.run::<U>(digits, maps, self.kernel, self.output, false);
    }
}

/// Adds the gradients of maps and kernel, given that of the output.
pub struct Backward<'a, N> {
    /// Sizes.
    pub sizes: Sizes,
    /// The maps; the gradient of the kernel is `[out, window]`, as the kernel itself.
    pub back: Back<'a, N>,
    /// [`scratch`] numbers.
    pub scratch: &'a mut [f32],
}

impl<N: Number> Kernel for Backward<'_, N> {
    #[inline(always)]
    fn run<S: Simd, const V: usize>(self, _: S) {
        if unit::is_here() {
            self.by::<Hardware>();
        } else {
            self.by::<Portable>();
        }
    }
}

impl<N: Number> Backward<'_, N> {
    #[inline(always)]
    fn by<U: Unit>(self) {
        let (sizes, back) = (self.sizes, self.back);
        let digits = sizes.digits(back.input);
        let mut scratch = self.scratch;
        KernelGradient::new(sizes, digits).run::<U>(back.input, back.output, back.to_kernel, &mut scratch);
        let Some(to_input) = back.to_input else { return };
        let convolution = Convolution::backward(sizes);
        let row = carve(&mut scratch, sizes.out_side * sizes.out_channels);
        let maps = carve(&mut scratch, convolution.maps(digits));
        let place = Place {
            side: sizes.out_side,
            channels: sizes.out_channels,
            step: sizes.stride,
            margin: sizes.kernel_size - 1 - sizes.padding,
            width: convolution.padded,
            span: convolution.padded * convolution.padded,
        };
        place.write::<U, _>(back.output, maps, row);
        convolution.run::<U>(digits, maps, back.kernel, to_input, back.adds);
    }
}

#[cfg(test)]
mod tests {
    use half::bf16;
    use pulp::Arch;

    use super::*;
    use crate::native::{direct, lanes};

    /// Output, gradient of the input and of the kernel.
    type Results = [Vec<f32>; 3];

    /// Whole numbers so small that bf16 has them, and f32 all their sums.
    fn numbers(n: usize, seed: usize) -> Vec<f32> {
        (0..n)
            .map(|i| ((i * i + 7 * i + seed) % 101 % 9) as f32 - 4.0)
            .collect()
    }

    fn by_tiles<U: Unit, N: Number>(sizes: Sizes, [input, kernel, of_output]: &Results) -> Results {
        let mut maps = vec![N::default(); input.len()];
        N::write(Arch::new(), &mut maps, &mut vec![0.0; input.len()], |to| {
            to.copy_from_slice(input)
        });
        let [mut forward, mut backward] = packed(sizes).map(|n| vec![0.0; n]);
        let pack = Pack {
            sizes,
            kernel,
            forward: &mut forward,
            backward: &mut backward,
        };
        lanes::run(Arch::new(), pack);
        let mut scratch = vec![f32::NAN; scratch(sizes, sizes.digits(input))];
        let (mut output, mut to_input, mut to_kernel) =
            (vec![f32::NAN; of_output.len()], input.clone(), kernel.clone());
        let input = &maps;
        let scratch = &mut scratch;
        Forward {
            sizes,
            input,
            kernel: &forward,
            output: &mut output,
            scratch,
        }
        .by::<U>();
        let back = Back {
            input,
            output: of_output,
            kernel: &backward,
            to_input: Some(&mut to_input),
            adds: true,
            to_kernel: &mut to_kernel,
        };
        Backward { sizes, back, scratch }.by::<U>();
        [output, to_input, to_kernel]
    }

    fn directly(sizes: Sizes, [input, kernel, of_output]: &Results) -> Results {
        let arch = Arch::new();
        let [mut forward, mut backward] = [0; 2].map(|_| vec![0.0; kernel.len()]);
        direct::pack(sizes, kernel, &mut forward, &mut backward);
        let mut scratch = vec![0.0; sizes.scratch(sizes.digits(input))];
        let (mut output, mut to_input) = (vec![0.0; of_output.len()], input.clone());
        let mut matrix = vec![0.0; kernel.len()];
        let scratch = &mut scratch;
        let way = direct::Forward {
            sizes,
            input,
            kernel: &forward,
            output: &mut output,
            scratch,
        };
        lanes::run(arch, way);
        let back = Back {
            input,
            output: of_output,
            kernel: &backward,
            to_input: Some(&mut to_input),
            adds: true,
            to_kernel: &mut matrix,
        };
        lanes::run(arch, direct::Backward { sizes, back, scratch });
        let mut to_kernel = vec![0.0; kernel.len()];
        direct::unpack(sizes, &matrix, &mut to_kernel);
        to_kernel.iter_mut().zip(kernel).for_each(|(to, from)| *to += from);
        [output, to_input, to_kernel]
    }

    #[test]
    fn small_whole_numbers_are_convolved_exactly() {
        for (digits, side, in_channels, out_channels, [kernel_size, stride, padding]) in [
            (1, 28, 16, 16, [3, 1, 1]),
            (2, 28, 16, 32, [3, 2, 1]),
            (3, 28, 16, 32, [1, 2, 0]),
            (2, 14, 32, 32, [3, 1, 1]),
            (3, 7, 64, 64, [3, 1, 1]),
            (1, 14, 32, 64, [1, 2, 0]),
            (2, 20, 16, 16, [3, 1, 1]),
            (5, 10, 16, 32, [3, 2, 1]),
            (2, 5, 16, 16, [1, 1, 0]),
            (1, 36, 16, 16, [3, 1, 1]),
            (1, 17, 16, 16, [3, 1, 1]),
        ] {
            let sizes = Sizes {
                side,
                in_channels,
                out_side: (side + 2 * padding - kernel_size) / stride + 1,
                out_channels,
                kernel_size,
                stride,
                padding,
            };
            let given = [
                numbers(digits * side * side * in_channels, 1),
                numbers(out_channels * sizes.window(), 2),
                numbers(digits * sizes.out_side.pow(2) * out_channels, 3),
            ];
            let expected = directly(sizes, &given);
            assert!(by_tiles::<Portable, f32>(sizes, &given) == expected, "{sizes:?}");
            assert!(
                by_tiles::<Portable, bf16>(sizes, &given) == expected,
                "{sizes:?} from bf16"
            );
            if unit::is_here() {
                let by_hardware = by_tiles::<Hardware, bf16>(sizes, &given);
                assert!(by_hardware == expected, "{sizes:?} by the hardware");
            }
        }
    }

    #[test]
    fn rounds_to_the_nearest_and_hides_nothing() {
        let nearest = |number: f32| {
            let mut rounded = [[0; BLOCK]; 2];
            Portable::round(&[number; BLOCK], &mut rounded[0]);
            if unit::is_here() {
                Hardware::round(&[number; BLOCK], &mut rounded[1]);
                assert_eq!(rounded[0], rounded[1], "{number}");
            }
            f32::from_bits(u32::from(rounded[0][0]) << 16)
        };
        assert_eq!(nearest(1.0), 1.0);
        assert_eq!(nearest(1.0 + 1.0 / 256.0), 1.0, "half way, to the even one");
        assert_eq!(nearest(1.0 + 3.0 / 256.0), 1.0 + 1.0 / 64.0);
        assert_eq!(nearest(-1.0 - 0.5 / 128.0 - 1e-6), -1.0 - 1.0 / 128.0);
        assert_eq!(nearest(f32::NEG_INFINITY), f32::NEG_INFINITY);
        assert!(nearest(f32::NAN).is_nan());
    }
}
