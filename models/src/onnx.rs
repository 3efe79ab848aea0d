//! ONNX files: [`Model::from_bytes`] checks a file wholly at the door, [`Contract`] is what a file says of its digits.
//!
//! The door lets in one flat graph whose tensors all lie in the file: no external data, no subgraphs, no functions.
//! What passes is well formed; whether an engine knows its operators is the engine's affair.

pub mod proto;

use std::collections::{BTreeMap, HashSet};

use prost::Message;
use serde::{Deserialize, Serialize};

use crate::network::NetworkSpec;
use crate::weights::Training;
use crate::{CLASSES, SIDE, digit};
use proto::{Dimension, GraphProto, ModelProto, TensorProto, ValueInfoProto, data_type};

/// Key of the contract in `metadata_props`.
pub const CONTRACT_KEY: &str = "threeblock.contract";
/// The contract's version that this code writes, and the only one that it reads.
pub const CONTRACT_VERSION: u32 = 1;
/// Name of the graph's input.
pub const INPUT: &str = "input";
/// Name of the graph's output of logits, `[batch, CLASSES]`.
pub const LOGITS: &str = "logits";
/// Largest file that is read.
pub const MAX_BYTES: u64 = 64 << 20;

/// Most nodes that a graph may have; ours has 20.
const MAX_NODES: usize = 4096;
/// Highest rank of a tensor.
const MAX_RANK: usize = 8;

/// Type of the numbers that the graph's input takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum InputKind {
    /// Normalised floats, `[batch, 1, 28, 28]`.
    Float32,
    /// Raw bytes, `[batch, 28, 28]`; the graph normalises them itself.
    Uint8,
}

/// What a file says of itself, as JSON under [`CONTRACT_KEY`]: how a picture becomes its input, and what the answer means.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Contract {
    /// [`CONTRACT_VERSION`].
    pub version: u32,
    /// How a picture becomes the input.
    pub preprocessing: Preprocessing,
    /// Name of each class, in the order of the logits.
    pub labels: Vec<String>,
    /// The network's choices.
    pub network: NetworkSpec,
    /// How it was trained.
    pub training: Training,
    /// SHA-256 of the weights file that was exported.
    pub weights_sha256: String,
}

/// How a picture becomes the input, so that any program can do it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Preprocessing {
    /// `light-on-dark`: ink is bright, the ground is black.
    pub polarity: String,
    /// Height and width of the picture.
    pub side: usize,
    /// Longer side of the ink's bounding box, in pixels.
    pub ink_box: usize,
    /// Row and column of the ink's centre of mass, pixel centres counted from 0.
    pub center_of_mass: f64,
    /// Type of the input's numbers.
    pub dtype: InputKind,
    /// Axes of the input.
    pub layout: String,
    /// Subtracted from `byte / 255`.
    pub mean: f32,
    /// Divides the difference.
    pub std: f32,
}

impl Contract {
    /// The contract of a network that was trained on digits as [`crate::glyph`] makes them.
    pub fn new(input: InputKind, network: NetworkSpec, training: Training, weights_sha256: String) -> Contract {
        Contract {
            version: CONTRACT_VERSION,
            preprocessing: Preprocessing {
                polarity: "light-on-dark".into(),
                side: SIDE,
                ink_box: crate::glyph::INK_BOX,
                center_of_mass: crate::glyph::CENTER,
                dtype: input,
                layout: match input {
                    InputKind::Float32 => "NCHW".into(),
                    InputKind::Uint8 => "NHW".into(),
                },
                mean: digit::MEAN,
                std: digit::STD,
            },
            labels: (0..CLASSES).map(|class| class.to_string()).collect(),
            network,
            training,
            weights_sha256,
        }
    }
}

/// A file that passed the door.
#[derive(Clone, Debug)]
pub struct Model {
    /// The decoded file.
    pub proto: ModelProto,
    /// What the input takes.
    pub input: InputKind,
    /// Name of the input.
    pub input_name: String,
    /// The only batch that the graph takes; `None` where it takes any.
    pub batch: Option<usize>,
    /// Name of the output of logits.
    pub logits_name: String,
    /// What the file says of itself; `None` in a file that we did not write.
    pub contract: Option<Contract>,
}

