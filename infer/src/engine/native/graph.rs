//! ONNX nodes to typed operations with known shapes: what [`plan`](super::plan) lays out. Only what the logits need is
//! read, so that a second output costs nothing.

use std::collections::{BTreeSet, HashMap, HashSet};

use models::network::Activation;
use models::onnx::Model;
use models::onnx::proto::{AttributeProto, NodeProto, TensorProto, data_type};
use models::weights::floats;
use models::{CLASSES, SIDE};

use super::kernels::{Border, ByteConvSpec, ConvSpec, LinearSpec, Quant};

/// Products of a byte and a weight whose sum fits in 32 bits.
const MAX_BYTE_PRODUCTS: usize = (i32::MAX / (255 * 128)) as usize;
/// Most rows and columns of a value.
const MAX_SIDE: usize = 128;
/// Largest stride, dilation and padding, more than any kernel of a digit needs.
const MAX_STEP: usize = 64;

/// Index of a value between two nodes.
pub type ValueId = usize;

/// The operations that make the logits, in order.
#[derive(Debug)]
pub struct Graph {
    /// Each makes one value of others before it.
    pub nodes: Vec<Node>,
    /// Shape of each value.
    pub shapes: Vec<Shape>,
    /// For each value that is bytes, what they stand for.
    pub quants: Vec<Option<Quant>>,
    /// The logits. The input is value 0.
    pub logits: ValueId,
}

/// One operation.
#[derive(Clone, Debug)]
pub struct Node {
    /// Name of the value that it makes, before anything is fused to it.
    pub name: String,
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
    /// Floats to bytes.
    Quantize(Quant),
    /// Convolution of bytes, also a fully connected layer of them; its activation and quant are `None`.
    ByteConv(ByteConvSpec),
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
    /// Its values do not fit into a sensible amount of memory.
    #[error("its values take {0} numbers, which is too much")]
    TooLarge(usize),
    /// The logits are a constant, or not floats.
    #[error("its logits are not floats that depend on the input")]
    Constant,
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
        let unknown: BTreeSet<_> = nodes
            .iter()
            .map(|node| operator(node))
            .filter(|op| !KNOWN.contains(&op.as_str()))
            .collect();
        if !unknown.is_empty() {
            return Err(GraphError::Unknown(unknown.into_iter().collect()));
        }
        let mut reader = Reader::new(model);
        for node in nodes {
            reader
                .takes_its_type(node)
                .and_then(|()| reader.node(node))
                .map_err(|problem| GraphError::Node {
                    op: node.op_type.clone(),
                    node: node.name.clone(),
                    problem,
                })?;
        }
        let logits = *reader.values.get(&model.logits_name).ok_or(GraphError::Constant)?;
        if reader.quants[logits].is_some() {
            return Err(GraphError::Constant);
        }
        let shape = reader.shapes[logits];
        if (shape.channels, shape.height * shape.width) != (CLASSES, 1) {
            return Err(GraphError::Logits(shape));
        }
        Ok(Graph {
            nodes: reader.nodes,
            shapes: reader.shapes,
            quants: reader.quants,
            logits,
        })
    }
}

/// Operators of the default domain that [`Reader::node`] reads.
const KNOWN: [&str; 19] = [
    "Add",
    "BatchNormalization",
    "Cast",
    "Constant",
    "Conv",
    "DequantizeLinear",
    "Div",
    "Flatten",
    "Gemm",
    "Identity",
    "Mul",
    "QuantizeLinear",
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

/// A constant `integer * scale`, with one scale for each part along the first axis.
struct Dequantized {
    integers: Vec<i32>,
    scales: Vec<f32>,
    dims: Vec<usize>,
}

impl Dequantized {
    fn floats(&self) -> Vec<f32> {
        let part = (self.integers.len() / self.scales.len().max(1)).max(1);
        self.integers
            .iter()
            .enumerate()
            .map(|(index, &x)| x as f32 * self.scales[index / part])
            .collect()
    }
}

/// Reads one node after the other.
struct Reader<'a> {
    constants: HashMap<&'a str, &'a TensorProto>,
    /// Constants that a node makes of integers.
    dequantized: HashMap<&'a str, Dequantized>,
    values: HashMap<String, ValueId>,
    shapes: Vec<Shape>,
    quants: Vec<Option<Quant>>,
    nodes: Vec<Node>,
}

