//! The folder of one run: never overwritten, whole whenever the program ends, and resumed from its last epoch.
//!
//! settings.json (settings, versions, data, device) is written at the start. After each epoch: metrics.csv, metrics.jsonl and
//! the event file of TensorBoard; weights.safetensors and golden.safetensors, unless the training diverged; and last
//! checkpoint.safetensors. What a killed program wrote beyond the checkpoint is written again.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use models::artefact;
use models::mnist::Split;
use models::weights::Training;
use serde::{Deserialize, Serialize};
use tch::Device;

use crate::backend::Backend;
use crate::metrics::{self, Row};
use crate::settings::Settings;
use crate::state::{self, State};
use crate::tensorboard;
use crate::train::Epoch;

const SETTINGS: &str = "settings.json";
const CHECKPOINT: &str = "checkpoint.safetensors";
const WEIGHTS: &str = "weights.safetensors";
const GOLDEN: &str = "golden.safetensors";

/// A run's folder and the epochs so far.
pub struct Run {
    folder: PathBuf,
    settings: Settings,
    train_digits: usize,
    /// The test digits of the golden file.
    golden: Split,
    rows: Vec<Row>,
}

/// What the run was made of.
#[derive(Serialize)]
struct Facts<'a> {
    settings: &'a Settings,
    network: models::network::NetworkSpec,
    device: String,
    /// What computes the training passes.
    backend: Backend,
    threads: i32,
    train_digits: usize,
    test_digits: usize,
    train_sha256: &'a [String; 2],
    test_sha256: &'a [String; 2],
    threeblock: &'a str,
    libtorch: &'a str,
}

/// What a run is resumed with.
#[derive(Deserialize)]
struct Known {
    settings: Settings,
    train_sha256: [String; 2],
    test_sha256: [String; 2],
}

impl Run {
    /// Begins a run in `folder`, or takes up the one that lies there after its last epoch.
    ///
    /// # Errors
    /// When a file is missing, broken, or cannot be written, or the run there was begun with other settings.
    pub fn open(
        folder: PathBuf,
        settings: &Settings,
        device: Device,
        train: &Split,
        test: &Split,
    ) -> anyhow::Result<(Run, State)> {
        let mut golden = test.clone();
        golden.truncate(crate::GOLDEN_DIGITS);
        let mut run = Run {
            folder,
            settings: settings.clone(),
            train_digits: train.digits.len(),
            golden,
            rows: Vec::new(),
        };
        run.clear()?;
        let state = match run.checkpoint(device, train, test)? {
            Some(state) => state,
            None => {
                run.write(
                    SETTINGS,
                    &serde_json::to_vec_pretty(&facts(settings, device, train, test)?)?,
                )?;
                State::new(settings, device)
            }
        };
        run.write(tensorboard::EVENTS, &tensorboard::file(&run.rows))?;
        Ok((run, state))
    }

    /// The state in the folder, with the rows up to it.
    fn checkpoint(&mut self, device: Device, train: &Split, test: &Split) -> anyhow::Result<Option<State>> {
        let (folder, path) = (self.folder.display(), self.folder.join(CHECKPOINT));
        let Some(bytes) = read_if_there(&path)? else {
            // A program that was killed in the first epoch leaves a row at most, and weights that are not its last.
            let epochs = metrics::read(&self.folder)?.len();
            ensure!(
                epochs <= 1 && (self.settings.epochs > 1 || !self.has_weights()),
                "{folder} holds a run without {CHECKPOINT}, from which it would go on: begin another"
            );
            return Ok(None);
        };
        let known = known(&self.folder)?.with_context(|| format!("{folder} has no {SETTINGS}"))?;
        ensure!(
            known.settings.trains_like(&self.settings),
            "{folder} was begun with other settings"
        );
        ensure!(
            known.train_sha256 == train.sha256 && known.test_sha256 == test.sha256,
            "{folder} was begun on other digits than those in {}",
            self.settings.data.display()
        );
        let state = State::from_bytes(&bytes, &self.settings, device)
            .with_context(|| format!("cannot go on from {}", path.display()))?;
        let epochs = state.epoch as usize;
        self.rows = metrics::read(&self.folder)?;
        ensure!(
            self.rows.len() >= epochs,
            "{} has metrics of {} epochs and a checkpoint of epoch {epochs}",
            self.folder.display(),
            self.rows.len(),
        );
        self.rows.truncate(epochs);
        Ok(Some(state))
    }

    /// The run's folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The last epoch that was kept.
    pub fn last(&self) -> Option<&Row> {
        self.rows.last()
    }

    /// Keeps an epoch, and the state after it.
    ///
    /// # Errors
    /// When the files cannot be written.
    pub fn add_epoch(&mut self, epoch: &Epoch, state: &State) -> anyhow::Result<()> {
        let row = Row::new(epoch);
        self.append(tensorboard::EVENTS, &tensorboard::record(&row))?;
        self.rows.push(row);
        self.write("metrics.csv", &metrics::csv(&self.rows)?)?;
        self.write(metrics::JSON_LINES, &metrics::json_lines(&self.rows)?)?;
        match state.reached().to_weights(self.training(epoch)) {
            Ok(weights) => {
                let digits = crate::GOLDEN_DIGITS;
                let golden = crate::golden(state.reached(), weights.sha256(), &self.golden, digits);
                self.write(WEIGHTS, &weights.to_bytes())?;
                self.write(GOLDEN, &golden.to_bytes())?;
            }
            // A diverged network has no weights that anyone could use, and those of an earlier epoch are not its own.
            Err(_) => self.remove(&[WEIGHTS, GOLDEN])?,
        }
        self.write(CHECKPOINT, &state.to_bytes())
    }

