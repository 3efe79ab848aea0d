//! `POST /classify`: a picture in, what is read on it out, as docs/json.md has it.

use std::convert::Infallible;
use std::time::Instant;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, header};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use futures_util::stream;
use models::glyph::{self, GlyphError, Page};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::App;
use super::front::Size;
use super::refusal::Refusal;
use super::timing::{Stage, Timing};
use crate::{Answer, Prediction, Reading, numbers, prediction};

/// Pictures with at most so many pixels are read at once: to wake another thread would take as long.
const TINY: u64 = 100_000;
/// Most bytes of such a picture.
const TINY_BYTES: usize = 64 << 10;
/// Pictures with more pixels are read one at a time.
const LARGE: u64 = 2_000_000;

/// What may be asked in the address.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Asked {
    /// Only the largest digit that is not refused.
    single: bool,
    /// Also the 28x28 pixels that the network sees.
    pixels: bool,
}

/// `POST /classify`
pub async fn classify(
    State(app): State<App>,
    query: Result<Query<Asked>, QueryRejection>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>, Refusal> {
    let Query(asked) = query.map_err(|error| Refusal::Invalid(error.body_text()))?;
    let mut timing = Timing::start();
    let start = Instant::now();
    let body = app.0.bodies.read(&headers, body).await?;
    timing.set(Stage::Receive, start.elapsed());

    let picture = picture(&headers, &body.bytes).await?;
    let pixels = glyph::pixels(&picture);
    let small = picture.len() <= TINY_BYTES;
    // The body goes with the work, so that its memory is counted until it is free.
    let work = move || {
        let _body = body;
        read(&picture)
    };
    let work = match pixels {
        Some(..=TINY) if small => work(),
        _ => {
            let size = if pixels > Some(LARGE) { Size::Large } else { Size::Small };
            let (work, waited) = app.0.front.run(size, work).await?;
            timing.set(Stage::Wait, waited);
            work
        }
    };
    work.stages
        .into_iter()
        .for_each(|(stage, time)| timing.set(stage, time));

    let reading = match work.page {
        Ok(page) => answer(&app, page, &mut timing).await?,
        Err(reason) if reason.is_no_digit() => Reading::none(&reason),
        Err(error @ GlyphError::TooLarge) => return Err(Refusal::PictureTooLarge(error.to_string())),
        // What decoders say may end a line.
        Err(error) => return Err(Refusal::Unsupported(error.to_string().trim_end().to_owned())),
    };
    let reading = if asked.single { reading.single() } else { reading };
    app.0.metrics.timed(&timing);
    let mut object = reading.to_json();
    if asked.pixels {
        add_pixels(&mut object, &reading);
    }
    object.insert("timing_us".into(), timing.to_json());
    Ok(Json(Value::Object(object)))
}

/// The picture's bytes: the body, or the one file in a form.
async fn picture(headers: &HeaderMap, body: &Bytes) -> Result<Bytes, Refusal> {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let is_form = |value: &&str| {
        let (kind, _) = value.split_once(';').unwrap_or((value, ""));
        kind.trim().eq_ignore_ascii_case("multipart/form-data")
    };
    let Some(content_type) = content_type.filter(is_form) else {
        return Ok(body.clone());
    };
    let invalid = |error: multer::Error| Refusal::Invalid(format!("the form cannot be read: {error}"));
    let boundary = multer::parse_boundary(content_type).map_err(invalid)?;
    let mut form = multer::Multipart::new(stream::iter([Ok::<_, Infallible>(body.clone())]), boundary);
    let field = form.next_field().await.map_err(invalid)?;
    let field = field.ok_or_else(|| Refusal::Invalid("the form is empty: send one picture in it".into()))?;
    let picture = field.bytes().await.map_err(invalid)?;
    match form.next_field().await.map_err(invalid)? {
        None => Ok(picture),
        Some(_) => Err(Refusal::Invalid(
            "the form has several fields: send one picture a request".into(),
        )),
    }
}

/// What the front end makes of a picture, and how long that takes.
struct Work {
    page: Result<Page, GlyphError>,
    stages: Vec<(Stage, std::time::Duration)>,
}

fn read(picture: &[u8]) -> Work {
    let start = Instant::now();
    let mut decoded = None;
    let page = glyph::read_watched(picture, &mut |step, _| {
        if step == "grey" {
            decoded = Some(start.elapsed());
        }
    });
    let whole = start.elapsed();
    let stages = match decoded {
        Some(decoded) => vec![(Stage::Decode, decoded), (Stage::Find, whole - decoded)],
        None => vec![(Stage::Decode, whole)],
    };
    Work { page, stages }
}

async fn answer(app: &App, page: Page, timing: &mut Timing) -> Result<Reading, Refusal> {
    let digits: Vec<_> = page.lines.iter().flatten().map(|glyph| glyph.digit).collect();
    let logits = app
        .0
        .batcher
        .run(numbers(app.0.signature.input, &digits), timing)
        .await?;
    let predictions: Result<Vec<Prediction>, _> = logits
        .iter()
        .map(|row| prediction(app.0.kind, app.0.signature.temperature, row))
        .collect();
    let predictions = predictions.map_err(|error| Refusal::Internal(error.to_string()))?;
    Ok(Reading::new(&page, predictions, app.0.reject))
}

/// Adds to every digit its pixels in base64, 784 bytes row by row.
fn add_pixels(object: &mut Map<String, Value>, reading: &Reading) {
    let answers = || reading.lines.iter().flatten();
    let mut add = |key: &str, answers: &mut dyn Iterator<Item = &Answer>| {
        let digits = object[key].as_array_mut().expect("both are lists");
        for (digit, answer) in digits.iter_mut().zip(answers) {
            digit["pixels"] = BASE64_STANDARD.encode(answer.digit.0).into();
        }
    };
    add("digits", &mut answers().filter(|answer| !answer.refused));
    add("refused", &mut answers().filter(|answer| answer.refused));
}
