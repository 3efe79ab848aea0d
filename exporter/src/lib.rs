//! Writes trained weights as an ONNX file, without libtorch and without Python.
//!
//! [`graph::export`] walks the network once and records a node for each of its operations; [`verify::verify`] is the gate
//! that the file must pass before it is written: every engine computes libtorch's logits from it.
//! [`triton`] lays it out for that server. [`quantize`] finds the scales of an int8 graph, which [`int8`] holds against the f32 one.
#![forbid(unsafe_code)]

pub mod graph;
pub mod int8;
pub mod quantize;
pub mod triton;
pub mod verify;
