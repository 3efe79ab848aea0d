//! What others' clients make of the server: Triton's, Prometheus' parser, and Schemathesis, which tries what the
//! description of the API allows.

use std::path::Path;
use std::process::Command;

use super::socket::Server;

#[test]
fn python_clients_find_nothing_wrong() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let packages = root.join(".deps/python-serve");
    if !packages.join("tritonclient").is_dir() {
        let required = std::env::var_os("THREEBLOCK_REQUIRE_ORT").is_some();
        assert!(!required, "the Python packages are missing: run make setup");
        return crate::skipped("the Python packages are missing: run make setup");
    }
    let server = Server::start(&[]);
    let mut command = Command::new("python3");
    command
        .arg("infer/tests/check_serve.py")
        .arg(&server.address)
        .current_dir(root);
    let output = command.env("PYTHONPATH", packages).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&said));
}
