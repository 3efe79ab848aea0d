//! In which numbers the maps of a pass lie in memory. All that is computed of them is f32, but for products of tiles.

use bytemuck::{Pod, cast_slice};
use half::bf16;
use pulp::{Arch, Simd};

use super::lanes::{self, BLOCK, Kernel, load, store};
use super::tiles::unit::Unit;
use super::tiles::unit::portable::nearest;
use crate::precision::Precision;

/// A number of a map.
pub trait Number: Pod + Default + Into<f32> + Send + Sync {
    /// What is multiplied where maps consist of these.
    const PRECISION: Precision;

    /// The first vector of a slice.
    fn load<S: Simd>(from: &[Self]) -> S::f32s;

    /// Writes the first vector of a slice, rounded to the nearest.
    fn store<S: Simd>(to: &mut [Self], value: S::f32s);

    /// The nearest numbers of this kind.
    fn nearest<S: Simd>(value: S::f32s) -> S::f32s;

    /// Some numbers as f32, for which there is as much `room`.
    fn widen<'a>(from: &'a [Self], room: &'a mut [f32]) -> &'a [f32];

    /// Some numbers as bf16, for which there is as much `room`.
    fn halve<'a, U: Unit>(from: &'a [Self], room: &'a mut [u16]) -> &'a [u16];

    /// Lets `to` be computed as f32, for which there is as much `room`.
    fn write(arch: Arch, to: &mut [Self], room: &mut [f32], compute: impl FnOnce(&mut [f32]));
}

impl Number for f32 {
    const PRECISION: Precision = Precision::F32;

    #[inline(always)]
    fn load<S: Simd>(from: &[f32]) -> S::f32s {
        S::as_simd_f32s(&from[..S::F32_LANES]).0[0]
    }

    #[inline(always)]
    fn store<S: Simd>(to: &mut [f32], value: S::f32s) {
        S::as_mut_simd_f32s(&mut to[..S::F32_LANES]).0[0] = value;
    }

    #[inline(always)]
    fn nearest<S: Simd>(value: S::f32s) -> S::f32s {
        value
    }

    #[inline(always)]
    fn widen<'a>(from: &'a [f32], _: &'a mut [f32]) -> &'a [f32] {
        from
    }

    #[inline(always)]
    fn halve<'a, U: Unit>(from: &'a [f32], room: &'a mut [u16]) -> &'a [u16] {
        U::round(from, room);
        room
    }

    fn write(_: Arch, to: &mut [f32], _: &mut [f32], compute: impl FnOnce(&mut [f32])) {
        compute(to);
    }
}

/// Half the memory, whose speed is that of a pass that multiplies faster.
impl Number for bf16 {
    const PRECISION: Precision = Precision::Bf16;

    #[inline(always)]
    fn load<S: Simd>(from: &[bf16]) -> S::f32s {
        let mut wide = [0; BLOCK];
        for (wide, half) in wide.iter_mut().zip(&from[..S::F32_LANES]) {
            *wide = u32::from(half.to_bits()) << 16;
        }
        load::<S>(cast_slice::<u32, f32>(&wide))
    }

    #[inline(always)]
    fn store<S: Simd>(to: &mut [bf16], value: S::f32s) {
        let mut lanes = [0.0; BLOCK];
        store::<S>(&mut lanes[..], value);
        for (to, lane) in to[..S::F32_LANES].iter_mut().zip(lanes) {
            *to = nearest(lane);
        }
    }

    #[inline(always)]
    fn nearest<S: Simd>(value: S::f32s) -> S::f32s {
        let mut halves = [bf16::ZERO; BLOCK];
        store::<S>(&mut halves[..], value);
        load::<S>(&halves[..])
    }

    #[inline(always)]
    fn widen<'a>(from: &'a [bf16], room: &'a mut [f32]) -> &'a [f32] {
        let room = &mut room[..from.len()];
        copy(from, room);
        room
    }

    #[inline(always)]
    fn halve<'a, U: Unit>(from: &'a [bf16], _: &'a mut [u16]) -> &'a [u16] {
        cast_slice(from)
    }

    fn write(arch: Arch, to: &mut [bf16], room: &mut [f32], compute: impl FnOnce(&mut [f32])) {
        let from = &mut room[..to.len()];
        compute(from);
        lanes::run(arch, Round { from, to });
    }
}

/// Writes numbers as f32.
#[inline(always)]
pub fn copy<N: Number>(from: &[N], to: &mut [f32]) {
    to.iter_mut().zip(from).for_each(|(to, from)| *to = (*from).into());
}

/// Rounds numbers.
struct Round<'a> {
    from: &'a [f32],
    to: &'a mut [bf16],
}

impl Kernel for Round<'_> {
    #[inline(always)]
    fn run<S: Simd, const V: usize>(self, _: S) {
        for (to, from) in self.to.iter_mut().zip(self.from) {
            *to = nearest(*from);
        }
    }
}
