//! What the subcommands share: the flags that choose a model and an engine, reading files, progress.

pub mod classify;
pub mod doctor;
pub mod eval;
pub mod info;
mod letters;
#[cfg(feature = "serve")]
pub mod serve;
pub mod verify;

use std::borrow::Cow;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::thread;

use anyhow::{Context, bail};
use clap::ValueEnum;
use clap::builder::{PathBufValueParser, TypedValueParser};
use indicatif::{ProgressBar, ProgressStyle};
use infer::engine::{EngineKind, KernelKind};
use infer::glyph::GlyphError;
use infer::{Classifier, Reading};
use models::{glyph, onnx};
use rayon::{ThreadPool, ThreadPoolBuilder};

/// Which model.
#[derive(clap::Args)]
pub struct ModelArgs {
    /// ONNX file [default: the released model, built in]
    #[arg(long, value_name = "FILE")]
    model: Option<PathBuf>,
    /// The released model quantised to int8, built in: faster, and nearly always with the same answer
    #[arg(long, conflicts_with = "model")]
    int8: bool,
}

/// Which model, on which engine, with how many threads.
#[derive(clap::Args)]
pub struct EngineArgs {
    #[command(flatten)]
    model: ModelArgs,
    /// Engine that runs the model
    #[arg(long, value_enum, default_value_t)]
    engine: EngineKind,
    /// Kernels of the native engine [default: the fastest that this CPU can run]
    #[arg(long, value_enum, value_name = "KERNELS")]
    kernels: Option<KernelKind>,
    #[command(flatten)]
    threads: ThreadArgs,
}

/// How many threads.
#[derive(clap::Args)]
pub struct ThreadArgs {
    /// Threads of the engine, and of all that is done side by side [default: one per core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    threads: Option<u16>,
}

/// How results are printed.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// An aligned table
    Text,
    /// One JSON object a line
    Json,
    /// A header and one line a row
    Csv,
}

impl ModelArgs {
    /// What the model is called in messages.
    pub fn name(&self) -> String {
        match &self.model {
            Some(path) => path.display().to_string(),
            None if self.int8 => "released model in int8".to_owned(),
            None => "released model".to_owned(),
        }
    }

    /// The bytes of the ONNX file.
    pub fn read(&self) -> anyhow::Result<Cow<'static, [u8]>> {
        Ok(match &self.model {
            Some(path) => read_file(path, onnx::MAX_BYTES)?.into(),
            None if self.int8 => models::RELEASED_INT8_ONNX.into(),
            None => models::RELEASED_ONNX.into(),
        })
    }
}

impl EngineArgs {
    /// The model on its engine.
    pub fn classifier(&self) -> anyhow::Result<Classifier> {
        self.open(&self.model.read()?, self.threads.get())
    }

    /// As many of them as there are threads, each on one.
    #[cfg(feature = "serve")]
    pub fn classifiers(&self) -> anyhow::Result<Vec<Classifier>> {
        let bytes = self.model.read()?;
        (0..self.threads.get()).map(|_| self.open(&bytes, 1)).collect()
    }

    fn open(&self, bytes: &[u8], threads: usize) -> anyhow::Result<Classifier> {
        let classifier = match self.kernels {
            None => Classifier::open(self.engine, bytes, threads),
            Some(kernels) if self.engine == EngineKind::Native => Classifier::open_native(bytes, threads, kernels),
            Some(_) => bail!(UsageError(format!(
                "--kernels are those of the native engine, not of {}",
                self.engine
            ))),
        };
        classifier.map_err(|error| match error.is_missing() {
            true => error.into(),
            false => anyhow::Error::new(error).context(self.model.name()),
        })
    }
}

impl ThreadArgs {
    /// The number of threads.
    pub fn get(&self) -> usize {
        match self.threads {
            Some(threads) => threads.into(),
            None => thread::available_parallelism().map_or(1, usize::from),
        }
    }

    /// The threads that decode pictures side by side.
    pub fn pool(&self) -> anyhow::Result<ThreadPool> {
        Ok(ThreadPoolBuilder::new().num_threads(self.get()).build()?)
    }
}

/// A command line that is wrong in a way which clap does not see.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct UsageError(pub String);

