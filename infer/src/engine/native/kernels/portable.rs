//! Vectors as arrays, for any CPU: loops over [`LANES`](Simd::LANES) that the compiler turns into what the target has.

use super::simd::Simd;

/// Needs nothing.
#[derive(Clone, Copy)]
pub struct Portable;

type F32 = [f32; 8];
type I32 = [i32; 8];

#[inline(always)]
fn each(a: F32, b: F32, f: impl Fn(f32, f32) -> f32) -> F32 {
    std::array::from_fn(|lane| f(a[lane], b[lane]))
}

impl Simd for Portable {
    type F32 = F32;
    type I32 = I32;
    const LANES: usize = 8;
    const QUADS: bool = true;

    #[inline(always)]
    unsafe fn load(self, from: *const f32) -> F32 {
        // SAFETY: the caller vouches for the floats; an unaligned read asks no more.
        unsafe { from.cast::<F32>().read_unaligned() }
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32, value: F32) {
        // SAFETY: the caller vouches for the place; an unaligned write asks no more.
        unsafe { to.cast::<F32>().write_unaligned(value) }
    }
    #[inline(always)]
    fn splat(self, value: f32) -> F32 {
        [value; 8]
    }
    #[inline(always)]
    fn add(self, a: F32, b: F32) -> F32 {
        each(a, b, |a, b| a + b)
    }
    #[inline(always)]
    fn sub(self, a: F32, b: F32) -> F32 {
        each(a, b, |a, b| a - b)
    }
    #[inline(always)]
    fn mul(self, a: F32, b: F32) -> F32 {
        each(a, b, |a, b| a * b)
    }
    #[inline(always)]
    fn div(self, a: F32, b: F32) -> F32 {
        each(a, b, |a, b| a / b)
    }
    #[inline(always)]
    fn max(self, a: F32, b: F32) -> F32 {
        each(a, b, |a, b| if a > b { a } else { b })
    }
    #[inline(always)]
    fn min(self, a: F32, b: F32) -> F32 {
        each(a, b, |a, b| if a < b { a } else { b })
    }
    #[inline(always)]
    fn mul_add(self, a: F32, b: F32, c: F32) -> F32 {
        std::array::from_fn(|lane| a[lane] * b[lane] + c[lane])
    }
    #[inline(always)]
    fn pow2(self, shifted: F32) -> F32 {
        shifted.map(|x| f32::from_bits((x.to_bits() << 23).wrapping_add(1f32.to_bits())))
    }
    #[inline(always)]
    fn sum(self, v: F32) -> f32 {
        ((v[0] + v[4]) + (v[2] + v[6])) + ((v[1] + v[5]) + (v[3] + v[7]))
    }
    #[inline(always)]
    unsafe fn load_bytes(self, from: *const i8) -> I32 {
        // SAFETY: the caller vouches for the bytes; an unaligned read asks no more.
        unsafe { from.cast::<I32>().read_unaligned() }
    }
    #[inline(always)]
    fn splat_i32(self, value: i32) -> I32 {
        [value; 8]
    }
    #[inline(always)]
    fn dot<const WIDE: bool>(self, sum: I32, unsigned: I32, signed: I32) -> I32 {
        std::array::from_fn(|lane| {
            let (x, w) = (unsigned[lane].to_ne_bytes(), signed[lane].to_ne_bytes());
            (0..4).fold(sum[lane], |sum, i| sum + i32::from(x[i]) * i32::from(w[i] as i8))
        })
    }
    #[inline(always)]
    fn add_i32(self, a: I32, b: I32) -> I32 {
        std::array::from_fn(|lane| a[lane] + b[lane])
    }
    #[inline(always)]
    fn to_i32(self, value: F32) -> I32 {
        value.map(|x| (x + super::plain::SHIFT - super::plain::SHIFT) as i32)
    }
    #[inline(always)]
    fn to_f32(self, value: I32) -> F32 {
        value.map(|x| x as f32)
    }
    #[inline(always)]
    unsafe fn store_bytes(self, to: *mut u8, value: F32) {
        // SAFETY: the caller vouches for the place; an unaligned write asks no more.
        unsafe { to.cast::<[u8; 8]>().write_unaligned(value.map(super::plain::byte)) }
    }
}
