//! What the digit model is, beside what it weighs: everything the other crates share, and no engine.
//!
//! A picture becomes a [`Digit`] in [`glyph`]; the digits of MNIST are read by [`mnist`].
//! [`network`] describes the three-block ResNet once, for whoever runs it, trains it or writes it down.
//! [`weights`] holds its numbers, and [`onnx`] the messages and the metadata contract of the exported file.
//! [`golden`] and [`score`] say whether an engine computes the same, and how well it reads; [`artefact`] writes files whole.
//! The released model itself is here as bytes: [`RELEASED_WEIGHTS`], [`RELEASED_ONNX`], [`GOLDEN`].
#![forbid(unsafe_code)]

pub mod artefact;
pub mod digit;
pub mod document;
pub mod glyph;
pub mod golden;
pub mod mnist;
pub mod network;
pub mod onnx;
pub mod score;
pub mod weights;

pub use digit::Digit;
/// Of whose pictures [`glyph`] speaks.
pub use image;

/// Height and width of a digit in pixels.
pub const SIDE: usize = 28;
/// Pixels of a digit, row by row.
pub const PIXELS: usize = SIDE * SIDE;
/// The ten digits; class `i` is the digit `i`.
pub const CLASSES: usize = 10;

/// The released weights, `models/digits.safetensors`.
pub const RELEASED_WEIGHTS: &[u8] = include_bytes!("../digits.safetensors");
/// The released model, `models/digits.onnx`, exported from [`RELEASED_WEIGHTS`].
pub const RELEASED_ONNX: &[u8] = include_bytes!("../digits.onnx");
/// The released model with weights and activations of eight bits, `models/digits.int8.onnx`.
pub const RELEASED_INT8_ONNX: &[u8] = include_bytes!("../digits.int8.onnx");
/// Test digits with libtorch's logits of the released model, `models/golden.safetensors`.
pub const GOLDEN: &[u8] = include_bytes!("../golden.safetensors");
