//! Batch norm, the addition of the shortcut and the activation, in one pass forward and two backward.
//! Source: Ioffe and Szegedy, "Batch Normalization", 2015.
#![allow(clippy::needless_range_loop)] // Indices are those of the formulas.

use models::network::{Activation, NORM_EPSILON};
use pulp::Simd;

use super::lanes::{BLOCK, Kernel, load, store};
use super::number::Number;

/// Mean and spread of each channel over some values.
#[derive(Clone, Debug)]
pub struct Moments {
    n: f64,
    mean: Vec<f64>,
    /// Sums of the squared distances from the mean.
    squares: Vec<f64>,
}

impl Moments {
    /// Of no values.
    pub fn new(channels: usize) -> Moments {
        Moments {
            n: 0.0,
            mean: vec![0.0; channels],
            squares: vec![0.0; channels],
        }
    }

    /// Of these values and others.
    /// Source: Chan, Golub and LeVeque, "Updating Formulae and a Pairwise Algorithm for Computing Sample Variances", 1979.
    pub fn join(&mut self, other: &Moments) {
        let n = self.n + other.n;
        for channel in 0..self.mean.len() {
            let distance = other.mean[channel] - self.mean[channel];
            self.mean[channel] += distance * other.n / n;
            self.squares[channel] += other.squares[channel] + distance * distance * self.n * other.n / n;
        }
        self.n = n;
    }

    /// Mean of each channel.
    pub fn mean(&self) -> Vec<f32> {
        self.mean.iter().map(|&mean| mean as f32).collect()
    }

    /// What a value is divided by after the mean is taken off, inverted.
    pub fn inverse_deviation(&self) -> Vec<f32> {
        let inverse = |squares: f64| 1.0 / (squares / self.n + NORM_EPSILON).sqrt();
        self.squares.iter().map(|&squares| inverse(squares) as f32).collect()
    }

    /// Variance of each channel in the population that the values are a sample of.
    pub fn variance(&self) -> Vec<f32> {
        self.squares
            .iter()
            .map(|&squares| (squares / (self.n - 1.0)) as f32)
            .collect()
    }
}

/// Measures values `[pixels, channels]`.
pub struct Measure<'a, N> {
    /// The values.
    pub values: &'a [N],
    /// What they are joined to.
    pub moments: &'a mut Moments,
}

impl<N: Number> Kernel for Measure<'_, N> {
    #[inline(always)]
    fn run<S: Simd, const V: usize>(self, s: S) {
        let channels = self.moments.mean.len();
        let n = self.values.len() / channels;
        let mut part = Moments {
            n: n as f64,
            ..Moments::new(channels)
        };
        let mut lanes = [0.0; BLOCK];
        for first in (0..channels).step_by(BLOCK) {
            for v in 0..V {
                let channel = first + v * S::F32_LANES;
                let mut sum = s.splat_f32s(0.0);
                for pixel in self.values.chunks_exact(channels) {
                    sum = s.add_f32s(sum, load::<S>(&pixel[channel..]));
                }
                let mean = s.mul_f32s(sum, s.splat_f32s(1.0 / n as f32));
                let mut squares = s.splat_f32s(0.0);
                for pixel in self.values.chunks_exact(channels) {
                    let distance = s.sub_f32s(load::<S>(&pixel[channel..]), mean);
                    squares = s.mul_add_f32s(distance, distance, squares);
                }
                for (vector, to) in [(mean, &mut part.mean), (squares, &mut part.squares)] {
                    store::<S>(&mut lanes, vector);
                    to[channel..]
                        .iter_mut()
                        .zip(&lanes[..S::F32_LANES])
                        .for_each(|(to, lane)| *to = f64::from(*lane));
                }
            }
        }
        self.moments.join(&part);
    }
}

/// What is added up before an activation.
#[derive(Clone, Copy)]
pub struct Term<'a, N> {
    /// `[pixels, channels]`
    pub values: &'a [N],
    /// What they are multiplied by and what is added then, each `[channels]`, where they are not taken as they are.
    pub scale: Option<[&'a [f32]; 2]>,
}

/// The activation of the sum of one or two terms.
pub struct Activate<'a, N> {
    /// The terms.
    pub terms: [Option<Term<'a, N>>; 2],
    /// The activation.
    pub activation: Activation,
    /// `[pixels, channels]`
    pub output: &'a mut [N],
}

impl<N: Number> Kernel for Activate<'_, N> {
    #[inline(always)]
    fn run<S: Simd, const V: usize>(self, s: S) {
        match self.terms {
            [Some(first), Some(second)] => self.add(s, [first, second]),
            [Some(first), None] => self.add(s, [first]),
            _ => unreachable!("a sum has a term"),
        }
    }
}

