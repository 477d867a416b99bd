#!/bin/sh
# Render and sign the enclave's manifest.
#   deploy/gramine/build.sh ROOT_DIRECTORY SIGNING_KEY.pem OUT_DIRECTORY
# ROOT_DIRECTORY is what deploy/image/build.sh made. The key decides MRSIGNER, which nothing of ours looks at; anybody
# gets the same MRENCLAVE with a key of their own (gramine-sgx-gen-private-key KEY.pem) and the same Gramine version.
set -eu
root=$(cd "$1" && pwd) key=$2 out=$3
mkdir -p "$out"
gramine-manifest -Droot="$root" -Darch_libdir=/lib/x86_64-linux-gnu \
	"$(dirname "$0")/goldengrain.manifest.template" "$out/goldengrain.manifest"
gramine-sgx-sign --key "$key" --manifest "$out/goldengrain.manifest" --output "$out/goldengrain.manifest.sgx"
gg enclave measure --platform gramine --sig "$out/goldengrain.sig"
