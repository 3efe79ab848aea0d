#!/usr/bin/env bash
# The whole way of a digit: train on real MNIST, export, verify, classify, compare the engines.
set -euo pipefail
cd "$(dirname "$0")/.."

step() { printf '\n\033[1m%s\033[0m\n' "$*"; }
demo=$(mktemp -d)
trap 'rm -rf "$demo"' EXIT

step "1. Train one epoch on MNIST's 60,000 digits"
cargo run -q -p trainer -- --epochs 1 --runs "$demo/runs"

step "2. Export the weights as ONNX; the file appears only if tract and ONNX Runtime compute what libtorch did"
cargo run -q -p exporter -- --runs "$demo/runs" "$demo/model.onnx"

step "3. Prove it once more from the file, as anyone with the file can"
cargo run -q -p infer -- verify --model "$demo/model.onnx" --golden "$demo/runs/1/golden.safetensors"

step "4. Read ten pictures with the new model"
cargo run -q -p infer -- classify --model "$demo/model.onnx" models/samples

step "5. Read MNIST's 10,000 test digits, with the new model and with the released one"
cargo run -q -p infer -- eval --model "$demo/model.onnx"
cargo run -q -p infer -- eval

step "The demo's files are gone. The same with yours: cargo run -p trainer; cargo run -p exporter -- model.onnx"
