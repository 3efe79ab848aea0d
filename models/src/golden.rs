//! Golden digits: test digits with the logits that libtorch computed for them, which every engine must reproduce.

use std::collections::HashMap;

use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};

use crate::weights::{floats, le_bytes};
use crate::{CLASSES, Digit, PIXELS, SIDE};

/// Largest difference of a logit that counts as equal.
pub const TOLERANCE: f32 = 1e-4;

/// Fewest digits that prove an export: those of the largest batch that it is tried at.
pub const MIN_DIGITS: usize = 64;

/// Digits, their labels, and the logits of one network for them.
#[derive(Clone, Debug, PartialEq)]
pub struct Golden {
    /// SHA-256 of the weights file that gave the logits.
    pub weights_sha256: String,
    /// The digits.
    pub digits: Vec<Digit>,
    /// The digit that each shows.
    pub labels: Vec<u8>,
    /// `[digits, CLASSES]`.
    pub logits: Vec<f32>,
}

/// Why a golden file cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GoldenError {
    /// Not a safetensors file, or a tensor is missing.
    #[error("not a golden file: {0}")]
    Format(safetensors::SafeTensorError),
    /// A tensor has another shape or type.
    #[error("tensor {name} has type {dtype:?} and shape {shape:?}, which is not what a golden file has")]
    Tensor {
        /// Name of the tensor.
        name: &'static str,
        /// Type in the file.
        dtype: Dtype,
        /// Shape in the file.
        shape: Vec<usize>,
    },
    /// The file does not say which weights it belongs to.
    #[error("the header does not say which weights the logits belong to")]
    NoWeights,
    /// A label is over 9.
    #[error("label {0} is no digit")]
    Label(u8),
}

impl Golden {
    /// Reads a golden file: `digits` u8 `[n, 28, 28]`, `labels` u8 `[n]`, `logits` f32 `[n, 10]`.
    ///
    /// # Errors
    /// When the file has another format, a tensor is missing or has another shape or type, or a label is over 9.
    pub fn from_bytes(bytes: &[u8]) -> Result<Golden, GoldenError> {
        let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(GoldenError::Format)?;
        let weights_sha256 = metadata
            .metadata()
            .as_ref()
            .and_then(|map| map.get("weights_sha256").cloned());
        let file = SafeTensors::deserialize(bytes).map_err(GoldenError::Format)?;
        let labels = file.tensor("labels").map_err(GoldenError::Format)?;
        let n = labels.shape().first().copied().unwrap_or(0);
        let tensor = |name, dtype, shape: &[usize]| {
            let view = file.tensor(name).map_err(GoldenError::Format)?;
            if view.dtype() != dtype || view.shape() != shape {
                let shape = view.shape().to_vec();
                return Err(GoldenError::Tensor {
                    name,
                    dtype: view.dtype(),
                    shape,
                });
            }
            Ok(view.data())
        };
        let (digits, _) = tensor("digits", Dtype::U8, &[n, SIDE, SIDE])?.as_chunks::<PIXELS>();
        let labels = tensor("labels", Dtype::U8, &[n])?.to_vec();
        if let Some(&label) = labels.iter().find(|&&label| usize::from(label) >= CLASSES) {
            return Err(GoldenError::Label(label));
        }
        Ok(Golden {
            weights_sha256: weights_sha256.ok_or(GoldenError::NoWeights)?,
            digits: digits.iter().copied().map(Digit).collect(),
            labels,
            logits: floats(tensor("logits", Dtype::F32, &[n, CLASSES])?),
        })
    }

    /// The golden file.
    pub fn to_bytes(&self) -> Vec<u8> {
        let n = self.digits.len();
        let digits: Vec<u8> = self.digits.iter().flat_map(|digit| digit.0).collect();
        let logits = le_bytes(&self.logits);
        let view = |dtype, shape: &[usize], bytes| {
            TensorView::new(dtype, shape.to_vec(), bytes).expect("one label and ten logits a digit")
        };
        let tensors = [
            ("digits", view(Dtype::U8, &[n, SIDE, SIDE], &digits)),
            ("labels", view(Dtype::U8, &[n], &self.labels)),
            ("logits", view(Dtype::F32, &[n, CLASSES], &logits)),
        ];
        let metadata = HashMap::from([("weights_sha256".to_owned(), self.weights_sha256.clone())]);
        safetensors::serialize(tensors, Some(metadata)).expect("the views are consistent")
    }

