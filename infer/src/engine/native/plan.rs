//! [`Plan`]: the fused operations in order, their weights packed, and where each value lies. Made once, at load.

use super::graph::{Graph, Op, Shape, ValueId};
use super::kernels::{BLOCK, Border, Conv, ConvSpec, Kernels, Linear, Map};
use models::network::Activation;

/// Digits that go through the layers together: enough to use weights while they are in the cache, few enough that the
/// maps stay there.
pub const GROUP: usize = 4;

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
    /// Numbers of all slots together.
    pub arena: usize,
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
    /// Fully connected layer.
    Linear(Box<Linear>),
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
    pub fn new(graph: &Graph, kernels: Kernels) -> Plan {
        let maps = maps(graph, kernels);
        let (starts, arena) = slots(graph, &maps);
        let place = |value: ValueId| Place {
            start: starts[value],
            map: maps[value].clone(),
        };
        let steps: Vec<Step> = graph.nodes.iter().map(|node| {
            let (input, output) = (place(node.inputs[0]), place(node.output));
            Step {
                work: work(&node.op, kernels, &input.map, &output.map),
                input,
                add: node.inputs.get(1).map(|&value| place(value)),
                output,
            }
        }).collect();
        Plan {
            kernels,
            input: place(0),
            logits: place(graph.logits),
            arena,
            scratch: steps.iter().map(Step::scratch).max().unwrap_or(0),
            steps,
        }
    }
}

impl Step {
    fn scratch(&self) -> usize {
        match &self.work {
            Work::Conv(conv) => conv.scratch(),
            Work::Linear(_) | Work::Each(_) => 0,
        }
    }
}

fn work(op: &Op, kernels: Kernels, input: &Map, output: &Map) -> Work {
    match op {
        Op::Conv(spec) => Work::Conv(Box::new(kernels.pack(spec, input, output))),
        Op::Linear(spec) => Work::Linear(Box::new(Linear::new(spec, input, output))),
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
        match &node.op {
            Op::Conv(spec) => {
                let Shape { height, width, .. } = graph.shapes[node.output];
                let border = &mut borders[alike[node.inputs[0]]];
                *border = border.union(conv_border(kernels, spec, height, width));
                blocked[alike[node.output]] = true;
            }
            Op::Linear(_) => blocked[alike[node.output]] = true,
            Op::Affine { .. } | Op::Norm { .. } | Op::Activation(_) | Op::Add => {}
        }
    }
    let map = |(value, &Shape { channels, height, width }): (usize, &Shape)| {
        let class = alike[value];
        let map = Map::blocked(channels, height, width, borders[class]);
        let depth = if blocked[class] { map.depth } else { channels };
        Map { depth, ..map }
    };
    graph.shapes.iter().enumerate().map(map).collect()
}

fn conv_border(kernels: Kernels, spec: &ConvSpec, height: usize, width: usize) -> Border {
    kernels.border(spec, height, width)
}

/// For each value, the first of the values that must lie as it does.
fn alike(graph: &Graph) -> Vec<ValueId> {
    let mut class: Vec<ValueId> = (0..graph.shapes.len()).collect();
    for node in &graph.nodes {
        let operands = match node.op {
            Op::Conv(_) | Op::Linear(_) => &node.inputs[1..],
            _ => &node.inputs[..],
        };
        for &operand in operands {
            let (from, to) = (class[node.output].max(class[operand]), class[node.output].min(class[operand]));
            class.iter_mut().filter(|class| **class == from).for_each(|class| *class = to);
        }
    }
    class
}

/// Numbers of a slot: a group of maps, and room for a kernel that reads past the last one.
fn slot_len(map: &Map) -> usize {
    (GROUP * map.len() + Linear::SLACK).next_multiple_of(BLOCK)
}

/// Where each value begins, and the length of the arena. A slot serves one value after another if they lie alike, so
/// that its border stays zero; a value that is added or changed number by number for the last time is overwritten.
fn slots(graph: &Graph, maps: &[Map]) -> (Vec<usize>, usize) {
    let last_use = last_use(graph);
    let mut starts = vec![0; maps.len()];
    let mut arena = slot_len(&maps[0]);
    let mut free: Vec<ValueId> = Vec::new();
    for (index, node) in graph.nodes.iter().enumerate() {
        let dies = |value: &ValueId| last_use[*value] == index;
        let overwritten = match node.op {
            Op::Conv(_) | Op::Linear(_) => node.inputs[1..].iter().find(|&value| dies(value) && *value != node.inputs[0]),
            _ => node.inputs[..1].iter().find(|&value| dies(value)),
        };
        let reused = overwritten.copied().or_else(|| {
            let fits = free.iter().position(|&value| maps[value] == maps[node.output])?;
            Some(free.remove(fits))
        });
        starts[node.output] = reused.map_or(arena, |value| starts[value]);
        if reused.is_none() {
            arena += slot_len(&maps[node.output]);
        }
        let mut dead: Vec<ValueId> = node.inputs.iter().copied().filter(|value| dies(value)).collect();
        dead.dedup();
        free.extend(dead.into_iter().filter(|value| Some(value) != overwritten));
    }
    (starts, arena)
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
