//! Weights become an ONNX model: [`Ops`] that record a node for each operation that the network asks for.
//!
//! A value is named after the node that makes it, and a node after its layer: `block1.conv1`, `block1.conv1.relu`.

use models::network::{Activation, Conv, Linear, NORM_EPSILON, Ops};
use models::onnx::proto::{
    AttributeProto, Dimension, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, StringStringEntryProto,
    TensorProto, ValueInfoProto, attribute_type, data_type,
};
use models::onnx::{CONTRACT_KEY, Contract, INPUT, InputKind, LOGITS};
use models::weights::Weights;
use models::{CLASSES, SIDE, digit};

use crate::quantize::{Range, quantize_rows};

/// Name of the second output, the softmax of the logits, `[batch, CLASSES]`.
pub const PROBABILITIES: &str = "probabilities";

const IR_VERSION: i64 = 8;
const OPSET: i64 = 17;

/// What of the graph may be chosen.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// Whether batch norms are folded into the convolutions before them.
    pub fold_norms: bool,
    /// The only batch that the graph takes; `None` for any.
    pub batch: Option<usize>,
    /// What the input takes.
    pub input: InputKind,
    /// Whether there is a second output [`PROBABILITIES`].
    pub softmax: bool,
    /// Ranges of the input and of each activation, for a graph in int8, whose batch norms are folded; empty for floats.
    pub ranges: Vec<Range>,
}

impl Default for Options {
    /// Folded batch norms, any batch, normalised floats, logits only.
    fn default() -> Self {
        Options {
            fold_norms: true,
            batch: None,
            input: InputKind::Float32,
            softmax: false,
            ranges: Vec::new(),
        }
    }
}

/// The ONNX model of `weights`; equal weights and options give equal bytes.
pub fn export(weights: &Weights, options: &Options) -> ModelProto {
    let mut recorder = Recorder {
        weights,
        fold_norms: options.fold_norms || !options.ranges.is_empty(),
        ranges: options.ranges.iter(),
        quantizes: !options.ranges.is_empty(),
        graph: GraphProto {
            name: "threeblock".into(),
            ..GraphProto::default()
        },
    };
    let input = recorder.input(options);
    weights.spec.forward(&mut recorder, input);
    recorder.outputs(options, weights.training.temperature);
    ModelProto {
        ir_version: IR_VERSION,
        producer_name: "threeblock".into(),
        producer_version: env!("CARGO_PKG_VERSION").into(),
        graph: Some(recorder.graph),
        opset_import: vec![OperatorSetIdProto {
            domain: String::new(),
            version: OPSET,
        }],
        metadata_props: metadata(weights, options.input),
        ..ModelProto::default()
    }
}

struct Recorder<'a> {
    weights: &'a Weights,
    fold_norms: bool,
    /// Those of the activations to come.
    ranges: std::slice::Iter<'a, Range>,
    quantizes: bool,
    graph: GraphProto,
}

