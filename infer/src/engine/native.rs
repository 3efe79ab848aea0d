//! Our own engine: it runs the ONNX file itself and needs no library beside the program.
//!
//! The way from node to instruction: `graph` reads nodes, `fuse` merges them, `plan` packs weights and gives every
//! value its place, `kernels` compute. A run copies digits in, walks the steps and copies logits out; it allocates nothing,
//! but the first batch that is shared begins the threads.
//!
//! It takes what digit models are made of: Conv and Gemm, of floats or quantised (QuantizeLinear, DequantizeLinear);
//! BatchNormalization; Relu, Sigmoid and Tanh; the Add of two values; Add, Sub, Mul and Div by one number; Cast to float32,
//! Constant, Dropout, Flatten, Identity, Reshape and Unsqueeze. Of other files it says at load what it does not know; tract
//! and ONNX Runtime take more.

mod fuse;
mod graph;
mod kernels;
mod plan;

use std::fmt;
use std::time::Instant;

use models::onnx::Model;
use models::{CLASSES, PIXELS};
use rayon::prelude::*;

use self::kernels::Kernels;
pub use self::kernels::{KernelKind, Numbers};

use self::graph::Graph;
use self::kernels::{Addend, Bytes, Map, Output, Residual};
use self::plan::{Each, GROUP, Place, Plan, Step, Work};
use super::{Engine, EngineError, EngineKind};

/// Runs a plan, one part of a batch on each thread.
pub struct Native {
    plan: Plan,
    /// One for each thread.
    arenas: Vec<Arena>,
    /// Begun with the first batch that is shared: a single digit needs no thread but the caller's.
    pool: Option<rayon::ThreadPool>,
}

/// All that one thread writes.
struct Arena {
    floats: Aligned<f32>,
    bytes: Aligned<u8>,
    scratch: Aligned<f32>,
}

/// Numbers that begin with a cache line.
struct Aligned<T> {
    numbers: Vec<T>,
    start: usize,
}

impl Native {
    /// Plans a checked file for `threads` threads, with the fastest kernels of this CPU or the `forced` ones.
    ///
    /// # Errors
    /// When the graph has something that is not known, or the CPU cannot run the forced kernels.
    pub fn new(model: &Model, threads: usize, forced: Option<KernelKind>) -> Result<Native, EngineError> {
        let kernels = Kernels::select(forced).map_err(load_error)?;
        let graph = fuse::fuse(Graph::new(model).map_err(load_error)?);
        let plan = Plan::new(&graph, kernels).map_err(load_error)?;
        Ok(Native {
            arenas: (0..threads.max(1)).map(|_| Arena::new(&plan)).collect(),
            plan,
            pool: None,
        })
    }
}

/// The kernels and threads, without the plan.
impl fmt::Debug for Native {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Native")
            .field("kernels", &self.plan.kernels.kind())
            .field("threads", &self.arenas.len())
            .finish_non_exhaustive()
    }
}

/// What a layer of a plan costs.
#[derive(Clone, Debug)]
pub struct LayerTime {
    /// The node of the file that it began with.
    pub name: String,
    /// How it is computed.
    pub algorithm: &'static str,
    /// Multiply-adds a digit that its definition asks for; Winograd's does with fewer.
    pub products: usize,
    /// Median microseconds a digit.
    pub us: f64,
}

impl Native {
    /// Times each layer on up to a group of digits, one layer after the other, `runs` times.
    ///
    /// # Panics
    /// When there is no run or no digit, or the last digit is not whole.
    pub fn profile(&mut self, digits: &[f32], runs: usize) -> Vec<LayerTime> {
        assert!(
            runs > 0 && !digits.is_empty() && digits.len().is_multiple_of(PIXELS),
            "whole digits and at least one run"
        );
        let digits = &digits[..digits.len().min(GROUP * PIXELS)];
        let n = digits.len() / PIXELS;
        let Native { plan, arenas, .. } = self;
        let mut times = vec![Vec::with_capacity(runs); plan.steps.len()];
        for _ in 0..runs {
            load(&plan.input, &mut arenas[0], digits);
            for (step, times) in plan.steps.iter().zip(&mut times) {
                let start = Instant::now();
                arenas[0].step(step, plan.kernels, n);
                times.push(start.elapsed().as_secs_f64() * 1e6 / n as f64);
            }
        }
        let layer = |(step, mut times): (&Step, Vec<f64>)| {
            times.sort_by(f64::total_cmp);
            LayerTime {
                name: step.name.clone(),
                algorithm: step.work.algorithm(),
                products: step.products,
                us: times[times.len() / 2],
            }
        };
        plan.steps.iter().zip(times).map(layer).collect()
    }

