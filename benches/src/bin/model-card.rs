//! `model-card`: measures the released model on MNIST's test digits and writes what it finds into models/README.md.
//!
//! usage: cargo run -p benches --bin model-card
#![forbid(unsafe_code)]

use benches::engines::{self, Entry, Precision};
use benches::{table, workspace};
use infer::engine::EngineKind;
use models::mnist::{Part, Split};
use models::onnx::{Contract, Model};
use models::score::{Score, wilson};
use models::{CLASSES, RELEASED_ONNX, RELEASED_WEIGHTS, artefact};

fn main() -> anyhow::Result<()> {
    let model = Model::from_bytes(RELEASED_ONNX)?;
    let contract = model
        .contract
        .as_ref()
        .ok_or_else(|| anyhow::anyhow!("the released model has no contract"))?;
    let test = Split::read(&workspace("data"), Part::Test)?;
    let score = engines::score(
        Entry {
            kind: EngineKind::default(),
            precision: Precision::F32,
        },
        &test,
    )?;
    let card = workspace("models/README.md");
    table::insert(&card, "facts", &facts(&model, contract))?;
    table::insert(&card, "accuracy", &accuracy(&score))?;
    table::insert(&card, "confusion", &confusion(&score))?;
    eprintln!("wrote {}", card.display());
    Ok(())
}

fn facts(model: &Model, contract: &Contract) -> String {
    let training = &contract.training;
    let mut table = String::from("| | |\n|---|---|\n");
    let mut row = |name: &str, value: String| table += &format!("| {name} | {value} |\n");
    row(
        "network",
        format!(
            "{:?}, residual {}",
            contract.network.activation, contract.network.residual
        ),
    );
    row("numbers in the ONNX file", model.parameters().to_string());
    row("training digits", training.train_digits.to_string());
    row(
        "optimizer",
        format!("{}, learning rate {}", training.optimizer, training.learning_rate),
    );
    row(
        "batch, epochs, seed",
        format!("{}, {}, {}", training.batch_size, training.epochs, training.seed),
    );
    row(
        "digits.safetensors",
        format!(
            "{} bytes, SHA-256 `{}`",
            RELEASED_WEIGHTS.len(),
            contract.weights_sha256
        ),
    );
    row(
        "digits.onnx",
        format!(
            "{} bytes, SHA-256 `{}`",
            RELEASED_ONNX.len(),
            artefact::sha256(RELEASED_ONNX)
        ),
    );
    table
}

fn accuracy(score: &Score) -> String {
    let mut table = String::from("| digit | n | read right | accuracy | 95 % interval |\n|---|---:|---:|---:|---|\n");
    let mut row = |name: &str, hits: u32, n: u32| {
        let (low, high) = wilson(hits, n);
        let accuracy = f64::from(hits) / f64::from(n);
        table += &format!("| {name} | {n} | {hits} | {accuracy:.4} | {low:.4} to {high:.4} |\n");
    };
    for (digit, counts) in score.confusion.iter().enumerate() {
        row(&digit.to_string(), counts[digit], counts.iter().sum());
    }
    row("all", score.hits(), score.n());
    table + &format!("\nMean cross entropy: {:.4} nats.\n", score.loss())
}

fn confusion(score: &Score) -> String {
    let answers: Vec<_> = (0..CLASSES).map(|digit| digit.to_string()).collect();
    let mut table = format!(
        "| digit \\ read as | {} |\n|---|{}\n",
        answers.join(" | "),
        "---:|".repeat(CLASSES)
    );
    for (digit, counts) in score.confusion.iter().enumerate() {
        let counts: Vec<_> = counts.iter().map(u32::to_string).collect();
        table += &format!("| {digit} | {} |\n", counts.join(" | "));
    }
    table
}
