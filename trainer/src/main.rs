//! `trainer`: trains the network on MNIST and leaves a run folder; `trainer golden` computes golden logits anew,
//! `trainer seeds` and `trainer temperature` score and calibrate, `trainer stress` holds weights against each other where MNIST does not lead.
#![forbid(unsafe_code)]

use std::fmt::Write as _;
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::parser::ValueSource;
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use models::golden::{Golden, MIN_DIGITS};
use models::mnist::{Part, Split};
use trainer::calibration;
use trainer::data::Dataset;
use trainer::net::{self, Net};
use trainer::progress::Progress;
use trainer::report::Report;
use trainer::run::Run;
use trainer::seeds::Seed;
use trainer::settings::{DeviceChoice, Settings};
use trainer::study::{Ended, Study};
use trainer::train::EVAL_BATCH;
use trainer::{note, read_weights, signals};

/// Exit code after Ctrl-C, SIGTERM or SIGHUP.
const INTERRUPTED: u8 = 130;

/// Trains the three-block ResNet on MNIST with libtorch.
///
/// Without arguments it trains the published setting: ReLU, residual blocks, Adam, learning rate 0.001, batches of 64,
/// 10 epochs. With --recipe best it trains the most accurate and most robust network. A run is a folder runs/<n>/ with the weights, the settings, the metrics of each epoch and golden digits;
/// `cargo run -p exporter -- model.onnx` exports the newest.
///
/// Exit codes: 0 trained, 1 failed, 2 wrong usage, 130 stopped by Ctrl-C, SIGTERM or SIGHUP (what was reached
/// is kept).
#[derive(Parser)]
#[command(version, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    settings: Settings,
    /// Folder in which the run's folder is made
    #[arg(long, value_name = "DIR", default_value = "runs")]
    runs: PathBuf,
    /// Go on with a run after its last epoch, with the settings that it was begun with but for --device, --threads, --data
    #[arg(long, value_name = "RUN", conflicts_with = "runs", conflicts_with_all = Settings::kept())]
    resume: Option<PathBuf>,
}

#[derive(Subcommand)]
enum Command {
    /// Trains every run of a study; the same command goes on where it was stopped
    Study(Study),
    /// Writes the report of a study, finished or not
    Report(Report),
    /// Computes libtorch's logits for test digits, against which exporter and engines are checked
    Golden {
        /// Weights of the network
        #[arg(long, value_name = "FILE")]
        weights: PathBuf,
        /// Where to write [default: golden.safetensors beside the weights]
        #[arg(long, value_name = "FILE")]
        output: Option<PathBuf>,
        /// Take the first N test digits
        #[arg(long, value_name = "N", default_value_t = trainer::GOLDEN_DIGITS as u32)]
        #[arg(value_parser = clap::value_parser!(u32).range(MIN_DIGITS as i64..))]
        digits: u32,
        /// Folder with MNIST's four IDX files, plain or .gz
        #[arg(long, value_name = "DIR", default_value = "data")]
        data: PathBuf,
    },
    /// A table of the test digits that networks read right whose trainings differ in the seed only
    Seeds {
        /// Weights of the networks
        #[arg(required = true, value_name = "FILE")]
        weights: Vec<PathBuf>,
        /// Write the table between the markers of this document instead of printing
        #[arg(long, value_name = "FILE.md")]
        into: Option<PathBuf>,
        /// Name of the markers
        #[arg(long, value_name = "NAME", default_value = "seeds")]
        marker: String,
        /// Folder with MNIST's four IDX files, plain or .gz
        #[arg(long, value_name = "DIR", default_value = "data")]
        data: PathBuf,
    },
    /// Fits the temperature of the probabilities on training digits that were held out by --holdout
    Temperature {
        /// Weights of a network that was trained with --holdout
        #[arg(long, value_name = "FILE")]
        weights: PathBuf,
        /// The last N training digits, which were held out
        #[arg(long, value_name = "N", default_value_t = 5000, value_parser = clap::value_parser!(u32).range(1..60_000))]
        holdout: u32,
        /// Folder with MNIST's four IDX files, plain or .gz
        #[arg(long, value_name = "DIR", default_value = "data")]
        data: PathBuf,
    },
    /// Tables of how weights read altered test digits, and how unsure they are of what is no digit
    Stress {
        /// Weights of a network, each a column of the tables
        #[arg(long, value_name = "FILE", required = true)]
        weights: Vec<PathBuf>,
        /// Folder with other pictures as IDX files, of which the test pictures are shown, such as Debian's
        /// dataset-fashion-mnist
        #[arg(long, value_name = "DIR")]
        strangers: Option<PathBuf>,
        /// Write the tables between the markers `stress` of this document instead of printing
        #[arg(long, value_name = "FILE.md")]
        into: Option<PathBuf>,
        /// Folder with MNIST's four IDX files, plain or .gz
        #[arg(long, value_name = "DIR", default_value = "data")]
        data: PathBuf,
    },
}

