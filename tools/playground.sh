#!/usr/bin/env bash
# Builds the page of the playground into dist/playground: the files of playground/page, and the
# module. Requires the program wasm-bindgen, which tools/setup.sh playground installs.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

target=wasm32-unknown-unknown
output=dist/playground
profile=playground

cargo build --package sluice-playground --target "$target" --profile "$profile" --locked
built=${CARGO_TARGET_DIR:-target}/$target/$profile
# A script without imports: browsers load no modules of scripts from files.
.tools/bin/wasm-bindgen --target no-modules --no-typescript --remove-name-section \
  --out-dir "$built/page" --out-name sluice "$built/sluice_playground.wasm"

rm -rf "$output"
mkdir -p "$output"
cp playground/page/* "$built/page/sluice.js" "$output"
# As text in a script, because pages that are opened as a file cannot read other files.
{
  printf "const SLUICE_WASM = '"
  base64 -w 0 "$built/page/sluice_bg.wasm"
  printf "';\n"
} >"$output/sluice_wasm.js"
echo "$output/index.html: the module has $(wc -c <"$built/page/sluice_bg.wasm") bytes"
