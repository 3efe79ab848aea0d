//! The subcommands, and what they share: how a program ends, and where its tables go.

pub mod golden;
pub mod report;
pub mod seeds;
pub mod stress;
pub mod study;
pub mod temperature;
pub mod train;

use std::io::{ErrorKind, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::Context;

/// Exit code after Ctrl-C, SIGTERM or SIGHUP.
const INTERRUPTED: u8 = 130;

/// What such a signal raises.
fn stop() -> anyhow::Result<Arc<AtomicBool>> {
    trainer::signals::stop(INTERRUPTED)
}

fn exit_code(finished: bool) -> ExitCode {
    if finished {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(INTERRUPTED)
    }
}

/// Between the markers `name` of the document, where there is one, else to stdout.
fn publish(text: &str, document: Option<&Path>, name: &str) -> anyhow::Result<()> {
    match document {
        Some(document) => models::document::insert(document, name, text)
            .with_context(|| format!("cannot write into {}", document.display())),
        None => print(text),
    }
}

/// To stdout. Whoever listens at the other end of a pipe may leave.
fn print(text: &str) -> anyhow::Result<()> {
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error).context("cannot write to stdout"),
        _ => Ok(()),
    }
}
