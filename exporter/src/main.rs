//! The command `exporter`: weights in, an ONNX file out that every engine found here has proven equal to libtorch.

mod source;

use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::{Parser, ValueEnum};
use exporter::graph::{Options, export};
use exporter::int8::{MAX_LOSS, Report, gate};
use exporter::quantize::calibrate;
use exporter::triton;
use exporter::verify::{Check, verify};
use infer::verify::BATCHES;
use models::mnist::{Part, Split};
use models::onnx::{InputKind, MAX_BATCH, Model};
use models::{artefact, golden};
use source::Source;

/// Training digits that int8 is calibrated on.
const CALIBRATION_DIGITS: usize = 500;

/// Writes trained weights as an ONNX file, once every engine found here has proven it equal to libtorch.
///
/// Exports the newest run; without a run, and without --runs, the released weights.
#[derive(Parser)]
#[command(version, after_help = "Exit codes: 0 written, 1 failed, 2 wrong usage.")]
struct Args {
    /// The ONNX file to write
    #[arg(value_name = "MODEL.onnx", value_parser = model_path, required_unless_present = "triton")]
    model: Option<PathBuf>,
    /// Write a model repository for Triton into this folder instead
    #[arg(long, value_name = "DIR", conflicts_with = "model")]
    triton: Option<PathBuf>,
    /// Export these weights instead of the newest run's
    #[arg(long, value_name = "FILE", conflicts_with = "runs")]
    weights: Option<PathBuf>,
    /// Folder of the runs [default: runs]
    #[arg(long, value_name = "DIR")]
    runs: Option<PathBuf>,
    /// Digits with libtorch's logits for the weights [default: golden.safetensors beside the weights]
    #[arg(long, value_name = "FILE")]
    golden: Option<PathBuf>,
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
    int8: bool,
    /// Folder of MNIST's IDX files, plain or as .gz, for --int8
    #[arg(long, value_name = "DIR", default_value = "data")]
    data: PathBuf,
}

#[derive(Clone, Copy, ValueEnum)]
enum Input {
    /// Normalised floats [batch, 1, 28, 28]
    F32,
    /// Raw bytes [batch, 28, 28], which the graph normalises
    U8,
}

fn main() -> ExitCode {
    let args = Args::parse();
    match run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            note(format_args!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> anyhow::Result<()> {
    if let Some(model) = &args.model {
        check_place(model)?;
    }
    // Before any thread runs; without effect, ONNX Runtime is reported as missing.
    let _ = infer::engine::disable_telemetry();
    let source = Source::read(args.weights.as_deref(), args.runs.as_deref(), args.golden.as_deref())?;
    note(format_args!("exporting {source}"));
    let onnx = export(&source.weights, &args.options()).to_bytes();
    let checks = verify(&onnx, &source.golden).context("the export is refused and nothing is written")?;
    let onnx = if args.int8 { int8(args, &source, &onnx)? } else { onnx };
    let model = write(args, &onnx)?;
    let graph = if args.int8 { " in f32" } else { "" };
    checks.iter().for_each(|check| note_check(check, graph));
    report(&model, &onnx).context("the file is written, but stdout fails")?;
    note_next(&model, source.golden_path.as_deref(), args.int8);
    Ok(())
}

/// Writes the file, alone or in a repository for Triton, and tells where it is.
fn write(args: &Args, onnx: &[u8]) -> anyhow::Result<PathBuf> {
    let context = |path: &Path| format!("cannot write {}", path.display());
    match (&args.model, &args.triton) {
        (_, Some(folder)) => {
            let model = Model::from_bytes(onnx)?;
            triton::write(folder, &model, onnx).with_context(|| context(folder))
        }
        (Some(model), None) => {
            artefact::write(model, onnx).with_context(|| context(model))?;
            Ok(model.clone())
        }
        (None, None) => unreachable!("clap asks for one of both"),
    }
}

/// The graph in int8, calibrated on the first training digits and held against the f32 one on all test digits.
fn int8(args: &Args, source: &Source, f32_onnx: &[u8]) -> anyhow::Result<Vec<u8>> {
    let train = Split::read(&args.data, Part::Train)?;
    let test = Split::read(&args.data, Part::Test)?;
    let ranges = calibrate(
        &source.weights,
        &train.digits[..CALIBRATION_DIGITS.min(train.digits.len())],
    );
    let options = Options {
        ranges,
        ..args.options()
    };
    let onnx = export(&source.weights, &options).to_bytes();
    let report = gate(f32_onnx, &onnx, &test).context("nothing is written")?;
    note_int8(&report);
    Ok(onnx)
}

fn note_int8(report: &Report) {
    let (loss, ratio) = (report.loss(), report.time_ratio);
    note(format_args!(
        "int8: {loss:+.2} points of accuracy lost on {} digits ({} lost, {} won, McNemar p {:.2}); {ratio:.2} of f32's time",
        report.digits, report.lost, report.won, report.p
    ));
    for (engine, share) in &report.agreement {
        match share {
            Ok(share) => note(format_args!(
                "{engine}: reads {:.2} % of the digits alike",
                100.0 * share
            )),
            Err(missing) => note(format_args!("{engine}: not checked. {missing}")),
        }
    }
}

impl Args {
    fn options(&self) -> Options {
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

fn check_place(model: &Path) -> anyhow::Result<()> {
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

/// `graph` says which was checked, where it is not the one that was written.
fn note_check(check: &Check, graph: &str) {
    let engine = check.engine;
    match &check.outcome {
        Ok(comparison) => note(format_args!(
            "{engine}{graph}: {comparison}, at batch {BATCHES:?}; allowed {:.0e}",
            golden::TOLERANCE
        )),
        Err(missing) => note(format_args!("{engine}{graph}: not checked. {missing}")),
    }
}

/// The result on stdout, where a closed pipe is no failure.
fn report(model: &Path, onnx: &[u8]) -> std::io::Result<()> {
    let sum = artefact::sha256(onnx);
    match writeln!(
        std::io::stdout(),
        "{}: {} bytes, SHA-256 {sum}",
        model.display(),
        onnx.len()
    ) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

/// `verify` compares with libtorch's logits, which int8 does not reach.
fn note_next(model: &Path, golden: Option<&Path>, int8: bool) {
    let model = model.display();
    note(format_args!(
        "next: cargo run -p infer -- classify --model {model} FILE..."
    ));
    if !int8 {
        let golden = golden.map_or(String::new(), |path| format!(" --golden {}", path.display()));
        note(format_args!(
            "      cargo run -p infer -- verify --model {model}{golden}"
        ));
    }
}

/// A line on stderr; where stderr is closed, nobody listens.
fn note(line: std::fmt::Arguments) {
    let _ = writeln!(std::io::stderr(), "{line}");
}
