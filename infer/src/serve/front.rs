//! Decoding and preprocessing is work for the processor: it runs on few threads beside those of the network, and large
//! pictures one at a time, so that memory stays bounded whatever is sent.

use std::sync::Arc;
use std::time::{Duration, Instant};

use prometheus::IntGauge;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::Settings;
use super::metrics::Metrics;
use super::refusal::Refusal;

/// The threads of the front end, and the queue before them.
pub struct Front {
    threads: Arc<Semaphore>,
    large: Arc<Semaphore>,
    queue: Arc<Semaphore>,
    timeout: Duration,
    waiting: IntGauge,
}

/// How much memory a piece of work takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// Little: as many at a time as there are threads.
    Small,
    /// Much: one at a time.
    Large,
}

impl Front {
    pub fn new(threads: usize, settings: &Settings, metrics: &Metrics) -> Front {
        Front {
            threads: Arc::new(Semaphore::new(threads)),
            large: Arc::new(Semaphore::new(1)),
            queue: Arc::new(Semaphore::new(threads + settings.queue)),
            timeout: settings.timeout,
            waiting: metrics.front_queue.clone(),
        }
    }

    /// Does the work when its turn comes; also tells how long it waited.
    ///
    /// # Errors
    /// When the queue is full or the turn does not come in time.
    pub async fn run<T: Send + 'static>(
        &self,
        size: Size,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<(T, Duration), Refusal> {
        let place = self.queue.clone().try_acquire_owned().map_err(|_| Refusal::Busy)?;
        let start = Instant::now();
        let turn = {
            let _waiting = Counted::new(&self.waiting);
            timeout(self.timeout, self.turn(size))
                .await
                .map_err(|_| Refusal::Busy)?
        };
        let waited = start.elapsed();
        // The permits go with the work: it goes on when the client has gone.
        let done = spawn_blocking(move || {
            let _permits = (place, turn);
            work()
        });
        match done.await {
            Ok(done) => Ok((done, waited)),
            Err(_) => Err(Refusal::Internal(
                "the picture could not be read, which is our mistake".into(),
            )),
        }
    }

    /// The large one first: who waits for it holds no thread.
    async fn turn(&self, size: Size) -> (Option<OwnedSemaphorePermit>, OwnedSemaphorePermit) {
        let closed = "the semaphores are never closed";
        let large = match size {
            Size::Small => None,
            Size::Large => Some(self.large.clone().acquire_owned().await.expect(closed)),
        };
        (large, self.threads.clone().acquire_owned().await.expect(closed))
    }
}

/// Counts while it lives.
struct Counted<'a>(&'a IntGauge);

impl Counted<'_> {
    fn new(gauge: &IntGauge) -> Counted<'_> {
        gauge.inc();
        Counted(gauge)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.dec();
    }
}
