//! What the numbers say, in sentences: convergence, collapse, and which differences exceed the spread over the seeds.

use super::data::{Configuration, Experiment, label};
use super::stats::{Difference, mean};
use crate::metrics::Row;

/// Test accuracies at which the convergence is read off.
const LEVELS: [f64; 2] = [0.98, 0.99];

/// The sentences of an experiment.
pub fn reading(experiment: &Experiment) -> Vec<String> {
    let with_runs = experiment
        .configurations
        .iter()
        .filter(|configuration| !configuration.runs.is_empty());
    let all: Vec<_> = with_runs.collect();
    let mut sentences = Vec::new();
    sentences.extend(LEVELS.iter().filter_map(|level| convergence(&all, *level)));
    sentences.extend(swings(&all));
    sentences.extend(all.iter().filter_map(|configuration| collapse(configuration)));
    sentences.extend(
        comparisons(experiment)
            .into_iter()
            .filter_map(|(one, other)| compare(&one, &other)),
    );
    sentences
}

/// The order in which the configurations come to a level.
fn convergence(all: &[&Configuration], level: f64) -> Option<String> {
    let mut reached = Vec::new();
    let mut never = Vec::new();
    for configuration in all {
        let epochs = configuration.epochs_to(level);
        let known: Vec<f64> = epochs.iter().flatten().map(|epoch| f64::from(*epoch)).collect();
        if known.len() == epochs.len() {
            reached.push((mean(&known), &configuration.label));
        } else {
            never.push(format!(
                "{} ({} of {} seeds)",
                configuration.label,
                known.len(),
                epochs.len()
            ));
        }
    }
    reached.sort_by(|a, b| a.0.total_cmp(&b.0));
    let order: Vec<_> = reached
        .iter()
        .map(|(epochs, label)| format!("{label} ({epochs:.1})"))
        .collect();
    let mut sentence = format!("Epochs until the test accuracy is {level} for the first time, mean over the seeds: ");
    sentence += &if order.is_empty() {
        "none of them gets there with every seed".into()
    } else {
        order.join(", ")
    };
    if !never.is_empty() {
        sentence += &format!("; not with every seed: {}", never.join(", "));
    }
    (!all.is_empty()).then_some(sentence + ".")
}

/// How far the test accuracy moves from epoch to epoch when the training should have settled.
fn swings(all: &[&Configuration]) -> Option<String> {
    let learned = all.iter().filter(|configuration| !has_failed(configuration));
    let mut swings: Vec<_> = learned
        .map(|c| (c.swing(), &c.label))
        .filter(|(swing, _)| swing.is_finite())
        .collect();
    swings.sort_by(|a, b| b.0.total_cmp(&a.0));
    let each: Vec<_> = swings
        .iter()
        .map(|(swing, label)| format!("{label} ({:.2} points)", 100.0 * swing))
        .collect();
    (each.len() > 1).then(|| {
        let each = each.join(", ");
        format!(
            "From one epoch to the next, in the second half of the training, the test accuracy moves most with {each}."
        )
    })
}

/// What became of runs that did not learn.
fn collapse(configuration: &Configuration) -> Option<String> {
    let runs: Vec<_> = configuration
        .runs
        .iter()
        .filter_map(|(seed, rows)| Some((seed, fate(rows)?)))
        .collect();
    if runs.is_empty() {
        return None;
    }
    let each: Vec<_> = runs.iter().map(|(seed, fate)| format!("seed {seed} {fate}")).collect();
    let (failed, of) = (runs.len(), configuration.runs.len());
    Some(format!(
        "{} fails with {failed} of {of} seeds: {}.",
        configuration.label,
        each.join("; ")
    ))
}

/// Whether no seed learned.
fn has_failed(configuration: &Configuration) -> bool {
    configuration.runs.iter().all(|(_, rows)| fate(rows).is_some())
}

/// How a run ended that reads under half of the test digits right.
fn fate(rows: &[Row]) -> Option<String> {
    let last = rows.last()?;
    if !last.test_loss.is_finite() {
        let first = rows
            .iter()
            .find(|row| !row.test_loss.is_finite() || !row.train_loss.is_finite())?;
        return Some(format!("diverges, its loss being no number from epoch {}", first.epoch));
    }
    if last.test_accuracy >= 0.5 {
        return None;
    }
    let answers: Vec<_> = rows.iter().map(|row| row.test().only_answer()).collect();
    let Some(digit) = answers.last().copied().flatten() else {
        return Some(format!("ends at a test accuracy of {:.4}", last.test_accuracy));
    };
    let each = answers
        .iter()
        .map(|answer| answer.map_or("-".into(), |digit| digit.to_string()));
    let each = each.collect::<Vec<_>>().join(" ");
    Some(format!(
        "answers {digit} to every digit at the end (test accuracy {:.4}; the only answer after each epoch, - where there were several: {each})",
        last.test_accuracy
    ))
}

/// Pairs that differ in one axis only: with and without residual, where that is one, else each against the first.
fn comparisons(experiment: &Experiment) -> Vec<(Configuration, Configuration)> {
    let all = &experiment.configurations;
    let Some(axis) = experiment.axes.iter().position(|axis| axis == "residual") else {
        return all
            .iter()
            .skip(1)
            .map(|other| (all[0].clone(), other.clone()))
            .collect();
    };
    let is = |configuration: &Configuration, value: &str| configuration.values[axis] == value;
    let rest = |configuration: &Configuration| {
        let mut values = configuration.values.clone();
        values.remove(axis);
        values
    };
    let with = all.iter().filter(|configuration| is(configuration, "on"));
    let pair = |with: &Configuration| {
        let without = all.iter().find(|other| is(other, "off") && rest(other) == rest(with))?;
        let mut axes = experiment.axes.clone();
        axes.remove(axis);
        let place = label(&axes, &rest(with));
        let named = |configuration: &Configuration, name: &str| Configuration {
            label: if place.is_empty() {
                name.into()
            } else {
                format!("{name} ({place})")
            },
            ..configuration.clone()
        };
        Some((named(with, "residual"), named(without, "no residual")))
    };
    with.filter_map(pair).collect()
}

/// The differences at the last epoch over the seeds that both have. The train loss is where degradation would show.
fn compare(one: &Configuration, other: &Configuration) -> Option<String> {
    if has_failed(one) || has_failed(other) {
        return None;
    }
    let accuracy = Difference::new(&one.pairs(other, |row| 100.0 * row.test_accuracy));
    let loss = |of: fn(&Row) -> f64| Difference::new(&one.pairs(other, of));
    if accuracy.n == 0 {
        return None;
    }
    let said = |difference: Difference, unit: &str| {
        let verdict = if difference.is_decided() {
            "more than the spread"
        } else {
            "not decided by these seeds"
        };
        format!("{:+.4}{unit} ± {:.4}, {verdict}", difference.mean, difference.half)
    };
    let n = accuracy.n;
    Some(format!(
        "{} against {}, paired over {n} {}: test accuracy {}; test loss {}; train loss {} (mean difference and half of its 95 % interval).",
        one.label,
        other.label,
        if n == 1 { "seed, which has no spread" } else { "seeds" },
        said(accuracy, " points"),
        said(loss(|row| row.test_loss), ""),
        said(loss(|row| row.train_loss), "")
    ))
}
