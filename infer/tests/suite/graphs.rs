//! Variants of the released graph, and small graphs that no exporter writes.

use models::onnx::proto::{
    AttributeProto, Dimension, DimensionProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto,
    TensorShapeProto, TensorTypeProto, TypeProto, ValueInfoProto, attribute_type, data_type,
};
use models::onnx::{INPUT, LOGITS, Model};
use models::{CLASSES, PIXELS, RELEASED_ONNX, SIDE, digit};

/// The released graph.
pub fn released() -> ModelProto {
    Model::from_bytes(RELEASED_ONNX).unwrap().proto
}

/// The graph takes exactly `batch` digits.
pub fn with_fixed_batch(mut model: ModelProto, batch: i64) -> ModelProto {
    let graph = model.graph.as_mut().unwrap();
    for value in graph.input.iter_mut().chain(&mut graph.output) {
        let tensor = value.r#type.as_mut().unwrap().tensor_type.as_mut().unwrap();
        tensor.shape.as_mut().unwrap().dim[0].value = Some(Dimension::DimValue(batch));
    }
    model
}

/// The graph takes bytes, and has a second output before the logits.
pub fn with_bytes_and_probabilities(mut model: ModelProto) -> ModelProto {
    model.metadata_props.clear();
    let graph = model.graph.as_mut().unwrap();
    let (scale, shift) = (1.0 / (255.0 * digit::STD), -digit::MEAN / digit::STD);
    let ahead = [
        node("Cast", &["bytes"], "floats", vec![int("to", data_type::FLOAT.into())]),
        node("Reshape", &["floats", "shape"], "planes", vec![]),
        node("Mul", &["planes", "scale"], "scaled", vec![]),
        node("Add", &["scaled", "shift"], INPUT, vec![]),
    ];
    graph.node.splice(0..0, ahead);
    graph
        .node
        .push(node("Softmax", &[LOGITS], "probabilities", vec![int("axis", 1)]));
    graph.initializer.extend([
        ints("shape", &[-1, 1, SIDE as i64, SIDE as i64]),
        floats("scale", &[1], &[scale]),
        floats("shift", &[1], &[shift]),
    ]);
    graph.input = vec![value("bytes", data_type::UINT8, &[SIDE, SIDE])];
    graph
        .output
        .insert(0, value("probabilities", data_type::FLOAT, &[CLASSES]));
    model
}

/// The released graph with one weight that is off by a hundredth.
pub fn with_one_changed_weight(mut model: ModelProto) -> ModelProto {
    let graph = model.graph.as_mut().unwrap();
    let is_weight = |tensor: &&mut TensorProto| tensor.data_type == data_type::FLOAT && tensor.dims.len() == 4;
    let weight = graph.initializer.iter_mut().find(is_weight).unwrap();
    let mut raw = weight.raw_data.take().unwrap().to_vec();
    let first: &mut [u8; 4] = raw.first_chunk_mut().unwrap();
    *first = (f32::from_le_bytes(*first) + 0.01).to_le_bytes();
    weight.raw_data = Some(raw.into());
    model
}

/// `[batch, 1, 28, 28]` through `nodes` to `[batch, 10]`; the nodes find weights `w` `[PIXELS, CLASSES]`.
pub fn small(nodes: Vec<NodeProto>, initializers: Vec<TensorProto>) -> ModelProto {
    let weights = floats("w", &[PIXELS as i64, CLASSES as i64], &[0.01; PIXELS * CLASSES]);
    let graph = GraphProto {
        node: nodes,
        name: "small".into(),
        initializer: std::iter::once(weights).chain(initializers).collect(),
        input: vec![value(INPUT, data_type::FLOAT, &[1, SIDE, SIDE])],
        output: vec![value(LOGITS, data_type::FLOAT, &[CLASSES])],
        sparse_initializer: vec![],
    };
    ModelProto {
        ir_version: 8,
        graph: Some(graph),
        opset_import: vec![OperatorSetIdProto {
            domain: String::new(),
            version: 17,
        }],
        ..ModelProto::default()
    }
}

/// The nodes that make logits of `input`.
pub fn head(input: &str) -> Vec<NodeProto> {
    vec![
        node("Flatten", &[input], "flat", vec![int("axis", 1)]),
        node("Gemm", &["flat", "w"], LOGITS, vec![]),
    ]
}

pub fn node(op: &str, inputs: &[&str], output: &str, attribute: Vec<AttributeProto>) -> NodeProto {
    NodeProto {
        input: inputs.iter().map(|&name| name.into()).collect(),
        output: vec![output.into()],
        name: format!("make {output}"),
        op_type: op.into(),
        attribute,
        domain: String::new(),
    }
}

pub fn int(name: &str, value: i64) -> AttributeProto {
    AttributeProto {
        name: name.into(),
        i: Some(value),
        r#type: attribute_type::INT,
        ..AttributeProto::default()
    }
}

pub fn int_list(name: &str, values: &[i64]) -> AttributeProto {
    AttributeProto {
        name: name.into(),
        ints: values.to_vec(),
        r#type: attribute_type::INTS,
        ..AttributeProto::default()
    }
}

pub fn ints(name: &str, values: &[i64]) -> TensorProto {
    TensorProto {
        name: name.into(),
        dims: vec![values.len() as i64],
        data_type: data_type::INT64,
        raw_data: Some(values.iter().flat_map(|value| value.to_le_bytes()).collect()),
        ..TensorProto::default()
    }
}

pub fn floats(name: &str, dims: &[i64], values: &[f32]) -> TensorProto {
    TensorProto {
        name: name.into(),
        dims: dims.to_vec(),
        data_type: data_type::FLOAT,
        raw_data: Some(values.iter().flat_map(|value| value.to_le_bytes()).collect()),
        ..TensorProto::default()
    }
}

/// A tensor of int8 without numbers.
pub fn no_bytes(name: &str, dims: &[i64]) -> TensorProto {
    TensorProto {
        name: name.into(),
        dims: dims.to_vec(),
        data_type: data_type::INT8,
        raw_data: Some(Vec::new().into()),
        ..TensorProto::default()
    }
}

/// A value `[batch, dims...]`.
fn value(name: &str, elem_type: i32, dims: &[usize]) -> ValueInfoProto {
    let batch = Dimension::DimParam("batch".into());
    let dims = dims.iter().map(|&dim| Dimension::DimValue(dim as i64));
    let dim = std::iter::once(batch)
        .chain(dims)
        .map(|dim| DimensionProto { value: Some(dim) })
        .collect();
    ValueInfoProto {
        name: name.into(),
        r#type: Some(TypeProto {
            tensor_type: Some(TensorTypeProto {
                elem_type,
                shape: Some(TensorShapeProto { dim }),
            }),
        }),
    }
}
