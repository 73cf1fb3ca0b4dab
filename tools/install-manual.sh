#!/usr/bin/env bash
# Installs the manual pages of sluice, and its completions for bash and fish, where man and these
# shells find them without configuration. zsh has no such folder for a user.
set -euo pipefail
sluice=${CARGO_HOME:-$HOME/.cargo}/bin/sluice
data=${XDG_DATA_HOME:-$HOME/.local/share}
"$sluice" man "$data/man/man1"
mkdir -p "$data/bash-completion/completions" "$data/fish/vendor_completions.d"
"$sluice" completion bash >"$data/bash-completion/completions/sluice"
"$sluice" completion fish >"$data/fish/vendor_completions.d/sluice.fish"
echo "installed the manual and the completions of bash and fish in $data"
