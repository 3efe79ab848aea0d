//! A model repository of NVIDIA's Triton server: `digits/config.pbtxt`, and `digits/1/model.onnx` beside it.

use std::io;
use std::path::{Path, PathBuf};

use models::onnx::{InputKind, Model};
use models::{CLASSES, SIDE, artefact};

/// Most digits that Triton puts together.
const MAX_BATCH: usize = 64;
/// Microseconds that a request waits for others.
const MAX_DELAY: usize = 500;

/// Writes the repository into `folder`, and tells the path of the graph.
///
/// # Errors
/// When a folder or file cannot be written.
pub fn write(folder: &Path, model: &Model, onnx: &[u8]) -> io::Result<PathBuf> {
    let place = folder.join("digits");
    let path = place.join("1/model.onnx");
    std::fs::create_dir_all(place.join("1"))?;
    artefact::write(&path, onnx)?;
    // Last: Triton loads a model when it sees its configuration.
    artefact::write(&place.join("config.pbtxt"), config(model).as_bytes())?;
    Ok(path)
}

/// The configuration: batches are made by Triton, unless the graph fixes its own.
fn config(model: &Model) -> String {
    let (kind, digit) = match model.input {
        InputKind::Float32 => ("TYPE_FP32", vec![1, SIDE, SIDE]),
        InputKind::Uint8 => ("TYPE_UINT8", vec![SIDE, SIDE]),
    };
    let dims = |digit: &[usize]| {
        let dims: Vec<String> = model.batch.iter().chain(digit).map(usize::to_string).collect();
        dims.join(", ")
    };
    let (input, logits) = (&model.input_name, &model.logits_name);
    let (input_dims, logits_dims) = (dims(&digit), dims(&[CLASSES]));
    let batching = match model.batch {
        None => format!("\ndynamic_batching {{ max_queue_delay_microseconds: {MAX_DELAY} }}"),
        Some(_) => String::new(),
    };
    let max_batch = if model.batch.is_none() { MAX_BATCH } else { 0 };
    format!(
        r#"name: "digits"
backend: "onnxruntime"
max_batch_size: {max_batch}
input [ {{ name: "{input}" data_type: {kind} dims: [ {input_dims} ] }} ]
output [ {{ name: "{logits}" data_type: TYPE_FP32 dims: [ {logits_dims} ] }} ]{batching}
"#
    )
}
