//! In which numbers a training multiplies.

use serde::{Deserialize, Serialize};
use tch::{Device, Kind};

use crate::native;

/// The kind of what convolutions and the linear layer multiply. Weights are kept and changed in f32, and the statistics of batch
/// norms and the loss are f32, whichever it is. What lies between the layers is of this kind too. The native pass multiplies in
/// f32 what is convolved of the picture and in the last layer, which is little.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// 32 bits
    #[default]
    F32,
    /// 16 bits with the range of f32: faster on CPUs with AMX, slower on other x86 CPUs, also with AVX-512 BF16; else
    /// unmeasured
    Bf16,
}

impl Precision {
    /// libtorch's name of it.
    pub fn kind(self) -> Kind {
        match self {
            Precision::F32 => Kind::Float,
            Precision::Bf16 => Kind::BFloat16,
        }
    }

    /// Whether it is known, or on a GPU hoped, to take no more time than f32.
    pub fn is_fast_on(self, device: Device) -> bool {
        self == Precision::F32 || device != Device::Cpu || native::is_fast_here(self)
    }
}