    /// Multiply-adds a nanosecond that one core does in registers: the best of a few tries.
    pub fn peak(&self, numbers: Numbers) -> f64 {
        let rate = |_| {
            let start = Instant::now();
            self.plan.kernels.saturate(numbers, 100_000) as f64 / start.elapsed().as_nanos() as f64
        };
        (0..20).map(rate).fold(0.0, f64::max)
    }
}

/// Version, the kernels that this CPU gets, and why not the next faster ones.
pub fn version() -> String {
    let kernels = Kernels::select(None).expect("plain kernels run anywhere").kind();
    let better = KernelKind::ladder().find(|kind| *kind > kernels);
    let why_not = better.and_then(|kind| {
        Some(format!(
            "; no {} kernels: the CPU lacks {}",
            kind.name(),
            kind.missing()?
        ))
    });
    format!(
        "{}, {} kernels{}",
        env!("CARGO_PKG_VERSION"),
        kernels.name(),
        why_not.unwrap_or_default()
    )
}

fn load_error(error: impl std::error::Error) -> EngineError {
    EngineError::Load {
        engine: EngineKind::Native,
        problem: error.to_string(),
    }
}

impl Engine for Native {
    fn run(&mut self, digits: &[f32], logits: &mut [f32]) -> Result<(), EngineError> {
        let n = super::count(digits, logits);
        let Native { plan, arenas, pool } = self;
        let threads = arenas.len();
        if threads == 1 || n <= GROUP {
            run(plan, &mut arenas[0], digits, logits);
            return Ok(());
        }
        let pool = match pool {
            Some(pool) => pool,
            None => pool.insert(new_pool(threads)?),
        };
        let part = n.div_ceil(threads).next_multiple_of(GROUP);
        pool.install(|| {
            let parts = digits
                .par_chunks(part * PIXELS)
                .zip(logits.par_chunks_mut(part * CLASSES));
            parts
                .zip(arenas)
                .for_each(|((digits, logits), arena)| run(plan, arena, digits, logits));
        });
        Ok(())
    }
}

fn new_pool(threads: usize) -> Result<rayon::ThreadPool, EngineError> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
    pool.map_err(|error| EngineError::Run {
        engine: EngineKind::Native,
        problem: error.to_string(),
    })
}

/// Computes logits `[n, CLASSES]` of digits `[n, PIXELS]`, a group at a time.
fn run(plan: &Plan, arena: &mut Arena, digits: &[f32], logits: &mut [f32]) {
    for (digits, logits) in digits.chunks(GROUP * PIXELS).zip(logits.chunks_mut(GROUP * CLASSES)) {
        let n = digits.len() / PIXELS;
        load(&plan.input, arena, digits);
        for step in &plan.steps {
            arena.step(step, plan.kernels, n);
        }
        let Place { start, map, .. } = &plan.logits;
        for (digit, logits) in logits.chunks_mut(CLASSES).enumerate() {
            let from = start + digit * map.len() + map.at(0, 0);
            logits.copy_from_slice(&arena.floats.get()[from..from + CLASSES]);
        }
    }
}

fn load(place: &Place, arena: &mut Arena, digits: &[f32]) {
    let Map { width, depth, .. } = place.map;
    for (digit, pixels) in digits.chunks(PIXELS).enumerate() {
        for (y, row) in pixels.chunks(width).enumerate() {
            let start = place.start + digit * place.map.len() + place.map.at(y as isize, 0);
            let to = &mut arena.floats.get()[start..start + width * depth];
            if depth == 1 {
                to.copy_from_slice(row);
                continue;
            }
            to.iter_mut()
                .step_by(depth)
                .zip(row)
                .for_each(|(to, pixel)| *to = *pixel);
        }
    }
}

impl<T: Clone + Default> Aligned<T> {
    /// `len` zeros.
    fn new(len: usize) -> Aligned<T> {
        const LINE: usize = 64;
        let numbers = vec![T::default(); len + LINE];
        let start = numbers.as_ptr().align_offset(LINE).min(LINE);
        Aligned { numbers, start }
    }

    fn get(&mut self) -> &mut [T] {
        &mut self.numbers[self.start..]
    }
}

