//! Throughput and latency with wrk, ours and the Python service's in turns.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, ensure};
use serde::Deserialize;

use super::{CLASSIFY, Client, INFER, RAW, Server, is_installed, picture, tensor};
use crate::stats;

/// Connections of each case.
const CONNECTIONS: [usize; 3] = [1, 16, 64];

/// What wrk says of one turn.
#[derive(Clone, Copy, Debug, Deserialize)]
struct Turn {
    requests: f64,
    us: f64,
    p99_us: f64,
    errors: u64,
}

/// A kind of request to a service.
struct Target<'a> {
    address: &'a str,
    path: &'a str,
    headers: &'a str,
    body: &'a [u8],
}

/// The table of all cases.
///
/// # Errors
/// When wrk or a service is missing, or a service answers wrong.
pub fn table(rounds: usize, seconds: u32) -> anyhow::Result<String> {
    ensure!(is_installed("wrk"), "wrk is missing: run `make setup`, or install it");
    let servers = [Server::infer(&[])?, Server::infer(&["--int8"])?, Server::python()?];
    let (png, raw) = (picture()?, tensor()?);
    let ours = [("PNG", CLASSIFY, "", &png), ("raw", INFER, RAW, &raw)];
    let python = [("PNG", CLASSIFY, "", &png), ("raw", "/infer", "", &raw)];
    let mut table = String::from(
        "| body | connections | f32, requests/s | p99 ms | int8, requests/s | p99 ms | Python, requests/s | p99 ms \
         | x Python, f32 | x Python, int8 |\n|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n",
    );
    for (ours, python) in ours.into_iter().zip(python) {
        let targets = [(&servers[0], ours), (&servers[1], ours), (&servers[2], python)];
        let targets = targets.map(|(server, (_, path, headers, body))| Target {
            address: &server.address,
            path,
            headers,
            body,
        });
        targets.iter().try_for_each(check)?;
        for connections in CONNECTIONS {
            let [f32, int8, python] = in_turns(&targets, connections, rounds, seconds)?;
            table += &format!(
                "| {} | {connections} | {} | {} | {} | {:.1} | {:.1} |\n",
                ours.0,
                cells(f32),
                cells(int8),
                cells(python),
                f32.0 / python.0,
                int8.0 / python.0
            );
        }
    }
    table += &format!(
        "\nMedian of {rounds} turns of {seconds} s each; {} cores for server and client.\n",
        std::thread::available_parallelism()?
    );
    Ok(table)
}

/// Requests a second and the 99th percentile in milliseconds, as a table has them.
fn cells((requests, p99): (f64, f64)) -> String {
    format!("{requests:.0} | {p99:.2}")
}

/// [`summary`] of each target.
fn in_turns<const N: usize>(
    targets: &[Target; N],
    connections: usize,
    rounds: usize,
    seconds: u32,
) -> anyhow::Result<[(f64, f64); N]> {
    let mut turns = [const { Vec::new() }; N];
    for _ in 0..rounds {
        for (turns, target) in turns.iter_mut().zip(targets) {
            turns.push(wrk(target, connections, seconds)?);
        }
    }
    Ok(turns.map(|turns| summary(&turns)))
}

/// The service reads the seven.
fn check(target: &Target) -> anyhow::Result<()> {
    let reply = Client::connect(target.address)?.post(target.path, target.headers, target.body)?;
    let answer: serde_json::Value = serde_json::from_slice(&reply.body)?;
    let logits = answer["outputs"][0]["data"].as_array();
    let digit = match logits {
        Some(logits) => {
            let logits: Vec<f64> = logits.iter().filter_map(serde_json::Value::as_f64).collect();
            (0..logits.len())
                .max_by(|&a, &b| logits[a].total_cmp(&logits[b]))
                .map(|digit| digit as u64)
        }
        None => answer["digit"].as_u64(),
    };
    ensure!(
        digit == Some(7),
        "{}{} misreads a seven: {answer}",
        target.address,
        target.path
    );
    Ok(())
}

fn wrk(target: &Target, connections: usize, seconds: u32) -> anyhow::Result<Turn> {
    let folder = tempfile::tempdir()?;
    let body = folder.path().join("body");
    std::fs::write(&body, target.body)?;
    let script = folder.path().join("post.lua");
    std::fs::write(&script, lua(&body, target.headers))?;
    let mut command = Command::new("wrk");
    command
        .args(["-t1", &format!("-c{connections}"), &format!("-d{seconds}s"), "-s"])
        .arg(&script);
    let output = command
        .arg(format!("http://{}{}", target.address, target.path))
        .output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("result: "))
        .context("wrk gives no result")?;
    let turn: Turn = serde_json::from_str(line)?;
    ensure!(
        turn.errors == 0,
        "{} of {} requests to {} fail",
        turn.errors,
        turn.requests,
        target.address
    );
    Ok(turn)
}

/// Posts the body again and again, and prints the result as JSON.
fn lua(body: &Path, header: &str) -> String {
    let header = header.trim().split_once(": ");
    let header = header.map_or(String::new(), |(name, value)| {
        format!("wrk.headers[\"{name}\"] = \"{value}\"\n")
    });
    format!(
        r#"wrk.method = "POST"
wrk.headers["Content-Type"] = "application/octet-stream"
{header}local file = io.open("{}", "rb")
wrk.body = file:read("*a")
done = function(summary, latency)
  local e = summary.errors
  io.write(string.format('result: {{"requests":%d,"us":%d,"p99_us":%.1f,"errors":%d}}\n', summary.requests,
    summary.duration, latency:percentile(99), e.connect + e.read + e.write + e.status + e.timeout))
end
"#,
        body.display()
    )
}

/// Medians of requests a second and of the 99th percentile in milliseconds.
fn summary(turns: &[Turn]) -> (f64, f64) {
    let of = |value: fn(&Turn) -> f64| stats::median(&turns.iter().map(value).collect::<Vec<_>>());
    (of(|turn| turn.requests * 1e6 / turn.us), of(|turn| turn.p99_us / 1e3))
}
