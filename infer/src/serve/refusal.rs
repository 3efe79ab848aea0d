//! Why a request is not answered: one variant a reason, as status and JSON `{"error": ...}`, which is also the Open Inference
//! Protocol's form.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

/// Seconds after which a client may try again.
const RETRY_AFTER: &str = "1";

/// Why a request is not answered.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// A queue is full, or waiting in it takes too long.
    #[error("the server is busy: try again in a second")]
    Busy,
    /// The body has too many bytes.
    #[error("the body is larger than {0} bytes, which is the most that is read; the server's --max-body says how much")]
    BodyTooLarge(usize),
    /// The picture has too many pixels.
    #[error("{0}")]
    PictureTooLarge(String),
    /// The body does not arrive in time.
    #[error("the body did not arrive in time")]
    TooSlow,
    /// The client stops sending, or breaks HTTP's rules.
    #[error("the body breaks off: {0}")]
    BrokenBody(String),
    /// The request says something that cannot be.
    #[error("{0}")]
    Invalid(String),
    /// The body is nothing that is read here.
    #[error("{0}")]
    Unsupported(String),
    /// Another model is asked for.
    #[error("there is no model {0:?} here, only \"digits\"")]
    NoSuchModel(String),
    /// Nothing is here.
    #[error("there is nothing here: GET /openapi.json lists what there is")]
    NoSuchPage,
    /// Something is here, for another method.
    #[error("this address takes another method: GET /openapi.json lists them")]
    WrongMethod,
    /// The engine or our own code fails.
    #[error("{0}")]
    Internal(String),
}

impl Refusal {
    fn status(&self) -> StatusCode {
        match self {
            Refusal::Busy => StatusCode::SERVICE_UNAVAILABLE,
            Refusal::BodyTooLarge(_) | Refusal::PictureTooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Refusal::TooSlow => StatusCode::REQUEST_TIMEOUT,
            Refusal::BrokenBody(_) | Refusal::Invalid(_) => StatusCode::BAD_REQUEST,
            Refusal::Unsupported(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Refusal::NoSuchModel(_) | Refusal::NoSuchPage => StatusCode::NOT_FOUND,
            Refusal::WrongMethod => StatusCode::METHOD_NOT_ALLOWED,
            Refusal::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = (self.status(), Json(json!({ "error": self.to_string() }))).into_response();
        if matches!(self, Refusal::Busy) {
            let after = HeaderValue::from_static(RETRY_AFTER);
            response.headers_mut().insert(header::RETRY_AFTER, after);
        }
        response
    }
}
