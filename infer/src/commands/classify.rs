//! `infer classify`: pictures to digits, one row a picture.

mod annotate;
mod pictures;
mod table;

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use indicatif::ProgressBar;
use infer::glyph::{GlyphError, Page};
use infer::{Classifier, REJECT, Reading};
use rayon::prelude::*;

pub use self::pictures::page;
use self::table::Table;
use super::{EngineArgs, Format, progress};

/// Read the digits in each picture: PNG, JPEG, GIF, BMP, WebP, TIFF or PNM
#[derive(clap::Args)]
pub struct Args {
    /// Pictures, folders of pictures, or - for standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Read one digit a picture, the largest
    #[arg(long)]
    single: bool,
    #[arg(long, value_name = "EVIDENCE", allow_negative_numbers = true, help = format!(
        "Evidence below which there is no digit; a lower number refuses less [default: {REJECT}, and none for foreign models]"
    ))]
    reject: Option<f32>,
    /// Also print the 28x28 pixels that the network sees
    #[arg(long)]
    show: bool,
    /// Save every intermediate picture into this folder
    #[arg(long, value_name = "DIR")]
    debug_dir: Option<PathBuf>,
    /// Write a copy of the one picture with boxes and digits drawn into it
    #[arg(long, value_name = "PNG")]
    annotate: Option<PathBuf>,
    /// How the answers are printed; docs/json.md has the schema
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
    #[command(flatten)]
    engine: EngineArgs,
}

/// Pictures that are decoded side by side.
const BATCH: usize = 64;
/// From so many pictures on, progress is shown.
const MANY: usize = 100;

pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let mut failures = Failures::default();
    let files = failures.pictures(&args.files);
    if args.annotate.is_some() && files.len() != 1 {
        bail!("--annotate takes one picture, and {} are named", files.len());
    }
    if args.annotate.is_some() && files[0] == Path::new("-") {
        bail!("--annotate takes a file, and no standard input");
    }
    if let Some(folder) = &args.debug_dir {
        fs::create_dir_all(folder).with_context(|| format!("--debug-dir {}", folder.display()))?;
    }
    let mut classifier = args.engine.classifier()?;
    let bar = match files.len() {
        MANY.. => progress(files.len()),
        _ => ProgressBar::hidden(),
    };
    let mut table = Table::new(args.format, args.show, &files)?;
    for files in files.chunks(BATCH) {
        let readings = read(args, &mut classifier, files)?;
        bar.suspend(|| {
            let mut rows = files.iter().zip(readings);
            rows.try_for_each(|(file, reading)| failures.print(args, &mut table, file, reading))
        })?;
        bar.inc(files.len() as u64);
    }
    bar.finish_and_clear();
    Ok(failures.exit_code())
}

/// What is read in each file.
fn read(args: &Args, classifier: &mut Classifier, files: &[PathBuf]) -> anyhow::Result<Vec<anyhow::Result<Reading>>> {
    let page = |file: &PathBuf| {
        let page = page(file, args.debug_dir.as_deref())?;
        Ok(if args.single { page.single() } else { page })
    };
    let pages: Vec<anyhow::Result<Page>> = match files {
        [file] => vec![page(file)], // starts no threads
        files => files.par_iter().map(page).collect(),
    };
    let reject = args.reject.unwrap_or(classifier.reject());
    let mut readings = classifier.read_all(pages.iter().flatten(), reject)?.into_iter();
    let reading = |page: anyhow::Result<Page>| match page {
        Ok(_) => Ok(readings.next().expect("there is a reading for every page")),
        Err(error) => no_digit(error),
    };
    Ok(pages.into_iter().map(reading).collect())
}

/// A picture without a digit is an answer, and no failure.
fn no_digit(error: anyhow::Error) -> anyhow::Result<Reading> {
    match error.downcast_ref::<GlyphError>() {
        Some(reason) if reason.is_no_digit() => Ok(Reading::none(reason)),
        _ => Err(error),
    }
}

/// Pictures that gave no digit.
#[derive(Default)]
struct Failures {
    without_digit: usize,
    unreadable: usize,
}

impl Failures {
    fn pictures(&mut self, paths: &[PathBuf]) -> Vec<PathBuf> {
        let mut found = Vec::new();
        for path in paths {
            match pictures::pictures(path) {
                Ok(pictures) => found.extend(pictures),
                Err(error) => self.add(path, &error),
            }
        }
        found
    }

    /// Prints an answer and draws it; or says why there is none.
    fn print(
        &mut self,
        args: &Args,
        table: &mut Table,
        file: &Path,
        reading: anyhow::Result<Reading>,
    ) -> anyhow::Result<()> {
        let reading = match reading {
            Ok(reading) => reading,
            Err(error) => {
                self.add(file, &error);
                return Ok(table.unreadable(file, &error)?);
            }
        };
        self.without_digit += usize::from(reading.reason.is_some());
        table.row(file, &reading)?;
        match &args.annotate {
            Some(path) => annotate::annotate(&pictures::bytes(file)?, &reading, path),
            None => Ok(()),
        }
    }

    fn add(&mut self, file: &Path, error: &anyhow::Error) {
        self.unreadable += 1;
        let _ = writeln!(io::stderr(), "error: {}: {error:#}", file.display());
    }

    fn exit_code(&self) -> ExitCode {
        match (self.unreadable, self.without_digit) {
            (0, 0) => ExitCode::SUCCESS,
            (0, _) => ExitCode::from(3),
            _ => ExitCode::FAILURE,
        }
    }
}
