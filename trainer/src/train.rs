//! The training loop: one epoch after the other over the digits, a score on the test digits after each.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use models::SIDE;
use models::glyph::INK_BOX;
use models::score::Score;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use tch::{Device, Kind, Reduction, Tensor};

use crate::augment::augment;
use crate::backend::{Backend, Pass};
use crate::data::Dataset;
use crate::net::{self, Net};
use crate::ones::european;
use crate::outliers::outliers;
use crate::settings::{Settings, Switch};
use crate::state::State;
use crate::teachers::Teachers;

/// Digits a forward pass of an evaluation: as many as keep the activations in the cache.
pub const EVAL_BATCH: i64 = 64;

/// Every how many steps the gradients are measured, which costs little.
const GRADIENT_STEPS: usize = 16;

/// What one epoch came to.
#[derive(Clone, Debug, PartialEq)]
pub struct Epoch {
    /// Counted from 1.
    pub epoch: u32,
    /// The training digits as the steps saw them, each before the step that it is part of.
    pub train: Score,
    /// The test digits after the epoch, by the averaged network where there is one.
    pub test: Score,
    /// Learning rate of the last step.
    pub learning_rate: f64,
    /// Norm of the gradient of each block and of the last layer, a mean over every sixteenth step.
    pub gradient_norms: BTreeMap<String, f64>,
    /// Time of the steps.
    pub train_time: Duration,
    /// Time of the evaluation.
    pub test_time: Duration,
}

/// Whoever watches a training.
pub trait Observer {
    /// After each step of `epoch` with `digits` digits; `Break` ends the training here.
    fn step(&mut self, epoch: u32, digits: usize) -> ControlFlow<()>;
    /// After each epoch, with the state that the next one begins with.
    ///
    /// # Errors
    /// Ends the training.
    fn epoch(&mut self, epoch: &Epoch, state: &State) -> anyhow::Result<()>;
}

/// Whether a training can begin, before its run has a folder, and what will compute it.
///
/// # Errors
/// When the backend cannot compute on the device, or a teacher's weights cannot be read.
pub fn check(settings: &Settings, device: Device) -> anyhow::Result<Backend> {
    Teachers::read(&settings.teachers, device)?;
    settings.backend.resolve(device, settings.precision)
}

/// Trains from `state` to the last epoch, and tells `observer` how it goes. Returns whether it came to the end, and not
/// to a `Break`, after which `state` is in the middle of an epoch.
///
/// # Errors
/// Those of the observer, and when a teacher's weights cannot be read.
pub fn train(
    settings: &Settings,
    state: &mut State,
    train: &Dataset,
    test: &Dataset,
    observer: &mut impl Observer,
) -> anyhow::Result<bool> {
    let teachers = Teachers::read(&settings.teachers, state.net.device())?;
    let mut pass = settings.backend.pass(state.net.device(), settings.precision)?;
    let threads = tch::get_num_threads();
    while state.epoch < settings.epochs {
        state.epoch += 1;
        let start = Instant::now();
        tch::set_num_threads(pass.libtorch_threads(threads));
        let steps = steps(settings, &teachers, &mut pass, state, train, threads, observer);
        tch::set_num_threads(threads);
        let Some(steps) = steps else { return Ok(false) };
        let train_time = start.elapsed();
        let result = Epoch {
            epoch: state.epoch,
            train: steps.tally.score(),
            test: evaluate(state.reached(), test),
            learning_rate: steps.learning_rate,
            gradient_norms: steps.gradients.means(),
            train_time,
            test_time: start.elapsed() - train_time,
        };
        observer.epoch(&result, state)?;
    }
    Ok(true)
}

/// The steps of an epoch.
#[derive(Default)]
struct Steps {
    tally: Tally,
    gradients: Gradients,
    learning_rate: f64,
}

