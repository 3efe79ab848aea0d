//! ONNX files: [`Model::from_bytes`] checks a file wholly at the door, [`Contract`] is what a file says of its digits.
//!
//! The door lets in one flat graph whose tensors all lie in the file: no external data, no subgraphs, no functions.
//! What passes is well formed; whether an engine knows its operators is the engine's affair.

pub mod proto;

use std::collections::{BTreeMap, HashSet};

use prost::Message;
use prost::bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::network::NetworkSpec;
use crate::weights::Training;
use crate::{CLASSES, SIDE, digit};
use proto::{
    AttributeProto, Dimension, DimensionProto, GraphProto, ModelProto, TensorProto, TensorShapeProto, TensorTypeProto,
    TypeProto, ValueInfoProto, attribute_type, data_type,
};

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
/// Largest batch that a graph may be fixed to.
pub const MAX_BATCH: usize = 4096;

/// Most nodes that a graph may have; ours has 20. tract's time to load grows with the square.
const MAX_NODES: usize = 1000;
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
            preprocessing: Preprocessing::new(input),
            labels: (0..CLASSES).map(|class| class.to_string()).collect(),
            network,
            training,
            weights_sha256,
        }
    }
}

impl Preprocessing {
    /// What this crate does with a picture.
    fn new(input: InputKind) -> Preprocessing {
        Preprocessing {
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
        }
    }
}

impl ModelProto {
    /// The file, with the fields that [`proto`] knows and no others; equal models give equal bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.encode_to_vec()
    }
}

impl TensorProto {
    /// A tensor of floats, flat in `values`.
    pub fn floats(name: &str, dims: &[usize], values: &[f32]) -> TensorProto {
        TensorProto {
            name: name.into(),
            dims: dims.iter().map(|&dim| dim as i64).collect(),
            data_type: data_type::FLOAT,
            raw_data: Some(crate::weights::le_bytes(values).into()),
            ..TensorProto::default()
        }
    }
}

