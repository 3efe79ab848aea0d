//! Every layer as its definition reads, in scalar code: what all other kernels are held against.

use models::network::Activation;

use super::map::Map;
use super::spec::{Addend, ByteConvSpec, ConvSpec, LinearSpec, Output, Quant, Residual};

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

/// Adding and subtracting it rounds a float of less than 2^22 half to even.
pub const SHIFT: f32 = 12_582_912.0;

/// Rounded half to even and cut to 0 to 255.
pub fn byte(x: f32) -> u8 {
    (x.clamp(0.0, 255.0) + SHIFT - SHIFT) as u8
}

/// The byte that stands for `x`.
pub fn quantize(x: f32, quant: Quant) -> u8 {
    byte(x * (1.0 / quant.scale) + f32::from(quant.zero))
}

/// Bytes of the floats of `digits` maps.
pub fn quantize_maps(quant: Quant, [from, to]: [&Map; 2], digits: usize, floats: &[f32], bytes: &mut [u8]) {
    for digit in 0..digits {
        for (x, y) in from.pixels().zip(to.pixels()) {
            for channel in 0..from.channels {
                bytes[digit * to.len() + y + channel] = quantize(floats[digit * from.len() + x + channel], quant);
            }
        }
    }
}

/// One digit's convolution of bytes.
pub fn byte_conv(spec: &ByteConvSpec, [from, short, to]: [&Map; 3], input: &[u8], addend: Addend, output: &mut Output) {
    let conv = &spec.conv;
    let windows = conv.windows(from, to);
    let short_windows = spec.shortcut.as_ref().map(|shortcut| shortcut.conv.windows(short, to));
    for (index, pixel) in to.pixels().enumerate() {
        for out in 0..conv.out_channels {
            let mut y = byte_sum(conv, from, &input[windows[index]..], out) as f32 * spec.scale[out] + conv.bias[out];
            y += match (addend, &spec.shortcut, &short_windows) {
                (Addend::Floats(add), None, _) => add[pixel + out],
                (Addend::Bytes(input), Some(shortcut), Some(windows)) => {
                    byte_sum(&shortcut.conv, short, &input[windows[index]..], out) as f32 * shortcut.scale[out]
                }
                _ => 0.0,
            };
            let y = activate(y, conv.activation);
            match (&mut *output, spec.quant) {
                (Output::Bytes(bytes), Some(quant)) => bytes[pixel + out] = quantize(y, quant),
                (Output::Floats(floats), None) => floats[pixel + out] = y,
                _ => unreachable!("bytes go where there is a quant"),
            }
        }
    }
}

/// The products of one window with the kernels of `out`.
fn byte_sum(conv: &ConvSpec<i8>, map: &Map, window: &[u8], out: usize) -> i32 {
    let mut sum = 0;
    for channel in 0..conv.in_channels {
        for ky in 0..conv.kernel[0] {
            for kx in 0..conv.kernel[1] {
                let x = window[ky * map.row() + kx * map.depth + channel];
                sum += i32::from(x) * i32::from(conv.weight[conv.index(out, channel, ky, kx)]);
            }
        }
    }
    sum
}
