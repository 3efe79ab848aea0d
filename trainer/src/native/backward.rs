//! The way back over the tape: map by map, all that a map was used for at once, while it is in the cache.

use std::ops::Range;

use pulp::Arch;
use rayon::ThreadPool;
use rayon::prelude::*;

use super::CHUNK;
use super::lanes::{self, BLOCK};
use super::method::{Back, Method, with_scratch};
use super::norm::{Combine, Normed, Slope};
use super::number::{Number, copy};
use super::tape::{ConvRecord, Last, Memory, Numbers, Tape};

/// What [`run`] computes.
pub struct Gradients {
    /// For each convolution of the tape: of its kernel `[out, height, width, in]`, and of the weight and the bias of its batch norm.
    pub blocks: Vec<[Vec<f32>; 3]>,
    /// Of the last layer's kernel `[BLOCK, height, width, in]`.
    pub last: Vec<f32>,
}

/// The gradients of all that was used on the tape, given that of the logits, `[digits, BLOCK]`.
pub fn run<N: Number>(
    arch: Arch,
    pool: &ThreadPool,
    maps: &mut Memory<N>,
    kernels: &mut Memory<f32>,
    tape: &Tape<N>,
    of_logits: &[f32],
) -> Gradients {
    let mut gradients = Gradients {
        blocks: tape.convs.iter().map(|_| Default::default()).collect(),
        last: Vec::new(),
    };
    let mut known = Backward {
        arch,
        tape,
        of_logits,
        of_sums: tape.maps.iter().map(|_| maps.take(0)).collect(),
        factors: tape.convs.iter().map(|_| Default::default()).collect(),
    };
    for index in (0..tape.maps.len()).rev() {
        let map = &tape.maps[index];
        let mut of_sum = match map.origin {
            Some(_) => maps.take(map.values.len()),
            None => maps.take(0),
        };
        let uses = known.uses(index);
        let mut chunks: Vec<Chunk<N>> = (0..tape.digits.div_ceil(CHUNK))
            .map(|_| Chunk {
                of_sum: None,
                kernels: uses.iter().map(|used| kernels.take(used.method.gradient())).collect(),
            })
            .collect();
        let parts = of_sum.chunks_mut(CHUNK * map.size.len());
        chunks
            .iter_mut()
            .zip(parts)
            .for_each(|(chunk, part)| chunk.of_sum = Some(part));
        let parts: Vec<Part> = pool.install(|| {
            let chunks = chunks.into_par_iter().enumerate();
            chunks
                .map(|(number, chunk)| known.part(index, &uses, number, chunk))
                .collect()
        });
        let mut parts = parts.into_iter();
        let mut sum = parts.next().expect("a batch has digits");
        for part in parts {
            sum.add(&part);
            part.kernels.into_iter().for_each(|kernel| kernels.give(kernel));
        }
        for (used, kernel) in uses.iter().zip(sum.kernels) {
            let unpacked = used.method.unpack(arch, &kernel);
            kernels.give(kernel);
            match used.conv {
                Some(conv) => gradients.blocks[conv][0] = unpacked,
                None => gradients.last = unpacked,
            }
        }
        for (conv, products) in tape.normed(index).zip(&sum.products) {
            let record = &tape.convs[conv];
            known.factors[conv] = factors(record, tape.digits, &sum.sums, products);
            [gradients.blocks[conv][1], gradients.blocks[conv][2]] = norm_gradients(record, &sum.sums, products);
        }
        known.of_sums[index] = of_sum;
    }
    known.of_sums.into_iter().for_each(|of_sum| maps.give(of_sum));
    gradients
}

/// What is known on the way back.
struct Backward<'a, N> {
    arch: Arch,
    tape: &'a Tape<N>,
    of_logits: &'a [f32],
    /// Gradient of the sum before each map's activation, from the last map down.
    of_sums: Vec<Numbers<N>>,
    /// For each convolution: how its gradient is combined of that of its sum and of its output.
    factors: Vec<[Vec<f32>; 3]>,
}

/// A layer that was applied to a map.
#[derive(Clone, Copy)]
struct Use<'a> {
    /// The convolution's number on the tape; the last layer has none.
    conv: Option<usize>,
    method: Method,
    kernel: &'a [f32],
    /// Numbers of the output of one digit.
    output: usize,
}

/// Where a chunk of digits writes.
struct Chunk<'a, N> {
    /// The gradient of the sum before the map's activation, where it has one.
    of_sum: Option<&'a mut [N]>,
    /// Gradients of the kernels that were applied to the map.
    kernels: Vec<Numbers<f32>>,
}

/// What a chunk of digits adds.
struct Part {
    /// Gradients of the kernels that were applied to the map.
    kernels: Vec<Numbers<f32>>,
    /// Sums of the gradient before the activation, by channel.
    sums: Vec<f64>,
    /// For each batch norm before the activation: sums of the gradient times the distance from the mean, by channel.
    products: [Vec<f64>; 2],
}

impl Part {
    fn add(&mut self, other: &Part) {
        for (to, from) in self.kernels.iter_mut().zip(&other.kernels) {
            to.iter_mut().zip(from.iter()).for_each(|(to, from)| *to += from);
        }
        let mine = [&mut self.sums].into_iter().chain(&mut self.products);
        for (to, from) in mine.zip([&other.sums].into_iter().chain(&other.products)) {
            to.iter_mut().zip(from).for_each(|(to, from)| *to += from);
        }
    }
}

