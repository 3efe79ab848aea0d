//! The command line of the exporter.

use std::path::{Path, PathBuf};

use anyhow::bail;
use clap::{Parser, ValueEnum};
use exporter::graph::Options;
use exporter::int8::MAX_LOSS;
use models::onnx::{InputKind, MAX_BATCH};

/// Writes trained weights as an ONNX file, once every engine found here has proven it equal to libtorch.
///
/// Exports the newest run; without a run, and without --runs, the released weights.
#[derive(Parser)]
#[command(version, after_help = "Exit codes: 0 written, 1 failed, 2 wrong usage.")]
pub struct Args {
    /// The ONNX file to write
    #[arg(value_name = "MODEL.onnx", value_parser = model_path, required_unless_present = "triton")]
    pub model: Option<PathBuf>,
    /// Write a model repository for Triton into this folder instead
    #[arg(long, value_name = "DIR", conflicts_with = "model")]
    pub triton: Option<PathBuf>,
    /// Export these weights instead of the newest run's
    #[arg(long, value_name = "FILE", conflicts_with = "runs")]
    pub weights: Option<PathBuf>,
    /// Folder of the runs [default: runs]
    #[arg(long, value_name = "DIR")]
    pub runs: Option<PathBuf>,
    /// Digits with libtorch's logits for the weights [default: golden.safetensors beside the weights]
    #[arg(long, value_name = "FILE")]
    pub golden: Option<PathBuf>,
    /// Keep batch norms as nodes instead of folding them into the convolutions
    #[arg(long)]
    no_fold: bool,
    /// Fix the batch [default: any]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=MAX_BATCH as i64))]
    batch: Option<u16>,
    /// What the graph takes
    #[arg(long, value_enum, default_value_t = Input::F32)]
    input: Input,
    /// Add a second output `probabilities`
    #[arg(long)]
    softmax: bool,
    #[arg(long, conflicts_with = "no_fold", help = format!(
        "Quantise to int8, if that is faster and costs at most {MAX_LOSS} points of accuracy: needs MNIST in --data"
    ))]
    pub int8: bool,
    /// Folder of MNIST's IDX files, plain or as .gz, for --int8
    #[arg(long, value_name = "DIR", default_value = "data")]
    pub data: PathBuf,
}

#[derive(Clone, Copy, ValueEnum)]
pub enum Input {
    /// Normalised floats [batch, 1, 28, 28]
    F32,
    /// Raw bytes [batch, 28, 28], which the graph normalises
    U8,
}

impl Args {
    /// How the graph is to be written.
    pub fn options(&self) -> Options {
        Options {
            fold_norms: !self.no_fold,
            batch: self.batch.map(usize::from),
            input: match self.input {
                Input::F32 => InputKind::Float32,
                Input::U8 => InputKind::Uint8,
            },
            softmax: self.softmax,
            ranges: Vec::new(),
        }
    }
}

/// Keeps a likely slip from overwriting weights, and `-` from becoming a file.
fn model_path(text: &str) -> Result<PathBuf, String> {
    if text == "-" {
        return Err("the model is written whole, or not at all, and not to stdout: name a file".into());
    }
    let path = PathBuf::from(text);
    if path.extension().is_some_and(|extension| extension == "safetensors") {
        return Err("this is the file to write; --weights names the weights".into());
    }
    Ok(path)
}

/// Whether the file can be written there, before the work is done for it.
pub fn check_place(model: &Path) -> anyhow::Result<()> {
    if model.is_dir() {
        bail!(
            "{} is a folder: name the file to write, such as {}",
            model.display(),
            model.join("model.onnx").display()
        );
    }
    match model.parent() {
        Some(folder) if !folder.as_os_str().is_empty() && !folder.is_dir() => {
            bail!("the folder {} does not exist: make it first", folder.display())
        }
        _ => Ok(()),
    }
}
