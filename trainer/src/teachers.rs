//! Networks that were trained before and teach another one: what they make of a digit is mixed into its label (after Hinton,
//! Vinyals and Dean 2015).

use std::path::PathBuf;

use tch::{Device, Kind, Tensor};

use crate::net::{Mode, Net};

/// The networks; there may be none.
pub struct Teachers(Vec<Net>);

impl Teachers {
    /// Reads the networks' weights.
    ///
    /// # Errors
    /// When a file cannot be read, or holds no weights.
    pub fn read(paths: &[PathBuf], device: Device) -> anyhow::Result<Teachers> {
        let net = |path: &PathBuf| Ok(Net::from_weights(&crate::read_weights(path)?, device));
        Ok(Teachers(paths.iter().map(net).collect::<anyhow::Result<_>>()?))
    }

    /// The mean of their probabilities for digits `[n, 1, 28, 28]`, which are `[n, 10]`; `None` where there is no teacher.
    pub fn probabilities(&self, digits: &Tensor) -> Option<Tensor> {
        let _no_grad = tch::no_grad_guard();
        let each = self
            .0
            .iter()
            .map(|net| net.forward(digits, Mode::Eval).softmax(1, Kind::Float));
        let sum = each.reduce(|sum, probabilities| sum + probabilities)?;
        Some(sum / self.0.len() as f64)
    }
}

#[cfg(test)]
mod tests {
    use models::network::NetworkSpec;

    use super::*;

    #[test]
    fn teachers_have_a_mean() {
        let digits = Tensor::ones([2, 1, 28, 28], (Kind::Float, Device::Cpu));
        assert!(Teachers(Vec::new()).probabilities(&digits).is_none());
        let net = |seed| Net::new(NetworkSpec::default(), seed, Device::Cpu);
        let of = |seeds: &[u64]| {
            let teachers = Teachers(seeds.iter().map(|&seed| net(seed)).collect());
            teachers.probabilities(&digits).unwrap()
        };
        let difference = of(&[0, 1]) * 2.0 - of(&[0]) - of(&[1]);
        assert!(difference.abs().max().double_value(&[]) < 1e-6);
        assert!((of(&[0]) - of(&[1])).abs().max().double_value(&[]) > 1e-3);
    }
}
