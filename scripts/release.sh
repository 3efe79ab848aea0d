#!/usr/bin/env bash
# Releases a run into models/: its weights, its golden digits, the graphs exported from them, the digits that it misreads,
# and the model card.
# usage: scripts/release.sh runs/<n>
set -euo pipefail
run=$(realpath "$1")
cd "$(dirname "$0")/.."

cp "$run/weights.safetensors" models/digits.safetensors
cp "$run/golden.safetensors" models/golden.safetensors
cargo run -p exporter -- --weights models/digits.safetensors models/digits.onnx
cargo run -p exporter -- --weights models/digits.safetensors --int8 models/digits.int8.onnx
cargo run -p infer -- eval --misread models/misread.png
cargo run -p benches --bin model-card
