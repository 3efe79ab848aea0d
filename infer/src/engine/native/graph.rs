//! ONNX nodes to typed operations with known shapes: what [`plan`](super::plan) lays out. Only what the logits need is
//! read, so that a second output costs nothing.

use std::collections::{BTreeSet, HashMap, HashSet};

use models::network::Activation;
use models::onnx::proto::{AttributeProto, NodeProto, TensorProto, data_type};
use models::onnx::{InputKind, Model};
use models::weights::floats;
use models::{CLASSES, SIDE};

use super::kernels::{Border, ConvSpec, LinearSpec};

/// Index of a value between two nodes.
pub type ValueId = usize;

/// The operations that make the logits, in order.
#[derive(Debug)]
pub struct Graph {
    /// Each makes one value of others before it.
    pub nodes: Vec<Node>,
    /// Shape of each value.
    pub shapes: Vec<Shape>,
    /// The logits. The input is value 0.
    pub logits: ValueId,
}

/// One operation.
#[derive(Clone, Debug)]
pub struct Node {
    /// What is done.
    pub op: Op,
    /// To what.
    pub inputs: Vec<ValueId>,
    /// The result.
    pub output: ValueId,
}

/// Operations with their constants.
#[derive(Clone, Debug)]
pub enum Op {
    /// `x * scale + shift`, the same for all numbers.
    Affine {
        /// Factor.
        scale: f32,
        /// Summand.
        shift: f32,
    },
    /// Convolution; its activation is `None`.
    Conv(ConvSpec),
    /// `x * scale + shift` for each channel.
    Norm {
        /// Factors, `[channels]`.
        scale: Vec<f32>,
        /// Summands, `[channels]`.
        shift: Vec<f32>,
    },
    /// Fully connected layer; its activation is `None`.
    Linear(LinearSpec),
    /// An activation of each number.
    Activation(Activation),
    /// The sum of two values of one shape.
    Add,
}

/// Channels, height and width of one digit's value; a flat value is one of 1x1 pixels, or keeps those it was made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Channels.
    pub channels: usize,
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
}

/// Why the native engine does not take a graph.
#[derive(Debug, thiserror::Error)]
pub enum GraphError {
    /// Operators that it does not have, each once.
    #[error("it does not know {}", .0.join(", "))]
    Unknown(Vec<String>),
    /// A known operator in a form that it does not have.
    #[error("{op} {node:?}: {problem}")]
    Node {
        /// Operator.
        op: String,
        /// Name of the node.
        node: String,
        /// What is wrong.
        problem: String,
    },
    /// The logits are not `[batch, 10]`.
    #[error("its logits have shape {0:?}")]
    Logits(Shape),
}

impl Graph {
    /// Reads the part of the graph that makes the logits.
    ///
    /// # Errors
    /// When it has operators that are not known, or known ones in another form.
    pub fn new(model: &Model) -> Result<Graph, GraphError> {
        let nodes = needed(model);
        let unknown: BTreeSet<_> = nodes.iter().map(|node| operator(node)).filter(|op| !KNOWN.contains(&op.as_str())).collect();
        if !unknown.is_empty() {
            return Err(GraphError::Unknown(unknown.into_iter().collect()));
        }
        let mut reader = Reader::new(model);
        for node in nodes {
            reader.node(node).map_err(|problem| GraphError::Node {
                op: node.op_type.clone(),
                node: node.name.clone(),
                problem,
            })?;
        }
        let logits = reader.values[&model.logits_name];
        let shape = reader.shapes[logits];
        if (shape.channels, shape.height * shape.width) != (CLASSES, 1) {
            return Err(GraphError::Logits(shape));
        }
        Ok(Graph {
            nodes: reader.nodes,
            shapes: reader.shapes,
            logits,
        })
    }
}

/// Operators of the default domain that [`Reader::node`] reads.
const KNOWN: [&str; 17] = [
    "Add",
    "BatchNormalization",
    "Cast",
    "Constant",
    "Conv",
    "Div",
    "Flatten",
    "Gemm",
    "Identity",
    "Mul",
    "Relu",
    "Reshape",
    "Sigmoid",
    "Sub",
    "Tanh",
    "Unsqueeze",
    "Dropout",
];

