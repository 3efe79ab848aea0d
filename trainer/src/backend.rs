//! What computes the blocks' forward pass in a training step, and their gradients.

use half::bf16;
use serde::{Deserialize, Serialize};
use tch::{Device, Tensor};

use crate::native::{self, Native};
use crate::net::{Mode, Net};
use crate::precision::Precision;

/// What computes the blocks in training.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Backend {
    /// native where it is faster: on a CPU with AVX2 or NEON in f32, with AMX in bf16; else libtorch
    Auto,
    /// Our own convolutions and batch norms, on such a CPU
    Native,
    /// libtorch's operators, on any device
    // Runs from before this setting were computed so.
    #[default]
    Libtorch,
}

impl Backend {
    /// What `auto` means on this device.
    ///
    /// # Errors
    /// When native is asked for what it cannot do.
    pub fn resolve(self, device: Device, precision: Precision) -> anyhow::Result<Backend> {
        let can = device == Device::Cpu && native::is_fast_here(precision);
        match self {
            Backend::Auto | Backend::Native if can => Ok(Backend::Native),
            Backend::Auto | Backend::Libtorch => Ok(Backend::Libtorch),
            Backend::Native => {
                anyhow::bail!(
                    "--backend native computes on a CPU with AVX2 or NEON in f32, and with AMX in bf16: use --backend libtorch"
                )
            }
        }
    }

    /// A pass for a network on this device.
    ///
    /// # Errors
    /// When native is asked for what it cannot do, or the system gives no threads.
    pub fn pass(self, device: Device, precision: Precision) -> anyhow::Result<Pass> {
        let threads = tch::get_num_threads() as usize;
        Ok(match (self.resolve(device, precision)?, precision) {
            (Backend::Native, Precision::F32) => Pass::F32(Box::new(Native::new(threads)?)),
            (Backend::Native, Precision::Bf16) => Pass::Bf16(Box::new(Native::new(threads)?)),
            (Backend::Auto | Backend::Libtorch, _) => Pass::Libtorch(precision),
        })
    }
}

/// Computes one training step after the other.
pub enum Pass {
    /// In vectors of our own.
    F32(Box<Native<f32>>),
    /// By the CPU's matrix unit.
    Bf16(Box<Native<bf16>>),
    /// By libtorch's operators, in this precision.
    Libtorch(Precision),
}

impl Pass {
    /// How many of the training's threads libtorch has in a step. Beside our own there is little for it to do, and its threads
    /// would wait for more at full speed, on the cores that ours need.
    pub fn libtorch_threads(&self, threads: i32) -> i32 {
        match self {
            Pass::F32(_) | Pass::Bf16(_) => 1,
            Pass::Libtorch(_) => threads,
        }
    }

    /// Logits `[n, 10]` of normalised digits `[n, 1, side, side]`; the running means of the batch norms follow.
    pub fn forward(&mut self, net: &Net, input: &Tensor) -> Tensor {
        match self {
            Pass::F32(native) => native.forward(net, input),
            Pass::Bf16(native) => native.forward(net, input),
            Pass::Libtorch(precision) => net.forward(input, Mode::Train(*precision)),
        }
    }

    /// The gradients of a loss of the last logits, in the order of [`Net::trained_numbers`].
    pub fn gradients(&mut self, net: &Net, loss: &Tensor) -> Tensor {
        match self {
            Pass::F32(native) => native.gradients(net, loss),
            Pass::Bf16(native) => native.gradients(net, loss),
            Pass::Libtorch(_) => net.gradients(loss),
        }
    }
}
