//! One suite for all engines: an engine supplies only its kind.

use std::panic::{AssertUnwindSafe, catch_unwind};

use infer::engine::{self, Engine, EngineError, EngineKind, KernelKind, Native};
use infer::verify::verify;
use infer::{Classifier, numbers};
use models::golden::{Comparison, Golden, argmax};
use models::onnx::proto::{ModelProto, NodeProto};
use models::onnx::{InputKind, Model};
use models::{CLASSES, GOLDEN, PIXELS, RELEASED_INT8_ONNX};

use crate::graphs::{self, head, int, int_list, ints, node};
use crate::is_here;

macro_rules! suite {
    ($($engine:ident: $kind:expr)*) => {$(
        mod $engine {
            use super::*;

            #[test]
            fn computes_what_libtorch_computed() {
                check_golden($kind, graphs::released());
            }

            #[test]
            fn serves_any_number_with_a_fixed_batch() {
                check_golden($kind, graphs::with_fixed_batch(graphs::released(), 5));
            }

            #[test]
            fn takes_bytes_and_finds_the_logits_by_name() {
                check_golden($kind, graphs::with_bytes_and_probabilities(graphs::released()));
            }

            #[test]
            fn reads_int8_as_libtorch_reads_floats() {
                check_int8($kind);
            }

            #[test]
            fn a_changed_weight_is_noticed() {
                let compare = |comparison: Comparison| assert!(!comparison.is_equal(), "{comparison}");
                compare_golden($kind, &graphs::with_one_changed_weight(graphs::released()), compare);
            }

            #[test]
            fn no_digits_are_no_work() {
                if let Some(mut engine) = released($kind) {
                    engine.run(&[], &mut []).unwrap();
                }
            }

            #[test]
            fn lengths_that_do_not_fit_are_a_bug_of_the_caller() {
                if let Some(mut engine) = released($kind) {
                    check_panic("pixels and logits of whole digits", || {
                        let _ = engine.run(&[0.0; PIXELS], &mut [0.0; CLASSES + 1]);
                    });
                }
            }

            #[test]
            fn refuses_what_it_cannot_run() {
                for (graph, native_reason) in broken_graphs() {
                    check_refused($kind, &graph, native_reason);
                }
            }
        }
    )*};
}

suite! {
    native: EngineKind::Native
    tract: EngineKind::Tract
    ort: EngineKind::Ort
}

/// Each digit's logits depend on nothing else: not on its batch, and not on the number of threads.
#[test]
fn native_answers_are_the_same_bit_for_bit() {
    let digits = numbers(InputKind::Float32, &Golden::from_bytes(GOLDEN).unwrap().digits[..70]);
    let run = |threads: usize, batch: usize| {
        let mut engine = engine::open(EngineKind::Native, models::RELEASED_ONNX, threads).unwrap();
        let mut logits = vec![0.0; digits.len() / PIXELS * CLASSES];
        for (digits, logits) in digits.chunks(batch * PIXELS).zip(logits.chunks_mut(batch * CLASSES)) {
            engine.run(digits, logits).unwrap();
        }
        logits.into_iter().map(f32::to_bits).collect::<Vec<_>>()
    };
    let alone = run(1, 1);
    for (threads, batch) in [(1, 70), (1, 3), (2, 70), (3, 70), (3, 11)] {
        assert_eq!(run(threads, batch), alone, "{threads} threads, batch {batch}");
    }
}

#[test]
fn native_names_all_operators_that_it_lacks() {
    let first = node("Elu", &["input"], "x", vec![]);
    let second = node("Nonsense", &["x"], "y", vec![]);
    let graph = graphs::small([first, second].into_iter().chain(head("y")).collect(), vec![]);
    let error = engine::open(EngineKind::Native, &graph.to_bytes(), 1).err().unwrap();
    assert!(error.to_string().ends_with("it does not know Elu, Nonsense"), "{error}");
}

#[test]
fn native_refuses_empty_weights_and_sizes_that_it_would_have_to_change() {
    let refused = |nodes: &[NodeProto], initializer, reason: &str| {
        let initializers = vec![graphs::floats("scale", &[], &[0.1]), initializer];
        let graph = graphs::small([nodes, &head("x")].concat(), initializers);
        check_refused(EngineKind::Native, &graph, reason);
    };
    let row = node("Flatten", &["input"], "row", vec![int("axis", 1)]);
    refused(
        &[row.clone(), node("Gemm", &["row", "weight"], "x", vec![])],
        graphs::floats("weight", &[PIXELS as i64, 0], &[]),
        "its weight is empty",
    );
    refused(
        &[
            row,
            node("QuantizeLinear", &["row", "scale"], "bytes", vec![]),
            node("DequantizeLinear", &["bytes", "scale"], "floats", vec![]),
            node("DequantizeLinear", &["weight", "scale"], "weights", vec![]),
            node("Gemm", &["floats", "weights"], "x", vec![int("transB", 1)]),
        ],
        graphs::no_bytes("weight", &[0, PIXELS as i64]),
        "its weight is empty",
    );
    for (name, sizes) in [
        ("pads", &[70, 0, 70, 0][..]),
        ("pads", &[0, -1, 0, 0]),
        ("strides", &[1, 65]),
    ] {
        refused(
            &[node("Conv", &["input", "weight"], "x", vec![int_list(name, sizes)])],
            graphs::floats("weight", &[1, 1, 1, 1], &[1.0]),
            &format!("{name} {sizes:?} are not all from 0 to 64"),
        );
    }
}

