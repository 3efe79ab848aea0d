//! One suite for all engines: an engine supplies only its kind.

use infer::engine::{self, Engine, EngineError, EngineKind};
use infer::numbers;
use infer::verify::verify;
use models::golden::{Comparison, Golden, argmax};
use models::onnx::proto::ModelProto;
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
            #[should_panic(expected = "pixels and logits of whole digits")]
            fn lengths_that_do_not_fit_are_a_bug_of_the_caller() {
                let mut engine = released($kind).expect("pixels and logits of whole digits");
                let _ = engine.run(&[0.0; PIXELS], &mut [0.0; CLASSES + 1]);
            }

            #[test]
            fn refuses_what_it_cannot_run() {
                for graph in broken_graphs() {
                    check_refused($kind, &graph);
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
    assert!(
        error.to_string().ends_with("it does not know Elu, MatMul, Nonsense"),
        "{error}"
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

/// Graphs that pass the door and that no engine can run.
fn broken_graphs() -> [ModelProto; 5] {
    let before_head =
        |first, initializers| graphs::small(std::iter::once(first).chain(head("x")).collect(), initializers);
    [
        before_head(node("Nonsense", &["input"], "x", vec![]), vec![]),
        before_head(
            node("Transpose", &["input"], "x", vec![int_list("perm", &[0, 9, 9, 9])]),
            vec![],
        ),
        // Two logits for one digit.
        graphs::small(
            [
                &head("input")[..1],
                &[node("MatMul", &["flat", "w"], "x", vec![])],
                &[node("Concat", &["x", "x"], "logits", vec![int("axis", 0)])],
            ]
            .concat(),
            vec![],
        ),
        // 2^40 numbers that are thrown away.
        before_head(
            node("Tile", &["input", "times"], "x", vec![]),
            vec![ints("times", &[1, 1, 1 << 15, 1 << 15])],
        ),
        before_head(
            node("Reshape", &["input", "shape"], "x", vec![]),
            vec![ints("shape", &[-1, -1, 0])],
        ),
    ]
}

#[track_caller]
fn check_refused(kind: EngineKind, graph: &ModelProto) {
    if !is_here(kind) {
        return;
    }
    let result =
        engine::open(kind, &graph.to_bytes(), 1).and_then(|mut engine| engine.run(&[0.0; PIXELS], &mut [0.0; CLASSES]));
    match result {
        Err(EngineError::Load { .. } | EngineError::Run { .. }) => {}
        other => panic!("{other:?}"),
    }
}
