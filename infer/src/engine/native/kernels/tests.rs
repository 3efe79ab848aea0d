//! Every kernel against the plain one, on shapes that fill no vector and no block.

use models::network::Activation;
use models::network::Activation::{Relu, Sigmoid, Tanh};

use super::*;

/// Digits in a run: a group that is computed at once, and one more.
const DIGITS: usize = 5;

/// The kernels that this CPU can run, beside the plain ones; the others are named.
fn kernels() -> Vec<Kernels> {
    let mut found = Vec::new();
    for kind in KernelKind::ladder().skip(1) {
        match Kernels::select(Some(kind)) {
            Ok(kernels) => found.push(kernels),
            Err(error) => eprintln!("not run: {error}"),
        }
    }
    found
}

/// Numbers in [-1, 1) that look random and are always the same.
fn numbers(len: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    };
    (0..len).map(|_| next()).collect()
}

/// Weights of sums over `fan_in` products that stay near 1, as those of a trained network do.
fn weights(outputs: usize, fan_in: usize, seed: u64) -> Vec<f32> {
    let scale = 1.0 / (fan_in as f32).sqrt();
    numbers(outputs * fan_in, seed).into_iter().map(|x| x * scale).collect()
}

/// Maps of `DIGITS` digits with numbers inside and zeros in the border.
fn filled(map: &Map, seed: u64) -> Vec<f32> {
    let values = numbers(DIGITS * map.height * map.width * map.channels, seed);
    let mut values = values.into_iter();
    let mut maps = vec![0.0; DIGITS * map.len() + SLACK];
    for digit in 0..DIGITS {
        for pixel in map.pixels() {
            let start = digit * map.len() + pixel;
            maps[start..start + map.channels]
                .iter_mut()
                .for_each(|x| *x = values.next().unwrap());
        }
    }
    maps
}

/// The numbers inside of the maps.
fn inside(map: &Map, maps: &[f32]) -> Vec<f32> {
    let starts = (0..DIGITS).flat_map(|digit| map.pixels().map(move |pixel| digit * map.len() + pixel));
    starts
        .flat_map(|start| maps[start..start + map.channels].to_vec())
        .collect()
}

#[track_caller]
fn assert_close(kernels: Kernels, found: &[f32], expected: &[f32]) {
    assert_within(kernels, found, expected, 0.0);
}

#[track_caller]
fn assert_within(kernels: Kernels, found: &[f32], expected: &[f32], rounding: f32) {
    assert_eq!(found.len(), expected.len());
    for (index, (a, b)) in found.iter().zip(expected).enumerate() {
        let allowed = 2e-5 * b.abs().max(1.0) + rounding;
        assert!(
            (a - b).abs() <= allowed,
            "{kernels:?}: number {index} is {a}, expected {b}"
        );
    }
}

/// Height and width in, channels in and out, kernel, stride, padding (top, left, bottom, right).
type Case = ([usize; 2], [usize; 2], [usize; 2], [usize; 2], [usize; 4]);

fn spec(case: Case, activation: Option<Activation>) -> ConvSpec {
    let (_, [in_channels, out_channels], kernel, stride, [top, left, bottom, right]) = case;
    ConvSpec {
        weight: weights(out_channels, in_channels * kernel[0] * kernel[1], 1),
        bias: numbers(out_channels, 2),
        in_channels,
        out_channels,
        kernel,
        stride,
        padding: Border {
            top,
            left,
            bottom,
            right,
        },
        activation,
    }
}

#[derive(Clone, Copy, Debug)]
enum Add {
    Nothing,
    Output,
    Other,
}

#[track_caller]
fn check(case: Case, activation: Option<Activation>, add: Add) {
    let spec = spec(case, activation);
    let plain = convolve(Kernels(KernelKind::Plain), &spec, case.0, add);
    for kernels in kernels() {
        assert_close(kernels, &convolve(kernels, &spec, case.0, add), &plain);
    }
}

