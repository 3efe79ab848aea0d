//! The optimizers, over numbers that share their memory with the network. Steps and defaults are PyTorch's.

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

/// An optimizer with its state.
pub struct Optimizer {
    kind: OptimizerKind,
    numbers: Tensor,
    weight_decays: Option<Tensor>,
    /// Mean of the gradients (Adam), or the momentum (SGD).
    first: Tensor,
    /// Mean of the squared gradients (Adam).
    second: Tensor,
    steps: i32,
}

impl Optimizer {
    /// An optimizer that changes `numbers`, `[n]`, and also pulls them towards 0 by as many `weight_decays` times themselves.
    pub fn new(kind: OptimizerKind, numbers: Tensor, weight_decays: Option<Tensor>) -> Optimizer {
        Optimizer {
            kind,
            weight_decays,
            first: numbers.zeros_like(),
            second: numbers.zeros_like(),
            numbers,
            steps: 0,
        }
    }

    /// Takes one step against the gradients of the numbers.
    pub fn step(&mut self, gradients: &Tensor, learning_rate: f64) {
        self.steps += 1;
        match self.kind {
            OptimizerKind::Adam => self.adam(&self.decayed(gradients), learning_rate),
            OptimizerKind::AdamW => {
                if let Some(decays) = &self.weight_decays {
                    let _ = self.numbers.g_mul_(&(decays * -learning_rate).g_add_scalar_(1.0));
                }
                self.adam(gradients, learning_rate);
            }
            OptimizerKind::Sgd => self.nesterov(&self.decayed(gradients), learning_rate),
            OptimizerKind::Momentum => self.momentum(&self.decayed(gradients), learning_rate),
        }
    }

    /// Steps taken so far.
    pub fn steps(&self) -> i32 {
        self.steps
    }

    /// What the optimizer keeps of the past beside [`Optimizer::steps`], as many numbers as it changes, each under a name; the memory
    /// is shared.
    pub fn memory(&self) -> [(&'static str, &Tensor); 2] {
        [("first", &self.first), ("second", &self.second)]
    }

    /// Goes on after `steps` steps; whoever calls fills [`Optimizer::memory`].
    pub fn resume(&mut self, steps: i32) {
        self.steps = steps;
    }

    fn decayed(&self, grad: &Tensor) -> Tensor {
        match &self.weight_decays {
            Some(decays) => grad + &self.numbers * decays,
            None => grad.shallow_clone(),
        }
    }

    fn adam(&mut self, grad: &Tensor, learning_rate: f64) {
        const BETA1: f64 = 0.9;
        const BETA2: f64 = 0.999;
        const EPSILON: f64 = 1e-8;
        let (correction1, correction2) = (1.0 - BETA1.powi(self.steps), 1.0 - BETA2.powi(self.steps));
        let _ = self.first.lerp_(grad, 1.0 - BETA1);
        let _ = self.second.g_mul_scalar_(BETA2).addcmul_(&(grad * (1.0 - BETA2)), grad);
        let denominator = (self.second.sqrt() / correction2.sqrt()).g_add_scalar_(EPSILON);
        let _ = self
            .numbers
            .addcdiv_(&(&self.first * (-learning_rate / correction1)), &denominator);
    }

    fn nesterov(&mut self, grad: &Tensor, learning_rate: f64) {
        let _ = self.first.g_mul_scalar_(MOMENTUM).g_add_(grad);
        let _ = self.numbers.g_sub_(&((&self.first * MOMENTUM + grad) * learning_rate));
    }

    fn momentum(&mut self, grad: &Tensor, learning_rate: f64) {
        let _ = self.first.g_mul_scalar_(MOMENTUM).g_add_(grad);
        let _ = self.numbers.g_sub_(&(&self.first * learning_rate));
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
        let start = Tensor::from_slice(&[3f32, -2.0, 5.0]);
        let scales = Tensor::from_slice(&[1f32, 30.0, 0.01]);
        let loss = |x: &Tensor| ((x - 1.0).square() * &scales).sum(Kind::Float);

        let numbers = start.copy();
        let tensor = numbers.detach().set_requires_grad(true);
        let decays = (weight_decay > 0.0).then(|| start.full_like(weight_decay));
        let mut ours = Optimizer::new(kind, numbers, decays);
        let store = nn::VarStore::new(Device::Cpu);
        let variable = store.root().var_copy("x", &start);
        let mut theirs = theirs(&store);
        for _ in 0..10 {
            let gradients = Tensor::run_backward(&[loss(&tensor)], &[&tensor], false, false);
            ours.step(&gradients[0], learning_rate);
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
}