#[test]
fn native_times_only_whole_digits() {
    let mut engine = Native::new(&Model::from_bytes(models::RELEASED_ONNX).unwrap(), 1, None).unwrap();
    assert!(!engine.profile(&[0.0; PIXELS], 1).is_empty());
    for (numbers, runs) in [(PIXELS, 0), (0, 1), (PIXELS + 1, 1)] {
        check_panic("whole digits and at least one run", || {
            engine.profile(&vec![0.0; numbers], runs);
        });
    }
}

#[test]
fn debug_says_which_engine_it_is() {
    let model = Model::from_bytes(models::RELEASED_ONNX).unwrap();
    let native = Native::new(&model, 2, Some(KernelKind::Plain)).unwrap();
    assert_eq!(format!("{native:?}"), "Native { kernels: Plain, threads: 2, .. }");
    let classifier = format!("{:?}", Classifier::released().unwrap());
    assert!(
        classifier.starts_with("Classifier { kind: Native, signature: "),
        "{classifier}"
    );
}

/// The released int8 graph: other logits than the floats', within a step of quantisation or a few, and the same answers.
#[track_caller]
fn check_int8(kind: EngineKind) {
    if !is_here(kind) {
        return;
    }
    let golden = Golden::from_bytes(GOLDEN).unwrap();
    let mut logits = vec![0.0; golden.logits.len()];
    let digits = numbers(InputKind::Float32, &golden.digits);
    engine::open(kind, RELEASED_INT8_ONNX, 1)
        .unwrap()
        .run(&digits, &mut logits)
        .unwrap();
    let (rows, _) = logits.as_chunks::<CLASSES>();
    let (expected, _) = golden.logits.as_chunks::<CLASSES>();
    let alike = rows.iter().zip(expected).filter(|(a, b)| argmax(*a) == argmax(*b));
    assert!(alike.count() + 1 >= rows.len(), "at most one answer may change");
    let difference = logits
        .iter()
        .zip(&golden.logits)
        .map(|(a, b)| (a - b).abs())
        .fold(0.0, f32::max);
    assert!((1e-3..2.0).contains(&difference), "{difference}");
}

fn released(kind: EngineKind) -> Option<Box<dyn Engine>> {
    is_here(kind).then(|| engine::open(kind, models::RELEASED_ONNX, 2).unwrap())
}

#[track_caller]
fn check_golden(kind: EngineKind, graph: ModelProto) {
    compare_golden(kind, &graph, |comparison| {
        assert!(comparison.is_equal(), "{comparison}")
    });
}

#[track_caller]
fn compare_golden(kind: EngineKind, graph: &ModelProto, compare: impl Fn(Comparison)) {
    if !is_here(kind) {
        return;
    }
    let onnx = graph.to_bytes();
    let input = Model::from_bytes(&onnx).unwrap().input;
    let golden = Golden::from_bytes(GOLDEN).unwrap();
    for threads in [1, 3] {
        let mut engine = engine::open(kind, &onnx, threads).unwrap();
        compare(verify(&mut *engine, input, &golden).unwrap());
    }
}

/// Graphs that pass the door and that no engine can run, and what the native engine says of each.
fn broken_graphs() -> [(ModelProto, &'static str); 5] {
    let before_head =
        |first, initializers| graphs::small(std::iter::once(first).chain(head("x")).collect(), initializers);
    let nonsense = before_head(node("Nonsense", &["input"], "x", vec![]), vec![]);
    let transpose = before_head(
        node("Transpose", &["input"], "x", vec![int_list("perm", &[0, 9, 9, 9])]),
        vec![],
    );
    let two_logits_for_one_digit = graphs::small(
        [
            &head("input")[..1],
            &[node("Gemm", &["flat", "w"], "x", vec![])],
            &[node("Concat", &["x", "x"], "logits", vec![int("axis", 0)])],
        ]
        .concat(),
        vec![],
    );
    // 2^40 numbers that are thrown away.
    let tile = before_head(
        node("Tile", &["input", "times"], "x", vec![]),
        vec![ints("times", &[1, 1, 1 << 15, 1 << 15])],
    );
    let reshape = before_head(
        node("Reshape", &["input", "shape"], "x", vec![]),
        vec![ints("shape", &[-1, -1, 0])],
    );
    [
        (nonsense, "it does not know Nonsense"),
        (transpose, "it does not know Transpose"),
        (two_logits_for_one_digit, "it does not know Concat"),
        (tile, "it does not know Tile"),
        (reshape, "shape [-1, -1, 0] for [1, 28, 28] is not supported"),
    ]
}

/// `native_reason` is the end of what the native engine says.
#[track_caller]
fn check_refused(kind: EngineKind, graph: &ModelProto, native_reason: &str) {
    if !is_here(kind) {
        return;
    }
    let result =
        engine::open(kind, &graph.to_bytes(), 1).and_then(|mut engine| engine.run(&[0.0; PIXELS], &mut [0.0; CLASSES]));
    match result {
        Err(EngineError::Load { problem, .. } | EngineError::Run { problem, .. }) => {
            assert!(
                kind != EngineKind::Native || problem.ends_with(native_reason),
                "{problem}"
            );
        }
        other => panic!("{other:?}"),
    }
}

/// `action` panics and says why.
#[track_caller]
fn check_panic(why: &str, action: impl FnOnce()) {
    let panic = catch_unwind(AssertUnwindSafe(action)).expect_err("it does not panic");
    let said = panic.downcast_ref::<String>().map(String::as_str);
    let said = said.or(panic.downcast_ref::<&str>().copied()).unwrap_or_default();
    assert!(said.contains(why), "{said}");
}
