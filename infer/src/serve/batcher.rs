//! Takes the digits of several requests through an engine together. Each engine has a thread of its own, which collects
//! what waits in the one bounded queue; an error is told to those whom it concerns. Few digits that need not wait for others
//! go through an idle engine at once, on the thread that has them: to wake another would take as long.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use models::{CLASSES, PIXELS};
use prometheus::{Histogram, IntGauge};
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::Settings;
use super::metrics::Metrics;
use super::refusal::Refusal;
use super::timing::{Stage, Timing};
use crate::Classifier;

/// From so many digits on, nothing is added to a batch: engines are no faster with more.
const BATCH: usize = 64;
/// At most so many digits of a request go at once.
const FEW: usize = 4;

/// The engines, and the queue before them.
pub struct Batcher {
    engines: Vec<Engine>,
    queue: SyncSender<Job>,
    waiting: IntGauge,
    batches: Histogram,
    max_delay: Duration,
    timeout: Duration,
}

/// An engine, locked by who runs it.
type Engine = Arc<Mutex<Classifier>>;

/// The digits of one request.
struct Job {
    /// As the model's input takes them, `[n, PIXELS]`.
    numbers: Vec<f32>,
    since: Instant,
    answer: oneshot::Sender<Result<Answer, String>>,
}

impl Job {
    fn digits(&self) -> usize {
        self.numbers.len() / PIXELS
    }
}

/// What the engine makes of a job.
struct Answer {
    logits: Vec<[f32; CLASSES]>,
    queued: Duration,
    ran: Duration,
}

impl Batcher {
    /// Starts a thread for every classifier. They end when the batcher is dropped.
    pub fn new(classifiers: Vec<Classifier>, settings: &Settings, metrics: &Metrics) -> Batcher {
        let (queue, jobs) = sync_channel(settings.queue);
        let jobs = Arc::new(Jobs {
            queue: Mutex::new(jobs),
            waiting: metrics.engine_queue.clone(),
            workers: classifiers.len(),
            max_delay: settings.max_delay,
        });
        let engines: Vec<Engine> = classifiers
            .into_iter()
            .map(|engine| Arc::new(Mutex::new(engine)))
            .collect();
        for engine in &engines {
            let (engine, jobs, batches) = (engine.clone(), jobs.clone(), metrics.batches.clone());
            thread::spawn(move || work(&engine, &jobs, &batches));
        }
        Batcher {
            engines,
            queue,
            waiting: metrics.engine_queue.clone(),
            batches: metrics.batches.clone(),
            max_delay: settings.max_delay,
            timeout: settings.timeout,
        }
    }

    /// The logits of digits, `[n, PIXELS]` in the numbers that the model's input takes.
    ///
    /// # Errors
    /// When the queue is full, the answer does not come in time, or the engine fails.
    pub async fn run(&self, numbers: Vec<f32>, timing: &mut Timing) -> Result<Vec<[f32; CLASSES]>, Refusal> {
        let since = Instant::now();
        if let Some(mut engine) = self.idle(&numbers) {
            let logits = logits(&mut engine, &numbers).map_err(Refusal::Internal)?;
            self.batches.observe(logits.len() as f64);
            timing.set(Stage::Infer, since.elapsed());
            return Ok(logits);
        }
        let (answer, answered) = oneshot::channel();
        self.waiting.inc();
        let job = Job { numbers, since, answer };
        if let Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) = self.queue.try_send(job) {
            self.waiting.dec();
            return Err(Refusal::Busy);
        }
        let answer = timeout(self.timeout, answered).await.map_err(|_| Refusal::Busy)?;
        let answer = answer.map_err(|_| Refusal::Internal("the engine has stopped".into()))?;
        let answer = answer.map_err(Refusal::Internal)?;
        timing.set(Stage::Queue, answer.queued);
        timing.set(Stage::Infer, answer.ran);
        Ok(answer.logits)
    }

    /// An engine for few digits, where none is to wait for others and none waits already.
    fn idle(&self, numbers: &[f32]) -> Option<MutexGuard<'_, Classifier>> {
        if !self.max_delay.is_zero() || self.waiting.get() > 0 || numbers.len() > FEW * PIXELS {
            return None;
        }
        self.engines.iter().find_map(|engine| engine.try_lock().ok())
    }
}

