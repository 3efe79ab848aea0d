//! The command as a user types it, in a folder of its own.

use std::path::Path;
use std::process::{Command, Output};

use exporter::graph::{Options, export};
use models::network::NetworkSpec;
use models::onnx::{InputKind, Model};
use models::weights::Weights;
use tempfile::TempDir;

use crate::{golden, weights, weights_with};

/// A folder with one run.
struct Place(TempDir);

impl Place {
    fn new() -> Place {
        let place = Place(tempfile::tempdir().unwrap());
        place.add_run("1", &weights(NetworkSpec::default()));
        place
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.0.path().join(name)
    }

    fn add_run(&self, number: &str, weights: &Weights) {
        let run = self.path("runs").join(number);
        std::fs::create_dir_all(&run).unwrap();
        std::fs::write(run.join("weights.safetensors"), weights.to_bytes()).unwrap();
        std::fs::write(run.join("golden.safetensors"), golden(weights).to_bytes()).unwrap();
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_exporter"));
        command.args(args).current_dir(self.0.path()).env_remove("COLUMNS");
        command
    }

    fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    #[track_caller]
    fn succeeds(&self, args: &[&str]) -> Output {
        let output = self.run(args);
        assert!(output.status.success(), "{}", stderr(&output));
        output
    }

    /// Fails with `code`, says `expected`, and leaves no file behind.
    #[track_caller]
    fn fails(&self, args: &[&str], code: i32, expected: &str) {
        let before = files(self.0.path());
        let output = self.run(args);
        let stderr = stderr(&output);
        assert_eq!(output.status.code(), Some(code), "{stderr}");
        assert!(stderr.contains(expected), "{stderr}");
        assert!(output.stdout.is_empty());
        assert_eq!(files(self.0.path()), before);
    }
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// Every file below `folder` with its bytes.
fn files(folder: &Path) -> Vec<(std::path::PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push((path.clone(), std::fs::read(&path).unwrap()));
        }
    }
    found.sort();
    found
}

#[test]
fn writes_the_model_and_says_what_it_checked() {
    let place = Place::new();
    let output = place.succeeds(&["model.onnx"]);
    let bytes = std::fs::read(place.path("model.onnx")).unwrap();
    assert_eq!(
        bytes,
        export(&weights(NetworkSpec::default()), &Options::default()).to_bytes()
    );
    let (size, sum) = (bytes.len(), models::artefact::sha256(&bytes));
    assert_eq!(
        String::from_utf8(output.stdout.clone()).unwrap(),
        format!("model.onnx: {size} bytes, SHA-256 {sum}\n")
    );
    let stderr = stderr(&output);
    for expected in [
        "exporting runs/1/weights.safetensors",
        "tract: max",
        "ort: ",
        "classify --model model.onnx",
    ] {
        assert!(stderr.contains(expected), "{stderr}");
    }
}

#[test]
fn exports_the_newest_run_that_has_weights() {
    let place = Place::new();
    place.add_run(
        "10",
        &weights(NetworkSpec {
            residual: false,
            ..NetworkSpec::default()
        }),
    );
    place.add_run("9", &weights(NetworkSpec::default()));
    std::fs::create_dir_all(place.path("runs/11")).unwrap();
    std::fs::create_dir_all(place.path("runs/study")).unwrap();
    let newest = stderr(&place.succeeds(&["model.onnx"]));
    assert!(newest.contains("runs/11 has no weights"), "{newest}");
    assert!(newest.contains("exporting runs/10/weights.safetensors"), "{newest}");
    let named = place.succeeds(&["model.onnx", "--weights", "runs/9/weights.safetensors"]);
    assert!(stderr(&named).contains("exporting runs/9/weights.safetensors"));
}

#[test]
fn exports_the_released_weights_where_there_is_no_run() {
    let place = Place(tempfile::tempdir().unwrap());
    place.fails(&["model.onnx", "--runs", "runs"], 1, "runs holds no run with weights");
    assert!(stderr(&place.succeeds(&["model.onnx"])).contains("exporting the released weights"));
    assert!(std::fs::read(place.path("model.onnx")).unwrap() == models::RELEASED_ONNX);
}

