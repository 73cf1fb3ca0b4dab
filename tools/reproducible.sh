#!/usr/bin/env bash
# Builds the last commit twice from nothing and compares the results byte by byte.
#
#   tools/reproducible.sh [PART]...     parts: build module command, as of `cargo xtask`; without
#                                       arguments, all
#
# The two builds differ in what may not matter: the folders of sources, of results and of
# dependencies, time zone, language and umask. Prints the SHA-256 of each file.
#
# AGAINST=FOLDER compares one build with the files in that folder, in half of the time. They must be
# built from the same commit, as `make build module` fills dist.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

against=${AGAINST:-}
[ $# -gt 0 ] || set -- build module command

fail() {
  echo "reproducible: $*" >&2
  exit 1
}

[ -z "$(git status --porcelain)" ] ||
  echo "reproducible: builds the last commit, without your changes that are not committed" >&2
commit=$(git rev-parse HEAD)
cargo build --quiet --locked --package xtask
xtask=$(realpath "${CARGO_TARGET_DIR:-target}/debug/xtask")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# build FOLDER PART...: checks out the commit and builds the parts with the tool of this checkout.
build() (
  folder=$work/$1
  shift
  mkdir -p "$folder"
  ln -s "${CARGO_HOME:-$HOME/.cargo}" "$folder/dependencies"
  git clone --quiet --no-checkout . "$folder/sources"
  cd "$folder/sources"
  git checkout --quiet --detach "$commit"
  for part in "$@"; do
    CARGO_HOME=$folder/dependencies CARGO_TARGET_DIR=$folder/results CARGO_INCREMENTAL=0 \
      "$xtask" "$part"
  done
)

# list FOLDER: prints the hash of each file.
list() (
  cd "$1"
  shopt -s nullglob
  sha256sum -- *.wasm libsluice.so sluice 2>/dev/null || true
)

TZ=UTC LC_ALL=C build one "$@"
first=$(list "$work/one/sources/dist")
[ -n "$first" ] || fail "nothing was built"
if [ -n "$against" ]; then
  # Only the files that were built here.
  second=$(cd "$against" && cut -d ' ' -f 3- <<<"$first" | xargs sha256sum --) ||
    fail "$against lacks a file"
else
  (umask 077 && TZ=Asia/Tokyo LC_ALL=C.UTF-8 build another-and-longer-name "$@")
  second=$(list "$work/another-and-longer-name/sources/dist")
fi
echo "$first"
diff <(echo "$first") <(echo "$second") || fail "the builds differ (see above)"
echo "reproducible: the builds are the same"