impl Arena {
    /// Zeros, or the bytes that stand for them, which the borders of the maps stay for ever.
    fn new(plan: &Plan) -> Arena {
        let mut bytes = Aligned::new(plan.bytes);
        for Step { output, .. } in &plan.steps {
            if let Some(quant) = output.quant {
                bytes.get()[output.range()].fill(quant.zero);
            }
        }
        Arena {
            floats: Aligned::new(plan.floats),
            bytes,
            scratch: Aligned::new(plan.scratch),
        }
    }

    /// Runs one step on `n` digits.
    fn step(&mut self, step: &Step, kernels: Kernels, n: usize) {
        let Step {
            work,
            input,
            add,
            output,
            ..
        } = step;
        let (values, scratch) = (self.floats.get(), self.scratch.get());
        let same = |place: &Place| place.start == output.start;
        match work {
            Work::Each(each) => {
                if !same(input) {
                    values.copy_within(input.range(), output.start);
                }
                self::each(each, values, add.as_ref(), output, n);
            }
            Work::Quantize(quant) => {
                let (from, to) = (&values[input.range()], &mut self.bytes.get()[output.range()]);
                kernels.quantize(*quant, [&input.map, &output.map], n, from, to);
            }
            Work::Bytes(layer) => self.bytes(layer, step, kernels, n),
            Work::Linear(layer) => {
                let [input, output] = disjoint(values, [input, output]);
                kernels.linear(layer, n, input, output);
            }
            Work::Conv(layer) => match add {
                Some(add) if add.start == input.start => {
                    let [input, output] = disjoint(values, [input, output]);
                    kernels.conv(layer, n, input, Residual::Map(input), output, scratch);
                }
                Some(add) if !same(add) => {
                    let [input, add, output] = disjoint(values, [input, add, output]);
                    kernels.conv(layer, n, input, Residual::Map(add), output, scratch);
                }
                add => {
                    let residual = if add.is_some() {
                        Residual::Output
                    } else {
                        Residual::None
                    };
                    let [input, output] = disjoint(values, [input, output]);
                    kernels.conv(layer, n, input, residual, output, scratch);
                }
            },
        }
    }

    /// Runs a convolution of bytes on `n` digits.
    fn bytes(&mut self, layer: &Bytes, step: &Step, kernels: Kernels, n: usize) {
        let Step { input, add, output, .. } = step;
        let (floats, bytes) = (self.floats.get(), self.bytes.get());
        let bytes_of = |place: &Place| place.quant.is_some();
        match (&output.quant, add) {
            (Some(_), Some(add)) if bytes_of(add) && add.start != input.start => {
                let [input, short, output] = disjoint(bytes, [input, add, output]);
                kernels.conv_bytes(layer, n, input, Addend::Bytes(short), Output::Bytes(output));
            }
            (Some(_), add) => {
                let [input, output] = disjoint(bytes, [input, output]);
                let input = &*input;
                let addend = match add {
                    None => Addend::None,
                    Some(add) if bytes_of(add) => Addend::Bytes(input),
                    Some(add) => Addend::Floats(&floats[add.range()]),
                };
                kernels.conv_bytes(layer, n, input, addend, Output::Bytes(output));
            }
            (None, Some(add)) if !bytes_of(add) => {
                let [add, output] = disjoint(floats, [add, output]);
                kernels.conv_bytes(
                    layer,
                    n,
                    &bytes[input.range()],
                    Addend::Floats(add),
                    Output::Floats(output),
                );
            }
            (None, add) => {
                let addend = add
                    .as_ref()
                    .map_or(Addend::None, |add| Addend::Bytes(&bytes[add.range()]));
                let output = Output::Floats(&mut floats[output.range()]);
                kernels.conv_bytes(layer, n, &bytes[input.range()], addend, output);
            }
        }
    }
}

fn disjoint<'a, T, const N: usize>(values: &'a mut [T], places: [&Place; N]) -> [&'a mut [T]; N] {
    let ranges = places.map(Place::range);
    values
        .get_disjoint_mut(ranges)
        .expect("the plan gives values that live at once different slots")
}

/// Changes the numbers of `n` maps in place, and leaves their borders alone.
fn each(each: &Each, values: &mut [f32], add: Option<&Place>, output: &Place, n: usize) {
    let map = &output.map;
    for digit in 0..n {
        for pixel in map.pixels() {
            for channel in 0..map.channels {
                let at = digit * map.len() + pixel + channel;
                let x = values[output.start + at];
                values[output.start + at] = match each {
                    Each::Affine(scale, shift) => x * scale[channel] + shift[channel],
                    Each::Activation(activation) => kernels::activate(x, Some(*activation)),
                    Each::Add => x + add.map_or(0.0, |add| values[add.start + at]),
                };
            }
        }
    }
}
