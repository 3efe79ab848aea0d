//! What lies in a study's folder, by experiment and configuration.

use std::path::Path;

use anyhow::{Context, ensure};

use super::stats::mean;
use crate::metrics::{self, Row};
use crate::study::Plan;

/// The results of a study.
pub struct Results {
    /// In the order of the study's file.
    pub experiments: Vec<Experiment>,
    /// How many runs have not come to their end.
    pub missing: usize,
    /// Every finished run with its epochs.
    pub runs: Vec<(String, Vec<Row>)>,
    /// Whether a run was tested on held-out training digits.
    pub held_out: bool,
}

impl Results {
    /// The most seeds that a configuration has.
    pub fn seeds(&self) -> usize {
        let configurations = self.experiments.iter().flat_map(|one| &one.configurations);
        configurations.map(|one| one.runs.len()).max().unwrap_or(0)
    }
}

/// One question.
pub struct Experiment {
    /// Its name in the file.
    pub name: String,
    /// The keys that are lists.
    pub axes: Vec<String>,
    /// Each point of the grid.
    pub configurations: Vec<Configuration>,
    /// Whether every one of its runs has come to its end.
    pub complete: bool,
}

/// One point of the grid, with a run for each seed.
#[derive(Clone)]
pub struct Configuration {
    /// Name of the runs without the seed.
    pub name: String,
    /// What tells it from the others of its experiment, such as `tanh` or `lr 0.1, residual off`.
    pub label: String,
    /// The values of the experiment's axes.
    pub values: Vec<String>,
    /// The finished runs, by seed.
    pub runs: Vec<(u64, Vec<Row>)>,
}

impl Configuration {
    /// A number of the last epoch, of each seed.
    pub fn last(&self, number: impl Fn(&Row) -> f64) -> Vec<f64> {
        self.runs
            .iter()
            .filter_map(|(_, rows)| rows.last())
            .map(number)
            .collect()
    }

    /// A number of the last epoch with each seed that both have: of this configuration, and of the other.
    pub fn pairs(&self, other: &Configuration, number: impl Fn(&Row) -> f64) -> Vec<(f64, f64)> {
        let last = |configuration: &Configuration, seed| {
            let (_, rows) = configuration.runs.iter().find(|(known, _)| *known == seed)?;
            rows.last().map(&number)
        };
        let seeds = self.runs.iter().map(|(seed, _)| *seed);
        seeds
            .filter_map(|seed| Some((last(self, seed)?, last(other, seed)?)))
            .collect()
    }

    /// Of each seed, the first epoch after which at least `accuracy` of the test digits were read right.
    pub fn epochs_to(&self, accuracy: f64) -> Vec<Option<u32>> {
        let first = |rows: &[Row]| {
            rows.iter()
                .find(|row| row.test_accuracy >= accuracy)
                .map(|row| row.epoch)
        };
        self.runs.iter().map(|(_, rows)| first(rows)).collect()
    }

    /// How far the test accuracy moves from one epoch to the next, in the second half of the training, over all seeds.
    pub fn swing(&self) -> f64 {
        let moves = self.runs.iter().flat_map(|(_, rows)| {
            let half = &rows[rows.len() / 2..];
            half.windows(2)
                .map(|pair| (pair[1].test_accuracy - pair[0].test_accuracy).abs())
        });
        mean(&moves.collect::<Vec<_>>())
    }
}

/// Reads the folder of a study.
///
/// # Errors
/// When it is no such folder, or a file is broken.
pub fn read(folder: &Path) -> anyhow::Result<Results> {
    let path = folder.join("study.toml");
    let text = std::fs::read_to_string(&path)
        .with_context(|| format!("cannot read {}: is it the folder of a study?", path.display()))?;
    let plan = Plan::parse(&text, &[]).with_context(|| format!("cannot use {}", path.display()))?;
    let (mut runs, mut missing) = (Vec::new(), 0);
    for planned in plan.runs() {
        let rows = metrics::read(&folder.join(&planned.name))?;
        if rows.len() == planned.settings.epochs as usize {
            runs.push((planned.name.clone(), rows));
        } else {
            missing += 1;
        }
    }
    ensure!(!runs.is_empty(), "no run in {} is finished yet", folder.display());
    let finished = |name: &String| runs.iter().any(|(run, _)| run == name);
    let experiments = plan.experiments.iter().map(|experiment| Experiment {
        name: experiment.name.clone(),
        axes: experiment.axes.clone(),
        configurations: configurations(experiment, &runs),
        complete: experiment.runs.iter().all(|planned| finished(&planned.name)),
    });
    Ok(Results {
        experiments: experiments.collect(),
        missing,
        runs,
        held_out: plan.runs().iter().any(|planned| planned.settings.holdout.is_some()),
    })
}

fn configurations(experiment: &crate::study::plan::Experiment, runs: &[(String, Vec<Row>)]) -> Vec<Configuration> {
    let mut configurations = Vec::<Configuration>::new();
    for planned in &experiment.runs {
        let seed = planned.settings.seed;
        let name = planned
            .name
            .strip_suffix(&format!("-seed{seed}"))
            .unwrap_or(&planned.name);
        let index = configurations
            .iter()
            .position(|known| known.name == name)
            .unwrap_or_else(|| {
                configurations.push(Configuration {
                    name: name.to_owned(),
                    label: label(&experiment.axes, &planned.values),
                    values: planned.values.clone(),
                    runs: Vec::new(),
                });
                configurations.len() - 1
            });
        if let Some((_, rows)) = runs.iter().find(|(run, _)| *run == planned.name) {
            configurations[index].runs.push((seed, rows.clone()));
        }
    }
    configurations
}

/// The values with their keys, where a value alone does not say what it is.
pub fn label(axes: &[String], values: &[String]) -> String {
    let part = |(axis, value): (&String, &String)| match axis.as_str() {
        "activation" | "optimizer" | "recipe" => value.clone(),
        "learning-rate" => format!("lr {value}"),
        "blocks" if value == "1" => "1 block".into(),
        "blocks" => format!("{value} blocks"),
        "residual" if value == "off" => "no residual".into(),
        "residual" => "residual".into(),
        axis => format!("{axis} {value}"),
    };
    axes.iter().zip(values).map(part).collect::<Vec<_>>().join(", ")
}