impl<'a, N: Number> Backward<'a, N> {
    /// What a map was used for.
    fn uses(&self, index: usize) -> Vec<Use<'a>> {
        let tape = self.tape;
        let of_conv = |conv: usize| Use {
            conv: Some(conv),
            method: tape.convs[conv].method,
            kernel: &tape.convs[conv].kernel,
            output: tape.convs[conv].size.len(),
        };
        let of_last = |last: &'a Last| Use {
            conv: None,
            method: last.method,
            kernel: &last.kernel,
            output: BLOCK,
        };
        let last = tape.last.iter().filter(|_| index + 1 == tape.maps.len());
        tape.uses(index).map(of_conv).chain(last.map(of_last)).collect()
    }

    /// The gradient of some digits' output of a layer; `scratch` has room for it.
    fn of_output<'b>(&'b self, used: Use, digits: &Range<usize>, scratch: &'b mut [f32]) -> &'b [f32] {
        let outputs = digits.start * used.output..digits.end * used.output;
        let Some(conv) = used.conv else {
            return &self.of_logits[outputs];
        };
        let output = &mut scratch[..outputs.len()];
        let combine = Combine {
            x: &self.of_sums[self.tape.owner(conv)][outputs.clone()],
            y: &self.tape.convs[conv].values[outputs],
            factors: &self.factors[conv],
            output: &mut *output,
        };
        lanes::run(self.arch, combine);
        output
    }

    /// Gradients from a chunk of the digits of a map.
    fn part(&self, index: usize, uses: &[Use], number: usize, chunk: Chunk<N>) -> Part {
        let map = &self.tape.maps[index];
        let none = || vec![0.0; map.size.channels];
        let Chunk { mut of_sum, kernels } = chunk;
        let mut part = Part {
            kernels,
            sums: none(),
            products: [none(), none()],
        };
        part.kernels.iter_mut().for_each(|kernel| kernel.fill(0.0));
        let group = uses.iter().map(|used| used.method.group()).max().unwrap_or(1);
        let len = map.size.len();
        let scratch = |used: &Use| group * used.output + used.method.scratch(group);
        let scratch = group * len + uses.iter().map(scratch).max().unwrap_or(0);
        let end = self.tape.digits.min((number + 1) * CHUNK);
        with_scratch(scratch, |scratch| {
            let (room, scratch) = scratch.split_at_mut(group * len);
            for first in (number * CHUNK..end).step_by(group) {
                let digits = first..end.min(first + group);
                match of_sum.as_deref_mut() {
                    Some(of_sum) => {
                        let of_sum = &mut of_sum[(first - number * CHUNK) * len..][..digits.len() * len];
                        N::write(self.arch, of_sum, room, |gradient| {
                            self.group(index, uses, digits, Some(gradient), &mut part, scratch);
                        });
                    }
                    None => self.group(index, uses, digits, None, &mut part, scratch),
                }
            }
        });
        part
    }

    /// Adds to a chunk's part what some of its digits add; `gradient` is where that of the sum before the activation goes.
    fn group(
        &self,
        index: usize,
        uses: &[Use],
        digits: Range<usize>,
        mut gradient: Option<&mut [f32]>,
        part: &mut Part,
        scratch: &mut [f32],
    ) {
        let map = &self.tape.maps[index];
        let of = |len: usize| digits.start * len..digits.end * len;
        let len = map.size.len();
        let input = &map.values[of(len)];
        let mut adds = false;
        if let Some(gradient) = &mut gradient {
            for other in self.tape.added_to(index) {
                let more = &self.of_sums[other][of(len)];
                match adds {
                    false => copy(more, gradient),
                    true => gradient.iter_mut().zip(more).for_each(|(to, &from)| *to += from.into()),
                }
                adds = true;
            }
        }
        for (&used, to_kernel) in uses.iter().zip(&mut part.kernels) {
            let (output, scratch) = scratch.split_at_mut(digits.len() * used.output);
            let back = Back {
                input,
                output: self.of_output(used, &digits, output),
                kernel: used.kernel,
                to_input: gradient.as_deref_mut(),
                adds,
                to_kernel,
            };
            used.method.backward(self.arch, back, scratch);
            adds = true;
        }
        if let (Some(gradient), Some((activation, _))) = (gradient, &map.origin) {
            let mut terms = [None, None];
            let normed = self.tape.normed(index).map(|conv| &self.tape.convs[conv]);
            for ((term, conv), products) in terms.iter_mut().zip(normed).zip(&mut part.products) {
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
}

/// Gradients of a batch norm's weight and bias.
fn norm_gradients<N>(conv: &ConvRecord<N>, sums: &[f64], products: &[f64]) -> [Vec<f32>; 2] {
    let weight = products.iter().zip(&conv.inverse_deviation);
    let weight = weight.map(|(product, &inverse)| (product * f64::from(inverse)) as f32);
    [weight.collect(), sums.iter().map(|&sum| sum as f32).collect()]
}

/// `a`, `b` and `c`, by channel, with which `a * g + b * y + c` is the gradient of a convolution's output `y`, where `g` is that
/// of its batch norm's output.
fn factors<N>(conv: &ConvRecord<N>, digits: usize, sums: &[f64], products: &[f64]) -> [Vec<f32>; 3] {
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
