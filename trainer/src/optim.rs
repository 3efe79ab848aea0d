//! The optimizers, over tensors that share their memory with the network. Steps and defaults are PyTorch's.

use serde::{Deserialize, Serialize};
use tch::Tensor;

/// How much of the last step goes into the next one of SGD.
const MOMENTUM: f64 = 0.9;

/// Which optimizer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
#[value(rename_all = "lowercase")]
pub enum OptimizerKind {
    /// Adam, betas 0.9 and 0.999, eps 1e-8 (Kingma and Ba 2015).
    Adam,
    /// Adam whose weight decay passes by the running means (Loshchilov and Hutter 2019).
    AdamW,
    /// Stochastic gradient descent with Nesterov momentum 0.9.
    Sgd,
    /// Stochastic gradient descent with plain momentum 0.9.
    Momentum,
}

/// An optimizer with its state for each tensor.
pub struct Optimizer {
    kind: OptimizerKind,
    slots: Vec<Slot>,
    steps: i32,
}

/// A trained tensor with the running means that its optimizer keeps.
struct Slot {
    tensor: Tensor,
    /// Mean of the gradients (Adam), or the momentum (SGD).
    first: Tensor,
    /// Mean of the squared gradients (Adam).
    second: Tensor,
    weight_decay: f64,
}

impl Optimizer {
    /// An optimizer that changes `tensors`. Weights, which are matrices or kernels, are also pulled towards 0 by
    /// `weight_decay` times themselves; biases and batch norms are not.
    pub fn new(kind: OptimizerKind, tensors: Vec<Tensor>, weight_decay: f64) -> Optimizer {
        let slot = |tensor: Tensor| Slot {
            first: tensor.detach().zeros_like(),
            second: tensor.detach().zeros_like(),
            weight_decay: if tensor.dim() > 1 { weight_decay } else { 0.0 },
            tensor,
        };
        Optimizer {
            kind,
            slots: tensors.into_iter().map(slot).collect(),
            steps: 0,
        }
    }

    /// Takes one step against the gradients of the tensors.
    pub fn step(&mut self, gradients: &[Tensor], learning_rate: f64) {
        assert_eq!(gradients.len(), self.slots.len());
        self.steps += 1;
        let _no_grad = tch::no_grad_guard();
        for (slot, grad) in self.slots.iter_mut().zip(gradients) {
            match self.kind {
                OptimizerKind::Adam => slot.adam(&slot.decayed(grad), learning_rate, self.steps),
                OptimizerKind::AdamW => {
                    let _ = slot.tensor.g_mul_scalar_(1.0 - learning_rate * slot.weight_decay);
                    slot.adam(grad, learning_rate, self.steps);
                }
                OptimizerKind::Sgd => slot.nesterov(&slot.decayed(grad), learning_rate),
                OptimizerKind::Momentum => slot.momentum(&slot.decayed(grad), learning_rate),
            }
        }
    }

    /// Steps taken so far.
    pub fn steps(&self) -> i32 {
        self.steps
    }

    /// What the optimizer keeps of the past beside [`Optimizer::steps`], in the order of its tensors; the memory is shared.
    pub fn memory(&self) -> impl Iterator<Item = &Tensor> {
        self.slots.iter().flat_map(|slot| [&slot.first, &slot.second])
    }

    /// Goes on after `steps` steps; whoever calls fills [`Optimizer::memory`].
    pub fn resume(&mut self, steps: i32) {
        self.steps = steps;
    }
}

impl Slot {
    fn decayed(&self, grad: &Tensor) -> Tensor {
        if self.weight_decay > 0.0 {
            grad + &self.tensor * self.weight_decay
        } else {
            grad.shallow_clone()
        }
    }

    fn adam(&mut self, grad: &Tensor, learning_rate: f64, steps: i32) {
        const BETA1: f64 = 0.9;
        const BETA2: f64 = 0.999;
        const EPSILON: f64 = 1e-8;
        let (correction1, correction2) = (1.0 - BETA1.powi(steps), 1.0 - BETA2.powi(steps));
        let _ = self.first.lerp_(grad, 1.0 - BETA1);
        let _ = self.second.g_mul_scalar_(BETA2).addcmul_(&(grad * (1.0 - BETA2)), grad);
        let denominator = (self.second.sqrt() / correction2.sqrt()).g_add_scalar_(EPSILON);
        let _ = self
            .tensor
            .addcdiv_(&(&self.first * (-learning_rate / correction1)), &denominator);
    }

