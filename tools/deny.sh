#!/usr/bin/env bash
# Checks the dependencies: duplicates, licences and sources as deny.toml says, and security
# advisories.
#
# The advisories are read from a database on GitHub. Where it cannot be fetched, they are left out
# with a message, and the other checks decide.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

deny=(.tools/bin/cargo-deny --locked)

# An entry of deny.toml that no dependency needs is an error, so that the reasons stay true.
"${deny[@]}" check -D unmatched-skip -D unnecessary-skip bans licenses sources

if log=$("${deny[@]}" fetch db 2>&1); then
  "${deny[@]}" check advisories
else
  echo "$log" >&2
  echo "deny: ADVISORIES WERE NOT CHECKED: the database cannot be fetched from" \
    "https://github.com/RustSec/advisory-db (see above)" >&2
fi
