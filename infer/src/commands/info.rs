//! `infer info`: what a model file says of itself.

use std::process::ExitCode;

use anyhow::Context;
use models::artefact::sha256;
use models::onnx::{Contract, InputKind, Model};

use super::{ModelArgs, percent, print};

/// Print what a model file says of itself
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    model: ModelArgs,
}

pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let bytes = args.model.read()?;
    let model = Model::from_bytes(&bytes).with_context(|| args.model.name())?;
    let mut lines = file_lines(&args.model.name(), &bytes, &model);
    match &model.contract {
        Some(contract) => lines.extend(contract_lines(contract)),
        None => lines.push(("contract", "none: not exported by threeblock".to_owned())),
    }
    let line = |(name, value): &Line| format!("{name:13} {value}\n");
    print(lines.iter().map(line).collect::<String>())?;
    Ok(ExitCode::SUCCESS)
}

type Line = (&'static str, String);

fn file_lines(name: &str, bytes: &[u8], model: &Model) -> Vec<Line> {
    let proto = &model.proto;
    let batch = model.batch.map_or("batch".to_owned(), |batch| batch.to_string());
    let input = match model.input {
        InputKind::Float32 => format!("float32 [{batch}, 1, 28, 28]"),
        InputKind::Uint8 => format!("uint8 [{batch}, 28, 28]"),
    };
    let opset = model.opset().map_or("none".to_owned(), |version| version.to_string());
    let operators = model.operators().into_iter();
    let operators: Vec<_> = operators.map(|(name, count)| format!("{count} {name}")).collect();
    let outputs: Vec<_> = model.graph().output.iter().map(|output| output.name.as_str()).collect();
    vec![
        ("file", format!("{name}, {} bytes", bytes.len())),
        ("sha-256", sha256(bytes)),
        (
            "producer",
            format!("{} {}", proto.producer_name, proto.producer_version),
        ),
        ("opset", format!("{opset}, IR {}", proto.ir_version)),
        ("input", format!("{} {input}", model.input_name)),
        (
            "outputs",
            format!("{}; logits [{batch}, 10] in {}", outputs.join(", "), model.logits_name),
        ),
        ("operators", operators.join(", ")),
        ("parameters", model.parameters().to_string()),
    ]
}

fn contract_lines(contract: &Contract) -> Vec<Line> {
    let digits = &contract.preprocessing;
    let training = &contract.training;
    let preprocessing = format!(
        "{}, ink {} of {} pixels, centre of mass at {}, {}",
        digits.polarity, digits.ink_box, digits.side, digits.center_of_mass, digits.layout
    );
    let network = contract.network.to_string();
    let trained = format!(
        "{} epochs on {} digits, {} at {}, batches of {}, seed {}",
        training.epochs,
        training.train_digits,
        training.optimizer,
        training.learning_rate,
        training.batch_size,
        training.seed
    );
    let reached = format!(
        "{} on the {} digits, loss {:.4} at temperature 1",
        percent(training.test_accuracy),
        training.tested(),
        training.test_loss
    );
    vec![
        ("contract", format!("version {}", contract.version)),
        ("digits", preprocessing),
        ("normalised", format!("(byte / 255 - {}) / {}", digits.mean, digits.std)),
        ("labels", contract.labels.join(" ")),
        ("network", network),
        ("training", trained),
        ("accuracy", reached),
        ("temperature", training.temperature.to_string()),
        ("weights", format!("sha-256 {}", contract.weights_sha256)),
    ]
}
