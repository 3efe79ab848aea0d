//! `cold-start`: how long the whole process `infer classify digit.png` takes, from start to exit, and how large the program
//! is. Writes into README.md.
//!
//! usage: cold-start INFER...
#![forbid(unsafe_code)]

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, ensure};
use benches::stats::{median, quantile};
use benches::{table, workspace};

/// Runs of each program, in turns, after a few that are not counted.
const RUNS: usize = 500;
const WARM_UP: usize = 20;

fn main() -> anyhow::Result<()> {
    let programs: Vec<String> = std::env::args().skip(1).collect();
    ensure!(!programs.is_empty(), "usage: cold-start INFER...");
    let picture = workspace("models/samples/7.png");
    let mut times = vec![Vec::with_capacity(RUNS); programs.len()];
    for run in 0..WARM_UP + RUNS {
        for (program, times) in programs.iter().zip(&mut times) {
            let time = milliseconds(program, &picture)?;
            if run >= WARM_UP {
                times.push(time);
            }
        }
    }
    let mut text = String::from("| program | bytes | n | median ms | p99 ms |\n|---|---:|---:|---:|---:|\n");
    for (program, times) in programs.iter().zip(&times) {
        let bytes = std::fs::metadata(program)?.len();
        let (median, p99) = (median(times), quantile(times, 0.99));
        let program = Path::new(program).file_name().unwrap_or_default().display();
        text += &format!("| {program} | {bytes} | {RUNS} | {median:.2} | {p99:.2} |\n");
    }
    let document = workspace("README.md");
    table::insert(&document, "cold", &text)?;
    eprintln!("wrote {}", document.display());
    Ok(())
}

/// Of one run, which must read the seven.
fn milliseconds(program: &str, picture: &Path) -> anyhow::Result<f64> {
    let mut command = Command::new(program);
    command.args(["classify", "--format", "csv"]).arg(picture);
    let start = Instant::now();
    let output = command.output().with_context(|| format!("cannot start {program}"))?;
    let time = start.elapsed().as_secs_f64() * 1e3;
    let read = String::from_utf8_lossy(&output.stdout);
    ensure!(
        output.status.success() && read.contains(",7,"),
        "{program} does not read the seven: {read}"
    );
    Ok(time)
}