/// Why a file is no usable model.
#[derive(Debug, thiserror::Error)]
pub enum OnnxError {
    /// Larger than [`MAX_BYTES`].
    #[error("it has {0} bytes, more than the {MAX_BYTES} that are read")]
    TooLarge(u64),
    /// Not protobuf, or not ONNX's messages.
    #[error("it is not an ONNX file: {0}")]
    Decode(#[from] prost::DecodeError),
    /// Something of ONNX that we do not take.
    #[error("it uses {0}, which is not supported: export one flat graph with its tensors inside")]
    Unsupported(String),
    /// The graph contradicts itself.
    #[error("its graph is malformed: {0}")]
    Malformed(String),
    /// The graph is no digit model.
    #[error("it is no digit model: {0}")]
    Signature(String),
    /// The contract is of another version.
    #[error(
        "its metadata contract has version {found}, this program reads version {CONTRACT_VERSION}: use the matching release"
    )]
    ContractVersion {
        /// In the file.
        found: u64,
    },
    /// The contract cannot be read or contradicts the graph.
    #[error("its metadata contract \"{CONTRACT_KEY}\" is not usable: {0}")]
    Contract(String),
}

impl Model {
    /// Decodes and checks a file.
    ///
    /// # Errors
    /// When the file is too large, no ONNX file, uses what is not supported, contradicts itself, does not map digits
    /// `[batch, 1, 28, 28]` f32 or `[batch, 28, 28]` u8 to `[batch, 10]` f32, or has a contract of another version.
    pub fn from_bytes(bytes: &[u8]) -> Result<Model, OnnxError> {
        if bytes.len() as u64 > MAX_BYTES {
            return Err(OnnxError::TooLarge(bytes.len() as u64));
        }
        let proto = ModelProto::decode(bytes)?;
        if !proto.functions.is_empty() {
            return Err(OnnxError::Unsupported("functions".into()));
        }
        let graph = proto.graph.as_ref().ok_or_else(|| malformed("there is none"))?;
        check_graph(graph)?;
        let (input_name, input, batch) = input(graph)?;
        let logits_name = logits(graph, batch)?;
        let contract = contract(&proto, input)?;
        Ok(Model {
            input,
            input_name,
            batch,
            logits_name,
            contract,
            proto,
        })
    }

    /// The checked graph.
    pub fn graph(&self) -> &GraphProto {
        self.proto.graph.as_ref().expect("checked at the door")
    }

    /// How many nodes there are of each operator.
    pub fn operators(&self) -> BTreeMap<&str, usize> {
        let mut counts = BTreeMap::new();
        for node in &self.graph().node {
            *counts.entry(node.op_type.as_str()).or_default() += 1;
        }
        counts
    }

    /// Numbers in all initializers together.
    pub fn parameters(&self) -> usize {
        self.graph()
            .initializer
            .iter()
            .map(|tensor| elements(tensor).expect("checked at the door"))
            .sum()
    }

    /// Version of the default operator set.
    pub fn opset(&self) -> Option<i64> {
        let default = |domain: &str| domain.is_empty() || domain == "ai.onnx";
        self.proto
            .opset_import
            .iter()
            .find(|set| default(&set.domain))
            .map(|set| set.version)
    }
}

fn malformed(what: impl Into<String>) -> OnnxError {
    OnnxError::Malformed(what.into())
}