    /// Whether the last epoch left weights, which a diverged training does not.
    pub fn has_weights(&self) -> bool {
        self.folder.join(WEIGHTS).exists()
    }

    /// Whether this is the newest run in `runs`, which the exporter takes where it is told of none.
    pub fn is_newest(&self) -> bool {
        let runs = Path::new("runs");
        last_number(runs).is_ok_and(|n| self.folder == runs.join(n.to_string()))
    }

    fn training(&self, epoch: &Epoch) -> Training {
        let settings = &self.settings;
        Training {
            recipe: format!("{:?}", settings.recipe).to_lowercase(),
            optimizer: format!("{:?}", settings.optimizer).to_lowercase(),
            learning_rate: settings.learning_rate,
            batch_size: settings.batch_size as usize,
            epochs: epoch.epoch as usize,
            seed: settings.seed,
            train_digits: self.train_digits,
            holdout: settings.holdout.map_or(0, |n| n as usize),
            test_accuracy: epoch.test.accuracy(),
            test_loss: epoch.test.loss(),
            temperature: settings.temperature,
        }
    }

    fn write(&self, name: &str, bytes: &[u8]) -> anyhow::Result<()> {
        let path = self.folder.join(name);
        artefact::write(&path, bytes).with_context(|| format!("cannot write {}", path.display()))
    }

    /// TensorBoard keeps the file open and follows what is added.
    fn append(&self, name: &str, bytes: &[u8]) -> anyhow::Result<()> {
        let path = self.folder.join(name);
        let file = OpenOptions::new().append(true).open(&path);
        file.and_then(|mut file| file.write_all(bytes))
            .with_context(|| format!("cannot add to {}", path.display()))
    }

    fn remove(&self, names: &[&str]) -> anyhow::Result<()> {
        for name in names {
            match fs::remove_file(self.folder.join(name)) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    return Err(error).with_context(|| format!("cannot remove {name} in {}", self.folder.display()));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Removes what a killed program left half written.
    fn clear(&self) -> anyhow::Result<()> {
        let entries = fs::read_dir(&self.folder).with_context(|| format!("cannot read {}", self.folder.display()))?;
        let names = entries
            .flatten()
            .map(|entry| entry.file_name().to_string_lossy().into_owned());
        let left: Vec<_> = names.filter(|name| name.starts_with(artefact::PREFIX)).collect();
        self.remove(&left.iter().map(String::as_str).collect::<Vec<_>>())
    }
}

fn facts<'a>(settings: &'a Settings, device: Device, train: &'a Split, test: &'a Split) -> anyhow::Result<Facts<'a>> {
    Ok(Facts {
        settings,
        network: settings.network(),
        device: format!("{device:?}").to_lowercase(),
        backend: settings.backend.resolve(device, settings.precision)?,
        threads: tch::get_num_threads(),
        train_digits: train.digits.len(),
        test_digits: test.digits.len(),
        train_sha256: &train.sha256,
        test_sha256: &test.sha256,
        threeblock: env!("CARGO_PKG_VERSION"),
        libtorch: env!("LIBTORCH_VERSION"),
    })
}

/// Makes the next free folder `runs/<n>`.
///
/// # Errors
/// When the folder cannot be made.
pub fn next_folder(runs: &Path) -> anyhow::Result<PathBuf> {
    fs::create_dir_all(runs).with_context(|| format!("cannot make the folder {}", runs.display()))?;
    let mut n = 1 + last_number(runs)?;
    loop {
        let folder = runs.join(n.to_string());
        match fs::create_dir(&folder) {
            Ok(()) => return Ok(folder),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => n += 1,
            Err(error) => return Err(error).with_context(|| format!("cannot make the folder {}", folder.display())),
        }
    }
}

/// The settings that the run in `folder` was begun with; `None` where none was begun.
///
/// # Errors
/// When they cannot be read.
pub fn settings(folder: &Path) -> anyhow::Result<Option<Settings>> {
    Ok(known(folder)?.map(|known| known.settings))
}

fn known(folder: &Path) -> anyhow::Result<Option<Known>> {
    let path = folder.join(SETTINGS);
    let Some(bytes) = read_if_there(&path)? else {
        return Ok(None);
    };
    let known = serde_json::from_slice(&bytes).with_context(|| format!("cannot use {}", path.display()))?;
    Ok(Some(known))
}

/// Epochs behind the run in `folder`; `None` where it has no checkpoint.
///
/// # Errors
/// When the checkpoint cannot be read.
pub fn epochs(folder: &Path) -> anyhow::Result<Option<u32>> {
    let path = folder.join(CHECKPOINT);
    let epoch = |bytes: Vec<u8>| state::epoch(&bytes).with_context(|| format!("cannot use {}", path.display()));
    read_if_there(&path)?.map(epoch).transpose()
}

fn read_if_there(path: &Path) -> anyhow::Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}

/// The highest number of a run in `folder`, 0 where there is none.
fn last_number(folder: &Path) -> anyhow::Result<u32> {
    let entries = fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let number = |entry: fs::DirEntry| entry.file_name().to_str()?.parse().ok();
    Ok(entries.flatten().filter_map(number).max().unwrap_or(0))
}
