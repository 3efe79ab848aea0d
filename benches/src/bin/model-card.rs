//! `model-card`: measures the released model on MNIST's test digits and writes what it finds into models/README.md, with
//! the tables of docs/training.md that tell of it, and the score into README.md.
//!
//! usage: cargo run -p benches --bin model-card
#![forbid(unsafe_code)]

use anyhow::Context;
use benches::engines::{self, Entry, Precision};
use benches::{table, workspace};
use infer::engine::EngineKind;
use models::mnist::{Part, Split};
use models::onnx::{Contract, Model};
use models::score::{Score, wilson};
use models::{CLASSES, RELEASED_ONNX, RELEASED_WEIGHTS, artefact};

/// Tables of docs/training.md, by their markers there, and those in the card.
const COPIES: [(&str, &str); 2] = [("best-seeds", "seeds"), ("stress", "stress")];

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
    let training = workspace("docs/training.md");
    let headline = headline(&score, &table::section(&training, "best-seeds")?)?;
    table::insert(&card, "facts", &facts(&model, contract))?;
    table::insert(&card, "score", &headline)?;
    table::insert(&card, "accuracy", &accuracy(&score, contract.training.temperature))?;
    table::insert(&card, "confusion", &confusion(&score))?;
    for (there, here) in COPIES {
        table::insert(&card, here, &table::section(&training, there)?)?;
    }
    eprintln!("wrote {}", card.display());
    table::insert(&workspace("README.md"), "score", &headline)
}

/// The model's score, and those of its recipe over the seeds of a table that `trainer seeds` made.
fn headline(score: &Score, seeds: &str) -> anyhow::Result<String> {
    let (low, high) = score.interval();
    let rows: Vec<Vec<&str>> = seeds
        .lines()
        .map(|line| line.split('|').map(str::trim).collect())
        .collect();
    let head = rows.first();
    let column = head.and_then(|head| head.iter().position(|&cell| cell == "accuracy"));
    let column = column.context("the table of the seeds has no accuracy")?;
    let accuracy = |name: &str| {
        let row = rows.iter().find(|row| row.get(1) == Some(&name));
        row.and_then(|row| row.get(column))
            .with_context(|| format!("the table of the seeds has no row {name}"))
    };
    let is_seed = |row: &&Vec<&str>| row.get(1).is_some_and(|name| name.parse::<u64>().is_ok());
    Ok(format!(
        "{} of {} digits read right: accuracy {:.4}, 95 % interval {low:.4} to {high:.4}. Networks of {} seeds by the same recipe, \
         of which it is one: {} ± {} (mean, standard deviation).\n",
        score.hits(),
        score.n(),
        score.accuracy(),
        rows.iter().filter(is_seed).count(),
        accuracy("mean")?,
        accuracy("deviation")?
    ))
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
    row("recipe", training.recipe.clone());
    row(
        "optimizer",
        format!("{}, learning rate {}", training.optimizer, training.learning_rate),
    );
    row(
        "batch, epochs, seed",
        format!("{}, {}, {}", training.batch_size, training.epochs, training.seed),
    );
    row("temperature", training.temperature.to_string());
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

fn accuracy(score: &Score, temperature: f64) -> String {
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
    let loss = score.loss();
    table + &format!("\nMean cross entropy of the probabilities at the temperature {temperature}: {loss:.4} nats.\n")
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_headline_has_the_spread_of_the_seeds() {
        let mut score = Score::default();
        (0..4).for_each(|label| score.add(label, label.min(2), 0.1));
        let seeds = "| seed | wrong | accuracy |\n|---|---:|---:|\n| 0 | 1 | 0.7 |\n| 1 | 2 | 0.5 |\n| mean | 1.5 | 0.6 |\n\
            | deviation | 0.7 | 0.1 |";
        let headline = headline(&score, seeds).unwrap();
        assert!(
            headline.starts_with("3 of 4 digits read right: accuracy 0.7500"),
            "{headline}"
        );
        assert!(
            headline.contains("of 2 seeds") && headline.contains(": 0.6 ± 0.1 ("),
            "{headline}"
        );
        assert!(super::headline(&score, "| seed | accuracy |").is_err());
    }

    #[test]
    fn the_card_has_the_tables_of_the_training() {
        let section = |document: &str, name| table::section(&workspace(document), name).unwrap();
        for (there, here) in COPIES {
            assert!(
                section("docs/training.md", there) == section("models/README.md", here),
                "{here}: run `make model-card`"
            );
        }
    }
}
