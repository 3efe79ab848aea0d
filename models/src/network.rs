//! The three-block ResNet, written once: layer sizes and parameter names stand here and nowhere else.
//!
//! [`NetworkSpec::forward`] describes the network over the trait [`Ops`]. libtorch trains through it, the exporter
//! records ONNX nodes through it, and [`NetworkSpec::parameters`] lists the parameters by walking it.

use std::fmt;
use std::num::NonZeroU8;

use serde::{Deserialize, Serialize};

use crate::CLASSES;

/// Added to a variance before its root is taken, in every batch norm.
pub const NORM_EPSILON: f64 = 1e-5;

/// In channels, out channels and stride of the three blocks: 28x28, 14x14, 7x7.
const BLOCKS: [(usize, usize, usize); 3] = [(1, 16, 1), (16, 32, 2), (32, 64, 2)];
/// Height and width of the last block's output.
pub const LAST_SIDE: usize = 7;

/// The function between the layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Activation {
    /// `max(x, 0)`
    Relu,
    /// `1 / (1 + exp(-x))`
    Sigmoid,
    /// `tanh(x)`
    Tanh,
}

/// What of the network may be chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetworkSpec {
    /// The activation after every convolution.
    pub activation: Activation,
    /// Whether a block adds its input to its output.
    pub residual: bool,
    /// Blocks of each of the three sizes; files that do not say have one.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub blocks: NonZeroU8,
}

impl fmt::Display for NetworkSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let residual = if self.residual { "residual" } else { "not residual" };
        write!(f, "{:?}, {residual}", self.activation)?;
        if is_one(&self.blocks) {
            return Ok(());
        }
        write!(f, ", {} blocks a stage", self.blocks)
    }
}

fn one() -> NonZeroU8 {
    NonZeroU8::MIN
}

fn is_one(blocks: &NonZeroU8) -> bool {
    *blocks == one()
}

impl Default for NetworkSpec {
    /// The published network: ReLU with residual blocks.
    fn default() -> Self {
        NetworkSpec {
            activation: Activation::Relu,
            residual: true,
            blocks: one(),
        }
    }
}

/// What runs, trains or records the network. Tensors are `[batch, channels, height, width]`.
pub trait Ops {
    /// A value between two layers.
    type Tensor;
    /// Convolution without bias, then its batch norm.
    fn conv(&mut self, input: &Self::Tensor, conv: &Conv) -> Self::Tensor;
    /// The activation, element by element.
    fn activation(&mut self, input: Self::Tensor, activation: Activation) -> Self::Tensor;
    /// `left + right`, element by element; both have the same shape.
    fn add(&mut self, left: Self::Tensor, right: &Self::Tensor) -> Self::Tensor;
    /// Flattens to `[batch, in_features]` and maps to `[batch, out_features]`.
    fn linear(&mut self, input: &Self::Tensor, linear: &Linear) -> Self::Tensor;
}

/// A convolution `[out_channels, in_channels, kernel_size, kernel_size]` with its batch norm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conv {
    /// Path of the convolution, such as `block1.conv1`.
    pub name: String,
    /// Path of its batch norm, such as `block1.bn1`.
    pub norm: String,
    /// Channels in.
    pub in_channels: usize,
    /// Channels out.
    pub out_channels: usize,
    /// Height and width of the kernel.
    pub kernel_size: usize,
    /// Step in both directions.
    pub stride: usize,
    /// Zeros on each side.
    pub padding: usize,
}

/// A fully connected layer `[out_features, in_features]` with bias.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Linear {
    /// Path of the layer.
    pub name: String,
    /// Numbers in.
    pub in_features: usize,
    /// Numbers out.
    pub out_features: usize,
}

/// One named tensor of the network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameter {
    /// Path, such as `block1.conv1.weight`.
    pub name: String,
    /// Shape as PyTorch has it.
    pub shape: Vec<usize>,
    /// What the tensor is for, which decides how it starts.
    pub role: Role,
}

/// What a parameter is for. `fan_in` is the number of products summed for one output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Weight or bias of a convolution or a linear layer.
    Uniform {
        /// Inputs of one output.
        fan_in: usize,
    },
    /// Scale of a batch norm, trained.
    Scale,
    /// Shift of a batch norm, trained.
    Shift,
    /// Running mean of a batch norm, not trained.
    RunningMean,
    /// Running variance of a batch norm, not trained.
    RunningVar,
}

impl Role {
    /// Whether the optimizer changes it.
    pub fn is_trained(self) -> bool {
        !matches!(self, Role::RunningMean | Role::RunningVar)
    }
}

impl NetworkSpec {
    /// Maps normalised digits `[batch, 1, 28, 28]` to logits `[batch, 10]`.
    pub fn forward<O: Ops>(&self, ops: &mut O, input: O::Tensor) -> O::Tensor {
        let mut x = input;
        for (index, (in_channels, out_channels, stride)) in BLOCKS.into_iter().enumerate() {
            let stage = format!("block{}", index + 1);
            x = self.block(ops, x, &stage, in_channels, out_channels, stride);
            for n in 2..=self.blocks.get() {
                x = self.block(ops, x, &format!("{stage}_{n}"), out_channels, out_channels, 1);
            }
        }
        let (_, channels, _) = BLOCKS[BLOCKS.len() - 1];
        let head = Linear {
            name: "fc".into(),
            in_features: channels * LAST_SIDE * LAST_SIDE,
            out_features: CLASSES,
        };
        ops.linear(&x, &head)
    }

