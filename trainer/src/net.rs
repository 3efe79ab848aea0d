//! The network in libtorch: its tensors under their names, and [`models::network::Ops`] over tch.

use std::collections::BTreeMap;

use models::CLASSES;
use models::network::{Activation, Conv, LAST_SIDE, Linear, NORM_EPSILON, NetworkSpec, Ops, Parameter, Role};
use models::weights::{Training, Weights, WeightsError};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tch::{Device, Kind, Tensor};

use crate::precision::Precision;

/// How much of each batch goes into the running mean and variance, as in PyTorch.
const NORM_MOMENTUM: f64 = 0.1;

/// The network's tensors, on one device.
pub struct Net {
    spec: NetworkSpec,
    /// The numbers of all tensors, so that what changes them all is one operation: first of those that are trained, in the
    /// network's order, then of the others. Those of a convolution have the channels last, which libtorch's follow and prefer.
    numbers: Tensor,
    /// The tensors, in the memory of the numbers.
    tensors: BTreeMap<String, Tensor>,
}

/// What a pass through the network is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Batch norms use the statistics of the batch, and the running ones follow them.
    Train(Precision),
    /// Batch norms use the running statistics; everything is f32.
    Eval,
}

impl Net {
    /// A new network as PyTorch starts it: weights and biases uniform in `±1/sqrt(fan_in)`, which is its
    /// `kaiming_uniform(a=sqrt(5))`, and batch norms 1 and 0. The numbers depend on the seed alone, not on the device.
    pub fn new(spec: NetworkSpec, seed: u64, device: Device) -> Net {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut values = |role, n| match role {
            Role::Uniform { fan_in } => {
                let bound = 1.0 / (fan_in as f32).sqrt();
                (0..n).map(|_| rng.random_range(-bound..bound)).collect()
            }
            Role::Scale | Role::RunningVar => vec![1.0; n],
            Role::Shift | Role::RunningMean => vec![0.0; n],
        };
        let tensors = spec
            .parameters()
            .into_iter()
            .map(|parameter| (parameter.name, values(parameter.role, parameter.shape.iter().product())))
            .collect();
        Net::from_tensors(spec, &tensors, device)
    }

    /// The network with the given weights.
    pub fn from_weights(weights: &Weights, device: Device) -> Net {
        let tensor = |name: &str| weights.tensor(name).to_vec();
        let tensors = weights
            .spec
            .parameters()
            .into_iter()
            .map(|p| (p.name.clone(), tensor(&p.name)))
            .collect();
        Net::from_tensors(weights.spec, &tensors, device)
    }

    fn from_tensors(spec: NetworkSpec, values: &BTreeMap<String, Vec<f32>>, device: Device) -> Net {
        let n = spec.parameters().iter().map(size).sum::<i64>();
        let net = Net::over(spec, Tensor::zeros([n], (Kind::Float, device)));
        for (name, tensor) in &net.tensors {
            let values = Tensor::from_slice(&values[name]).view(&tensor.size()[..]);
            tensor.shallow_clone().copy_(&values);
        }
        for tensor in net.trained() {
            let _ = tensor.set_requires_grad(true);
        }
        net
    }

    /// The network of these numbers, which no optimizer changes.
    fn over(spec: NetworkSpec, numbers: Tensor) -> Net {
        let mut parameters = spec.parameters();
        parameters.sort_by_key(|parameter| !parameter.role.is_trained());
        let tensors = parts(&parameters, &numbers)
            .map(|(name, tensor)| (name, tensor.detach()))
            .collect();
        Net { spec, numbers, tensors }
    }

    /// Logits `[batch, 10]` of normalised digits `[batch, 1, 28, 28]`, or of their middle, which leaves out as many multiples
    /// of 4 pixels on each side.
    pub fn forward(&self, input: &Tensor, mode: Mode) -> Tensor {
        let mut ops = TchOps { net: self, mode };
        self.spec.forward(&mut ops, input.shallow_clone())
    }

    /// The tensors that an optimizer changes, in the network's order. They share their memory with the network.
    pub fn trained(&self) -> Vec<Tensor> {
        let parameters = self.trained_parameters().into_iter();
        parameters.map(|p| self.tensors[&p.name].shallow_clone()).collect()
    }

