//! Vectors of 512 bits: x86-64 servers since 2017, AMD since 2022.

use std::arch::x86_64::*;

use super::simd::Simd;

/// Proof that this CPU has AVX-512F and BW, and AVX-512-VNNI where `VNNI` is true: that multiplies bytes by one instruction.
#[derive(Clone, Copy)]
pub struct Avx512<const VNNI: bool>(());

impl Avx512<false> {
    /// The proof: the code that calls it is compiled for AVX-512F and BW itself.
    #[target_feature(enable = "avx512f,avx512bw")]
    #[inline]
    pub fn new() -> Avx512<false> {
        Avx512(())
    }
}

impl Avx512<true> {
    /// The proof: the code that calls it is compiled for AVX-512-VNNI too.
    #[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
    #[inline]
    pub fn with_vnni() -> Avx512<true> {
        Avx512(())
    }
}

/// Each method is one instruction or a few; `self` proves that the CPU has them.
impl<const VNNI: bool> Simd for Avx512<VNNI> {
    type F32 = __m512;
    type I32 = __m512i;
    const LANES: usize = 16;
    const QUADS: bool = VNNI;

    #[inline(always)]
    unsafe fn load(self, from: *const f32) -> __m512 {
        // SAFETY: `self` proves the instruction, the caller vouches for the floats.
        unsafe { _mm512_loadu_ps(from) }
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32, value: __m512) {
        // SAFETY: `self` proves the instruction, the caller vouches for the place.
        unsafe { _mm512_storeu_ps(to, value) }
    }
    #[inline(always)]
    fn splat(self, value: f32) -> __m512 {
        // SAFETY: `self` proves the instruction.
        unsafe { _mm512_set1_ps(value) }
    }
    #[inline(always)]
    fn add(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: `self` proves the instruction.
        unsafe { _mm512_add_ps(a, b) }
    }
    #[inline(always)]
    fn sub(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: `self` proves the instruction.
        unsafe { _mm512_sub_ps(a, b) }
    }
    #[inline(always)]
    fn mul(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: `self` proves the instruction.
        unsafe { _mm512_mul_ps(a, b) }
    }
    #[inline(always)]
    fn div(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: `self` proves the instruction.
        unsafe { _mm512_div_ps(a, b) }
    }
    #[inline(always)]
    fn max(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: `self` proves the instruction.
        unsafe { _mm512_max_ps(a, b) }
    }
    #[inline(always)]
    fn min(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: `self` proves the instruction.
        unsafe { _mm512_min_ps(a, b) }
    }
    #[inline(always)]
    fn mul_add(self, a: __m512, b: __m512, c: __m512) -> __m512 {
        // SAFETY: `self` proves the instruction.
        unsafe { _mm512_fmadd_ps(a, b, c) }
    }
    #[inline(always)]
    fn pow2(self, shifted: __m512) -> __m512 {
        // SAFETY: `self` proves the instructions.
        unsafe {
            let n = _mm512_slli_epi32::<23>(_mm512_castps_si512(shifted));
            _mm512_castsi512_ps(_mm512_add_epi32(n, _mm512_set1_epi32(1f32.to_bits() as i32)))
        }
    }
    #[inline(always)]
    fn sum(self, value: __m512) -> f32 {
        // SAFETY: `self` proves the instructions.
        unsafe { _mm512_reduce_add_ps(value) }
    }
    #[inline(always)]
    unsafe fn load_bytes(self, from: *const i8) -> __m512i {
        // SAFETY: `self` proves the instruction, the caller vouches for the bytes.
        unsafe { _mm512_loadu_si512(from.cast()) }
    }
    #[inline(always)]
    fn splat_i32(self, value: i32) -> __m512i {
        // SAFETY: `self` proves the instruction.
        unsafe { _mm512_set1_epi32(value) }
    }
    #[inline(always)]
    fn dot<const WIDE: bool>(self, sum: __m512i, unsigned: __m512i, signed: __m512i) -> __m512i {
        // SAFETY: `self` proves the instructions.
        unsafe {
            if VNNI {
                _mm512_dpbusd_epi32(sum, unsigned, signed)
            } else if WIDE {
                let (even, odd) = (
                    _mm512_and_si512(unsigned, _mm512_set1_epi16(255)),
                    _mm512_srli_epi16::<8>(unsigned),
                );
                let signed_even = _mm512_srai_epi16::<8>(_mm512_slli_epi16::<8>(signed));
                let sum = _mm512_add_epi32(sum, _mm512_madd_epi16(even, signed_even));
                _mm512_add_epi32(sum, _mm512_madd_epi16(odd, _mm512_srai_epi16::<8>(signed)))
            } else {
                let pairs = _mm512_maddubs_epi16(unsigned, signed);
                _mm512_add_epi32(sum, _mm512_madd_epi16(pairs, _mm512_set1_epi16(1)))
            }
        }
    }
    #[inline(always)]
    fn add_i32(self, a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: `self` proves the instruction.
        unsafe { _mm512_add_epi32(a, b) }
    }
    #[inline(always)]
    fn to_i32(self, value: __m512) -> __m512i {
        // SAFETY: `self` proves the instruction.
        unsafe { _mm512_cvtps_epi32(value) }
    }
    #[inline(always)]
    fn to_f32(self, value: __m512i) -> __m512 {
        // SAFETY: `self` proves the instruction.
        unsafe { _mm512_cvtepi32_ps(value) }
    }
    #[inline(always)]
    unsafe fn store_bytes(self, to: *mut u8, value: __m512) {
        // SAFETY: `self` proves the instructions, the caller vouches for the place.
        unsafe {
            let cut = _mm512_max_ps(_mm512_min_ps(value, _mm512_set1_ps(255.0)), _mm512_setzero_ps());
            _mm_storeu_si128(to.cast(), _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(cut)));
        }
    }
    #[inline(always)]
    unsafe fn store_bytes4(self, to: *mut u8, values: [__m512; 4]) {
        // SAFETY: `self` proves the instructions, the caller vouches for the place.
        unsafe {
            let [a, b, c, d] = values.map(|value| self.to_i32(value));
            // Each of the four parts of `bytes` holds four lanes of every vector.
            let bytes = _mm512_packus_epi16(_mm512_packs_epi32(a, b), _mm512_packs_epi32(c, d));
            let order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
            _mm512_storeu_si512(to.cast(), _mm512_permutexvar_epi32(order, bytes));
        }
    }
}
