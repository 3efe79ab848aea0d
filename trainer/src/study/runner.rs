//! Trains the runs of a study that are missing.
//!
//! Whoever trains a run holds an advisory lock on `lock` in its folder, which the system takes back however the program ends.
//! Other processes skip the run meanwhile. Other machines do so too where the shared file system carries locks, as NFSv4 and
//! SMB do; where it does not, a run may be trained twice, to the same result where both
//! compute by the same backend.

use std::fs::{self, File, TryLockError};
use std::io::{self, IsTerminal};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use anyhow::Context;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use models::artefact;
use models::weights::tested;

use super::Study;
use super::plan::{Plan, Planned};
use crate::data::Dataset;
use crate::note;
use crate::run::{self, Run};
use crate::settings::Settings;
use crate::state::State;
use crate::train::{Epoch, Observer, train};

/// How the work on a study ended.
pub enum Ended {
    /// By `stop`.
    Stopped,
    /// No run is left that nobody has: some are finished, and other processes hold the rest.
    Through {
        /// Runs at their last epoch.
        finished: usize,
        /// Runs of other processes.
        held: usize,
    },
}

/// Trains the runs that are missing in the study's folder.
///
/// # Errors
/// When MNIST cannot be read, a file cannot be read or written, or a run of the same name has other settings.
pub fn run(study: &Study, plan: &Plan, stop: &AtomicBool) -> anyhow::Result<Ended> {
    let (folder, runs) = (&study.out, plan.runs());
    let device = study.device.resolve()?;
    for planned in &runs {
        let backend = study.backend.resolve(device, planned.settings.precision);
        backend.with_context(|| format!("run {}", planned.name))?;
    }
    fs::create_dir_all(folder).with_context(|| format!("cannot make the folder {}", folder.display()))?;
    let path = folder.join("study.toml");
    artefact::write(&path, plan.to_toml().as_bytes()).with_context(|| format!("cannot write {}", path.display()))?;
    let bars = Bars::new(&runs, folder)?;
    let failed = AtomicBool::new(false);
    let job = || {
        let done = job(study, &runs, &bars, &|| {
            stop.load(Ordering::Relaxed) || failed.load(Ordering::Relaxed)
        });
        failed.fetch_or(done.is_err(), Ordering::Relaxed);
        done
    };
    thread::scope(|scope| {
        let jobs: Vec<_> = (0..study.jobs).map(|_| scope.spawn(job)).collect();
        jobs.into_iter()
            .try_for_each(|job| job.join().expect("a job does not panic"))
    })?;
    bars.all.finish_and_clear();
    if stop.load(Ordering::Relaxed) {
        return Ok(Ended::Stopped);
    }
    let finished = bars.look_around(&runs, folder)?;
    let held = runs.len() - finished;
    Ok(Ended::Through { finished, held })
}

/// Trains one run after the other, until none is left that nobody has.
fn job(study: &Study, runs: &[&Planned], bars: &Bars, stopped: &dyn Fn() -> bool) -> anyhow::Result<()> {
    if let Some(threads) = study.threads {
        tch::set_num_threads(threads.into());
    }
    for planned in runs {
        if stopped() {
            break;
        }
        let folder = study.out.join(&planned.name);
        if is_finished(&folder, &planned.settings)? {
            continue;
        }
        if let Some(_lock) = claim(&folder)?
            && !is_finished(&folder, &planned.settings)?
        {
            one(study, planned, &folder, bars, stopped).with_context(|| format!("run {}", planned.name))?;
        }
        bars.look_around(runs, &study.out)?;
    }
    Ok(())
}

/// Whether the run has come to its last epoch.
///
/// # Errors
/// When the folder holds a run of other settings.
fn is_finished(folder: &Path, settings: &Settings) -> anyhow::Result<bool> {
    Ok(run::epochs(folder)? == Some(settings.epochs))
}

/// The lock of a run, unless somebody has it.
fn claim(folder: &Path) -> anyhow::Result<Option<File>> {
    fs::create_dir_all(folder).with_context(|| format!("cannot make the folder {}", folder.display()))?;
    let path = folder.join("lock");
    let context = || format!("cannot lock {}", path.display());
    let file = File::options()
        .create(true)
        .append(true)
        .open(&path)
        .with_context(context)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error).with_context(context),
    }
}