impl<N: Number> Activate<'_, N> {
    #[inline(always)]
    fn add<S: Simd, const TERMS: usize>(self, s: S, terms: [Term<N>; TERMS]) {
        let channels = terms[0].scale.map_or(0, |[scale, _]| scale.len());
        for channel in (0..channels).step_by(S::F32_LANES) {
            let scales = terms.map(
                #[inline(always)]
                |term| match term.scale {
                    Some([scale, shift]) => [load::<S>(&scale[channel..]), load::<S>(&shift[channel..])],
                    None => [s.splat_f32s(1.0), s.splat_f32s(0.0)],
                },
            );
            for (pixel, output) in self.output.chunks_exact_mut(channels).enumerate() {
                let mut sum = s.splat_f32s(0.0);
                for term in 0..TERMS {
                    let value = load::<S>(&terms[term].values[pixel * channels + channel..]);
                    let [scale, shift] = scales[term];
                    sum = s.add_f32s(sum, s.mul_add_f32s(value, scale, shift));
                }
                store::<S>(&mut output[channel..], activate(s, sum, self.activation));
            }
        }
    }
}

/// A convolution's output before its batch norm, with its mean, and where the sums of `gradient * (value - mean)` go.
pub struct Normed<'a, N> {
    /// `[pixels, channels]`
    pub values: &'a [N],
    /// `[channels]`
    pub mean: &'a [f32],
    /// `[channels]`
    pub products: &'a mut [f64],
}

/// Takes the gradient of an activation's output back to its input, in place, and adds up what batch norms need of it. It is
/// rounded to `N` before, so that what is kept of it adds up to the same: over the ground of the digits, errors would not cancel.
pub struct Slope<'a, N> {
    /// `[pixels, channels]`
    pub gradient: &'a mut [f32],
    /// The activation's output.
    pub output: &'a [N],
    /// The activation.
    pub activation: Activation,
    /// `[channels]`, where the sums of the gradient go.
    pub sums: &'a mut [f64],
    /// The terms that are batch norms.
    pub normed: [Option<Normed<'a, N>>; 2],
}

impl<N: Number> Kernel for Slope<'_, N> {
    #[inline(always)]
    fn run<S: Simd, const V: usize>(mut self, s: S) {
        match self.normed.each_mut().map(Option::take) {
            [Some(first), Some(second)] => self.add(s, [first, second]),
            [Some(first), None] => self.add(s, [first]),
            _ => unreachable!("a sum begins with a batch norm"),
        }
    }
}

impl<N: Number> Slope<'_, N> {
    #[inline(always)]
    fn add<S: Simd, const TERMS: usize>(self, s: S, mut normed: [Normed<N>; TERMS]) {
        let channels = self.sums.len();
        for channel in (0..channels).step_by(S::F32_LANES) {
            let mut sum = s.splat_f32s(0.0);
            let mut products = [sum; TERMS];
            let mut means = [sum; TERMS];
            for (mean, normed) in means.iter_mut().zip(&normed) {
                *mean = load::<S>(&normed.mean[channel..]);
            }
            let pixels = self
                .gradient
                .chunks_exact_mut(channels)
                .zip(self.output.chunks_exact(channels));
            for (pixel, (gradient, output)) in pixels.enumerate() {
                let to = &mut gradient[channel..];
                let value = slope(s, load::<S>(to), load::<S>(&output[channel..]), self.activation);
                let value = N::nearest::<S>(value);
                store::<S>(to, value);
                sum = s.add_f32s(sum, value);
                for term in 0..TERMS {
                    let values = load::<S>(&normed[term].values[pixel * channels + channel..]);
                    products[term] = s.mul_add_f32s(value, s.sub_f32s(values, means[term]), products[term]);
                }
            }
            add_lanes::<S>(&mut self.sums[channel..], sum);
            for (normed, product) in normed.iter_mut().zip(products) {
                add_lanes::<S>(&mut normed.products[channel..], product);
            }
        }
    }
}

#[inline(always)]
fn add_lanes<S: Simd>(to: &mut [f64], vector: S::f32s) {
    let mut lanes = [0.0; BLOCK];
    store::<S>(&mut lanes, vector);
    to.iter_mut()
        .zip(&lanes[..S::F32_LANES])
        .for_each(|(to, lane)| *to += f64::from(*lane));
}

/// `a * x + b * y + c`, channel by channel: the gradient before a batch norm.
pub struct Combine<'a, N> {
    /// `x`, `[pixels, channels]`
    pub x: &'a [N],
    /// `y`, `[pixels, channels]`
    pub y: &'a [N],
    /// `a`, `b` and `c`, each `[channels]`
    pub factors: &'a [Vec<f32>; 3],
    /// `[pixels, channels]`
    pub output: &'a mut [f32],
}

