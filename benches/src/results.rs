//! The measured rows, `benches/results.json`: an array that each bench extends by its own engines.

use std::path::Path;

use anyhow::Context;
use models::{CLASSES, artefact};
use serde::{Deserialize, Serialize};

use crate::{stats, table};

/// One engine at one batch size and number of threads.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// Name of the engine.
    pub engine: String,
    /// Type of the numbers that it computes with.
    pub precision: String,
    /// Digits a call.
    pub batch: usize,
    /// Threads of a call.
    pub threads: usize,
    /// Calls timed.
    pub n: usize,
    /// Median time of a call, in microseconds.
    pub median_us: f64,
    /// 99th percentile of the times, in microseconds.
    pub p99_us: f64,
    /// Digits a second at the median.
    pub digits_per_s: f64,
    /// Fraction of MNIST's test digits read right; none where the data set is missing.
    pub accuracy: Option<f64>,
    /// The same for each digit.
    pub per_digit: Option<[f64; CLASSES]>,
    /// Milliseconds from the bytes of the file to an engine that has answered once.
    pub load_ms: f64,
}

impl Row {
    /// Fills in what follows from the times, in microseconds.
    pub fn with_times(mut self, times: &[f64]) -> Row {
        self.n = times.len();
        self.median_us = stats::median(times);
        self.p99_us = stats::quantile(times, 0.99);
        self.digits_per_s = self.batch as f64 * 1e6 / self.median_us;
        self
    }
}

/// Merges the rows into `benches/results.json`, prints the table of all and puts it into the README. Each engine in
/// `missing` is named with what to do about it.
///
/// # Errors
/// When a file cannot be read or written.
pub fn publish(rows: Vec<Row>, missing: &[(String, String)]) -> anyhow::Result<()> {
    let all = merge(&crate::workspace("benches/results.json"), rows)?;
    let table = table::markdown(&all, missing);
    print!("{table}");
    table::insert(&crate::workspace("README.md"), "engines", &table)
}

/// Replaces the rows of the engines named in `rows`, keeps the others, and returns all.
///
/// # Errors
/// When the file is there and cannot be read, or cannot be written.
fn merge(path: &Path, rows: Vec<Row>) -> anyhow::Result<Vec<Row>> {
    let context = || format!("cannot use {}: remove it and measure again", path.display());
    let mut all: Vec<Row> = match std::fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes).with_context(context)?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(error).with_context(context),
    };
    all.retain(|old| rows.iter().all(|new| new.engine != old.engine));
    all.extend(rows);
    all.sort_by(|a, b| (a.batch, a.threads, &a.engine).cmp(&(b.batch, b.threads, &b.engine)));
    artefact::write(path, &serde_json::to_vec_pretty(&all)?).with_context(context)?;
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(engine: &str, batch: usize) -> Row {
        Row {
            engine: engine.into(),
            batch,
            ..Row::default()
        }
    }

    #[test]
    fn times_are_summarised() {
        let row = row("tract", 64).with_times(&[100.0, 300.0, 200.0]);
        assert_eq!((row.n, row.median_us, row.digits_per_s), (3, 200.0, 320_000.0));
    }

    #[test]
    fn a_bench_replaces_only_its_own_engines() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("results.json");
        merge(&path, vec![row("libtorch", 1), row("tract", 1), row("tract", 64)]).unwrap();
        let all = merge(&path, vec![row("tract", 8)]).unwrap();
        assert_eq!(all, [row("libtorch", 1), row("tract", 8)]);
    }
}
