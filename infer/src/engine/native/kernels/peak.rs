//! The most multiply-adds that the CPU does: what a kernel's rate is held against.

use super::simd::Simd;

/// Sums that do not wait for each other: twice as many as any CPU needs to be busy.
const CHAINS: usize = 12;

/// Multiply-adds of [`run`].
pub fn products(lanes: usize, rounds: usize) -> usize {
    CHAINS * lanes * rounds
}

/// Multiplies and adds in registers alone; the result only keeps the work from being left out.
#[inline(always)]
pub fn run<S: Simd>(s: S, rounds: usize) -> f32 {
    let (factor, mut sums) = (s.splat(0.999), [s.splat(1.0); CHAINS]);
    for _ in 0..rounds {
        for sum in &mut sums {
            *sum = s.mul_add(*sum, factor, factor);
        }
    }
    sums.into_iter().map(|sum| s.sum(sum)).sum()
}
