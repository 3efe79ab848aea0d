//! `trainer study` trains many runs, `trainer report` says what they show.

use std::process::ExitCode;

use trainer::note;
use trainer::report::Report;
use trainer::study::{Ended, Study};

use super::{exit_code, publish, stop};

pub fn study(study: &Study) -> anyhow::Result<ExitCode> {
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
        report(&Report::of(&study.out))?;
    }
    Ok(exit_code(true))
}

pub fn report(report: &Report) -> anyhow::Result<()> {
    if report.table {
        return publish(&report.comparison()?, report.into.as_deref(), &report.name());
    }
    let page = report.write()?;
    note(format_args!("the report is in {}", page.display()));
    Ok(())
}