impl<'a> Reader<'a> {
    fn new(model: &'a Model) -> Reader<'a> {
        let constants = model
            .graph()
            .initializer
            .iter()
            .map(|tensor| (tensor.name.as_str(), tensor));
        let input = Shape {
            channels: 1,
            height: SIDE,
            width: SIDE,
        };
        Reader {
            constants: constants.collect(),
            values: HashMap::from([(model.input_name.clone(), 0)]),
            shapes: vec![input],
            quants: vec![None],
            dequantized: HashMap::new(),
            nodes: Vec::new(),
        }
    }

    /// Only some operators read bytes.
    fn takes_its_type(&self, node: &NodeProto) -> Result<(), String> {
        let is_bytes = |name: &String| self.values.get(name).is_some_and(|&value| self.quants[value].is_some());
        let takes_bytes = ["Conv", "DequantizeLinear", "Flatten", "Gemm", "Identity", "Reshape"];
        if node.input.iter().any(is_bytes) && !takes_bytes.contains(&node.op_type.as_str()) {
            return Err("its input is quantised: only Conv and Gemm are known to read that".into());
        }
        Ok(())
    }

    fn node(&mut self, node: &'a NodeProto) -> Result<(), String> {
        match node.op_type.as_str() {
            "Constant" => {
                let tensor = attribute(node, "value")
                    .and_then(|a| a.t.as_ref())
                    .ok_or("it holds no tensor")?;
                self.constants.insert(&node.output[0], tensor);
                Ok(())
            }
            "Cast" | "Identity" | "Dropout" | "Unsqueeze" | "Reshape" | "Flatten" => self.same(node),
            "Conv" => self.conv(node),
            "Gemm" => self.gemm(node),
            "QuantizeLinear" => self.quantize(node),
            "DequantizeLinear" => self.dequantize(node),
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
        if node.op_type == "Cast" && int(node, "to", 0) != i64::from(data_type::FLOAT) {
            return Err("only float32 is known".into());
        }
        if node.op_type == "Reshape" {
            self.check_reshape(node, self.shapes[value])?;
        }
        self.values.insert(node.output[0].clone(), value);
        Ok(())
    }

    /// A new shape must keep the batch, and each digit's axes or all its numbers in one.
    fn check_reshape(&self, node: &NodeProto, shape: Shape) -> Result<(), String> {
        let to = int64s(self.constant(node, 1)?).ok_or("its shape is not of int64")?;
        let Shape {
            channels,
            height,
            width,
        } = shape;
        let axes = [channels as i64, height as i64, width as i64];
        let kept = match &to[..] {
            [batch, rest] => *batch != *rest && (*rest == -1 || *rest == axes.iter().product::<i64>()),
            [_, rest @ ..] => rest == axes && to[0] <= 1,
            [] => false,
        };
        kept.then_some(())
            .ok_or_else(|| format!("shape {to:?} for {axes:?} is not supported"))
    }

    fn conv(&mut self, node: &NodeProto) -> Result<(), String> {
        let input = self.value(node, 0)?;
        let &[out_channels, in_channels, height, width] = &self.dims(node, 1)?[..] else {
            return Err("its weight is not [out, in, height, width]".into());
        };
        let (stride, dilation) = (ints(node, "strides", &[1, 1])?, ints(node, "dilations", &[1, 1])?);
        let pads = ints(node, "pads", &[0, 0, 0, 0])?;
        let (&[down, right], &[1, 1], &[top, left, bottom, right_pad]) = (&stride[..], &dilation[..], &pads[..]) else {
            return Err(format!(
                "strides {stride:?}, dilations {dilation:?} and pads {pads:?} are not supported"
            ));
        };
        if int(node, "group", 1) != 1
            || attribute(node, "auto_pad").is_some_and(|a| !matches!(a.s.as_deref(), None | Some(b"NOTSET" | b"")))
        {
            return Err("groups and auto_pad are not supported".into());
        }
        if [out_channels, in_channels, height, width].contains(&0) {
            return Err("its weight is empty".into());
        }
        if self.shapes[input].channels != in_channels {
            return Err(format!(
                "it takes {in_channels} channels, its input has {}",
                self.shapes[input].channels
            ));
        }
        let bias = match node.input.get(2) {
            Some(name) if !name.is_empty() => self.floats(node, 2)?,
            _ => vec![0.0; out_channels],
        };
        if bias.len() != out_channels {
            return Err(format!("its bias has {} numbers, expected {out_channels}", bias.len()));
        }
        let spec = ConvSpec {
            weight: self.floats(node, 1)?,
            bias,
            in_channels,
            out_channels,
            kernel: [height, width],
            stride: [down, right],
            padding: Border {
                top,
                left,
                bottom,
                right: right_pad,
            },
            activation: None,
        };
        let shape = conv_shape(&spec, self.shapes[input]).ok_or("its kernel does not fit its input")?;
        if shape.height.max(shape.width) > MAX_SIDE {
            return Err(format!("its output is larger than {MAX_SIDE} pixels a side"));
        }
        let op = match self.quants[input] {
            None => Op::Conv(spec),
            Some(quant) => Op::ByteConv(self.byte_conv(node, spec, quant)?),
        };
        self.push(node, op, vec![input], shape);
        Ok(())
    }

    fn gemm(&mut self, node: &NodeProto) -> Result<(), String> {
        let input = self.value(node, 0)?;
        let plain = float(node, "alpha") == 1.0 && float(node, "beta") == 1.0 && int(node, "transA", 0) == 0;
        if !plain {
            return Err("alpha, beta and transA are not supported".into());
        }
        let &[rows, columns] = &self.dims(node, 1)?[..] else {
            return Err("its weight is not a matrix".into());
        };
        if [rows, columns].contains(&0) {
            return Err("its weight is empty".into());
        }
        let transposed = int(node, "transB", 0) == 1;
        let (out, features) = if transposed { (rows, columns) } else { (columns, rows) };
        let shape = self.shapes[input];
        if features != shape.channels * shape.height * shape.width {
            return Err(format!("it takes {features} numbers, its input is {shape:?}"));
        }
        let mut weight = self.floats(node, 1)?;
        if !transposed {
            weight = (0..out)
                .flat_map(|o| (0..features).map(move |f| (o, f)))
                .map(|(o, f)| weight[f * out + o])
                .collect();
        }
        let bias = match node.input.get(2) {
            Some(name) if !name.is_empty() => self.floats(node, 2)?,
            _ => vec![0.0; out],
        };
        if bias.len() != out {
            return Err(format!("its bias has {} numbers, expected {out}", bias.len()));
        }
        let output = Shape {
            channels: out,
            height: 1,
            width: 1,
        };
        if let Some(quant) = self.quants[input] {
            if !transposed {
                return Err("quantised weights are only known transposed".into());
            }
            let spec = ConvSpec {
                weight,
                bias,
                in_channels: shape.channels,
                out_channels: out,
                kernel: [shape.height, shape.width],
                stride: [1, 1],
                padding: Border::default(),
                activation: None,
            };
            let op = Op::ByteConv(self.byte_conv(node, spec, quant)?);
            self.push(node, op, vec![input], output);
            return Ok(());
        }
        let spec = LinearSpec {
            weight,
            bias,
            activation: None,
        };
        self.push(node, Op::Linear(spec), vec![input], output);
        Ok(())
    }

    /// `spec` in whole numbers: its weights, and the input's zero point moved into the bias.
    fn byte_conv(&self, node: &NodeProto, spec: ConvSpec, input: Quant) -> Result<ByteConvSpec, String> {
        let name = node.input[1].as_str();
        let weight = self
            .dequantized
            .get(name)
            .ok_or("a quantised input needs quantised weights")?;
        let integers: Option<Vec<i8>> = weight.integers.iter().map(|&w| i8::try_from(w).ok()).collect();
        let integers = integers.ok_or("its weights are not of int8 with zero point 0")?;
        let scales = if weight.scales.len() == 1 {
            weight.scales.repeat(spec.out_channels)
        } else {
            weight.scales.clone()
        };
        let scale: Vec<f32> = scales.iter().map(|scale| scale * input.scale).collect();
        let part = integers.len() / spec.out_channels;
        if part > MAX_BYTE_PRODUCTS {
            return Err(format!("it sums {part} products of bytes, more than fit in 32 bits"));
        }
        let sums = integers
            .chunks(part)
            .map(|weights| weights.iter().map(|&w| f64::from(w)).sum::<f64>());
        let shift = sums
            .zip(&scale)
            .map(|(sum, &scale)| sum * f64::from(scale) * f64::from(input.zero));
        let bias = spec
            .bias
            .iter()
            .zip(shift)
            .map(|(&bias, shift)| (f64::from(bias) - shift) as f32)
            .collect();
        let conv = ConvSpec {
            weight: integers,
            bias,
            in_channels: spec.in_channels,
            out_channels: spec.out_channels,
            kernel: spec.kernel,
            stride: spec.stride,
            padding: spec.padding,
            activation: None,
        };
        Ok(ByteConvSpec {
            conv,
            scale,
            zero: input.zero,
            quant: None,
            shortcut: None,
        })
    }

    /// Floats to bytes with one scale.
    fn quantize(&mut self, node: &NodeProto) -> Result<(), String> {
        let input = self.value(node, 0)?;
        let (scales, zeros) = self.scale_and_zero(node)?;
        let (&[scale], &[zero]) = (&scales[..], &zeros[..]) else {
            return Err("only one scale and one zero point are known".into());
        };
        let zero = u8::try_from(zero).map_err(|_| "its zero point is not of uint8")?;
        let output = self.shapes.len();
        self.push(
            node,
            Op::Quantize(Quant { scale, zero }),
            vec![input],
            self.shapes[input],
        );
        self.quants[output] = Some(Quant { scale, zero });
        Ok(())
    }

    /// A constant becomes floats; bytes stay what they are, since their readers know what they stand for.
    fn dequantize(&mut self, node: &'a NodeProto) -> Result<(), String> {
        let (scales, zeros) = self.scale_and_zero(node)?;
        if let Ok(value) = self.value(node, 0) {
            let quant = self.quants[value].ok_or("its input is not quantised")?;
            if scales != [quant.scale] || zeros != [i32::from(quant.zero)] {
                return Err("its scale or zero point is not that of its input".into());
            }
            self.values.insert(node.output[0].clone(), value);
            return Ok(());
        }
        let tensor = self.constant(node, 0)?;
        let (integers, dims) = (integers(tensor).ok_or("its input is not of integers")?, dims(tensor));
        let parts = dims.first().copied().unwrap_or(1);
        let by_first_axis = scales.len() == 1 || int(node, "axis", 1) == 0 && scales.len() == parts;
        if !by_first_axis || zeros.iter().any(|&zero| zero != 0) {
            return Err("a constant must have zero point 0 and scales along axis 0".into());
        }
        self.dequantized
            .insert(&node.output[0], Dequantized { integers, scales, dims });
        Ok(())
    }

    fn scale_and_zero(&self, node: &NodeProto) -> Result<(Vec<f32>, Vec<i32>), String> {
        let scales = self.floats(node, 1)?;
        if !scales.iter().all(|scale| scale.is_normal() && *scale > 0.0) {
            return Err("its scale is not positive".into());
        }
        let zeros = match node.input.get(2) {
            Some(name) if !name.is_empty() => {
                integers(self.constant(node, 2)?).ok_or("its zero point is not of integers")?
            }
            _ => vec![0; scales.len()],
        };
        Ok((scales, zeros))
    }

    fn norm(&mut self, node: &NodeProto) -> Result<(), String> {
        let input = self.value(node, 0)?;
        let [gamma, beta, mean, var] = [1, 2, 3, 4].map(|index| self.floats(node, index));
        let (gamma, beta, mean, var) = (gamma?, beta?, mean?, var?);
        let channels = self.shapes[input].channels;
        if [&gamma, &beta, &mean, &var]
            .iter()
            .any(|tensor| tensor.len() != channels)
        {
            return Err(format!("its tensors do not have {channels} numbers each"));
        }
        let epsilon = attribute(node, "epsilon").and_then(|a| a.f).unwrap_or(1e-5);
        let scale: Vec<f64> = gamma
            .iter()
            .zip(&var)
            .map(|(&g, &v)| f64::from(g) / (f64::from(v) + f64::from(epsilon)).sqrt())
            .collect();
        let shift = (0..channels)
            .map(|c| (f64::from(beta[c]) - f64::from(mean[c]) * scale[c]) as f32)
            .collect();
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
        self.quants.push(None);
        self.values.insert(node.output[0].clone(), output);
        self.nodes.push(Node {
            name: node.output[0].clone(),
            op,
            inputs,
            output,
        });
    }

    fn value(&self, node: &NodeProto, index: usize) -> Result<ValueId, String> {
        let name = node
            .input
            .get(index)
            .ok_or_else(|| format!("input {index} is missing"))?;
        self.values
            .get(name)
            .copied()
            .ok_or_else(|| format!("input {name:?} must be no constant"))
    }

    fn constant(&self, node: &NodeProto, index: usize) -> Result<&'a TensorProto, String> {
        let name = node
            .input
            .get(index)
            .ok_or_else(|| format!("input {index} is missing"))?;
        self.constants
            .get(name.as_str())
            .copied()
            .ok_or_else(|| format!("input {name:?} must be a constant"))
    }

    fn dims(&self, node: &NodeProto, index: usize) -> Result<Vec<usize>, String> {
        match node
            .input
            .get(index)
            .and_then(|name| self.dequantized.get(name.as_str()))
        {
            Some(constant) => Ok(constant.dims.clone()),
            None => self.constant(node, index).map(dims),
        }
    }

    fn floats(&self, node: &NodeProto, index: usize) -> Result<Vec<f32>, String> {
        if let Some(constant) = node
            .input
            .get(index)
            .and_then(|name| self.dequantized.get(name.as_str()))
        {
            return Ok(constant.floats());
        }
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
    let Border {
        top,
        left,
        bottom,
        right,
    } = spec.padding;
    let steps = |size: usize, kernel: usize, stride: usize| {
        size.checked_sub(kernel)
            .filter(|_| stride > 0 && kernel > 0)
            .map(|rest| rest / stride + 1)
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

/// The numbers of a tensor of int8, uint8 or int32.
fn integers(tensor: &TensorProto) -> Option<Vec<i32>> {
    let Some(raw) = &tensor.raw_data else {
        return matches!(tensor.data_type, data_type::INT8 | data_type::UINT8 | data_type::INT32)
            .then(|| tensor.int32_data.clone());
    };
    match tensor.data_type {
        data_type::INT8 => Some(raw.iter().map(|&byte| i32::from(byte as i8)).collect()),
        data_type::UINT8 => Some(raw.iter().map(|&byte| byte.into()).collect()),
        data_type::INT32 => Some(
            raw.as_chunks::<4>()
                .0
                .iter()
                .map(|&chunk| i32::from_le_bytes(chunk))
                .collect(),
        ),
        _ => None,
    }
}

fn int64s(tensor: &TensorProto) -> Option<Vec<i64>> {
    if tensor.data_type != data_type::INT64 {
        return None;
    }
    Some(match &tensor.raw_data {
        Some(raw) => raw
            .as_chunks::<8>()
            .0
            .iter()
            .map(|&chunk| i64::from_le_bytes(chunk))
            .collect(),
        None => tensor.int64_data.clone(),
    })
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

/// Sizes in an attribute, each up to [`MAX_STEP`].
fn ints(node: &NodeProto, name: &str, default: &[usize]) -> Result<Vec<usize>, String> {
    let Some(attribute) = attribute(node, name) else {
        return Ok(default.to_vec());
    };
    let size = |&size: &i64| usize::try_from(size).ok().filter(|&size| size <= MAX_STEP);
    let sizes: Option<Vec<usize>> = attribute.ints.iter().map(size).collect();
    sizes.ok_or_else(|| format!("{name} {:?} are not all from 0 to {MAX_STEP}", attribute.ints))
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_documentation_names_every_operator() {
        let documentation = include_str!("../native.rs")
            .lines()
            .take_while(|line| line.starts_with("//!"));
        let documentation: String = documentation.collect();
        for operator in super::KNOWN {
            assert!(documentation.contains(operator), "{operator}");
        }
    }
}
