//! The proof that an engine computes what libtorch computed: golden digits, at several batch sizes.

use models::golden::{Comparison, Golden};
use models::onnx::InputKind;
use models::{CLASSES, PIXELS};

use crate::engine::{Engine, EngineError};
use crate::numbers;

/// Digits per run: one, an odd few, and many.
pub const BATCHES: [usize; 3] = [1, 7, 64];

/// Runs the golden digits at every size of [`BATCHES`] and returns the worst comparison.
///
/// # Errors
/// When the engine fails.
pub fn verify(engine: &mut dyn Engine, input: InputKind, golden: &Golden) -> Result<Comparison, EngineError> {
    let digits = numbers(input, &golden.digits);
    let mut worst = Comparison {
        digits: golden.digits.len(),
        max_difference: 0.0,
        argmax_differs: 0,
    };
    for batch in BATCHES {
        let mut logits = vec![f32::NAN; golden.digits.len() * CLASSES];
        let runs = digits.chunks(batch * PIXELS).zip(logits.chunks_mut(batch * CLASSES));
        for (digits, logits) in runs {
            engine.run(digits, logits)?;
        }
        let found = golden.compare(&logits);
        // A NaN is the worst, and `f32::max` would drop it.
        if found.max_difference.is_nan() || found.max_difference > worst.max_difference {
            worst.max_difference = found.max_difference;
        }
        worst.argmax_differs = worst.argmax_differs.max(found.argmax_differs);
    }
    Ok(worst)
}
