//! Vectors of 128 bits with fused multiply-add: every 64-bit ARM CPU.

use std::arch::aarch64::*;
use std::arch::asm;

use super::simd::Simd;

/// Proof that this CPU has NEON, and what multiplies bytes.
#[derive(Clone, Copy)]
pub struct Neon<const BYTES: u8>(());

/// Bytes are multiplied to 16 bits, and added.
const WIDEN: u8 = 0;
/// Four products of bytes with signs by one instruction.
const SDOT: u8 = 1;
/// Four products of a byte without and one with a sign by one instruction.
const USDOT: u8 = 2;

impl Neon<WIDEN> {
    /// The proof: the code that calls it is compiled for NEON itself.
    #[target_feature(enable = "neon")]
    #[inline]
    pub fn new() -> Neon<WIDEN> {
        Neon(())
    }
}

impl Neon<SDOT> {
    /// The proof: the code that calls it is compiled for the dot product too.
    #[target_feature(enable = "neon,dotprod")]
    #[inline]
    pub fn with_dotprod() -> Neon<SDOT> {
        Neon(())
    }
}

impl Neon<USDOT> {
    /// The proof: the code that calls it is compiled for the dot product of mixed signs too.
    #[target_feature(enable = "neon,i8mm")]
    #[inline]
    pub fn with_i8mm() -> Neon<USDOT> {
        Neon(())
    }
}

/// Each method is one instruction or a few; `self` proves that the CPU has them.
impl<const BYTES: u8> Simd for Neon<BYTES> {
    type F32 = float32x4_t;
    type I32 = int32x4_t;
    const LANES: usize = 4;
    const SIGNED: bool = BYTES != USDOT;
    const QUADS: bool = BYTES == USDOT || BYTES == SDOT;

