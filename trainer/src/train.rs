//! The training loop: one epoch after the other over the digits, a score on the test digits after each.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use models::score::Score;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use tch::{Kind, Reduction, Tensor};

use crate::augment::augment;
use crate::average::Average;
use crate::data::Dataset;
use crate::net::{self, Mode, Net};
use crate::ones::european;
use crate::optim::Optimizer;
use crate::outliers::outliers;
use crate::settings::{Settings, Switch};

/// Digits a forward pass of an evaluation: as many as keep the activations in the cache.
pub const EVAL_BATCH: i64 = 64;

/// What one epoch came to.
#[derive(Clone, Debug, PartialEq)]
pub struct Epoch {
    /// Counted from 1.
    pub epoch: u32,
    /// The training digits as the steps saw them, each before the step that it is part of; fewer where Ctrl-C came.
    pub train: Score,
    /// The test digits after the epoch, by the averaged network where there is one.
    pub test: Score,
    /// Time of the steps.
    pub train_time: Duration,
    /// Time of the evaluation.
    pub test_time: Duration,
}

/// Whoever watches a training.
pub trait Observer {
    /// After each step with `digits` digits; `Break` ends the training here.
    fn step(&mut self, epoch: u32, digits: usize) -> ControlFlow<()>;
    /// After each epoch.
    ///
    /// # Errors
    /// Ends the training.
    fn epoch(&mut self, epoch: &Epoch, net: &Net) -> anyhow::Result<()>;
}

/// Trains `net`, and tells `observer` how it goes. Returns whether it came to the end.
/// Where the settings ask for an average, `net` is the averaged network afterwards.
///
/// # Errors
/// Those of the observer.
pub fn train(
    settings: &Settings,
    net: &Net,
    train: &Dataset,
    test: &Dataset,
    observer: &mut impl Observer,
) -> anyhow::Result<bool> {
    let mut optimizer = Optimizer::new(settings.optimizer, net.trained(), settings.weight_decay);
    let mut average = (settings.average > 0.0).then(|| Average::new(net, settings.average));
    let mut flow = ControlFlow::Continue(());
    for epoch in 1..=settings.epochs {
        let start = Instant::now();
        let mut tally = Tally::default();
        let mut rng = chance(settings.seed, epoch);
        let batches = train.batches(settings.batch_size as usize, settings.seed, epoch);
        let steps = batches.len() as f64;
        for (step, batch) in batches.enumerate() {
            let progress = (f64::from(epoch - 1) + step as f64 / steps) / f64::from(settings.epochs);
            let (logits, loss) = forward(settings, net, &batch, progress, &mut rng);
            optimizer.step(&loss, settings.schedule.rate(settings.learning_rate, progress));
            if let Some(average) = &mut average {
                average.add(net);
            }
            tally.add(&logits.detach(), &batch.labels);
            flow = observer.step(epoch, batch.len());
            if flow.is_break() {
                break;
            }
        }
        let train_time = start.elapsed();
        let reached = average.as_ref().map_or(net, Average::net);
        let result = Epoch {
            epoch,
            train: tally.score(),
            test: evaluate(reached, test),
            train_time,
            test_time: start.elapsed() - train_time,
        };
        observer.epoch(&result, reached)?;
        if flow.is_break() {
            break;
        }
    }
    if let Some(average) = average {
        net.approach(average.net(), 1.0);
    }
    Ok(flow.is_continue())
}

/// Logits of the batch's digits as the network sees them, and the loss, to which outliers add their part.
fn forward(settings: &Settings, net: &Net, batch: &Dataset, progress: f64, rng: &mut ChaCha8Rng) -> (Tensor, Tensor) {
    let digits = batch.len() as i64;
    let n_outliers = (settings.outliers * digits as f64).round() as i64;
    let mut input = match settings.augment {
        Switch::On => european(batch, rng),
        Switch::Off => batch.digits.shallow_clone(),
    };
    if n_outliers > 0 {
        input = Tensor::cat(&[input, outliers(batch, n_outliers as usize, rng)], 0);
    }
    if settings.augment == Switch::On {
        input = augment(&input, motion(settings.calm, progress), rng);
    }
    let logits = net.forward(&input, Mode::Train);
    let cross_entropy = |logits: &Tensor, labels: &Tensor, smoothing| {
        logits.cross_entropy_loss::<Tensor>(labels, None, Reduction::Sum, -100, smoothing)
    };
    let of_digits = logits.narrow(0, 0, digits);
    let mut loss = cross_entropy(&of_digits, &batch.labels, settings.label_smoothing);
    if n_outliers > 0 {
        let of_outliers = logits.narrow(0, digits, n_outliers);
        // A label that is wholly smoothed is the same for all digits, so that it does not matter which it was.
        loss += cross_entropy(&of_outliers, &of_outliers.argmax(1, false), 1.0);
    }
    (of_digits, loss / (digits + n_outliers) as f64)
}

/// Strength of the augmentation's motion: 1, and from [`CALMING`] on down to `calm` at the end.
fn motion(calm: f64, progress: f64) -> f64 {
    /// Fraction of the training after which it calms down.
    const CALMING: f64 = 0.6;
    let late = ((progress - CALMING) / (1.0 - CALMING)).max(0.0);
    1.0 + (calm - 1.0) * late
}

/// Chance in an epoch's pictures: a stream of its own beside the order of the digits.
fn chance(seed: u64, epoch: u32) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(u64::from(epoch) | 1 << 32);
    rng
}

/// Reads all digits with the network as it is.
pub fn evaluate(net: &Net, data: &Dataset) -> Score {
    score(&net::logits(net, &data.digits, EVAL_BATCH), &data.labels)
}

/// What logits `[n, 10]` say of digits with these labels.
pub fn score(logits: &Tensor, labels: &Tensor) -> Score {
    let mut tally = Tally::default();
    tally.add(logits, &labels.to_device(logits.device()));
    tally.score()
}

/// Logits kept on the device until they are counted, so that no step waits for another.
#[derive(Default)]
struct Tally {
    losses: Vec<Tensor>,
    answers: Vec<Tensor>,
    labels: Vec<Tensor>,
}

impl Tally {
    fn add(&mut self, logits: &Tensor, labels: &Tensor) {
        let loss = logits.cross_entropy_loss::<Tensor>(labels, None, Reduction::None, -100, 0.0);
        self.losses.push(loss);
        self.answers.push(logits.argmax(1, false));
        self.labels.push(labels.shallow_clone());
    }

    fn score(&self) -> Score {
        let numbers = |tensors: &[Tensor]| {
            let all = Tensor::cat(tensors, 0).to_kind(Kind::Double);
            Vec::<f64>::try_from(all).expect("one number a digit")
        };
        let mut score = Score::default();
        let (losses, answers, labels) = (numbers(&self.losses), numbers(&self.answers), numbers(&self.labels));
        for ((loss, answer), label) in losses.into_iter().zip(answers).zip(labels) {
            score.add(label as u8, answer as u8, loss);
        }
        score
    }
}
