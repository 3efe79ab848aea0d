//! The gate lets pass what is equal and nothing else.

use exporter::graph::{Options, export};
use exporter::verify::{GateError, verify};
use models::golden::Golden;
use models::network::{Activation, NetworkSpec};
use models::onnx::InputKind;
use models::weights::Weights;

use crate::{all_required, golden, specs, weights, weights_with};

#[track_caller]
fn passes(weights: &Weights, golden: &Golden, options: &Options) {
    for check in verify(&export(weights, options).to_bytes(), golden).unwrap() {
        match check.outcome {
            Ok(comparison) => assert!(comparison.is_equal(), "{}: {comparison}", check.engine),
            Err(error) if all_required() => panic!("{error}"),
            Err(error) => println!("skipped: {error}"),
        }
    }
}

#[test]
fn every_network_passes_folded_and_unfolded() {
    for spec in specs() {
        let weights = weights(spec);
        let golden = golden(&weights);
        for fold_norms in [true, false] {
            let options = Options {
                fold_norms,
                ..Options::default()
            };
            passes(&weights, &golden, &options);
        }
    }
}

#[test]
fn every_option_passes() {
    let weights = weights(NetworkSpec::default());
    let golden = golden(&weights);
    for input in [InputKind::Float32, InputKind::Uint8] {
        for batch in [None, Some(1), Some(4)] {
            for softmax in [false, true] {
                let options = Options {
                    fold_norms: true,
                    batch,
                    input,
                    softmax,
                    ..Options::default()
                };
                passes(&weights, &golden, &options);
            }
        }
    }
}

#[test]
fn the_released_model_passes() {
    let weights = Weights::from_bytes(models::RELEASED_WEIGHTS).unwrap();
    let golden = Golden::from_bytes(models::GOLDEN).unwrap();
    passes(&weights, &golden, &Options::default());
}

#[test]
fn one_changed_weight_fails() {
    let spec = NetworkSpec::default();
    let changed = weights_with(spec, |tensors| {
        tensors.get_mut("block2.conv1.weight").unwrap()[1234] += 0.05
    });
    let golden = Golden {
        weights_sha256: changed.sha256(),
        ..golden(&weights(spec))
    };
    let error = verify(&export(&changed, &Options::default()).to_bytes(), &golden).unwrap_err();
    assert!(matches!(error, GateError::Differs { .. }), "{error}");
}

#[test]
fn another_activation_fails() {
    let graph = |activation| {
        export(
            &weights(NetworkSpec {
                activation,
                ..NetworkSpec::default()
            }),
            &Options::default(),
        )
    };
    let mut tanh = graph(Activation::Tanh);
    tanh.metadata_props = graph(Activation::Relu).metadata_props;
    let golden = golden(&weights(NetworkSpec::default()));
    assert!(matches!(
        verify(&tanh.to_bytes(), &golden),
        Err(GateError::Differs { .. })
    ));
}

#[test]
fn digits_of_other_weights_or_too_few_prove_nothing() {
    let weights = weights(NetworkSpec::default());
    let onnx = export(&weights, &Options::default()).to_bytes();
    let mut golden = golden(&weights);
    golden.digits.truncate(63);
    assert!(matches!(
        verify(&onnx, &golden),
        Err(GateError::TooFewDigits { found: 63, .. })
    ));
    golden.weights_sha256 = "ab".into();
    assert!(matches!(verify(&onnx, &golden), Err(GateError::OtherWeights { .. })));
    assert!(matches!(verify(b"no", &golden), Err(GateError::Model(_))));
}