impl Recorder<'_> {
    /// Declares the graph's input and gives the network's: bytes are normalised by the graph.
    fn input(&mut self, options: &Options) -> String {
        let (elem_type, sizes) = match options.input {
            InputKind::Float32 => (data_type::FLOAT, &[1, SIDE, SIDE][..]),
            InputKind::Uint8 => (data_type::UINT8, &[SIDE, SIDE][..]),
        };
        let dims = dims(options.batch, sizes);
        self.graph.input.push(ValueInfoProto::tensor(INPUT, elem_type, &dims));
        let input = match options.input {
            InputKind::Float32 => INPUT.to_owned(),
            InputKind::Uint8 => self.normalize(),
        };
        self.through_bytes(input)
    }

    /// [`digit::normalize`] as nodes: a line through the values that it gives for 0 and 255.
    fn normalize(&mut self) -> String {
        let (ground, ink) = (digit::normalize(0), digit::normalize(255));
        let scale = self.floats("normalize.scale", &[], &[(ink - ground) / 255.0]);
        let shift = self.floats("normalize.shift", &[], &[ground]);
        let axes = self.constant(TensorProto {
            name: "normalize.axes".into(),
            dims: vec![1],
            data_type: data_type::INT64,
            raw_data: Some(1i64.to_le_bytes().to_vec().into()),
            ..TensorProto::default()
        });
        let to = int("to", data_type::FLOAT.into());
        let x = self.node("Cast", "normalize.cast", [INPUT.to_owned()], vec![to]);
        let x = self.node("Mul", "normalize.mul", [x, scale], vec![]);
        let x = self.node("Add", "normalize.add", [x, shift], vec![]);
        self.node("Unsqueeze", "normalize.unsqueeze", [x, axes], vec![])
    }

    /// What the last node makes becomes the logits; divided by the temperature, they give the probabilities.
    fn outputs(&mut self, options: &Options, temperature: f64) {
        let last = self.graph.node.last_mut().expect("the network has layers");
        last.output = vec![LOGITS.to_owned()];
        let mut names = vec![LOGITS];
        if options.softmax {
            let inverse = self.floats("calibration.scale", &[], &[(1.0 / temperature) as f32]);
            let calibrated = self.node("Mul", "calibration", [LOGITS.to_owned(), inverse], vec![]);
            self.node("Softmax", PROBABILITIES, [calibrated], vec![]);
            names.push(PROBABILITIES);
        }
        let dims = dims(options.batch, &[CLASSES]);
        let output = |name| ValueInfoProto::tensor(name, data_type::FLOAT, &dims);
        self.graph.output = names.into_iter().map(output).collect();
    }

    /// In an int8 graph, `value` through uint8 and back: engines compute with the bytes between the two nodes.
    fn through_bytes(&mut self, value: String) -> String {
        let Some(range) = self.ranges.next() else {
            return value;
        };
        let (scale, zero) = range.scale_and_zero();
        let scale = self.floats(&format!("{value}.scale"), &[], &[scale]);
        let zero = self.integers(&format!("{value}.zero"), &[], data_type::UINT8, &[zero]);
        let (quantized, floats) = (format!("{value}.quantized"), format!("{value}.dequantized"));
        let inputs = [value, scale.clone(), zero.clone()];
        let bytes = self.node("QuantizeLinear", &quantized, inputs, vec![]);
        self.node("DequantizeLinear", &floats, [bytes, scale, zero], vec![])
    }

    /// Adds a weight whose first axis is the output; in an int8 graph, as whole numbers with a scale for each output.
    fn weight(&mut self, name: &str, dims: &[usize], values: &[f32]) -> String {
        if !self.quantizes {
            return self.floats(name, dims, values);
        }
        let outputs = dims[0];
        let (integers, scales) = quantize_rows(values, outputs);
        let bytes: Vec<u8> = integers.iter().map(|&integer| integer as u8).collect();
        let integers = self.integers(&format!("{name}.int8"), dims, data_type::INT8, &bytes);
        let scale = self.floats(&format!("{name}.scale"), &[outputs], &scales);
        let zero = self.integers(&format!("{name}.zero"), &[outputs], data_type::INT8, &vec![0; outputs]);
        self.node("DequantizeLinear", name, [integers, scale, zero], vec![int("axis", 0)])
    }

    /// Adds a tensor of int8 or uint8.
    fn integers(&mut self, name: &str, dims: &[usize], data_type: i32, bytes: &[u8]) -> String {
        self.constant(TensorProto {
            name: name.into(),
            dims: dims.iter().map(|&dim| dim as i64).collect(),
            data_type,
            raw_data: Some(bytes.to_vec().into()),
            ..TensorProto::default()
        })
    }

    /// Adds a node and returns the name of its output, which is its own.
    fn node<const N: usize>(
        &mut self,
        op_type: &str,
        name: &str,
        input: [String; N],
        attribute: Vec<AttributeProto>,
    ) -> String {
        self.graph.node.push(NodeProto {
            input: input.into(),
            output: vec![name.to_owned()],
            name: name.to_owned(),
            op_type: op_type.to_owned(),
            attribute,
            ..NodeProto::default()
        });
        name.to_owned()
    }

    /// Adds a tensor of the network as it is.
    fn parameter(&mut self, layer: &str, tensor: &str, dims: &[usize]) -> String {
        let name = format!("{layer}.{tensor}");
        self.floats(&name, dims, self.weights.tensor(&name))
    }

    fn floats(&mut self, name: &str, dims: &[usize], values: &[f32]) -> String {
        self.constant(TensorProto::floats(name, dims, values))
    }

    /// Adds a tensor and returns its name.
    fn constant(&mut self, tensor: TensorProto) -> String {
        let name = tensor.name.clone();
        self.graph.initializer.push(tensor);
        name
    }
}