    /// The numbers of the tensors that an optimizer changes, `[n]`. They share their memory with the network.
    pub fn trained_numbers(&self) -> Tensor {
        self.numbers.narrow(0, 0, self.n_trained())
    }

    /// The weight decay of each of the trained numbers, `[n]`: `rate` for weights, which are matrices or kernels, and none for biases
    /// and batch norms.
    pub fn weight_decays(&self, rate: f64) -> Tensor {
        let decays = self.trained_numbers().zeros_like();
        for (_, mut part) in self.trained_parts(&decays).filter(|(_, part)| part.dim() > 1) {
            let _ = part.fill_(rate);
        }
        decays
    }

    /// As many numbers as those that are trained, such as their gradients, as tensors under the names of the trained ones. They
    /// share their memory.
    pub fn trained_parts(&self, numbers: &Tensor) -> impl Iterator<Item = (String, Tensor)> + use<> {
        let parts: Vec<_> = parts(&self.trained_parameters(), numbers).collect();
        parts.into_iter()
    }

    /// The gradients of a loss, `[n]`, as libtorch computes them.
    pub fn gradients(&self, loss: &Tensor) -> Tensor {
        let gradients = Tensor::run_backward(&[loss], &self.trained(), false, false);
        let numbers = gradients.iter().map(|gradient| match gradient.dim() {
            4 => gradient.permute([0, 2, 3, 1]).reshape([-1]),
            _ => gradient.reshape([-1]),
        });
        Tensor::cat(&numbers.collect::<Vec<_>>(), 0)
    }

    fn trained_parameters(&self) -> Vec<Parameter> {
        let mut parameters = self.spec.parameters();
        parameters.retain(|parameter| parameter.role.is_trained());
        parameters
    }

    fn n_trained(&self) -> i64 {
        self.trained_parameters().iter().map(size).sum()
    }

    /// What the network is.
    pub fn spec(&self) -> NetworkSpec {
        self.spec
    }

    /// Copies the tensors out of libtorch.
    ///
    /// # Errors
    /// When a number is not finite, because the training diverged.
    pub fn to_weights(&self, training: Training) -> Result<Weights, WeightsError> {
        let tensors = self.tensors.iter();
        let tensors = tensors.map(|(name, tensor)| (name.clone(), values(tensor))).collect();
        Weights::new(self.spec, training, tensors)
    }

    /// The tensors under their names; the memory is shared.
    pub fn tensors(&self) -> &BTreeMap<String, Tensor> {
        &self.tensors
    }

    /// The same network with memory of its own, which no optimizer changes.
    pub fn copy(&self) -> Net {
        Net::over(self.spec, self.numbers.copy())
    }

    /// Moves every tensor towards the other network's by the fraction `weight`; 1 makes them equal.
    pub fn approach(&self, other: &Net, weight: f64) {
        let _ = self.numbers.shallow_clone().lerp_(&other.numbers, weight);
    }

    /// The last layer, of maps `[batch, channels, side, side]`, multiplied in `kind`.
    pub(crate) fn linear(&self, input: &Tensor, linear: &Linear, kind: Kind) -> Tensor {
        let weight = self.last_weight(linear, input.size()[2]).to_kind(kind);
        let bias = self.tensor(&linear.name, "bias").to_kind(kind);
        // The few weights follow the channels, which are last in memory, so that the large input need not be copied.
        let input = input.permute([0, 2, 3, 1]).flatten(1, -1);
        let logits = input.linear(&weight.flatten(1, -1), Some(&bias));
        logits.to_kind(Kind::Float)
    }

    /// The last layer's weight for maps of `side`, `[10, side, side, channels]`.
    pub(crate) fn last_weight(&self, linear: &Linear, side: i64) -> Tensor {
        last_middle(self.tensor(&linear.name, "weight"), side)
    }

    /// Lets the running means and variances of the batch norms follow those of a batch: of the first norm `[channels]` means and then
    /// as many variances, and so on in the network's order.
    pub(crate) fn follow(&self, batch: &[f32]) {
        let mut running = self.numbers.narrow(0, self.n_trained(), batch.len() as i64);
        let _ = running.lerp_(&Tensor::from_slice(batch), NORM_MOMENTUM);
    }