fn main() -> ExitCode {
    let matches = Cli::command().get_matches();
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    let given = |flag: &str| matches.value_source(flag) == Some(ValueSource::CommandLine);
    let done = match cli.command {
        None => train(cli.settings, &cli.runs, cli.resume.as_deref(), &given),
        Some(Command::Study(arguments)) => study(&arguments),
        Some(Command::Report(arguments)) => report(&arguments).map(|()| ExitCode::SUCCESS),
        Some(Command::Golden {
            weights,
            output,
            digits,
            data,
        }) => {
            let output = output.unwrap_or_else(|| weights.with_file_name("golden.safetensors"));
            golden(&weights, &output, digits as usize, &data).map(|()| ExitCode::SUCCESS)
        }
        Some(Command::Seeds {
            weights,
            into,
            marker,
            data,
        }) => seeds(&weights, into.as_deref(), &marker, &data).map(|()| ExitCode::SUCCESS),
        Some(Command::Temperature { weights, holdout, data }) => {
            temperature(&weights, holdout, &data).map(|()| ExitCode::SUCCESS)
        }
        Some(Command::Stress {
            weights,
            strangers,
            into,
            data,
        }) => stress(&weights, strangers.as_deref(), into.as_deref(), &data).map(|()| ExitCode::SUCCESS),
    };
    done.unwrap_or_else(|error| {
        note(format_args!("error: {error:#}"));
        ExitCode::FAILURE
    })
}

/// Trains a run of `settings`, or goes on with the one in the folder `resume`.
fn train(
    settings: Settings,
    runs: &Path,
    resume: Option<&Path>,
    given: &dyn Fn(&str) -> bool,
) -> anyhow::Result<ExitCode> {
    let settings = &match resume {
        Some(folder) => resumed(folder, settings, given)?,
        None => settings,
    };
    let device = settings.device.resolve()?;
    if let Some(threads) = settings.threads {
        tch::set_num_threads(threads.into());
    }
    if !settings.precision.is_fast_on(device) {
        note(format_args!(
            "note: this CPU has no AMX, so that bf16 is likely slower than f32"
        ));
    }
    let backend = trainer::train::check(settings, device)?;
    let (train, test) = settings.splits()?;
    let folder = resume.map_or_else(|| trainer::run::next_folder(runs), |folder| Ok(folder.to_owned()))?;
    let (run, mut state) = Run::open(folder, settings, device, &train, &test)?;
    let stop = signals::stop(INTERRUPTED)?;
    let mut progress = Progress::new(settings, run, state.epoch, train.digits.len(), device, backend, stop);
    let (train, test) = (Dataset::new(&train, device), Dataset::new(&test, device));
    let finished = trainer::train::train(settings, &mut state, &train, &test, &mut progress)?;
    progress.finish(finished)?;
    Ok(exit_code(finished))
}

/// The settings of the run in a folder, with those of `settings` that were given: they do not change what it is.
fn resumed(folder: &Path, settings: Settings, given: &dyn Fn(&str) -> bool) -> anyhow::Result<Settings> {
    let known = trainer::run::settings(folder)?
        .with_context(|| format!("{} holds no run: settings.json is missing", folder.display()))?;
    Ok(Settings {
        device: if given("device") { settings.device } else { known.device },
        threads: settings.threads.or(known.threads),
        data: if given("data") { settings.data } else { known.data },
        ..known
    })
}

fn exit_code(finished: bool) -> ExitCode {
    if finished {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(INTERRUPTED)
    }
}

