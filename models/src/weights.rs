//! Weights on disk: a safetensors file with one tensor a parameter, checked strictly against the network.

use std::collections::{BTreeMap, HashMap};

use safetensors::tensor::{Dtype, TensorView};
use safetensors::{SafeTensorError, SafeTensors};
use serde::{Deserialize, Serialize};

use crate::artefact;
use crate::network::{Conv, NORM_EPSILON, NetworkSpec};

/// The one key in the file's `__metadata__`, so that the bytes do not depend on a map's order.
const HEADER_KEY: &str = "threeblock";

/// The tensors of a trained network, with what is known of their training.
#[derive(Clone, Debug, PartialEq)]
pub struct Weights {
    /// The network that these weights belong to.
    pub spec: NetworkSpec,
    /// How they came to be.
    pub training: Training,
    tensors: BTreeMap<String, Vec<f32>>,
}

/// How weights were trained: the settings, and what they reached.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Training {
    /// Name of the recipe, such as `best`; the settings below may differ from it.
    #[serde(default = "published", skip_serializing_if = "is_published")]
    pub recipe: String,
    /// Name of the optimizer, such as `adam`.
    pub optimizer: String,
    /// Learning rate; the peak, where it changes.
    pub learning_rate: f64,
    /// Digits a step.
    pub batch_size: usize,
    /// Passes over the training digits.
    pub epochs: usize,
    /// Seed of the initial weights, the order of the digits, and all that was drawn by chance.
    pub seed: u64,
    /// Number of training digits.
    pub train_digits: usize,
    /// Training digits that were held out, and stand for the test digits below; 0 where there are none.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub holdout: usize,
    /// Fraction of the test digits that were read right after the last epoch.
    pub test_accuracy: f64,
    /// Mean cross entropy on the test digits after the last epoch.
    pub test_loss: f64,
    /// Divides the logits before a softmax makes probabilities of them, which are then as sure as they are right
    /// (Guo et al. 2017). What held-out digits fit, or more where noise shall make the network less sure.
    #[serde(default = "uncalibrated", skip_serializing_if = "is_uncalibrated")]
    pub temperature: f64,
}

impl Training {
    /// Which digits the network was tested on: `test` or `held-out`.
    pub fn tested(&self) -> &'static str {
        tested(self.holdout > 0)
    }
}

/// What digits are called on which a network was tested.
pub fn tested(held_out: bool) -> &'static str {
    if held_out { "held-out" } else { "test" }
}

/// Weights that name no recipe are of the published one.
fn published() -> String {
    "published".into()
}

fn uncalibrated() -> f64 {
    1.0
}

fn is_uncalibrated(temperature: &f64) -> bool {
    *temperature == uncalibrated()
}

fn is_zero(n: &usize) -> bool {
    *n == 0
}

fn is_published(recipe: &str) -> bool {
    recipe == "published"
}

/// Why weights cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WeightsError {
    /// Not a safetensors file.
    #[error("not a safetensors file: {0}")]
    Format(SafeTensorError),
    /// The header does not name the network.
    #[error("the header has no key \"{HEADER_KEY}\" that names the network: was the file written by `trainer`?")]
    NoHeader,
    /// The header cannot be read.
    #[error("the header's key \"{HEADER_KEY}\" cannot be read: {0}")]
    Header(serde_json::Error),
    /// A tensor is missing.
    #[error("tensor {0} is missing")]
    Missing(String),
    /// The network has no such tensor.
    #[error("tensor {0} does not belong to the network")]
    Unknown(String),
    /// A tensor has another shape.
    #[error("tensor {name} has shape {found:?}, expected {expected:?}")]
    Shape {
        /// Name of the tensor.
        name: String,
        /// Shape in the file.
        found: Vec<usize>,
        /// Shape in the network.
        expected: Vec<usize>,
    },
    /// A tensor is not f32.
    #[error("tensor {name} has type {found:?}, expected F32")]
    Dtype {
        /// Name of the tensor.
        name: String,
        /// Type in the file.
        found: Dtype,
    },
    /// A number is NaN or infinite, or a variance is negative.
    #[error("tensor {name} holds {value} at index {index}: did the training diverge?")]
    Value {
        /// Name of the tensor.
        name: String,
        /// Index into the flat tensor.
        index: usize,
        /// The number.
        value: f32,
    },
}

#[derive(Serialize, Deserialize)]
struct Header {
    network: NetworkSpec,
    training: Training,
}