    fn tensor(&self, layer: &str, name: &str) -> &Tensor {
        &self.tensors[&format!("{layer}.{name}")]
    }

    /// Device of the tensors.
    pub fn device(&self) -> Device {
        self.numbers.device()
    }
}

/// The numbers of a tensor, in the order of its sides.
pub(crate) fn values(tensor: &Tensor) -> Vec<f32> {
    let flat = tensor.detach().to_device(Device::Cpu).contiguous().view(-1);
    let mut values = vec![0f32; flat.numel()];
    flat.copy_data(&mut values, flat.numel());
    values
}

/// What a last layer's weight `[10, features]`, or its gradient, has for maps of `side`: `[10, side, side, channels]`. Where only
/// the middle of the pictures is shown, only the middle of the weights is asked.
pub(crate) fn last_middle(weight: &Tensor, side: i64) -> Tensor {
    let whole = LAST_SIDE as i64;
    let margin = (whole - side) / 2;
    let weight = weight.view([CLASSES as i64, -1, whole, whole]);
    let weight = weight.narrow(2, margin, side).narrow(3, margin, side);
    weight.permute([0, 2, 3, 1])
}

/// How many numbers a parameter has.
fn size(parameter: &Parameter) -> i64 {
    parameter.shape.iter().product::<usize>() as i64
}

/// Numbers as tensors of the parameters' shapes, in the same memory, those of convolutions with the channels last in it.
fn parts(parameters: &[Parameter], numbers: &Tensor) -> impl Iterator<Item = (String, Tensor)> {
    let mut at = 0;
    parameters.iter().map(move |parameter| {
        let part = numbers.narrow(0, at, size(parameter));
        at += size(parameter);
        let shape: Vec<i64> = parameter.shape.iter().map(|&side| side as i64).collect();
        let part = match shape[..] {
            [out, channels, height, width] => part.view([out, height, width, channels]).permute([0, 3, 1, 2]),
            _ => part.view(&shape[..]),
        };
        (parameter.name.clone(), part)
    })
}

struct TchOps<'a> {
    net: &'a Net,
    mode: Mode,
}

impl TchOps<'_> {
    /// Of what is multiplied.
    fn kind(&self) -> Kind {
        match self.mode {
            Mode::Train(precision) => precision.kind(),
            Mode::Eval => Kind::Float,
        }
    }
}

impl Ops for TchOps<'_> {
    type Tensor = Tensor;

    fn conv(&mut self, input: &Tensor, conv: &Conv) -> Tensor {
        let (stride, padding) = (conv.stride as i64, conv.padding as i64);
        let weight = self.net.tensor(&conv.name, "weight").to_kind(self.kind());
        let input = input.to_kind(self.kind());
        let output = input.conv2d(&weight, None::<Tensor>, [stride, stride], [padding, padding], [1, 1], 1);
        output.batch_norm(
            Some(self.net.tensor(&conv.norm, "weight")),
            Some(self.net.tensor(&conv.norm, "bias")),
            Some(self.net.tensor(&conv.norm, "running_mean")),
            Some(self.net.tensor(&conv.norm, "running_var")),
            self.mode != Mode::Eval,
            NORM_MOMENTUM,
            NORM_EPSILON,
            true,
        )
    }

    fn activation(&mut self, mut input: Tensor, activation: Activation) -> Tensor {
        match activation {
            Activation::Relu => input.relu_(),
            Activation::Sigmoid => input.sigmoid_(),
            Activation::Tanh => input.tanh_(),
        }
    }

    fn add(&mut self, mut left: Tensor, right: &Tensor) -> Tensor {
        left.g_add_(right)
    }

    fn linear(&mut self, input: &Tensor, linear: &Linear) -> Tensor {
        self.net.linear(input, linear, self.kind())
    }
}