/// Tensors are inside and whole, names are unique, and every value is made before it is used.
fn check_graph(graph: &GraphProto) -> Result<(), OnnxError> {
    if graph.node.len() > MAX_NODES {
        return Err(malformed(format!(
            "{} nodes are more than {MAX_NODES}",
            graph.node.len()
        )));
    }
    if !graph.sparse_initializer.is_empty() {
        return Err(OnnxError::Unsupported("sparse initializers".into()));
    }
    let mut known = HashSet::new();
    for tensor in &graph.initializer {
        check_tensor(tensor)?;
        if tensor.name.is_empty() || !known.insert(tensor.name.as_str()) {
            return Err(malformed(format!(
                "initializer {:?} has no name of its own",
                tensor.name
            )));
        }
    }
    for value in &graph.input {
        // Files of IR 3 and before repeat their initializers among the inputs.
        known.insert(value.name.as_str());
    }
    for node in &graph.node {
        for attribute in &node.attribute {
            check_attribute(&node.name, attribute)?;
        }
        if let Some(name) = node
            .input
            .iter()
            .find(|name| !name.is_empty() && !known.contains(name.as_str()))
        {
            return Err(malformed(format!(
                "node {:?} reads {name:?}, which nothing before it makes",
                node.name
            )));
        }
        for name in node.output.iter().filter(|name| !name.is_empty()) {
            if !known.insert(name) {
                return Err(malformed(format!("{name:?} is made twice")));
            }
        }
    }
    match graph.output.iter().find(|output| !known.contains(output.name.as_str())) {
        Some(output) => Err(malformed(format!("output {:?} is never made", output.name))),
        None => Ok(()),
    }
}

fn check_attribute(node: &str, attribute: &proto::AttributeProto) -> Result<(), OnnxError> {
    use proto::attribute_type::{FLOAT, FLOATS, INT, INTS, STRING, STRINGS, TENSOR};
    if let Some(tensor) = &attribute.t {
        check_tensor(tensor)?;
    }
    match attribute.r#type {
        FLOAT | INT | STRING | TENSOR | FLOATS | INTS | STRINGS => Ok(()),
        other => {
            let name = &attribute.name;
            Err(OnnxError::Unsupported(format!(
                "attribute {name:?} of type {other} in node {node:?}"
            )))
        }
    }
}

/// The tensor lies in the file, has a known type, and as much data as its dimensions say; no float is NaN or infinite.
fn check_tensor(tensor: &TensorProto) -> Result<(), OnnxError> {
    let name = &tensor.name;
    if tensor.data_location != 0 || !tensor.external_data.is_empty() {
        return Err(OnnxError::Unsupported(format!("external data for tensor {name:?}")));
    }
    let size = match tensor.data_type {
        data_type::UINT8 | data_type::INT8 => 1,
        data_type::FLOAT | data_type::INT32 => 4,
        data_type::INT64 | data_type::DOUBLE => 8,
        other => return Err(OnnxError::Unsupported(format!("data type {other} of tensor {name:?}"))),
    };
    let elements =
        elements(tensor).ok_or_else(|| malformed(format!("tensor {name:?} has dimensions {:?}", tensor.dims)))?;
    let (found, unit) = match &tensor.raw_data {
        Some(raw) => (raw.len(), size),
        None => (
            tensor.float_data.len() + tensor.int32_data.len() + tensor.int64_data.len(),
            1,
        ),
    };
    if elements.checked_mul(unit) != Some(found) {
        return Err(malformed(format!(
            "tensor {name:?} has dimensions {:?}, which its data does not fill",
            tensor.dims
        )));
    }
    let raw = tensor
        .raw_data
        .as_deref()
        .filter(|_| tensor.data_type == data_type::FLOAT);
    let finite = tensor.float_data.iter().all(|value| value.is_finite())
        && raw.is_none_or(|raw| crate::weights::floats(raw).iter().all(|value| value.is_finite()));
    if finite {
        Ok(())
    } else {
        Err(malformed(format!("tensor {name:?} holds NaN or infinity")))
    }
}

/// Product of the dimensions; `None` where one is negative, there are too many, or they overflow.
fn elements(tensor: &TensorProto) -> Option<usize> {
    if tensor.dims.len() > MAX_RANK {
        return None;
    }
    tensor
        .dims
        .iter()
        .try_fold(1usize, |product, &dim| product.checked_mul(usize::try_from(dim).ok()?))
}