impl Weights {
    /// Takes the tensors of a network, each flat in PyTorch's order.
    ///
    /// # Errors
    /// When a tensor is missing, unknown, of another size, or holds a number that is not finite.
    pub fn new(
        spec: NetworkSpec,
        training: Training,
        tensors: BTreeMap<String, Vec<f32>>,
    ) -> Result<Weights, WeightsError> {
        let expected = spec.parameters();
        if let Some(name) = tensors.keys().find(|name| expected.iter().all(|p| p.name != **name)) {
            return Err(WeightsError::Unknown(name.clone()));
        }
        for parameter in expected {
            let Some(values) = tensors.get(&parameter.name) else {
                return Err(WeightsError::Missing(parameter.name));
            };
            if values.len() != parameter.shape.iter().product::<usize>() {
                return Err(WeightsError::Shape {
                    name: parameter.name,
                    found: vec![values.len()],
                    expected: parameter.shape,
                });
            }
            let variance = parameter.name.ends_with("running_var");
            let bad = |value: &f32| !value.is_finite() || (variance && *value < 0.0);
            if let Some(index) = values.iter().position(bad) {
                let value = values[index];
                return Err(WeightsError::Value {
                    name: parameter.name,
                    index,
                    value,
                });
            }
        }
        Ok(Weights {
            spec,
            training,
            tensors,
        })
    }

    /// Reads a safetensors file.
    ///
    /// # Errors
    /// When the file is no such file, does not name its network, or a tensor is missing, unknown, of another shape or
    /// type, or holds a number that is not finite.
    pub fn from_bytes(bytes: &[u8]) -> Result<Weights, WeightsError> {
        let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(WeightsError::Format)?;
        let header = metadata.metadata().as_ref().and_then(|map| map.get(HEADER_KEY));
        let header: Header =
            serde_json::from_str(header.ok_or(WeightsError::NoHeader)?).map_err(WeightsError::Header)?;
        let shapes: HashMap<_, _> = header
            .network
            .parameters()
            .into_iter()
            .map(|p| (p.name, p.shape))
            .collect();
        let mut tensors = BTreeMap::new();
        for (name, view) in SafeTensors::deserialize(bytes).map_err(WeightsError::Format)?.iter() {
            let name = name.to_owned();
            let Some(expected) = shapes.get(&name) else {
                return Err(WeightsError::Unknown(name));
            };
            if view.dtype() != Dtype::F32 {
                return Err(WeightsError::Dtype {
                    name,
                    found: view.dtype(),
                });
            }
            if view.shape() != expected {
                return Err(WeightsError::Shape {
                    name,
                    found: view.shape().to_vec(),
                    expected: expected.clone(),
                });
            }
            tensors.insert(name, floats(view.data()));
        }
        Weights::new(header.network, header.training, tensors)
    }

    /// The safetensors file; equal weights give equal bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let header = Header {
            network: self.spec,
            training: self.training.clone(),
        };
        let header = serde_json::to_string(&header).expect("plain fields always serialise");
        let parameters = self.spec.parameters();
        let bytes: Vec<Vec<u8>> = parameters.iter().map(|p| le_bytes(&self.tensors[&p.name])).collect();
        let views = parameters.into_iter().zip(&bytes).map(|(parameter, bytes)| {
            let view = TensorView::new(Dtype::F32, parameter.shape, bytes);
            (parameter.name, view.expect("checked when the weights were made"))
        });
        safetensors::serialize(views, Some(HashMap::from([(HEADER_KEY.to_owned(), header)])))
            .expect("the views are consistent")
    }

    /// SHA-256 of [`Weights::to_bytes`], which names these weights.
    pub fn sha256(&self) -> String {
        artefact::sha256(&self.to_bytes())
    }

    /// The flat tensor of a parameter.
    ///
    /// # Panics
    /// When the network has no parameter of this name.
    pub fn tensor(&self, name: &str) -> &[f32] {
        &self.tensors[name]
    }

    /// The convolution with its batch norm folded in: weight `[out, in, kernel, kernel]` and bias `[out]`, where
    /// `scale = gamma / sqrt(running_var + eps)`, `weight * scale` and `beta - running_mean * scale`.
    pub fn fold(&self, conv: &Conv) -> (Vec<f32>, Vec<f32>) {
        let norm = |tensor: &str| self.tensor(&format!("{}.{tensor}", conv.norm));
        let (gamma, beta) = (norm("weight"), norm("bias"));
        let (mean, var) = (norm("running_mean"), norm("running_var"));
        let weight = self.tensor(&format!("{}.weight", conv.name));
        let mut folded = Vec::with_capacity(weight.len());
        let mut bias = Vec::with_capacity(conv.out_channels);
        for (out, kernels) in weight.chunks(weight.len() / conv.out_channels).enumerate() {
            let scale = f64::from(gamma[out]) / (f64::from(var[out]) + NORM_EPSILON).sqrt();
            folded.extend(kernels.iter().map(|&w| (f64::from(w) * scale) as f32));
            bias.push((f64::from(beta[out]) - f64::from(mean[out]) * scale) as f32);
        }
        (folded, bias)
    }
}

/// Little-endian bytes of `values`, as safetensors and ONNX store them.
pub fn le_bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

