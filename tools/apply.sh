#!/usr/bin/env bash
# Replaces the rules of the running sandbox by those of a file, as its page does. The sandbox must
# have the page: make playground sandbox
#
#   tools/apply.sh FILE
#
#   SANDBOX_PAGE   the address of the page with its token; by default that of the last sandbox
set -euo pipefail

fail() {
  echo "apply: $*" >&2
  exit 1
}

[ $# = 1 ] || fail "usage: tools/apply.sh FILE"
[ -r "$1" ] || fail "cannot read $1"
page=${SANDBOX_PAGE:-$(cat "$(dirname "${BASH_SOURCE[0]}")/../.tools/playground/address" || true)}
[ -n "$page" ] || fail "there is no sandbox with a page; start it with: make playground sandbox"

# The token is in a file, because everybody can read the arguments of a program.
answer=$(curl --silent --show-error --upload-file "$1" --config - \
  "${page%%#*}playground/api/rules" <<<"header = \"authorization: Bearer ${page##*#}\"")
python3 -c '
import json, sys
answer = json.loads(sys.argv[1])
if "error" in answer:
    sys.exit("apply: " + answer["error"].rstrip())
print("Envoy has accepted the rules.")
' "$answer"
