//! stub
use models::onnx::Model;

use super::{Engine, EngineError};

pub struct Ort;
impl Ort { pub fn new(_: &Model, _: usize) -> Result<Ort, EngineError> { Ok(Ort) } }
impl Engine for Ort { fn run(&mut self, _: &[f32], _: &mut [f32]) -> Result<(), EngineError> { Ok(()) } }
pub fn version() -> Result<String, EngineError> { Ok("ort".into()) }
/// Off.
pub fn disable_telemetry() -> Result<(), EngineError> { Ok(()) }
