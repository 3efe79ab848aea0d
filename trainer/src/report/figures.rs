//! The figures of an experiment: curves, each digit, confusion matrices, gradients.

use maud::{Markup, html};
use models::CLASSES;

use super::data::{Configuration, Experiment};
use super::stats::mean;
use super::svg::{self, Panel, Point, STYLES, WIDTH};
use crate::metrics::Row;

/// A figure with the end of its file's name and what it shows.
pub struct Figure {
    /// Such as `activation-curves`.
    pub name: String,
    /// One sentence.
    pub caption: String,
    /// The `svg` element.
    pub svg: Markup,
}

/// All figures of an experiment. A large grid is split by its first axis, so that lines can be told apart.
pub fn figures(experiment: &Experiment) -> Vec<Figure> {
    let with_runs = experiment
        .configurations
        .iter()
        .filter(|configuration| !configuration.runs.is_empty());
    let all: Vec<_> = with_runs.cloned().collect();
    if all.is_empty() {
        return Vec::new();
    }
    let mut groups = vec![(experiment.name.clone(), all)];
    if groups[0].1.len() > STYLES {
        let (name, all) = groups.remove(0);
        for configuration in all {
            let name = format!("{name}-{}", configuration.values[0]);
            match groups.iter_mut().find(|(known, _)| *known == name) {
                Some((_, group)) => group.push(configuration),
                None => groups.push((name, vec![configuration])),
            }
        }
    }
    groups.iter().flat_map(|(name, group)| of_group(name, group)).collect()
}

fn of_group(name: &str, group: &[Configuration]) -> Vec<Figure> {
    let figure = |kind: &str, caption: &str, svg: Markup| Figure {
        name: format!("{name}-{kind}"),
        caption: caption.into(),
        svg,
    };
    vec![
        figure(
            "curves",
            "Loss (cross entropy in nats, logarithmic) and accuracy after each epoch; the last row is the same accuracy close \
             up. Lines are means over the seeds, bands reach from the lowest seed to the highest.",
            curves(group),
        ),
        figure(
            "digits",
            "Accuracy of each digit in per cent at the last epoch, mean over the seeds. The redder, the more mistakes.",
            digits(group),
        ),
        figure(
            "confusion",
            "Test digits read wrong at the last epoch, summed over the seeds: rows are the digit shown, columns the answer. Grey is \
             what is right.",
            confusion(group),
        ),
        figure(
            "gradients",
            "Norm of the gradient of each block (logarithmic), mean over the epochs and over every sixteenth step.",
            gradients(group),
        ),
    ]
}

fn curves(group: &[Configuration]) -> Markup {
    let number: [fn(&Row) -> f64; 4] = [
        |row| row.train_loss,
        |row| row.test_loss,
        |row| row.train_accuracy,
        |row| row.test_accuracy,
    ];
    let epochs = group
        .iter()
        .flat_map(|configuration| &configuration.runs)
        .map(|(_, rows)| rows.len())
        .max()
        .unwrap_or(0);
    let every = epochs.div_ceil(12).max(1);
    let ticks = (1..=epochs)
        .filter(|n| n % every == 0 || *n == 1)
        .map(|n| (n as f64, n.to_string()));
    let ticks: Vec<_> = ticks.collect();
    let panel = |title: &str, number: fn(&Row) -> f64, y_range, y_log| Panel {
        title: title.into(),
        x_label: "epoch".into(),
        x_ticks: ticks.clone(),
        y_range,
        y_log,
        lines: lines(group, number),
    };
    let losses = loss_range(group);
    let close = close_up(group);
    svg::panels(
        &labels(group),
        &[
            panel("train loss (nats)", number[0], losses, true),
            panel("test loss (nats)", number[1], losses, true),
            panel("train accuracy", number[2], (0.0, 1.0), false),
            panel("test accuracy", number[3], (0.0, 1.0), false),
            panel("train accuracy, close up", number[2], close, false),
            panel("test accuracy, close up", number[3], close, false),
        ],
    )
}