impl Ops for Recorder<'_> {
    type Tensor = String;

    fn conv(&mut self, input: &String, conv: &Conv) -> String {
        let shape = [[conv.out_channels, conv.in_channels], [conv.kernel_size; 2]].concat();
        let attributes = vec![
            ints("kernel_shape", &[conv.kernel_size; 2]),
            ints("pads", &[conv.padding; 4]),
            ints("strides", &[conv.stride; 2]),
        ];
        if self.fold_norms {
            let (weight, bias) = self.weights.fold(conv);
            let weight = self.weight(&format!("{}.weight", conv.name), &shape, &weight);
            let bias = self.floats(&format!("{}.bias", conv.name), &[conv.out_channels], &bias);
            return self.node("Conv", &conv.name, [input.clone(), weight, bias], attributes);
        }
        let weight = self.parameter(&conv.name, "weight", &shape);
        let x = self.node("Conv", &conv.name, [input.clone(), weight], attributes);
        let [scale, shift, mean, variance] = ["weight", "bias", "running_mean", "running_var"]
            .map(|tensor| self.parameter(&conv.norm, tensor, &[conv.out_channels]));
        let epsilon = vec![float("epsilon", NORM_EPSILON as f32)];
        self.node(
            "BatchNormalization",
            &conv.norm,
            [x, scale, shift, mean, variance],
            epsilon,
        )
    }

    fn activation(&mut self, input: String, activation: Activation) -> String {
        let (op_type, suffix) = match activation {
            Activation::Relu => ("Relu", "relu"),
            Activation::Sigmoid => ("Sigmoid", "sigmoid"),
            Activation::Tanh => ("Tanh", "tanh"),
        };
        let x = self.node(op_type, &format!("{input}.{suffix}"), [input.clone()], vec![]);
        self.through_bytes(x)
    }

    fn add(&mut self, left: String, right: &String) -> String {
        let block = left.split('.').next().unwrap_or_default();
        self.node("Add", &format!("{block}.add"), [left.clone(), right.clone()], vec![])
    }

    fn linear(&mut self, input: &String, linear: &Linear) -> String {
        let name = &linear.name;
        let flat = self.node("Flatten", &format!("{name}.flatten"), [input.clone()], vec![]);
        let path = format!("{name}.weight");
        let weight = self.weight(
            &path,
            &[linear.out_features, linear.in_features],
            self.weights.tensor(&path),
        );
        let bias = self.parameter(name, "bias", &[linear.out_features]);
        self.node("Gemm", name, [flat, weight, bias], vec![int("transB", 1)])
    }
}

/// `batch`, symbolic where it is not fixed, before `sizes`.
fn dims(batch: Option<usize>, sizes: &[usize]) -> Vec<Dimension> {
    let fixed = |size| Dimension::DimValue(size as i64);
    let batch = batch.map_or(Dimension::DimParam("batch".into()), fixed);
    [batch].into_iter().chain(sizes.iter().copied().map(fixed)).collect()
}

fn float(name: &str, value: f32) -> AttributeProto {
    AttributeProto {
        name: name.into(),
        f: Some(value),
        r#type: attribute_type::FLOAT,
        ..AttributeProto::default()
    }
}

fn int(name: &str, value: i64) -> AttributeProto {
    AttributeProto {
        name: name.into(),
        i: Some(value),
        r#type: attribute_type::INT,
        ..AttributeProto::default()
    }
}

fn ints(name: &str, values: &[usize]) -> AttributeProto {
    AttributeProto {
        name: name.into(),
        ints: values.iter().map(|&value| value as i64).collect(),
        r#type: attribute_type::INTS,
        ..AttributeProto::default()
    }
}

/// The contract, and the keys that viewers such as Netron show.
fn metadata(weights: &Weights, input: InputKind) -> Vec<StringStringEntryProto> {
    let contract = Contract::new(input, weights.spec, weights.training.clone(), weights.sha256());
    let contract = serde_json::to_string(&contract).expect("plain fields always serialise");
    [
        (CONTRACT_KEY, contract.as_str()),
        ("author", "Threeblock contributors"),
        ("license", env!("CARGO_PKG_LICENSE")),
        ("converted_from", "safetensors"),
    ]
    .map(|(key, value)| StringStringEntryProto {
        key: key.into(),
        value: value.into(),
    })
    .into()
}