/// One pass over the training digits; `None` where the observer ended it.
fn steps(
    settings: &Settings,
    teachers: &Teachers,
    pass: &mut Pass,
    state: &mut State,
    train: &Dataset,
    threads: i32,
    observer: &mut impl Observer,
) -> Option<Steps> {
    let epoch = state.epoch;
    let mut steps = Steps::default();
    let mut step = |sight: Sight| {
        let (logits, loss) = forward(settings, teachers, pass, &state.net, &sight);
        steps.learning_rate = settings
            .schedule
            .rate(settings.learning_rate, settings.warm_up, sight.progress);
        let gradients = pass.gradients(&state.net, &loss);
        state.optimizer.step(&gradients, steps.learning_rate);
        if steps.tally.losses.len().is_multiple_of(GRADIENT_STEPS) {
            steps.gradients.add(&state.net, &gradients);
        }
        if let Some(average) = &mut state.average {
            average.add(&state.net);
        }
        steps.tally.add(&logits.detach(), &sight.batch.labels);
        observer.step(epoch, sight.batch.len())
    };
    let end = if threads == 1 {
        sights(settings, train, epoch).try_for_each(step)
    } else {
        // One step's sight is drawn while the step before is computed, which does not always need all threads.
        let train = train.shallow_clone();
        std::thread::scope(|scope| {
            let (send, receive) = mpsc::sync_channel(1);
            scope.spawn(move || sights(settings, &train, epoch).try_for_each(|sight| send.send(sight)));
            receive.into_iter().try_for_each(&mut step)
        })
    };
    end.is_continue().then_some(steps)
}

/// What a step is about.
struct Sight {
    batch: Dataset,
    /// The batch's digits as the network sees them, and outliers.
    input: Tensor,
    /// The part of the training that lies behind.
    progress: f64,
}

/// What the steps of an epoch see, one after the other.
fn sights(settings: &Settings, train: &Dataset, epoch: u32) -> impl Iterator<Item = Sight> {
    let mut rng = chance(settings.seed, epoch);
    let batches = train.batches(settings.batch_size as usize, settings.seed, epoch);
    let n_batches = batches.len() as f64;
    batches.enumerate().map(move |(step, batch)| {
        let progress = (f64::from(epoch - 1) + step as f64 / n_batches) / f64::from(settings.epochs);
        let n_outliers = (settings.outliers * batch.len() as f64).round() as usize;
        let mut input = match settings.augment {
            Switch::On => european(&batch, &mut rng),
            Switch::Off => batch.digits.shallow_clone(),
        };
        if n_outliers > 0 {
            input = Tensor::cat(&[input, outliers(&batch, n_outliers, &mut rng)], 0);
        }
        if settings.augment == Switch::On {
            input = augment(&input, strength(settings.calm, progress), &mut rng);
        }
        Sight { batch, input, progress }
    })
}

/// Norms of the gradients of each block over some steps.
#[derive(Default)]
struct Gradients {
    sums: BTreeMap<String, f64>,
    steps: u32,
}

impl Gradients {
    fn add(&mut self, net: &Net, gradients: &Tensor) {
        let mut squares = BTreeMap::<String, Vec<Tensor>>::new();
        for (name, gradient) in net.trained_parts(gradients) {
            let block = name.split('.').next().unwrap_or_default().to_owned();
            squares
                .entry(block)
                .or_default()
                .push(gradient.square().sum(Kind::Float));
        }
        for (block, squares) in squares {
            let norm = Tensor::stack(&squares, 0).sum(Kind::Double).sqrt();
            *self.sums.entry(block).or_default() += norm.double_value(&[]);
        }
        self.steps += 1;
    }

    fn means(self) -> BTreeMap<String, f64> {
        let mean = |(block, sum)| (block, sum / f64::from(self.steps));
        self.sums.into_iter().map(mean).collect()
    }
}

