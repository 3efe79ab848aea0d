//! `trainer report`: what the runs of a study show.

use trainer::note;
use trainer::report::Report;

use super::publish;

pub fn run(report: &Report) -> anyhow::Result<()> {
    if report.table {
        return publish(&report.comparison()?, report.into.as_deref(), &report.name());
    }
    let page = report.write()?;
    note(format_args!("the report is in {}", page.display()));
    Ok(())
}
