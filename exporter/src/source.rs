//! Which weights are exported, and the golden digits that belong to them.

use std::fmt;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use models::golden::Golden;
use models::weights::Weights;
use models::{GOLDEN, RELEASED_WEIGHTS};

/// The folder of the runs where none is named.
const RUNS: &str = "runs";

/// Weights with their golden digits.
pub struct Source {
    pub weights: Weights,
    pub golden: Golden,
    /// Where the weights lie; `None` for the released ones.
    weights_path: Option<PathBuf>,
    /// Where the golden digits lie; `None` for the released ones.
    pub golden_path: Option<PathBuf>,
}

impl Source {
    /// Reads `weights`, or else the newest run in the folder `runs`, or where neither is named the newest in [`RUNS`] or
    /// else what was released, with its golden digits.
    pub fn read(weights: Option<&Path>, runs: Option<&Path>, golden: Option<&Path>) -> anyhow::Result<Source> {
        let weights_path = match (weights, runs) {
            (Some(path), _) => Some(path.to_owned()),
            (None, Some(runs)) => {
                let newest = newest_run(runs)?;
                Some(newest.with_context(|| format!("{} holds no run with weights", runs.display()))?)
            }
            (None, None) => newest_run(Path::new(RUNS))?,
        };
        let beside = weights_path
            .as_ref()
            .map(|path| path.with_file_name("golden.safetensors"));
        let golden_path = golden.map(Path::to_owned).or(beside);
        Ok(Source {
            weights: match &weights_path {
                Some(path) => read_weights(path)?,
                None => Weights::from_bytes(RELEASED_WEIGHTS).context("the released weights are broken")?,
            },
            golden: match &golden_path {
                Some(path) => read_golden(path, weights_path.as_deref())?,
                None => Golden::from_bytes(GOLDEN).context("the released golden digits are broken")?,
            },
            weights_path,
            golden_path,
        })
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.weights_path {
            Some(path) => write!(f, "{}", path.display())?,
            None => write!(f, "the released weights")?,
        }
        let (network, training) = (self.weights.spec, &self.weights.training);
        write!(
            f,
            ": {}, {} residual blocks, {} epochs of {}, {} accuracy {:.2} %",
            format!("{:?}", network.activation).to_lowercase(),
            if network.residual { "with" } else { "without" },
            training.epochs,
            training.optimizer,
            training.tested(),
            training.test_accuracy * 100.0
        )
    }
}

/// The weights of the run with the highest number that has any.
fn newest_run(runs: &Path) -> anyhow::Result<Option<PathBuf>> {
    let entries = match std::fs::read_dir(runs) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        entries => entries.with_context(|| format!("cannot read the folder {}", runs.display()))?,
    };
    let number = |name: &std::ffi::OsStr| name.to_str()?.parse::<u64>().ok();
    let mut folders: Vec<_> = entries
        .flatten()
        .filter_map(|entry| Some((number(&entry.file_name())?, entry.path())))
        .collect();
    folders.sort();
    while let Some((_, folder)) = folders.pop() {
        let weights = folder.join("weights.safetensors");
        if weights.exists() {
            return Ok(Some(weights));
        }
        crate::note(format_args!("{} has no weights and is passed over", folder.display()));
    }
    Ok(None)
}

fn read_weights(path: &Path) -> anyhow::Result<Weights> {
    let read = || -> anyhow::Result<Weights> { Ok(Weights::from_bytes(&std::fs::read(path)?)?) };
    read().with_context(|| format!("cannot read weights from {}", path.display()))
}

fn read_golden(path: &Path, weights: Option<&Path>) -> anyhow::Result<Golden> {
    let bytes = match (std::fs::read(path), weights) {
        (Err(error), Some(weights)) if error.kind() == ErrorKind::NotFound => bail!(
            "the golden digits {} are missing, without which nothing proves the export: make them with \
             `cargo run -p trainer -- golden --weights {}`, or name them with --golden",
            path.display(),
            weights.display()
        ),
        (bytes, _) => bytes.with_context(|| format!("cannot read golden digits from {}", path.display()))?,
    };
    Golden::from_bytes(&bytes).with_context(|| format!("cannot read golden digits from {}", path.display()))
}
