//! The training pass on a CPU in vectors of our own: the blocks' forward pass and gradients, without libtorch's operators.
//!
//! libtorch writes what lies between two operators to memory and reads it again. Here a convolution is measured for its batch
//! norm while it is in the cache; the norm, the shortcut's addition and the activation are one pass; on the way back, all that
//! a map of activations is used for is one pass too; and 3x3 convolutions are Winograd's in both directions, or products of
//! the matrix unit in bf16. The last layer is a convolution by kernels of the map's size. The loss and the optimizer stay
//! libtorch's.
//!
//! Maps are `[digits, height, width, channels]`, in memory as the kind of number that is multiplied. Work is cut into chunks of
//! digits, whose sums are added in the same order whoever computed them: the gradients do not depend on the number of threads.

mod backward;
mod direct;
mod lanes;
mod matrix;
mod method;
mod norm;
mod number;
mod tape;
#[cfg(test)]
mod tests;
mod tiles;
mod winograd;

use std::ops::Range;

use models::CLASSES;
use models::network::{Activation, Conv, Linear, Ops};
use pulp::Arch;
use rayon::ThreadPool;
use rayon::prelude::*;
use tch::Tensor;

use crate::net::{self, Net};
use crate::precision::Precision;
use lanes::BLOCK;
use method::{Method, with_scratch};
use norm::{Measure, Moments};
use number::Number;
use tape::{Added, ConvRecord, Last, Map, Memory, Size, Tape};

/// Digits that one thread takes at once.
const CHUNK: usize = 16;

/// Computes training passes, one at a time.
pub struct Native<N> {
    arch: Arch,
    pool: ThreadPool,
    maps: Memory<N>,
    kernels: Memory<f32>,
    tape: Tape<N>,
    /// What the loss is computed of.
    logits: Option<Tensor>,
}

/// Whether this CPU has the hardware without which libtorch is faster, or none of this is written.
pub fn is_fast_here(precision: Precision) -> bool {
    match precision {
        Precision::F32 => lanes::has_vectors(Arch::new()),
        Precision::Bf16 => tiles::unit::is_here(),
    }
}

impl<N: Number> Native<N> {
    /// A pass on so many threads.
    ///
    /// # Errors
    /// When the system gives no threads.
    pub fn new(threads: usize) -> anyhow::Result<Native<N>> {
        Ok(Native {
            arch: Arch::new(),
            pool: rayon::ThreadPoolBuilder::new().num_threads(threads).build()?,
            maps: Memory::default(),
            kernels: Memory::default(),
            tape: Tape::default(),
            logits: None,
        })
    }

    /// Logits `[n, 10]` of normalised digits `[n, 1, side, side]` f32, as [`Net::forward`] in training computes them; the
    /// running means of the batch norms follow.
    pub fn forward(&mut self, net: &Net, input: &Tensor) -> Tensor {
        std::mem::take(&mut self.tape).give_back(&mut self.maps, &mut self.kernels);
        let [digits, _, _, side] = input.size()[..] else {
            unreachable!("digits are [n, 1, side, side]")
        };
        let size = Size::new(side as usize, 1);
        self.tape.digits = digits as usize;
        let mut pixels = self.maps.take(input.numel());
        let mut room = self.kernels.take(input.numel());
        N::write(self.arch, &mut pixels, &mut room, |pixels| {
            input.contiguous().view(-1).copy_data(pixels, input.numel());
        });
        self.kernels.give(room);
        self.tape.maps.push(Map::picture(pixels, size));
        let mut forward = Forward {
            native: self,
            net,
            numbers: net::values(&net.trained_numbers()),
            read: 0,
            moments: Vec::new(),
        };
        let Value::Logits(logits) = net.spec().forward(&mut forward, Value::Map(0)) else {
            unreachable!("the network ends with its linear layer")
        };
        net.follow(&forward.moments);
        logits
    }