fn study(study: &Study) -> anyhow::Result<ExitCode> {
    let plan = study.plan()?;
    let stop = signals::stop(INTERRUPTED)?;
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

fn report(report: &Report) -> anyhow::Result<()> {
    if report.table {
        return publish(&report.comparison()?, report.into.as_deref(), &report.name());
    }
    let page = report.write()?;
    note(format_args!("the report is in {}", page.display()));
    Ok(())
}

fn golden(weights: &Path, output: &Path, digits: usize, data: &Path) -> anyhow::Result<()> {
    let weights = read_weights(weights)?;
    let net = Net::from_weights(&weights, DeviceChoice::Cpu.resolve()?);
    let golden: Golden = trainer::golden(&net, weights.sha256(), &Split::read(data, Part::Test)?, digits);
    models::artefact::write(output, &golden.to_bytes())
        .with_context(|| format!("cannot write {}", output.display()))?;
    note(format_args!(
        "{} digits with libtorch's logits in {}",
        golden.digits.len(),
        output.display()
    ));
    Ok(())
}

fn seeds(paths: &[PathBuf], into: Option<&Path>, marker: &str, data: &Path) -> anyhow::Result<()> {
    let device = DeviceChoice::Auto.resolve()?;
    let read = |path: &PathBuf| {
        Ok(Seed {
            name: path.display().to_string(),
            weights: read_weights(path)?,
            settings: trainer::run::settings(path.parent().unwrap_or(Path::new("")))?,
        })
    };
    let seeds = paths.iter().map(read).collect::<anyhow::Result<Vec<_>>>()?;
    trainer::seeds::check(&seeds)?;
    let net = |seed: &Seed| (seed.weights.training.seed, Net::from_weights(&seed.weights, device));
    let nets: Vec<_> = seeds.iter().map(net).collect();
    let test = Dataset::new(&Split::read(data, Part::Test)?, device);
    publish(&trainer::seeds::table(&nets, &test), into, marker)
}

fn temperature(path: &Path, holdout: u32, data: &Path) -> anyhow::Result<()> {
    let weights = read_weights(path)?;
    let mut train = Split::read(data, Part::Train)?;
    let held_out = train.split_off(holdout as usize);
    anyhow::ensure!(
        weights.training.train_digits <= train.digits.len(),
        "{} was trained on {} digits, so that the last {holdout} were not held out: train with --holdout {holdout}",
        path.display(),
        weights.training.train_digits
    );
    let device = DeviceChoice::Auto.resolve()?;
    let held_out = Dataset::new(&held_out, device);
    let logits = net::logits(&Net::from_weights(&weights, device), &held_out.digits, EVAL_BATCH);
    let labels = held_out.labels.to_device(logits.device());
    let fitted = calibration::fit(&logits, &labels);
    let mut text = String::from("temperature, loss, expected calibration error\n");
    for temperature in [1.0, fitted] {
        let (loss, error) = (
            calibration::loss(&logits, &labels, temperature),
            calibration::error(&logits, &labels, temperature),
        );
        writeln!(text, "{temperature:.3}, {loss:.4}, {error:.4}").expect("a String takes all");
    }
    print(&text)
}

fn stress(weights: &[PathBuf], strangers: Option<&Path>, into: Option<&Path>, data: &Path) -> anyhow::Result<()> {
    let device = DeviceChoice::Auto.resolve()?;
    let mut nets = Vec::new();
    for path in weights {
        let weights = read_weights(path)?;
        let net = Net::from_weights(&weights, device);
        nets.push((path.display().to_string(), net, weights.training.temperature));
    }
    let test = Dataset::new(&Split::read(data, Part::Test)?, device);
    let read = |folder: &Path| -> anyhow::Result<_> {
        let split = Split::read(folder, Part::Test).with_context(|| format!("--strangers {}", folder.display()))?;
        Ok((folder.display().to_string(), Dataset::new(&split, device)))
    };
    let strangers = strangers.map(read).transpose()?;
    let tables = trainer::stress::tables(&nets, &test, strangers.as_ref());
    publish(&tables, into, "stress")
}

/// Between the markers `name` of the document, where there is one, else to stdout.
fn publish(text: &str, document: Option<&Path>, name: &str) -> anyhow::Result<()> {
    match document {
        Some(document) => models::document::insert(document, name, text)
            .with_context(|| format!("cannot write into {}", document.display())),
        None => print(text),
    }
}

/// To stdout. Whoever listens at the other end of a pipe may leave.
fn print(text: &str) -> anyhow::Result<()> {
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error).context("cannot write to stdout"),
        _ => Ok(()),
    }
}
