//! The command `exporter`: weights in, an ONNX file out that every engine found here has proven equal to libtorch.

mod args;
mod notes;
mod source;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use exporter::graph::{Options, export};
use exporter::int8::gate;
use exporter::quantize::calibrate;
use exporter::triton;
use exporter::verify::verify;
use models::artefact;
use models::mnist::{Part, Split};
use models::onnx::Model;

use args::{Args, check_place};
use notes::note;
use source::Source;

/// Training digits that int8 is calibrated on.
const CALIBRATION_DIGITS: usize = 500;

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
    checks.iter().for_each(|check| notes::check(check, graph));
    notes::report(&model, &onnx).context("the file is written, but stdout fails")?;
    notes::next(&model, source.golden_path.as_deref(), args.int8);
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
    notes::int8(&report);
    Ok(onnx)
}