#[test]
fn flags_reach_the_graph() {
    let place = Place::new();
    place.succeeds(&["model.onnx", "--no-fold", "--batch", "4", "--input", "u8", "--softmax"]);
    let model = Model::from_bytes(&std::fs::read(place.path("model.onnx")).unwrap()).unwrap();
    assert_eq!((model.batch, model.input), (Some(4), InputKind::Uint8));
    assert!(model.operators().contains_key("BatchNormalization"));
    assert_eq!(model.graph().output.len(), 2);
}

#[test]
fn a_failed_gate_leaves_an_older_file_as_it_was() {
    let place = Place::new();
    std::fs::write(place.path("model.onnx"), b"older").unwrap();
    let changed = weights_with(NetworkSpec::default(), |tensors| {
        tensors.get_mut("fc.bias").unwrap()[3] += 0.01
    });
    std::fs::write(place.path("runs/1/weights.safetensors"), changed.to_bytes()).unwrap();
    place.fails(&["model.onnx"], 1, "belong to weights with SHA-256");
    let mut golden = golden(&weights(NetworkSpec::default()));
    golden.weights_sha256 = changed.sha256();
    std::fs::write(place.path("runs/1/golden.safetensors"), golden.to_bytes()).unwrap();
    place.fails(&["model.onnx"], 1, "differs from libtorch: max |difference| 1.0e-2");
    place.fails(&["new.onnx"], 1, "nothing is written");
}

#[test]
fn says_what_is_wrong_with_the_files() {
    let place = Place::new();
    place.fails(
        &["model.onnx", "--weights", "no.safetensors"],
        1,
        "cannot read weights from no.safetensors: No such",
    );
    std::fs::write(place.path("page.html"), b"<html>").unwrap();
    place.fails(
        &["model.onnx", "--weights", "page.html"],
        1,
        "page.html: not a safetensors file",
    );
    place.fails(
        &["model.onnx", "--golden", "page.html"],
        1,
        "page.html: not a golden file",
    );
    place.fails(&["no/model.onnx"], 1, "the folder no does not exist");
    place.fails(&["runs"], 1, "runs is a folder");
    std::fs::remove_file(place.path("runs/1/golden.safetensors")).unwrap();
    place.fails(
        &["model.onnx"],
        1,
        "cargo run -p trainer -- golden --weights runs/1/weights.safetensors",
    );
}

#[test]
fn wrong_usage_exits_with_two() {
    let place = Place::new();
    place.fails(&[], 2, "MODEL.onnx");
    place.fails(&["runs/1/weights.safetensors"], 2, "--weights names the weights");
    place.fails(&["--", "-"], 2, "not to stdout: name a file");
    place.fails(&["model.onnx", "--batch", "0"], 2, "0 is not in 1..=4096");
    place.fails(&["model.onnx", "--batch", "4097"], 2, "4097 is not in 1..=4096");
    place.fails(&["model.onnx", "--input", "f16"], 2, "possible values: f32, u8");
}

#[test]
fn a_missing_onnx_runtime_is_named() {
    let place = Place::new();
    let output = place
        .command(&["model.onnx"])
        .env("ORT_DYLIB_PATH", "/no/libonnxruntime.so")
        .output()
        .unwrap();
    assert!(output.status.success());
    assert!(
        stderr(&output).contains("ort: not checked. ONNX Runtime cannot be used"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn a_closed_pipe_is_no_failure() {
    let place = Place::new();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = place.command(&["model.onnx"]);
    command.stdout(writer.try_clone().unwrap()).stderr(writer);
    assert!(command.status().unwrap().success());
    assert!(place.path("model.onnx").exists());
}

#[test]
fn the_help_reads_well() {
    let help = Place::new().succeeds(&["--help"]).stdout;
    insta::assert_snapshot!(String::from_utf8(help).unwrap());
}

#[test]
fn writes_a_repository_for_triton() {
    let place = Place::new();
    place.succeeds(&["--triton", "repository"]);
    let graph = std::fs::read(place.path("repository/digits/1/model.onnx")).unwrap();
    place.succeeds(&["model.onnx"]);
    assert_eq!(graph, std::fs::read(place.path("model.onnx")).unwrap());
    let config = || std::fs::read_to_string(place.path("repository/digits/config.pbtxt")).unwrap();
    let any = config();
    place.succeeds(&["--triton", "repository", "--batch", "4", "--input", "u8"]);
    insta::assert_snapshot!(format!("{any}\n{}", config()));
    place.fails(&["model.onnx", "--triton", "repository"], 2, "cannot be used with");
}
