//! The graph that is written: its nodes, its bytes, its metadata.

use std::fmt::Write;

use exporter::graph::{Options, export};
use models::network::NetworkSpec;
use models::onnx::proto::{Dimension, ModelProto, ValueInfoProto};
use models::onnx::{InputKind, Model};
use models::weights::Weights;

use crate::{specs, weights};

/// Inputs, nodes with their tensors and attributes, outputs; a line each.
fn listing(model: &ModelProto) -> String {
    let graph = model.graph.as_ref().unwrap();
    let mut text = String::new();
    for input in &graph.input {
        writeln!(text, "input {}", value(input)).unwrap();
    }
    for node in &graph.node {
        let inputs = node
            .input
            .iter()
            .map(|name| match graph.initializer.iter().find(|t| t.name == *name) {
                Some(tensor) => format!("{name}{:?}", tensor.dims),
                None => name.clone(),
            });
        let inputs: Vec<_> = inputs.collect();
        write!(
            text,
            "{} = {}({})",
            node.output.join(", "),
            node.op_type,
            inputs.join(", ")
        )
        .unwrap();
        for attribute in &node.attribute {
            write!(text, " {}=", attribute.name).unwrap();
            match (attribute.i, attribute.f) {
                (Some(int), _) => write!(text, "{int}").unwrap(),
                (_, Some(float)) => write!(text, "{float:e}").unwrap(),
                _ => write!(text, "{:?}", attribute.ints).unwrap(),
            }
        }
        text.push('\n');
    }
    for output in &graph.output {
        writeln!(text, "output {}", value(output)).unwrap();
    }
    text
}

fn value(value: &ValueInfoProto) -> String {
    let tensor = value.r#type.as_ref().unwrap().tensor_type.as_ref().unwrap();
    let dims = tensor
        .shape
        .as_ref()
        .unwrap()
        .dim
        .iter()
        .map(|dim| match dim.value.as_ref().unwrap() {
            Dimension::DimValue(n) => n.to_string(),
            Dimension::DimParam(name) => name.clone(),
        });
    format!(
        "{} type {} [{}]",
        value.name,
        tensor.elem_type,
        dims.collect::<Vec<_>>().join(", ")
    )
}

#[test]
fn lists_the_published_network() {
    let model = export(&weights(NetworkSpec::default()), &Options::default());
    insta::assert_snapshot!(listing(&model));
}

#[test]
fn lists_the_network_with_its_norms() {
    let options = Options {
        fold_norms: false,
        ..Options::default()
    };
    insta::assert_snapshot!(listing(&export(&weights(NetworkSpec::default()), &options)));
}

#[test]
fn lists_what_the_options_add() {
    let options = Options {
        fold_norms: true,
        batch: Some(4),
        input: InputKind::Uint8,
        softmax: true,
        ..Options::default()
    };
    let listing = listing(&export(&weights(NetworkSpec::default()), &options));
    let ends: Vec<_> = listing.lines().filter(|line| !line.contains("block")).collect();
    insta::assert_snapshot!(ends.join("\n"));
}

#[test]
fn equal_weights_give_equal_bytes() {
    for spec in specs() {
        let again = Weights::from_bytes(&weights(spec).to_bytes()).unwrap();
        let bytes = |weights| export(weights, &Options::default()).to_bytes();
        assert_eq!(bytes(&again), bytes(&weights(spec)));
    }
}

#[test]
fn the_file_says_what_it_is() {
    let weights = weights(NetworkSpec::default());
    let model = Model::from_bytes(&export(&weights, &Options::default()).to_bytes()).unwrap();
    let contract = model.contract.as_ref().unwrap();
    assert_eq!(contract.weights_sha256, weights.sha256());
    assert_eq!(contract.training, weights.training);
    assert_eq!((model.proto.ir_version, model.opset()), (8, Some(17)));
    assert_eq!(model.proto.producer_name, "threeblock");
    assert!(model.proto.metadata_props.iter().any(|entry| entry.key == "license"));
    assert!(model.graph().initializer.iter().all(|tensor| tensor.raw_data.is_some()));
}

#[test]
fn the_released_weights_give_the_released_file() {
    let weights = Weights::from_bytes(models::RELEASED_WEIGHTS).unwrap();
    let exported = export(&weights, &Options::default()).to_bytes();
    assert!(
        exported == models::RELEASED_ONNX,
        "models/digits.onnx is not what this exporter writes"
    );
}
