//! `trainer`: trains the network on MNIST and leaves a run folder. One file per subcommand under `commands/`.
#![forbid(unsafe_code)]

mod commands;

use std::process::ExitCode;

use clap::parser::ValueSource;
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use trainer::note;
use trainer::report::Report;
use trainer::study::Study;

use commands::{golden, report, seeds, stress, study, temperature, train};

/// Trains the three-block ResNet on MNIST with libtorch.
///
/// Without arguments it trains the published setting: ReLU, residual blocks, Adam, learning rate 0.001, batches of 64,
/// 10 epochs. With --recipe best it trains the most accurate and most robust network. A run is a folder runs/<n>/ with the weights, the settings, the metrics of each epoch and golden digits;
/// `cargo run -p exporter -- model.onnx` exports the newest.
///
/// Exit codes: 0 trained, 1 failed, 2 wrong usage, 130 stopped by Ctrl-C, SIGTERM or SIGHUP (what was reached
/// is kept).
#[derive(Parser)]
#[command(version, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    train: train::Args,
}

#[derive(Subcommand)]
enum Command {
    /// Trains every run of a study; the same command goes on where it was stopped
    Study(Study),
    /// Writes the report of a study, finished or not
    Report(Report),
    Golden(golden::Args),
    Seeds(seeds::Args),
    Temperature(temperature::Args),
    Stress(stress::Args),
}

fn main() -> ExitCode {
    let matches = Cli::command().get_matches();
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    let given = |flag: &str| matches.value_source(flag) == Some(ValueSource::CommandLine);
    let success = |()| ExitCode::SUCCESS;
    let done = match &cli.command {
        None => train::run(cli.train, &given),
        Some(Command::Study(args)) => study::run(args),
        Some(Command::Report(args)) => report::run(args).map(success),
        Some(Command::Golden(args)) => golden::run(args).map(success),
        Some(Command::Seeds(args)) => seeds::run(args).map(success),
        Some(Command::Temperature(args)) => temperature::run(args).map(success),
        Some(Command::Stress(args)) => stress::run(args).map(success),
    };
    done.unwrap_or_else(|error| {
        note(format_args!("error: {error:#}"));
        ExitCode::FAILURE
    })
}
