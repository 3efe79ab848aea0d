//! Names the digit in a picture, with our own engine, tract or ONNX Runtime behind one trait.
//!
//! A picture becomes a [`Digit`] in [`glyph`]; a [`Classifier`] makes a [`Prediction`] of it. Three lines, with the
//! released model that is built in:
//!
//! ```
//! # let picture = "../models/samples/7.png";
//! let digit = infer::glyph::read(&std::fs::read(picture)?)?;
//! let prediction = infer::Classifier::released()?.classify(&digit)?;
//! println!("{} ({:.1} %)", prediction.digit, 100.0 * prediction.confidence);
//! # assert_eq!(prediction.digit, 7);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A picture with several digits becomes a [`glyph::Page`], and [`Classifier::read_all`] makes a [`Reading`] of it: the
//! digits line by line, each with its box, and a reason where there is none. [`folder`] counts how well labelled pictures
//! are read.
//!
//! Below it lies [`engine`]: the trait [`Engine`], which knows only numbers, and its implementations.
//! [`verify`] proves that an engine computes what libtorch computed. `serve`, a feature, answers over HTTP. The program
//! `infer` puts a command line on all this.
#![deny(unsafe_code)]

pub mod engine;
pub mod folder;
mod prediction;
mod reading;
#[cfg(feature = "serve")]
pub mod serve;
pub mod verify;

use std::fmt;

pub use models::{Digit, glyph};
pub use prediction::Prediction;
pub use reading::{Answer, REJECT, Reading};

use engine::{Engine, EngineError, EngineKind, KernelKind, Native};
use models::onnx::{Contract, InputKind, Model};
use models::{CLASSES, PIXELS, RELEASED_ONNX};

/// Digits per run of the engine: enough for every engine to be fast, and little memory.
const BATCH: usize = 256;

/// A model on an engine, from digits to predictions.
pub struct Classifier {
    engine: Box<dyn Engine>,
    kind: EngineKind,
    signature: Signature,
    contract: Option<Contract>,
}

/// What the model's graph takes and gives.
#[derive(Clone, Debug)]
pub struct Signature {
    /// Name of the input.
    pub input_name: String,
    /// What the input takes.
    pub input: InputKind,
    /// Name of the output of logits, `[n, CLASSES]`.
    pub logits_name: String,
    /// Divides the logits before the softmax.
    pub temperature: f64,
}

impl Classifier {
    /// The released model on the default engine, on one thread.
    ///
    /// # Errors
    /// When the engine fails.
    pub fn released() -> Result<Classifier, EngineError> {
        Classifier::open(EngineKind::default(), RELEASED_ONNX, 1)
    }

    /// The model in the bytes of an ONNX file, on an engine with up to `threads` threads.
    ///
    /// # Errors
    /// As [`engine::open`].
    pub fn open(kind: EngineKind, onnx: &[u8], threads: usize) -> Result<Classifier, EngineError> {
        let model = Model::from_bytes(onnx)?;
        let engine = engine::with_model(kind, &model, threads)?;
        Ok(Classifier::new(model, kind, engine))
    }

    /// As [`Classifier::open`] on the native engine, with chosen kernels.
    ///
    /// # Errors
    /// As [`engine::open`], and when this CPU cannot run the kernels.
    pub fn open_native(onnx: &[u8], threads: usize, kernels: KernelKind) -> Result<Classifier, EngineError> {
        let model = Model::from_bytes(onnx)?;
        let engine = Native::new(&model, threads, Some(kernels))?;
        Ok(Classifier::new(model, EngineKind::Native, Box::new(engine)))
    }

    fn new(model: Model, kind: EngineKind, engine: Box<dyn Engine>) -> Classifier {
        Classifier {
            engine,
            kind,
            signature: Signature {
                input_name: model.input_name,
                input: model.input,
                logits_name: model.logits_name,
                temperature: model
                    .contract
                    .as_ref()
                    .map_or(1.0, |contract| contract.training.temperature),
            },
            contract: model.contract,
        }
    }

    /// The engine that it runs on.
    pub fn kind(&self) -> EngineKind {
        self.kind
    }

    /// What the model's graph takes and gives.
    pub fn signature(&self) -> &Signature {
        &self.signature
    }

    /// What the model says of itself; `None` for a file that was not exported here.
    pub fn contract(&self) -> Option<&Contract> {
        self.contract.as_ref()
    }

    /// Reads one digit.
    ///
    /// # Errors
    /// When the engine fails.
    pub fn classify(&mut self, digit: &Digit) -> Result<Prediction, EngineError> {
        let mut predictions = self.classify_all(std::slice::from_ref(digit))?;
        Ok(predictions.remove(0))
    }

    /// Reads digits; as many predictions as digits, in their order.
    ///
    /// # Errors
    /// When the engine fails.
    pub fn classify_all(&mut self, digits: &[Digit]) -> Result<Vec<Prediction>, EngineError> {
        let mut predictions = Vec::with_capacity(digits.len());
        for digits in digits.chunks(BATCH) {
            let logits = self.logits(&numbers(self.signature.input, digits))?;
            for row in &logits {
                predictions.push(prediction(self.kind, self.signature.temperature, row)?);
            }
        }
        Ok(predictions)
    }

    /// The logits of `[n, PIXELS]` numbers that the model's input takes; as many rows as digits.
    ///
    /// # Errors
    /// When the engine fails.
    ///
    /// # Panics
    /// When the numbers are not those of whole digits.
    pub fn logits(&mut self, numbers: &[f32]) -> Result<Vec<[f32; CLASSES]>, EngineError> {
        let mut logits = vec![[0.0; CLASSES]; numbers.len() / PIXELS];
        self.engine.run(numbers, logits.as_flattened_mut())?;
        Ok(logits)
    }
}

/// Which engine it is and what the graph takes, without the weights.
impl fmt::Debug for Classifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Classifier")
            .field("kind", &self.kind)
            .field("signature", &self.signature)
            .finish_non_exhaustive()
    }
}

/// What an engine's logits say.
///
/// # Errors
/// When they are not all finite.
fn prediction(engine: EngineKind, temperature: f64, logits: &[f32; CLASSES]) -> Result<Prediction, EngineError> {
    match logits.iter().all(|logit| logit.is_finite()) {
        true => Ok(Prediction::from_logits(logits, temperature)),
        false => Err(EngineError::Run {
            engine,
            problem: "its logits are not all finite".into(),
        }),
    }
}

/// The numbers that a model's input takes for digits, `[n, PIXELS]`.
pub fn numbers(input: InputKind, digits: &[Digit]) -> Vec<f32> {
    match input {
        InputKind::Float32 => digits.iter().flat_map(Digit::normalized).collect(),
        InputKind::Uint8 => digits.iter().flat_map(|digit| digit.0.map(f32::from)).collect(),
    }
}