/// Each configuration's line: mean, lowest and highest seed after each epoch.
fn lines(group: &[Configuration], number: fn(&Row) -> f64) -> Vec<(usize, Vec<Point>)> {
    let line = |configuration: &Configuration| {
        let epochs = configuration.runs.iter().map(|(_, rows)| rows.len()).min().unwrap_or(0);
        let point = |epoch: usize| {
            let values: Vec<_> = configuration
                .runs
                .iter()
                .map(|(_, rows)| number(&rows[epoch]))
                .collect();
            let (low, high) = (
                values.iter().copied().fold(f64::INFINITY, f64::min),
                values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            );
            [epoch as f64 + 1.0, mean(&values), low, high]
        };
        (0..epochs).map(point).collect()
    };
    group
        .iter()
        .enumerate()
        .map(|(index, configuration)| (index % STYLES, line(configuration)))
        .collect()
}

fn loss_range(group: &[Configuration]) -> (f64, f64) {
    let all = group.iter().flat_map(|c| &c.runs).flat_map(|(_, rows)| rows);
    let losses = all
        .flat_map(|row| [row.train_loss, row.test_loss])
        .filter(|loss| loss.is_finite() && *loss > 0.0);
    let (low, high) = losses.fold((f64::MAX, f64::MIN), |(low, high), loss| {
        (low.min(loss), high.max(loss))
    });
    if low > high {
        (0.01, 10.0)
    } else {
        (low / 1.15, high * 1.15)
    }
}

/// From a little under the curves that learned, past their first epochs, to 1.
fn close_up(group: &[Configuration]) -> (f64, f64) {
    let late = group
        .iter()
        .flat_map(|c| &c.runs)
        .flat_map(|(_, rows)| &rows[rows.len() / 3..]);
    let learned = late.map(|row| row.test_accuracy).filter(|accuracy| *accuracy > 0.9);
    let low = learned.fold(1.0, f64::min);
    let low = if low < 1.0 { low } else { 0.9 };
    ((low - 0.05 * (1.0 - low)).max(0.9), 1.0)
}

fn labels(group: &[Configuration]) -> Vec<String> {
    let label = |c: &Configuration| {
        if c.label.is_empty() {
            c.name.clone()
        } else {
            c.label.clone()
        }
    };
    group.iter().map(label).collect()
}

/// A row of cells for the train and the test digits of each configuration.
fn digits(group: &[Configuration]) -> Markup {
    const ROW: f64 = 24.0;
    let (left, cell) = (230.0, 58.0);
    let column = |digit: usize| left + digit as f64 * cell;
    let rows: Vec<(String, [f64; CLASSES])> = group
        .iter()
        .zip(labels(group))
        .flat_map(|(configuration, label)| {
            let per_digit = |number: fn(&Row) -> [f64; CLASSES]| {
                std::array::from_fn(|digit| mean(&configuration.last(|row| number(row)[digit])))
            };
            [
                (format!("{label}, train"), per_digit(|row| row.train_per_digit)),
                (format!("{label}, test"), per_digit(|row| row.test_per_digit)),
            ]
        })
        .collect();
    svg::figure(
        44.0 + rows.len() as f64 * ROW,
        html! {
            text.title x="8" y="22" { "digit" }
            @for digit in 0..CLASSES { text.title.mid x=(column(digit) + cell / 2.0) y="22" { (digit) } }
            @for (index, (label, accuracies)) in rows.iter().enumerate() {
                @let y = 34.0 + index as f64 * ROW;
                text x="8" y=(y + 16.0) { (label) }
                @for (digit, accuracy) in accuracies.iter().enumerate() {
                    rect.heat x=(column(digit) + 1.0) y=(y + 1.0) width=(cell - 2.0) height=(ROW - 2.0) rx="3"
                        fill-opacity=(format!("{:.2}", shade(1.0 - accuracy))) {}
                    text.mid x=(column(digit) + cell / 2.0) y=(y + 16.0) { (format!("{:.2}", 100.0 * accuracy)) }
                }
            }
        },
    )
}

/// Opacity of a share of mistakes: a tenth of a per cent is faint, ten per cent are full.
fn shade(mistakes: f64) -> f64 {
    (0.2 * (mistakes.max(1e-9) / 1e-3).log10() + 0.12).clamp(0.0, 0.6)
}

