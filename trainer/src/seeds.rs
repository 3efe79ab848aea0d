//! Networks of several seeds on the test digits: each alone, their mean and spread, and what all together would read.

use std::collections::BTreeMap;
use std::fmt::Write;

use anyhow::ensure;
use models::CLASSES;
use models::score::Score;
use models::weights::{Training, Weights};
use tch::{Kind, Tensor};

use crate::data::Dataset;
use crate::net::{self, Net};
use crate::settings::Settings;
use crate::study::plan::{PLACE, fields};
use crate::train::{EVAL_BATCH, score};

/// Pixels down and right by which the digits are moved, one after the other, for the row of shifted digits.
const SHIFTS: [[i64; 2]; 5] = [[0, 0], [0, 1], [1, 0], [0, -1], [-1, 0]];

/// A network of which is known how it was trained.
pub struct Seed {
    /// Path of its weights.
    pub name: String,
    /// Its weights.
    pub weights: Weights,
    /// The settings of the run, where they lie beside the weights.
    pub settings: Option<Settings>,
}

/// Whether networks are of one training but for its seed, as far as the files tell.
///
/// # Errors
/// When other settings differ, or a seed is there twice.
pub fn check(seeds: &[Seed]) -> anyhow::Result<()> {
    for (index, one) in seeds.iter().enumerate() {
        for before in &seeds[..index] {
            let (known, expected) = (known(one), known(before));
            for (setting, found) in &known {
                if let Some(expected) = expected.get(setting) {
                    ensure!(
                        found == expected,
                        "{} has {setting} {found} and {} {expected}: only the seed may differ",
                        one.name,
                        before.name
                    );
                }
            }
            let seed = one.weights.training.seed;
            ensure!(
                seed != before.weights.training.seed,
                "{} and {} both have seed {seed}",
                one.name,
                before.name
            );
        }
    }
    Ok(())
}

/// What decides a training beside the seed. The temperature is of no matter for the logits, and a resumed run may have
/// moved to another place.
fn known(seed: &Seed) -> BTreeMap<String, String> {
    let mut known = BTreeMap::new();
    for (key, value) in seed.settings.iter().flat_map(fields) {
        if !PLACE.contains(&key.as_str()) && !["seed", "temperature"].contains(&key.as_str()) {
            known.insert(key.replace('_', " "), value.to_string().replace('"', ""));
        }
    }
    known.extend(settings(&seed.weights).map(|(key, value)| (key.to_owned(), value)));
    known
}

