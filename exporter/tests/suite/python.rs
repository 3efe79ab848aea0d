//! What the Python packages `onnx`, `onnxruntime` and `tritonclient` say of the files.

use std::path::Path;
use std::process::Command;

use exporter::graph::{Options, export};
use exporter::triton;
use models::network::NetworkSpec;
use models::onnx::{InputKind, Model};

use crate::{all_required, specs, weights};

#[test]
fn python_finds_nothing_wrong() {
    let Some(mut command) = python("check_onnx.py", "python", "onnx") else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    for (index, (spec, options)) in specs()
        .flat_map(|spec| options().map(move |options| (spec, options)))
        .enumerate()
    {
        let path = folder.path().join(format!("{index}.onnx"));
        std::fs::write(&path, export(&weights(spec), &options).to_bytes()).unwrap();
        command.arg(path);
    }
    passes(command.env("ORT_DISABLE_TELEMETRY", "1"));
}

#[test]
fn triton_reads_its_configuration() {
    let Some(mut command) = python("check_triton.py", "python-serve", "tritonclient/grpc") else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    for (index, options) in options().enumerate() {
        let onnx = export(&weights(NetworkSpec::default()), &options).to_bytes();
        let repository = folder.path().join(index.to_string());
        triton::write(&repository, &Model::from_bytes(&onnx).unwrap(), &onnx).unwrap();
        command.arg(repository.join("digits/config.pbtxt"));
    }
    passes(&mut command);
}

/// A script of these tests with the packages of a folder that `make setup` fills; `None` if `package` is missing there and
/// need not be there.
fn python(script: &str, folder: &str, package: &str) -> Option<Command> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let packages = root.join(".deps").join(folder);
    if !packages.join(package).is_dir() {
        assert!(!all_required(), "the Python packages are missing: run make setup");
        println!("skipped: the Python packages are missing, run make setup");
        return None;
    }
    let mut command = Command::new("python3");
    command.arg(root.join("exporter/tests").join(script));
    command.env("PYTHONPATH", packages);
    Some(command)
}

#[track_caller]
fn passes(command: &mut Command) {
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