/// Begins or resumes a run and trains it to its end.
fn one(study: &Study, planned: &Planned, folder: &Path, bars: &Bars, stopped: &dyn Fn() -> bool) -> anyhow::Result<()> {
    let begun = match run::epochs(folder)? {
        Some(_) => run::settings(folder)?,
        None => None,
    };
    let settings = Settings {
        backend: begun.map_or(study.backend, |begun| begun.backend),
        device: study.device,
        threads: study.threads,
        data: study.data.clone(),
        ..planned.settings.clone()
    };
    let device = settings.device.resolve()?;
    let (train_split, test_split) = settings.splits()?;
    let (run, mut state) = Run::open(folder.to_owned(), &settings, device, &train_split, &test_split)?;
    let (train_set, test_set) = (Dataset::new(&train_split, device), Dataset::new(&test_split, device));
    let mut watch = Watch {
        bar: bars.line(planned, state.epoch, train_set.len()),
        all: &bars.all,
        epochs: settings.epochs,
        tested: tested(settings.holdout.is_some()),
        digits: train_set.len() as u64,
        run,
        stopped,
    };
    let finished = train(&settings, &mut state, &train_set, &test_set, &mut watch)?;
    watch.bar.finish_and_clear();
    if finished {
        bars.report(planned, &watch.run);
    }
    Ok(())
}

/// Keeps the epochs of one run and moves its bar.
struct Watch<'a> {
    run: Run,
    bar: ProgressBar,
    all: &'a ProgressBar,
    epochs: u32,
    /// What the digits are called that are read after each epoch.
    tested: &'static str,
    digits: u64,
    stopped: &'a dyn Fn() -> bool,
}

impl Observer for Watch<'_> {
    fn step(&mut self, _: u32, digits: usize) -> ControlFlow<()> {
        self.bar.inc(digits as u64);
        if (self.stopped)() {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    }

    fn epoch(&mut self, epoch: &Epoch, state: &State) -> anyhow::Result<()> {
        self.run.add_epoch(epoch, state)?;
        self.all.inc(1);
        self.bar.set_position(u64::from(epoch.epoch) * self.digits);
        let accuracy = epoch.test.accuracy();
        self.bar.set_message(format!(
            "epoch {}/{}  {} {accuracy:.4}",
            epoch.epoch, self.epochs, self.tested
        ));
        Ok(())
    }
}

/// A line for each run in work, and one for all epochs of the study; nothing but finished runs where there is no terminal.
struct Bars {
    lines: MultiProgress,
    all: ProgressBar,
    runs: usize,
}

impl Bars {
    fn new(runs: &[&Planned], folder: &Path) -> anyhow::Result<Bars> {
        let lines = MultiProgress::new();
        if !io::stderr().is_terminal() {
            lines.set_draw_target(ProgressDrawTarget::hidden());
        }
        let epochs = runs.iter().map(|run| u64::from(run.settings.epochs)).sum();
        let style = "{msg} {wide_bar} {percent:>3} %  {pos}/{len} epochs  {eta_precise} left";
        let all = lines.add(ProgressBar::new(epochs).with_style(template(style)));
        let bars = Bars {
            lines,
            all,
            runs: runs.len(),
        };
        let finished = bars.look_around(runs, folder)?;
        bars.all.reset_eta();
        note(format_args!(
            "{} runs in {}, of which {finished} are finished",
            runs.len(),
            folder.display()
        ));
        Ok(bars)
    }

    /// Counts what other processes have done meanwhile, too. Returns how many runs are finished.
    fn look_around(&self, runs: &[&Planned], folder: &Path) -> anyhow::Result<usize> {
        let (mut epochs, mut finished) = (0, 0);
        for run in runs {
            let behind = run::epochs(&folder.join(&run.name))?.unwrap_or(0);
            epochs += u64::from(behind);
            finished += usize::from(behind == run.settings.epochs);
        }
        self.all.set_position(epochs);
        self.all.set_message(format!("{finished}/{} runs", self.runs));
        Ok(finished)
    }

    /// The line of a run that has `behind` epochs behind it.
    fn line(&self, planned: &Planned, behind: u32, digits: usize) -> ProgressBar {
        let length = u64::from(planned.settings.epochs) * digits as u64;
        let style = template("  {prefix}  {wide_bar} {msg}  {eta} left");
        let line = self
            .lines
            .insert_before(&self.all, ProgressBar::new(length).with_style(style));
        line.set_prefix(planned.name.clone());
        line.set_position(u64::from(behind) * digits as u64);
        line.reset_eta();
        line
    }

    /// One line that stays, for a run that has come to its end.
    fn report(&self, planned: &Planned, run: &Run) {
        let Some(last) = run.last() else { return };
        let remark = match (run.has_weights(), last.test().only_answer()) {
            (false, _) => "  diverged".into(),
            (true, Some(digit)) => format!("  collapsed: answers {digit} to every digit"),
            (true, None) => String::new(),
        };
        let line = format!(
            "{}  {} loss {:.4} accuracy {:.4}{remark}",
            planned.name,
            tested(planned.settings.holdout.is_some()),
            last.test_loss,
            last.test_accuracy
        );
        self.lines.suspend(|| note(format_args!("{line}")));
    }
}

fn template(style: &str) -> ProgressStyle {
    ProgressStyle::with_template(style).expect("a valid template")
}
