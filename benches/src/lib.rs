//! Measures engines against each other: in one run, in turns, and only after their answers were checked.
//!
//! [`engines`] loads the engines of `infer`. [`latency`] times subjects interleaved and [`stats`] summarises the times. A [`results::Row`] joins them with the
//! accuracy of each digit; [`results`] keeps the rows in `benches/results.json`, and [`table`] puts them, as Markdown,
//! between the markers of a document. [`serve`] measures servers.
#![forbid(unsafe_code)]

pub mod engines;
pub mod latency;
pub mod results;
pub mod serve;
pub mod stats;
pub mod table;

use std::path::PathBuf;

/// A file of the workspace, wherever the benches are started.
pub fn workspace(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}
