//! Glue to tract, which is pure Rust and has one thread. Its plans are fastest for one digit, so it runs digit by digit.

use std::any::Any;
use std::cell::Cell;
use std::io::Cursor;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;

use anyhow::{Context, bail, ensure};
use models::onnx::{InputKind, Model};
use models::{CLASSES, SIDE};
use tract_onnx::prelude::*;

use super::{Engine, EngineError, EngineKind, bytes};

/// Largest tensor between two layers; ours have a thousandth of it for one digit.
const MAX_TENSOR_BYTES: usize = 512 << 20;

/// A plan for a fixed number of digits, with its state.
#[derive(Clone)]
pub struct Tract {
    state: TypedSimpleState,
    input: InputKind,
    batch: usize,
}

/// Product and version.
pub fn version() -> String {
    // tract does not say it; Cargo.toml pins this one.
    "tract 0.23.9".to_owned()
}

impl Tract {
    /// Plans `model`, whose bytes are `onnx`, for runs of exactly `batch` digits.
    pub fn new(model: &Model, onnx: &[u8], batch: usize) -> Result<Tract, EngineError> {
        let input = model.input;
        let state = guard(|| plan(model, onnx, batch)).map_err(|problem| EngineError::Load {
            engine: EngineKind::Tract,
            problem,
        })?;
        Ok(Tract { state, input, batch })
    }
}

impl Engine for Tract {
    fn run(&mut self, digits: &[f32], logits: &mut [f32]) -> Result<(), EngineError> {
        let result = guard(|| {
            let input = match self.input {
                InputKind::Float32 => Tensor::from_shape(&[self.batch, 1, SIDE, SIDE], digits)?,
                InputKind::Uint8 => Tensor::from_shape(&[self.batch, SIDE, SIDE], &bytes(digits))?,
            };
            let outputs = self.state.run(tvec!(input.into()))?;
            let output = outputs[0].try_as_plain_ram()?.as_slice::<f32>()?;
            if output.len() != logits.len() {
                bail!("its output has shape {:?}", outputs[0].shape());
            }
            logits.copy_from_slice(output);
            Ok(())
        });
        result.map_err(|problem| EngineError::Run {
            engine: EngineKind::Tract,
            problem,
        })
    }
}

fn plan(model: &Model, onnx: &[u8], batch: usize) -> TractResult<TypedSimpleState> {
    let input = match model.input {
        InputKind::Float32 => f32::fact([batch, 1, SIDE, SIDE]),
        InputKind::Uint8 => u8::fact([batch, SIDE, SIDE]),
    };
    let model = tract_onnx::onnx()
        .model_for_read(&mut Cursor::new(onnx))?
        .with_outputs_by_name([&model.logits_name])?
        .with_input_fact(0, input.into())?
        .into_optimized()?;
    check_sizes(&model)?;
    let output = model.output_fact(0)?;
    if output.shape.as_concrete() != Some(&[batch, CLASSES]) || output.datum_type != f32::datum_type() {
        bail!("its output is {output:?}, expected [{batch}, {CLASSES}] float32");
    }
    model.into_runnable()?.spawn()
}

/// A failed allocation would end the process.
fn check_sizes(model: &TypedModel) -> TractResult<()> {
    for output in model.nodes().iter().flat_map(|node| &node.outputs) {
        let shape = output
            .fact
            .shape
            .as_concrete()
            .context("a shape is not known before the run")?;
        let size = output.fact.datum_type.size_of();
        let bytes = shape.iter().fold(size, |bytes, &dim| bytes.saturating_mul(dim));
        ensure!(bytes <= MAX_TENSOR_BYTES, "a tensor of shape {shape:?} is too large");
    }
    Ok(())
}

/// Runs tract and makes one line of what goes wrong. tract panics on some malformed graphs: that is an error too,
/// and its message is kept from stderr.
fn guard<T>(action: impl FnOnce() -> TractResult<T>) -> Result<T, String> {
    thread_local!(static GUARDED: Cell<bool> = const { Cell::new(false) });
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let previous = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !GUARDED.get() {
                previous(info);
            }
        }));
    });
    GUARDED.set(true);
    let result = panic::catch_unwind(AssertUnwindSafe(action));
    GUARDED.set(false);
    match result {
        Ok(result) => result.map_err(|error| format!("{error:#}")),
        Err(payload) => Err(format!("it panics: {}", panic_message(&*payload))),
    }
}

fn panic_message(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    text.or(payload.downcast_ref::<&str>().copied())
        .unwrap_or("no reason given")
}
