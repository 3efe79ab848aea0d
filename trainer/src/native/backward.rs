//! The way back over the tape: map by map, all that a map was used for at once, while it is in the cache.

use pulp::Arch;
use rayon::ThreadPool;
use rayon::prelude::*;

use super::CHUNK;
use super::lanes;
use super::method::{Back, with_scratch};
use super::norm::{Combine, Normed, Slope};
use super::tape::{ConvRecord, Memory, Tape};

/// For each convolution of the tape the gradients of its kernel, and of the weight and the bias of its batch norm, given that of
/// the last map.
pub fn run(arch: Arch, pool: &ThreadPool, memory: &mut Memory, tape: &Tape, of_last: &[f32]) -> Vec<[Vec<f32>; 3]> {
    let mut gradients: Vec<[Vec<f32>; 3]> = tape.convs.iter().map(|_| Default::default()).collect();
    let mut known = Backward {
        arch,
        tape,
        of_last,
        of_sums: tape.maps.iter().map(|_| Vec::new()).collect(),
        factors: tape.convs.iter().map(|_| Default::default()).collect(),
    };
    for index in (0..tape.maps.len()).rev() {
        let map = &tape.maps[index];
        let mut of_sum = match map.origin {
            Some(_) => memory.take(map.values.len()),
            None => Vec::new(),
        };
        let parts: Vec<Part> = pool.install(|| {
            let mut chunks: Vec<Option<&mut [f32]>> = of_sum.chunks_mut(CHUNK * map.size.len()).map(Some).collect();
            chunks.resize_with(tape.digits.div_ceil(CHUNK), || None);
            chunks
                .into_par_iter()
                .enumerate()
                .map(|(chunk, of_sum)| known.part(index, chunk, of_sum))
                .collect()
        });
        let sum = parts.into_iter().reduce(Part::add).expect("a batch has digits");
        for (conv, kernel) in tape.uses(index).zip(sum.kernels) {
            gradients[conv][0] = tape.convs[conv].method.unpack(&kernel);
        }
        for (conv, products) in tape.normed(index).zip(&sum.products) {
            let record = &tape.convs[conv];
            known.factors[conv] = factors(record, tape.digits, &sum.sums, products);
            [gradients[conv][1], gradients[conv][2]] = norm_gradients(record, &sum.sums, products);
        }
        known.of_sums[index] = of_sum;
    }
    known.of_sums.into_iter().for_each(|of_sum| memory.give(of_sum));
    gradients
}

/// What is known on the way back.
struct Backward<'a> {
    arch: Arch,
    tape: &'a Tape,
    of_last: &'a [f32],
    /// Gradient of the sum before each map's activation, from the last map down.
    of_sums: Vec<Vec<f32>>,
    /// For each convolution: how its gradient is combined of that of its sum and of its output.
    factors: Vec<[Vec<f32>; 3]>,
}

/// What a chunk of digits adds.
struct Part {
    /// Gradients of the kernels that were applied to the map.
    kernels: Vec<Vec<f32>>,
    /// Sums of the gradient before the activation, by channel.
    sums: Vec<f64>,
    /// For each batch norm before the activation: sums of the gradient times the distance from the mean, by channel.
    products: [Vec<f64>; 2],
}

impl Part {
    fn add(mut self, other: Part) -> Part {
        for (to, from) in self.kernels.iter_mut().zip(&other.kernels) {
            to.iter_mut().zip(from).for_each(|(to, from)| *to += from);
        }
        let mine = [&mut self.sums].into_iter().chain(&mut self.products);
        for (to, from) in mine.zip([&other.sums].into_iter().chain(&other.products)) {
            to.iter_mut().zip(from).for_each(|(to, from)| *to += from);
        }
        self
    }
}

