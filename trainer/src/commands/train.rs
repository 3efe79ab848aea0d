//! `trainer` without a subcommand: one run.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use trainer::data::Dataset;
use trainer::note;
use trainer::progress::Progress;
use trainer::run::Run;
use trainer::settings::Settings;

use super::{exit_code, stop};

#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    settings: Settings,
    /// Folder in which the run's folder is made
    #[arg(long, value_name = "DIR", default_value = "runs")]
    runs: PathBuf,
    /// Go on with a run after its last epoch, with the settings that it was begun with but for --device, --threads, --data
    #[arg(long, value_name = "RUN", conflicts_with = "runs", conflicts_with_all = Settings::kept())]
    resume: Option<PathBuf>,
}

/// Trains a run, or goes on with one. `given` tells which flags stand on the command line.
pub fn run(args: Args, given: &dyn Fn(&str) -> bool) -> anyhow::Result<ExitCode> {
    let Args { settings, runs, resume } = args;
    let settings = &match &resume {
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
    let folder = resume.map_or_else(|| trainer::run::next_folder(&runs), Ok)?;
    let (run, mut state) = Run::open(folder, settings, device, &train, &test)?;
    let stop = stop()?;
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
