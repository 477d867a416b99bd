#!/bin/sh
# Build the enclave's image and its file system as a directory.
#   deploy/image/build.sh BASE@sha256:DIGEST SOURCE_DATE_EPOCH OUT_DIRECTORY
# Run it from the root of a clean checkout. Needs docker with buildkit (or podman: DOCKER=podman).
set -eu
base=$1 epoch=$2 out=$3
docker=${DOCKER:-docker}
case $base in
*@sha256:????????????????????????????????????????????????????????????????) ;;
*) echo "name the base image by its digest: NAME@sha256:..." >&2; exit 2 ;;
esac
case $epoch in
'' | *[!0-9]*) echo "SOURCE_DATE_EPOCH is a number of seconds" >&2; exit 2 ;;
esac
if [ -e "$out" ]; then echo "$out exists" >&2; exit 2; fi
if [ -n "$(git status --porcelain -- packages deploy)" ]; then
	echo "packages/ or deploy/ differ from the commit: the measurement would name nothing that others have" >&2
	exit 2
fi

SOURCE_DATE_EPOCH=$epoch $docker build --file deploy/image/Containerfile --build-arg "BASE=$base" \
	--build-arg "SOURCE_DATE_EPOCH=$epoch" --tag goldengrain-enclave:local .

container=$($docker create goldengrain-enclave:local)
trap '$docker rm "$container" >/dev/null' EXIT
mkdir -p "$out"
$docker export "$container" | tar -x -C "$out"
# What the container engine adds, and what the virtual machine or Gramine provides itself.
rm -rf "$out/.dockerenv" "$out/dev" "$out/proc" "$out/sys" "$out/run" "$out/tmp"
rm -f "$out/etc/hostname" "$out/etc/hosts" "$out/etc/resolv.conf" "$out/etc/mtab"
mkdir "$out/dev" "$out/proc" "$out/sys" "$out/run" "$out/tmp"
echo "file system in $out" >&2
