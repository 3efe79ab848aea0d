//! `infer`: names the digit in a picture, and says how well and by what. One file per subcommand under `commands/`.
#![forbid(unsafe_code)]

mod commands;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[cfg(feature = "serve")]
use commands::serve;
use commands::{UsageError, classify, doctor, eval, info, verify};

/// Name the digit in a picture
#[derive(Parser)]
#[command(version, after_help = EXIT_CODES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Classify(classify::Args),
    Eval(eval::Args),
    Info(info::Args),
    Verify(verify::Args),
    #[cfg(feature = "serve")]
    Serve(serve::Args),
    Doctor(doctor::Args),
}

const EXIT_CODES: &str = "Exit codes:
  0  all went well
  1  something failed: a file cannot be read, an engine is missing, logits differ
  2  the command line is wrong
  3  there is no digit in a picture, and nothing else failed";

fn main() -> ExitCode {
    let cli = Cli::parse();
    // First thing, while there is one thread. Where it fails, opening ONNX Runtime says why.
    #[cfg(feature = "ort")]
    let _ = infer::engine::disable_telemetry();
    let result = match &cli.command {
        Command::Classify(args) => classify::run(args),
        Command::Eval(args) => eval::run(args),
        Command::Info(args) => info::run(args),
        Command::Verify(args) => verify::run(args),
        #[cfg(feature = "serve")]
        Command::Serve(args) => serve::run(args),
        Command::Doctor(args) => doctor::run(args),
    };
    match result {
        Ok(code) => code,
        Err(error) if is_closed_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "error: {error:#}");
            match error.is::<UsageError>() {
                true => ExitCode::from(2),
                false => ExitCode::FAILURE,
            }
        }
    }
}

/// Whether the reader of our output has gone, which is no failure.
fn is_closed_pipe(error: &anyhow::Error) -> bool {
    let io_error = error.downcast_ref::<io::Error>();
    io_error.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        super::Cli::command().debug_assert();
    }
}
