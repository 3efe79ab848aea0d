//! Tests of the exporter: the graph that it writes, the gate, the command, and what Python's `onnx` says of the files.

mod cli;
mod gate;
mod graph;
mod python;

use std::collections::BTreeMap;
use std::num::NonZeroU8;

use exporter::graph::{Options, export};
use infer::engine::{EngineKind, open};
use models::golden::{Golden, argmax};
use models::network::{Activation, NetworkSpec, Role};
use models::onnx::InputKind;
use models::weights::{Training, Weights};
use models::{CLASSES, Digit, PIXELS};

/// Digits in a made-up golden file: more than the largest batch, and no multiple of it.
const DIGITS: usize = 70;

/// Every network that may be trained, and two deeper ones.
fn specs() -> impl Iterator<Item = NetworkSpec> {
    let spec = |activation, residual, blocks| NetworkSpec {
        activation,
        residual,
        blocks: NonZeroU8::new(blocks).unwrap(),
    };
    [Activation::Relu, Activation::Sigmoid, Activation::Tanh]
        .into_iter()
        .flat_map(move |activation| [true, false].map(|residual| spec(activation, residual, 1)))
        .chain([spec(Activation::Relu, true, 2), spec(Activation::Tanh, false, 3)])
}

/// Untrained weights that keep the size of what passes through them.
fn weights(spec: NetworkSpec) -> Weights {
    weights_with(spec, |_| {})
}

fn weights_with(spec: NetworkSpec, change: impl FnOnce(&mut BTreeMap<String, Vec<f32>>)) -> Weights {
    let mut random = Random(1);
    let tensors = spec.parameters().into_iter().map(|parameter| {
        let (middle, spread) = match parameter.role {
            Role::Uniform { fan_in } => (0.0, (3.0 / fan_in as f32).sqrt()),
            Role::Scale | Role::RunningVar => (1.0, 0.5),
            Role::Shift | Role::RunningMean => (0.0, 0.2),
        };
        let n = parameter.shape.iter().product();
        let values = (0..n).map(|_| middle + spread * (2.0 * random.next() - 1.0));
        (parameter.name, values.collect())
    });
    let mut tensors = tensors.collect();
    change(&mut tensors);
    let training = Training {
        recipe: "published".into(),
        optimizer: "none".into(),
        learning_rate: 0.001,
        batch_size: 64,
        epochs: 0,
        seed: 1,
        train_digits: 0,
        holdout: 0,
        test_accuracy: 0.1,
        test_loss: 2.3,
        temperature: 0.9,
    };
    Weights::new(spec, training, tensors).unwrap()
}

/// Made-up digits with the logits that tract computes from the graph with its batch norms kept.
fn golden(weights: &Weights) -> Golden {
    let mut random = Random(2);
    let mut pixel = || (random.next() * 512.0 - 256.0).max(0.0) as u8;
    let digits: Vec<Digit> = (0..DIGITS).map(|_| Digit([0; PIXELS].map(|_: u8| pixel()))).collect();
    let options = Options {
        fold_norms: false,
        ..Options::default()
    };
    let mut tract = open(EngineKind::Tract, &export(weights, &options).to_bytes(), 1).unwrap();
    let mut logits = vec![0.0; DIGITS * CLASSES];
    tract
        .run(&infer::numbers(InputKind::Float32, &digits), &mut logits)
        .unwrap();
    Golden {
        weights_sha256: weights.sha256(),
        labels: logits.chunks(CLASSES).map(|logits| argmax(logits) as u8).collect(),
        digits,
        logits,
    }
}

/// Whether the machine must have everything that `make setup` brings.
fn all_required() -> bool {
    std::env::var_os("THREEBLOCK_REQUIRE_ORT").is_some_and(|value| value == "1")
}

/// Numbers from 0 to 1 by the generator of Lehmer, always the same.
struct Random(u64);

impl Random {
    fn next(&mut self) -> f32 {
        self.0 = self.0 * 48_271 % 0x7fff_ffff;
        self.0 as f32 / 0x7fff_ffff as f32
    }
}
