//! The gate: an ONNX file passes when every engine found here computes libtorch's logits from it.

use infer::engine::{EngineError, EngineKind, open};
use infer::verify::BATCHES;
use models::golden::{Comparison, Golden, MIN_DIGITS, TOLERANCE};
use models::onnx::{Model, OnnxError};

/// What an engine said of the file.
#[derive(Debug)]
pub struct Check {
    /// The engine.
    pub engine: EngineKind,
    /// How near it came; an error where it is missing on this machine.
    pub outcome: Result<Comparison, EngineError>,
}

/// Why a file does not pass.
#[derive(Debug, thiserror::Error)]
pub enum GateError {
    /// The file is no digit model.
    #[error("the exported model is not usable")]
    Model(#[from] OnnxError),
    /// The logits are of another network.
    #[error(
        "the golden logits belong to weights with SHA-256 {golden}, and the exported ones have {exported}: \
         `cargo run -p trainer -- golden --weights FILE` makes their own"
    )]
    OtherWeights {
        /// SHA-256 that the golden file names.
        golden: String,
        /// SHA-256 that the model names.
        exported: String,
    },
    /// Not enough digits for the largest batch.
    #[error("the golden file has {found} digits, and the gate needs {expected}")]
    TooFewDigits {
        /// Digits in the file.
        found: usize,
        /// Digits of the largest batch.
        expected: usize,
    },
    /// An engine does not take the file.
    #[error("{engine} fails")]
    Engine {
        /// The engine.
        engine: EngineKind,
        /// What it says.
        source: EngineError,
    },
    /// An engine computes something else.
    #[error("{engine} differs from libtorch: {comparison}; allowed are {TOLERANCE:e} and no other digit")]
    Differs {
        /// The engine.
        engine: EngineKind,
        /// How far off it is.
        comparison: Comparison,
    },
}

/// Runs `onnx` with every engine on the golden digits, at each size of [`BATCHES`], on one thread.
///
/// # Errors
/// When the file does not belong to the golden digits, an engine fails, or its logits differ. ONNX Runtime missing is no
/// error but an outcome.
pub fn verify(onnx: &[u8], golden: &Golden) -> Result<Vec<Check>, GateError> {
    let model = Model::from_bytes(onnx)?;
    let exported = model.contract.map_or(String::new(), |contract| contract.weights_sha256);
    if exported != golden.weights_sha256 {
        return Err(GateError::OtherWeights {
            golden: golden.weights_sha256.clone(),
            exported,
        });
    }
    const { assert!(MIN_DIGITS == BATCHES[BATCHES.len() - 1]) };
    let (found, expected) = (golden.digits.len(), MIN_DIGITS);
    if found < expected {
        return Err(GateError::TooFewDigits { found, expected });
    }
    let check = |&engine| {
        let outcome =
            open(engine, onnx, 1).and_then(|mut opened| infer::verify::verify(&mut *opened, model.input, golden));
        match outcome {
            Ok(comparison) if !comparison.is_equal() => Err(GateError::Differs { engine, comparison }),
            Ok(_) | Err(EngineError::Library(_) | EngineError::Telemetry) => Ok(Check { engine, outcome }),
            Err(source) => Err(GateError::Engine { engine, source }),
        }
    };
    EngineKind::ALL.iter().map(check).collect()
}