    fn nesterov(&mut self, grad: &Tensor, learning_rate: f64) {
        let _ = self.first.g_mul_scalar_(MOMENTUM).g_add_(grad);
        let _ = self.tensor.g_sub_(&((&self.first * MOMENTUM + grad) * learning_rate));
    }

    fn momentum(&mut self, grad: &Tensor, learning_rate: f64) {
        let _ = self.first.g_mul_scalar_(MOMENTUM).g_add_(grad);
        let _ = self.tensor.g_sub_(&(&self.first * learning_rate));
    }
}

#[cfg(test)]
mod tests {
    use tch::nn::{self, OptimizerConfig};
    use tch::{Device, Kind};

    use super::*;

    /// Ten steps of ours and of libtorch's optimizer on the same badly scaled bowl end at the same place.
    #[track_caller]
    fn check(
        kind: OptimizerKind,
        weight_decay: f64,
        theirs: impl Fn(&nn::VarStore) -> nn::Optimizer,
        learning_rate: f64,
    ) {
        let start = Tensor::from_slice(&[3f32, -2.0, 5.0]).view([1, 3]);
        let scales = Tensor::from_slice(&[1f32, 30.0, 0.01]);
        let loss = |x: &Tensor| ((x - 1.0).square() * &scales).sum(Kind::Float);

        let tensor = start.copy().set_requires_grad(true);
        let mut ours = Optimizer::new(kind, vec![tensor.shallow_clone()], weight_decay);
        let store = nn::VarStore::new(Device::Cpu);
        let variable = store.root().var_copy("x", &start);
        let mut theirs = theirs(&store);
        for _ in 0..10 {
            let gradients = Tensor::run_backward(&[loss(&tensor)], &[&tensor], false, false);
            ours.step(&gradients, learning_rate);
            theirs.backward_step(&loss(&variable));
        }
        let difference = (&tensor - &variable).abs().max().double_value(&[]);
        assert!(difference <= 1e-6, "{difference}: {tensor} {variable}");
        assert!((&tensor - start).abs().min().double_value(&[]) > 1e-3);
    }

    #[test]
    fn adam_is_libtorchs() {
        for wd in [0.0, 0.1] {
            let adam = nn::Adam {
                wd,
                ..nn::Adam::default()
            };
            check(OptimizerKind::Adam, wd, |store| adam.build(store, 0.05).unwrap(), 0.05);
        }
    }

    #[test]
    fn adamw_is_libtorchs() {
        for wd in [0.0, 0.1] {
            let adamw = nn::AdamW {
                wd,
                ..nn::AdamW::default()
            };
            check(
                OptimizerKind::AdamW,
                wd,
                |store| adamw.build(store, 0.05).unwrap(),
                0.05,
            );
        }
    }

    #[test]
    fn sgd_is_libtorchs() {
        for (kind, nesterov) in [(OptimizerKind::Sgd, true), (OptimizerKind::Momentum, false)] {
            for wd in [0.0, 0.1] {
                let sgd = nn::Sgd {
                    momentum: 0.9,
                    nesterov,
                    wd,
                    ..nn::Sgd::default()
                };
                check(kind, wd, |store| sgd.build(store, 0.01).unwrap(), 0.01);
            }
        }
    }

    #[test]
    fn only_weights_decay() {
        let [weight, bias] = [[1, 1].as_slice(), &[1]]
            .map(|shape| Tensor::ones(shape, (Kind::Float, Device::Cpu)).set_requires_grad(true));
        let tensors = vec![weight.shallow_clone(), bias.shallow_clone()];
        let mut optimizer = Optimizer::new(OptimizerKind::Sgd, tensors, 0.5);
        let gradients = [&weight, &bias].map(|tensor| tensor.detach().zeros_like());
        optimizer.step(&gradients, 1.0);
        assert!(weight.double_value(&[0, 0]) < 0.5);
        assert_eq!(bias.double_value(&[0]), 1.0);
    }
}
