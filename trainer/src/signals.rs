//! Ctrl-C, SIGTERM and SIGHUP raise a flag, by which a training stops after the step.

use std::process::exit;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A flag that the first signal raises; the second ends the program at once, with the exit code `code`. Where SIGHUP is
/// ignored, as under `nohup`, it stays so.
///
/// # Errors
/// When the system refuses the handler.
pub fn stop(code: u8) -> anyhow::Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    let raised = Arc::clone(&stop);
    let nohup = ignore_hangup();
    ctrlc::set_handler(move || {
        if raised.swap(true, Ordering::Relaxed) {
            exit(code.into());
        }
    })?;
    if nohup {
        ignore_hangup();
    }
    Ok(stop)
}

/// Ignores SIGHUP, and returns whether it was ignored before.
#[cfg(unix)]
#[allow(unsafe_code)] // Nothing in safe Rust asks what a signal does.
fn ignore_hangup() -> bool {
    // SAFETY: to ignore a signal runs no code of ours.
    unsafe { libc::signal(libc::SIGHUP, libc::SIG_IGN) == libc::SIG_IGN }
}

#[cfg(not(unix))]
fn ignore_hangup() -> bool {
    false
}