/// Logits of the batch's digits, and the loss, to which outliers add their part.
fn forward(
    settings: &Settings,
    teachers: &Teachers,
    pass: &mut Pass,
    net: &Net,
    Sight { batch, input, progress }: &Sight,
) -> (Tensor, Tensor) {
    let digits = batch.len() as i64;
    let n_outliers = input.size()[0] - digits;
    let taught = teachers.probabilities(&input.narrow(0, 0, digits));
    let logits = match *progress < settings.crop {
        true => pass.forward(net, &middle(input)),
        false => pass.forward(net, input),
    };
    let cross_entropy = |logits: &Tensor, labels: &Tensor, smoothing| {
        logits.cross_entropy_loss::<Tensor>(labels, None, Reduction::Sum, -100, smoothing)
    };
    let of_digits = logits.narrow(0, 0, digits);
    let mut loss = cross_entropy(&of_digits, &batch.labels, settings.label_smoothing);
    if let Some(taught) = taught {
        loss = loss * (1.0 - settings.taught) + cross_entropy(&of_digits, &taught, 0.0) * settings.taught;
    }
    if n_outliers > 0 {
        let of_outliers = logits.narrow(0, digits, n_outliers);
        // A label that is wholly smoothed is the same for all digits, so that it does not matter which it was.
        loss += cross_entropy(&of_outliers, &of_outliers.argmax(1, false), 1.0);
    }
    (of_digits, loss / (digits + n_outliers) as f64)
}

/// The middle `INK_BOX` pixels a side, in which a digit's ink lies but for little.
fn middle(digits: &Tensor) -> Tensor {
    let (margin, side) = ((SIDE - INK_BOX) as i64 / 2, INK_BOX as i64);
    digits.narrow(2, margin, side).narrow(3, margin, side)
}

/// Strength of the augmentation: 1, and from [`CALMING`] on down to `calm` at the end.
fn strength(calm: f64, progress: f64) -> f64 {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::optim::OptimizerKind;
    use crate::study::Plan;

    /// Keeps the checkpoint after each epoch.
    struct Keep(Vec<Vec<u8>>);

    impl Observer for Keep {
        fn step(&mut self, _: u32, _: usize) -> ControlFlow<()> {
            ControlFlow::Continue(())
        }

        fn epoch(&mut self, _: &Epoch, state: &State) -> anyhow::Result<()> {
            self.0.push(state.to_bytes());
            Ok(())
        }
    }

    #[test]
    fn four_epochs_and_then_six_are_ten() {
        let text = "[[experiment]]\nname = \"a\"\nbatch-size = 8\nweight-decay = 0.01\naverage = 0.9\n\
            optimizer = [\"adam\", \"adamw\", \"sgd\", \"momentum\"]";
        let plan = Plan::parse(text, &[]).unwrap();
        let digits = Tensor::linspace(-1.0, 2.0, 24 * 784, (Kind::Float, Device::Cpu))
            .sin()
            .view([24, 1, 28, 28]);
        let labels = Tensor::arange(24, (Kind::Int64, Device::Cpu)).remainder(10);
        let data = Dataset { digits, labels };
        for planned in plan.runs() {
            let settings = &planned.settings;
            let go = |state: &mut State| {
                let mut keep = Keep(Vec::new());
                assert!(train(settings, state, &data, &data, &mut keep).unwrap());
                keep.0
            };
            let all = go(&mut State::new(settings, Device::Cpu));
            assert_eq!(all.len(), 10);
            let mut state = State::from_bytes(&all[3], settings, Device::Cpu).unwrap();
            assert!(state.to_bytes() == all[3], "a checkpoint is read to the last bit");
            let rest = go(&mut state);
            assert!(rest == all[4..], "{:?}", settings.optimizer);
            let other = crate::settings::Settings {
                optimizer: OptimizerKind::Adam,
                average: 0.0,
                blocks: std::num::NonZeroU8::new(2).unwrap(),
                ..settings.clone()
            };
            assert!(
                State::from_bytes(&all[3], &other, Device::Cpu).is_err(),
                "a tensor is missing"
            );
        }
    }
}
