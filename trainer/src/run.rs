//! The folder of one run, `runs/<n>/`: never overwritten, and whole whenever the program ends.
//!
//! settings.json (settings, versions, data, device) is written at the start; metrics.csv and metrics.jsonl (a line an
//! epoch) and weights.safetensors after each epoch; golden.safetensors at the end.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use models::mnist::Split;
use models::{CLASSES, artefact};
use serde::Serialize;
use tch::Device;

use crate::settings::Settings;
use crate::train::Epoch;

/// A run's folder and the epochs so far.
pub struct Run {
    folder: PathBuf,
    epochs: Vec<Row>,
}

/// What the run was made of.
#[derive(Serialize)]
struct Facts<'a> {
    settings: &'a Settings,
    network: models::network::NetworkSpec,
    device: String,
    threads: i32,
    train_digits: usize,
    test_digits: usize,
    train_sha256: &'a [String; 2],
    test_sha256: &'a [String; 2],
    threeblock: &'a str,
    libtorch: &'a str,
}

/// One epoch as a line of the metrics.
#[derive(Serialize)]
struct Row {
    epoch: u32,
    train_loss: f64,
    train_accuracy: f64,
    test_loss: f64,
    test_accuracy: f64,
    train_per_digit: [f64; CLASSES],
    test_per_digit: [f64; CLASSES],
    train_seconds: f64,
    test_seconds: f64,
}

impl Run {
    /// Makes the next free folder under `runs` and writes what is known at the start.
    ///
    /// # Errors
    /// When the folder or the file cannot be written.
    pub fn create(
        runs: &Path,
        settings: &Settings,
        device: Device,
        train: &Split,
        test: &Split,
    ) -> anyhow::Result<Run> {
        fs::create_dir_all(runs).with_context(|| format!("cannot make the folder {}", runs.display()))?;
        let mut n = 1 + last_number(runs)?;
        let folder = loop {
            let folder = runs.join(n.to_string());
            match fs::create_dir(&folder) {
                Ok(()) => break folder,
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => n += 1,
                Err(error) => {
                    return Err(error).with_context(|| format!("cannot make the folder {}", folder.display()));
                }
            }
        };
        let run = Run {
            folder,
            epochs: Vec::new(),
        };
        let facts = Facts {
            settings,
            network: settings.network(),
            device: format!("{device:?}").to_lowercase(),
            threads: tch::get_num_threads(),
            train_digits: train.digits.len(),
            test_digits: test.digits.len(),
            train_sha256: &train.sha256,
            test_sha256: &test.sha256,
            threeblock: env!("CARGO_PKG_VERSION"),
            libtorch: env!("LIBTORCH_VERSION"),
        };
        run.write("settings.json", &serde_json::to_vec_pretty(&facts)?)?;
        Ok(run)
    }

    /// The run's folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Writes one of the run's files, whole.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(&self, name: &str, bytes: &[u8]) -> anyhow::Result<()> {
        let path = self.folder.join(name);
        artefact::write(&path, bytes).with_context(|| format!("cannot write {}", path.display()))
    }

    /// Adds an epoch to the metrics.
    ///
    /// # Errors
    /// When the files cannot be written.
    pub fn add_epoch(&mut self, epoch: &Epoch) -> anyhow::Result<()> {
        self.epochs.push(Row::new(epoch));
        let mut csv = csv::WriterBuilder::new().has_headers(false).from_writer(Vec::new());
        csv.write_record(Row::columns())?;
        let mut lines = Vec::new();
        for row in &self.epochs {
            csv.serialize(row)?;
            serde_json::to_writer(&mut lines, row)?;
            lines.push(b'\n');
        }
        self.write("metrics.csv", &csv.into_inner()?)?;
        self.write("metrics.jsonl", &lines)
    }
}

impl Row {
    fn new(epoch: &Epoch) -> Row {
        let Epoch { train, test, .. } = epoch;
        Row {
            epoch: epoch.epoch,
            train_loss: train.loss(),
            train_accuracy: train.accuracy(),
            test_loss: test.loss(),
            test_accuracy: test.accuracy(),
            train_per_digit: train.per_digit(),
            test_per_digit: test.per_digit(),
            train_seconds: epoch.train_time.as_secs_f64(),
            test_seconds: epoch.test_time.as_secs_f64(),
        }
    }

    /// Names of the fields in CSV, where each digit has its own column.
    fn columns() -> Vec<String> {
        let per_digit = |part| (0..CLASSES).map(move |digit| format!("{part}_accuracy_{digit}"));
        let names = ["epoch", "train_loss", "train_accuracy", "test_loss", "test_accuracy"].map(String::from);
        let seconds = ["train_seconds", "test_seconds"].map(String::from);
        names
            .into_iter()
            .chain(per_digit("train"))
            .chain(per_digit("test"))
            .chain(seconds)
            .collect()
    }
}

/// The highest number of a run in `folder`, 0 where there is none.
fn last_number(folder: &Path) -> anyhow::Result<u32> {
    let entries = fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let number = |entry: fs::DirEntry| entry.file_name().to_str()?.parse().ok();
    Ok(entries.flatten().filter_map(number).max().unwrap_or(0))
}
