//! The training loop: one epoch after the other over the digits, a score on the test digits after each.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use models::score::Score;
use tch::{Kind, Reduction, Tensor};

use crate::data::Dataset;
use crate::net::{self, Mode, Net};
use crate::optim::Optimizer;
use crate::settings::Settings;

/// Digits a forward pass of an evaluation: as many as keep the activations in the cache.
pub const EVAL_BATCH: i64 = 64;

/// What one epoch came to.
#[derive(Clone, Debug, PartialEq)]
pub struct Epoch {
    /// Counted from 1.
    pub epoch: u32,
    /// The training digits as the steps saw them, each before the step that it is part of; fewer where Ctrl-C came.
    pub train: Score,
    /// The test digits after the epoch.
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
    let mut optimizer = Optimizer::new(settings.optimizer, net.trained());
    for epoch in 1..=settings.epochs {
        let start = Instant::now();
        let mut tally = Tally::default();
        let mut flow = ControlFlow::Continue(());
        for batch in train.batches(settings.batch_size as usize, settings.seed, epoch) {
            let logits = net.forward(&batch.digits, Mode::Train);
            let loss = logits.cross_entropy_for_logits(&batch.labels);
            optimizer.step(&loss, settings.learning_rate);
            tally.add(&logits.detach(), &batch.labels);
            flow = observer.step(epoch, batch.len());
            if flow.is_break() {
                break;
            }
        }
        let train_time = start.elapsed();
        let result = Epoch {
            epoch,
            train: tally.score(),
            test: evaluate(net, test),
            train_time,
            test_time: start.elapsed() - train_time,
        };
        observer.epoch(&result, net)?;
        if flow.is_break() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Reads all digits with the network as it is.
pub fn evaluate(net: &Net, data: &Dataset) -> Score {
    let mut tally = Tally::default();
    tally.add(&net::logits(net, &data.digits, EVAL_BATCH), &data.labels);
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
