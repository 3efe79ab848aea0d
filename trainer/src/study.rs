//! A study: many runs of a small TOML file, in one folder that any number of processes may share.
//!
//! [`plan`] reads the file into runs, the runner trains those that are missing.

pub mod plan;
mod runner;

use std::path::PathBuf;

use anyhow::Context;

pub use self::plan::Plan;
pub use self::runner::{Ended, run};
use crate::backend::Backend;
use crate::settings::DeviceChoice;

/// The study that ships with the program.
pub(crate) const SHIPPED: &str = include_str!("../study.toml");

/// The command `trainer study`.
#[derive(clap::Args)]
pub struct Study {
    /// File of the study: settings of `trainer`, each list an axis of the grid [default: the one that ships]
    file: Option<PathBuf>,
    /// Folder of the study's runs. Several processes, and machines whose file system knows locks, may share it
    #[arg(long, value_name = "DIR", default_value = "runs/study")]
    pub out: PathBuf,
    /// Takes the place of a setting in the whole study, such as epochs=2 or seed=[0,1]
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Runs to train at a time
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=256))]
    jobs: u16,
    /// Threads of each run [default: all cores]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
    /// What computes the blocks in training; a run that was begun goes on with its own
    #[arg(long, value_enum, default_value = "auto")]
    backend: Backend,
    /// Where to compute
    #[arg(long, value_enum, default_value = "auto")]
    device: DeviceChoice,
    /// Folder with MNIST's four IDX files, plain or .gz
    #[arg(long, value_name = "DIR", default_value = "data")]
    data: PathBuf,
}

impl Study {
    /// Reads the study's file.
    ///
    /// # Errors
    /// When it cannot be read, or a setting is unknown or out of range.
    pub fn plan(&self) -> anyhow::Result<Plan> {
        let Some(path) = &self.file else {
            return Plan::parse(SHIPPED, &self.set);
        };
        let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        Plan::parse(&text, &self.set).with_context(|| format!("cannot use {}", path.display()))
    }
}
