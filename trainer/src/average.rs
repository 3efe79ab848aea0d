//! The exponential moving average of a network's tensors, batch norms included: steadier than its last step.

use crate::net::Net;

/// An average over the steps so far.
pub struct Average {
    net: Net,
    decay: f64,
    steps: u32,
}

impl Average {
    /// An average of which each step keeps `decay`, and fewer of the first steps, so that the start is soon forgotten.
    pub fn new(net: &Net, decay: f64) -> Average {
        Average {
            net: net.copy(),
            decay,
            steps: 0,
        }
    }

    /// Takes in the network after a step.
    pub fn add(&mut self, net: &Net) {
        self.steps += 1;
        let steps = f64::from(self.steps);
        let decay = self.decay.min(steps / (steps + 10.0));
        self.net.approach(net, 1.0 - decay);
    }

    /// Steps taken in so far.
    pub fn steps(&self) -> u32 {
        self.steps
    }

    /// Goes on after `steps` steps; whoever calls fills the tensors of [`Average::net`].
    pub fn resume(&mut self, steps: u32) {
        self.steps = steps;
    }

    /// The averaged network.
    pub fn net(&self) -> &Net {
        &self.net
    }
}

#[cfg(test)]
mod tests {
    use models::network::NetworkSpec;
    use tch::{Device, Kind, Tensor};

    use super::*;
    use crate::net::Mode;

    #[test]
    fn comes_to_where_the_network_stays() {
        let [start, end] = [0, 1].map(|seed| Net::new(NetworkSpec::default(), seed, Device::Cpu));
        let digits = Tensor::ones([1, 1, 28, 28], (Kind::Float, Device::Cpu));
        let mut average = Average::new(&start, 0.5);
        let distance = |average: &Average| {
            let difference = average.net().forward(&digits, Mode::Eval) - end.forward(&digits, Mode::Eval);
            difference.abs().max().double_value(&[])
        };
        let far = distance(&average);
        for _ in 0..30 {
            average.add(&end);
        }
        assert!(far > 1e-2 && distance(&average) < 1e-5, "{far} {}", distance(&average));
    }
}
