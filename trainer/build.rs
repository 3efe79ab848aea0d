//! Lets the programs of this crate start without `LD_LIBRARY_PATH`: tch's own rpath does not reach them.

fn main() {
    // The name follows from `links = "tch"` in torch-sys.
    if let Some(folder) = std::env::var_os("DEP_TCH_LIBTORCH_LIB") {
        println!("cargo:rustc-link-arg=-Wl,-rpath,{}", folder.to_string_lossy());
    }
    println!("cargo:rerun-if-changed=build.rs");
}
