//! `infer serve`: the model over HTTP. A page to draw on, pictures at `/classify`, tensors at `/v2` as the Open Inference
//! Protocol has it, metrics for Prometheus.
//!
//! A request goes through: [`listen`] accepts within limits; `body` reads within size, time and memory; `front` makes
//! digits of a picture, on few threads; `batcher` takes digits of several requests through an engine together;
//! `classify` or `oip` writes the answer. `metrics` counts all of it, and `refusal` says why something is not answered.

mod batcher;
mod body;
mod classify;
mod front;
pub mod listen;
mod metrics;
mod oip;
mod page;
mod refusal;
mod timing;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::{MethodRouter, get, post};

use self::batcher::Batcher;
use self::body::Bodies;
use self::front::Front;
use self::metrics::Metrics;
use crate::engine::EngineKind;
use crate::{Classifier, Signature};

/// What is asked of a server.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Largest body of a request, in bytes.
    pub max_body: usize,
    /// Longest time for the header of a request, for its body, for its turn, and for a client to take the answer.
    pub timeout: Duration,
    /// Most requests that wait, for the front end and for an engine each.
    pub queue: usize,
    /// Longest time that a request waits for others to go through the engine with. Without it those go together that wait
    /// already.
    pub max_delay: Duration,
    /// Evidence below which there is no digit.
    pub reject: f32,
}

/// A model that is served; cheap to clone.
#[derive(Clone)]
pub struct App(Arc<Inner>);

struct Inner {
    bodies: Bodies,
    front: Front,
    batcher: Batcher,
    metrics: Metrics,
    signature: Signature,
    kind: EngineKind,
    reject: f32,
    timeout: Duration,
    stopping: AtomicBool,
}

impl App {
    /// Gives every classifier, which are all of one model, a thread of its own.
    ///
    /// # Panics
    /// When there is no classifier.
    pub fn new(classifiers: Vec<Classifier>, settings: &Settings) -> App {
        let first = classifiers.first().expect("a server needs an engine");
        let (signature, kind) = (first.signature().clone(), first.kind());
        let threads = classifiers.len();
        let metrics = Metrics::new();
        App(Arc::new(Inner {
            bodies: Bodies::new(settings),
            front: Front::new(threads, settings, &metrics),
            batcher: Batcher::new(classifiers, settings, &metrics),
            metrics,
            signature,
            kind,
            reject: settings.reject,
            timeout: settings.timeout,
            stopping: AtomicBool::new(false),
        }))
    }

    /// The routes, which can be called without a socket.
    pub fn router(&self) -> Router {
        let routes = routes().into_iter();
        routes
            .fold(Router::new(), |router, (path, methods)| router.route(path, methods))
            .fallback(|| async { refusal::Refusal::NoSuchPage })
            .method_not_allowed_fallback(|| async { refusal::Refusal::WrongMethod })
            .layer(middleware::from_fn_with_state(self.clone(), observe))
            .with_state(self.clone())
    }

    /// From now on the server is not ready, and every answer asks the client to close the connection.
    fn stop(&self) {
        self.0.stopping.store(true, Ordering::Relaxed);
    }

    fn is_stopping(&self) -> bool {
        self.0.stopping.load(Ordering::Relaxed)
    }
}

/// Everything that is served; openapi.json describes each.
fn routes() -> Vec<(&'static str, MethodRouter<App>)> {
    let mut routes = vec![
        ("/", get(page::page)),
        ("/openapi.json", get(page::openapi)),
        ("/metrics", get(metrics::metrics)),
        ("/classify", post(classify::classify)),
    ];
    routes.extend(oip::routes());
    routes
}

/// Counts every answer, adds the headers that all have, and sees to it that a refusal reaches its client.
async fn observe(State(app): State<App>, request: Request, next: Next) -> Response {
    let start = Instant::now();
    let route = request.extensions().get::<MatchedPath>().cloned();
    let (head, body) = request.into_parts();
    // Such a client sends nothing before it is asked to.
    let sends_unasked = !head.headers.contains_key(header::EXPECT);
    let [body, rest] = body::share(body);
    let mut response = next.run(Request::from_parts(head, body)).await;
    let (status, time) = (response.status(), start.elapsed());
    let is_refused = status.is_client_error() || status.is_server_error();
    // One that was too slow is not waited for again.
    if is_refused && status != StatusCode::REQUEST_TIMEOUT && (sends_unasked || status == StatusCode::PAYLOAD_TOO_LARGE)
    {
        app.0.bodies.drain(rest).await;
    }
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    // What is left of a body that was refused would be taken for the next request.
    let refused_body = [StatusCode::PAYLOAD_TOO_LARGE, StatusCode::REQUEST_TIMEOUT];
    if app.is_stopping() || refused_body.contains(&status) {
        response
            .headers_mut()
            .insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    let route = route.as_ref().map_or("other", MatchedPath::as_str);
    app.0.metrics.answered(route, status, time);
    response
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn everything_served_is_described() {
        let description: Value = serde_json::from_str(page::OPENAPI).unwrap();
        let described = description["paths"].as_object().unwrap();
        let served: Vec<&str> = routes().into_iter().map(|(path, _)| path).collect();
        assert!(served.iter().all(|&path| described.contains_key(path)), "{served:?}");
        assert_eq!(served.len(), described.len());
    }
}
