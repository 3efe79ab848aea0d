//! `trainer study`: many runs.

use std::process::ExitCode;

use trainer::note;
use trainer::report::Report;
use trainer::study::{Ended, Study};

use super::{exit_code, report, stop};

pub fn run(study: &Study) -> anyhow::Result<ExitCode> {
    let plan = study.plan()?;
    let stop = stop()?;
    let (finished, held) = match trainer::study::run(study, &plan, &stop)? {
        Ended::Stopped => {
            note(format_args!("stopped, the same command goes on"));
            return Ok(exit_code(false));
        }
        Ended::Through { finished, held } => (finished, held),
    };
    if held > 0 {
        note(format_args!("runs that other processes hold: {held}"));
    }
    if finished > 0 {
        report::run(&Report::of(&study.out))?;
    }
    Ok(exit_code(true))
}
