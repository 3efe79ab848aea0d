//! The engines of `infer` as subjects of a measurement, each proven right before it is timed.

use std::time::Instant;

use anyhow::Context;
use infer::engine::{self, Engine, EngineKind};
use infer::{Classifier, numbers, verify};
use models::golden::Golden;
use models::mnist::Split;
use models::onnx::InputKind;
use models::score::Score;
use models::{CLASSES, PIXELS, RELEASED_ONNX};

use crate::latency::Subject;
use crate::results::Row;

/// An engine with the released model loaded, at one batch size.
pub struct Contestant {
    /// What is known before it is timed.
    pub row: Row,
    engine: Box<dyn Engine>,
    digits: Vec<f32>,
    logits: Vec<f32>,
}

impl Contestant {
    /// Loads the released model, which takes the row's `load_ms`, and proves the engine right on the golden digits.
    ///
    /// # Errors
    /// When the engine is missing, or does not compute the golden logits.
    pub fn new(kind: EngineKind, batch: usize, threads: usize, golden: &Golden) -> anyhow::Result<Contestant> {
        let digits = numbers(InputKind::Float32, &golden.digits[..batch]);
        let mut logits = vec![0.0; batch * CLASSES];
        let start = Instant::now();
        let mut engine = engine::open(kind, RELEASED_ONNX, threads)?;
        engine.run(&digits[..PIXELS], &mut logits[..CLASSES])?;
        let load_ms = start.elapsed().as_secs_f64() * 1e3;

        let comparison = verify::verify(engine.as_mut(), InputKind::Float32, golden)?;
        anyhow::ensure!(
            comparison.is_equal(),
            "{kind} does not reproduce the golden logits: {comparison}"
        );
        let row = Row {
            engine: kind.name().into(),
            precision: "f32".into(),
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

/// How an engine reads all digits of a split with the released model.
///
/// # Errors
/// When the engine is missing or fails.
pub fn score(kind: EngineKind, split: &Split) -> anyhow::Result<Score> {
    let mut classifier = Classifier::open(kind, RELEASED_ONNX, 1)?;
    let predictions = classifier
        .classify_all(&split.digits)
        .with_context(|| format!("{kind} fails on MNIST"))?;
    let mut score = Score::default();
    for (prediction, &label) in predictions.iter().zip(&split.labels) {
        score.add(label, prediction.digit, prediction.loss(label));
    }
    Ok(score)
}