/// What stands in the weights.
fn settings(weights: &Weights) -> [(&'static str, String); 8] {
    let Training {
        recipe,
        optimizer,
        learning_rate,
        batch_size,
        epochs,
        train_digits,
        holdout,
        ..
    } = &weights.training;
    [
        ("network", weights.spec.to_string()),
        ("recipe", recipe.clone()),
        ("optimizer", optimizer.clone()),
        ("learning rate", learning_rate.to_string()),
        ("batch size", batch_size.to_string()),
        ("epochs", epochs.to_string()),
        ("training digits", train_digits.to_string()),
        ("held-out digits", holdout.to_string()),
    ]
}

/// A table in Markdown for networks and the seeds they were trained with; losses are of the logits as they are. Two
/// more rows are no single network: the mean over the seeds where each network reads a digit at five places and the
/// probabilities are averaged, and one answer of all networks by their averaged probabilities.
pub fn table(nets: &[(u64, Net)], test: &Dataset) -> String {
    let _no_grad = tch::no_grad_guard();
    let logits: Vec<Tensor> = nets
        .iter()
        .map(|(_, net)| net::logits(net, &test.digits, EVAL_BATCH))
        .collect();
    let scores: Vec<Score> = logits.iter().map(|logits| score(logits, &test.labels)).collect();
    let mut text = String::from("| seed | wrong | loss | accuracy | 95 % interval |");
    (0..CLASSES).for_each(|digit| text += &format!(" {digit} |"));
    text += &format!("\n|---|{}\n", "---:|".repeat(4 + CLASSES));
    for ((seed, _), score) in nets.iter().zip(&scores) {
        row(&mut text, &seed.to_string(), score);
    }
    statistics(&mut text, "mean", &scores, mean);
    if scores.len() > 1 {
        statistics(&mut text, "deviation", &scores, deviation);
    }
    let shifted: Vec<Score> = nets
        .iter()
        .map(|(_, net)| score(&shifted(net, test), &test.labels))
        .collect();
    statistics(&mut text, "mean, five places", &shifted, mean);
    row(&mut text, "all together", &score(&average(&logits), &test.labels));
    text
}

/// Log probabilities of the mean of the probabilities that some logits `[n, 10]` stand for.
fn average(logits: &[Tensor]) -> Tensor {
    let probabilities: Vec<Tensor> = logits.iter().map(|logits| logits.softmax(1, Kind::Double)).collect();
    Tensor::stack(&probabilities, 0)
        .mean_dim([0i64].as_slice(), false, Kind::Double)
        .log()
}

/// As [`average`], of one network at [`SHIFTS`]. What leaves the picture on one side comes in on the other; at the edges
/// there is nothing but ground.
fn shifted(net: &Net, test: &Dataset) -> Tensor {
    let places = SHIFTS.map(|shift| net::logits(net, &test.digits.roll(shift, [2, 3]), EVAL_BATCH));
    average(&places)
}

fn row(text: &mut String, name: &str, score: &Score) {
    let (low, high) = score.interval();
    let wrong = score.n() - score.hits();
    write!(
        text,
        "| {name} | {wrong} | {:.4} | {:.4} | {low:.4} to {high:.4} |",
        score.loss(),
        score.accuracy()
    )
    .expect("a String takes all");
    score
        .per_digit()
        .iter()
        .for_each(|accuracy| *text += &format!(" {accuracy:.4} |"));
    text.push('\n');
}

/// A row of one statistic over the networks.
fn statistics(text: &mut String, name: &str, scores: &[Score], statistic: fn(&[f64]) -> f64) {
    let over = |number: &dyn Fn(&Score) -> f64| statistic(&scores.iter().map(number).collect::<Vec<_>>());
    let wrong = over(&|score| f64::from(score.n() - score.hits()));
    let (loss, accuracy) = (over(&Score::loss), over(&Score::accuracy));
    write!(text, "| {name} | {wrong:.1} | {loss:.4} | {accuracy:.5} | |").expect("a String takes all");
    for digit in 0..CLASSES {
        *text += &format!(" {:.4} |", over(&|score| score.per_digit()[digit]));
    }
    text.push('\n');
}

fn mean(numbers: &[f64]) -> f64 {
    numbers.iter().sum::<f64>() / numbers.len() as f64
}

/// Of a sample; NaN for one number.
fn deviation(numbers: &[f64]) -> f64 {
    let mean = mean(numbers);
    let squares: f64 = numbers.iter().map(|number| (number - mean).powi(2)).sum();
    (squares / (numbers.len() as f64 - 1.0)).sqrt()
}

#[cfg(test)]
mod tests {
    use models::network::NetworkSpec;
    use tch::Device;

    use super::*;
    use crate::study::Plan;

    #[test]
    fn only_the_seed_may_differ() {
        #[track_caller]
        fn check(other: Training, settings: [Option<&Settings>; 2], message: Option<&str>) {
            let weights = |training| {
                let net = Net::new(NetworkSpec::default(), 0, Device::Cpu);
                net.to_weights(training).unwrap()
            };
            let seed = |name: &str, training, settings: Option<&Settings>| Seed {
                name: name.to_owned(),
                weights: weights(training),
                settings: settings.cloned(),
            };
            let [a, b] = settings;
            let seeds = [seed("a", training(), a), seed("b", other, b)];
            let found = super::check(&seeds).err().map(|error| error.to_string());
            assert_eq!(found.as_deref(), message);
        }
        let second = || Training { seed: 1, ..training() };
        check(second(), [None, None], None);
        check(
            Training {
                temperature: 0.5,
                test_loss: 1.0,
                ..second()
            },
            [None, None],
            None,
        );
        check(
            Training { epochs: 3, ..second() },
            [None, None],
            Some("b has epochs 3 and a 2: only the seed may differ"),
        );
        check(training(), [None, None], Some("b and a both have seed 0"));

        let settings = |more: &str| {
            let plan = Plan::parse(&format!("[[experiment]]\nname = \"a\"\n{more}"), &[]).unwrap();
            plan.runs()[0].settings.clone()
        };
        let (one, same) = (settings(""), settings("seed = 1"));
        let bf16 = settings("precision = \"bf16\"");
        check(second(), [Some(&one), Some(&same)], None);
        check(second(), [Some(&one), None], None);
        check(
            second(),
            [Some(&one), Some(&bf16)],
            Some("b has precision bf16 and a f32: only the seed may differ"),
        );
    }

    fn training() -> Training {
        Training {
            recipe: "best".into(),
            optimizer: "sgd".into(),
            learning_rate: 0.1,
            batch_size: 128,
            epochs: 2,
            seed: 0,
            train_digits: 100,
            holdout: 0,
            test_accuracy: 0.9,
            test_loss: 0.3,
            temperature: 1.0,
        }
    }

    #[test]
    fn mean_and_deviation() {
        assert_eq!(
            (mean(&[1.0, 2.0, 6.0]), deviation(&[1.0, 2.0, 6.0])),
            (3.0, 7f64.sqrt())
        );
    }

    #[test]
    fn the_average_is_of_probabilities() {
        let sure = Tensor::from_slice(&[8f64.ln(), 0.0]).view([1, 2]);
        let unsure = Tensor::from_slice(&[0.0, 1f64.ln()]).view([1, 2]);
        let average = average(&[sure, unsure]).exp();
        assert!((average.double_value(&[0, 0]) - (8.0 / 9.0 + 0.5) / 2.0).abs() < 1e-9);
    }
}
