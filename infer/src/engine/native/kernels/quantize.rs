//! Floats to bytes, row by row.

use super::map::Map;
use super::plain;
use super::simd::Simd;
use super::spec::Quant;

/// Makes bytes of the floats of `digits` maps.
///
/// # Panics
/// When a slice is shorter than its maps.
#[inline(always)]
pub fn run<S: Simd>(s: S, quant: Quant, [from, to]: [&Map; 2], digits: usize, floats: &[f32], bytes: &mut [u8]) {
    for digit in 0..digits {
        for y in 0..from.height as isize {
            let floats = &floats[digit * from.len() + from.at(y, 0)..][..from.width * from.depth];
            let bytes = &mut bytes[digit * to.len() + to.at(y, 0)..][..to.width * to.depth];
            row(s, quant, floats, bytes);
        }
    }
}

/// The last vector of a row may overlap the one before.
#[inline(always)]
fn row<S: Simd>(s: S, quant: Quant, floats: &[f32], bytes: &mut [u8]) {
    let len = floats.len().min(bytes.len());
    if len < S::LANES {
        let bytes = bytes.iter_mut().zip(floats);
        bytes.for_each(|(byte, x)| *byte = plain::quantize(*x, quant));
        return;
    }
    let (factor, zero) = (s.splat(1.0 / quant.scale), s.splat(f32::from(quant.zero)));
    for first in (0..len).step_by(S::LANES) {
        let at = first.min(len - S::LANES);
        // SAFETY: a vector from `at` on ends inside of both slices.
        unsafe {
            let y = s.add(s.mul(s.load(floats.as_ptr().add(at)), factor), zero);
            s.store_bytes(bytes.as_mut_ptr().add(at), y);
        }
    }
}
