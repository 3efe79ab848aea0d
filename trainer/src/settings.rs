//! Everything that decides a training run; its defaults are those of a [`Recipe`].

use std::num::NonZeroU8;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use models::mnist::{Part, Split};
use models::network::{Activation, NetworkSpec};
use serde::{Deserialize, Serialize};

use crate::backend::Backend;
use crate::optim::OptimizerKind;
use crate::precision::Precision;
use crate::schedule::Schedule;

/// The settings of one run, as flags and as `settings.json`.
#[derive(Clone, Debug, PartialEq, Args, Serialize, Deserialize)]
pub struct Settings {
    /// What the other flags are where they are not given
    #[arg(long, value_enum, default_value = "published")]
    pub recipe: Recipe,
    /// Activation function
    #[arg(long, value_enum, default_value = "relu")]
    pub activation: ActivationChoice,
    /// Residual shortcuts around the blocks
    #[arg(long, value_enum, default_value = "on")]
    pub residual: Switch,
    /// Blocks of each of the three sizes
    #[arg(long, value_name = "N", default_value_t = NonZeroU8::MIN)]
    pub blocks: NonZeroU8,
    /// Optimizer [best, fast: sgd]
    #[arg(long, value_enum, default_value = "adam", default_value_ifs([("recipe", "best", "sgd"), ("recipe", "fast", "sgd")]))]
    pub optimizer: OptimizerKind,
    /// Learning rate; the highest, where the schedule changes it [best: 0.1, fast: 0.3]
    #[arg(long, visible_alias = "lr", value_name = "RATE", value_parser = positive)]
    #[arg(default_value_t = 0.001, default_value_ifs([("recipe", "best", "0.1"), ("recipe", "fast", "0.3")]))]
    pub learning_rate: f64,
    /// How the learning rate goes through the training [best, fast: one-cycle]
    #[arg(
        long,
        value_enum,
        default_value = "constant",
        default_value_ifs([("recipe", "best", "one-cycle"), ("recipe", "fast", "one-cycle")])
    )]
    pub schedule: Schedule,
    /// Fraction of the training in which the one-cycle schedule rises [fast: 0.4]
    #[arg(long, value_name = "FRACTION", value_parser = fraction)]
    #[arg(default_value_t = fifth(), default_value_if("recipe", "fast", "0.4"))]
    #[serde(default = "fifth")]
    pub warm_up: f64,
    /// Pull of the weights of convolutions and linear layers towards 0 [best, fast: 0.0005]
    #[arg(long, value_name = "RATE", value_parser = fraction)]
    #[arg(default_value_t = 0.0, default_value_ifs([("recipe", "best", "0.0005"), ("recipe", "fast", "0.0005")]))]
    pub weight_decay: f64,
    /// Digits a training step [best, fast: 128]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(2..=60_000))]
    #[arg(default_value_t = 64, default_value_ifs([("recipe", "best", "128"), ("recipe", "fast", "128")]))]
    pub batch_size: u32,
    /// Passes over the training digits [best: 20, fast: 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    #[arg(default_value_t = 10, default_value_ifs([("recipe", "best", "20"), ("recipe", "fast", "1")]))]
    pub epochs: u32,
    /// Alter the training digits: moved, slanted, bent, thicker, thinner, broken, coarser, fainter, noisy [best: on]
    #[arg(long, value_enum, default_value = "off", default_value_if("recipe", "best", "on"))]
    pub augment: Switch,
    /// Strength of the augmentation at the end of the training, where the digits come near to their own form again; 1 is as
    /// at the start [best: 0.15]
    #[arg(long, value_name = "FRACTION", value_parser = up_to_one)]
    #[arg(default_value_t = 1.0, default_value_if("recipe", "best", "0.15"))]
    pub calm: f64,
    /// Fraction of the training that sees only the middle 20x20 pixels of a picture, which hold a digit's ink and cost half
    /// as much [fast: 0.8]
    #[arg(long, value_name = "FRACTION", value_parser = up_to_one)]
    #[arg(default_value_t = 0.0, default_value_if("recipe", "fast", "0.8"))]
    #[serde(default)]
    pub crop: f64,
    /// Pictures of no digit in a step, as a fraction of its digits; all answers are equally wrong for them [best: 0.125]
    #[arg(long, value_name = "FRACTION", value_parser = fraction)]
    #[arg(default_value_t = 0.0, default_value_if("recipe", "best", "0.125"))]
    pub outliers: f64,
    /// Part of a digit's label that is spread over all ten [best: 0.05, fast: 0.1]
    #[arg(long, value_name = "FRACTION", value_parser = fraction)]
    #[arg(default_value_t = 0.0, default_value_ifs([("recipe", "best", "0.05"), ("recipe", "fast", "0.1")]))]
    pub label_smoothing: f64,
    /// Weights of networks that teach: the mean of their probabilities for a digit goes into its label
    #[arg(long, value_name = "FILE", num_args = 1..)]
    #[serde(default)]
    pub teachers: Vec<PathBuf>,
    /// Part of a digit's label that is the teachers', where there are any
    #[arg(long, value_name = "FRACTION", value_parser = up_to_one, default_value_t = half())]
    #[serde(default = "half")]
    pub taught: f64,
    /// Divides the logits where probabilities are made of them; `trainer temperature` fits one, and that of best is
    /// higher, so that noise makes it less sure [best: 0.58, fast: 0.42]
    #[arg(long, value_name = "T", value_parser = positive)]
    #[arg(default_value_t = 1.0, default_value_ifs([("recipe", "best", "0.58"), ("recipe", "fast", "0.42")]))]
    pub temperature: f64,
    /// How much of the averaged network a step keeps; 0 averages nothing [best: 0.998]
    #[arg(long, value_name = "FRACTION", value_parser = fraction)]
    #[arg(default_value_t = 0.0, default_value_if("recipe", "best", "0.998"))]
    pub average: f64,
    /// Seed of the initial weights, the order of the digits, and all that is drawn by chance
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,
    /// Train on the first N digits only, for a quick try
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(2..))]
    pub train_digits: Option<u32>,
    /// Keep the last N training digits apart and test on them instead of the test digits, to choose settings by
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub holdout: Option<u32>,
    /// Numbers that convolutions and the linear layer multiply in training
    #[arg(long, value_enum, default_value = "f32")]
    #[serde(default)]
    pub precision: Precision,
    /// What computes the blocks in training; each rounds in its own way, so that the weights of a training differ
    #[arg(long, value_enum, default_value = "auto")]
    #[serde(default)]
    pub backend: Backend,
    /// Where to compute
    #[arg(long, value_enum, default_value = "auto")]
    pub device: DeviceChoice,
    /// Threads that compute [default: all cores]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: Option<u16>,
    /// Folder with MNIST's four IDX files, plain or .gz
    #[arg(long, value_name = "DIR", default_value = "data")]
    pub data: PathBuf,
}

