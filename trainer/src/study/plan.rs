//! The file of a study: experiments, each a grid over lists of settings.

use std::collections::BTreeMap;

use anyhow::{Context, bail, ensure};
use clap::Parser;
use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use crate::settings::{ActivationChoice, Settings, Switch};

/// The settings of where and by what a run is computed do not change what it is.
pub(crate) const PLACE: [&str; 4] = ["backend", "device", "threads", "data"];

/// The experiments of a study.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// In the order of the file.
    pub experiments: Vec<Experiment>,
    file: File,
}

/// One question: a grid of configurations, each with all seeds.
#[derive(Clone, Debug, PartialEq)]
pub struct Experiment {
    /// Name in the file, such as `learning-rate`.
    pub name: String,
    /// The keys that are lists, but for the seed, in the order of the file.
    pub axes: Vec<String>,
    /// The runs of all configurations with the first seed, then with the second.
    pub runs: Vec<Planned>,
}

/// A run of the study.
#[derive(Clone, Debug, PartialEq)]
pub struct Planned {
    /// Name of its folder, which says all that differs from the published setting.
    pub name: String,
    /// Its settings.
    pub settings: Settings,
    /// The values of the experiment's axes, as the file writes them.
    pub values: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    defaults: Table,
    experiment: Vec<Section>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Section {
    name: String,
    #[serde(flatten)]
    settings: Table,
}

/// Settings are read as the command line would be, so that ranges and recipes are the same.
#[derive(Parser)]
#[command(no_binary_name = true, disable_help_flag = true)]
struct Flags {
    #[command(flatten)]
    settings: Settings,
}

impl Plan {
    /// Reads a study; each `key=value` of `set` takes the place of a key everywhere.
    ///
    /// # Errors
    /// When the text is no such file, or a setting is unknown or out of range.
    pub fn parse(text: &str, set: &[String]) -> anyhow::Result<Plan> {
        let mut file: File = toml::from_str(text)?;
        for pair in set {
            let (key, value) = pair
                .split_once('=')
                .with_context(|| format!("--set {pair}: expected KEY=VALUE"))?;
            let quoted = || Value::String(value.to_owned());
            let value = value.parse().unwrap_or_else(|_| quoted());
            file.experiment
                .iter_mut()
                .for_each(|section| drop(section.settings.remove(key)));
            file.defaults.insert(key.to_owned(), value);
        }
        let experiments = file
            .experiment
            .iter()
            .map(|section| experiment(section, &file.defaults));
        let experiments = experiments.collect::<anyhow::Result<_>>()?;
        Ok(Plan { experiments, file })
    }

    /// The file that [`Plan::parse`] reads as this plan.
    pub fn to_toml(&self) -> String {
        toml::to_string(&self.file).expect("what was read can be written")
    }

    /// Every run once, in the order of training.
    pub fn runs(&self) -> Vec<&Planned> {
        let mut seen = std::collections::BTreeSet::new();
        let all = self.experiments.iter().flat_map(|experiment| &experiment.runs);
        all.filter(|run| seen.insert(&run.name)).collect()
    }
}

fn experiment(section: &Section, defaults: &Table) -> anyhow::Result<Experiment> {
    let context = || format!("experiment \"{}\"", section.name);
    let mut settings = defaults.clone();
    settings.extend(section.settings.clone());
    let seeds = match settings.remove("seed") {
        None => vec![Value::Integer(0)],
        Some(Value::Array(seeds)) => seeds,
        Some(seed) => vec![seed],
    };
    let mut grid: Vec<Table> = seeds
        .into_iter()
        .map(|seed| [("seed".to_owned(), seed)].into_iter().collect())
        .collect();
    let mut axes = Vec::new();
    for (key, value) in settings {
        let values = match value {
            Value::Array(values) => {
                axes.push(key.clone());
                values
            }
            value => vec![value],
        };
        let with = |point: &Table, value: &Value| {
            let mut point = point.clone();
            point.insert(key.clone(), value.clone());
            point
        };
        grid = grid
            .iter()
            .flat_map(|point| values.iter().map(|value| with(point, value)))
            .collect();
    }
    ensure!(!grid.is_empty(), "{}: a list is empty", context());
    let runs = grid.iter().map(|point| planned(point, &axes).with_context(context));
    let runs = runs.collect::<anyhow::Result<_>>()?;
    Ok(Experiment {
        name: section.name.clone(),
        axes,
        runs,
    })
}

fn planned(point: &Table, axes: &[String]) -> anyhow::Result<Planned> {
    let mut flags = Vec::new();
    for (key, value) in point {
        if PLACE.contains(&key.as_str()) {
            bail!("{key} is no setting of a study: give it to the command");
        }
        flags.push(format!("--{key}={}", plain(value)));
    }
    let settings = Flags::try_parse_from(flags)
        .map_err(|error| anyhow::anyhow!(first_line(&error.to_string())))?
        .settings;
    Ok(Planned {
        name: name(&settings),
        values: axes.iter().map(|axis| plain(&point[axis])).collect(),
        settings,
    })
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        value => value.to_string(),
    }
}

fn first_line(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    line.trim_start_matches("error: ").to_owned()
}

