//! Fuses a [`Graph`]: batch norms go into their convolutions, additions and activations into what makes their operand.

use models::network::Activation;

use super::graph::{Graph, Node, Op, ValueId};
use super::kernels::{ByteConvSpec, ConvSpec, Quant, Shortcut};

/// Fuses what can be fused. Afterwards a convolution may have an activation, and a second input that it adds before it.
pub fn fuse(graph: Graph) -> Graph {
    let mut fuser = Fuser {
        uses: uses(&graph),
        nodes: Vec::new(),
    };
    for node in graph.nodes {
        fuser.push(node);
    }
    Graph {
        nodes: fuser.nodes,
        ..graph
    }
}

/// How often each value is read.
fn uses(graph: &Graph) -> Vec<usize> {
    let mut uses = vec![0; graph.shapes.len()];
    for node in &graph.nodes {
        for &input in &node.inputs {
            uses[input] += 1;
        }
    }
    uses[graph.logits] += 1;
    uses
}

struct Fuser {
    uses: Vec<usize>,
    nodes: Vec<Node>,
}

impl Fuser {
    /// Appends a node, or merges it into the one that makes its operand.
    fn push(&mut self, node: Node) {
        let merged = match &node.op {
            Op::Norm { scale, shift } => self.norm(&node, scale, shift),
            Op::Activation(activation) => self.activation(&node, *activation),
            Op::Add => self.add(&node),
            Op::Quantize(quant) => self.quantize(&node, *quant),
            _ => None,
        };
        self.nodes.push(merged.unwrap_or(node));
    }

    fn norm(&mut self, node: &Node, scale: &[f32], shift: &[f32]) -> Option<Node> {
        let index = self.bare_conv(node.inputs[0])?;
        let mut conv = self.nodes.remove(index);
        let Op::Conv(spec) = &mut conv.op else {
            self.nodes.insert(index, conv);
            return None;
        };
        fold(spec, scale, shift);
        Some(Node {
            output: node.output,
            ..conv
        })
    }

    fn activation(&mut self, node: &Node, activation: Activation) -> Option<Node> {
        let index = self.only_use(node.inputs[0])?;
        let slot = match &mut self.nodes[index].op {
            Op::Conv(spec) => &mut spec.activation,
            Op::Linear(spec) => &mut spec.activation,
            Op::ByteConv(spec) if spec.quant.is_none() => &mut spec.conv.activation,
            _ => return None,
        };
        if slot.is_some() {
            return None;
        }
        *slot = Some(activation);
        let made = self.nodes.remove(index);
        Some(Node {
            output: node.output,
            ..made
        })
    }

    fn quantize(&mut self, node: &Node, quant: Quant) -> Option<Node> {
        let index = self.only_use(node.inputs[0])?;
        let Op::ByteConv(spec) = &mut self.nodes[index].op else {
            return None;
        };
        if spec.quant.is_some() {
            return None;
        }
        spec.quant = Some(quant);
        let made = self.nodes.remove(index);
        Some(Node {
            output: node.output,
            ..made
        })
    }

    /// The larger convolution adds the other operand: it moves behind it.
    fn add(&mut self, node: &Node) -> Option<Node> {
        let work = |index: &usize| match &self.nodes[*index].op {
            Op::Conv(spec) => spec.weight.len(),
            Op::ByteConv(spec) => spec.conv.weight.len(),
            _ => 0,
        };
        let convs = node.inputs.iter().filter_map(|&input| self.bare_conv(input));
        let mut conv = self.nodes.remove(convs.max_by_key(work)?);
        let other = node.inputs.iter().copied().find(|&input| input != conv.output)?;
        let shortcut = self.shortcut(&mut conv, other);
        conv.inputs.push(shortcut.unwrap_or(other));
        Some(Node {
            output: node.output,
            ..conv
        })
    }

    /// Takes the sums of the convolution that makes `other` into those of `conv`, if both are of bytes; the input of the former.
    fn shortcut(&mut self, conv: &mut Node, other: ValueId) -> Option<ValueId> {
        let index = self.bare_conv(other)?;
        let (Op::ByteConv(main), Op::ByteConv(short)) = (&mut conv.op, &self.nodes[index].op) else {
            return None;
        };
        if !fits(main, short) {
            return None;
        }
        let biases = main.conv.bias.iter_mut().zip(&short.conv.bias);
        biases.for_each(|(bias, short)| *bias += short);
        main.shortcut = Some(Shortcut {
            conv: short.conv.clone(),
            scale: short.scale.clone(),
            zero: short.zero,
        });
        Some(self.nodes.remove(index).inputs[0])
    }

    /// The convolution that makes `value` for one reader, if nothing is done to its sums yet.
    fn bare_conv(&self, value: ValueId) -> Option<usize> {
        let index = self.only_use(value)?;
        let node = &self.nodes[index];
        let bare = match &node.op {
            Op::Conv(spec) => spec.activation.is_none(),
            Op::ByteConv(spec) => spec.conv.activation.is_none() && spec.quant.is_none(),
            _ => false,
        };
        (bare && node.inputs.len() == 1).then_some(index)
    }

    /// The node that makes `value`, if it is read once.
    fn only_use(&self, value: ValueId) -> Option<usize> {
        let index = self.nodes.iter().position(|node| node.output == value)?;
        (self.uses[value] == 1).then_some(index)
    }
}

/// Whether the sums of `short`, in units of those of `main`, are exact enough as floats and leave room in 32 bits.
fn fits(main: &ByteConvSpec, short: &ByteConvSpec) -> bool {
    const MOST: f64 = (1 << 24) as f64;
    let most = |conv: &ConvSpec<i8>, out: usize| {
        let part = conv.weight.len() / conv.out_channels;
        let weights = &conv.weight[out * part..][..part];
        255.0
            * weights
                .iter()
                .map(|weight| f64::from(weight.unsigned_abs()))
                .sum::<f64>()
    };
    (0..main.conv.out_channels).all(|out| {
        let ratio = f64::from(short.scale[out] / main.scale[out]).abs();
        let sum = most(&short.conv, out);
        sum <= MOST && sum * ratio <= MOST && most(&main.conv, out) <= f64::from(i32::MAX) - MOST
    })
}

/// `(x * weight + bias) * scale + shift` as one convolution.
fn fold(spec: &mut ConvSpec, scale: &[f32], shift: &[f32]) {
    let each = spec.weight.len() / spec.out_channels;
    for (out, kernels) in spec.weight.chunks_mut(each).enumerate() {
        kernels.iter_mut().for_each(|weight| *weight *= scale[out]);
        spec.bias[out] = spec.bias[out] * scale[out] + shift[out];
    }
}
