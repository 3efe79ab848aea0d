//! The messages of `infer`: JSON, and behind it the binary tensors, if there are any. The header
//! `Inference-Header-Content-Length` says where the JSON ends; where it says 0, the body is the input tensor and nothing else.

use std::fmt;

use axum::Json;
use axum::http::{HeaderMap, HeaderName, header};
use axum::response::{IntoResponse, Response};
use models::onnx::InputKind;
use models::{CLASSES, PIXELS, SIDE};
use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value, json};

use crate::Signature;
use crate::serve::refusal::Refusal;

const JSON_LENGTH: HeaderName = HeaderName::from_static("inference-header-content-length");

/// A checked request.
#[derive(Debug)]
pub struct Call {
    /// The digits as the model's input takes them, `[n, PIXELS]`.
    pub numbers: Vec<f32>,
    /// How the answer is to be written.
    pub answer: Answer,
}

/// How an answer is to be written.
#[derive(Debug)]
pub struct Answer {
    id: Option<String>,
    binary: bool,
}

/// The protocol's name of the input's numbers.
pub fn datatype(input: InputKind) -> &'static str {
    match input {
        InputKind::Float32 => "FP32",
        InputKind::Uint8 => "UINT8",
    }
}

/// The shape of `n` digits.
pub fn input_shape(input: InputKind, n: i64) -> Vec<i64> {
    let side = SIDE as i64;
    match input {
        InputKind::Float32 => vec![n, 1, side, side],
        InputKind::Uint8 => vec![n, side, side],
    }
}

/// Length of the JSON at the start of the body; `None` where all of it is JSON.
///
/// # Errors
/// When the header is no number.
pub fn json_length(headers: &HeaderMap) -> Result<Option<usize>, Refusal> {
    let Some(value) = headers.get(JSON_LENGTH) else {
        return Ok(None);
    };
    let length = value.to_str().ok().and_then(|text| text.parse().ok());
    let invalid = || {
        Refusal::Invalid(format!(
            "the header {JSON_LENGTH} must be a number of bytes, and is {value:?}"
        ))
    };
    length.map(Some).ok_or_else(invalid)
}

impl Call {
    /// Reads and checks the body of a request.
    ///
    /// # Errors
    /// When it is not what the protocol and the model's signature say.
    pub fn read(body: &[u8], json_length: Option<usize>, signature: &Signature) -> Result<Call, Refusal> {
        let (json, binary) = body
            .split_at_checked(json_length.unwrap_or(body.len()))
            .ok_or_else(|| {
                Refusal::Invalid(format!(
                    "the header {JSON_LENGTH} is larger than the body of {} bytes",
                    body.len()
                ))
            })?;
        if json_length == Some(0) {
            let answer = Answer {
                id: None,
                binary: false,
            };
            let numbers = from_bytes(binary, signature.input)?;
            return Call::new(numbers, answer);
        }
        let request: Request = serde_json::from_slice(json)
            .map_err(|error| Refusal::Invalid(format!("the request is not as the protocol says: {error}")))?;
        let answer = request.answer(signature)?;
        let [input] = request.inputs.try_into().map_err(|inputs: Vec<Input>| {
            Refusal::Invalid(format!("the model has one input, and {} are given", inputs.len()))
        })?;
        Call::new(input.numbers(binary, signature)?, answer)
    }

    fn new(numbers: Vec<f32>, answer: Answer) -> Result<Call, Refusal> {
        if numbers.is_empty() || !numbers.len().is_multiple_of(PIXELS) {
            return Err(Refusal::Invalid(format!(
                "{} numbers are no whole digits of {PIXELS}",
                numbers.len()
            )));
        }
        if !numbers.iter().all(|number| number.is_finite()) {
            return Err(Refusal::Invalid("the input has numbers that are not finite".into()));
        }
        Ok(Call { numbers, answer })
    }
}

#[derive(Deserialize)]
struct Request {
    id: Option<String>,
    #[serde(default)]
    parameters: Map<String, Value>,
    inputs: Vec<Input>,
    #[serde(default)]
    outputs: Vec<Output>,
}

#[derive(Deserialize)]
struct Input {
    name: String,
    shape: Vec<i64>,
    datatype: String,
    #[serde(default)]
    parameters: Map<String, Value>,
    data: Option<Flat>,
}

#[derive(Deserialize)]
struct Output {
    name: String,
    #[serde(default)]
    parameters: Map<String, Value>,
}

impl Request {
    /// Binary where the one output asks for it, or the request for all.
    fn answer(&self, signature: &Signature) -> Result<Answer, Refusal> {
        let name = &signature.logits_name;
        if let Some(other) = self.outputs.iter().find(|output| output.name != *name) {
            return Err(Refusal::Invalid(format!(
                "the model has no output {:?}, only {name:?}",
                other.name
            )));
        }
        let asked = self
            .outputs
            .first()
            .and_then(|output| output.parameters.get("binary_data"));
        let asked = asked.or(self.parameters.get("binary_data_output"));
        let binary = match asked {
            None => false,
            Some(Value::Bool(binary)) => *binary,
            Some(other) => return Err(Refusal::Invalid(format!("{other} is neither true nor false"))),
        };
        Ok(Answer {
            id: self.id.clone(),
            binary,
        })
    }
}

