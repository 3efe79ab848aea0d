//! `trainer seeds`: how networks read the test digits that differ in the seed only.

use std::path::{Path, PathBuf};

use models::mnist::{Part, Split};
use trainer::data::Dataset;
use trainer::net::Net;
use trainer::read_weights;
use trainer::seeds::{Seed, check, table};
use trainer::settings::DeviceChoice;

use super::publish;

/// A table of the test digits that networks read right whose trainings differ in the seed only
#[derive(clap::Args)]
pub struct Args {
    /// Weights of the networks
    #[arg(required = true, value_name = "FILE")]
    weights: Vec<PathBuf>,
    /// Write the table between the markers of this document instead of printing
    #[arg(long, value_name = "FILE.md")]
    into: Option<PathBuf>,
    /// Name of the markers
    #[arg(long, value_name = "NAME", default_value = "seeds")]
    marker: String,
    /// Folder with MNIST's four IDX files, plain or .gz
    #[arg(long, value_name = "DIR", default_value = "data")]
    data: PathBuf,
}

pub fn run(args: &Args) -> anyhow::Result<()> {
    let device = DeviceChoice::Auto.resolve()?;
    let read = |path: &PathBuf| {
        Ok(Seed {
            name: path.display().to_string(),
            weights: read_weights(path)?,
            settings: trainer::run::settings(path.parent().unwrap_or(Path::new("")))?,
        })
    };
    let seeds = args.weights.iter().map(read).collect::<anyhow::Result<Vec<_>>>()?;
    check(&seeds)?;
    let net = |seed: &Seed| (seed.weights.training.seed, Net::from_weights(&seed.weights, device));
    let nets: Vec<_> = seeds.iter().map(net).collect();
    let test = Dataset::new(&Split::read(&args.data, Part::Test)?, device);
    publish(&table(&nets, &test), args.into.as_deref(), &args.marker)
}