impl ValueInfoProto {
    /// An input or output of a graph, `elem_type` as in [`data_type`].
    pub fn tensor(name: &str, elem_type: i32, dims: &[Dimension]) -> ValueInfoProto {
        let dim = dims.iter().cloned().map(|dim| DimensionProto { value: Some(dim) });
        let shape = Some(TensorShapeProto { dim: dim.collect() });
        let tensor_type = Some(TensorTypeProto { elem_type, shape });
        ValueInfoProto {
            name: name.into(),
            r#type: Some(TypeProto { tensor_type }),
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
#[non_exhaustive]
pub enum OnnxError {
    /// Larger than [`MAX_BYTES`].
    #[error("it has {0} bytes, more than the {MAX_BYTES} that are read")]
    TooLarge(u64),
    /// Not protobuf, or not ONNX's messages.
    #[error("it is not an ONNX file: {0}")]
    Decode(prost::DecodeError),
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
        let proto = ModelProto::decode(Bytes::copy_from_slice(bytes)).map_err(OnnxError::Decode)?;
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
        if value.name.is_empty() {
            return Err(malformed("an input has no name"));
        }
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

fn check_attribute(node: &str, attribute: &AttributeProto) -> Result<(), OnnxError> {
    use attribute_type::{FLOAT, FLOATS, INT, INTS, STRING, STRINGS, TENSOR};
    let name = &attribute.name;
    if let Some(tensor) = &attribute.t {
        check_tensor(tensor)?;
    }
    match attribute.r#type {
        TENSOR if attribute.t.is_none() => Err(malformed(format!("attribute {name:?} in node {node:?} has no tensor"))),
        FLOAT | INT | STRING | TENSOR | FLOATS | INTS | STRINGS => Ok(()),
        other => Err(OnnxError::Unsupported(format!(
            "attribute {name:?} of type {other} in node {node:?}"
        ))),
    }
}

/// The tensor lies in the file, has a known type, and as much data as its dimensions say; no float is NaN or infinite.
fn check_tensor(tensor: &TensorProto) -> Result<(), OnnxError> {
    let name = &tensor.name;
    if tensor.data_location != 0 || !tensor.external_data.is_empty() {
        return Err(OnnxError::Unsupported(format!("external data for tensor {name:?}")));
    }
    // Where the numbers lie if not in `raw_data`; doubles are read from there only.
    let (size, typed) = match tensor.data_type {
        data_type::FLOAT => (4, tensor.float_data.len()),
        data_type::UINT8 | data_type::INT8 => (1, tensor.int32_data.len()),
        data_type::INT32 => (4, tensor.int32_data.len()),
        data_type::INT64 => (8, tensor.int64_data.len()),
        data_type::DOUBLE => (8, 0),
        other => return Err(OnnxError::Unsupported(format!("data type {other} of tensor {name:?}"))),
    };
    let elements =
        elements(tensor).ok_or_else(|| malformed(format!("tensor {name:?} has dimensions {:?}", tensor.dims)))?;
    let whole = match &tensor.raw_data {
        Some(raw) => typed == 0 && elements.checked_mul(size) == Some(raw.len()),
        None => typed == elements,
    };
    if !whole {
        return Err(malformed(format!(
            "tensor {name:?} has dimensions {:?}, which its data does not fill exactly",
            tensor.dims
        )));
    }
    if is_finite(tensor) {
        Ok(())
    } else {
        Err(malformed(format!("tensor {name:?} holds NaN or infinity")))
    }
}

fn is_finite(tensor: &TensorProto) -> bool {
    let raw = tensor.raw_data.as_deref().unwrap_or_default();
    match tensor.data_type {
        data_type::FLOAT => {
            let raw = raw.as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes));
            raw.chain(tensor.float_data.iter().copied()).all(f32::is_finite)
        }
        data_type::DOUBLE => raw
            .as_chunks()
            .0
            .iter()
            .all(|&bytes| f64::from_le_bytes(bytes).is_finite()),
        _ => true,
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
    if let Some(fixed) = batch.filter(|fixed| !(1..=MAX_BATCH).contains(fixed)) {
        return Err(OnnxError::Signature(format!(
            "its batch is fixed to {fixed}, expected 1 to {MAX_BATCH}"
        )));
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
    if contract.preprocessing != Preprocessing::new(input) {
        return Err(OnnxError::Contract(
            "it wants digits made in another way than this program makes them".into(),
        ));
    }
    let temperature = contract.training.temperature;
    if !(temperature > 0.0 && temperature.is_finite()) {
        return Err(OnnxError::Contract(format!(
            "its temperature is {temperature}, expected a number over 0"
        )));
    }
    if contract.labels.len() != CLASSES {
        return Err(OnnxError::Contract(format!(
            "it has {} labels, expected {CLASSES}",
            contract.labels.len()
        )));
    }
    Ok(Some(contract))
}

#[cfg(test)]
mod tests {
    use proto::{NodeProto, OperatorSetIdProto, StringStringEntryProto};

    use super::*;

    fn node(op_type: &str, input: &[&str], output: &str) -> NodeProto {
        NodeProto {
            name: output.into(),
            op_type: op_type.into(),
            input: input.iter().map(|&name| name.into()).collect(),
            output: vec![output.into()],
            ..NodeProto::default()
        }
    }

    fn dims(fixed: &[i64]) -> Vec<Dimension> {
        let batch = Dimension::DimParam("batch".into());
        [batch]
            .into_iter()
            .chain(fixed.iter().map(|&n| Dimension::DimValue(n)))
            .collect()
    }

    fn contract() -> Contract {
        let training = Training {
            recipe: "published".into(),
            optimizer: "adam".into(),
            learning_rate: 0.001,
            batch_size: 64,
            epochs: 1,
            seed: 0,
            train_digits: 10,
            holdout: 0,
            test_accuracy: 0.5,
            test_loss: 1.0,
            temperature: 1.0,
        };
        Contract::new(InputKind::Float32, NetworkSpec::default(), training, "ab".into())
    }

    fn contract_entry(json: String) -> StringStringEntryProto {
        StringStringEntryProto {
            key: CONTRACT_KEY.into(),
            value: json,
        }
    }

    /// The smallest digit model: flatten, matrix product, bias.
    fn sample() -> ModelProto {
        let graph = GraphProto {
            node: vec![
                node("Flatten", &[INPUT], "flat"),
                node("MatMul", &["flat", "weight"], "product"),
                node("Add", &["product", "bias"], LOGITS),
            ],
            initializer: vec![
                TensorProto::floats("weight", &[784, 10], &[0.5; 7840]),
                TensorProto::floats("bias", &[10], &[0.0; 10]),
            ],
            input: vec![ValueInfoProto::tensor(INPUT, data_type::FLOAT, &dims(&[1, 28, 28]))],
            output: vec![ValueInfoProto::tensor(LOGITS, data_type::FLOAT, &dims(&[10]))],
            ..GraphProto::default()
        };
        ModelProto {
            ir_version: 8,
            graph: Some(graph),
            opset_import: vec![OperatorSetIdProto {
                domain: String::new(),
                version: 17,
            }],
            metadata_props: vec![contract_entry(serde_json::to_string(&contract()).unwrap())],
            ..ModelProto::default()
        }
    }

    fn read(change: impl FnOnce(&mut ModelProto, &mut GraphProto)) -> Result<Model, OnnxError> {
        let mut model = sample();
        let mut graph = model.graph.take().unwrap();
        change(&mut model, &mut graph);
        model.graph.get_or_insert(graph);
        Model::from_bytes(&model.to_bytes())
    }

    #[track_caller]
    fn check(change: impl FnOnce(&mut ModelProto, &mut GraphProto), expected: &str) {
        let error = read(change).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }

    #[track_caller]
    fn check_weight(change: impl FnOnce(&mut TensorProto), expected: &str) {
        check(|_, graph| change(&mut graph.initializer[0]), expected);
    }

    #[track_caller]
    fn check_contract(change: impl FnOnce(&mut serde_json::Value), expected: &str) {
        let mut json = serde_json::to_value(contract()).unwrap();
        change(&mut json);
        check(
            |model, _| model.metadata_props = vec![contract_entry(json.to_string())],
            expected,
        );
    }

    fn attribute(r#type: i32) -> AttributeProto {
        AttributeProto {
            name: "a".into(),
            r#type,
            ..AttributeProto::default()
        }
    }

    #[test]
    fn lets_in_a_digit_model() {
        let model = read(|_, _| {}).unwrap();
        assert_eq!(model.input, InputKind::Float32);
        assert_eq!((model.input_name.as_str(), model.logits_name.as_str()), (INPUT, LOGITS));
        assert_eq!(model.batch, None);
        assert_eq!(model.contract, Some(contract()));
        assert_eq!(model.parameters(), 7850);
        assert_eq!(model.opset(), Some(17));
        assert_eq!(
            model.operators(),
            BTreeMap::from([("Add", 1), ("Flatten", 1), ("MatMul", 1)])
        );
    }

    #[test]
    fn lets_in_what_other_writers_write() {
        let no_contract = read(|model, _| model.metadata_props.clear()).unwrap();
        assert_eq!(no_contract.contract, None);
        let other_names = read(|_, graph| {
            graph.input[0].name = "x".into();
            graph.node[0].input[0] = "x".into();
            graph.output[0].name = "y".into();
            graph.node[2].output[0] = "y".into();
        })
        .unwrap();
        assert_eq!(
            (other_names.input_name.as_str(), other_names.logits_name.as_str()),
            ("x", "y")
        );
        let repeated_initializer = |_: &mut ModelProto, graph: &mut GraphProto| {
            let dims = [Dimension::DimValue(10)];
            graph
                .input
                .push(ValueInfoProto::tensor("bias", data_type::FLOAT, &dims));
        };
        assert_eq!(read(repeated_initializer).unwrap().input_name, INPUT);
        let typed_data = |_: &mut ModelProto, graph: &mut GraphProto| {
            graph.initializer[1].raw_data = None;
            graph.initializer[1].float_data = vec![1.0; 10];
        };
        assert_eq!(read(typed_data).unwrap().parameters(), 7850);
    }

    #[test]
    fn reads_a_fixed_batch() {
        let fixed = |n| {
            read(move |_, graph| {
                for value in graph.input.iter_mut().chain(&mut graph.output) {
                    let shape = value.r#type.as_mut().unwrap().tensor_type.as_mut().unwrap();
                    shape.shape.as_mut().unwrap().dim[0].value = Some(Dimension::DimValue(n));
                }
            })
        };
        assert_eq!(fixed(4).unwrap().batch, Some(4));
        for n in [0, MAX_BATCH as i64 + 1, i64::MAX] {
            assert!(matches!(fixed(n), Err(OnnxError::Signature(_))), "{n}");
        }
    }

    #[test]
    fn refuses_what_is_no_onnx_file() {
        assert!(matches!(Model::from_bytes(b"<html>"), Err(OnnxError::Decode(_))));
        let whole = sample().to_bytes();
        assert!(matches!(
            Model::from_bytes(&whole[..whole.len() - 1]),
            Err(OnnxError::Decode(_))
        ));
        assert!(
            Model::from_bytes(&[])
                .unwrap_err()
                .to_string()
                .contains("there is none")
        );
        let large = vec![0; MAX_BYTES as usize + 1];
        assert!(matches!(Model::from_bytes(&large), Err(OnnxError::TooLarge(_))));
    }

    #[test]
    fn refuses_what_is_not_one_flat_graph() {
        const GRAPH: i32 = 5;
        check(|model, _| model.functions = vec![vec![]], "it uses functions");
        check(
            |_, graph| graph.sparse_initializer = vec![vec![]],
            "sparse initializers",
        );
        check(
            |_, graph| graph.node[0].attribute = vec![attribute(GRAPH)],
            r#"attribute "a" of type 5 in node "flat""#,
        );
        check(
            |_, graph| graph.node[0].attribute = vec![attribute(attribute_type::TENSOR)],
            r#"attribute "a" in node "flat" has no tensor"#,
        );
        check(
            |_, graph| graph.node = vec![NodeProto::default(); MAX_NODES + 1],
            "nodes are more than",
        );
    }

    #[test]
    fn refuses_tensors_outside_the_file() {
        let entry = |value: &str| StringStringEntryProto {
            key: "location".into(),
            value: value.into(),
        };
        check_weight(
            |tensor| tensor.external_data = vec![entry("../secret")],
            "external data",
        );
        check_weight(|tensor| tensor.data_location = 1, "external data");
        let mut hidden = attribute(attribute_type::TENSOR);
        hidden.t = Some(TensorProto {
            external_data: vec![entry("/etc/passwd")],
            ..TensorProto::default()
        });
        check(|_, graph| graph.node[0].attribute = vec![hidden], "external data");
    }

    #[test]
    fn refuses_tensors_that_contradict_themselves() {
        check_weight(|tensor| tensor.dims = vec![i64::MAX, 4], "has dimensions");
        check_weight(|tensor| tensor.dims = vec![i64::MAX], "does not fill exactly");
        check_weight(|tensor| tensor.dims = vec![-1, 10], "has dimensions");
        check_weight(|tensor| tensor.dims = vec![1; MAX_RANK + 1], "has dimensions");
        check_weight(
            |tensor| tensor.raw_data.as_mut().unwrap().truncate(9),
            "does not fill exactly",
        );
        check_weight(|tensor| tensor.raw_data = None, "does not fill exactly");
        check_weight(|tensor| tensor.float_data = vec![0.5; 7840], "does not fill exactly");
        check_weight(|tensor| tensor.data_type = data_type::INT64, "does not fill exactly");
        check_weight(
            |tensor| {
                tensor.raw_data = None;
                tensor.int32_data = vec![1; 7840];
            },
            "does not fill exactly",
        );
        check_weight(|tensor| tensor.data_type = 10, "data type 10");
    }

    #[test]
    fn refuses_numbers_that_are_not_finite() {
        let put = |tensor: &mut TensorProto, bytes: &[u8]| {
            let mut raw = tensor.raw_data.take().unwrap().to_vec();
            raw[..bytes.len()].copy_from_slice(bytes);
            tensor.raw_data = Some(raw.into());
        };
        check_weight(|tensor| put(tensor, &f32::NAN.to_le_bytes()), "NaN or infinity");
        check_weight(
            |tensor| put(tensor, &f32::NEG_INFINITY.to_le_bytes()),
            "NaN or infinity",
        );
        check_weight(
            |tensor| {
                tensor.data_type = data_type::DOUBLE;
                tensor.dims = vec![392, 10];
                put(tensor, &f64::INFINITY.to_le_bytes());
            },
            "NaN or infinity",
        );
        check_weight(
            |tensor| {
                tensor.raw_data = None;
                tensor.float_data = vec![f32::NAN; 7840];
            },
            "NaN or infinity",
        );
    }

    #[test]
    fn refuses_graphs_that_contradict_themselves() {
        check(
            |_, graph| graph.initializer[1].name = "weight".into(),
            "no name of its own",
        );
        check(|_, graph| graph.initializer[1].name.clear(), "no name of its own");
        check(
            |_, graph| graph.node[1].output[0] = "flat".into(),
            r#""flat" is made twice"#,
        );
        check(
            |_, graph| graph.node[1].output[0] = INPUT.into(),
            r#""input" is made twice"#,
        );
        check(
            |_, graph| graph.node[0].input[0] = "product".into(),
            r#"node "flat" reads "product", which nothing before it makes"#,
        );
        check(|_, graph| graph.node[1].input[1] = "no".into(), r#"reads "no""#);
        check(|_, graph| drop(graph.node.pop()), r#"output "logits" is never made"#);
        check(|_, graph| graph.input[0].name.clear(), "an input has no name");
        check(|model, _| model.graph = Some(GraphProto::default()), "it has 0 inputs");
    }

    #[test]
    fn refuses_what_is_no_digit_model() {
        let input = |elem_type, fixed: &[i64]| ValueInfoProto::tensor(INPUT, elem_type, &dims(fixed));
        let wide = input(data_type::FLOAT, &[3, 224, 224]);
        check(
            |_, graph| graph.input[0] = wide,
            "is float32 [?, 3, 224, 224], expected float32",
        );
        let bytes = input(data_type::UINT8, &[1, 28, 28]);
        check(|_, graph| graph.input[0] = bytes, "is uint8 [?, 1, 28, 28], expected");
        check(|_, graph| graph.input[0].r#type = None, "is type 0 []");
        check(
            |_, graph| graph.input.push(ValueInfoProto::default()),
            "an input has no name",
        );
        let second = ValueInfoProto::tensor("second", data_type::FLOAT, &[]);
        check(|_, graph| graph.input.push(second), "it has 2 inputs, expected one");
        let output = |elem_type, fixed: &[i64]| ValueInfoProto::tensor(LOGITS, elem_type, &dims(fixed));
        let more = output(data_type::FLOAT, &[11]);
        check(
            |_, graph| graph.output[0] = more,
            "is float32 [?, 11], expected float32 [batch, 10]",
        );
        let integers = output(data_type::INT64, &[10]);
        check(|_, graph| graph.output[0] = integers, "is int64 [?, 10]");
        check(
            |_, graph| {
                graph.output = ["flat", "product"]
                    .map(|name| ValueInfoProto::tensor(name, 1, &[]))
                    .into()
            },
            r#"no output is called "logits""#,
        );
        check(|_, graph| graph.output.clear(), r#"no output is called "logits""#);
    }

    #[test]
    fn refuses_contracts_that_it_cannot_keep() {
        check_contract(
            |json| json["version"] = 2.into(),
            "contract has version 2, this program reads version 1",
        );
        check_contract(|json| json["version"] = "1".into(), "it has no version");
        check_contract(|json| *json = serde_json::Value::Null, "it has no version");
        check_contract(
            |json| drop(json.as_object_mut().unwrap().remove("labels")),
            "missing field `labels`",
        );
        check_contract(
            |json| drop(json["labels"].as_array_mut().unwrap().pop()),
            "9 labels, expected 10",
        );
        check_contract(
            |json| json["preprocessing"]["dtype"] = "uint8".into(),
            "another input type",
        );
        check_contract(|json| json["preprocessing"]["mean"] = 0.5.into(), "in another way");
        check_contract(
            |json| json["training"]["temperature"] = 0.0.into(),
            "temperature is 0, expected a number over 0",
        );
        check(
            |model, _| model.metadata_props[0].value = "{".into(),
            "is not usable: EOF",
        );
    }

    /// The files in the folder `hostile_onnx` of `REALDIGITS`, each as its `expect.csv` says.
    #[test]
    fn meets_hostile_files() {
        let Some(folder) = std::env::var_os("REALDIGITS") else {
            return println!("skipped: REALDIGITS names no folder of hostile files");
        };
        let folder = std::path::Path::new(&folder).join("hostile_onnx");
        for line in std::fs::read_to_string(folder.join("expect.csv"))
            .unwrap()
            .lines()
            .skip(1)
        {
            let (name, expected) = line.split_once(',').unwrap();
            let model = Model::from_bytes(&std::fs::read(folder.join(name)).unwrap());
            let fits = match expected.trim_start_matches('"') {
                expected if expected.starts_with("loads;") => model.is_ok(),
                expected if expected.starts_with("clean error") => model.is_err(),
                _ => true,
            };
            assert!(fits, "{name}: {:?}", model.map(|model| model.input_name));
        }
    }
}
