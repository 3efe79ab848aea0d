//! [`Plan`]: the fused operations in order, their weights packed, and where each value lies. Made once, at load.

use super::graph::{Graph, GraphError, Node, Op, Shape, ValueId};
use super::kernels::{BLOCK, Border, Bytes, Conv, FullyConnected, Kernels, Map, Quant, SLACK};
use models::network::Activation;

/// Digits that go through the layers together: enough to use weights while they are in the cache, few enough that the
/// maps stay there.
pub const GROUP: usize = 4;

/// Most numbers that an arena may have: 256 MiB.
const MAX_ARENA: usize = 1 << 26;

/// What [`Native`](super::Native) runs.
#[derive(Debug)]
pub struct Plan {
    /// The kernels that the layers are packed for.
    pub kernels: Kernels,
    /// In order.
    pub steps: Vec<Step>,
    /// Where the input goes.
    pub input: Place,
    /// Where the logits come from.
    pub logits: Place,
    /// Floats of all slots together.
    pub floats: usize,
    /// Bytes of all slots together.
    pub bytes: usize,
    /// Numbers that the hungriest layer needs beside its maps.
    pub scratch: usize,
}

/// Where the maps of up to [`GROUP`] digits lie in the arena.
#[derive(Clone, Debug)]
pub struct Place {
    /// First number.
    pub start: usize,
    /// How a digit's map lies.
    pub map: Map,
    /// What the bytes stand for, if it is in the arena of bytes.
    pub quant: Option<Quant>,
}

impl Place {
    /// The numbers of the slot.
    pub fn range(&self) -> std::ops::Range<usize> {
        self.start..self.start + slot_len(&self.map)
    }
}

/// One operation on places.
#[derive(Debug)]
pub struct Step {
    /// What made the result in the file, before anything was fused to it.
    pub name: String,
    /// Multiply-adds that the definition asks for, a digit.
    pub products: usize,
    /// What is done.
    pub work: Work,
    /// What is read first.
    pub input: Place,
    /// What is added, if anything.
    pub add: Option<Place>,
    /// What is written; it may be one of the others.
    pub output: Place,
}

/// What a step does.
#[derive(Debug)]
pub enum Work {
    /// Convolution with all that was fused to it.
    Conv(Box<Conv>),
    /// Convolution of bytes with all that was fused to it.
    Bytes(Box<Bytes>),
    /// Fully connected layer.
    Linear(Box<FullyConnected>),
    /// Floats to bytes.
    Quantize(Quant),
    /// What could not be fused, number by number.
    Each(Each),
}

/// An operation on single numbers.
#[derive(Clone, Debug)]
pub enum Each {
    /// `x * scale + shift`, for each channel.
    Affine(Vec<f32>, Vec<f32>),
    /// An activation.
    Activation(Activation),
    /// `x + add`
    Add,
}

impl Plan {
    /// Lays out a fused graph.
    ///
    /// # Errors
    /// When its values are too large.
    pub fn new(graph: &Graph, kernels: Kernels) -> Result<Plan, GraphError> {
        let maps = maps(graph, kernels);
        let Slots { starts, floats, bytes } = slots(graph, &maps);
        if floats.max(bytes) > MAX_ARENA {
            return Err(GraphError::TooLarge(floats.max(bytes)));
        }
        let place = |value: ValueId| Place {
            start: starts[value],
            map: maps[value].clone(),
            quant: graph.quants[value],
        };
        let steps: Vec<Step> = graph
            .nodes
            .iter()
            .map(|node| {
                let (input, output) = (place(node.inputs[0]), place(node.output));
                let add = node.inputs.get(1).map(|&value| place(value));
                Step {
                    name: node.name.clone(),
                    products: products(&node.op, &output.map),
                    work: work(
                        &node.op,
                        kernels,
                        &input.map,
                        add.as_ref().map(|add| &add.map),
                        &output.map,
                    ),
                    input,
                    add,
                    output,
                }
            })
            .collect();
        Ok(Plan {
            kernels,
            input: place(0),
            logits: place(graph.logits),
            floats,
            bytes,
            scratch: steps.iter().map(Step::scratch).max().unwrap_or(0),
            steps,
        })
    }
}

impl Step {
    fn scratch(&self) -> usize {
        match &self.work {
            Work::Conv(conv) => conv.scratch(),
            Work::Bytes(_) | Work::Linear(_) | Work::Quantize(_) | Work::Each(_) => 0,
        }
    }
}

fn products(op: &Op, output: &Map) -> usize {
    let pixels = output.height * output.width;
    match op {
        Op::Conv(spec) => spec.weight.len() * pixels,
        Op::ByteConv(spec) => {
            let shortcut = spec.shortcut.as_ref().map_or(0, |shortcut| shortcut.conv.weight.len());
            (spec.conv.weight.len() + shortcut) * pixels
        }
        Op::Linear(spec) => spec.weight.len(),
        _ => 0,
    }
}

impl Work {
    /// Name of the algorithm.
    pub fn algorithm(&self) -> &'static str {
        match self {
            Work::Conv(conv) => conv.algorithm(),
            Work::Bytes(_) => "bytes",
            Work::Linear(_) => "linear",
            Work::Quantize(_) => "quantize",
            Work::Each(_) => "each",
        }
    }
}