/// Activation, residual, optimizer, learning rate, then whatever differs from the published setting, then the seed.
fn name(settings: &Settings) -> String {
    let activation = match settings.activation {
        ActivationChoice::Relu => "relu",
        ActivationChoice::Sigmoid => "sigmoid",
        ActivationChoice::Tanh => "tanh",
    };
    let residual = match settings.residual {
        Switch::On => "residual",
        Switch::Off => "plain",
    };
    let optimizer = format!("{:?}", settings.optimizer).to_lowercase();
    let mut name = format!("{activation}-{residual}-{optimizer}-lr{}", settings.learning_rate);
    let said = ["activation", "residual", "optimizer", "learning_rate", "seed"];
    let published = fields(&Flags::parse_from::<_, &str>([]).settings);
    for (key, value) in fields(settings) {
        if published[&key] != value && !said.contains(&key.as_str()) && !PLACE.contains(&key.as_str()) {
            let value = value.to_string().replace(|c: char| "\"[]/\\".contains(c), "");
            name += &format!("-{}{value}", key.replace('_', ""));
        }
    }
    format!("{name}-seed{}", settings.seed)
}

/// The settings by name.
pub(crate) fn fields(settings: &Settings) -> BTreeMap<String, serde_json::Value> {
    let value = serde_json::to_value(settings).expect("plain fields always serialise");
    serde_json::from_value(value).expect("settings are a map")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(text: &str, set: &[&str]) -> anyhow::Result<Plan> {
        Plan::parse(text, &set.iter().map(|&pair| pair.to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn the_shipped_study_has_every_published_configuration_with_three_seeds() {
        let plan = plan(super::super::SHIPPED, &[]).unwrap();
        let names: Vec<_> = plan.runs().iter().map(|run| run.name.as_str()).collect();
        for configuration in [
            "relu-residual-adam-lr0.001",
            "sigmoid-residual-adam-lr0.001",
            "tanh-residual-adam-lr0.001",
            "relu-residual-adam-lr0.1",
            "relu-residual-adam-lr1",
            "relu-plain-adam-lr0.001",
            "relu-plain-adam-lr0.001-blocks5-epochs4",
            "relu-residual-sgd-lr0.1",
        ] {
            for seed in 0..3 {
                assert!(
                    names.contains(&format!("{configuration}-seed{seed}").as_str()),
                    "{configuration}"
                );
            }
        }
        for experiment in plan.experiments.iter().filter(|experiment| experiment.name != "depth") {
            let mut runs = experiment.runs.iter();
            assert!(runs.all(|run| run.settings.epochs == 10), "{}", experiment.name);
        }
        assert_eq!(Plan::parse(&plan.to_toml(), &[]).unwrap(), plan);
    }

    #[test]
    fn the_shipped_grid_has_every_combination_with_three_seeds() {
        assert_eq!(plan(include_str!("../../grid.toml"), &[]).unwrap().runs().len(), 54);
    }

    #[test]
    fn the_shipped_seeds_have_the_names_that_the_makefile_asks_for() {
        let plan = plan(include_str!("../../seeds.toml"), &[]).unwrap();
        let runs = plan.runs();
        let makefile = include_str!("../../../Makefile");
        let check = |part: &str, n| {
            assert!(makefile.contains(part.trim_end_matches("-seed")), "{part}");
            assert_eq!(runs.iter().filter(|run| run.name.contains(part)).count(), n, "{part}");
        };
        check("relu-residual-adam-lr0.001-seed", 4);
        check("-precisionbf16-seed", 3);
        check("-recipebest-", 5);
    }

    #[test]
    fn a_list_is_an_axis_and_equal_runs_are_one() {
        let text = "[defaults]\nseed = [3, 4]\n\
            [[experiment]]\nname = \"a\"\nbatch-size = [32, 64]\n\
            [[experiment]]\nname = \"b\"\noptimizer = [\"adam\", \"adamw\"]\nepochs = 2";
        let plan = plan(text, &["epochs=5"]).unwrap();
        let names: Vec<_> = plan.runs().iter().map(|run| run.name.as_str()).collect();
        assert_eq!(
            names,
            [
                "relu-residual-adam-lr0.001-batchsize32-epochs5-seed3",
                "relu-residual-adam-lr0.001-epochs5-seed3",
                "relu-residual-adam-lr0.001-batchsize32-epochs5-seed4",
                "relu-residual-adam-lr0.001-epochs5-seed4",
                "relu-residual-adamw-lr0.001-epochs5-seed3",
                "relu-residual-adamw-lr0.001-epochs5-seed4",
            ]
        );
        assert_eq!(plan.experiments[1].axes, ["optimizer"]);
        assert_eq!(plan.experiments[1].runs[1].values, ["adamw"]);
    }

    #[test]
    fn says_what_is_wrong() {
        let check = |text: &str, set: &[&str], expected: &str| {
            let error = format!("{:#}", plan(text, set).unwrap_err());
            assert!(error.contains(expected), "{error}");
        };
        check("[[experiment]]", &[], "missing field `name`");
        check(
            "[[experiment]]\nname = \"a\"\nsize = 3",
            &[],
            "experiment \"a\": unexpected argument '--size'",
        );
        check(
            "[[experiment]]\nname = \"a\"\nepochs = 0",
            &[],
            "invalid value '0' for '--epochs",
        );
        check("[[experiment]]\nname = \"a\"\nepochs = []", &[], "a list is empty");
        check(
            "[[experiment]]\nname = \"a\"\nthreads = 1",
            &[],
            "give it to the command",
        );
        check("[[experiment]]\nname = \"a\"", &["epochs"], "expected KEY=VALUE");
    }
}
