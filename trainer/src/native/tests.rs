//! The pass against libtorch's operators.

use std::num::NonZeroU8;

use half::bf16;
use models::network::NetworkSpec;
use tch::{Device, Kind, Reduction};

use super::*;
use crate::net::Mode;
use crate::precision::Precision;

/// A loss and its gradients.
struct Step {
    logits: Tensor,
    gradients: Tensor,
    net: Net,
}

impl Step {
    /// The gradients by name.
    fn parts(&self) -> impl Iterator<Item = (String, Tensor)> + use<> {
        self.net.trained_parts(&self.gradients)
    }
}

fn input(digits: i64, side: i64) -> (Tensor, Tensor) {
    let numbers = Tensor::arange(digits * side * side, (Kind::Float, Device::Cpu));
    let pixels = (numbers.square() * 0.37).sin() + (numbers * 0.011).cos();
    let labels = Tensor::arange(digits, (Kind::Int64, Device::Cpu)).remainder(10);
    (pixels.view([digits, 1, side, side]), labels)
}

fn loss(logits: &Tensor, labels: &Tensor) -> Tensor {
    logits.cross_entropy_loss::<Tensor>(labels, None, Reduction::Mean, -100, 0.0)
}

fn native(spec: NetworkSpec, (input, labels): &(Tensor, Tensor), precision: Precision, threads: usize) -> Step {
    match precision {
        Precision::F32 => native_in::<f32>(spec, (input, labels), threads),
        Precision::Bf16 => native_in::<bf16>(spec, (input, labels), threads),
    }
}

fn native_in<N: Number>(spec: NetworkSpec, (input, labels): (&Tensor, &Tensor), threads: usize) -> Step {
    let net = Net::new(spec, 3, Device::Cpu);
    let mut pass = Native::<N>::new(threads).unwrap();
    // Twice, the second time in the first one's memory.
    let mut last = None;
    for _ in 0..2 {
        let logits = pass.forward(&net, input);
        let gradients = pass.gradients(&net, &loss(&logits, labels));
        last = Some((logits.detach(), gradients));
    }
    let (logits, gradients) = last.unwrap();
    Step { logits, gradients, net }
}

fn libtorch(spec: NetworkSpec, (input, labels): &(Tensor, Tensor)) -> Step {
    let net = Net::new(spec, 3, Device::Cpu);
    let logits = [0; 2]
        .map(|_| net.forward(input, Mode::Train(Precision::F32)))
        .into_iter()
        .last()
        .unwrap();
    let gradients = net.gradients(&loss(&logits, labels));
    Step {
        logits: logits.detach(),
        gradients,
        net,
    }
}

/// The largest difference, relative to the largest number.
fn distance(ours: &Tensor, theirs: &Tensor) -> f64 {
    let largest = |tensor: &Tensor| tensor.abs().max().double_value(&[]);
    largest(&(ours - theirs)) / largest(theirs).max(1e-6)
}

#[track_caller]
fn check(spec: NetworkSpec, digits: i64, side: i64) {
    let batch = input(digits, side);
    let (ours, theirs) = (native(spec, &batch, Precision::F32, 2), libtorch(spec, &batch));
    assert!(distance(&ours.logits, &theirs.logits) < 1e-4, "{spec}");
    let [of_ours, of_theirs] = [&ours, &theirs].map(Step::parts);
    for ((name, ours), (_, theirs)) in of_ours.zip(of_theirs) {
        let distance = distance(&ours, &theirs);
        assert!(
            distance < 2e-3,
            "{spec}, {digits} digits of {side} pixels, {name}: {distance}"
        );
    }
    for (name, tensor) in ours.net.tensors() {
        let distance = distance(tensor, &theirs.net.tensors()[name]);
        assert!(distance < 1e-4, "{spec}, {name}: {distance}");
    }
}

fn spec(activation: Activation, residual: bool, blocks: u8) -> NetworkSpec {
    NetworkSpec {
        activation,
        residual,
        blocks: NonZeroU8::new(blocks).unwrap(),
    }
}

#[test]
fn is_libtorchs_pass() {
    for activation in [Activation::Relu, Activation::Sigmoid, Activation::Tanh] {
        check(spec(activation, true, 1), 37, 28);
    }
    check(spec(Activation::Relu, false, 1), 16, 28);
    check(spec(Activation::Tanh, true, 3), 5, 28);
    check(spec(Activation::Tanh, false, 2), 2, 28);
}

#[test]
fn is_libtorchs_pass_on_the_middle_of_the_pictures() {
    check(spec(Activation::Tanh, true, 1), 33, 20);
    check(spec(Activation::Sigmoid, true, 2), 18, 20);
}

#[test]
fn in_bf16_is_nearly_the_pass_in_f32() {
    let batch = input(20, 28);
    for spec in [spec(Activation::Relu, true, 1), spec(Activation::Tanh, false, 2)] {
        let [f32, bf16] = [Precision::F32, Precision::Bf16].map(|precision| native(spec, &batch, precision, 2));
        let off = distance(&bf16.logits, &f32.logits);
        assert!((1e-5..0.03).contains(&off), "{spec}: {off}");
        let [bf16, f32] = [&bf16, &f32].map(Step::parts);
        for ((name, bf16), (_, f32)) in bf16.zip(f32) {
            let cosine = (&bf16 * &f32).sum(Kind::Float) / (bf16.norm() * f32.norm());
            let cosine = cosine.double_value(&[]);
            assert!(cosine > 0.95, "{spec}, {name}: {cosine}");
        }
    }
}

#[test]
fn gradients_do_not_depend_on_threads() {
    let batch = input(50, 28);
    for precision in [Precision::F32, Precision::Bf16] {
        let [one, three] = [1, 3].map(|threads| native(NetworkSpec::default(), &batch, precision, threads));
        assert_eq!(one.logits, three.logits);
        assert_eq!(one.gradients, three.gradients);
    }
}

#[test]
fn numbers_that_are_none_are_not_hidden() {
    let batch = input(4, 28);
    let net = Net::new(NetworkSpec::default(), 0, Device::Cpu);
    let broken = net.tensors()["block2.conv1.weight"].shallow_clone();
    let _ = tch::no_grad(|| broken.shallow_clone().fill_(f64::NAN));
    let mut pass = Native::<f32>::new(1).unwrap();
    let loss = loss(&pass.forward(&net, &batch.0), &batch.1);
    assert!(loss.double_value(&[]).is_nan());
    let gradients = pass.gradients(&net, &loss);
    assert_eq!(gradients.isnan().any().int64_value(&[]), 1);
}

#[test]
fn memory_does_not_grow() {
    let (input, labels) = input(20, 28);
    let net = Net::new(NetworkSpec::default(), 0, Device::Cpu);
    let mut pass = Native::<f32>::new(1).unwrap();
    let mut kept = Vec::new();
    for _ in 0..4 {
        let logits = pass.forward(&net, &input);
        let _ = pass.gradients(&net, &loss(&logits, &labels));
        kept.push([pass.maps.kept(), pass.kernels.kept()]);
    }
    assert_eq!(kept[1], kept[3]);
}
