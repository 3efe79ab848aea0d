//! How a kernel becomes vector instructions: it is written once over [`Simd`], and [`run`] compiles and chooses it for this CPU.

use pulp::{Arch, Simd, WithSimd};

use super::number::Number;

/// Channels that a kernel takes at once; every map but the picture has a multiple of them.
pub const BLOCK: usize = 16;

/// What is computed in vectors.
pub trait Kernel {
    /// Computes it, a [`BLOCK`] in `V` vectors. Must be `#[inline(always)]`, and so must all that it calls with vectors.
    fn run<S: Simd, const V: usize>(self, s: S);
}

/// Computes it by the widest vectors of this CPU.
pub fn run(arch: Arch, kernel: impl Kernel) {
    arch.dispatch(Dispatched(kernel));
}

/// Whether this CPU has vectors with fused multiply-add, without which a kernel is correct and slow.
pub fn has_vectors(arch: Arch) -> bool {
    !matches!(arch, Arch::Scalar)
}

struct Dispatched<K>(K);

impl<K: Kernel> WithSimd for Dispatched<K> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        match S::F32_LANES {
            16 => self.0.run::<S, 1>(s),
            8 => self.0.run::<S, 2>(s),
            4 => self.0.run::<S, 4>(s),
            _ => self.0.run::<S, 16>(s),
        }
    }
}

/// The first vector of a slice.
#[inline(always)]
pub fn load<S: Simd>(from: &[impl Number]) -> S::f32s {
    Number::load::<S>(from)
}

/// Writes the first vector of a slice.
#[inline(always)]
pub fn store<S: Simd>(to: &mut [impl Number], value: S::f32s) {
    Number::store::<S>(to, value);
}