/// The workers' end of the queue.
struct Jobs {
    queue: Mutex<Receiver<Job>>,
    waiting: IntGauge,
    workers: usize,
    max_delay: Duration,
}

impl Jobs {
    /// The first job, those that wait behind it up to this worker's share, and those that come within the delay; `None` when
    /// the server stops. One worker collects at a time.
    fn collect(&self) -> Option<Vec<Job>> {
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let first = queue.recv().ok()?;
        // Without a delay the others get their share of what waits.
        let share = match self.max_delay.is_zero() {
            true => (self.waiting.get().max(1) as usize).div_ceil(self.workers),
            false => BATCH,
        };
        let deadline = Instant::now() + self.max_delay;
        let mut digits = first.digits();
        let mut jobs = vec![first];
        while digits < BATCH && jobs.len() < share {
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok(job) = queue.recv_timeout(left) else { break };
            digits += job.digits();
            jobs.push(job);
        }
        self.waiting.sub(jobs.len() as i64);
        // Whoever does not wait any more needs no answer.
        jobs.retain(|job| !job.answer.is_closed());
        Some(jobs)
    }
}

fn work(engine: &Mutex<Classifier>, jobs: &Jobs, batches: &Histogram) {
    while let Some(jobs) = jobs.collect() {
        if jobs.is_empty() {
            continue;
        }
        let mut classifier = engine.lock().unwrap_or_else(PoisonError::into_inner);
        let start = Instant::now();
        let logits = match &jobs[..] {
            [job] => logits(&mut classifier, &job.numbers),
            jobs => {
                let all: Vec<f32> = jobs.iter().flat_map(|job| &job.numbers).copied().collect();
                logits(&mut classifier, &all)
            }
        };
        batches.observe(jobs.iter().map(Job::digits).sum::<usize>() as f64);
        answer(jobs, logits, start);
    }
}

/// Runs the engine, at most [`BATCH`] digits a time. A foreign engine's panic is an error like any other.
fn logits(classifier: &mut Classifier, numbers: &[f32]) -> Result<Vec<[f32; CLASSES]>, String> {
    let mut logits = Vec::with_capacity(numbers.len() / PIXELS);
    for numbers in numbers.chunks(BATCH * PIXELS) {
        let part = catch_unwind(AssertUnwindSafe(|| classifier.logits(numbers)));
        let part = part.map_err(|_| format!("{} panics", classifier.kind()))?;
        logits.extend(part.map_err(|error| error.to_string())?);
    }
    Ok(logits)
}

/// Gives every job its rows.
fn answer(jobs: Vec<Job>, logits: Result<Vec<[f32; CLASSES]>, String>, start: Instant) {
    let ran = start.elapsed();
    let mut first = 0;
    for job in jobs {
        let rows = first..first + job.digits();
        first = rows.end;
        let answer = logits.as_ref().map_err(String::clone).map(|logits| Answer {
            logits: logits[rows].to_vec(),
            queued: start - job.since,
            ran,
        });
        // Nobody listens where the client has gone.
        let _ = job.answer.send(answer);
    }
}

#[cfg(test)]
mod tests {
    use tokio::runtime::Builder;

    use super::*;

    #[test]
    fn who_waits_too_long_for_an_engine_is_told_to_come_again() {
        let settings = Settings {
            max_body: 0,
            timeout: Duration::from_millis(10),
            queue: 1,
            max_delay: Duration::ZERO,
            reject: 0.0,
        };
        let batcher = Batcher::new(vec![Classifier::released().unwrap()], &settings, &Metrics::new());
        let _running = batcher.engines[0].lock().unwrap();
        let runtime = Builder::new_current_thread().enable_time().build().unwrap();
        let answer = runtime.block_on(batcher.run(vec![0.0; PIXELS], &mut Timing::start()));
        assert!(matches!(answer, Err(Refusal::Busy)));
    }
}
