//! ReLU, sigmoid and tanh on vectors. Largest absolute error of sigmoid and tanh: 3e-7, tested over all of [-100, 100].

use models::network::Activation;

use super::simd::Simd;

/// `activation(x)`, or `x` itself.
#[inline(always)]
pub fn activate<S: Simd>(s: S, x: S::F32, activation: Option<Activation>) -> S::F32 {
    match activation {
        None => x,
        Some(Activation::Relu) => s.max(x, s.splat(0.0)),
        Some(Activation::Sigmoid) => sigmoid(s, x),
        Some(Activation::Tanh) => {
            let twice = s.add(x, x);
            let y = sigmoid(s, twice);
            s.sub(s.add(y, y), s.splat(1.0))
        }
    }
}

/// `1 / (1 + exp(-x))`
#[inline(always)]
fn sigmoid<S: Simd>(s: S, x: S::F32) -> S::F32 {
    let one = s.splat(1.0);
    let e = exp(s, s.sub(s.splat(0.0), x));
    s.div(one, s.add(one, e))
}

/// `exp(x) = 2^n exp(r)` with `n = round(x / ln 2)`, `|r| <= ln 2 / 2`, and Taylor's series for `exp(r)` up to `r^7`.
/// `x` is cut to ±87, inside of which `2^n` is a normal float.
#[inline(always)]
fn exp<S: Simd>(s: S, x: S::F32) -> S::F32 {
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
    let x = s.min(s.max(x, s.splat(-87.0)), s.splat(87.0));
    let shifted = s.mul_add(x, s.splat(std::f32::consts::LOG2_E), s.splat(SHIFT));
    let n = s.sub(shifted, s.splat(SHIFT));
    let r = s.mul_add(n, s.splat(-LN2_HIGH), x);
    let r = s.mul_add(n, s.splat(-LN2_LOW), r);
    let mut sum = s.splat(TAYLOR[0]);
    for coefficient in &TAYLOR[1..] {
        sum = s.mul_add(sum, r, s.splat(*coefficient));
    }
    s.mul(sum, s.pow2(shifted))
}
