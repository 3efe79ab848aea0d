//! The tables of an experiment: mean and spread over the seeds, beside the published figures.

use std::collections::BTreeSet;

use models::CLASSES;

use super::data::{Configuration, Experiment};
use super::published::Published;
use super::stats::{Difference, deviation, mean};
use crate::metrics::Row;

/// A table, and what it shows.
pub struct Table {
    /// One sentence.
    pub caption: String,
    /// Names of the columns.
    pub head: Vec<String>,
    /// Rows with as many cells.
    pub rows: Vec<Vec<String>>,
}

/// Loss and accuracy at the last epoch.
pub fn figures(experiment: &Experiment, published: &[Published]) -> Table {
    let columns: [fn(&Row) -> f64; 4] = [
        |row| row.train_loss,
        |row| row.train_accuracy,
        |row| row.test_loss,
        |row| row.test_accuracy,
    ];
    let mut rows = Vec::new();
    for configuration in &experiment.configurations {
        let n = configuration.runs.len().to_string();
        let cells = columns.map(|number| spread(&configuration.last(number)));
        rows.push([name(configuration), n].into_iter().chain(cells).collect());
        if let Some(published) = counterpart(published, experiment, configuration) {
            let cells = published.figures.map(|number| format!("{number:.4}"));
            rows.push(["published".into(), "1".into()].into_iter().chain(cells).collect());
        }
    }
    Table {
        caption: "Last epoch: mean ± standard deviation over the seeds, and the published figures.".into(),
        head: [
            "configuration",
            "seeds",
            "train loss",
            "train accuracy",
            "test loss",
            "test accuracy",
        ]
        .map(String::from)
        .into(),
        rows,
    }
}

/// The accuracy of each digit at the last epoch.
pub fn digits(experiment: &Experiment, published: &[Published]) -> Table {
    type PerDigit = fn(&Row) -> [f64; CLASSES];
    let mut rows = Vec::new();
    for configuration in &experiment.configurations {
        let found = counterpart(published, experiment, configuration);
        let parts: [(&str, PerDigit, Option<[f64; CLASSES]>); 2] = [
            ("train", |row| row.train_per_digit, found.map(|row| row.train)),
            ("test", |row| row.test_per_digit, found.map(|row| row.test)),
        ];
        for (part, number, published) in parts {
            let cells = (0..CLASSES).map(|digit| spread(&configuration.last(|row| number(row)[digit])));
            rows.push(
                [format!("{}, {part}", name(configuration))]
                    .into_iter()
                    .chain(cells)
                    .collect(),
            );
            if let Some(published) = published {
                let cells = published.map(|accuracy| format!("{accuracy:.4}"));
                rows.push([format!("published, {part}")].into_iter().chain(cells).collect());
            }
        }
    }
    Table {
        caption: "Accuracy of each digit at the last epoch: mean ± standard deviation over the seeds, and the published figures."
            .into(),
        head: ["configuration".to_owned()].into_iter().chain((0..CLASSES).map(|digit| digit.to_string())).collect(),
        rows,
    }
}

/// Every configuration of a study once, each held against the first.
pub fn comparison(experiments: &[Experiment]) -> Table {
    let mut rows = Vec::new();
    let mut seen = BTreeSet::new();
    let mut seeds = 0;
    let first = experiments
        .iter()
        .flat_map(|experiment| &experiment.configurations)
        .next();
    for experiment in experiments {
        for configuration in &experiment.configurations {
            if !seen.insert(&configuration.name) {
                continue;
            }
            seeds = seeds.max(configuration.runs.len());
            let row = [
                described(experiment, configuration),
                configuration.runs.len().to_string(),
                spread(&configuration.last(|row| row.test_accuracy)),
                difference(configuration, first, |row| row.test_accuracy),
                spread(&configuration.last(|row| row.test_loss)),
                difference(configuration, first, |row| row.test_loss),
            ];
            rows.push(row.into());
        }
    }
    Table {
        caption: match seeds {
            0 | 1 => "Test digits, or those held out, after the last epoch, and the difference to the first row. One seed has \
                no spread, so that no difference has an interval."
                .into(),
            _ => "Test digits, or those held out, after the last epoch: mean ± standard deviation over the seeds, and the mean \
                difference to the first row, paired over the seeds, ± half of its 95 % interval. One that does not leave out 0 \
                is not decided."
                .into(),
        },
        head: ["configuration", "seeds", "accuracy", "difference", "loss", "difference"].map(String::from).into(),
        rows,
    }
}

/// The experiment, where it has a single configuration.
fn described(experiment: &Experiment, configuration: &Configuration) -> String {
    if configuration.label.is_empty() {
        experiment.name.replace('-', " ")
    } else {
        configuration.label.clone()
    }
}

/// `-0.0120 ± 0.0050`; empty for the first configuration itself and where no seed is common.
fn difference(configuration: &Configuration, first: Option<&Configuration>, number: fn(&Row) -> f64) -> String {
    let Some(first) = first.filter(|first| first.name != configuration.name) else {
        return String::new();
    };
    match Difference::new(&configuration.pairs(first, number)) {
        Difference { n: 0, .. } => String::new(),
        Difference { n: 1, mean, .. } => format!("{mean:+.4}"),
        Difference { mean, half, .. } => format!("{mean:+.4} ± {half:.4}"),
    }
}

fn name(configuration: &Configuration) -> String {
    if configuration.label.is_empty() {
        configuration.name.clone()
    } else {
        configuration.label.clone()
    }
}

fn counterpart<'a>(
    published: &'a [Published],
    experiment: &Experiment,
    configuration: &Configuration,
) -> Option<&'a Published> {
    let is = |row: &&Published| row.experiment == experiment.name && row.run == configuration.name;
    published.iter().find(is)
}

/// `0.9912 ± 0.0007`; without spread of one, and `missing` of none.
fn spread(values: &[f64]) -> String {
    match values {
        [] => "missing".into(),
        [one] => format!("{one:.4}"),
        values => format!("{:.4} ± {:.4}", mean(values), deviation(values)),
    }
}
