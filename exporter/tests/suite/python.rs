//! What the Python packages `onnx` and `onnxruntime` say of the files.

use std::path::Path;
use std::process::Command;

use exporter::graph::{Options, export};
use models::onnx::InputKind;

use crate::{all_required, specs, weights};

#[test]
fn python_finds_nothing_wrong() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let packages = root.join(".deps/python");
    if !packages.join("onnx").is_dir() {
        assert!(!all_required(), "the Python packages are missing: run make setup");
        return println!("skipped: the Python packages are missing, run make setup");
    }
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new("python3");
    command.arg("exporter/tests/check_onnx.py").current_dir(root);
    command.env("PYTHONPATH", packages).env("ORT_DISABLE_TELEMETRY", "1");
    for (index, (spec, options)) in specs()
        .flat_map(|spec| options().map(move |options| (spec, options)))
        .enumerate()
    {
        let path = folder.path().join(format!("{index}.onnx"));
        std::fs::write(&path, export(&weights(spec), &options).to_bytes()).unwrap();
        command.arg(path);
    }
    let output = command.output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && stderr.is_empty(), "{stderr}");
}

/// Every pair of choices appears.
fn options() -> impl Iterator<Item = Options> {
    [
        (true, None, InputKind::Float32, false),
        (false, None, InputKind::Uint8, true),
        (true, Some(4), InputKind::Uint8, false),
        (false, Some(4), InputKind::Float32, true),
    ]
    .into_iter()
    .map(|(fold_norms, batch, input, softmax)| Options {
        fold_norms,
        batch,
        input,
        softmax,
        ..Options::default()
    })
}