/// Name, type and fixed batch of the one input that is no initializer.
fn input(graph: &GraphProto) -> Result<(String, InputKind, Option<usize>), OnnxError> {
    let initializers: HashSet<_> = graph.initializer.iter().map(|tensor| tensor.name.as_str()).collect();
    let inputs: Vec<_> = graph
        .input
        .iter()
        .filter(|value| !initializers.contains(value.name.as_str()))
        .collect();
    let [value] = inputs[..] else {
        return Err(OnnxError::Signature(format!(
            "it has {} inputs, expected one",
            inputs.len()
        )));
    };
    let (elem_type, dims) = tensor_type(value);
    let (kind, batch) = match (elem_type, &dims[..]) {
        (data_type::FLOAT, [batch, Some(1), Some(SIDE), Some(SIDE)]) => (InputKind::Float32, *batch),
        (data_type::UINT8, [batch, Some(SIDE), Some(SIDE)]) => (InputKind::Uint8, *batch),
        _ => {
            let found = describe(elem_type, &dims);
            let message = format!(
                "input {:?} is {found}, expected float32 [batch, 1, 28, 28] or uint8 [batch, 28, 28]",
                value.name
            );
            return Err(OnnxError::Signature(message));
        }
    };
    if batch == Some(0) {
        return Err(OnnxError::Signature("its batch is 0".into()));
    }
    Ok((value.name.clone(), kind, batch))
}

/// Name of the output of logits: the one called [`LOGITS`], or the only one.
fn logits(graph: &GraphProto, batch: Option<usize>) -> Result<String, OnnxError> {
    let named = graph.output.iter().find(|output| output.name == LOGITS);
    let output = match (named, &graph.output[..]) {
        (Some(output), _) | (None, [output]) => output,
        _ => return Err(OnnxError::Signature(format!("no output is called {LOGITS:?}"))),
    };
    let (elem_type, dims) = tensor_type(output);
    match (elem_type, &dims[..]) {
        (data_type::FLOAT, [n, Some(CLASSES)]) if *n == batch || n.is_none() => Ok(output.name.clone()),
        _ => {
            let found = describe(elem_type, &dims);
            Err(OnnxError::Signature(format!(
                "output {:?} is {found}, expected float32 [batch, 10]",
                output.name
            )))
        }
    }
}

/// Element type and dimensions of a value; `None` for a dimension that is not a fixed number.
fn tensor_type(value: &ValueInfoProto) -> (i32, Vec<Option<usize>>) {
    let Some(tensor) = value.r#type.as_ref().and_then(|t| t.tensor_type.as_ref()) else {
        return (0, Vec::new());
    };
    let dims = tensor.shape.iter().flat_map(|shape| &shape.dim);
    let dims = dims.map(|dim| match dim.value {
        Some(Dimension::DimValue(n)) => usize::try_from(n).ok(),
        _ => None,
    });
    (tensor.elem_type, dims.collect())
}

fn describe(elem_type: i32, dims: &[Option<usize>]) -> String {
    let name = match elem_type {
        data_type::FLOAT => "float32".to_owned(),
        data_type::UINT8 => "uint8".to_owned(),
        data_type::INT64 => "int64".to_owned(),
        other => format!("type {other}"),
    };
    let dims: Vec<_> = dims
        .iter()
        .map(|dim| dim.map_or("?".to_owned(), |n| n.to_string()))
        .collect();
    format!("{name} [{}]", dims.join(", "))
}

fn contract(proto: &ModelProto, input: InputKind) -> Result<Option<Contract>, OnnxError> {
    let Some(entry) = proto.metadata_props.iter().find(|entry| entry.key == CONTRACT_KEY) else {
        return Ok(None);
    };
    let unusable = |error: serde_json::Error| OnnxError::Contract(error.to_string());
    let json: serde_json::Value = serde_json::from_str(&entry.value).map_err(unusable)?;
    match json.get("version").and_then(serde_json::Value::as_u64) {
        Some(version) if version == u64::from(CONTRACT_VERSION) => {}
        Some(found) => return Err(OnnxError::ContractVersion { found }),
        None => return Err(OnnxError::Contract("it has no version".into())),
    }
    let contract: Contract = serde_json::from_value(json).map_err(unusable)?;
    if contract.preprocessing.dtype != input {
        return Err(OnnxError::Contract("it names another input type than the graph".into()));
    }
    Ok(Some(contract))
}
