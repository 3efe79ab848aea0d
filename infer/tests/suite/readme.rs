//! The README's commands for `infer` work as they stand there.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::cli::{INFER, sample};

const README: &str = include_str!("../../../README.md");

#[test]
fn the_readmes_commands_work() {
    let folder = tempfile::tempdir().unwrap();
    fs::copy(sample(7), folder.path().join("digit.png")).unwrap();
    let commands: Vec<_> = README
        .lines()
        .filter_map(|line| line.strip_prefix("cargo run -p infer -- "))
        // It runs until it is stopped; the tests of the server start it.
        .filter(|command| !command.starts_with("serve"))
        .collect();
    assert!(!commands.is_empty());
    for command in commands {
        let arguments = command.split('#').next().unwrap_or_default().split_whitespace();
        let output = Command::new(INFER)
            .args(arguments)
            .current_dir(folder.path())
            .output()
            .unwrap();
        let answer = String::from_utf8(output.stdout).unwrap();
        assert!(
            output.status.success(),
            "{command}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        assert!(answer.contains("digit.png      7"), "{command}: {answer}");
    }
}

#[test]
fn every_program_that_the_readme_names_is_there() {
    for name in ["trainer", "exporter", "infer", "benches"] {
        assert!(README.contains(&format!("\n{name}/")), "{name} is not in the tree");
        assert!(Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name).is_dir());
    }
}