fn work(op: &Op, kernels: Kernels, input: &Map, add: Option<&Map>, output: &Map) -> Work {
    match op {
        Op::Conv(spec) => Work::Conv(Box::new(kernels.pack(spec, input, output))),
        Op::ByteConv(spec) => Work::Bytes(Box::new(
            kernels.pack_bytes(spec, [input, add.unwrap_or(input), output]),
        )),
        Op::Linear(spec) => Work::Linear(Box::new(kernels.pack_linear(spec, input, output))),
        Op::Quantize(quant) => Work::Quantize(*quant),
        Op::Affine { scale, shift } => {
            Work::Each(Each::Affine(vec![*scale; input.channels], vec![*shift; input.channels]))
        }
        Op::Norm { scale, shift } => Work::Each(Each::Affine(scale.clone(), shift.clone())),
        Op::Activation(activation) => Work::Each(Each::Activation(*activation)),
        Op::Add => Work::Each(Each::Add),
    }
}

/// How each value lies. Values that a step combines number by number lie alike.
fn maps(graph: &Graph, kernels: Kernels) -> Vec<Map> {
    let alike = alike(graph);
    let mut borders = vec![Border::default(); graph.shapes.len()];
    let mut blocked = vec![false; graph.shapes.len()];
    for node in &graph.nodes {
        let Shape { height, width, .. } = graph.shapes[node.output];
        let border = match &node.op {
            Op::Conv(spec) => kernels.border(spec, height, width),
            Op::ByteConv(spec) => {
                if let Some(shortcut) = &spec.shortcut {
                    let short = &mut borders[alike[node.inputs[1]]];
                    *short = short.union(shortcut.conv.padding);
                }
                spec.conv.padding
            }
            Op::Linear(_) => Border::default(),
            Op::Affine { .. } | Op::Norm { .. } | Op::Activation(_) | Op::Add | Op::Quantize(_) => continue,
        };
        let input = &mut borders[alike[node.inputs[0]]];
        *input = input.union(border);
        blocked[alike[node.output]] = true;
    }
    let map = |(
        value,
        &Shape {
            channels,
            height,
            width,
        },
    ): (usize, &Shape)| {
        let class = alike[value];
        let map = Map::blocked(channels, height, width, borders[class]);
        let depth = if blocked[class] { map.depth } else { channels };
        Map { depth, ..map }
    };
    graph.shapes.iter().enumerate().map(map).collect()
}

/// For each value, the first of the values that must lie as it does.
fn alike(graph: &Graph) -> Vec<ValueId> {
    let mut class: Vec<ValueId> = (0..graph.shapes.len()).collect();
    for node in &graph.nodes {
        let operands = match &node.op {
            Op::ByteConv(spec) if spec.shortcut.is_some() => &[],
            Op::Conv(_) | Op::ByteConv(_) | Op::Linear(_) => &node.inputs[1..],
            _ => &node.inputs[..],
        };
        for &operand in operands {
            let (a, b) = (class[node.output], class[operand]);
            class
                .iter_mut()
                .filter(|class| **class == a.max(b))
                .for_each(|class| *class = a.min(b));
        }
    }
    class
}

/// Numbers of a slot: a group of maps, and room for a kernel that reads past the last one.
fn slot_len(map: &Map) -> usize {
    (GROUP * map.len() + SLACK).next_multiple_of(4 * BLOCK)
}

/// Where each value begins, and the lengths of the arenas.
struct Slots {
    starts: Vec<usize>,
    floats: usize,
    bytes: usize,
}

/// A slot serves one value after another if they lie alike, so that its border stays as it is; a value that is added or
/// changed number by number for the last time is overwritten.
fn slots(graph: &Graph, maps: &[Map]) -> Slots {
    let last_use = last_use(graph);
    let mut slots = Slots {
        starts: vec![0; maps.len()],
        floats: slot_len(&maps[0]),
        bytes: 0,
    };
    let mut free: Vec<ValueId> = Vec::new();
    for (index, node) in graph.nodes.iter().enumerate() {
        let dies = |value: &ValueId| last_use[*value] == index;
        let overwritten = overwritable(node).filter(dies);
        let reused = overwritten.or_else(|| {
            let fits =
                |&value: &ValueId| maps[value] == maps[node.output] && graph.quants[value] == graph.quants[node.output];
            free.iter().position(fits).map(|index| free.remove(index))
        });
        slots.starts[node.output] = match reused {
            Some(value) => slots.starts[value],
            None => slots.push(&maps[node.output], graph.quants[node.output].is_some()),
        };
        let mut dead: Vec<ValueId> = node.inputs.iter().copied().filter(dies).collect();
        dead.dedup();
        free.extend(dead.into_iter().filter(|&value| Some(value) != overwritten));
    }
    slots
}

impl Slots {
    /// Where a new slot begins.
    fn push(&mut self, map: &Map, is_bytes: bool) -> usize {
        let end = if is_bytes { &mut self.bytes } else { &mut self.floats };
        let start = *end;
        *end += slot_len(map);
        start
    }
}

/// The input whose place a step may write its result to, because it reads each number before it writes it.
fn overwritable(node: &Node) -> Option<ValueId> {
    match node.op {
        Op::Conv(_) => node.inputs.get(1).copied().filter(|&add| add != node.inputs[0]),
        Op::ByteConv(_) | Op::Linear(_) | Op::Quantize(_) => None,
        Op::Affine { .. } | Op::Norm { .. } | Op::Activation(_) | Op::Add => Some(node.inputs[0]),
    }
}

/// The last node that reads each value; the logits are read after all.
fn last_use(graph: &Graph) -> Vec<usize> {
    let mut last = vec![0; graph.shapes.len()];
    for (index, node) in graph.nodes.iter().enumerate() {
        for &input in &node.inputs {
            last[input] = index;
        }
    }
    last[graph.logits] = usize::MAX;
    last
}
