//! What the person at the terminal sees of a training, and what of it is kept in the run's folder.

use std::io::{self, IsTerminal, Write};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, bail};
use indicatif::{ProgressBar, ProgressStyle};
use models::mnist::Split;
use models::network::NetworkSpec;
use models::score::Score;
use models::weights::Training;
use tch::Device;

use crate::net::Net;
use crate::run::Run;
use crate::settings::Settings;
use crate::train::{Epoch, Observer};

/// Shows a bar on a terminal and plain lines elsewhere, and writes each epoch into the run.
pub struct Progress {
    settings: Settings,
    run: Run,
    train_digits: usize,
    stop: Arc<AtomicBool>,
    bar: ProgressBar,
    reached: Option<Epoch>,
}

impl Progress {
    /// Says what is about to be trained. Raising `stop` ends the training after the step.
    pub fn new(settings: &Settings, run: Run, train_digits: usize, device: Device, stop: Arc<AtomicBool>) -> Progress {
        let Settings {
            recipe,
            optimizer,
            learning_rate,
            batch_size,
            epochs,
            seed,
            ..
        } = settings;
        let NetworkSpec { activation, residual } = settings.network();
        let threads = tch::get_num_threads();
        eprintln!(
            "training {activation:?}, residual {residual}, on {train_digits} digits: recipe {recipe:?}, {optimizer:?}, learning \
             rate {learning_rate}, batch {batch_size}, epochs {epochs}, seed {seed}, device {device:?}, threads {threads}, into {}",
            run.folder().display()
        );
        let bar = if io::stderr().is_terminal() {
            ProgressBar::new(0)
        } else {
            ProgressBar::hidden()
        };
        let style = "{msg} {wide_bar} {percent:>3} %  {human_pos}/{human_len} digits  {per_sec}  {eta} left";
        bar.set_style(ProgressStyle::with_template(style).expect("a valid template"));
        Progress {
            settings: settings.clone(),
            run,
            train_digits,
            stop,
            bar,
            reached: None,
        }
    }
}

impl Progress {
    /// Writes the golden digits and says what was reached and where it lies. `finished` is false after Ctrl-C.
    ///
    /// # Errors
    /// When a file cannot be written, or the network's numbers are not finite.
    pub fn finish(self, net: &Net, test: &Split, finished: bool) -> anyhow::Result<()> {
        self.bar.finish_and_clear();
        let reached = self.reached.as_ref().context("no epoch was trained")?;
        let folder = self.run.folder().display();
        match net.to_weights(self.training(reached)) {
            Ok(weights) => {
                let golden = crate::golden(net, weights.sha256(), test, crate::GOLDEN_DIGITS);
                self.run.write("golden.safetensors", &golden.to_bytes())?;
            }
            Err(error) => bail!("the training diverged, so that {folder} has no weights: {error}"),
        }
        let (low, high) = reached.test.interval();
        eprintln!(
            "{}: test accuracy {:.4} (95 % interval {low:.4} to {high:.4}) in {folder}",
            if finished {
                "done"
            } else {
                "ended by Ctrl-C, kept what was reached"
            },
            reached.test.accuracy(),
        );
        eprintln!("next: cargo run -p exporter -- model.onnx");
        Ok(())
    }

    fn training(&self, reached: &Epoch) -> Training {
        Training {
            recipe: format!("{:?}", self.settings.recipe).to_lowercase(),
            optimizer: format!("{:?}", self.settings.optimizer).to_lowercase(),
            learning_rate: self.settings.learning_rate,
            batch_size: self.settings.batch_size as usize,
            epochs: reached.epoch as usize,
            seed: self.settings.seed,
            train_digits: self.train_digits,
            test_accuracy: reached.test.accuracy(),
            test_loss: reached.test.loss(),
            temperature: self.settings.temperature,
        }
    }
}

impl Observer for Progress {
    fn step(&mut self, epoch: u32, digits: usize) -> ControlFlow<()> {
        if self.bar.length() == Some(0) {
            self.bar
                .set_length(u64::from(self.settings.epochs) * self.train_digits as u64);
        }
        self.bar.set_message(format!("epoch {epoch}/{}", self.settings.epochs));
        self.bar.inc(digits as u64);
        if self.stop.load(Ordering::Relaxed) {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    }

    fn epoch(&mut self, epoch: &Epoch, net: &Net) -> anyhow::Result<()> {
        self.run.add_epoch(epoch)?;
        // A diverged network has no weights to keep; its metrics say so, and `finish` does.
        if let Ok(weights) = net.to_weights(self.training(epoch)) {
            self.run.write("weights.safetensors", &weights.to_bytes())?;
        }
        self.reached = Some(epoch.clone());
        let table = describe(epoch);
        // Whoever listens at the other end of a pipe may leave; the training goes on.
        self.bar.suspend(|| drop(io::stdout().write_all(table.as_bytes())));
        Ok(())
    }
}

/// Three lines: the epoch, and the accuracy of each digit on both sets.
fn describe(epoch: &Epoch) -> String {
    let Epoch { train, test, .. } = epoch;
    let per_digit = |score: &Score| score.per_digit().map(|accuracy| format!("{accuracy:.4}")).join(" ");
    format!(
        "epoch {:<3} train loss {:.4} accuracy {:.4}   test loss {:.4} accuracy {:.4}   {:.1} s + {:.1} s\n  \
         digits 0-9, train {}\n              test {}\n",
        epoch.epoch,
        train.loss(),
        train.accuracy(),
        test.loss(),
        test.accuracy(),
        epoch.train_time.as_secs_f64(),
        epoch.test_time.as_secs_f64(),
        per_digit(train),
        per_digit(test),
    )
}
