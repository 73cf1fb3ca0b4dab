#!/usr/bin/env bash
# Builds and gathers a release in dist/release: modules, command, SBOMs, provenance, checksums.
#
# The sources must be committed, because the provenance names the commit. RELEASING.md describes the
# files and the variables of the environment.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

release=dist/release
host=$(rustc -vV | sed -n 's/^host: //p')
other=aarch64-unknown-linux-gnu

fail() {
  echo "release: $*" >&2
  exit 1
}

changes=$(git status --porcelain)
[ -z "$changes" ] || fail "commit these changes, or remove them:"$'\n'"$changes"

# Nothing of an earlier build may get into the release.
rm -rf "$release" dist/*.wasm dist/libsluice.so dist/sluice "dist/$other"
cargo xtask build
cargo xtask module
cargo xtask command
others=()
if [ "$host" != "$other" ] && command -v aarch64-linux-gnu-gcc >/dev/null &&
  rustup target list --installed | grep -qx "$other"; then
  cargo xtask module "$other"
  others=("$other")
else
  echo "release: left out $other; it needs aarch64-linux-gnu-gcc and this target of rustup" >&2
fi

mkdir -p "$release/wasm" "$release/$host" "$release/completions"
cp dist/*.wasm "$release/wasm/"
cp dist/libsluice.so dist/sluice "$release/$host/"
for target in "${others[@]}"; do
  mkdir -p "$release/$target"
  cp "dist/$target/libsluice.so" "$release/$target/"
done
cp LICENSE SECURITY.md CHANGELOG.md "$release/"

sluice=$release/$host/sluice
"$sluice" schema >"$release/schema.json"
"$sluice" man "$release/man/man1" >/dev/null
"$sluice" completion bash >"$release/completions/sluice.bash"
"$sluice" completion fish >"$release/completions/sluice.fish"
"$sluice" completion zsh >"$release/completions/_sluice"

# What `docker build` needs for the images, with the same bytes in each build.
tar --create --file "$release/images.tar" --sort=name --owner=0 --group=0 --numeric-owner \
  --mode=u=rwX,go=rX --mtime="@${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}" --format=ustar \
  Containerfile Containerfile.native dist/*.wasm dist/libsluice.so \
  "${others[@]/#/dist/}"

cargo xtask sbom "$release"
cargo xtask provenance create "$release"
cargo xtask provenance verify "$release"
echo "$release is complete"