    /// conv3x3, activation, conv3x3, plus the shortcut, activation.
    /// Where a block changes the shape of its input, the shortcut is a 1x1 convolution, else the input itself.
    fn block<O: Ops>(
        &self,
        ops: &mut O,
        input: O::Tensor,
        block: &str,
        in_channels: usize,
        out_channels: usize,
        stride: usize,
    ) -> O::Tensor {
        let conv = |name: &str, norm: &str, in_channels, kernel_size, stride| Conv {
            name: format!("{block}.{name}"),
            norm: format!("{block}.{norm}"),
            in_channels,
            out_channels,
            kernel_size,
            stride,
            padding: kernel_size / 2,
        };
        let x = ops.conv(&input, &conv("conv1", "bn1", in_channels, 3, stride));
        let x = ops.activation(x, self.activation);
        let mut x = ops.conv(&x, &conv("conv2", "bn2", out_channels, 3, 1));
        if self.residual && (in_channels, 1) == (out_channels, stride) {
            x = ops.add(x, &input);
        } else if self.residual {
            let shortcut = conv("shortcut.conv", "shortcut.bn", in_channels, 1, stride);
            let shortcut = ops.conv(&input, &shortcut);
            x = ops.add(x, &shortcut);
        }
        ops.activation(x, self.activation)
    }

    /// Every tensor of the network, in the order in which the network meets it.
    pub fn parameters(&self) -> Vec<Parameter> {
        let mut inventory = Inventory(Vec::new());
        self.forward(&mut inventory, ());
        inventory.0
    }
}

/// Walks the network and lists its parameters.
struct Inventory(Vec<Parameter>);

impl Ops for Inventory {
    type Tensor = ();

    fn conv(&mut self, _: &(), conv: &Conv) {
        let fan_in = conv.in_channels * conv.kernel_size * conv.kernel_size;
        let kernel = [conv.kernel_size; 2];
        let shape = [[conv.out_channels, conv.in_channels], kernel].concat();
        self.push(&conv.name, "weight", &shape, Role::Uniform { fan_in });
        let channels = [conv.out_channels];
        self.push(&conv.norm, "weight", &channels, Role::Scale);
        self.push(&conv.norm, "bias", &channels, Role::Shift);
        self.push(&conv.norm, "running_mean", &channels, Role::RunningMean);
        self.push(&conv.norm, "running_var", &channels, Role::RunningVar);
    }

    fn activation(&mut self, (): (), _: Activation) {}

    fn add(&mut self, (): (), _: &()) {}

    fn linear(&mut self, _: &(), linear: &Linear) {
        let (fan_in, out) = (linear.in_features, linear.out_features);
        self.push(&linear.name, "weight", &[out, fan_in], Role::Uniform { fan_in });
        self.push(&linear.name, "bias", &[out], Role::Uniform { fan_in });
    }
}

impl Inventory {
    fn push(&mut self, layer: &str, tensor: &str, shape: &[usize], role: Role) {
        self.0.push(Parameter {
            name: format!("{layer}.{tensor}"),
            shape: shape.to_vec(),
            role,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trained(spec: NetworkSpec) -> usize {
        spec.parameters()
            .iter()
            .filter(|parameter| parameter.role.is_trained())
            .map(|parameter| parameter.shape.iter().product::<usize>())
            .sum()
    }

    #[test]
    fn has_the_published_size() {
        assert_eq!(trained(NetworkSpec::default()), 106_186);
    }

    #[test]
    fn loses_only_the_shortcuts_without_residual() {
        let plain = NetworkSpec {
            residual: false,
            ..NetworkSpec::default()
        };
        let shortcuts = 16 + 16 * 32 + 32 * 64 + 2 * (16 + 32 + 64);
        assert_eq!(trained(plain), 106_186 - shortcuts);
        assert!(!plain.parameters().iter().any(|p| p.name.contains("shortcut")));
    }

    #[test]
    fn gains_two_convolutions_with_every_further_block() {
        let deep = NetworkSpec {
            blocks: NonZeroU8::new(3).unwrap(),
            ..NetworkSpec::default()
        };
        let block = |channels: usize| 2 * (9 * channels * channels + 2 * channels);
        let more: usize = [16, 32, 64].map(block).iter().sum();
        assert_eq!(trained(deep), 106_186 + 2 * more);
        let all = deep.parameters();
        let shallow = NetworkSpec::default().parameters();
        assert!(
            shallow.iter().all(|p| all.contains(p)),
            "the first blocks keep their names"
        );
        assert!(all.iter().any(|p| p.name == "block3_3.conv2.weight"));
    }

    #[test]
    fn names_no_number_of_blocks_where_it_is_one() {
        let text = r#"{"activation":"relu","residual":true}"#;
        assert_eq!(serde_json::to_string(&NetworkSpec::default()).unwrap(), text);
        assert_eq!(
            serde_json::from_str::<NetworkSpec>(text).unwrap(),
            NetworkSpec::default()
        );
        let none = r#"{"activation":"relu","residual":true,"blocks":0}"#;
        assert!(serde_json::from_str::<NetworkSpec>(none).is_err());
    }

    #[test]
    fn names_are_unique() {
        let deep = NetworkSpec {
            blocks: NonZeroU8::new(12).unwrap(),
            ..NetworkSpec::default()
        };
        let mut names: Vec<_> = deep.parameters().into_iter().map(|p| p.name).collect();
        let n = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), n);
    }
}
