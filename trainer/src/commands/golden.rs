//! `trainer golden`: libtorch's logits, computed anew.

use std::path::PathBuf;

use anyhow::Context;
use models::golden::MIN_DIGITS;
use models::mnist::{Part, Split};
use trainer::net::Net;
use trainer::settings::DeviceChoice;
use trainer::{note, read_weights};

/// Computes libtorch's logits for test digits, against which exporter and engines are checked
#[derive(clap::Args)]
pub struct Args {
    /// Weights of the network
    #[arg(long, value_name = "FILE")]
    weights: PathBuf,
    /// Where to write [default: golden.safetensors beside the weights]
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Take the first N test digits
    #[arg(long, value_name = "N", default_value_t = trainer::GOLDEN_DIGITS as u32)]
    #[arg(value_parser = clap::value_parser!(u32).range(MIN_DIGITS as i64..))]
    digits: u32,
    /// Folder with MNIST's four IDX files, plain or .gz
    #[arg(long, value_name = "DIR", default_value = "data")]
    data: PathBuf,
}

pub fn run(args: &Args) -> anyhow::Result<()> {
    let beside = || args.weights.with_file_name("golden.safetensors");
    let output = args.output.clone().unwrap_or_else(beside);
    let weights = read_weights(&args.weights)?;
    let net = Net::from_weights(&weights, DeviceChoice::Cpu.resolve()?);
    let test = Split::read(&args.data, Part::Test)?;
    let golden = trainer::golden(&net, weights.sha256(), &test, args.digits as usize);
    models::artefact::write(&output, &golden.to_bytes())
        .with_context(|| format!("cannot write {}", output.display()))?;
    note(format_args!(
        "{} digits with libtorch's logits in {}",
        golden.digits.len(),
        output.display()
    ));
    Ok(())
}
