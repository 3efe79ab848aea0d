#!/usr/bin/env bash
# The whole way of a digit: train on real MNIST, export, verify, classify, compare the engines.
set -euo pipefail
cd "$(dirname "$0")/.."

step() { printf '\n\033[1m%s\033[0m\n' "$*"; }
demo=$(mktemp -d)
trap 'rm -rf "$demo"' EXIT

step "Build the three commands, which takes some minutes the first time"
for package in trainer exporter infer; do cargo build -p "$package"; done

step "1. Train one epoch on MNIST's 60,000 digits"
cargo run -q -p trainer -- --epochs 1 --runs "$demo/runs"

step "2. Export the weights as ONNX; the file appears only if tract and ONNX Runtime compute what libtorch did"
cargo run -q -p exporter -- --runs "$demo/runs" "$demo/model.onnx"

step "3. Prove it once more, with libtorch's logits for all 10,000 test digits"
cargo run -q -p trainer -- golden --weights "$demo/runs/1/weights.safetensors" --digits 10000 --output "$demo/all.safetensors"
cargo run -q -p infer -- verify --model "$demo/model.onnx" --golden "$demo/all.safetensors"

step "4. Read ten pictures with the new model"
cargo run -q -p infer -- classify --model "$demo/model.onnx" models/samples

step "5. Read MNIST's 10,000 test digits with the new model, and with the released one"
cargo run -q -p infer -- eval --model "$demo/model.onnx"
echo
cargo run -q -p infer -- eval | head -n 3

step "Done. The demo's files are removed; now with yours:"
echo "cargo run -p trainer                       # the published setting, ten epochs, into runs/"
echo "cargo run -p exporter -- model.onnx        # the newest run as ONNX"
echo "cargo run -p infer -- classify digit.png   # the released model; --model model.onnx for yours"