/// Runs `spec` as a plan would; the border of the output must stay zero.
fn convolve(kernels: Kernels, spec: &ConvSpec, [height, width]: [usize; 2], add: Add) -> Vec<f32> {
    let Border {
        top,
        left,
        bottom,
        right,
    } = spec.padding;
    let out_height = (height + top + bottom - spec.kernel[0]) / spec.stride[0] + 1;
    let out_width = (width + left + right - spec.kernel[1]) / spec.stride[1] + 1;
    let from = Map::blocked(
        spec.in_channels,
        height,
        width,
        kernels.border(spec, out_height, out_width),
    );
    let around = Border {
        top: 1,
        left: 2,
        bottom: 3,
        right: 1,
    };
    let to = Map::blocked(spec.out_channels, out_height, out_width, around);
    let (input, other) = (filled(&from, 3), filled(&to, 4));
    let mut output = filled(&to, 5);
    let layer = kernels.pack(spec, &from, &to);
    let mut scratch = vec![0.0; layer.scratch()];
    let residual = match add {
        Add::Nothing => Residual::None,
        Add::Output => Residual::Output,
        Add::Other => Residual::Map(&other),
    };
    kernels.conv(&layer, DIGITS, &input, residual, &mut output, &mut scratch);
    let found = inside(&to, &output);
    for (digit, map) in output.chunks_exact_mut(to.len()).take(DIGITS).enumerate() {
        to.pixels().for_each(|pixel| map[pixel..pixel + to.depth].fill(0.0));
        assert!(
            map.iter().all(|&x| x == 0.0),
            "{kernels:?} writes into the border of digit {digit}"
        );
    }
    found
}

#[test]
fn convolutions_of_odd_shapes() {
    let even = [1, 1, 1, 1];
    for activation in [None, Some(Relu), Some(Sigmoid), Some(Tanh)] {
        for add in [Add::Nothing, Add::Output, Add::Other] {
            check(([7, 5], [3, 5], [3, 3], [1, 1], even), activation, add);
            check(([8, 9], [17, 33], [3, 3], [1, 1], even), activation, add);
        }
    }
    check(([28, 28], [1, 16], [3, 3], [1, 1], even), Some(Relu), Add::Nothing);
    check(([28, 28], [1, 16], [3, 3], [16, 16], even), Some(Relu), Add::Nothing);
    check(([28, 28], [16, 16], [3, 3], [1, 1], even), Some(Relu), Add::Output);
    check(([14, 14], [32, 64], [3, 3], [2, 2], even), Some(Relu), Add::Output);
    check(([28, 28], [16, 32], [5, 5], [2, 2], [2; 4]), Some(Tanh), Add::Other);
    check(([14, 14], [32, 32], [3, 3], [1, 1], even), Some(Relu), Add::Output);
    check(([7, 7], [64, 64], [3, 3], [1, 1], even), Some(Relu), Add::Output);
    check(([28, 28], [16, 32], [3, 3], [2, 2], even), None, Add::Nothing);
    check(([14, 14], [32, 64], [1, 1], [2, 2], [0; 4]), None, Add::Nothing);
    check(([9, 13], [4, 20], [5, 3], [2, 3], [2, 0, 1, 1]), None, Add::Nothing);
    check(([9, 13], [9, 20], [3, 3], [1, 1], [0, 2, 1, 0]), None, Add::Nothing);
    check(([1, 1], [8, 1], [1, 1], [1, 1], [0; 4]), None, Add::Nothing);
    check(([3, 3], [8, 16], [3, 3], [1, 1], [0; 4]), None, Add::Nothing);
}

#[test]
fn linear_layers_of_odd_shapes() {
    for (channels, height, width, outputs) in [(64, 7, 7, 10), (1, 5, 3, 1), (3, 4, 5, 11), (17, 1, 1, 10)] {
        let border = Border {
            top: 1,
            left: 1,
            bottom: 0,
            right: 2,
        };
        let from = Map::blocked(channels, height, width, border);
        let to = Map::blocked(outputs, 1, 1, Border::default());
        let input = filled(&from, 6);
        let spec = LinearSpec {
            weight: weights(outputs, channels * height * width, 7),
            bias: numbers(outputs, 8),
            activation: Some(Tanh),
        };
        let compute = |kernels: Kernels| {
            let mut output = vec![0.0; DIGITS * to.len()];
            let layer = kernels.pack_linear(&spec, &from, &to);
            kernels.linear(&layer, DIGITS, &input, &mut output);
            output
        };
        let plain = compute(Kernels(KernelKind::Plain));
        for kernels in kernels() {
            assert_close(kernels, &compute(kernels), &plain);
        }
    }
}

