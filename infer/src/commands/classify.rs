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
use infer::{Classifier, REJECT, Reading};
use rayon::ThreadPool;
use rayon::prelude::*;

use self::pictures::page;
use self::table::Table;
use super::{EngineArgs, Format, UsageError, finite, no_digit, png_path, progress, read_picture, tell};

/// Read the digits in each picture: PNG, JPEG, GIF, BMP, WebP, TIFF or PNM
///
/// A picture takes up to 200 MB of memory, and as many are read at a time as there are --threads. Of a file with several
/// pages or frames, TIFF or GIF, only the first is read. Of a folder, and the folders in it, the files are read whose names
/// end as those of such pictures do; links to folders are not followed.
#[derive(clap::Args)]
pub struct Args {
    /// Pictures, folders of pictures, or - for standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Read one digit a picture, the largest that is not refused
    #[arg(long)]
    single: bool,
    #[arg(long, value_name = "EVIDENCE", allow_negative_numbers = true, value_parser = finite, help = format!(
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
    #[arg(long, value_name = "PNG", value_parser = png_path())]
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
    args.check()?;
    let mut failures = Failures::default();
    let debug_dir = args.debug_dir.as_deref();
    let named = args.files.iter();
    let files: Vec<_> = named.flat_map(|path| pictures::pictures(path, debug_dir)).collect();
    if let Some(folder) = debug_dir {
        fs::create_dir_all(folder).with_context(|| format!("--debug-dir {}", folder.display()))?;
    }
    let mut classifier = args.engine.classifier()?;
    // One picture needs no other threads.
    let pool = (files.len() > 1).then(|| args.engine.threads.pool()).transpose()?;
    let bar = match files.len() {
        MANY.. => progress(files.len()),
        _ => ProgressBar::hidden(),
    };
    let mut table = Table::new(args.format, args.show, &files)?;
    for files in files.chunks(BATCH) {
        let read = read(args, &mut classifier, pool.as_ref(), files)?;
        bar.suspend(|| {
            let mut rows = files.iter().zip(read);
            rows.try_for_each(|(file, read)| failures.print(args, &mut table, file, read))
        })?;
        bar.inc(files.len() as u64);
    }
    bar.finish_and_clear();
    if files.len() >= MANY {
        let Failures {
            without_digit,
            unreadable,
        } = failures;
        let n = files.len();
        let _ = writeln!(
            io::stderr(),
            "{n} pictures, {without_digit} of them without a digit, {unreadable} unreadable"
        );
    }
    Ok(failures.exit_code())
}

impl Args {
    /// A copy is made of one picture, and not in its place; the steps are not put among the pictures.
    fn check(&self) -> anyhow::Result<()> {
        if let Some(folder) = &self.debug_dir
            && self.files.iter().any(|file| file.is_dir() && is_same(file, folder))
        {
            bail!(UsageError(
                "--debug-dir is the folder that is read: name another".into()
            ));
        }
        let Some(copy) = &self.annotate else { return Ok(()) };
        let problem = match &self.files[..] {
            [file] if file.is_dir() => "takes a picture, and no folder",
            [file] if is_same(file, copy) => "would overwrite the picture itself: name another file",
            [_] => return Ok(()),
            _ => "takes one picture, and several are named",
        };
        bail!(UsageError(format!("--annotate {problem}")))
    }
}

/// Whether both paths lead to one file.
fn is_same(one: &Path, other: &Path) -> bool {
    let files = [one, other].map(|path| path.canonicalize().ok());
    files[0].is_some() && files[0] == files[1]
}

/// What is read in a file, and its bytes where a copy is made of them.
struct Read {
    reading: anyhow::Result<Reading>,
    bytes: Option<Vec<u8>>,
}

/// What is read in each file.
fn read(
    args: &Args,
    classifier: &mut Classifier,
    pool: Option<&ThreadPool>,
    files: &[PathBuf],
) -> anyhow::Result<Vec<Read>> {
    let page = |file: &PathBuf| match read_picture(file) {
        Ok(bytes) => {
            let page = page(&bytes, file, args.debug_dir.as_deref());
            (page, args.annotate.is_some().then_some(bytes))
        }
        Err(error) => (Err(error), None),
    };
    let pages: Vec<_> = match pool {
        None => files.iter().map(page).collect(),
        Some(pool) => pool.install(|| files.par_iter().map(page).collect()),
    };
    let reject = args.reject.unwrap_or(classifier.reject());
    let found = pages.iter().flat_map(|(page, _)| page);
    let mut readings = classifier.read_all(found, reject)?.into_iter();
    let mut reading = || readings.next().expect("there is a reading for every page");
    let read = pages.into_iter().map(|(page, bytes)| Read {
        reading: match page {
            Ok(_) if args.single => Ok(reading().single()),
            Ok(_) => Ok(reading()),
            Err(error) => no_digit(error),
        },
        bytes,
    });
    Ok(read.collect())
}

/// Pictures that gave no digit.
#[derive(Default)]
struct Failures {
    without_digit: usize,
    unreadable: usize,
}

impl Failures {
    /// Prints an answer and draws it; or says why there is none.
    fn print(&mut self, args: &Args, table: &mut Table, file: &Path, read: Read) -> anyhow::Result<()> {
        let reading = match read.reading {
            Ok(reading) => reading,
            Err(error) => {
                let error = error.to_string();
                self.unreadable += 1;
                tell(file, &error);
                return table.unreadable(file, &error);
            }
        };
        self.without_digit += usize::from(reading.reason.is_some());
        table.row(file, &reading)?;
        match (&args.annotate, read.bytes) {
            (Some(path), Some(bytes)) => annotate::annotate(&bytes, &reading, path),
            _ => Ok(()),
        }
    }

    fn exit_code(&self) -> ExitCode {
        match (self.unreadable, self.without_digit) {
            (0, 0) => ExitCode::SUCCESS,
            (0, _) => ExitCode::from(3),
            _ => ExitCode::FAILURE,
        }
    }
}
