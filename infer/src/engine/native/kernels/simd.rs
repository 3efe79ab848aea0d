//! [`Simd`]: the few vector instructions that the kernels are written in. A value of an implementing type is the proof
//! that this CPU has them, so that only loads and stores are unsafe.

/// Vectors of `LANES` floats, or of as many integers of 32 bits.
pub trait Simd: Copy {
    /// One vector of floats.
    type F32: Copy;
    /// One vector of integers, or of four bytes in each lane.
    type I32: Copy;
    /// Floats in a vector.
    const LANES: usize;
    /// Whether [`dot`](Simd::dot) takes 128 from every byte without a sign, because the CPU multiplies only bytes that have
    /// one. Sums must then begin with 128 times the sum of the signed bytes.
    const SIGNED: bool = false;

    /// Whether [`dot`](Simd::dot) adds four products of any bytes at once, so that none of them is too wide.
    const QUADS: bool = false;

    /// Reads a vector.
    ///
    /// # Safety
    /// `LANES` floats can be read from `from`.
    unsafe fn load(self, from: *const f32) -> Self::F32;
    /// Writes a vector.
    ///
    /// # Safety
    /// `LANES` floats can be written to `to`.
    unsafe fn store(self, to: *mut f32, value: Self::F32);
    /// `value` in every lane.
    fn splat(self, value: f32) -> Self::F32;
    /// `a + b`
    fn add(self, a: Self::F32, b: Self::F32) -> Self::F32;
    /// `a - b`
    fn sub(self, a: Self::F32, b: Self::F32) -> Self::F32;
    /// `a * b`
    fn mul(self, a: Self::F32, b: Self::F32) -> Self::F32;
    /// `a / b`
    fn div(self, a: Self::F32, b: Self::F32) -> Self::F32;
    /// The larger of both.
    fn max(self, a: Self::F32, b: Self::F32) -> Self::F32;
    /// The smaller of both.
    fn min(self, a: Self::F32, b: Self::F32) -> Self::F32;
    /// `a * b + c`, rounded once where the CPU can.
    fn mul_add(self, a: Self::F32, b: Self::F32, c: Self::F32) -> Self::F32;
    /// `2^n` for a vector `1.5 * 2^23 + n` with `-126 <= n <= 127`: there `n` stands in the lowest bits.
    fn pow2(self, shifted: Self::F32) -> Self::F32;
    /// Sum of the lanes, in an order that depends on `LANES` alone.
    fn sum(self, value: Self::F32) -> f32;

    /// Four bytes in each lane.
    ///
    /// # Safety
    /// `LANES` times four bytes can be read from `from`.
    unsafe fn load_bytes(self, from: *const i8) -> Self::I32;
    /// `value` in every lane.
    fn splat_i32(self, value: i32) -> Self::I32;
    /// In each lane, `sum` plus the products of four bytes without (see [`SIGNED`](Simd::SIGNED)) and four with a sign. `WIDE`
    /// must be true where a byte of `signed` is not within ±64: products of pairs may leave 16 bits, where the CPU adds pairs
    /// first.
    fn dot<const WIDE: bool>(self, sum: Self::I32, unsigned: Self::I32, signed: Self::I32) -> Self::I32;
    /// `a + b`
    fn add_i32(self, a: Self::I32, b: Self::I32) -> Self::I32;
    /// The integers as floats.
    fn to_f32(self, value: Self::I32) -> Self::F32;
    /// The floats, of less than 2^31, as integers: rounded half to even.
    fn to_i32(self, value: Self::F32) -> Self::I32;
    /// Writes the lanes, rounded half to even and cut to 0 to 255, as bytes.
    ///
    /// # Safety
    /// `LANES` bytes can be written to `to`.
    unsafe fn store_bytes(self, to: *mut u8, value: Self::F32);
    /// Writes four vectors of numbers below 2^31 as [`store_bytes`](Simd::store_bytes) does, one after the other.
    ///
    /// # Safety
    /// Four times `LANES` bytes can be written to `to`.
    #[inline(always)]
    unsafe fn store_bytes4(self, to: *mut u8, values: [Self::F32; 4]) {
        for (index, value) in values.into_iter().enumerate() {
            // SAFETY: the caller vouches for the place.
            unsafe { self.store_bytes(to.add(index * Self::LANES), value) }
        }
    }
}