/// A 1x1 convolution with weight 1 shows the activation alone.
#[test]
fn activations_have_the_stated_error() {
    for activation in [Sigmoid, Tanh] {
        let mut spec = spec(([1, 1], [1, 1], [1, 1], [1, 1], [0; 4]), Some(activation));
        (spec.weight, spec.bias) = (vec![1.0], vec![0.0]);
        let xs: Vec<f32> = (-100_000..=100_000)
            .map(|i| i as f32 / 1000.0)
            .chain([1e30, -1e30])
            .collect();
        let from = Map::blocked(1, 1, xs.len(), Border::default());
        let mut input = vec![0.0; from.len()];
        input
            .iter_mut()
            .step_by(from.depth)
            .zip(&xs)
            .for_each(|(to, x)| *to = *x);
        for kernels in kernels() {
            let mut output = vec![0.0; from.len()];
            let layer = kernels.pack(&spec, &from, &from);
            kernels.conv(&layer, 1, &input, Residual::None, &mut output, &mut []);
            for (x, y) in xs.iter().zip(output.iter().step_by(from.depth)) {
                let exact = match activation {
                    Sigmoid => 1.0 / (1.0 + (-f64::from(*x)).exp()),
                    _ => f64::from(*x).tanh(),
                };
                assert!(
                    (f64::from(*y) - exact).abs() <= 3e-7,
                    "{kernels:?} {activation:?}({x}) is {y}, not {exact}"
                );
            }
        }
    }
}

/// Convolutions of bytes with narrow and wide weights, to floats and to bytes, of which one may be rounded otherwise.
#[test]
fn convolutions_of_bytes_of_odd_shapes() {
    let even = [1, 1, 1, 1];
    for limit in [64.0, 128.0] {
        check_bytes(([28, 28], [1, 16], [3, 3], [1, 1], even), limit);
        check_bytes(([28, 28], [1, 16], [3, 3], [16, 16], even), limit);
        check_bytes(([28, 56], [16, 16], [3, 3], [1, 1], even), limit);
        check_bytes(([14, 14], [32, 32], [3, 3], [1, 1], even), limit);
        check_bytes(([9, 7], [3, 17], [3, 3], [2, 1], [0, 1, 2, 1]), limit);
        check_bytes(([14, 14], [32, 64], [3, 3], [2, 2], even), limit);
        check_bytes(([7, 7], [64, 64], [3, 3], [1, 1], even), limit);
        check_bytes(([6, 6], [16, 32], [1, 1], [2, 2], [0; 4]), limit);
        check_bytes(([7, 7], [64, 10], [7, 7], [1, 1], [0; 4]), limit);
    }
}

#[track_caller]
fn check_bytes(case: Case, limit: f32) {
    let conv = spec(case, Some(Relu));
    let fan_in = conv.weight.len() / conv.out_channels;
    let scale = 0.01 / limit / (fan_in as f32).sqrt();
    let alone = ByteConvSpec {
        scale: vec![scale; conv.out_channels],
        conv: conv_of_bytes(&conv, limit),
        zero: 0,
        quant: None,
        shortcut: None,
    };
    let shortcut = Shortcut {
        scale: vec![1.7 * scale; conv.out_channels],
        zero: 0,
        conv: conv_of_bytes(&spec(([1, 1], [5, case.1[1]], [1, 1], [1, 1], [0; 4]), None), limit),
    };
    let both = ByteConvSpec {
        shortcut: Some(shortcut),
        ..alone.clone()
    };
    for (spec, rounding) in [(alone, 0.0), (both, scale / 2.0)] {
        for zero in [0, 9] {
            check_byte_conv(ByteConvSpec { zero, ..spec.clone() }, case.0, rounding);
        }
    }
}

/// `rounding` is how much the floats may differ on top of their own rounding.
#[track_caller]
fn check_byte_conv(mut spec: ByteConvSpec, size: [usize; 2], rounding: f32) {
    let plain = convolve_bytes(Kernels(KernelKind::Plain), &spec, size);
    for kernels in kernels() {
        assert_within(kernels, &convolve_bytes(kernels, &spec, size), &plain, rounding);
    }
    spec.quant = Some(Quant { scale: 0.02, zero: 3 });
    for activation in [None, Some(Relu), Some(Tanh)] {
        spec.conv.activation = activation;
        let plain = convolve_bytes(Kernels(KernelKind::Plain), &spec, size);
        for kernels in kernels() {
            let found = convolve_bytes(kernels, &spec, size);
            let differing = found.iter().zip(&plain).filter(|(a, b)| a != b).count();
            assert!(found.iter().zip(&plain).all(|(a, b)| (a - b).abs() <= 1.0));
            assert!(
                differing <= plain.len() / 500 + 1,
                "{kernels:?}: {differing} bytes differ"
            );
        }
    }
}

