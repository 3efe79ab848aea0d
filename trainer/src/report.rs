//! The report of a study: one HTML page that needs nothing else, the same as Markdown with figures beside it, and all
//! metrics as CSV. An unfinished study gives a report that says what is missing.

mod data;
mod figures;
mod page;
mod published;
mod reading;
mod stats;
mod svg;
mod tables;

use std::path::{Path, PathBuf};
use std::{fs, io};

use anyhow::Context;
use models::{artefact, document};

use self::data::Results;
use self::figures::Figure;
use self::tables::Table;

/// The command `trainer report`.
#[derive(clap::Args)]
pub struct Report {
    /// Folder of a study
    #[arg(default_value = "runs/study")]
    pub study: PathBuf,
    /// Folder for report.html, report.md, figures/ and metrics.csv [default: the study's folder]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Also put the main figure and table into a document, such as README.md, between the markers with the name of the
    /// study's folder
    #[arg(long, value_name = "FILE")]
    pub into: Option<PathBuf>,
    /// Instead of all that, one table of all configurations, each held against the first; to stdout where there is no
    /// --into
    #[arg(long, conflicts_with = "out")]
    pub table: bool,
}

/// What the report says of one experiment.
struct Section {
    name: String,
    reading: Vec<String>,
    tables: Vec<Table>,
    figures: Vec<Figure>,
}

impl Report {
    /// The report in the study's own folder.
    pub fn of(study: &Path) -> Report {
        Report {
            study: study.to_owned(),
            out: None,
            into: None,
            table: false,
        }
    }

    /// Writes the report and returns the path of its page.
    ///
    /// # Errors
    /// When the study's files cannot be read, or a file cannot be written.
    pub fn write(&self) -> anyhow::Result<PathBuf> {
        let out = self.out.as_ref().unwrap_or(&self.study);
        let results = data::read(&self.study)?;
        let sections = sections(&results)?;
        let figures = out.join("figures");
        fs::create_dir_all(&figures).with_context(|| format!("cannot make the folder {}", figures.display()))?;
        for figure in sections.iter().flat_map(|section| &section.figures) {
            write(
                &figures.join(format!("{}.svg", figure.name)),
                svg::standalone(&figure.svg).as_bytes(),
            )?;
        }
        write(&out.join("report.md"), page::markdown(&results, &sections).as_bytes())?;
        write(&out.join("metrics.csv"), &all_metrics(&results)?)?;
        let path = out.join("report.html");
        write(&path, page::html(&results, &sections).as_bytes())?;
        if let Some(document) = &self.into {
            let context = || format!("cannot write the study into {}", document.display());
            let figures = relative(&figures, document).with_context(context)?;
            let summary = page::summary(&results, &sections, &figures);
            document::insert(document, &self.name(), &summary).with_context(context)?;
        }
        Ok(path)
    }

    /// The table of all configurations, in Markdown, with its caption.
    ///
    /// # Errors
    /// When the study's files cannot be read.
    pub fn comparison(&self) -> anyhow::Result<String> {
        let results = data::read(&self.study)?;
        let table = tables::comparison(&results.experiments);
        let (rows, state) = (page::table_markdown(&table), page::state(&results));
        Ok(format!("{rows}\n{} {state}\n", table.caption))
    }

    /// Of the study's folder, and of its markers in documents.
    pub fn name(&self) -> String {
        let name = self.study.file_name().unwrap_or_default();
        name.to_string_lossy().into_owned()
    }
}

/// The way to `folder` from the folder of `document`.
fn relative(folder: &Path, document: &Path) -> io::Result<PathBuf> {
    let (folder, document) = (folder.canonicalize()?, document.canonicalize()?);
    let mut way = PathBuf::new();
    for ancestor in document.ancestors().skip(1) {
        if let Ok(down) = folder.strip_prefix(ancestor) {
            return Ok(way.join(down));
        }
        way.push("..");
    }
    Ok(folder)
}

fn sections(results: &Results) -> anyhow::Result<Vec<Section>> {
    let published = published::read()?;
    let section = |experiment: &data::Experiment| Section {
        name: experiment.name.clone(),
        reading: reading::reading(experiment),
        tables: vec![
            tables::figures(experiment, &published),
            tables::digits(experiment, &published),
        ],
        figures: figures::figures(experiment),
    };
    Ok(results.experiments.iter().map(section).collect())
}

/// Every epoch of every finished run; the gradients, whose blocks differ from run to run, are left to the runs' own files.
fn all_metrics(results: &Results) -> anyhow::Result<Vec<u8>> {
    let mut csv = csv::Writer::from_writer(Vec::new());
    for (index, (name, row)) in results
        .runs
        .iter()
        .flat_map(|(name, rows)| rows.iter().map(move |row| (name, row)))
        .enumerate()
    {
        let scalars = row
            .scalars()
            .into_iter()
            .filter(|(name, _)| !name.starts_with("gradient"));
        let (names, values): (Vec<_>, Vec<_>) = scalars.unzip();
        if index == 0 {
            csv.write_record(["run".to_owned(), "epoch".to_owned()].into_iter().chain(names))?;
        }
        let values = values.iter().map(|value| format!("{}", (value * 1e6).round() / 1e6));
        csv.write_record([name.clone(), row.epoch.to_string()].into_iter().chain(values))?;
    }
    Ok(csv.into_inner()?)
}

fn write(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    artefact::write(path, bytes).with_context(|| format!("cannot write {}", path.display()))
}
