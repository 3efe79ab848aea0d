//! What the person at the terminal sees of one training.

use std::io::{self, IsTerminal, Write};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, bail};
use indicatif::{ProgressBar, ProgressStyle};
use models::score::Score;
use models::weights::tested;
use tch::Device;

use crate::backend::Backend;
use crate::note;
use crate::run::Run;
use crate::settings::Settings;
use crate::state::State;
use crate::train::{Epoch, Observer};

/// Shows a bar on a terminal and plain lines elsewhere, and writes each epoch into the run.
pub struct Progress {
    epochs: u32,
    /// What the digits are called that are read after each epoch.
    tested: &'static str,
    run: Run,
    stop: Arc<AtomicBool>,
    bar: ProgressBar,
}

impl Progress {
    /// Says what is about to be trained, after `behind` epochs. Raising `stop` ends the training after the step.
    pub fn new(
        settings: &Settings,
        run: Run,
        behind: u32,
        train_digits: usize,
        device: Device,
        backend: Backend,
        stop: Arc<AtomicBool>,
    ) -> Progress {
        let Settings {
            recipe,
            optimizer,
            learning_rate,
            batch_size,
            epochs,
            seed,
            ..
        } = settings;
        let network = settings.network();
        let threads = tch::get_num_threads();
        note(format_args!(
            "training {network}, on {train_digits} digits: recipe {recipe:?}, {optimizer:?}, learning rate {learning_rate}, \
             batch {batch_size}, epochs {}, seed {seed}, device {device:?}, backend {backend:?}, threads {threads}, into {}",
            match behind {
                0 => epochs.to_string(),
                _ if behind < *epochs => format!("{} to {epochs}", behind + 1),
                _ => format!("{epochs}, all of them behind"),
            },
            run.folder().display()
        ));
        let bar = if io::stderr().is_terminal() {
            ProgressBar::new(u64::from(*epochs) * train_digits as u64)
        } else {
            ProgressBar::hidden()
        };
        bar.set_position(u64::from(behind) * train_digits as u64);
        bar.reset_eta();
        let style = "{msg} {wide_bar} {percent:>3} %  {human_pos}/{human_len} digits  {per_sec}  {eta} left";
        bar.set_style(ProgressStyle::with_template(style).expect("a valid template"));
        Progress {
            epochs: *epochs,
            tested: tested(settings.holdout.is_some()),
            run,
            stop,
            bar,
        }
    }

    /// Says what was reached and where it lies. `finished` is false where it was stopped.
    ///
    /// # Errors
    /// When no epoch was finished, or the training diverged.
    pub fn finish(self, finished: bool) -> anyhow::Result<()> {
        self.bar.finish_and_clear();
        let folder = self.run.folder().display();
        let reached = self.run.last();
        if !finished {
            let kept = reached.map_or(0, |row| row.epoch);
            note(format_args!(
                "stopped after {kept} whole epochs, go on with: cargo run -p trainer -- --resume {folder}"
            ));
            return Ok(());
        }
        let test = reached.context("no epoch was trained")?.test();
        if !self.run.has_weights() {
            bail!("the training diverged, so that {folder} has no weights: its metrics show where");
        }
        let (low, high) = test.interval();
        note(format_args!(
            "done: {} accuracy {:.4} (95 % interval {low:.4} to {high:.4}) in {folder}",
            self.tested,
            test.accuracy(),
        ));
        let weights = if self.run.is_newest() {
            String::new()
        } else {
            format!("--weights {folder}/weights.safetensors ")
        };
        note(format_args!("next: cargo run -p exporter -- {weights}model.onnx"));
        Ok(())
    }
}

impl Observer for Progress {
    fn step(&mut self, epoch: u32, digits: usize) -> ControlFlow<()> {
        self.bar.set_message(format!("epoch {epoch}/{}", self.epochs));
        self.bar.inc(digits as u64);
        if self.stop.load(Ordering::Relaxed) {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    }

    fn epoch(&mut self, epoch: &Epoch, state: &State) -> anyhow::Result<()> {
        self.run.add_epoch(epoch, state)?;
        let table = describe(epoch, self.tested);
        // Whoever listens at the other end of a pipe may leave; the training goes on.
        self.bar.suspend(|| drop(io::stdout().write_all(table.as_bytes())));
        Ok(())
    }
}

/// Three lines: the epoch, and the accuracy of each digit on both sets.
fn describe(epoch: &Epoch, tested: &str) -> String {
    let Epoch { train, test, .. } = epoch;
    let per_digit = |score: &Score| score.per_digit().map(|accuracy| format!("{accuracy:.4}")).join(" ");
    format!(
        "epoch {:<3} train loss {:.4} accuracy {:.4}   {tested} loss {:.4} accuracy {:.4}   {:.1} s + {:.1} s\n  \
         digits 0-9, {:>8} {}\n              {tested:>8} {}\n",
        epoch.epoch,
        train.loss(),
        train.accuracy(),
        test.loss(),
        test.accuracy(),
        epoch.train_time.as_secs_f64(),
        epoch.test_time.as_secs_f64(),
        "train",
        per_digit(train),
        per_digit(test),
    )
}