/// The inverse of [`le_bytes`]; bytes past the last whole float are left out.
pub fn floats(bytes: &[u8]) -> Vec<f32> {
    let (chunks, _) = bytes.as_chunks::<4>();
    chunks.iter().map(|&chunk| f32::from_le_bytes(chunk)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> (NetworkSpec, Training, BTreeMap<String, Vec<f32>>) {
        let spec = NetworkSpec::default();
        let tensors = spec
            .parameters()
            .into_iter()
            .map(|p| (p.name, (0..p.shape.iter().product()).map(|i| (i % 7) as f32).collect()))
            .collect();
        let training = Training {
            recipe: "best".into(),
            optimizer: "adam".into(),
            learning_rate: 0.001,
            batch_size: 64,
            epochs: 1,
            seed: 0,
            train_digits: 10,
            holdout: 0,
            test_accuracy: 0.5,
            test_loss: 0.10685856677927077,
            temperature: 0.8,
        };
        (spec, training, tensors)
    }

    #[track_caller]
    fn check(change: impl FnOnce(&mut BTreeMap<String, Vec<f32>>), expected: &str) {
        let (spec, training, mut tensors) = sample();
        change(&mut tensors);
        let error = Weights::new(spec, training, tensors).unwrap_err();
        assert_eq!(error.to_string(), expected);
    }

    #[test]
    fn survives_a_round_trip_with_equal_bytes() {
        let (spec, training, tensors) = sample();
        let weights = Weights::new(spec, training, tensors).unwrap();
        let bytes = weights.to_bytes();
        let again = Weights::from_bytes(&bytes).unwrap();
        assert_eq!(again, weights);
        assert_eq!(again.to_bytes(), bytes);
    }

    #[test]
    fn only_held_out_digits_are_named() {
        let (_, training, _) = sample();
        let held_out = Training {
            holdout: 5,
            ..training.clone()
        };
        let json = |training: &Training| serde_json::to_string(training).unwrap();
        assert!(!json(&training).contains("holdout"), "older files keep their bytes");
        for training in [training, held_out] {
            assert_eq!(serde_json::from_str::<Training>(&json(&training)).unwrap(), training);
        }
    }

    #[test]
    fn names_what_is_wrong() {
        check(|t| drop(t.remove("fc.bias")), "tensor fc.bias is missing");
        check(
            |t| drop(t.insert("fc2.bias".into(), vec![0.0])),
            "tensor fc2.bias does not belong to the network",
        );
        check(
            |t| t.get_mut("fc.bias").unwrap().truncate(9),
            "tensor fc.bias has shape [9], expected [10]",
        );
        check(
            |t| t.get_mut("fc.bias").unwrap()[3] = f32::NAN,
            "tensor fc.bias holds NaN at index 3: did the training diverge?",
        );
        check(
            |t| t.get_mut("block1.bn1.running_var").unwrap()[0] = -1.0,
            "tensor block1.bn1.running_var holds -1 at index 0: did the training diverge?",
        );
    }

    #[test]
    fn refuses_other_files_shapes_and_types() {
        assert!(matches!(Weights::from_bytes(b"no"), Err(WeightsError::Format(_))));
        let (spec, training, _) = sample();
        let header = serde_json::to_string(&Header {
            network: spec,
            training,
        })
        .unwrap();
        let file = |dtype, shape: &[usize], bytes: &[u8]| {
            let view = TensorView::new(dtype, shape.to_vec(), bytes).unwrap();
            let metadata = HashMap::from([(HEADER_KEY.to_owned(), header.clone())]);
            Weights::from_bytes(&safetensors::serialize([("fc.bias", view)], Some(metadata)).unwrap()).unwrap_err()
        };
        assert!(matches!(file(Dtype::F16, &[10], &[0; 20]), WeightsError::Dtype { .. }));
        assert!(matches!(
            file(Dtype::F32, &[2, 5], &[0; 40]),
            WeightsError::Shape { .. }
        ));
        let bare = safetensors::serialize(Vec::<(&str, TensorView)>::new(), None).unwrap();
        assert!(matches!(Weights::from_bytes(&bare), Err(WeightsError::NoHeader)));
    }

    #[test]
    fn folds_the_norm_into_the_convolution() {
        let (spec, training, mut tensors) = sample();
        for (name, value) in [
            ("weight", 3.0),
            ("bias", 0.5),
            ("running_mean", 2.0),
            ("running_var", 4.0),
        ] {
            tensors.get_mut(&format!("block1.bn1.{name}")).unwrap().fill(value);
        }
        let weights = Weights::new(spec, training, tensors).unwrap();
        let conv = Conv {
            name: "block1.conv1".into(),
            norm: "block1.bn1".into(),
            in_channels: 1,
            out_channels: 16,
            kernel_size: 3,
            stride: 1,
            padding: 1,
        };
        let (weight, bias) = weights.fold(&conv);
        let scale = 3.0 / (4.0 + NORM_EPSILON).sqrt();
        assert_eq!(weight[1], scale as f32);
        assert_eq!(bias, vec![(0.5 - 2.0 * scale) as f32; 16]);
    }
}