/// The same shape, with whole weights below `limit`.
fn conv_of_bytes(conv: &ConvSpec, limit: f32) -> ConvSpec<i8> {
    let weights = numbers(conv.weight.len(), 9);
    ConvSpec {
        weight: weights.into_iter().map(|x| (x * limit) as i8).collect(),
        bias: conv.bias.clone(),
        in_channels: conv.in_channels,
        out_channels: conv.out_channels,
        kernel: conv.kernel,
        stride: conv.stride,
        padding: conv.padding,
        activation: conv.activation,
    }
}

fn convolve_bytes(kernels: Kernels, spec: &ByteConvSpec, [height, width]: [usize; 2]) -> Vec<f32> {
    let conv = &spec.conv;
    let Border {
        top,
        left,
        bottom,
        right,
    } = conv.padding;
    let out_height = (height + top + bottom - conv.kernel[0]) / conv.stride[0] + 1;
    let out_width = (width + left + right - conv.kernel[1]) / conv.stride[1] + 1;
    let mut from = Map::blocked(conv.in_channels, height, width, conv.padding);
    if conv.in_channels == 1 {
        from.depth = 1;
    }
    let to = Map::blocked(conv.out_channels, out_height, out_width, Border::default());
    let short = Map::blocked(5, out_height, out_width, Border::default());
    let byte = |x: f32| if x == 0.0 { spec.zero } else { (x * 127.0 + 128.0) as u8 };
    let bytes = |map: &Map| -> Vec<u8> { filled(map, 3).into_iter().map(byte).collect() };
    let (input, short_input, add) = (bytes(&from), bytes(&short), filled(&to, 4));
    let layer = kernels.pack_bytes(spec, [&from, &short, &to]);
    let addend = match (&spec.shortcut, spec.quant) {
        (Some(_), _) => Addend::Bytes(&short_input),
        (None, None) => Addend::Floats(&add),
        (None, Some(_)) => Addend::None,
    };
    if spec.quant.is_none() {
        let mut floats = filled(&to, 5);
        kernels.conv_bytes(&layer, DIGITS, &input, addend, Output::Floats(&mut floats));
        return inside(&to, &floats);
    }
    let mut bytes = vec![0; DIGITS * to.len()];
    kernels.conv_bytes(&layer, DIGITS, &input, addend, Output::Bytes(&mut bytes));
    let floats: Vec<f32> = bytes.into_iter().map(f32::from).collect();
    inside(&to, &floats)
}

#[test]
fn floats_become_the_same_bytes() {
    let quant = Quant { scale: 0.013, zero: 77 };
    for (channels, height, width) in [(1, 28, 28), (1, 3, 5), (3, 4, 7), (16, 2, 3)] {
        let around = Border {
            top: 1,
            left: 2,
            bottom: 0,
            right: 1,
        };
        let map = |border| Map {
            depth: channels,
            ..Map::blocked(channels, height, width, border)
        };
        let (from, to) = (map(Border::default()), map(around));
        let floats: Vec<f32> = filled(&from, 10).iter().map(|x| x * 3.0).collect();
        let quantize = |kernels: Kernels| {
            let mut bytes = vec![9; DIGITS * to.len()];
            kernels.quantize(quant, [&from, &to], DIGITS, &floats, &mut bytes);
            bytes
        };
        let plain = quantize(Kernels(KernelKind::Plain));
        for kernels in kernels() {
            assert_eq!(quantize(kernels), plain, "{kernels:?}");
        }
    }
}

#[test]
fn kernels_of_another_architecture_are_refused() {
    let (kind, message) = if cfg!(target_arch = "aarch64") {
        (KernelKind::Avx2, "this CPU has no x86_64, which the avx2 kernels need")
    } else {
        (KernelKind::Neon, "this CPU has no aarch64, which the neon kernels need")
    };
    assert!(KernelKind::ladder().all(|step| step != kind));
    assert_eq!(Kernels::select(Some(kind)).unwrap_err().to_string(), message);
}
