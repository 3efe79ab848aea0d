//! Lets the programs of this crate start without `LD_LIBRARY_PATH`, because tch's own rpath does not reach them, and
//! tells them which libtorch they were built with.

use std::path::Path;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    // The name follows from `links = "tch"` in torch-sys.
    let folder = std::env::var("DEP_TCH_LIBTORCH_LIB").unwrap_or_default();
    println!("cargo:rustc-link-arg=-Wl,-rpath,{folder}");
    let version = std::fs::read_to_string(Path::new(&folder).join("../build-version"));
    println!(
        "cargo:rustc-env=LIBTORCH_VERSION={}",
        version.as_deref().unwrap_or("unstated").trim()
    );
}
