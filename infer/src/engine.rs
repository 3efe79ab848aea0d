//! What runs a model: a trait, the engines behind it, and [`open`], which makes one from the bytes of an ONNX file.

use models::onnx::{Model, OnnxError};

/// Maps digits to logits, and knows nothing of pictures or probabilities.
pub trait Engine: Send {
    /// Computes the logits `[n, CLASSES]` of `n` digits `[n, PIXELS]`, in the numbers that the graph's input takes:
    /// normalised for a float32 input, 0 to 255 for a uint8 input.
    ///
    /// # Errors
    /// When the engine fails.
    ///
    /// # Panics
    /// When the lengths are not `n * PIXELS` and `n * CLASSES`.
    fn run(&mut self, digits: &[f32], logits: &mut [f32]) -> Result<(), EngineError>;
}
