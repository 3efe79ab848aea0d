//! The gate of an int8 graph: it must read the test digits nearly as well as the f32 graph, and faster.

use std::time::Instant;

use infer::engine::{EngineError, EngineKind, open};
use infer::numbers;
use models::golden::argmax;
use models::mnist::Split;
use models::onnx::{Model, OnnxError};
use models::{CLASSES, PIXELS};

/// Largest loss of accuracy, in points of per cent.
pub const MAX_LOSS: f64 = 0.03;
/// Smallest share of the digits that another engine must read as the native one does.
pub const MIN_AGREEMENT: f64 = 0.9995;

/// Turns of each graph when both are timed.
const TURNS: usize = 200;
/// Runs in a turn, at batch 1.
const RUNS: usize = 10;
/// Digits per run of an engine.
const BATCH: usize = 250;

/// An engine, and the share of digits that it reads as the native one; an error where it is missing.
pub type Agreement = (EngineKind, Result<f64, EngineError>);

/// What the gate found.
#[derive(Debug)]
pub struct Report {
    /// Digits of the test set.
    pub digits: usize,
    /// Digits that f32 reads right and int8 wrong.
    pub lost: usize,
    /// Digits that int8 reads right and f32 wrong.
    pub won: usize,
    /// Two-sided p of McNemar's exact test that both read equally well.
    pub p: f64,
    /// Median time of int8 by that of f32: native engine, one thread, batch 1, in turns.
    pub time_ratio: f64,
    /// For each other engine the share of digits that it reads as the native one; an error where it is missing.
    pub agreement: Vec<Agreement>,
}

/// Why an int8 graph does not pass.
#[derive(Debug, thiserror::Error)]
pub enum Int8Error {
    /// A graph is no digit model.
    #[error("the exported model is not usable")]
    Model(#[from] OnnxError),
    /// An engine fails.
    #[error("{engine} fails on the int8 graph")]
    Engine {
        /// The engine.
        engine: EngineKind,
        /// What it says.
        source: EngineError,
    },
    /// Not good enough.
    #[error("int8 is not worth it, keep f32: {0}")]
    Refused(String),
}

/// Holds an int8 graph against the f32 graph of the same weights, on all digits of `test`.
///
/// # Errors
/// When it loses too much accuracy, is not faster, or another engine reads it otherwise.
pub fn gate(f32_onnx: &[u8], int8_onnx: &[u8], test: &Split) -> Result<Report, Int8Error> {
    let native = |onnx| {
        answers(EngineKind::Native, onnx, test)?.map_err(|source| Int8Error::Engine {
            engine: EngineKind::Native,
            source,
        })
    };
    let (plain, int8) = (native(f32_onnx)?, native(int8_onnx)?);
    let right = |answers: &[u8]| -> Vec<bool> { answers.iter().zip(&test.labels).map(|(a, b)| a == b).collect() };
    let pairs: Vec<(bool, bool)> = right(&plain).into_iter().zip(right(&int8)).collect();
    let lost = pairs.iter().filter(|pair| **pair == (true, false)).count();
    let won = pairs.iter().filter(|pair| **pair == (false, true)).count();
    let report = Report {
        digits: test.digits.len(),
        lost,
        won,
        p: mcnemar(lost, won),
        time_ratio: time_ratio(f32_onnx, int8_onnx, test)?,
        agreement: agreement(int8_onnx, test, &int8)?,
    };
    report.judge()?;
    Ok(report)
}

impl Report {
    /// Points of per cent of accuracy that int8 loses; negative where it gains.
    pub fn loss(&self) -> f64 {
        100.0 * (self.lost as f64 - self.won as f64) / self.digits as f64
    }

