//! Vectors of 256 bits with fused multiply-add: x86-64 since 2013.

use std::arch::x86_64::*;

use super::simd::Simd;

/// Proof that this CPU has AVX2 and FMA, and AVX-VNNI where `VNNI` is true: that multiplies bytes by one instruction.
#[derive(Clone, Copy)]
pub struct Avx2<const VNNI: bool>(());

impl Avx2<false> {
    /// The proof: the code that calls it is compiled for AVX2 and FMA itself.
    #[target_feature(enable = "avx2,fma")]
    #[inline]
    pub fn new() -> Avx2<false> {
        Avx2(())
    }
}

impl Avx2<true> {
    /// The proof: the code that calls it is compiled for AVX-VNNI too.
    #[target_feature(enable = "avx2,fma,avxvnni")]
    #[inline]
    pub fn with_vnni() -> Avx2<true> {
        Avx2(())
    }
}

/// Each method is one instruction or a few; `self` proves that the CPU has them.
impl<const VNNI: bool> Simd for Avx2<VNNI> {
    type F32 = __m256;
    type I32 = __m256i;
    const LANES: usize = 8;
    const QUADS: bool = VNNI;

    #[inline(always)]
    unsafe fn load(self, from: *const f32) -> __m256 {
        // SAFETY: `self` proves the instruction, the caller vouches for the floats.
        unsafe { _mm256_loadu_ps(from) }
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32, value: __m256) {
        // SAFETY: `self` proves the instruction, the caller vouches for the place.
        unsafe { _mm256_storeu_ps(to, value) }
    }
    #[inline(always)]
    fn splat(self, value: f32) -> __m256 {
        // SAFETY: `self` proves the instruction.
        unsafe { _mm256_set1_ps(value) }
    }
    #[inline(always)]
    fn add(self, a: __m256, b: __m256) -> __m256 {
        // SAFETY: `self` proves the instruction.
        unsafe { _mm256_add_ps(a, b) }
    }
    #[inline(always)]
    fn sub(self, a: __m256, b: __m256) -> __m256 {
        // SAFETY: `self` proves the instruction.
        unsafe { _mm256_sub_ps(a, b) }
    }
    #[inline(always)]
    fn mul(self, a: __m256, b: __m256) -> __m256 {
        // SAFETY: `self` proves the instruction.
        unsafe { _mm256_mul_ps(a, b) }
    }
    #[inline(always)]
    fn div(self, a: __m256, b: __m256) -> __m256 {
        // SAFETY: `self` proves the instruction.
        unsafe { _mm256_div_ps(a, b) }
    }
    #[inline(always)]
    fn max(self, a: __m256, b: __m256) -> __m256 {
        // SAFETY: `self` proves the instruction.
        unsafe { _mm256_max_ps(a, b) }
    }
    #[inline(always)]
    fn min(self, a: __m256, b: __m256) -> __m256 {
        // SAFETY: `self` proves the instruction.
        unsafe { _mm256_min_ps(a, b) }
    }
    #[inline(always)]
    fn mul_add(self, a: __m256, b: __m256, c: __m256) -> __m256 {
        // SAFETY: `self` proves the instruction.
        unsafe { _mm256_fmadd_ps(a, b, c) }
    }
    #[inline(always)]
    fn pow2(self, shifted: __m256) -> __m256 {
        // SAFETY: `self` proves the instructions.
        unsafe {
            let n = _mm256_slli_epi32::<23>(_mm256_castps_si256(shifted));
            _mm256_castsi256_ps(_mm256_add_epi32(n, _mm256_set1_epi32(1f32.to_bits() as i32)))
        }
    }
    #[inline(always)]
    fn sum(self, value: __m256) -> f32 {
        // SAFETY: `self` proves the instructions.
        unsafe {
            let four = _mm_add_ps(_mm256_castps256_ps128(value), _mm256_extractf128_ps::<1>(value));
            let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
            _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)))
        }
    }
    #[inline(always)]
    unsafe fn load_bytes(self, from: *const i8) -> __m256i {
        // SAFETY: `self` proves the instruction, the caller vouches for the bytes.
        unsafe { _mm256_loadu_si256(from.cast()) }
    }
    #[inline(always)]
    fn splat_i32(self, value: i32) -> __m256i {
        // SAFETY: `self` proves the instruction.
        unsafe { _mm256_set1_epi32(value) }
    }
    #[inline(always)]
    fn dot<const WIDE: bool>(self, sum: __m256i, unsigned: __m256i, signed: __m256i) -> __m256i {
        // SAFETY: `self` proves the instructions.
        unsafe {
            if VNNI {
                _mm256_dpbusd_avx_epi32(sum, unsigned, signed)
            } else if WIDE {
                let (even, odd) = (
                    _mm256_and_si256(unsigned, _mm256_set1_epi16(255)),
                    _mm256_srli_epi16::<8>(unsigned),
                );
                let signed_even = _mm256_srai_epi16::<8>(_mm256_slli_epi16::<8>(signed));
                let sum = _mm256_add_epi32(sum, _mm256_madd_epi16(even, signed_even));
                _mm256_add_epi32(sum, _mm256_madd_epi16(odd, _mm256_srai_epi16::<8>(signed)))
            } else {
                let pairs = _mm256_maddubs_epi16(unsigned, signed);
                _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)))
            }
        }
    }
    #[inline(always)]
    fn add_i32(self, a: __m256i, b: __m256i) -> __m256i {
        // SAFETY: `self` proves the instruction.
        unsafe { _mm256_add_epi32(a, b) }
    }
    #[inline(always)]
    fn to_i32(self, value: __m256) -> __m256i {
        // SAFETY: `self` proves the instruction.
        unsafe { _mm256_cvtps_epi32(value) }
    }
    #[inline(always)]
    fn to_f32(self, value: __m256i) -> __m256 {
        // SAFETY: `self` proves the instruction.
        unsafe { _mm256_cvtepi32_ps(value) }
    }
    #[inline(always)]
    unsafe fn store_bytes(self, to: *mut u8, value: __m256) {
        // SAFETY: `self` proves the instructions, the caller vouches for the place.
        unsafe {
            // Cut first: a float beyond 32 bits would become negative.
            let cut = _mm256_max_ps(_mm256_min_ps(value, _mm256_set1_ps(255.0)), _mm256_setzero_ps());
            let integers = _mm256_cvtps_epi32(cut);
            let words = _mm_packs_epi32(
                _mm256_castsi256_si128(integers),
                _mm256_extracti128_si256::<1>(integers),
            );
            _mm_storel_epi64(to.cast(), _mm_packus_epi16(words, words));
        }
    }
}
