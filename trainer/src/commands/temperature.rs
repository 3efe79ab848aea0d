//! `trainer temperature`: how sure a network may be.

use std::fmt::Write;
use std::path::PathBuf;

use anyhow::ensure;
use models::mnist::{Part, Split};
use trainer::data::Dataset;
use trainer::net::{self, Net};
use trainer::settings::DeviceChoice;
use trainer::train::EVAL_BATCH;
use trainer::{calibration, read_weights};

use super::print;

/// Fits the temperature of the probabilities on training digits that were held out by --holdout
#[derive(clap::Args)]
pub struct Args {
    /// Weights of a network that was trained with --holdout
    #[arg(long, value_name = "FILE")]
    weights: PathBuf,
    /// The last N training digits, which were held out
    #[arg(long, value_name = "N", default_value_t = 5000, value_parser = clap::value_parser!(u32).range(1..60_000))]
    holdout: u32,
    /// Folder with MNIST's four IDX files, plain or .gz
    #[arg(long, value_name = "DIR", default_value = "data")]
    data: PathBuf,
}

pub fn run(args: &Args) -> anyhow::Result<()> {
    let weights = read_weights(&args.weights)?;
    let mut train = Split::read(&args.data, Part::Train)?;
    let holdout = args.holdout;
    let held_out = train.split_off(holdout as usize);
    ensure!(
        weights.training.train_digits <= train.digits.len(),
        "{} was trained on {} digits, so that the last {holdout} were not held out: train with --holdout {holdout}",
        args.weights.display(),
        weights.training.train_digits
    );
    let device = DeviceChoice::Auto.resolve()?;
    let held_out = Dataset::new(&held_out, device);
    let logits = net::logits(&Net::from_weights(&weights, device), &held_out.digits, EVAL_BATCH);
    let labels = held_out.labels.to_device(logits.device());
    let fitted = calibration::fit(&logits, &labels);
    let mut text = String::from("temperature, loss, expected calibration error\n");
    for temperature in [1.0, fitted] {
        let (loss, error) = (
            calibration::loss(&logits, &labels, temperature),
            calibration::error(&logits, &labels, temperature),
        );
        writeln!(text, "{temperature:.3}, {loss:.4}, {error:.4}").expect("a String takes all");
    }
    print(&text)
}