impl Settings {
    /// The network of these settings.
    pub fn network(&self) -> NetworkSpec {
        let activation = match self.activation {
            ActivationChoice::Relu => Activation::Relu,
            ActivationChoice::Sigmoid => Activation::Sigmoid,
            ActivationChoice::Tanh => Activation::Tanh,
        };
        NetworkSpec {
            activation,
            residual: self.residual == Switch::On,
            blocks: self.blocks,
        }
    }

    /// Whether a training with `other` is the same one, wherever it computes and its digits lie.
    pub fn trains_like(&self, other: &Settings) -> bool {
        let place = |settings: &Settings| Settings {
            backend: self.backend,
            device: self.device,
            threads: self.threads,
            data: self.data.clone(),
            ..settings.clone()
        };
        place(other) == *self
    }

    /// Names of the flags that a run which is resumed keeps: all but those of where it computes and its digits lie.
    pub fn kept() -> Vec<clap::Id> {
        let flags = Settings::augment_args(clap::Command::new(""));
        let ids = flags.get_arguments().map(|flag| flag.get_id().clone());
        ids.filter(|id| !["device", "threads", "data"].contains(&id.as_str()))
            .collect()
    }

    /// The digits to train on, and those to test on.
    ///
    /// # Errors
    /// When MNIST's files are missing or broken, or too few digits are left to train on.
    pub fn splits(&self) -> anyhow::Result<(Split, Split)> {
        let mut train = Split::read(&self.data, Part::Train)?;
        let test = match self.holdout {
            Some(n) => train.split_off(n as usize),
            None => Split::read(&self.data, Part::Test)?,
        };
        train.truncate(self.train_digits.map_or(usize::MAX, |n| n as usize));
        let n = train.digits.len();
        anyhow::ensure!(n >= 2, "--holdout leaves {n} digits to train on, expected at least 2");
        Ok((train, test))
    }
}

