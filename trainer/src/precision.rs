//! In which numbers a training multiplies.

use serde::{Deserialize, Serialize};
use tch::{Device, Kind};

/// The kind of what convolutions and the linear layer multiply. Weights are kept and changed in f32, and the statistics of batch
/// norms and the loss are f32, whichever it is. What lies between the layers is of this kind too. The native pass multiplies in
/// f32 what is convolved of the picture and in the last layer, which is little.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// 32 bits
    #[default]
    F32,
    /// 16 bits with the range of f32, which CPUs with AMX or AVX-512 BF16, and GPUs, multiply faster
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

    /// Whether the device multiplies it in hardware; elsewhere it costs time instead of saving it.
    pub fn is_fast_on(self, device: Device) -> bool {
        self == Precision::F32 || device != Device::Cpu || cpu_multiplies_bf16()
    }
}

/// Every CPU with AMX for bf16 also has AVX-512 BF16.
#[cfg(target_arch = "x86_64")]
fn cpu_multiplies_bf16() -> bool {
    std::arch::is_x86_feature_detected!("avx512bf16")
}

#[cfg(target_arch = "aarch64")]
fn cpu_multiplies_bf16() -> bool {
    std::arch::is_aarch64_feature_detected!("bf16")
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn cpu_multiplies_bf16() -> bool {
    false
}
