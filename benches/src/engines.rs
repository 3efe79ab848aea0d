//! The engines of `infer` as subjects of a measurement, each proven right before it is timed.

use std::time::Instant;

use anyhow::Context;
use infer::engine::{self, Engine, EngineKind};
use infer::{Classifier, numbers, verify};
use models::golden::{Comparison, Golden};
use models::mnist::Split;
use models::onnx::InputKind;
use models::score::Score;
use models::{CLASSES, PIXELS, RELEASED_INT8_ONNX, RELEASED_ONNX};

use crate::latency::Subject;
use crate::results::Row;

/// A released model on an engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The engine.
    pub kind: EngineKind,
    /// Which of the released models.
    pub precision: Precision,
}

/// The released models.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    /// `digits.onnx`
    F32,
    /// `digits.int8.onnx`
    Int8,
}

impl Precision {
    /// Name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Precision::F32 => "f32",
            Precision::Int8 => "int8",
        }
    }

    /// The file.
    pub fn onnx(self) -> &'static [u8] {
        match self {
            Precision::F32 => RELEASED_ONNX,
            Precision::Int8 => RELEASED_INT8_ONNX,
        }
    }

    /// Whether the logits are near enough: int8 must read every digit alike.
    fn accepts(self, comparison: Comparison) -> bool {
        match self {
            Precision::F32 => comparison.is_equal(),
            Precision::Int8 => comparison.argmax_differs == 0,
        }
    }
}

impl std::fmt::Display for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.kind, self.precision.name())
    }
}

/// An engine with a released model loaded, at one batch size.
pub struct Contestant {
    /// What is known before it is timed.
    pub row: Row,
    engine: Box<dyn Engine>,
    digits: Vec<f32>,
    logits: Vec<f32>,
}

impl Contestant {
    /// Loads the model, which takes the row's `load_ms`, and proves the engine right on the golden digits.
    ///
    /// # Errors
    /// When the engine is missing, or does not compute the golden logits.
    pub fn new(entry: Entry, batch: usize, threads: usize, golden: &Golden) -> anyhow::Result<Contestant> {
        let digits = numbers(InputKind::Float32, &golden.digits[..batch]);
        let mut logits = vec![0.0; batch * CLASSES];
        let start = Instant::now();
        let mut engine = engine::open(entry.kind, entry.precision.onnx(), threads)?;
        engine.run(&digits[..PIXELS], &mut logits[..CLASSES])?;
        let load_ms = start.elapsed().as_secs_f64() * 1e3;

        let comparison = verify::verify(engine.as_mut(), InputKind::Float32, golden)?;
        anyhow::ensure!(
            entry.precision.accepts(comparison),
            "{entry} does not reproduce the golden logits: {comparison}"
        );
        let row = Row {
            engine: entry.kind.name().into(),
            precision: entry.precision.name().into(),
            batch,
            threads,
            load_ms,
            ..Row::default()
        };
        Ok(Contestant {
            row,
            engine,
            digits,
            logits,
        })
    }

    /// One call with a whole batch.
    ///
    /// # Errors
    /// When the engine fails.
    pub fn call(&mut self) -> anyhow::Result<()> {
        self.engine.run(&self.digits, &mut self.logits)?;
        std::hint::black_box(&self.logits);
        Ok(())
    }

    /// The calls as something to be timed.
    pub fn subject(&mut self) -> Subject<'_> {
        Box::new(|| self.call())
    }
}

/// How an engine reads all digits of a split.
///
/// # Errors
/// When the engine is missing or fails.
pub fn score(entry: Entry, split: &Split) -> anyhow::Result<Score> {
    let mut classifier = Classifier::open(entry.kind, entry.precision.onnx(), 1)?;
    let predictions = classifier
        .classify_all(&split.digits)
        .with_context(|| format!("{entry} fails on MNIST"))?;
    let mut score = Score::default();
    for (prediction, &label) in predictions.iter().zip(&split.labels) {
        score.add(label, prediction.digit, prediction.loss(label));
    }
    Ok(score)
}
