//! Trains the network of [`models::network`] on MNIST with libtorch; the only crate that links it.
//!
//! [`train`] reads the digits, builds a [`net::Net`], steps an [`optim::Optimizer`] through the epochs and writes all
//! that came of it into a [`run::Run`] folder. The exporter takes up from there.
#![forbid(unsafe_code)]

pub mod data;
pub mod net;
pub mod optim;
pub mod run;
pub mod settings;
pub mod train;
