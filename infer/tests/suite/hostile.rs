//! Files that want to do harm: models from the folder that the environment variable `REALDIGITS` names, and a library.

use std::env::consts::{DLL_PREFIX, DLL_SUFFIX};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use infer::engine::EngineKind;

use crate::{cli, is_here, skipped};

/// Whatever the file: an answer or an error within a minute, and no panic.
#[test]
fn hostile_models_do_no_harm() {
    let Some(folder) = std::env::var_os("REALDIGITS") else {
        return skipped("hostile models, because REALDIGITS names no folder");
    };
    let folder = Path::new(&folder).join("hostile_onnx");
    let expectations = std::fs::read_to_string(folder.join("expect.csv")).unwrap();
    for line in expectations.lines().skip(1) {
        let (name, expected) = line.split_once(',').unwrap();
        for &kind in EngineKind::ALL.iter().filter(|&&kind| is_here(kind)) {
            check(kind, &folder.join(name), expected.trim_start_matches('"'));
        }
    }
}

/// Whoever lays a library into a folder must not have it run by those who classify there.
#[test]
fn no_library_is_loaded_from_the_working_directory() {
    let folder = tempfile::tempdir().unwrap();
    let libraries = folder.path().join(".deps/onnxruntime");
    std::fs::create_dir_all(&libraries).unwrap();
    std::fs::write(
        libraries.join(format!("{DLL_PREFIX}onnxruntime{DLL_SUFFIX}")),
        "no library",
    )
    .unwrap();
    std::fs::create_dir(folder.path().join(format!("{DLL_PREFIX}onnxruntime{DLL_SUFFIX}"))).unwrap();
    let mut command = Command::new(cli::INFER);
    command.args(["classify", "--engine", "ort"]).arg(cli::sample(7));
    let output = command
        .current_dir(&folder)
        .env_remove("ORT_DYLIB_PATH")
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(!stderr.contains(".deps") && !stderr.contains("is no file"), "{stderr}");
}

#[track_caller]
fn check(kind: EngineKind, model: &Path, expected: &str) {
    let started = Instant::now();
    let mut command = Command::new(cli::INFER);
    command
        .args(["classify", "--engine", kind.name(), "--model"])
        .arg(model)
        .arg(cli::sample(7));
    let output = command.output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    let context = format!("{kind} on {}: {:?} {stderr}", model.display(), output.status);
    assert!(started.elapsed() < Duration::from_secs(60), "{context}");
    assert!(!stderr.contains("panicked"), "{context}");
    match output.status.code() {
        Some(0) => assert!(expected.starts_with("loads"), "{context}"),
        // The native engine does not have every operator, but names those that it has not.
        Some(1) if kind == EngineKind::Native && stderr.contains("does not know") => {}
        Some(1) => assert!(
            !expected.starts_with("loads;") && stderr.starts_with("error: "),
            "{context}"
        ),
        _ => panic!("{context}"),
    }
}