    /// Holds `logits` `[digits, CLASSES]` of another engine against these.
    ///
    /// # Panics
    /// When there are more or fewer.
    pub fn compare(&self, logits: &[f32]) -> Comparison {
        assert_eq!(logits.len(), self.logits.len(), "ten logits a digit");
        let difference = |(&a, &b): (&f32, &f32)| (a - b).abs();
        let rows = || logits.chunks(CLASSES).zip(self.logits.chunks(CLASSES));
        Comparison {
            digits: self.digits.len(),
            // `f32::max` would drop a NaN, which must count as a difference.
            max_difference: logits
                .iter()
                .zip(&self.logits)
                .map(difference)
                .fold(0.0, |max, d| if d.is_nan() || d > max { d } else { max }),
            argmax_differs: rows().filter(|(a, b)| argmax(a) != argmax(b)).count(),
        }
    }
}

/// How far an engine is from the golden logits.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Comparison {
    /// Digits compared.
    pub digits: usize,
    /// Largest difference of a logit; NaN where one is NaN.
    pub max_difference: f32,
    /// Digits that are read differently.
    pub argmax_differs: usize,
}

impl Comparison {
    /// Whether every logit is within [`TOLERANCE`] and every digit is read alike.
    pub fn is_equal(&self) -> bool {
        self.max_difference <= TOLERANCE && self.argmax_differs == 0
    }
}

impl std::fmt::Display for Comparison {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Comparison {
            digits,
            max_difference,
            argmax_differs,
        } = self;
        let equal = digits - argmax_differs;
        write!(
            f,
            "max |difference| {max_difference:.1e}, same digit {equal} of {digits}"
        )
    }
}

/// Index of the largest number; the first of equal ones.
pub fn argmax(values: &[f32]) -> usize {
    let mut best = 0;
    for (index, value) in values.iter().enumerate() {
        if *value > values[best] {
            best = index;
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Golden {
        Golden {
            weights_sha256: "ab".into(),
            digits: vec![Digit([7; PIXELS]); 2],
            labels: vec![3, 4],
            logits: (0..20).map(|i| i as f32).collect(),
        }
    }

    #[test]
    fn survives_a_round_trip() {
        let golden = sample();
        assert_eq!(Golden::from_bytes(&golden.to_bytes()).unwrap(), golden);
    }

    #[test]
    fn tells_equal_from_different() {
        let golden = sample();
        let mut logits = golden.logits.clone();
        assert!(golden.compare(&logits).is_equal());
        logits[0] += 1e-3;
        assert!(!golden.compare(&logits).is_equal());
        logits[0] = f32::NAN;
        assert!(!golden.compare(&logits).is_equal());
        logits[0] = 99.0;
        assert_eq!(golden.compare(&logits).argmax_differs, 1);
    }

    #[test]
    fn refuses_a_label_that_is_no_digit() {
        let mut golden = sample();
        golden.labels[1] = 200;
        let error = Golden::from_bytes(&golden.to_bytes()).unwrap_err();
        assert!(matches!(error, GoldenError::Label(200)), "{error}");
    }

    #[test]
    fn refuses_another_shape() {
        let bytes = 0f32.to_le_bytes();
        let view = |shape: &[usize]| TensorView::new(Dtype::F32, shape.to_vec(), &bytes).unwrap();
        let file = safetensors::serialize([("labels", view(&[1])), ("digits", view(&[1]))], None).unwrap();
        assert!(matches!(
            Golden::from_bytes(&file),
            Err(GoldenError::Tensor { name: "digits", .. })
        ));
    }
}
