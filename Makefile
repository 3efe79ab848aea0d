# The pipeline as targets. `make demo` and `make test` need nothing prepared.
.PHONY: help setup demo serve test lint check sanitize test-aarch64 study ablation seeds stress bench bench-cold bench-serve release-model model-card clean

# What `make setup` installed must be there in the tests: a check that cannot run fails instead of being skipped.
export THREEBLOCK_REQUIRE_ORT := 1
export THREEBLOCK_REQUIRE_CHROMIUM := 1
export THREEBLOCK_REQUIRE_CLOTHES := 1

# The runs of the published setting that `make seeds` trains.
PUBLISHED := runs/seeds/relu-residual-adam-lr0.001

help: ## list the targets
	@sed -n 's/^\([a-z0-9-]*\):.*## /\1\t/p' Makefile | expand -t 16

setup: ## fetch libtorch, ONNX Runtime and MNIST into .deps/ and data/ (CUDA=1 for the CUDA build)
	@./scripts/setup.sh

demo: setup ## train for about a minute, export, verify, classify
	@./scripts/demo.sh

serve: ## a page to draw on, and an API, at http://127.0.0.1:8080
	cargo run -p infer -- serve

test: setup ## all tests of all crates
	cargo test --workspace

lint: setup ## formatting, clippy, documentation, and that only trainer depends on libtorch
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps
	! cargo tree -p models -p exporter -p infer -p benches -i tch 2>/dev/null | grep .

check: lint test ## lints and all tests

sanitize: ## the native engine's kernels under AddressSanitizer; needs a nightly toolchain
	RUSTFLAGS=-Zsanitizer=address cargo +nightly test --target "$$(rustc -vV | sed -n 's/host: //p')" -p infer --no-default-features --lib native

test-aarch64: ## the native engine on an emulated aarch64 CPU; needs a cross compiler and qemu-user
	@./scripts/test-aarch64.sh

study: setup ## train every run of the study that is missing (hours) and write docs/study/ and the README's figure
	cargo run -p trainer -- study
	cargo run -p trainer -- report runs/study --out docs/study --into README.md

ablation: setup ## what each part of the recipe best brings on held-out digits (hours); writes docs/training.md
	cargo run -p trainer -- study trainer/ablation.toml --out runs/ablation
	cargo run -p trainer -- report runs/ablation --table --into docs/training.md

seeds: setup ## the published setting, the same in bf16 and the recipe best over their seeds (hours); writes docs/training.md
	cargo run -p trainer -- study trainer/seeds.toml --out runs/seeds
	cargo run -p trainer -- seeds $(PUBLISHED)-seed*/weights.safetensors --marker seeds --into docs/training.md
	cargo run -p trainer -- seeds $(PUBLISHED)-precisionbf16-seed*/weights.safetensors --marker bf16-seeds --into docs/training.md
	cargo run -p trainer -- seeds runs/seeds/*-recipebest-*/weights.safetensors --marker best-seeds --into docs/training.md

stress: setup ## after `make seeds`: altered digits and none, with Debian's dataset-fashion-mnist; writes docs/training.md
	cargo run -p trainer -- stress --weights $(PUBLISHED)-seed0/weights.safetensors --weights models/digits.safetensors \
		--strangers /usr/share/datasets/fashion-mnist --into docs/training.md

bench: setup ## latency and accuracy of every engine, libtorch included; writes benches/results.json and the README's table
	cargo bench -p trainer
	cargo bench

bench-cold: ## time from start to exit and size of `infer` with the native engine alone; writes into the README
	cargo build --release -p infer --no-default-features
	cargo run -p benches --bin cold-start -- $${CARGO_TARGET_DIR:-target}/release/infer

bench-serve: setup ## load and abuse of `infer serve`, beside a Python service; writes docs/serve.md (SOAK=30 for 30 minutes)
	cargo build --profile bench -p infer
	cargo run --profile bench -p benches --bin load -- --soak-minutes $(or $(SOAK),1)

release-model: setup ## train with the best recipe on all of MNIST (about half an hour) and release the run into models/
	cargo run -p trainer -- --recipe best
	./scripts/release.sh "runs/$$(ls runs | sort -n | tail -n 1)"

model-card: setup ## measure the released model and write models/README.md and the README's score
	cargo run -p benches --bin model-card

clean: ## remove what was built; keeps .deps/, data/ and runs/
	cargo clean
