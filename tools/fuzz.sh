#!/usr/bin/env bash
# Fuzzes each target for some seconds: tools/fuzz.sh SECONDS [TARGET...]
#
# Builds the targets with the coverage counters that libFuzzer needs. These flags are those of
# cargo-fuzz without a sanitizer, so the stable compiler is enough: the code is safe Rust, and a
# panic or a failed property is found without one. Runs as many targets at once as there are cores.
# Inputs that reach new code are kept in target/fuzz/corpus, and inputs that fail in
# target/fuzz/TARGET-*.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

source tools/progress.sh

seconds=${1:?seconds for each target}
shift
targets=("$@")
if [ ${#targets[@]} -eq 0 ]; then
  for file in tests/fuzz/fuzz_targets/*.rs; do targets+=("$(basename "$file" .rs)"); done
fi

passes=(
  -Cpasses=sancov-module
  -Cllvm-args=-sanitizer-coverage-level=4
  -Cllvm-args=-sanitizer-coverage-inline-8bit-counters
  -Cllvm-args=-sanitizer-coverage-pc-table
  -Cllvm-args=-sanitizer-coverage-trace-compares
)
host=$(rustc -vV | sed -n 's/^host: //p')
RUSTFLAGS="--cfg fuzzing ${passes[*]}" cargo build --release --locked --quiet \
  --manifest-path tests/fuzz/Cargo.toml --target "$host" --target-dir target/fuzz/build

# The first documents are those of the conformance suite.
rm -rf target/fuzz/documents
mkdir -p target/fuzz/documents
jq -c '.[].config | objects' tests/conformance/{cases,rejections}/*.json |
  split --lines=1 --suffix-length=4 - target/fuzz/documents/

# fuzz NUMBER TARGET
fuzz() {
  local number=$1 target=$2 log=target/fuzz/$2.log
  mkdir -p "target/fuzz/corpus/$target"
  local seeds=()
  [ "$target" != document ] || seeds=(target/fuzz/documents)
  if "target/fuzz/build/$host/release/$target" -max_total_time="$seconds" -max_len=4096 \
    -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 -verbosity=1 \
    -artifact_prefix="target/fuzz/$target-" "target/fuzz/corpus/$target" \
    ${seeds[@]+"${seeds[@]}"} >"$log" 2>&1; then
    clear_bar
    echo "$number/${#targets[@]} $target:" \
      "$(sed -n 's/^stat::number_of_executed_units: *//p' "$log") executions"
  else
    clear_bar
    tail -n 40 "$log"
    echo "$number/${#targets[@]} $target: FAILED"
    return 1
  fi
}

at_once=$(nproc)
total=$((seconds * ((${#targets[@]} + at_once - 1) / at_once)))
echo "fuzzing ${#targets[@]} targets for $seconds s each, $at_once at once: $(about "$total")"
begin_bar "$total"
trap end_bar EXIT

failed=0 running=() number=0
for target in "${targets[@]}"; do
  number=$((number + 1))
  fuzz "$number" "$target" &
  running+=($!)
  if [ ${#running[@]} -ge "$at_once" ]; then
    wait "${running[0]}" || failed=1
    running=("${running[@]:1}")
  fi
done
for pid in ${running[@]+"${running[@]}"}; do wait "$pid" || failed=1; done
exit $failed