fn confusion(group: &[Configuration]) -> Markup {
    const CELL: f64 = 21.0;
    const COLUMNS: usize = 3;
    let pitch = (WIDTH / COLUMNS as f64, 288.0);
    let matrices = group.iter().zip(labels(group)).enumerate();
    svg::figure(
        group.len().div_ceil(COLUMNS) as f64 * pitch.1,
        html! {
            @for (index, (configuration, label)) in matrices {
                @let (x, y) = (40.0 + (index % COLUMNS) as f64 * pitch.0, 52.0 + (index / COLUMNS) as f64 * pitch.1);
                g transform=(format!("translate({x:.0} {y:.0})")) {
                    text.title x="0" y="-30" { (label) }
                    text.muted.small.mid x=(CELL * 5.0) y="-14" { "answer" }
                    text.muted.small.mid transform=(format!("translate(-22 {}) rotate(-90)", CELL * 5.0)) { "digit shown" }
                    (matrix(&sum(configuration), CELL))
                }
            }
        },
    )
}

fn matrix(counts: &[[u32; CLASSES]; CLASSES], cell: f64) -> Markup {
    html! {
        @for (label, row) in counts.iter().enumerate() {
            text.muted.small.mid x=(cell * (label as f64 + 0.5)) y="-2" { (label) }
            text.muted.small.end x="-5" y=(cell * (label as f64 + 0.7)) { (label) }
            @let n = f64::from(row.iter().sum::<u32>());
            @for (answer, count) in row.iter().enumerate() {
                @let (x, y) = (answer as f64 * cell, label as f64 * cell);
                @if label == answer {
                    rect.right x=(x + 1.0) y=(y + 1.0) width=(cell - 2.0) height=(cell - 2.0) rx="2" {}
                } @else {
                    rect.gap x=(x + 1.0) y=(y + 1.0) width=(cell - 2.0) height=(cell - 2.0) rx="2" {}
                    @if *count > 0 {
                        rect.heat x=(x + 1.0) y=(y + 1.0) width=(cell - 2.0) height=(cell - 2.0) rx="2"
                            fill-opacity=(format!("{:.2}", shade(f64::from(*count) / n))) {}
                        text.mid x=(x + cell / 2.0) y=(y + cell / 2.0 + 3.5) font-size=(if *count > 999 { 8 } else { 10 }) { (count) }
                    }
                }
            }
        }
    }
}

/// The confusion matrices of the last epoch, added over the seeds.
fn sum(configuration: &Configuration) -> [[u32; CLASSES]; CLASSES] {
    let mut sum = [[0; CLASSES]; CLASSES];
    for row in configuration.runs.iter().filter_map(|(_, rows)| rows.last()) {
        for (to, from) in sum.as_flattened_mut().iter_mut().zip(row.test_confusion.as_flattened()) {
            *to += from;
        }
    }
    sum
}

/// Blocks from the input to the output on the x axis; a net with fewer of them leaves gaps in between.
fn gradients(group: &[Configuration]) -> Markup {
    let all = |c: &Configuration| c.runs.iter().flat_map(|(_, rows)| rows.clone()).collect::<Vec<_>>();
    let mut blocks: Vec<String> = group
        .iter()
        .flat_map(all)
        .flat_map(|row| row.gradient_norms.into_keys())
        .collect();
    blocks.sort();
    blocks.dedup();
    let line = |(index, configuration): (usize, &Configuration)| {
        let rows = all(configuration);
        let points = blocks.iter().enumerate().filter_map(|(x, block)| {
            let norms: Vec<_> = rows
                .iter()
                .filter_map(|row| row.gradient_norms.get(block).copied())
                .collect();
            let norm = mean(&norms);
            (norm > 0.0 && norm.is_finite()).then_some([x as f64, norm, norm, norm])
        });
        (index % STYLES, points.collect::<Vec<Point>>())
    };
    let lines: Vec<_> = group.iter().enumerate().map(line).collect();
    let norms = || lines.iter().flat_map(|(_, points)| points).map(|point| point[1]);
    let (low, high) = (norms().fold(f64::MAX, f64::min), norms().fold(f64::MIN, f64::max));
    let panel = Panel {
        title: "norm of the gradient".into(),
        x_label: "block, from the input to the output".into(),
        x_ticks: blocks
            .iter()
            .enumerate()
            .map(|(x, block)| (x as f64, block.replace("block", "")))
            .collect(),
        y_range: if low > high {
            (0.1, 1.0)
        } else {
            (low / 1.3, high * 1.3)
        },
        y_log: true,
        lines,
    };
    svg::panels(&labels(group), &[panel])
}