    /// The gradients of a loss of the last logits, in the order of [`Net::trained_numbers`].
    ///
    /// # Panics
    /// When there was no forward pass.
    pub fn gradients(&mut self, net: &Net, loss: &Tensor) -> Tensor {
        let logits = self.logits.take().expect("a forward pass comes first");
        let of_logits = Tensor::run_backward(&[loss], &[&logits], false, false).remove(0);
        let padded = net::values(&of_logits.constant_pad_nd([0, BLOCK as i64 - CLASSES as i64]));
        let gradients = backward::run(
            self.arch,
            &self.pool,
            &mut self.maps,
            &mut self.kernels,
            &self.tape,
            &padded,
        );
        // The blocks come first; a convolution has three trained tensors, whose channels are last.
        let of_blocks = Tensor::from_slice(&gradients.blocks.concat().concat());
        let trained = net.trained();
        let of_weight = trained[trained.len() - 2].detach().zeros_like();
        let size = self.tape.maps.last().expect("a pass has maps").size;
        let sides = [-1, size.side as i64, size.side as i64, size.channels as i64];
        let of_last = Tensor::from_slice(&gradients.last).view(sides);
        net::last_middle(&of_weight, sides[1]).copy_(&of_last.narrow(0, 0, CLASSES as i64));
        let of_bias = of_logits.sum_dim_intlist(0, false, None);
        Tensor::cat(&[of_blocks, of_weight.view(-1), of_bias], 0)
    }
}

/// Records a forward pass.
struct Forward<'a, N> {
    native: &'a mut Native<N>,
    net: &'a Net,
    /// Those of the network that are trained, and how many of them the convolutions so far have.
    numbers: Vec<f32>,
    read: usize,
    /// Means and variances of the batch norms so far.
    moments: Vec<f32>,
}

impl<N> Forward<'_, N> {
    /// The next layer's tensor of so many numbers.
    fn read(&mut self, len: usize) -> Range<usize> {
        self.read += len;
        self.read - len..self.read
    }
}

/// A value between two layers.
enum Value {
    /// A map of the tape.
    Map(usize),
    /// What is to be added up before an activation.
    Sum(Vec<Added>),
    /// The end.
    Logits(Tensor),
}

