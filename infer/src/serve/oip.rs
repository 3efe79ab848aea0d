//! The Open Inference Protocol, version 2, over HTTP: health, metadata and `infer` for the one model `digits`, whose tensors
//! are as its graph has them. `oip/call.rs` reads and writes the messages.

mod call;

use std::time::Instant;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get, post};
use models::CLASSES;
use serde_json::{Value, json};

use self::call::{Call, datatype, input_shape};
use super::App;
use super::front::Size;
use super::refusal::Refusal;
use super::timing::{Stage, Timing};

/// The model's name.
const MODEL: &str = "digits";
/// Reading bodies up to this size takes no time worth a thread.
const SMALL: usize = 64 << 10;

pub fn routes() -> [(&'static str, MethodRouter<App>); 6] {
    [
        ("/v2", get(server)),
        ("/v2/health/live", get(live)),
        ("/v2/health/ready", get(ready)),
        ("/v2/models/{model}", get(metadata)),
        ("/v2/models/{model}/ready", get(model_ready)),
        ("/v2/models/{model}/infer", post(infer)),
    ]
}

async fn server() -> Json<Value> {
    Json(json!({
        "name": "threeblock",
        "version": env!("CARGO_PKG_VERSION"),
        "extensions": ["binary_tensor_data"],
    }))
}

async fn live() -> Json<Value> {
    Json(json!({ "live": true }))
}

async fn ready(State(app): State<App>) -> impl IntoResponse {
    let ready = !app.is_stopping();
    (status(ready), Json(json!({ "ready": ready })))
}

async fn model_ready(State(app): State<App>, Path(model): Path<String>) -> Result<impl IntoResponse, Refusal> {
    known(&model)?;
    let ready = !app.is_stopping();
    Ok((status(ready), Json(json!({ "name": MODEL, "ready": ready }))))
}

/// Not ready while the server stops, so that no new clients are sent here.
fn status(ready: bool) -> StatusCode {
    match ready {
        true => StatusCode::OK,
        false => StatusCode::SERVICE_UNAVAILABLE,
    }
}

async fn metadata(State(app): State<App>, Path(model): Path<String>) -> Result<Json<Value>, Refusal> {
    known(&model)?;
    let signature = &app.0.signature;
    Ok(Json(json!({
        "name": MODEL,
        "platform": app.0.kind.name(),
        "inputs": [{
            "name": signature.input_name,
            "datatype": datatype(signature.input),
            "shape": input_shape(signature.input, -1),
        }],
        "outputs": [{ "name": signature.logits_name, "datatype": "FP32", "shape": [-1, CLASSES] }],
    })))
}

fn known(model: &str) -> Result<(), Refusal> {
    match model == MODEL {
        true => Ok(()),
        false => Err(Refusal::NoSuchModel(model.into())),
    }
}

/// `POST /v2/models/digits/infer`
async fn infer(
    State(app): State<App>,
    Path(model): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    known(&model)?;
    let json_length = call::json_length(&headers)?;
    let mut timing = Timing::start();
    let start = Instant::now();
    let body = app.0.bodies.read(&headers, body).await?;
    timing.set(Stage::Receive, start.elapsed());

    let start = Instant::now();
    let call = if body.bytes.len() <= SMALL {
        Call::read(&body.bytes, json_length, &app.0.signature)?
    } else {
        let signature = app.0.signature.clone();
        let read = move || Call::read(&body.bytes, json_length, &signature);
        let (call, waited) = app.0.front.run(Size::Small, read).await?;
        timing.set(Stage::Wait, waited);
        call?
    };
    timing.set(Stage::Decode, start.elapsed());

    let logits = app.0.batcher.run(call.numbers, &mut timing).await?;
    app.0.metrics.timed(&timing);
    call.answer.write(MODEL, &app.0.signature.logits_name, &logits)
}