    #[inline(always)]
    unsafe fn load(self, from: *const f32) -> float32x4_t {
        // SAFETY: `self` proves the instruction, the caller vouches for the floats.
        unsafe { vld1q_f32(from) }
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32, value: float32x4_t) {
        // SAFETY: `self` proves the instruction, the caller vouches for the place.
        unsafe { vst1q_f32(to, value) }
    }
    #[inline(always)]
    fn splat(self, value: f32) -> float32x4_t {
        // SAFETY: `self` proves the instruction.
        unsafe { vdupq_n_f32(value) }
    }
    #[inline(always)]
    fn add(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        // SAFETY: `self` proves the instruction.
        unsafe { vaddq_f32(a, b) }
    }
    #[inline(always)]
    fn sub(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        // SAFETY: `self` proves the instruction.
        unsafe { vsubq_f32(a, b) }
    }
    #[inline(always)]
    fn mul(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        // SAFETY: `self` proves the instruction.
        unsafe { vmulq_f32(a, b) }
    }
    #[inline(always)]
    fn div(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        // SAFETY: `self` proves the instruction.
        unsafe { vdivq_f32(a, b) }
    }
    #[inline(always)]
    fn max(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        // SAFETY: `self` proves the instruction.
        unsafe { vmaxnmq_f32(a, b) }
    }
    #[inline(always)]
    fn min(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        // SAFETY: `self` proves the instruction.
        unsafe { vminnmq_f32(a, b) }
    }
    #[inline(always)]
    fn mul_add(self, a: float32x4_t, b: float32x4_t, c: float32x4_t) -> float32x4_t {
        // SAFETY: `self` proves the instruction.
        unsafe { vfmaq_f32(c, a, b) }
    }
    #[inline(always)]
    fn pow2(self, shifted: float32x4_t) -> float32x4_t {
        // SAFETY: `self` proves the instructions.
        unsafe {
            let n = vshlq_n_s32::<23>(vreinterpretq_s32_f32(shifted));
            vreinterpretq_f32_s32(vaddq_s32(n, vdupq_n_s32(1f32.to_bits() as i32)))
        }
    }
    #[inline(always)]
    fn sum(self, value: float32x4_t) -> f32 {
        // SAFETY: `self` proves the instructions.
        unsafe { vaddvq_f32(value) }
    }
    #[inline(always)]
    unsafe fn load_bytes(self, from: *const i8) -> int32x4_t {
        // SAFETY: `self` proves the instruction, the caller vouches for the bytes.
        unsafe { vreinterpretq_s32_s8(vld1q_s8(from)) }
    }
    #[inline(always)]
    fn splat_i32(self, value: i32) -> int32x4_t {
        // SAFETY: `self` proves the instruction.
        unsafe { vdupq_n_s32(value) }
    }
    #[inline(always)]
    fn dot<const WIDE: bool>(self, sum: int32x4_t, unsigned: int32x4_t, signed: int32x4_t) -> int32x4_t {
        // SAFETY: `self` proves the instructions.
        unsafe {
            if BYTES == USDOT {
                return usdot(sum, unsigned, signed);
            }
            // The highest bit flipped is 128 less.
            let x = veorq_s32(unsigned, vdupq_n_s32(i32::from_ne_bytes([128; 4])));
            if BYTES == SDOT {
                return sdot(sum, x, signed);
            }
            let (x, w) = (vreinterpretq_s8_s32(x), vreinterpretq_s8_s32(signed));
            let (low, high) = (vmull_s8(vget_low_s8(x), vget_low_s8(w)), vmull_high_s8(x, w));
            if WIDE {
                vaddq_s32(sum, vpaddq_s32(vpaddlq_s16(low), vpaddlq_s16(high)))
            } else {
                vpadalq_s16(sum, vpaddq_s16(low, high))
            }
        }
    }
    #[inline(always)]
    fn add_i32(self, a: int32x4_t, b: int32x4_t) -> int32x4_t {
        // SAFETY: `self` proves the instruction.
        unsafe { vaddq_s32(a, b) }
    }
    #[inline(always)]
    fn to_i32(self, value: float32x4_t) -> int32x4_t {
        // SAFETY: `self` proves the instruction.
        unsafe { vcvtnq_s32_f32(value) }
    }
    #[inline(always)]
    fn to_f32(self, value: int32x4_t) -> float32x4_t {
        // SAFETY: `self` proves the instruction.
        unsafe { vcvtq_f32_s32(value) }
    }
    #[inline(always)]
    unsafe fn store_bytes(self, to: *mut u8, value: float32x4_t) {
        // SAFETY: `self` proves the instructions, which cut; the caller vouches for the place.
        unsafe {
            let words = vqmovn_u32(vcvtnq_u32_f32(value));
            let bytes = vqmovn_u16(vcombine_u16(words, words));
            to.cast::<u32>()
                .write_unaligned(vget_lane_u32::<0>(vreinterpret_u32_u8(bytes)));
        }
    }
}

/// `vdotq_s32`, which the standard library does not have on stable Rust yet.
///
/// # Safety
/// This CPU has the dot product.
#[inline(always)]
unsafe fn sdot(mut sum: int32x4_t, a: int32x4_t, b: int32x4_t) -> int32x4_t {
    // SAFETY: the caller vouches for the instruction, which touches registers alone.
    unsafe {
        asm!(
            ".arch_extension dotprod",
            "sdot {sum:v}.4s, {a:v}.16b, {b:v}.16b",
            sum = inout(vreg) sum, a = in(vreg) a, b = in(vreg) b,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    sum
}

/// `vusdotq_s32`, likewise.
///
/// # Safety
/// This CPU has the dot product of mixed signs.
#[inline(always)]
unsafe fn usdot(mut sum: int32x4_t, unsigned: int32x4_t, signed: int32x4_t) -> int32x4_t {
    // SAFETY: the caller vouches for the instruction, which touches registers alone.
    unsafe {
        asm!(
            ".arch_extension i8mm",
            "usdot {sum:v}.4s, {unsigned:v}.16b, {signed:v}.16b",
            sum = inout(vreg) sum, unsigned = in(vreg) unsigned, signed = in(vreg) signed,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    sum
}