impl<N: Number> Ops for Forward<'_, N> {
    type Tensor = Value;

    fn conv(&mut self, input: &Value, conv: &Conv) -> Value {
        let &Value::Map(input) = input else {
            unreachable!("a convolution follows an activation or the picture")
        };
        let weight = self.read(conv.out_channels * conv.in_channels * conv.kernel_size.pow(2));
        let [scale, shift] = [0; 2].map(|_| self.read(conv.out_channels));
        let Native {
            arch,
            pool,
            maps,
            kernels,
            tape,
            ..
        } = &mut *self.native;
        let arch = *arch;
        let from = tape.maps[input].size;
        let method = Method::new(conv, from.side, N::PRECISION);
        let size = Size::new(method.out_side(), conv.out_channels);
        let [forward, kernel] = method.pack(arch, &self.numbers[weight], kernels);
        let mut values = maps.take(tape.digits * size.len());
        let mut inputs = std::mem::replace(&mut tape.maps[input].values, maps.take(0));
        let unknown = tape.unknown(input);
        let group = method.group();
        let parts: Vec<Moments> = pool.install(|| {
            let part = |(chunk, (output, input)): (usize, (&mut [N], &mut [N]))| {
                let mut moments = Moments::new(size.channels);
                with_scratch(group * size.len() + method.scratch(group), |scratch| {
                    let (room, scratch) = scratch.split_at_mut(group * size.len());
                    let groups = output
                        .chunks_mut(group * size.len())
                        .zip(input.chunks_mut(group * from.len()));
                    for (number, (output, input)) in groups.enumerate() {
                        if let Some(unknown) = &unknown {
                            unknown.compute(arch, (chunk * CHUNK + number * group) * from.len(), input);
                        }
                        N::write(arch, output, room, |sums| {
                            method.forward(arch, input, &forward, sums, scratch);
                        });
                        let moments = &mut moments;
                        lanes::run(
                            arch,
                            Measure {
                                values: output,
                                moments,
                            },
                        );
                    }
                });
                moments
            };
            let inputs = inputs.par_chunks_mut(CHUNK * from.len());
            let chunks = values.par_chunks_mut(CHUNK * size.len()).zip(inputs);
            chunks.enumerate().map(part).collect()
        });
        let from = &mut tape.maps[input];
        (from.values, from.is_known) = (inputs, true);
        kernels.give(forward);
        let mut moments = Moments::new(size.channels);
        parts.iter().for_each(|part| moments.join(part));
        let (mean, inverse_deviation) = (moments.mean(), moments.inverse_deviation());
        self.moments.extend(mean.iter().chain(&moments.variance()));
        let (weight, bias) = (&self.numbers[scale], &self.numbers[shift]);
        let scale: Vec<f32> = weight.iter().zip(&inverse_deviation).map(|(w, i)| w * i).collect();
        let shift = (0..bias.len()).map(|c| bias[c] - mean[c] * scale[c]).collect();
        tape.convs.push(ConvRecord {
            method,
            input,
            size,
            values,
            kernel,
            mean,
            inverse_deviation,
            scale,
            shift,
        });
        Value::Sum(vec![Added::Conv(tape.convs.len() - 1)])
    }

    fn activation(&mut self, input: Value, activation: Activation) -> Value {
        let Value::Sum(terms) = input else {
            unreachable!("an activation follows a convolution")
        };
        let Native { maps, tape, .. } = &mut *self.native;
        let Some(&Added::Conv(first)) = terms.first() else {
            unreachable!("a sum begins with a convolution")
        };
        let size = tape.convs[first].size;
        tape.maps.push(Map {
            values: maps.take(tape.digits * size.len()),
            size,
            origin: Some((activation, terms)),
            is_known: false,
        });
        Value::Map(tape.maps.len() - 1)
    }

    fn add(&mut self, left: Value, right: &Value) -> Value {
        let Value::Sum(mut terms) = left else {
            unreachable!("a convolution is on the left")
        };
        match right {
            Value::Sum(more) => terms.extend(more),
            Value::Map(index) => terms.push(Added::Map(*index)),
            Value::Logits(_) => unreachable!("nothing is added to logits"),
        }
        assert!(terms.len() <= 2, "the kernels add two terms");
        Value::Sum(terms)
    }

    fn linear(&mut self, input: &Value, linear: &Linear) -> Value {
        let &Value::Map(input) = input else {
            unreachable!("the linear layer follows an activation")
        };
        let Native {
            arch,
            pool,
            maps,
            kernels,
            tape,
            ..
        } = &mut *self.native;
        let arch = *arch;
        let size = tape.maps[input].size;
        let method = Method::whole(size, BLOCK);
        let mut kernel = net::values(&self.net.last_weight(linear, size.side as i64));
        kernel.resize(BLOCK * size.len(), 0.0);
        let [forward, kernel] = method.pack(arch, &kernel, kernels);
        let mut values = kernels.take(tape.digits * BLOCK);
        let mut inputs = std::mem::replace(&mut tape.maps[input].values, maps.take(0));
        let unknown = tape.unknown(input);
        pool.install(|| {
            let chunks = values
                .par_chunks_mut(CHUNK * BLOCK)
                .zip(inputs.par_chunks_mut(CHUNK * size.len()));
            chunks.enumerate().for_each(|(chunk, (output, input))| {
                if let Some(unknown) = &unknown {
                    unknown.compute(arch, chunk * CHUNK * size.len(), input);
                }
                with_scratch(method.scratch(CHUNK), |scratch| {
                    method.forward(arch, input, &forward, output, scratch);
                });
            });
        });
        let from = &mut tape.maps[input];
        (from.values, from.is_known) = (inputs, true);
        kernels.give(forward);
        let logits = Tensor::from_slice(&values).view([-1, BLOCK as i64]);
        kernels.give(values);
        let logits = logits.narrow(1, 0, CLASSES as i64) + &self.net.tensors()[&format!("{}.bias", linear.name)];
        let logits = logits.detach().set_requires_grad(true);
        tape.last = Some(Last { method, kernel });
        self.native.logits = Some(logits.shallow_clone());
        Value::Logits(logits)
    }
}