/// A number that is finite.
pub fn finite(text: &str) -> Result<f32, String> {
    let number = text.parse().ok().filter(|number: &f32| number.is_finite());
    number.ok_or_else(|| "a finite number is wanted".to_owned())
}

/// Where a PNG is written.
pub fn png_path() -> impl TypedValueParser<Value = PathBuf> {
    PathBufValueParser::new().try_map(|path| {
        let is_png = path.extension().is_some_and(|name| name.eq_ignore_ascii_case("png"));
        is_png
            .then_some(path)
            .ok_or("a PNG is written, whose name must end in .png")
    })
}

/// Reads a regular file of at most `max` bytes; never waits on a pipe.
pub fn read_file(path: &Path, max: u64) -> anyhow::Result<Vec<u8>> {
    let name = || path.display().to_string();
    if !fs::metadata(path).with_context(name)?.is_file() {
        bail!("{}: not a file", name());
    }
    let bytes = File::open(path)
        .and_then(|file| read_up_to(file, max))
        .with_context(name)?;
    if bytes.len() as u64 > max {
        bail!(
            "{}: larger than {} MiB, which is the most that is read",
            name(),
            max >> 20
        );
    }
    Ok(bytes)
}

/// The bytes of a picture, or of standard input, as far as they are decoded: one byte more is too many.
pub fn read_picture(path: &Path) -> anyhow::Result<Vec<u8>> {
    let max = glyph::MAX_FILE_BYTES as u64;
    let read = match path == Path::new("-") {
        true => read_up_to(io::stdin(), max),
        false => File::open(path).and_then(|file| read_up_to(file, max)),
    };
    match read {
        Ok(bytes) if bytes.is_empty() => bail!("the file is empty"),
        Err(error) if error.kind() == ErrorKind::IsADirectory && path.is_dir() => {
            bail!("no pictures in this folder, where links to folders are not followed")
        }
        read => Ok(read?),
    }
}

/// What is to be said of a picture from which nothing was read: a picture without a digit is an answer, and no failure.
pub fn no_digit(error: anyhow::Error) -> anyhow::Result<Reading> {
    match error.downcast_ref::<GlyphError>() {
        Some(reason) if reason.is_no_digit() => Ok(Reading::none(reason)),
        // What decoders say may end a line.
        _ => Err(anyhow::anyhow!("{}", format!("{error:#}").trim_end())),
    }
}

/// Tells of a file that could not be read.
pub fn tell(file: &Path, error: &str) {
    let _ = writeln!(io::stderr(), "error: {}: {error}", shown(file));
}

/// A file's name for people: what would move the cursor of a terminal is escaped.
pub fn shown(file: &Path) -> String {
    let name = file.display().to_string();
    let character = |c: char| match c.is_control() {
        true => c.escape_default().to_string(),
        false => c.to_string(),
    };
    name.chars().map(character).collect()
}

/// Prints whole lines at once, so that those of several programs do not mix.
pub fn print(lines: impl AsRef<[u8]>) -> anyhow::Result<()> {
    io::stdout().lock().write_all(lines.as_ref()).context("standard output")
}

/// Reads to the end, but no further than one byte over `max`.
pub fn read_up_to(reader: impl Read, max: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    reader.take(max + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// A bar over `n` steps on stderr, where that is a terminal.
pub fn progress(n: usize) -> ProgressBar {
    let style = ProgressStyle::with_template("{wide_bar} {human_pos} of {human_len}, {eta} left");
    ProgressBar::new(n as u64).with_style(style.expect("the template is right"))
}

/// A fraction in per cent, to a hundredth; a dash for a fraction of nothing.
pub fn percent(fraction: f64) -> String {
    if fraction.is_nan() {
        return "-".to_owned();
    }
    format!("{:.2} %", 100.0 * fraction)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stays_on_its_line() {
        assert_eq!(shown(Path::new("a\nb\u{1b}[31m ü.png")), "a\\nb\\u{1b}[31m ü.png");
    }

    #[test]
    fn no_more_threads_decode_than_are_allowed() {
        let pool = ThreadArgs { threads: Some(3) }.pool().unwrap();
        assert_eq!(pool.current_num_threads(), 3);
    }
}