/// Name with its domain, unless that is ONNX's own.
fn operator(node: &NodeProto) -> String {
    match node.domain.as_str() {
        "" | "ai.onnx" => node.op_type.clone(),
        domain => format!("{domain}.{}", node.op_type),
    }
}

/// The nodes on which the logits depend, in the order of the file.
fn needed(model: &Model) -> Vec<&NodeProto> {
    let mut wanted = HashSet::from([model.logits_name.as_str()]);
    let mut nodes = Vec::new();
    for node in model.graph().node.iter().rev() {
        if node.output.iter().any(|name| wanted.contains(name.as_str())) {
            wanted.extend(node.input.iter().map(String::as_str));
            nodes.push(node);
        }
    }
    nodes.reverse();
    nodes
}

/// Reads one node after the other.
struct Reader<'a> {
    constants: HashMap<&'a str, &'a TensorProto>,
    values: HashMap<String, ValueId>,
    shapes: Vec<Shape>,
    nodes: Vec<Node>,
}

impl<'a> Reader<'a> {
    fn new(model: &'a Model) -> Reader<'a> {
        let constants = model.graph().initializer.iter().map(|tensor| (tensor.name.as_str(), tensor));
        let input = match model.input {
            InputKind::Float32 | InputKind::Uint8 => Shape {
                channels: 1,
                height: SIDE,
                width: SIDE,
            },
        };
        Reader {
            constants: constants.collect(),
            values: HashMap::from([(model.input_name.clone(), 0)]),
            shapes: vec![input],
            nodes: Vec::new(),
        }
    }

    fn node(&mut self, node: &'a NodeProto) -> Result<(), String> {
        match node.op_type.as_str() {
            "Constant" => {
                let tensor = attribute(node, "value").and_then(|a| a.t.as_ref()).ok_or("it holds no tensor")?;
                self.constants.insert(&node.output[0], tensor);
                Ok(())
            }
            "Cast" | "Identity" | "Dropout" | "Unsqueeze" | "Reshape" | "Flatten" => self.same(node),
            "Conv" => self.conv(node),
            "Gemm" => self.gemm(node),
            "BatchNormalization" => self.norm(node),
            "Relu" => self.push_unary(node, Op::Activation(Activation::Relu)),
            "Sigmoid" => self.push_unary(node, Op::Activation(Activation::Sigmoid)),
            "Tanh" => self.push_unary(node, Op::Activation(Activation::Tanh)),
            "Add" | "Sub" | "Mul" | "Div" => self.arithmetic(node),
            other => unreachable!("{other} is known"),
        }
    }

    /// Operators that move no number of a digit: the result is the value itself.
    fn same(&mut self, node: &NodeProto) -> Result<(), String> {
        let value = self.value(node, 0)?;
        if node.op_type == "Flatten" && int(node, "axis", 1) != 1 {
            return Err("only axis 1 is known".into());
        }
        self.values.insert(node.output[0].clone(), value);
        Ok(())
    }

    fn conv(&mut self, node: &NodeProto) -> Result<(), String> {
        let input = self.value(node, 0)?;
        let weight = self.constant(node, 1)?;
        let &[out_channels, in_channels, height, width] = &dims(weight)[..] else {
            return Err("its weight is not [out, in, height, width]".into());
        };
        let [stride, dilation] = ["strides", "dilations"].map(|name| ints(node, name, &[1, 1]));
        let pads = ints(node, "pads", &[0, 0, 0, 0]);
        let (&[down, right], &[1, 1], &[top, left, bottom, right_pad]) = (&stride[..], &dilation[..], &pads[..]) else {
            return Err(format!("strides {stride:?}, dilations {dilation:?} and pads {pads:?} are not supported"));
        };
        if int(node, "group", 1) != 1 || attribute(node, "auto_pad").is_some_and(|a| a.s.as_deref() != Some(b"NOTSET")) {
            return Err("groups and auto_pad are not supported".into());
        }
        if self.shapes[input].channels != in_channels {
            return Err(format!("it takes {in_channels} channels, its input has {}", self.shapes[input].channels));
        }
        let bias = match node.input.get(2) {
            Some(name) if !name.is_empty() => self.floats(node, 2)?,
            _ => vec![0.0; out_channels],
        };
        let spec = ConvSpec {
            weight: self.floats(node, 1)?,
            bias,
            in_channels,
            out_channels,
            kernel: [height, width],
            stride: [down, right],
            padding: Border { top, left, bottom, right: right_pad },
            activation: None,
        };
        let shape = conv_shape(&spec, self.shapes[input]).ok_or("its kernel is larger than its input")?;
        self.push(node, Op::Conv(spec), vec![input], shape);
        Ok(())
    }

    fn gemm(&mut self, node: &NodeProto) -> Result<(), String> {
        let input = self.value(node, 0)?;
        let plain = float(node, "alpha") == 1.0 && float(node, "beta") == 1.0 && int(node, "transA", 0) == 0;
        if !plain {
            return Err("alpha, beta and transA are not supported".into());
        }
        let &[rows, columns] = &dims(self.constant(node, 1)?)[..] else {
            return Err("its weight is not a matrix".into());
        };
        let transposed = int(node, "transB", 0) == 1;
        let (out, features) = if transposed { (rows, columns) } else { (columns, rows) };
        let shape = self.shapes[input];
        if features != shape.channels * shape.height * shape.width {
            return Err(format!("it takes {features} numbers, its input is {shape:?}"));
        }
        let mut weight = self.floats(node, 1)?;
        if !transposed {
            weight = (0..out).flat_map(|o| (0..features).map(move |f| (o, f))).map(|(o, f)| weight[f * out + o]).collect();
        }
        let bias = match node.input.get(2) {
            Some(name) if !name.is_empty() => self.floats(node, 2)?,
            _ => vec![0.0; out],
        };
        if bias.len() != out {
            return Err(format!("its bias has {} numbers, expected {out}", bias.len()));
        }
        let spec = LinearSpec { weight, bias, activation: None };
        self.push(node, Op::Linear(spec), vec![input], Shape { channels: out, height: 1, width: 1 });
        Ok(())
    }

    fn norm(&mut self, node: &NodeProto) -> Result<(), String> {
        let input = self.value(node, 0)?;
        let [gamma, beta, mean, var] = [1, 2, 3, 4].map(|index| self.floats(node, index));
        let (gamma, beta, mean, var) = (gamma?, beta?, mean?, var?);
        let channels = self.shapes[input].channels;
        if [&gamma, &beta, &mean, &var].iter().any(|tensor| tensor.len() != channels) {
            return Err(format!("its tensors do not have {channels} numbers each"));
        }
        let epsilon = attribute(node, "epsilon").and_then(|a| a.f).unwrap_or(1e-5);
        let scale: Vec<f64> =
            gamma.iter().zip(&var).map(|(&g, &v)| f64::from(g) / (f64::from(v) + f64::from(epsilon)).sqrt()).collect();
        let shift = (0..channels).map(|c| (f64::from(beta[c]) - f64::from(mean[c]) * scale[c]) as f32).collect();
        let scale = scale.into_iter().map(|s| s as f32).collect();
        self.push_unary(node, Op::Norm { scale, shift })
    }

    /// Two values added, or one value and one number.
    fn arithmetic(&mut self, node: &NodeProto) -> Result<(), String> {
        let op = node.op_type.as_str();
        if let (Ok(left), Ok(right)) = (self.value(node, 0), self.value(node, 1)) {
            if op != "Add" || self.shapes[left] != self.shapes[right] {
                return Err("it is only known for one value and one number".into());
            }
            let shape = self.shapes[left];
            self.push(node, Op::Add, vec![left, right], shape);
            return Ok(());
        }
        let (input, constant) = match self.value(node, 0) {
            Ok(input) => (input, 1),
            Err(_) if op == "Add" || op == "Mul" => (self.value(node, 1)?, 0),
            Err(problem) => return Err(problem),
        };
        let numbers = self.floats(node, constant)?;
        let &[number] = &numbers[..] else {
            return Err(format!("its constant has {} numbers, expected one", numbers.len()));
        };
        let (scale, shift) = match op {
            "Add" => (1.0, number),
            "Sub" => (1.0, -number),
            "Mul" => (number, 0.0),
            _ => (1.0 / number, 0.0),
        };
        let (shape, output) = (self.shapes[input], Op::Affine { scale, shift });
        self.push(node, output, vec![input], shape);
        Ok(())
    }

    fn push_unary(&mut self, node: &NodeProto, op: Op) -> Result<(), String> {
        let input = self.value(node, 0)?;
        self.push(node, op, vec![input], self.shapes[input]);
        Ok(())
    }

    fn push(&mut self, node: &NodeProto, op: Op, inputs: Vec<ValueId>, shape: Shape) {
        let output = self.shapes.len();
        self.shapes.push(shape);
        self.values.insert(node.output[0].clone(), output);
        self.nodes.push(Node { op, inputs, output });
    }

    fn value(&self, node: &NodeProto, index: usize) -> Result<ValueId, String> {
        let name = node.input.get(index).ok_or_else(|| format!("input {index} is missing"))?;
        self.values.get(name).copied().ok_or_else(|| format!("input {name:?} must be no constant"))
    }

    fn constant(&self, node: &NodeProto, index: usize) -> Result<&'a TensorProto, String> {
        let name = node.input.get(index).ok_or_else(|| format!("input {index} is missing"))?;
        self.constants.get(name.as_str()).copied().ok_or_else(|| format!("input {name:?} must be a constant"))
    }

