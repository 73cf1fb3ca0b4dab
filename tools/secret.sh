#!/usr/bin/env bash
# Writes files into a folder in the same way as Kubernetes mounts a secret. Each name is a symbolic
# link through `..data`, which is a link to a folder with the files. A new secret is a new folder,
# and one rename changes the link. Readers therefore see either the old or the new files, never a
# mixture. Envoy watches for this rename with `watched_directory`.
#
#   tools/secret.sh FOLDER KEY=FILE...
set -euo pipefail

fail() {
  echo "secret: $*" >&2
  exit 1
}

[ $# -ge 2 ] || fail "usage: tools/secret.sh FOLDER KEY=FILE..."
folder=$1
shift

mkdir -p "$folder"
new=$(mktemp -d "$folder/..XXXXXXXX")
chmod 755 "$new"
for entry in "$@"; do
  [[ $entry == ?*=?* ]] || fail "$entry is not KEY=FILE"
  cp "${entry#*=}" "$new/${entry%%=*}"
done

old=$(readlink "$folder/..data" || true)
ln -s "${new##*/}" "$folder/..data_tmp"
mv -T "$folder/..data_tmp" "$folder/..data"
for entry in "$@"; do
  ln -sfn "..data/${entry%%=*}" "$folder/${entry%%=*}"
done
[ -z "$old" ] || rm -rf "${folder:?}/$old"
