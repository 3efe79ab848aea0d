//! stub
#![deny(unsafe_code)]

pub mod engine;
pub mod verify;

use models::Digit;
use models::onnx::InputKind;

/// The numbers that the graph's input takes, `[n, PIXELS]`.
pub fn numbers(input: InputKind, digits: &[Digit]) -> Vec<f32> {
    match input {
        InputKind::Float32 => digits.iter().flat_map(Digit::normalized).collect(),
        InputKind::Uint8 => digits.iter().flat_map(|digit| digit.0.map(f32::from)).collect(),
    }
}
