//! [`Simd`]: the few vector instructions that the kernels are written in. A value of an implementing type is the proof
//! that this CPU has them, so that only loads and stores are unsafe.

/// Vectors of `LANES` floats.
pub trait Simd: Copy {
    /// One vector.
    type F32: Copy;
    /// Floats in a vector.
    const LANES: usize;

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
}
