//! What runs a model: a trait, the engines behind it, and [`open`], which makes one from the bytes of an ONNX file.
//!
//! tract panics on some malformed graphs. The first tract engine of a process therefore sets a panic hook, which keeps such
//! panics, returned as errors, from stderr and passes all others to the hook that was set before.

pub mod native;
#[cfg(feature = "ort")]
mod ort;
#[cfg(feature = "tract")]
mod tract;

use models::onnx::{Model, OnnxError};
use models::{CLASSES, PIXELS};

pub use self::native::{KernelKind, Native, Numbers};

#[cfg(feature = "ort")]
pub use self::ort::disable_telemetry;

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

/// The engines that this build knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
#[non_exhaustive]
pub enum EngineKind {
    /// Our own, pure Rust and built in.
    Native,
    /// tract, pure Rust and built in.
    #[cfg(feature = "tract")]
    Tract,
    /// ONNX Runtime, a library that is loaded at run time.
    #[cfg(feature = "ort")]
    Ort,
}

impl EngineKind {
    /// Every engine of this build; the first is the default.
    pub const ALL: &[EngineKind] = &[
        EngineKind::Native,
        #[cfg(feature = "tract")]
        EngineKind::Tract,
        #[cfg(feature = "ort")]
        EngineKind::Ort,
    ];

    /// Name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            EngineKind::Native => "native",
            #[cfg(feature = "tract")]
            EngineKind::Tract => "tract",
            #[cfg(feature = "ort")]
            EngineKind::Ort => "ort",
        }
    }

    /// Product and version, and for a library where it lies.
    ///
    /// # Errors
    /// When the engine cannot be used on this machine.
    pub fn version(self) -> Result<String, EngineError> {
        match self {
            EngineKind::Native => Ok(native::version()),
            #[cfg(feature = "tract")]
            EngineKind::Tract => Ok(tract::version()),
            #[cfg(feature = "ort")]
            EngineKind::Ort => ort::version(),
        }
    }
}

impl Default for EngineKind {
    fn default() -> Self {
        EngineKind::ALL[0]
    }
}

impl std::fmt::Display for EngineKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}

/// Why an engine cannot be made or fails.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// The file does not pass the door.
    #[error("the model cannot be used")]
    Model(#[from] OnnxError),
    /// The engine's library is missing, too old, or none.
    #[error(
        "ONNX Runtime cannot be used: {0}; run `make setup` and start the program by cargo, or let ORT_DYLIB_PATH name a libonnxruntime of version 1.17 or later"
    )]
    Library(String),
    /// ONNX Runtime would send telemetry, and other threads run, so that its variable cannot be set any more.
    #[error("ONNX Runtime is not loaded while its telemetry is on: set ORT_DISABLE_TELEMETRY=1")]
    Telemetry,
    /// The engine does not take the model.
    #[error("{engine} cannot load the model: {problem}")]
    Load {
        /// The engine.
        engine: EngineKind,
        /// What it says.
        problem: String,
    },
    /// The engine fails on digits.
    #[error("{engine} cannot run the model: {problem}")]
    Run {
        /// The engine.
        engine: EngineKind,
        /// What it says.
        problem: String,
    },
}

impl EngineError {
    /// Whether the engine is not there at all, whatever the model.
    pub fn is_missing(&self) -> bool {
        matches!(self, EngineError::Library(_) | EngineError::Telemetry)
    }
}

/// Makes an engine that runs an ONNX file on up to `threads` threads.
///
/// # Errors
/// When the file is no digit model, or the engine is missing or does not take it.
pub fn open(kind: EngineKind, onnx: &[u8], threads: usize) -> Result<Box<dyn Engine>, EngineError> {
    with_model(kind, &Model::from_bytes(onnx)?, threads)
}

