//! `trainer stress`: weights held against each other where MNIST does not lead.

use std::path::{Path, PathBuf};

use anyhow::Context;
use models::mnist::{Part, Split};
use trainer::data::Dataset;
use trainer::net::Net;
use trainer::read_weights;
use trainer::settings::DeviceChoice;
use trainer::stress::tables;

use super::publish;

/// Tables of how weights read altered test digits, and how unsure they are of what is no digit
#[derive(clap::Args)]
pub struct Args {
    /// Weights of a network, each a column of the tables
    #[arg(long, value_name = "FILE", required = true)]
    weights: Vec<PathBuf>,
    /// Folder with other pictures as IDX files, of which the test pictures are shown, such as Debian's
    /// dataset-fashion-mnist
    #[arg(long, value_name = "DIR")]
    strangers: Option<PathBuf>,
    /// Write the tables between the markers `stress` of this document instead of printing
    #[arg(long, value_name = "FILE.md")]
    into: Option<PathBuf>,
    /// Folder with MNIST's four IDX files, plain or .gz
    #[arg(long, value_name = "DIR", default_value = "data")]
    data: PathBuf,
}

pub fn run(args: &Args) -> anyhow::Result<()> {
    let device = DeviceChoice::Auto.resolve()?;
    let mut nets = Vec::new();
    for path in &args.weights {
        let weights = read_weights(path)?;
        let net = Net::from_weights(&weights, device);
        nets.push((path.display().to_string(), net, weights.training.temperature));
    }
    let test = Dataset::new(&Split::read(&args.data, Part::Test)?, device);
    let read = |folder: &Path| -> anyhow::Result<_> {
        let split = Split::read(folder, Part::Test).with_context(|| format!("--strangers {}", folder.display()))?;
        Ok((folder.display().to_string(), Dataset::new(&split, device)))
    };
    let strangers = args.strangers.as_deref().map(read).transpose()?;
    publish(
        &tables(&nets, &test, strangers.as_ref()),
        args.into.as_deref(),
        "stress",
    )
}
