//! What Prometheus sees at `/metrics`.

use std::time::Duration;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use prometheus::{
    Encoder, Histogram, HistogramOpts, HistogramVec, IntCounterVec, IntGauge, Opts, Registry, TextEncoder,
    exponential_buckets,
};

use super::App;
use super::timing::{Stage, Timing};

/// The counters of one server.
pub struct Metrics {
    registry: Registry,
    requests: IntCounterVec,
    seconds: HistogramVec,
    stages: [Histogram; Stage::ALL.len()],
    refusals: IntCounterVec,
    /// Digits of each run of an engine.
    pub batches: Histogram,
    /// Requests that wait for the front end.
    pub front_queue: IntGauge,
    /// Requests that wait for an engine.
    pub engine_queue: IntGauge,
    /// Open connections.
    pub connections: IntGauge,
}

impl Metrics {
    pub fn new() -> Metrics {
        let registry = Registry::new();
        let requests = counter(
            &registry,
            "infer_requests_total",
            "Answers, by route and status.",
            &["route", "status"],
        );
        let refusals = counter(
            &registry,
            "infer_refusals_total",
            "Requests that were not answered with a result, by status.",
            &["status"],
        );
        let stages = seconds(
            &registry,
            "infer_stage_seconds",
            "Time of a request in each stage.",
            "stage",
        );
        let batches = HistogramOpts::new("infer_batch_digits", "Digits that go through an engine together.");
        let batches = Histogram::with_opts(batches.buckets(buckets(1.0, 2.0, 9))).expect(VALID);
        registry.register(Box::new(batches.clone())).expect(VALID);
        Metrics {
            requests,
            refusals,
            seconds: seconds(
                &registry,
                "infer_request_seconds",
                "Time of a request with its body.",
                "route",
            ),
            stages: Stage::ALL.map(|stage| stages.with_label_values(&[stage.name()])),
            batches,
            front_queue: gauge(
                &registry,
                "infer_front_queue_requests",
                "Requests that wait for the front end.",
            ),
            engine_queue: gauge(
                &registry,
                "infer_engine_queue_requests",
                "Requests that wait for an engine.",
            ),
            connections: gauge(&registry, "infer_connections", "Open connections."),
            registry,
        }
    }

    /// Counts an answer.
    pub fn answered(&self, route: &str, status: StatusCode, time: Duration) {
        let code = status.as_str();
        self.requests.with_label_values(&[route, code]).inc();
        self.seconds.with_label_values(&[route]).observe(time.as_secs_f64());
        if status.is_client_error() || status.is_server_error() {
            self.refusals.with_label_values(&[code]).inc();
        }
    }

    /// Counts where an answered request's time went.
    pub fn timed(&self, timing: &Timing) {
        for (stage, time) in timing.stages() {
            self.stages[stage as usize].observe(time.as_secs_f64());
        }
    }
}

/// `GET /metrics`
pub async fn metrics(State(app): State<App>) -> Response {
    let encoder = TextEncoder::new();
    let mut text = Vec::new();
    match encoder.encode(&app.0.metrics.registry.gather(), &mut text) {
        Ok(()) => ([(header::CONTENT_TYPE, encoder.format_type().to_owned())], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

const VALID: &str = "the names are valid and differ";

fn counter(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
    let counter = IntCounterVec::new(Opts::new(name, help), labels).expect(VALID);
    registry.register(Box::new(counter.clone())).expect(VALID);
    counter
}

fn gauge(registry: &Registry, name: &str, help: &str) -> IntGauge {
    let gauge = IntGauge::new(name, help).expect(VALID);
    registry.register(Box::new(gauge.clone())).expect(VALID);
    gauge
}

/// Histograms from 10 microseconds to 20 seconds.
fn seconds(registry: &Registry, name: &str, help: &str, label: &str) -> HistogramVec {
    let options = HistogramOpts::new(name, help).buckets(buckets(1e-5, 2.0, 22));
    let histogram = HistogramVec::new(options, &[label]).expect(VALID);
    registry.register(Box::new(histogram.clone())).expect(VALID);
    histogram
}

fn buckets(start: f64, factor: f64, count: usize) -> Vec<f64> {
    exponential_buckets(start, factor, count).expect("growing buckets")
}
