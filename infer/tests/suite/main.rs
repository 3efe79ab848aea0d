//! The integration tests: every engine through one suite, foreign and hostile files, and the command as a user runs it.

mod cli;
mod clothes;
mod engines;
mod graphs;
mod hostile;
mod pictures;
mod readme;
#[cfg(feature = "serve")]
mod serve;

use std::io::Write;

use infer::engine::EngineKind;

/// Whether the engine is here; says so where it is not, and fails where it must be.
fn is_here(kind: EngineKind) -> bool {
    let Err(error) = kind.version() else {
        return true;
    };
    assert!(std::env::var_os("THREEBLOCK_REQUIRE_ORT").is_none(), "{error}");
    skipped(&format!("{kind} is not here: {error}"));
    false
}

/// Says past the test harness, which keeps what a passing test prints.
fn skipped(why: &str) {
    let _ = writeln!(std::io::stderr(), "skipped: {why}");
}