impl Input {
    /// The numbers, from `data` or from the bytes behind the JSON.
    fn numbers(self, binary: &[u8], signature: &Signature) -> Result<Vec<f32>, Refusal> {
        let invalid = |problem: String| Err(Refusal::Invalid(problem));
        if self.name != signature.input_name {
            return invalid(format!(
                "the model has no input {:?}, only {:?}",
                self.name, signature.input_name
            ));
        }
        let datatype = datatype(signature.input);
        if self.datatype != datatype {
            return invalid(format!(
                "the input has datatype {datatype}, and {:?} is given",
                self.datatype
            ));
        }
        let n = self.shape.first().copied().unwrap_or(0);
        if n < 1 || self.shape != input_shape(signature.input, n) {
            let expected = input_shape(signature.input, -1);
            return invalid(format!(
                "the input has shape {expected:?}, and {:?} is given",
                self.shape
            ));
        }
        let numbers = match (self.data, self.parameters.get("binary_data_size")) {
            (Some(data), None) if binary.is_empty() => data.numbers(signature.input)?,
            (None, Some(size)) if size.as_u64() == Some(binary.len() as u64) => from_bytes(binary, signature.input)?,
            (None, Some(size)) => {
                return invalid(format!(
                    "binary_data_size is {size}, and {} bytes follow the JSON",
                    binary.len()
                ));
            }
            _ => {
                return invalid(
                    "the input needs either data, or binary_data_size and its bytes behind the JSON".into(),
                );
            }
        };
        match usize::try_from(n).is_ok_and(|n| n.checked_mul(PIXELS) == Some(numbers.len())) {
            true => Ok(numbers),
            false => invalid(format!(
                "shape {:?} has other than {} numbers",
                self.shape,
                numbers.len()
            )),
        }
    }
}

/// Numbers as they lie in a binary tensor, little-endian.
fn from_bytes(bytes: &[u8], input: InputKind) -> Result<Vec<f32>, Refusal> {
    match input {
        InputKind::Uint8 => Ok(bytes.iter().copied().map(f32::from).collect()),
        InputKind::Float32 => match bytes.as_chunks() {
            (numbers, []) => Ok(numbers.iter().copied().map(f32::from_le_bytes).collect()),
            _ => Err(Refusal::Invalid(format!(
                "{} bytes are no whole FP32 numbers",
                bytes.len()
            ))),
        },
    }
}

/// The numbers of an array, nested or not, row by row.
struct Flat(Vec<f64>);

impl Flat {
    fn numbers(self, input: InputKind) -> Result<Vec<f32>, Refusal> {
        let is_byte = |&number: &f64| number == f64::from(number as u8);
        if input == InputKind::Uint8 && !self.0.iter().all(is_byte) {
            return Err(Refusal::Invalid("UINT8 takes whole numbers from 0 to 255".into()));
        }
        Ok(self.0.into_iter().map(|number| number as f32).collect())
    }
}

impl<'de> Deserialize<'de> for Flat {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Flat, D::Error> {
        let mut numbers = Vec::new();
        deserializer.deserialize_seq(Into(&mut numbers))?;
        Ok(Flat(numbers))
    }
}

/// Adds what it reads to the numbers.
struct Into<'a>(&'a mut Vec<f64>);

impl<'de> serde::de::DeserializeSeed<'de> for Into<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Into<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("numbers, or arrays of them")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut rows: A) -> Result<(), A::Error> {
        while rows.next_element_seed(Into(self.0))?.is_some() {}
        Ok(())
    }

    fn visit_f64<E>(self, number: f64) -> Result<(), E> {
        self.0.push(number);
        Ok(())
    }

    fn visit_u64<E>(self, number: u64) -> Result<(), E> {
        self.0.push(number as f64);
        Ok(())
    }

    fn visit_i64<E>(self, number: i64) -> Result<(), E> {
        self.0.push(number as f64);
        Ok(())
    }
}

impl Answer {
    /// The response to a call.
    ///
    /// # Errors
    /// When JSON cannot hold the logits.
    pub fn write(self, model: &str, output: &str, logits: &[[f32; CLASSES]]) -> Result<Response, Refusal> {
        let numbers = logits.as_flattened();
        let mut tensor = json!({ "name": output, "datatype": "FP32", "shape": [logits.len(), CLASSES] });
        if self.binary {
            tensor["parameters"] = json!({ "binary_data_size": size_of_val(numbers) });
        } else if numbers.iter().all(|number| number.is_finite()) {
            tensor["data"] = json!(numbers);
        } else {
            return Err(Refusal::Invalid(
                "the logits of this input are not finite: ask for binary data".into(),
            ));
        }
        let mut answer = json!({ "model_name": model, "outputs": [tensor] });
        if let Some(id) = self.id {
            answer["id"] = id.into();
        }
        if !self.binary {
            return Ok(Json(answer).into_response());
        }
        let mut body = answer.to_string().into_bytes();
        let headers = [
            (header::CONTENT_TYPE, "application/octet-stream".to_owned()),
            (JSON_LENGTH, body.len().to_string()),
        ];
        body.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
        Ok((headers, body).into_response())
    }
}
