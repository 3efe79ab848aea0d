//! `cargo bench`: criterion's view of every engine, and then the table: latency in turns, and accuracy of each digit.
//!
//! With a filter or another argument of criterion's, only criterion runs and no table is written.

use std::time::Duration;

use benches::engines::{Contestant, Entry, Precision, score};
use benches::latency::{self, Subject};
use benches::results::{self, Row};
use criterion::{BenchmarkId, Criterion, Throughput};
use infer::engine::EngineKind;
use models::golden::Golden;
use models::mnist::{Part, Split};

/// Digits a call and threads of each row.
const CASES: [(usize, usize); 3] = [(1, 1), (64, 1), (64, 2)];

fn main() -> anyhow::Result<()> {
    infer::engine::disable_telemetry()?;
    let golden = Golden::from_bytes(models::GOLDEN)?;
    let (engines, missing) = engines();
    for (engine, why) in &missing {
        eprintln!("{engine} is missing: {why}");
    }
    let mut criterion = Criterion::default()
        .measurement_time(Duration::from_secs(2))
        .configure_from_args();
    for (batch, threads) in CASES {
        run_criterion(&mut criterion, &engines, batch, threads, &golden)?;
    }
    criterion.final_summary();
    if std::env::args().skip(1).all(|argument| argument == "--bench") {
        results::publish(rows(&engines, &golden)?, &missing)?;
    }
    Ok(())
}

/// What can be run here, and the engines that cannot, with why. int8 is ours and that of the fastest other engine.
fn engines() -> (Vec<Entry>, Vec<(String, String)>) {
    let (mut found, mut missing) = (Vec::new(), Vec::new());
    for &kind in EngineKind::ALL {
        match kind.version() {
            Ok(_) => {
                let int8 = matches!(kind, EngineKind::Native | EngineKind::Ort).then_some(Precision::Int8);
                let precisions = [Precision::F32].into_iter().chain(int8);
                found.extend(precisions.map(|precision| Entry { kind, precision }));
            }
            Err(error) => missing.push((kind.name().to_owned(), error.to_string())),
        }
    }
    (found, missing)
}

fn run_criterion(
    criterion: &mut Criterion,
    engines: &[Entry],
    batch: usize,
    threads: usize,
    golden: &Golden,
) -> anyhow::Result<()> {
    let mut group = criterion.benchmark_group(format!("batch {batch}, {threads} threads"));
    group.throughput(Throughput::Elements(batch as u64));
    for &entry in engines {
        let mut contestant = Contestant::new(entry, batch, threads, golden)?;
        group.bench_function(BenchmarkId::from_parameter(entry), |bencher| {
            bencher.iter(|| contestant.call())
        });
    }
    group.finish();
    Ok(())
}

/// The table's rows: for each case all engines in turns.
fn rows(engines: &[Entry], golden: &Golden) -> anyhow::Result<Vec<Row>> {
    let test = Split::read(&benches::workspace("data"), Part::Test);
    if let Err(error) = &test {
        eprintln!("the table has no accuracy: {error}");
    }
    let mut scores = Vec::new();
    for &entry in engines {
        scores.push(test.as_ref().ok().map(|test| score(entry, test)).transpose()?);
    }
    let mut rows = Vec::new();
    for (batch, threads) in CASES {
        let contestants = engines
            .iter()
            .map(|&entry| Contestant::new(entry, batch, threads, golden));
        let mut contestants = contestants.collect::<anyhow::Result<Vec<_>>>()?;
        let mut subjects: Vec<Subject<'_>> = contestants.iter_mut().map(Contestant::subject).collect();
        let times = latency::interleaved(&mut subjects)?;
        drop(subjects);
        for ((contestant, times), score) in contestants.into_iter().zip(times).zip(&scores) {
            let mut row = contestant.row.with_times(&times);
            row.accuracy = score.as_ref().map(|score| score.accuracy());
            row.per_digit = score.as_ref().map(|score| score.per_digit());
            rows.push(row);
        }
    }
    Ok(rows)
}
