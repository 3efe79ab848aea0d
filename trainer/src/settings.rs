//! Everything that decides a training run; its defaults are the published setting.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use models::network::{Activation, NetworkSpec};
use serde::{Deserialize, Serialize};

use crate::optim::OptimizerKind;

/// The settings of one run, as flags and as `settings.json`.
#[derive(Clone, Debug, PartialEq, Args, Serialize, Deserialize)]
pub struct Settings {
    /// Activation function
    #[arg(long, value_enum, default_value = "relu")]
    pub activation: ActivationChoice,
    /// Residual shortcuts around the blocks
    #[arg(long, value_enum, default_value = "on")]
    pub residual: Switch,
    /// Optimizer
    #[arg(long, value_enum, default_value = "adam")]
    pub optimizer: OptimizerKind,
    /// Learning rate
    #[arg(long, visible_alias = "lr", value_name = "RATE", default_value_t = 0.001, value_parser = positive)]
    pub learning_rate: f64,
    /// Digits a training step
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(2..=60_000))]
    pub batch_size: u32,
    /// Passes over the training digits
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub epochs: u32,
    /// Seed of the initial weights and of the order of the digits
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,
    /// Train on the first N digits only, for a quick try
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(2..))]
    pub train_digits: Option<u32>,
    /// Where to compute
    #[arg(long, value_enum, default_value = "auto")]
    pub device: DeviceChoice,
    /// Threads of libtorch [default: all cores]
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
        }
    }
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

fn positive(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(value) if value > 0.0 && f64::is_finite(value) => Ok(value),
        _ => Err("expected a number over 0".into()),
    }
}