/// Logits of many digits, in batches that stay in the cache, without gradients. `[n, 10]` on the CPU.
pub fn logits(net: &Net, digits: &Tensor, batch_size: i64) -> Tensor {
    let _no_grad = tch::no_grad_guard();
    let batches: Vec<Tensor> = digits
        .split(batch_size, 0)
        .iter()
        .map(|batch| net.forward(batch, Mode::Eval))
        .collect();
    Tensor::cat(&batches, 0).to_device(Device::Cpu).to_kind(Kind::Float)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starts_the_same_from_the_same_seed() {
        let digits = Tensor::ones([2, 1, 28, 28], (Kind::Float, Device::Cpu));
        let logits = |seed| Net::new(NetworkSpec::default(), seed, Device::Cpu).forward(&digits, Mode::Eval);
        assert_eq!(logits(1), logits(1));
        assert_ne!(logits(1), logits(2));
    }

    #[test]
    fn starts_like_pytorch() {
        let net = Net::new(NetworkSpec::default(), 0, Device::Cpu);
        let std = |name: &str| net.tensors[name].std(true).double_value(&[]);
        // A uniform distribution in ±b has the standard deviation b / sqrt(3).
        let expected = |fan_in: f64| 1.0 / (3.0 * fan_in).sqrt();
        for (name, fan_in) in [
            ("block3.conv2.weight", 576.0),
            ("block2.conv1.weight", 144.0),
            ("fc.weight", 3136.0),
        ] {
            assert!((std(name) / expected(fan_in) - 1.0).abs() < 0.03, "{name}");
        }
        assert_eq!(net.tensors["block1.bn1.weight"].double_value(&[3]), 1.0);
        assert_eq!(net.tensors["block1.bn1.bias"].double_value(&[3]), 0.0);
    }

    #[test]
    fn bf16_computes_the_same_less_exactly() {
        let digits = Tensor::linspace(-1.0, 2.0, 4 * 784, (Kind::Float, Device::Cpu)).view([4, 1, 28, 28]);
        let net = Net::new(NetworkSpec::default(), 0, Device::Cpu);
        let [exact, near] = [Precision::F32, Precision::Bf16].map(|precision| {
            let logits = net.forward(&digits, Mode::Train(precision));
            let gradients = Tensor::run_backward(&[logits.square().sum(Kind::Float)], &net.trained(), false, false);
            assert!(gradients.iter().all(|gradient| gradient.kind() == Kind::Float));
            logits
        });
        let difference = (exact - near).abs().max().double_value(&[]);
        assert!(difference > 0.0 && difference < 0.1, "{difference}");
    }

    #[test]
    fn tensors_lie_in_the_numbers() {
        let net = Net::new(NetworkSpec::default(), 0, Device::Cpu);
        assert_eq!(net.tensors["block2.conv1.weight"].stride(), [9 * 16, 1, 3 * 16, 16]);
        let _ = net.trained_numbers().fill_(0.5);
        for (name, tensor) in &net.tensors {
            let is_trained = !name.contains("running");
            assert_eq!(tensor.requires_grad(), is_trained, "{name}");
            assert_eq!(tensor.min().double_value(&[]) == 0.5, is_trained, "{name}");
        }
        let decays = net.weight_decays(0.1);
        let decays: BTreeMap<_, _> = net.trained_parts(&decays).collect();
        assert!(decays["fc.weight"].min().double_value(&[]) > 0.0);
        assert_eq!(decays["fc.bias"].max().double_value(&[]), 0.0);
        assert_eq!(decays["block1.bn1.weight"].max().double_value(&[]), 0.0);
    }

    #[test]
    fn gradients_are_in_the_order_of_the_numbers() {
        let net = Net::new(NetworkSpec::default(), 0, Device::Cpu);
        let digits = Tensor::linspace(-1.0, 2.0, 2 * 784, (Kind::Float, Device::Cpu)).view([2, 1, 28, 28]);
        let loss = || net.forward(&digits, Mode::Eval).square().sum(Kind::Float);
        let gradients = net.gradients(&loss());
        let expected = Tensor::run_backward(&[loss()], &net.trained(), false, false);
        for ((name, gradient), expected) in net.trained_parts(&gradients).zip(expected) {
            assert_eq!(gradient, expected, "{name}");
        }
    }
}
