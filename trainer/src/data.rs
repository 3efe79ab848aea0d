//! MNIST as tensors on the training device, and the order in which an epoch takes it.

use models::mnist::Split;
use models::{PIXELS, SIDE};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use tch::{Device, Tensor};

/// Normalised digits `[n, 1, 28, 28]` f32 and labels `[n]` i64.
pub struct Dataset {
    /// The digits.
    pub digits: Tensor,
    /// The digit that each shows.
    pub labels: Tensor,
}

impl Dataset {
    /// Normalises a split and moves it to the device.
    pub fn new(split: &Split, device: Device) -> Dataset {
        let mut pixels = Vec::with_capacity(split.digits.len() * PIXELS);
        for digit in &split.digits {
            pixels.extend_from_slice(&digit.normalized());
        }
        let labels: Vec<i64> = split.labels.iter().map(|&label| label.into()).collect();
        Dataset {
            digits: Tensor::from_slice(&pixels)
                .view([-1, 1, SIDE as i64, SIDE as i64])
                .to_device(device),
            labels: Tensor::from_slice(&labels).to_device(device),
        }
    }

    /// The same tensors, for another thread.
    pub fn shallow_clone(&self) -> Dataset {
        Dataset {
            digits: self.digits.shallow_clone(),
            labels: self.labels.shallow_clone(),
        }
    }

    /// Number of digits.
    pub fn len(&self) -> usize {
        self.labels.size()[0] as usize
    }

    /// Whether there is no digit.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The batches of one epoch in an order that depends on seed and epoch alone, `batch_size` digits each.
    /// The last one has what remains, unless that is a single digit, of which a batch norm has no variance.
    pub fn batches(&self, batch_size: usize, seed: u64, epoch: u32) -> impl ExactSizeIterator<Item = Dataset> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(u64::from(epoch) + 1);
        let mut order: Vec<i64> = (0..self.len() as i64).collect();
        order.shuffle(&mut rng);
        let chunks: Vec<Vec<i64>> = order
            .chunks(batch_size)
            .filter(|chunk| chunk.len() > 1)
            .map(<[i64]>::to_vec)
            .collect();
        chunks.into_iter().map(|chunk| {
            let index = Tensor::from_slice(&chunk).to_device(self.labels.device());
            Dataset {
                digits: self.digits.index_select(0, &index),
                labels: self.labels.index_select(0, &index),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use models::Digit;

    use super::*;

    fn order(batch_size: usize, seed: u64, epoch: u32) -> Vec<Vec<i64>> {
        let split = Split {
            digits: vec![Digit([0; PIXELS]); 9],
            labels: (0..9).collect(),
            sha256: Default::default(),
        };
        let data = Dataset::new(&split, Device::Cpu);
        data.batches(batch_size, seed, epoch)
            .map(|batch| Vec::try_from(batch.labels).unwrap())
            .collect()
    }

    #[test]
    fn an_epoch_takes_every_digit_once_in_an_order_of_its_own() {
        let mut all = order(4, 0, 0).concat();
        all.sort_unstable();
        assert_eq!(all.len(), 8, "a last batch of one digit is left out");
        assert_eq!(order(3, 0, 0).concat().len(), 9);
        assert_eq!(order(3, 0, 0), order(3, 0, 0));
        assert_ne!(order(3, 0, 0), order(3, 0, 1));
        assert_ne!(order(3, 0, 0), order(3, 1, 0));
    }
}