    fn floats(&self, node: &NodeProto, index: usize) -> Result<Vec<f32>, String> {
        let tensor = self.constant(node, index)?;
        if tensor.data_type != data_type::FLOAT {
            return Err(format!("input {:?} is not of float32", tensor.name));
        }
        Ok(match &tensor.raw_data {
            Some(raw) => floats(raw),
            None => tensor.float_data.clone(),
        })
    }
}

/// Shape of a convolution's output; `None` where the kernel does not fit or a stride is 0.
fn conv_shape(spec: &ConvSpec, input: Shape) -> Option<Shape> {
    let Border { top, left, bottom, right } = spec.padding;
    let steps = |size: usize, kernel: usize, stride: usize| {
        size.checked_sub(kernel).filter(|_| stride > 0 && kernel > 0).map(|rest| rest / stride + 1)
    };
    Some(Shape {
        channels: spec.out_channels,
        height: steps(input.height + top + bottom, spec.kernel[0], spec.stride[0])?,
        width: steps(input.width + left + right, spec.kernel[1], spec.stride[1])?,
    })
}

fn dims(tensor: &TensorProto) -> Vec<usize> {
    tensor.dims.iter().map(|&dim| dim as usize).collect()
}

fn attribute<'a>(node: &'a NodeProto, name: &str) -> Option<&'a AttributeProto> {
    node.attribute.iter().find(|attribute| attribute.name == name)
}

fn int(node: &NodeProto, name: &str, default: i64) -> i64 {
    attribute(node, name).and_then(|a| a.i).unwrap_or(default)
}

fn float(node: &NodeProto, name: &str) -> f32 {
    attribute(node, name).and_then(|a| a.f).unwrap_or(1.0)
}

/// Sizes in an attribute; one that is negative or huge becomes 0 or 64, which no kernel of a digit needs.
fn ints(node: &NodeProto, name: &str, default: &[usize]) -> Vec<usize> {
    match attribute(node, name) {
        Some(attribute) => attribute.ints.iter().map(|&size| size.clamp(0, 64) as usize).collect(),
        None => default.to_vec(),
    }
}
