//! The server: its answers without a socket, and with one what a client can do to it. In the folder what needs more: the
//! browser, and Python's clients.

mod browser;
mod python;
mod socket;

use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode};
use infer::serve::{App, Settings};
use infer::{Classifier, REJECT};
use models::golden::Golden;
use models::onnx::InputKind;
use models::{GOLDEN, PIXELS};
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::cli::{blank, cross_and_seven, page, sample};

fn settings() -> Settings {
    Settings {
        max_body: 1 << 20,
        timeout: Duration::from_secs(10),
        queue: 64,
        max_delay: Duration::ZERO,
        reject: REJECT,
    }
}

fn app() -> App {
    App::new(vec![Classifier::released().unwrap()], &settings())
}

/// Status and JSON of the answer.
async fn send(app: &App, request: Request<Body>) -> (StatusCode, Value) {
    let response = app.router().oneshot(request).await.unwrap();
    let status = response.status();
    let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
    (status, serde_json::from_slice(&body).unwrap_or(Value::Null))
}

fn get(path: &str) -> Request<Body> {
    Request::get(path).body(Body::empty()).unwrap()
}

fn post(path: &str, body: impl Into<Body>) -> Request<Body> {
    Request::post(path).body(body.into()).unwrap()
}

fn picture(digit: u8) -> Vec<u8> {
    std::fs::read(sample(digit)).unwrap()
}

#[tokio::test]
async fn reads_every_sample() {
    let app = app();
    for digit in 0..10 {
        let (status, answer) = send(&app, post("/classify", picture(digit))).await;
        assert_eq!((status, &answer["digit"]), (StatusCode::OK, &json!(digit)), "{answer}");
        assert!(answer["timing_us"]["infer"].as_f64() > Some(0.0), "{answer}");
        assert_eq!(answer["timing_us"]["queue"], Value::Null, "it goes at once");
    }
}

#[tokio::test]
async fn reads_a_form_and_several_digits() {
    let app = app();
    let part = b"--x\r\nContent-Disposition: form-data; name=\"picture\"; filename=\"a.png\"\r\n\r\n";
    let form = |parts: usize| {
        let body = [&part[..], &page(), b"\r\n"].concat().repeat(parts);
        let mut request = post("/classify", [&body[..], b"--x--\r\n"].concat());
        let form = "multipart/form-data; boundary=x".parse().unwrap();
        request.headers_mut().insert("content-type", form);
        request
    };
    let (_, answer) = send(&app, form(1)).await;
    assert_eq!(answer["text"], "20\n7", "{answer}");
    assert_eq!(send(&app, form(2)).await.0, StatusCode::BAD_REQUEST);
    assert_eq!(send(&app, form(0)).await.0, StatusCode::BAD_REQUEST);
    let (_, answer) = send(&app, post("/classify?single=true&pixels=true", page())).await;
    assert_eq!(answer["digits"].as_array().unwrap().len(), 1);
    let (_, single) = send(&app, post("/classify?single=true", cross_and_seven())).await;
    assert_eq!((&single["text"], &single["digit"]), (&json!("7"), &json!(7)));
    assert_eq!(
        answer["digits"][0]["pixels"].as_str().unwrap().len(),
        PIXELS.div_ceil(3) * 4
    );
}

#[tokio::test]
async fn only_what_is_surely_small_is_read_at_once() {
    let app = app();
    let png = picture(3);
    let padded = [&png[..], &[0; 100_000]].concat();
    for (body, waits) in [(png, false), (padded, true)] {
        let (_, answer) = send(&app, post("/classify", body)).await;
        assert_eq!(
            (&answer["digit"], answer["timing_us"]["wait"].is_number()),
            (&json!(3), waits)
        );
    }
}

#[tokio::test]
async fn headers_may_be_spelt_in_capitals() {
    let part = b"--x\r\nContent-Disposition: form-data; name=\"picture\"\r\n\r\n";
    let body = [&part[..], &picture(3), b"\r\n--x--\r\n"].concat();
    let mut request = post("/classify", body);
    for (name, value) in [
        ("content-type", "Multipart/Form-Data; boundary=x"),
        ("content-encoding", "Identity"),
    ] {
        request.headers_mut().insert(name, value.parse().unwrap());
    }
    let (_, answer) = send(&app(), request).await;
    assert_eq!(answer["digit"], 3, "{answer}");
}

