//! The most multiply-adds that the CPU does: what a kernel's rate is held against.

use super::simd::Simd;

/// Sums that do not wait for each other: twice as many as any CPU needs to be busy.
const CHAINS: usize = 12;

/// Numbers that the CPU multiplies and adds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Numbers {
    /// Floats of 32 bits.
    Floats,
    /// Bytes without a sign by bytes with one.
    Bytes,
}

/// Multiply-adds of [`run`]; four bytes go into each lane.
pub fn products(numbers: Numbers, lanes: usize, rounds: usize) -> usize {
    let in_lane = match numbers {
        Numbers::Floats => 1,
        Numbers::Bytes => 4,
    };
    CHAINS * lanes * in_lane * rounds
}

/// Multiplies and adds in registers alone; the result only keeps the work from being left out.
#[inline(always)]
pub fn run<S: Simd>(s: S, numbers: Numbers, rounds: usize) -> f32 {
    match numbers {
        Numbers::Floats => floats(s, rounds),
        Numbers::Bytes => bytes(s, rounds),
    }
}

#[inline(always)]
fn floats<S: Simd>(s: S, rounds: usize) -> f32 {
    let (factor, mut sums) = (s.splat(0.999), [s.splat(1.0); CHAINS]);
    for _ in 0..rounds {
        for sum in &mut sums {
            *sum = s.mul_add(*sum, factor, factor);
        }
    }
    sums.into_iter().map(|sum| s.sum(sum)).sum()
}

#[inline(always)]
fn bytes<S: Simd>(s: S, rounds: usize) -> f32 {
    const NARROW: bool = false;
    let (signed, mut sums) = (s.splat_i32(0x0102_0304), [s.splat_i32(1); CHAINS]);
    for _ in 0..rounds {
        for sum in &mut sums {
            // A sum as a factor, so that the compiler can neither share nor move a product.
            *sum = s.dot::<NARROW>(*sum, *sum, signed);
        }
    }
    sums.into_iter().map(|sum| s.sum(s.to_f32(sum))).sum()
}
