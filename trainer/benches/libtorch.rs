//! libtorch's rows of the table, in a process of its own, because it shares none with ONNX Runtime.
//!
//! usage: cargo bench -p trainer

use std::time::Instant;

use benches::latency::{self, Subject};
use benches::results::{self, Row};
use models::golden::Golden;
use models::mnist::{Part, Split};
use models::weights::Weights;
use models::{PIXELS, SIDE};
use tch::{Device, Tensor};
use trainer::data::Dataset;
use trainer::net::{self, Net};
use trainer::train;

/// Digits a call and threads of each row; the same as in the other engines' rows.
const CASES: [(i64, i32); 3] = [(1, 1), (64, 1), (64, 2)];

fn main() -> anyhow::Result<()> {
    let start = Instant::now();
    let net = Net::from_weights(&Weights::from_bytes(models::RELEASED_WEIGHTS)?, Device::Cpu);
    let golden = Golden::from_bytes(models::GOLDEN)?;
    let digits = input(&golden);
    let _ = net::logits(&net, &digits.narrow(0, 0, 1), 1);
    let load_ms = start.elapsed().as_secs_f64() * 1e3;

    let logits: Vec<f32> = Vec::try_from(net::logits(&net, &digits, train::EVAL_BATCH).view(-1))?;
    let comparison = golden.compare(&logits);
    anyhow::ensure!(
        comparison.is_equal(),
        "libtorch does not reproduce its golden logits: {comparison}"
    );
    let test = Split::read(&benches::workspace("data"), Part::Test)?;
    let score = train::evaluate(&net, &Dataset::new(&test, Device::Cpu));

    let mut rows = Vec::new();
    for (batch, threads) in CASES {
        tch::set_num_threads(threads);
        let digits = digits.narrow(0, 0, batch);
        let subject: Subject<'_> = Box::new(|| {
            let _ = std::hint::black_box(net::logits(&net, &digits, batch));
            Ok(())
        });
        let times = latency::interleaved(&mut [subject])?;
        let row = Row {
            engine: "libtorch".into(),
            precision: "f32".into(),
            batch: batch as usize,
            threads: threads as usize,
            accuracy: Some(score.accuracy()),
            per_digit: Some(score.per_digit()),
            load_ms,
            ..Row::default()
        };
        rows.push(row.with_times(&times[0]));
    }
    results::publish(rows, &[])
}

/// `[digits, 1, 28, 28]`, normalised.
fn input(golden: &Golden) -> Tensor {
    let mut pixels = Vec::with_capacity(golden.digits.len() * PIXELS);
    for digit in &golden.digits {
        pixels.extend(digit.normalized());
    }
    Tensor::from_slice(&pixels).view([-1, 1, SIDE as i64, SIDE as i64])
}