#[tokio::test]
async fn no_digit_is_an_answer_and_no_picture_is_none() {
    let app = app();
    let (status, answer) = send(&app, post("/classify", blank())).await;
    assert_eq!((status, &answer["text"]), (StatusCode::OK, &json!("")));
    assert!(answer["reason"].as_str().unwrap().contains("blank"));
    let huge = b"P5 20000 20000 255\n".as_slice();
    for (body, expected) in [
        (&b"no picture"[..], StatusCode::UNSUPPORTED_MEDIA_TYPE),
        (b"", StatusCode::UNSUPPORTED_MEDIA_TYPE),
        (b"\x89PNG\r\n\x1a\nno", StatusCode::UNSUPPORTED_MEDIA_TYPE),
        (huge, StatusCode::PAYLOAD_TOO_LARGE),
        (&vec![0; (1 << 20) + 1], StatusCode::PAYLOAD_TOO_LARGE),
    ] {
        let (status, answer) = send(&app, post("/classify", body.to_vec())).await;
        assert_eq!(status, expected, "{answer}");
        assert!(answer["error"].is_string(), "{answer}");
    }
    assert_eq!(
        send(&app, post("/classify?color=red", picture(1))).await.0,
        StatusCode::BAD_REQUEST
    );
    assert_eq!(send(&app, get("/classify")).await.0, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(send(&app, get("/nothing")).await.0, StatusCode::NOT_FOUND);
}

fn tensor(n: usize, data: Value) -> Value {
    json!({ "id": "7", "inputs": [{ "name": "input", "datatype": "FP32", "shape": [n, 1, 28, 28], "data": data }] })
}

#[tokio::test]
async fn tensors_give_libtorchs_logits() {
    let golden = Golden::from_bytes(GOLDEN).unwrap();
    let numbers = infer::numbers(InputKind::Float32, &golden.digits[..3]);
    let flat = tensor(3, json!(numbers));
    let nested: Vec<Vec<&[f32]>> = numbers.chunks(PIXELS).map(|digit| digit.chunks(28).collect()).collect();
    for request in [flat, tensor(3, json!(nested))] {
        let (status, answer) = send(&app(), post("/v2/models/digits/infer", request.to_string())).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        assert_eq!(
            (&answer["id"], &answer["outputs"][0]["shape"]),
            (&json!("7"), &json!([3, 10]))
        );
        let logits: Vec<f32> = serde_json::from_value(answer["outputs"][0]["data"].clone()).unwrap();
        let far = logits
            .iter()
            .zip(&golden.logits)
            .map(|(a, b)| (a - b).abs())
            .fold(0.0, f32::max);
        assert!(far < 1e-4, "{far}");
    }
}

#[tokio::test]
async fn binary_tensors_need_no_json() {
    let golden = Golden::from_bytes(GOLDEN).unwrap();
    let numbers = infer::numbers(InputKind::Float32, &golden.digits[..2]);
    let body: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
    let mut request = post("/v2/models/digits/infer", body);
    request
        .headers_mut()
        .insert("inference-header-content-length", "0".parse().unwrap());
    let (_, answer) = send(&app(), request).await;
    assert_eq!(answer["outputs"][0]["shape"], json!([2, 10]), "{answer}");
}

#[tokio::test]
async fn wrong_tensors_get_a_reason() {
    let app = app();
    let digit = vec![0.5; PIXELS];
    let changed = |pointer: &str, value: Value| {
        let mut request = tensor(1, json!(digit));
        *request.pointer_mut(pointer).unwrap() = value;
        request.to_string()
    };
    for (body, expected) in [
        ("{".to_owned(), "as the protocol says"),
        ("{}".to_owned(), "inputs"),
        (json!({ "inputs": [] }).to_string(), "one input, and 0"),
        (changed("/inputs/0/name", json!("x")), "no input \"x\""),
        (changed("/inputs/0/datatype", json!("INT64")), "datatype FP32"),
        (changed("/inputs/0/shape", json!([1, 784])), "shape [-1, 1, 28, 28]"),
        (
            changed("/inputs/0/shape", json!([i64::MAX, 1, 28, 28])),
            "other than 784",
        ),
        (changed("/inputs/0/shape", json!([0, 1, 28, 28])), "shape"),
        (changed("/inputs/0/data", json!([1, 2])), "other than 2"),
        (changed("/inputs/0/data", json!(vec![1e300; PIXELS])), "not finite"),
        (changed("/inputs/0/data", json!("x")), "numbers"),
        (changed("/inputs/0/data", Value::Null), "needs either"),
        (changed("/id", json!(3)), "as the protocol says"),
    ] {
        let (status, answer) = send(&app, post("/v2/models/digits/infer", body)).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{answer}");
        assert!(
            answer["error"].as_str().unwrap().contains(expected),
            "{answer}, not {expected}"
        );
    }
    assert_eq!(
        send(&app, post("/v2/models/cats/infer", "{}")).await.0,
        StatusCode::NOT_FOUND
    );
    assert_eq!(send(&app, get("/v2/models/digits/ready")).await.1["ready"], true);
}

#[tokio::test]
async fn everything_described_is_served() {
    let app = app();
    let description = send(&app, get("/openapi.json")).await.1;
    for (path, methods) in description["paths"].as_object().unwrap() {
        for method in methods.as_object().unwrap().keys() {
            let path = path.replace("{model}", "digits");
            let method = method.to_uppercase();
            let request = Request::builder()
                .method(&*method)
                .uri(&path)
                .body(Body::empty())
                .unwrap();
            let status = send(&app, request).await.0;
            assert!(
                status != StatusCode::NOT_FOUND && status != StatusCode::METHOD_NOT_ALLOWED,
                "{method} {path}"
            );
        }
    }
}

#[tokio::test]
async fn many_at_once_are_answered_or_told_to_come_again() {
    // More than go through the engine together, so that some come while it runs.
    const N: usize = 300;
    let few = Settings {
        queue: 1,
        max_delay: Duration::from_millis(5),
        ..settings()
    };
    let app = App::new(vec![Classifier::released().unwrap()], &few);
    let asked: Vec<_> = (0..N)
        .map(|_| tokio::spawn(send_owned(app.clone(), picture(4))))
        .collect();
    let mut busy = 0;
    for answer in asked {
        match answer.await.unwrap() {
            (StatusCode::OK, answer) => assert_eq!(answer["digit"], 4),
            (status, answer) => {
                assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{answer}");
                busy += 1;
            }
        }
    }
    assert!((1..N).contains(&busy), "{busy} of {N}");
}

#[tokio::test]
async fn requests_that_go_together_get_their_own_answers() {
    let patient = Settings {
        max_delay: Duration::from_millis(50),
        ..settings()
    };
    let app = App::new(vec![Classifier::released().unwrap()], &patient);
    let ask = |digit| tokio::spawn(send_owned(app.clone(), picture(digit)));
    let asked: Vec<_> = (0..10).chain(0..10).map(|digit| (digit, ask(digit))).collect();
    for (digit, answer) in asked {
        assert_eq!(answer.await.unwrap().1["digit"], digit);
    }
    let response = app.router().oneshot(get("/metrics")).await.unwrap();
    let metrics = to_bytes(response.into_body(), usize::MAX).await.unwrap();
    let metrics = String::from_utf8(metrics.to_vec()).unwrap();
    let value = |name: &str| -> u32 {
        let line = metrics.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap().trim().parse().unwrap()
    };
    assert_eq!(value("infer_batch_digits_sum "), 20);
    assert!(value("infer_batch_digits_count ") < 20, "every request went alone");
}

async fn send_owned(app: App, picture: Vec<u8>) -> (StatusCode, Value) {
    send(&app, post("/classify", picture)).await
}

#[tokio::test]
async fn the_page_lets_nothing_else_in() {
    let response = app().router().oneshot(get("/")).await.unwrap();
    let policy = response.headers()["content-security-policy"]
        .to_str()
        .unwrap()
        .to_owned();
    assert!(
        policy.starts_with("default-src 'none'; script-src 'sha256-") && !policy.contains("unsafe"),
        "{policy}"
    );
    let page = to_bytes(response.into_body(), usize::MAX).await.unwrap();
    let page = std::str::from_utf8(&page).unwrap();
    for outside in [
        "https://",
        "src=\"",
        "@import",
        "@font-face",
        " style=\"",
        " onclick=\"",
    ] {
        assert!(!page.contains(outside), "{outside}");
    }
}
