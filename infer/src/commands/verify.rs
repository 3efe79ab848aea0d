//! `infer verify`: every engine against libtorch's logits, on this machine and without libtorch.

use std::fmt::{self, Display, Formatter};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, bail};
use infer::engine::{self, EngineKind};
use infer::verify::{BATCHES, verify};
use models::GOLDEN;
use models::golden::{Comparison, Golden, TOLERANCE};
use models::onnx::Model;

use super::{ModelArgs, ThreadArgs, print, read_file};

/// Prove on this machine that every engine computes what libtorch computed
///
/// A model in int8 has other logits than libtorch's floats: of it is asked that it reads the same digits.
#[derive(clap::Args)]
pub struct Args {
    /// Digits with libtorch's logits [default: those of the released model, built in]
    #[arg(long, value_name = "FILE")]
    golden: Option<PathBuf>,
    /// Only this engine, which then must be there [default: all that are found]
    #[arg(long, value_enum)]
    engine: Option<EngineKind>,
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    threads: ThreadArgs,
}

/// What must be libtorch's.
#[derive(Clone, Copy)]
enum Wanted {
    Logits,
    Digits,
}

/// Largest golden file that is read.
const MAX_GOLDEN_BYTES: u64 = 256 << 20;

pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let golden = golden(args)?;
    let onnx = args.model.read()?;
    let model = Model::from_bytes(&onnx).with_context(|| args.model.name())?;
    check_weights(&golden, &model)?;
    let wanted = Wanted::of(&model);
    print(format!(
        "{} golden digits in batches of {BATCHES:?}, threads {}, {wanted}\n",
        golden.digits.len(),
        args.threads.get()
    ))?;
    let (mut compared, mut failed) = (0, false);
    for &kind in args.engine.as_ref().map_or(EngineKind::ALL, std::slice::from_ref) {
        let result = engine::open(kind, &onnx, args.threads.get())
            .and_then(|mut engine| verify(&mut *engine, model.input, &golden));
        let (verdict, detail) = match result {
            Ok(comparison) if wanted.is_met(comparison) => (wanted.verdict(), comparison.to_string()),
            Ok(comparison) => ("DIFFERS", comparison.to_string()),
            Err(error) if error.is_missing() => ("missing", error.to_string()),
            Err(error) => ("FAILS", error.to_string()),
        };
        let met = verdict == wanted.verdict();
        compared += usize::from(met);
        failed |= !met && (verdict != "missing" || args.engine.is_some());
        print(format!("{kind:6} {verdict:8} {detail}\n"))?;
    }
    Ok(match compared > 0 && !failed {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

impl Wanted {
    fn of(model: &Model) -> Wanted {
        match model.operators().contains_key("QuantizeLinear") {
            true => Wanted::Digits,
            false => Wanted::Logits,
        }
    }

    fn is_met(self, comparison: Comparison) -> bool {
        match self {
            Wanted::Logits => comparison.is_equal(),
            Wanted::Digits => comparison.argmax_differs == 0,
        }
    }

    fn verdict(self) -> &'static str {
        match self {
            Wanted::Logits => "equal",
            Wanted::Digits => "alike",
        }
    }
}

impl Display for Wanted {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Wanted::Logits => write!(f, "tolerance {TOLERANCE:e}"),
            Wanted::Digits => write!(f, "int8: the same digits are wanted"),
        }
    }
}

fn golden(args: &Args) -> anyhow::Result<Golden> {
    match &args.golden {
        Some(path) => {
            let bytes = read_file(path, MAX_GOLDEN_BYTES)?;
            Golden::from_bytes(&bytes).with_context(|| path.display().to_string())
        }
        None => Golden::from_bytes(GOLDEN).context("the built-in golden digits"),
    }
}

/// The logits must be those of the model's weights.
fn check_weights(golden: &Golden, model: &Model) -> anyhow::Result<()> {
    match &model.contract {
        Some(contract) if contract.weights_sha256 != golden.weights_sha256 => bail!(
            "the model and the golden digits belong to different weights, {} and {}: name both with --model and --golden",
            contract.weights_sha256,
            golden.weights_sha256
        ),
        _ => Ok(()),
    }
}
