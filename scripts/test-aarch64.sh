#!/usr/bin/env bash
# The native engine on an emulated aarch64 CPU that has every instruction its kernels know: their tests, libtorch's logits,
# and ten pictures in f32 and int8. Installs nothing: on Debian or Ubuntu the packages below are what it needs.
set -euo pipefail
cd "$(dirname "$0")/.."

PACKAGES="gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user"
export CARGO_BUILD_TARGET=aarch64-unknown-linux-gnu
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER="qemu-aarch64 -L /usr/aarch64-linux-gnu"

fail()  { printf 'error: %s\n' "$1" >&2; exit 1; }
infer() { cargo run -q -p infer --no-default-features -- "$@"; }

command -v aarch64-linux-gnu-gcc >/dev/null && command -v qemu-aarch64 >/dev/null ||
  fail "the cross compiler or qemu is missing: sudo apt-get install $PACKAGES"
[ -d "$(rustc --print target-libdir --target $CARGO_BUILD_TARGET)" ] ||
  fail "Rust's standard library for aarch64 is missing: rustup target add $CARGO_BUILD_TARGET"

cargo test -p infer --no-default-features --lib native
infer doctor
infer verify --engine native
for model in models/digits.onnx models/digits.int8.onnx; do
  infer classify --model "$model" models/samples
done
