//! What an epoch came to, as a line of `metrics.csv` and `metrics.jsonl`. A loss that is no number any more stands there
//! as `NaN` or `inf` in CSV and as `null` in JSON.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Context;
use models::CLASSES;
use models::score::Score;
use serde::{Deserialize, Deserializer, Serialize};

use crate::train::Epoch;

/// Name of the file with a line of JSON an epoch.
pub const JSON_LINES: &str = "metrics.jsonl";

/// One epoch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// Counted from 1.
    pub epoch: u32,
    /// Mean cross entropy of the training digits, each before the step that it is part of.
    #[serde(deserialize_with = "number")]
    pub train_loss: f64,
    /// Fraction of them read right.
    pub train_accuracy: f64,
    /// Mean cross entropy of the test digits after the epoch.
    #[serde(deserialize_with = "number")]
    pub test_loss: f64,
    /// Fraction of them read right.
    pub test_accuracy: f64,
    /// `train_accuracy` of the digits that show 0, 1, ...; NaN where there is none.
    #[serde(deserialize_with = "numbers")]
    pub train_per_digit: [f64; CLASSES],
    /// `test_accuracy` of the digits that show 0, 1, ...; NaN where there is none.
    #[serde(deserialize_with = "numbers")]
    pub test_per_digit: [f64; CLASSES],
    /// Learning rate of the last step.
    pub learning_rate: f64,
    /// Norm of the gradient of each block, a mean over every sixteenth step.
    #[serde(deserialize_with = "named_numbers")]
    pub gradient_norms: BTreeMap<String, f64>,
    /// Test digits by label and answer. Not in the CSV.
    pub test_confusion: [[u32; CLASSES]; CLASSES],
    /// Time of the steps.
    pub train_seconds: f64,
    /// Time of the test.
    pub test_seconds: f64,
    /// When the epoch ended, in seconds since 1970.
    pub unix_seconds: f64,
}

impl Row {
    /// The epoch that ends now.
    pub fn new(epoch: &Epoch) -> Row {
        let Epoch { train, test, .. } = epoch;
        let now = std::time::UNIX_EPOCH.elapsed().unwrap_or_default();
        Row {
            epoch: epoch.epoch,
            train_loss: train.loss(),
            train_accuracy: train.accuracy(),
            test_loss: test.loss(),
            test_accuracy: test.accuracy(),
            train_per_digit: train.per_digit(),
            test_per_digit: test.per_digit(),
            learning_rate: epoch.learning_rate,
            gradient_norms: epoch.gradient_norms.clone(),
            test_confusion: test.confusion,
            train_seconds: epoch.train_time.as_secs_f64(),
            test_seconds: epoch.test_time.as_secs_f64(),
            unix_seconds: now.as_secs_f64(),
        }
    }

    /// Every number but the epoch under its name, as in the columns of the CSV.
    pub fn scalars(&self) -> Vec<(String, f64)> {
        let named = |(name, value): (&str, f64)| (name.to_owned(), value);
        let per_digit = |part: &'static str, accuracies: [f64; CLASSES]| {
            let accuracies = accuracies.into_iter().enumerate();
            accuracies.map(move |(digit, accuracy)| (format!("{part}_accuracy_{digit}"), accuracy))
        };
        let mut scalars: Vec<_> = [
            ("train_loss", self.train_loss),
            ("train_accuracy", self.train_accuracy),
            ("test_loss", self.test_loss),
            ("test_accuracy", self.test_accuracy),
        ]
        .map(named)
        .into();
        scalars.extend(per_digit("train", self.train_per_digit));
        scalars.extend(per_digit("test", self.test_per_digit));
        let gradients = self.gradient_norms.iter();
        scalars.extend(gradients.map(|(block, norm)| (format!("gradient_norm_{block}"), *norm)));
        let rest = [
            ("learning_rate", self.learning_rate),
            ("train_seconds", self.train_seconds),
            ("test_seconds", self.test_seconds),
        ];
        scalars.extend(rest.map(named));
        scalars
    }

    /// Loss and accuracies of the test, without their history.
    pub fn test(&self) -> Score {
        Score {
            confusion: self.test_confusion,
            loss_sum: self.test_loss * f64::from(self.test_confusion.iter().flatten().sum::<u32>()),
        }
    }
}