impl Backward<'_> {
    /// Gradients from a chunk of the digits of a map; that of the sum before its activation goes to `of_sum`.
    fn part(&self, index: usize, chunk: usize, mut of_sum: Option<&mut [f32]>) -> Part {
        let map = &self.tape.maps[index];
        let uses: Vec<(&ConvRecord, usize, &[Vec<f32>; 3])> = self
            .tape
            .uses(index)
            .map(|conv| (&self.tape.convs[conv], self.tape.owner(conv), &self.factors[conv]))
            .collect();
        let normed: Vec<&ConvRecord> = self.tape.normed(index).map(|conv| &self.tape.convs[conv]).collect();
        let added_to: Vec<usize> = self.tape.added_to(index).collect();
        let none = || vec![0.0; map.size.channels];
        let mut part = Part {
            kernels: uses.iter().map(|(conv, ..)| conv.method.no_gradient()).collect(),
            sums: none(),
            products: [none(), none()],
        };
        let group = uses.iter().map(|(conv, ..)| conv.method.group()).max().unwrap_or(1);
        let scratch = |conv: &ConvRecord| group * conv.size.len() + conv.method.scratch(group);
        let scratch = uses.iter().map(|(conv, ..)| scratch(conv)).max().unwrap_or(0);
        let end = self.tape.digits.min((chunk + 1) * CHUNK);
        with_scratch(scratch, |scratch| {
            for first in (chunk * CHUNK..end).step_by(group) {
                let digits = first..end.min(first + group);
                let of = |len: usize| digits.start * len..digits.end * len;
                let len = map.size.len();
                let input = &map.values[of(len)];
                let mut gradient = of_sum
                    .as_deref_mut()
                    .map(|all| &mut all[(first - chunk * CHUNK) * len..][..input.len()]);
                if let Some(gradient) = &mut gradient {
                    match index + 1 == self.tape.maps.len() {
                        true => gradient.copy_from_slice(&self.of_last[of(len)]),
                        false => gradient.fill(0.0),
                    }
                    for &other in &added_to {
                        let more = &self.of_sums[other][of(len)];
                        gradient.iter_mut().zip(more).for_each(|(to, from)| *to += from);
                    }
                }
                for (&(conv, owner, factors), to_kernel) in uses.iter().zip(&mut part.kernels) {
                    let outputs = of(conv.size.len());
                    let (output, scratch) = scratch.split_at_mut(outputs.len());
                    let (x, y) = (&self.of_sums[owner][outputs.clone()], &conv.values[outputs]);
                    lanes::run(self.arch, Combine { x, y, factors, output });
                    let (kernel, to_input) = (&conv.kernel, gradient.as_deref_mut());
                    conv.method.backward(
                        self.arch,
                        Back {
                            input,
                            output,
                            kernel,
                            to_input,
                            to_kernel,
                        },
                        scratch,
                    );
                }
                if let (Some(gradient), Some((activation, _))) = (gradient, &map.origin) {
                    let mut terms = [None, None];
                    for ((term, conv), products) in terms.iter_mut().zip(&normed).zip(&mut part.products) {
                        *term = Some(Normed {
                            values: &conv.values[of(len)],
                            mean: &conv.mean,
                            products,
                        });
                    }
                    let (output, activation, sums) = (input, *activation, &mut part.sums);
                    lanes::run(
                        self.arch,
                        Slope {
                            gradient,
                            output,
                            activation,
                            sums,
                            normed: terms,
                        },
                    );
                }
            }
        });
        part
    }
}

/// Gradients of a batch norm's weight and bias.
fn norm_gradients(conv: &ConvRecord, sums: &[f64], products: &[f64]) -> [Vec<f32>; 2] {
    let weight = products.iter().zip(&conv.inverse_deviation);
    let weight = weight.map(|(product, &inverse)| (product * f64::from(inverse)) as f32);
    [weight.collect(), sums.iter().map(|&sum| sum as f32).collect()]
}

/// `a`, `b` and `c`, by channel, with which `a * g + b * y + c` is the gradient of a convolution's output `y`, where `g` is that
/// of its batch norm's output.
fn factors(conv: &ConvRecord, digits: usize, sums: &[f64], products: &[f64]) -> [Vec<f32>; 3] {
    let n = (digits * conv.size.side * conv.size.side) as f64;
    let mut factors = [const { Vec::new() }; 3];
    for channel in 0..sums.len() {
        let [a, inverse, mean] = [&conv.scale, &conv.inverse_deviation, &conv.mean].map(|of| f64::from(of[channel]));
        let b = -a * inverse * inverse * products[channel] / n;
        let c = -a * sums[channel] / n - b * mean;
        [a, b, c]
            .into_iter()
            .zip(&mut factors)
            .for_each(|(value, to)| to.push(value as f32));
    }
    factors
}
