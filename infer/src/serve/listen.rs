//! Accepts connections within limits, and stops without losing a request.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};
use tokio_io_timeout::TimeoutWriter;

use super::App;

/// Connections at a time, under the usual limit of 1024 files; more wait in the kernel.
const CONNECTIONS: usize = 900;
/// Headers of a request together.
const HEADER_BYTES: usize = 32 << 10;
/// How long clients have, after the signal, to see that they should close their connections.
const FAREWELL: Duration = Duration::from_millis(250);

/// Serves until `stop`, then answers what was accepted, and says whether all of it could be answered in time. Clients are
/// asked to close their connections first, so that none is cut while a request is on its way.
///
/// # Errors
/// When the socket cannot be used.
pub async fn serve(listener: TcpListener, app: &App, stop: impl Future<Output = ()>) -> io::Result<bool> {
    let graceful = GracefulShutdown::new();
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let router = app.router();
    tokio::select! {
        never = accept(&listener, app, &router, &graceful, &places) => match never {},
        () = stop => app.stop(),
    }
    // What the kernel has accepted before the signal.
    let listener = listener.into_std()?;
    while let (Ok(place), Ok((stream, _))) = (places.clone().try_acquire_owned(), listener.accept()) {
        stream.set_nonblocking(true)?;
        let stream = TcpStream::from_std(stream)?;
        tokio::spawn(answer(stream, app.clone(), router.clone(), graceful.watcher(), place));
    }
    drop(listener);
    // Each request may wait for its body, in two queues, and for its answer to be taken.
    Ok(close(graceful, 4 * app.0.timeout).await)
}

async fn accept(
    listener: &TcpListener,
    app: &App,
    router: &Router,
    graceful: &GracefulShutdown,
    places: &Arc<Semaphore>,
) -> Infallible {
    loop {
        let place = places.clone().acquire_owned().await;
        let place = place.expect("the semaphore is never closed");
        match listener.accept().await {
            Ok((stream, _)) => {
                tokio::spawn(answer(stream, app.clone(), router.clone(), graceful.watcher(), place));
            }
            // The client has gone already, or this process has too many files open, which passes.
            Err(_) => sleep(Duration::from_millis(10)).await,
        }
    }
}

/// Closes the connections; whether all of them ended within the limit.
async fn close(graceful: GracefulShutdown, limit: Duration) -> bool {
    let farewell = async {
        while graceful.count() > 0 {
            sleep(Duration::from_millis(5)).await;
        }
    };
    let _ = timeout(FAREWELL, farewell).await;
    timeout(limit, graceful.shutdown()).await.is_ok()
}

/// Answers the requests of one connection.
async fn answer(stream: TcpStream, app: App, router: Router, watcher: Watcher, _place: OwnedSemaphorePermit) {
    let _ = stream.set_nodelay(true);
    let mut stream = TimeoutWriter::new(stream);
    stream.set_timeout(Some(app.0.timeout));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(app.0.timeout)
        .max_buf_size(HEADER_BYTES)
        .serve_connection(TokioIo::new(Box::pin(stream)), TowerToHyperService::new(router));
    app.0.metrics.connections.inc();
    // A client that breaks off or breaks HTTP's rules is its own affair.
    let _ = watcher.watch(connection).await;
    app.0.metrics.connections.dec();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_connection_that_does_not_end_is_told() {
        let limit = Duration::from_millis(1);
        assert!(close(GracefulShutdown::new(), limit).await);
        let graceful = GracefulShutdown::new();
        let _connection = graceful.watcher();
        assert!(!close(graceful, limit).await);
    }
}