/// A set of settings. Single flags take precedence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Recipe {
    /// The published setting
    Published,
    /// The most accurate network, which is also sure of thick, thin and crooked digits and unsure of what is none
    Best,
    /// 0.99 in one pass over the digits
    Fast,
}

/// [`Activation`] as a flag.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ActivationChoice {
    /// max(x, 0)
    Relu,
    /// 1 / (1 + exp(-x))
    Sigmoid,
    /// Hyperbolic tangent
    Tanh,
}

/// On or off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum Switch {
    On,
    Off,
}

/// Where to compute.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeviceChoice {
    /// CUDA where libtorch finds one, else the CPU
    Auto,
    /// The CPU
    Cpu,
    /// The first CUDA device
    Cuda,
}

impl DeviceChoice {
    /// The device, or an error where CUDA is asked for and missing.
    pub fn resolve(self) -> anyhow::Result<tch::Device> {
        match self {
            DeviceChoice::Cpu => Ok(tch::Device::Cpu),
            DeviceChoice::Auto => Ok(tch::Device::cuda_if_available()),
            DeviceChoice::Cuda if tch::Cuda::is_available() => Ok(tch::Device::Cuda(0)),
            DeviceChoice::Cuda => {
                anyhow::bail!(
                    "this libtorch finds no CUDA device: use --device cpu, or `make setup CUDA=1` on a machine with a GPU"
                )
            }
        }
    }
}

fn fifth() -> f64 {
    0.2
}

fn half() -> f64 {
    0.5
}

fn positive(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(value) if value > 0.0 && f64::is_finite(value) => Ok(value),
        _ => Err("expected a number over 0".into()),
    }
}

fn up_to_one(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(value) if (0.0..=1.0).contains(&value) => Ok(value),
        _ => Err("expected a number from 0 to 1".into()),
    }
}

fn fraction(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(value) if (0.0..1.0).contains(&value) => Ok(value),
        _ => Err("expected a number from 0 to under 1".into()),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        settings: Settings,
    }

    fn settings(flags: &[&str]) -> Settings {
        Cli::parse_from([&["trainer"], flags].concat()).settings
    }

    #[test]
    fn settings_of_runs_from_before_a_flag_are_read() {
        let settings = settings(&["--recipe", "best"]);
        let mut old = serde_json::to_value(&settings).unwrap();
        assert_eq!(settings.backend, Backend::Auto);
        old.as_object_mut().unwrap().remove("backend").unwrap();
        let settings = Settings {
            backend: Backend::Libtorch,
            ..settings
        };
        for added in ["crop", "precision", "taught", "teachers", "warm_up"] {
            old.as_object_mut().unwrap().remove(added).unwrap();
        }
        assert_eq!(serde_json::from_value::<Settings>(old).unwrap(), settings);
    }

    #[test]
    fn a_recipe_sets_what_no_flag_sets() {
        let published = settings(&[]);
        assert_eq!(
            (published.optimizer, published.learning_rate),
            (OptimizerKind::Adam, 0.001)
        );
        assert_eq!((published.augment, published.outliers), (Switch::Off, 0.0));
        let best = settings(&["--recipe", "best", "--epochs", "3"]);
        assert_eq!(
            (best.optimizer, best.schedule),
            (OptimizerKind::Sgd, Schedule::OneCycle)
        );
        assert_eq!((best.augment, best.epochs), (Switch::On, 3));
        let fast = settings(&["--recipe", "fast"]);
        assert_eq!((fast.optimizer, fast.epochs), (OptimizerKind::Sgd, 1));
        assert_eq!((fast.augment, fast.batch_size, fast.crop), (Switch::Off, 128, 0.8));
    }
}