impl<N: Number> Kernel for Combine<'_, N> {
    #[inline(always)]
    fn run<S: Simd, const V: usize>(self, s: S) {
        let channels = self.factors[0].len();
        for channel in (0..channels).step_by(S::F32_LANES) {
            let [a, b, c] = self.factors.each_ref().map(
                #[inline(always)]
                |factor| load::<S>(&factor[channel..]),
            );
            let pixels = self.x.chunks_exact(channels).zip(self.y.chunks_exact(channels));
            for (output, (x, y)) in self.output.chunks_exact_mut(channels).zip(pixels) {
                let value = s.mul_add_f32s(load::<S>(&y[channel..]), b, c);
                store::<S>(
                    &mut output[channel..],
                    s.mul_add_f32s(load::<S>(&x[channel..]), a, value),
                );
            }
        }
    }
}

/// What is no number stays none, since the second operand of `max` and `min` does.
#[inline(always)]
fn activate<S: Simd>(s: S, x: S::f32s, activation: Activation) -> S::f32s {
    match activation {
        Activation::Relu => s.max_f32s(s.splat_f32s(0.0), x),
        Activation::Sigmoid => sigmoid(s, x),
        Activation::Tanh => {
            let y = sigmoid(s, s.add_f32s(x, x));
            s.sub_f32s(s.add_f32s(y, y), s.splat_f32s(1.0))
        }
    }
}

/// The gradient of an activation's input, from its output `y` and that one's gradient.
#[inline(always)]
fn slope<S: Simd>(s: S, gradient: S::f32s, y: S::f32s, activation: Activation) -> S::f32s {
    match activation {
        Activation::Relu => {
            let zero = s.splat_f32s(0.0);
            s.select_f32s(s.greater_than_f32s(y, zero), gradient, zero)
        }
        Activation::Sigmoid => s.mul_f32s(gradient, s.negate_mul_add_f32s(y, y, y)),
        Activation::Tanh => s.mul_f32s(gradient, s.negate_mul_add_f32s(y, y, s.splat_f32s(1.0))),
    }
}

/// `1 / (1 + exp(-x))`
#[inline(always)]
fn sigmoid<S: Simd>(s: S, x: S::f32s) -> S::f32s {
    let one = s.splat_f32s(1.0);
    s.div_f32s(one, s.add_f32s(one, exp(s, s.neg_f32s(x))))
}

/// `exp(x) = 2^n exp(r)` with `n = round(x / ln 2)`, `|r| <= ln 2 / 2`, and Taylor's series for `exp(r)` up to `r^7`.
/// `x` is cut to ±87, inside of which `2^n` is a normal float.
#[inline(always)]
fn exp<S: Simd>(s: S, x: S::f32s) -> S::f32s {
    /// Adding it to a small float leaves the rounded integer in the lowest bits.
    const SHIFT: f32 = 12_582_912.0;
    /// ln 2 in two parts, the first with trailing zeros, so that `n * LN2_HIGH` is exact.
    const LN2_HIGH: f32 = 0.693_359_4;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    /// `1 / k!` from 7 down to 0.
    const TAYLOR: [f32; 8] = [
        1.0 / 5040.0,
        1.0 / 720.0,
        1.0 / 120.0,
        1.0 / 24.0,
        1.0 / 6.0,
        0.5,
        1.0,
        1.0,
    ];
    let x = s.min_f32s(s.splat_f32s(87.0), s.max_f32s(s.splat_f32s(-87.0), x));
    let shifted = s.mul_add_f32s(x, s.splat_f32s(std::f32::consts::LOG2_E), s.splat_f32s(SHIFT));
    let n = s.sub_f32s(shifted, s.splat_f32s(SHIFT));
    let r = s.mul_add_f32s(n, s.splat_f32s(-LN2_HIGH), x);
    let r = s.mul_add_f32s(n, s.splat_f32s(-LN2_LOW), r);
    let mut sum = s.splat_f32s(TAYLOR[0]);
    for coefficient in &TAYLOR[1..] {
        sum = s.mul_add_f32s(sum, r, s.splat_f32s(*coefficient));
    }
    let exponent = s.wrapping_dyn_shl_u32s(s.transmute_u32s_f32s(shifted), s.splat_u32s(23));
    let power = s.add_u32s(exponent, s.splat_u32s(1f32.to_bits()));
    s.mul_f32s(sum, s.transmute_f32s_u32s(power))
}
