//! Every layer as its definition reads, in scalar code: what all other kernels are held against.

use models::network::Activation;

use super::map::Map;
use super::spec::{ConvSpec, LinearSpec, Residual};

/// The activation by the standard library.
pub fn activate(x: f32, activation: Option<Activation>) -> f32 {
    match activation {
        None => x,
        Some(Activation::Relu) => x.max(0.0),
        Some(Activation::Sigmoid) => 1.0 / (1.0 + (-x).exp()),
        Some(Activation::Tanh) => x.tanh(),
    }
}

/// One digit's convolution.
pub fn conv(spec: &ConvSpec, from: &Map, to: &Map, input: &[f32], residual: Residual, output: &mut [f32]) {
    let windows = spec.windows(from, to);
    for (window, pixel) in windows.into_iter().zip(to.pixels()) {
        for out in 0..spec.out_channels {
            let mut sum = spec.bias[out];
            for channel in 0..spec.in_channels {
                for ky in 0..spec.kernel[0] {
                    for kx in 0..spec.kernel[1] {
                        let x = input[window + ky * from.row() + kx * from.depth + channel];
                        sum += x * spec.weight[spec.index(out, channel, ky, kx)];
                    }
                }
            }
            sum += match residual {
                Residual::None => 0.0,
                Residual::Output => output[pixel + out],
                Residual::Map(map) => map[pixel + out],
            };
            output[pixel + out] = activate(sum, spec.activation);
        }
    }
}

/// One digit's fully connected layer.
pub fn linear(spec: &LinearSpec, from: &Map, input: &[f32], output: &mut [f32]) {
    let pixels: Vec<usize> = from.pixels().collect();
    let features = pixels.len() * from.channels;
    for (out, weights) in spec.weight.chunks(features).enumerate() {
        let mut sum = spec.bias[out];
        for (index, weight) in weights.iter().enumerate() {
            sum += weight * input[pixels[index % pixels.len()] + index / pixels.len()];
        }
        output[out] = activate(sum, spec.activation);
    }
}