/// As [`open`], for a file that has passed the door.
///
/// # Errors
/// When the engine is missing or does not take the file.
pub fn with_model(kind: EngineKind, model: &Model, threads: usize) -> Result<Box<dyn Engine>, EngineError> {
    let threads = threads.max(1);
    // The other engines get what the door has seen and nothing else that the file may hold.
    #[cfg(any(feature = "ort", feature = "tract"))]
    let onnx = || model.proto.to_bytes();
    match kind {
        EngineKind::Native => Ok(Box::new(Native::new(model, threads, None)?)),
        #[cfg(feature = "tract")]
        EngineKind::Tract => {
            let batch = model.batch.unwrap_or(1);
            let engine = tract::Tract::new(model, &onnx(), batch)?;
            let engines = vec![engine; threads].into_iter();
            Ok(Box::new(Split(
                engines.map(|engine| FixedBatch::new(engine, batch)).collect(),
            )))
        }
        #[cfg(feature = "ort")]
        EngineKind::Ort => {
            let engine = ort::Ort::new(model, &onnx(), threads)?;
            Ok(match model.batch {
                Some(batch) => Box::new(FixedBatch::new(engine, batch)),
                None => Box::new(engine),
            })
        }
    }
}

/// Shares the digits among equal engines, each on its own thread.
#[cfg(feature = "tract")]
struct Split<E>(Vec<E>);

#[cfg(feature = "tract")]
impl<E: Engine> Engine for Split<E> {
    fn run(&mut self, digits: &[f32], logits: &mut [f32]) -> Result<(), EngineError> {
        let n = count(digits, logits).div_ceil(self.0.len()).max(1);
        let shares = digits.chunks(n * PIXELS).zip(logits.chunks_mut(n * CLASSES));
        let mut work = self.0.iter_mut().zip(shares);
        let Some((engine, (digits, logits))) = work.next() else {
            return Ok(());
        };
        std::thread::scope(|scope| {
            let threads: Vec<_> = work
                .map(|(engine, (digits, logits))| scope.spawn(|| engine.run(digits, logits)))
                .collect();
            let first = engine.run(digits, logits);
            threads.into_iter().fold(first, |result, thread| {
                let other = thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
                result.and(other)
            })
        })
    }
}

/// Serves any number of digits from an engine that takes exactly `batch`: the last run is filled up with zeros.
#[cfg(any(feature = "ort", feature = "tract"))]
struct FixedBatch<E> {
    engine: E,
    digits: Vec<f32>,
    logits: Vec<f32>,
}

#[cfg(any(feature = "ort", feature = "tract"))]
impl<E> FixedBatch<E> {
    fn new(engine: E, batch: usize) -> FixedBatch<E> {
        FixedBatch {
            engine,
            digits: vec![0.0; batch * PIXELS],
            logits: vec![0.0; batch * CLASSES],
        }
    }
}

#[cfg(any(feature = "ort", feature = "tract"))]
impl<E: Engine> Engine for FixedBatch<E> {
    fn run(&mut self, digits: &[f32], logits: &mut [f32]) -> Result<(), EngineError> {
        count(digits, logits);
        let chunks = digits.chunks(self.digits.len());
        for (digits, logits) in chunks.zip(logits.chunks_mut(self.logits.len())) {
            self.digits[..digits.len()].copy_from_slice(digits);
            self.digits[digits.len()..].fill(0.0);
            self.engine.run(&self.digits, &mut self.logits)?;
            logits.copy_from_slice(&self.logits[..logits.len()]);
        }
        Ok(())
    }
}

/// How many digits there are.
///
/// # Panics
/// When the lengths contradict each other.
fn count(digits: &[f32], logits: &[f32]) -> usize {
    let n = digits.len() / PIXELS;
    assert_eq!(
        (digits.len(), logits.len()),
        (n * PIXELS, n * CLASSES),
        "pixels and logits of whole digits"
    );
    n
}

/// The digits of a graph that takes uint8.
#[cfg(any(feature = "ort", feature = "tract"))]
fn bytes(digits: &[f32]) -> Vec<u8> {
    digits.iter().map(|&value| value as u8).collect()
}
