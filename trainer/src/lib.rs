//! Trains the network of [`models::network`] on MNIST with libtorch; the only crate that links it.
//!
//! [`train`] takes a [`state::State`], which is a [`net::Net`] with its [`optim::Optimizer`], through the epochs, each step
//! computed by a [`backend`]: libtorch's operators, or [`native`]. A [`run::Run`] keeps in its folder what came of each. The
//! exporter takes up from there. A [`study`] is many runs, of which a [`report`] tells what they show.
//! The recipe `best` also has [`augment`], [`ones`], [`outliers`], a [`schedule`] and an [`average`].
#![deny(unsafe_code)]

pub mod augment;
pub mod average;
pub mod backend;
pub mod calibration;
pub mod data;
pub mod metrics;
pub mod native;
pub mod net;
pub mod ones;
pub mod optim;
pub mod outliers;
pub mod precision;
pub mod progress;
pub mod report;
pub mod run;
pub mod schedule;
pub mod seeds;
pub mod settings;
pub mod signals;
pub mod state;
pub mod stress;
pub mod study;
pub mod teachers;
pub mod tensorboard;
pub mod train;

use std::fmt;
use std::io::{self, Write};
use std::path::Path;

use anyhow::Context;
use models::golden::Golden;
use models::mnist::Split;
use models::weights::Weights;

/// Test digits in a run's golden file.
pub const GOLDEN_DIGITS: usize = 256;

/// libtorch's logits for the first `n` test digits.
pub fn golden(net: &net::Net, weights_sha256: String, test: &Split, n: usize) -> Golden {
    let mut split = test.clone();
    split.truncate(n);
    let data = data::Dataset::new(&split, net.device());
    let logits = net::logits(net, &data.digits, train::EVAL_BATCH).view(-1);
    Golden {
        weights_sha256,
        logits: Vec::try_from(logits).expect("floats on the CPU"),
        digits: split.digits,
        labels: split.labels,
    }
}

/// A line on stderr; where stderr is closed, nobody listens, and the training goes on.
pub fn note(line: fmt::Arguments) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// Reads and checks a file of weights.
///
/// # Errors
/// When it cannot be read, or holds no weights.
pub fn read_weights(path: &Path) -> anyhow::Result<Weights> {
    let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    Weights::from_bytes(&bytes).with_context(|| format!("cannot use {}", path.display()))
}
