#!/bin/sh
# Build llama.cpp's own server for tests/intelligence/providers/test_llama_server.py.
#
#     tools/build_llama_server.sh DIRECTORY
#     LLAMA_SERVER_BIN=DIRECTORY/llama-server python -m pytest -m llama -n 0
#
# The source comes inside the sdist of llama-cpp-python, 77 MB; pip fetches that package's build backend too,
# to read its metadata. Needs python3 with venv, cmake, a C++ compiler and ninja or make; takes 10 to 20
# minutes on two cores and 1 GB of disk while it builds. Instructions of this very CPU are left out, so the
# binary may be kept in a cache.
set -eu

VERSION=0.3.36

if [ $# -ne 1 ]; then
    echo "usage: $0 DIRECTORY (where llama-server goes)" >&2
    exit 2
fi
mkdir -p "$1"
target=$(cd "$1" && pwd)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT INT TERM

python3 -m venv "$scratch/venv"
"$scratch/venv/bin/pip" --quiet download --no-deps --no-binary llama-cpp-python \
    --dest "$scratch" "llama-cpp-python==$VERSION"
tar -xzf "$scratch/llama_cpp_python-$VERSION.tar.gz" -C "$scratch"

if command -v ninja >/dev/null; then generator=Ninja; else generator="Unix Makefiles"; fi
cd "$scratch/llama_cpp_python-$VERSION/vendor/llama.cpp"
cmake -B build -G "$generator" -DCMAKE_BUILD_TYPE=Release -DBUILD_SHARED_LIBS=OFF \
    -DGGML_NATIVE=OFF -DGGML_OPENMP=OFF -DLLAMA_OPENSSL=OFF \
    -DLLAMA_BUILD_UI=OFF -DLLAMA_USE_PREBUILT_UI=OFF \
    -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_EXAMPLES=OFF -DLLAMA_BUILD_APP=OFF
nice -n 19 cmake --build build --target llama-server --parallel "${JOBS:-2}"

server=$(find build -name llama-server -type f | head -n 1)
strip "$server" 2>/dev/null || true
cp "$server" "$target/llama-server"
echo "$target/llama-server"