    fn judge(&self) -> Result<(), Int8Error> {
        let refused = |why| Err(Int8Error::Refused(why));
        if self.loss() > MAX_LOSS {
            return refused(format!(
                "it loses {:.2} points of accuracy, allowed are {MAX_LOSS}",
                self.loss()
            ));
        }
        if self.time_ratio >= 1.0 {
            return refused(format!("it takes {:.2} times as long", self.time_ratio));
        }
        for (engine, share) in &self.agreement {
            if let Ok(share) = share
                && *share < MIN_AGREEMENT
            {
                let (share, min) = (100.0 * share, 100.0 * MIN_AGREEMENT);
                return refused(format!(
                    "{engine} reads {share:.2} % of the digits alike, needed are {min} %"
                ));
            }
        }
        Ok(())
    }
}

/// What an engine reads; the inner error is that of an engine.
fn answers(kind: EngineKind, onnx: &[u8], test: &Split) -> Result<Result<Vec<u8>, EngineError>, OnnxError> {
    let input = Model::from_bytes(onnx)?.input;
    let read = || {
        let mut engine = open(kind, onnx, 1)?;
        let mut answers = Vec::with_capacity(test.digits.len());
        for digits in test.digits.chunks(BATCH) {
            let mut logits = vec![0.0; digits.len() * CLASSES];
            engine.run(&numbers(input, digits), &mut logits)?;
            answers.extend(logits.chunks(CLASSES).map(|logits| argmax(logits) as u8));
        }
        Ok(answers)
    };
    Ok(read())
}

fn agreement(onnx: &[u8], test: &Split, native: &[u8]) -> Result<Vec<Agreement>, Int8Error> {
    let mut shares = Vec::new();
    for &engine in EngineKind::ALL.iter().filter(|kind| **kind != EngineKind::Native) {
        let share = answers(engine, onnx, test)?.map(|answers| {
            let equal = answers.iter().zip(native).filter(|(a, b)| a == b).count();
            equal as f64 / native.len() as f64
        });
        match share {
            Err(source) if !source.is_missing() => return Err(Int8Error::Engine { engine, source }),
            share => shares.push((engine, share)),
        }
    }
    Ok(shares)
}

/// Median time of the second graph by that of the first, at batch 1.
fn time_ratio(first: &[u8], second: &[u8], test: &Split) -> Result<f64, Int8Error> {
    let native = |source| Int8Error::Engine {
        engine: EngineKind::Native,
        source,
    };
    let input = Model::from_bytes(first)?.input;
    let digit = numbers(input, &test.digits[..1]);
    let mut engines = [first, second].map(|onnx| open(EngineKind::Native, onnx, 1));
    let mut times = [Vec::new(), Vec::new()];
    for _ in 0..TURNS {
        for (engine, times) in engines.iter_mut().zip(&mut times) {
            let Ok(engine) = engine else { continue };
            for _ in 0..RUNS {
                let start = Instant::now();
                engine.run(&digit[..PIXELS], &mut [0.0; CLASSES]).map_err(native)?;
                times.push(start.elapsed());
            }
        }
    }
    for engine in engines {
        engine.map_err(native)?;
    }
    let [first, second] = times.map(|mut times| {
        times.sort();
        times[times.len() / 2].as_secs_f64()
    });
    Ok(second / first)
}

/// Two-sided p of McNemar's exact test: as many heads among `a + b` throws of a coin, or fewer, or as many tails.
fn mcnemar(a: usize, b: usize) -> f64 {
    let n = a + b;
    let mut term = 0.5f64.powi(n as i32);
    let mut tail = 0.0;
    for k in 0..=a.min(b) {
        tail += term;
        term *= (n - k) as f64 / (k + 1) as f64;
    }
    (2.0 * tail).min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mcnemar_is_a_binomial_test() {
        let check = |a, b, expected: f64| assert!((mcnemar(a, b) - expected).abs() < 1e-12, "{}", mcnemar(a, b));
        check(0, 0, 1.0);
        check(0, 5, 2.0 / 32.0);
        check(1, 3, 2.0 * 5.0 / 16.0);
        check(4, 4, 1.0);
    }

    #[test]
    fn the_gate_can_fail() {
        let report = |lost, time_ratio, share| Report {
            digits: 10_000,
            lost,
            won: 0,
            p: 1.0,
            time_ratio,
            agreement: vec![(EngineKind::Native, Ok(share))],
        };
        assert!(report(3, 0.5, 1.0).judge().is_ok());
        for bad in [report(4, 0.5, 1.0), report(0, 1.0, 1.0), report(0, 0.5, 0.999)] {
            assert!(matches!(bad.judge(), Err(Int8Error::Refused(_))));
        }
    }
}
