//! `infer doctor`: what there is on this machine, and what to do about what is missing.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, bail, ensure};
use infer::Classifier;
use infer::engine::EngineKind;
use models::golden::Golden;
use models::mnist::{Part, Split};
use models::onnx::Model;
use models::{GOLDEN, RELEASED_ONNX};

use super::{percent, print};

/// Say what is found on this machine, and what to do about what is missing
#[derive(clap::Args)]
pub struct Args {
    /// Folder of MNIST's IDX files, plain or as .gz
    #[arg(long, value_name = "DIR", default_value = "data")]
    data: PathBuf,
}

pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let line = |name: &str, found: anyhow::Result<String>| match found {
        Ok(text) => print(format!("{name:6} ok       {text}\n")),
        Err(error) => print(format!("{name:6} missing  {error:#}\n")),
    };
    line("infer", Ok(build()))?;
    line("cpu", Ok(cpu()))?;
    let mut working = 0;
    for &kind in EngineKind::ALL {
        let found = engine(kind);
        working += usize::from(found.is_ok());
        line(kind.name(), found)?;
    }
    line("model", model())?;
    let data = Split::read(&args.data, Part::Test);
    let data = data.map(|split| format!("{} test digits in {}", split.digits.len(), args.data.display()));
    line("data", data.map_err(Into::into))?;
    Ok(if working > 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn build() -> String {
    let (version, arch, os) = (env!("CARGO_PKG_VERSION"), std::env::consts::ARCH, std::env::consts::OS);
    format!("{version} for {arch} {os}")
}

/// Cores, and those of the vector instructions that matter here which the processor has.
fn cpu() -> String {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    #[cfg(target_arch = "x86_64")]
    let features = [
        ("avx2", is_x86_feature_detected!("avx2")),
        ("fma", is_x86_feature_detected!("fma")),
        ("avxvnni", is_x86_feature_detected!("avxvnni")),
        ("avx512f", is_x86_feature_detected!("avx512f")),
        ("avx512vnni", is_x86_feature_detected!("avx512vnni")),
        ("avx512bf16", is_x86_feature_detected!("avx512bf16")),
    ];
    #[cfg(target_arch = "aarch64")]
    let features = [
        ("neon", std::arch::is_aarch64_feature_detected!("neon")),
        ("dotprod", std::arch::is_aarch64_feature_detected!("dotprod")),
        ("i8mm", std::arch::is_aarch64_feature_detected!("i8mm")),
    ];
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    let features: [(&str, bool); 0] = [];
    let names = features.into_iter().filter(|(_, has)| *has).map(|(name, _)| name);
    format!("{cores} cores; {}", names.collect::<Vec<_>>().join(" "))
}

/// What the released model is.
fn model() -> anyhow::Result<String> {
    let model = Model::from_bytes(RELEASED_ONNX)?;
    let contract = model.contract.context("the released model has no contract")?;
    let accuracy = percent(contract.training.test_accuracy);
    Ok(format!(
        "built in, {accuracy} on MNIST's test digits, weights {:.12}",
        contract.weights_sha256
    ))
}

/// Version of an engine that reads the first golden digit right with the released model.
fn engine(kind: EngineKind) -> anyhow::Result<String> {
    let version = kind.version()?;
    let golden = Golden::from_bytes(GOLDEN)?;
    let mut classifier = Classifier::open(kind, RELEASED_ONNX, 1)?;
    let (Some(digit), Some(&label)) = (golden.digits.first(), golden.labels.first()) else {
        bail!("the built-in golden file is empty");
    };
    ensure!(
        classifier.classify(digit)?.digit == label,
        "the released model misreads a {label}"
    );
    Ok(version)
}
