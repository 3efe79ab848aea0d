//! Static quantisation: the range of every activation on training digits, and weights as small whole numbers.
//!
//! Activations become uint8 with one scale each, weights int8 with one scale for each output channel. Weights stay
//! within ±[`WEIGHT_MAX`], so that two products of a byte and a weight fit in 16 bits on any CPU.

use std::rc::Rc;

use models::network::{Activation, Conv, Linear, Ops};
use models::weights::Weights;
use models::{Digit, SIDE};

/// Largest magnitude of a quantised weight: 7 bits, of which `2 * 255 * 63` is below `2^15`.
pub const WEIGHT_MAX: f32 = 63.0;

/// Values that an activation takes; it always holds 0, which the padding needs.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Range {
    /// The smallest.
    pub low: f32,
    /// The largest.
    pub high: f32,
}

impl Range {
    /// Step between two bytes, and the byte that stands for 0.
    pub fn scale_and_zero(self) -> (f32, u8) {
        let scale = ((self.high - self.low) / 255.0).max(f32::MIN_POSITIVE);
        (scale, (-self.low / scale).round().clamp(0.0, 255.0) as u8)
    }
}

/// The ranges of the network's input and of each activation, in the order in which the network meets them.
pub fn calibrate(weights: &Weights, digits: &[Digit]) -> Vec<Range> {
    let mut calibration = Calibration {
        weights,
        layers: Vec::new(),
        ranges: Vec::new(),
        next_layer: 0,
        next_range: 0,
    };
    for digit in digits {
        (calibration.next_layer, calibration.next_range) = (0, 0);
        let input = Image {
            channels: 1,
            side: SIDE,
            values: digit.normalized().into(),
        };
        calibration.observe(&input.values);
        weights.spec.forward(&mut calibration, Rc::new(input));
    }
    calibration.ranges
}

/// Rows of `weight`, one for each output channel, as whole numbers and the scale of each row.
pub fn quantize_rows(weight: &[f32], rows: usize) -> (Vec<i8>, Vec<f32>) {
    let mut integers = Vec::with_capacity(weight.len());
    let mut scales = Vec::with_capacity(rows);
    for row in weight.chunks(weight.len() / rows) {
        let largest = row.iter().fold(0f32, |max, w| max.max(w.abs()));
        let scale = (largest / WEIGHT_MAX).max(f32::MIN_POSITIVE);
        integers.extend(row.iter().map(|w| (w / scale).round() as i8));
        scales.push(scale);
    }
    (integers, scales)
}

/// Runs the network in plain code and remembers ranges.
struct Calibration<'a> {
    weights: &'a Weights,
    /// Folded weights and biases, once they were needed.
    layers: Vec<(Vec<f32>, Vec<f32>)>,
    ranges: Vec<Range>,
    next_layer: usize,
    next_range: usize,
}

/// `[channels, side, side]`
struct Image {
    channels: usize,
    side: usize,
    values: Vec<f32>,
}

impl Calibration<'_> {
    fn observe(&mut self, values: &[f32]) {
        if self.next_range == self.ranges.len() {
            self.ranges.push(Range::default());
        }
        let range = &mut self.ranges[self.next_range];
        for &value in values {
            *range = Range {
                low: range.low.min(value),
                high: range.high.max(value),
            };
        }
        self.next_range += 1;
    }
}

impl Ops for Calibration<'_> {
    type Tensor = Rc<Image>;

    fn conv(&mut self, input: &Rc<Image>, conv: &Conv) -> Rc<Image> {
        if self.next_layer == self.layers.len() {
            self.layers.push(self.weights.fold(conv));
        }
        let (weight, bias) = &self.layers[self.next_layer];
        self.next_layer += 1;
        let side = (input.side + 2 * conv.padding - conv.kernel_size) / conv.stride + 1;
        let mut values = Vec::with_capacity(conv.out_channels * side * side);
        for (kernels, bias) in weight.chunks(weight.len() / conv.out_channels).zip(bias) {
            values.extend(channel(input, conv, kernels, side).into_iter().map(|sum| sum + bias));
        }
        Rc::new(Image {
            channels: conv.out_channels,
            side,
            values,
        })
    }

    fn activation(&mut self, input: Rc<Image>, activation: Activation) -> Rc<Image> {
        let apply = |&x: &f32| match activation {
            Activation::Relu => x.max(0.0),
            Activation::Sigmoid => 1.0 / (1.0 + (-x).exp()),
            Activation::Tanh => x.tanh(),
        };
        let values: Vec<f32> = input.values.iter().map(apply).collect();
        self.observe(&values);
        Rc::new(Image { values, ..*input })
    }

    fn add(&mut self, left: Rc<Image>, right: &Rc<Image>) -> Rc<Image> {
        let values = left.values.iter().zip(&right.values).map(|(a, b)| a + b).collect();
        Rc::new(Image { values, ..*left })
    }

    /// The logits are not quantised.
    fn linear(&mut self, input: &Rc<Image>, _: &Linear) -> Rc<Image> {
        Rc::clone(input)
    }
}

/// One output channel of a convolution, `[side, side]`, without bias; `kernels` is `[in, kernel, kernel]`.
fn channel(input: &Image, conv: &Conv, kernels: &[f32], side: usize) -> Vec<f32> {
    let mut sums = vec![0.0; side * side];
    let size = conv.kernel_size;
    for (index, &weight) in kernels.iter().enumerate() {
        let (channel, ky, kx) = (index / (size * size), index / size % size, index % size);
        let plane = &input.values[channel * input.side * input.side..][..input.side * input.side];
        for y in 0..side {
            let from_y = (y * conv.stride + ky).wrapping_sub(conv.padding);
            if from_y >= input.side {
                continue;
            }
            for x in 0..side {
                let from_x = (x * conv.stride + kx).wrapping_sub(conv.padding);
                if from_x < input.side {
                    sums[y * side + x] += weight * plane[from_y * input.side + from_x];
                }
            }
        }
    }
    debug_assert_eq!(kernels.len(), input.channels * size * size);
    sums
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_is_a_byte_of_every_range() {
        let check = |low, high, expected| {
            let (scale, zero) = Range { low, high }.scale_and_zero();
            assert_eq!(zero, expected);
            assert!((f32::from(zero) * -scale - low).abs() <= scale);
        };
        check(0.0, 6.0, 0);
        check(-1.0, 1.55, 100);
        check(-0.5, 2.0, 51);
    }

    #[test]
    fn rows_have_their_own_scales() {
        let (integers, scales) = quantize_rows(&[0.25, -1.0, 63.0, 0.4], 2);
        assert_eq!(integers, [16, -63, 63, 0]);
        assert_eq!(scales, [1.0 / 63.0, 1.0]);
    }
}
