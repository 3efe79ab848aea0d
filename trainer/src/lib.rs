//! Trains the network of [`models::network`] on MNIST with libtorch; the only crate that links it.
//!
//! [`train`] reads the digits, builds a [`net::Net`], steps an [`optim::Optimizer`] through the epochs and writes all
//! that came of it into a [`run::Run`] folder. The exporter takes up from there.
//! The recipe `best` also has [`augment`], [`ones`], [`outliers`], a [`schedule`] and an [`average`].
#![forbid(unsafe_code)]

pub mod augment;
pub mod average;
pub mod calibration;
pub mod data;
pub mod net;
pub mod ones;
pub mod optim;
pub mod outliers;
pub mod progress;
pub mod run;
pub mod schedule;
pub mod seeds;
pub mod settings;
pub mod stress;
pub mod train;

use models::golden::Golden;
use models::mnist::Split;

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