/// The rows as CSV, with a line of names.
///
/// # Errors
/// None but those of the CSV writer.
pub fn csv(rows: &[Row]) -> anyhow::Result<Vec<u8>> {
    let mut csv = csv::Writer::from_writer(Vec::new());
    for (index, row) in rows.iter().enumerate() {
        let (names, values): (Vec<_>, Vec<_>) = row.scalars().into_iter().unzip();
        if index == 0 {
            csv.write_record(["epoch".to_owned()].into_iter().chain(names))?;
        }
        let values = values.iter().map(f64::to_string);
        csv.write_record([row.epoch.to_string()].into_iter().chain(values))?;
    }
    Ok(csv.into_inner()?)
}

/// The rows as lines of JSON.
///
/// # Errors
/// None but those of the JSON writer.
pub fn json_lines(rows: &[Row]) -> anyhow::Result<Vec<u8>> {
    let mut lines = Vec::new();
    for row in rows {
        serde_json::to_writer(&mut lines, row)?;
        lines.push(b'\n');
    }
    Ok(lines)
}

/// The rows in a run's folder; none where it has not come to the end of an epoch.
///
/// # Errors
/// When the file cannot be read, or is not ours.
pub fn read(folder: &Path) -> anyhow::Result<Vec<Row>> {
    let path = folder.join(JSON_LINES);
    let context = || format!("cannot read {}", path.display());
    let text = match std::fs::read_to_string(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        text => text.with_context(context)?,
    };
    let rows: Result<_, _> = text.lines().map(serde_json::from_str).collect();
    rows.with_context(context)
}

/// JSON has no NaN: it is written as `null`, and so is an infinite number.
fn number<'de, D: Deserializer<'de>>(input: D) -> Result<f64, D::Error> {
    Ok(Option::deserialize(input)?.unwrap_or(f64::NAN))
}

fn numbers<'de, D: Deserializer<'de>>(input: D) -> Result<[f64; CLASSES], D::Error> {
    let numbers = <[Option<f64>; CLASSES]>::deserialize(input)?;
    Ok(numbers.map(|number| number.unwrap_or(f64::NAN)))
}

fn named_numbers<'de, D: Deserializer<'de>>(input: D) -> Result<BTreeMap<String, f64>, D::Error> {
    let numbers = BTreeMap::<String, Option<f64>>::deserialize(input)?;
    Ok(numbers
        .into_iter()
        .map(|(name, number)| (name, number.unwrap_or(f64::NAN)))
        .collect())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_is_no_number_survives() {
        let mut score = Score::default();
        score.add(3, 4, f64::NAN);
        let row = Row::new(&Epoch {
            epoch: 1,
            train: score.clone(),
            test: score,
            learning_rate: 1.0,
            gradient_norms: [("block1".to_owned(), f64::INFINITY)].into(),
            train_time: Duration::ZERO,
            test_time: Duration::ZERO,
        });
        let lines = String::from_utf8(json_lines(std::slice::from_ref(&row)).unwrap()).unwrap();
        assert!(lines.contains(r#""test_loss":null"#), "{lines}");
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(read(folder.path()).unwrap(), []);
        std::fs::write(folder.path().join(JSON_LINES), lines).unwrap();
        let again = read(folder.path()).unwrap().remove(0);
        assert!(again.test_loss.is_nan() && again.gradient_norms["block1"].is_nan());
        assert_eq!((again.test_per_digit[3], again.test_per_digit[4].is_nan()), (0.0, true));
        let csv = String::from_utf8(csv(&[row]).unwrap()).unwrap();
        assert!(csv.contains("NaN") && csv.contains("inf"), "{csv}");
        let columns: Vec<_> = csv.lines().map(|line| line.split(',').count()).collect();
        assert_eq!(columns, [29, 29]);
    }
}
