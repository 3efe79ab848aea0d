//! `infer classify`: pictures to digits, one row a picture.

use std::ffi::OsStr;
use std::fs::{self, DirEntry, File};
use std::io::{self, Write};
use std::iter;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::anyhow;
use indicatif::ProgressBar;
use infer::glyph::{self, GlyphError};
use infer::{Digit, Prediction};
use serde::Serialize;

use super::{EngineArgs, Format, percent, progress, read_up_to};

/// Name the digit in each picture: PNG, JPEG, GIF, BMP, WebP, TIFF or PNM
#[derive(clap::Args)]
pub struct Args {
    /// Pictures, folders of pictures, or - for standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Also print the 28x28 pixels that the network sees
    #[arg(long)]
    show: bool,
    /// How the answers are printed
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
    #[command(flatten)]
    engine: EngineArgs,
}

/// Pictures per run of the engine.
const BATCH: usize = 64;
/// From so many pictures on, progress is shown.
const MANY: usize = 100;
/// Names of the pictures that are looked for in a folder.
const EXTENSIONS: [&str; 12] = [
    "png", "jpg", "jpeg", "gif", "bmp", "webp", "tif", "tiff", "pbm", "pgm", "ppm", "pnm",
];

pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let mut classifier = args.engine.classifier()?;
    let mut failures = Failures::default();
    let files = failures.pictures(&args.files);
    let bar = match files.len() {
        MANY.. => progress(files.len()),
        _ => ProgressBar::hidden(),
    };
    let mut table = Table::new(args, &files)?;
    for files in files.chunks(BATCH) {
        let mut read = Vec::new();
        for file in files {
            match read_digit(file) {
                Ok(digit) => read.push((file, digit)),
                Err(error) => bar.suspend(|| failures.add(file, &error)),
            }
        }
        let (names, digits): (Vec<_>, Vec<_>) = read.into_iter().unzip();
        let predictions = classifier.classify_all(&digits)?;
        bar.suspend(|| {
            let mut rows = iter::zip(names, iter::zip(&digits, &predictions));
            rows.try_for_each(|(file, (digit, prediction))| table.row(file, digit, prediction))
        })?;
        bar.inc(files.len() as u64);
    }
    bar.finish_and_clear();
    Ok(failures.exit_code())
}

/// Pictures that gave no answer.
#[derive(Default)]
struct Failures {
    blank: usize,
    other: usize,
}

impl Failures {
    /// The pictures to read: files as they are named, folders with all pictures in them, in order of their names.
    fn pictures(&mut self, files: &[PathBuf]) -> Vec<PathBuf> {
        let mut pictures = Vec::new();
        for file in files {
            let before = pictures.len();
            let walked = match file.is_dir() {
                true => walk(file, &mut pictures),
                false => {
                    pictures.push(file.clone());
                    Ok(())
                }
            };
            match walked {
                Err(error) => self.add(file, &error.into()),
                Ok(()) if pictures.len() == before => self.add(file, &anyhow!("no pictures in this folder")),
                Ok(()) => {}
            }
        }
        pictures
    }

    fn add(&mut self, file: &Path, error: &anyhow::Error) {
        match error.downcast_ref() {
            Some(GlyphError::Blank) => self.blank += 1,
            _ => self.other += 1,
        }
        let problem = format!("{error:#}");
        let _ = writeln!(io::stderr(), "error: {}: {}", file.display(), problem.trim_end());
    }

    fn exit_code(&self) -> ExitCode {
        match self {
            Failures { blank: 0, other: 0 } => ExitCode::SUCCESS,
            Failures { other: 0, .. } => ExitCode::from(3),
            _ => ExitCode::FAILURE,
        }
    }
}

/// Adds the pictures in a folder and the folders in it, by name. Links to folders are not followed: they may lead back.
fn walk(folder: &Path, pictures: &mut Vec<PathBuf>) -> io::Result<()> {
    let mut entries = fs::read_dir(folder)?.collect::<io::Result<Vec<_>>>()?;
    entries.sort_by_key(DirEntry::file_name);
    for entry in entries {
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            walk(&path, pictures)?;
        } else if is_picture(&path) && path.is_file() {
            pictures.push(path);
        }
    }
    Ok(())
}

fn is_picture(path: &Path) -> bool {
    let extension = path.extension().and_then(OsStr::to_str);
    extension.is_some_and(|extension| EXTENSIONS.contains(&extension.to_ascii_lowercase().as_str()))
}

fn read_digit(file: &Path) -> anyhow::Result<Digit> {
    let max = glyph::MAX_FILE_BYTES as u64;
    let bytes = match file == Path::new("-") {
        true => read_up_to(io::stdin(), max)?,
        false => read_up_to(File::open(file)?, max)?,
    };
    Ok(glyph::read(&bytes)?)
}

/// The answers on standard output.
struct Table {
    format: Format,
    show: bool,
    /// Width of the column of names.
    width: usize,
}

impl Table {
    /// Prints the header.
    fn new(args: &Args, files: &[PathBuf]) -> io::Result<Table> {
        let names = files.iter().map(|file| file.display().to_string().chars().count());
        let width = names.chain(["file".len()]).max().unwrap_or(0);
        let mut out = io::stdout().lock();
        match args.format {
            Format::Text if files.is_empty() => {}
            Format::Text => writeln!(out, "{:width$}  digit  confidence  top three", "file")?,
            Format::Json => {}
            Format::Csv => writeln!(out, "file,digit,confidence,p0,p1,p2,p3,p4,p5,p6,p7,p8,p9")?,
        }
        Ok(Table {
            format: args.format,
            show: args.show,
            width,
        })
    }

    fn row(&mut self, file: &Path, digit: &Digit, prediction: &Prediction) -> io::Result<()> {
        let file = file.display().to_string();
        let mut out = io::stdout().lock();
        match self.format {
            Format::Text => writeln!(out, "{}", text_row(&file, self.width, prediction))?,
            Format::Json => writeln!(out, "{}", json_row(&file, prediction)?)?,
            Format::Csv => out.write_all(&csv_row(&file, prediction)?)?,
        }
        if self.show {
            match self.format {
                Format::Text => write!(out, "{digit:?}")?,
                // Only data goes to stdout.
                Format::Json | Format::Csv => write!(io::stderr(), "{digit:?}")?,
            }
        }
        Ok(())
    }
}

fn text_row(file: &str, width: usize, prediction: &Prediction) -> String {
    let per_cent = |probability: f32| percent(probability.into());
    let top = prediction.top(3).into_iter();
    let top: Vec<_> = top.map(|(digit, p)| format!("{digit} {:>8}", per_cent(p))).collect();
    let confidence = per_cent(prediction.confidence);
    format!(
        "{file:width$}  {:>5}  {confidence:>10}  {}",
        prediction.digit,
        top.join("  ")
    )
}

fn json_row(file: &str, prediction: &Prediction) -> serde_json::Result<String> {
    #[derive(Serialize)]
    struct Row<'a> {
        file: &'a str,
        #[serde(flatten)]
        prediction: &'a Prediction,
    }
    serde_json::to_string(&Row { file, prediction })
}

fn csv_row(file: &str, prediction: &Prediction) -> io::Result<Vec<u8>> {
    let numbers = prediction.probabilities.map(|p| p.to_string());
    let first = [
        file.to_owned(),
        prediction.digit.to_string(),
        prediction.confidence.to_string(),
    ];
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(first.iter().chain(&numbers))?;
    writer.into_inner().map_err(|error| error.into_error())
}
