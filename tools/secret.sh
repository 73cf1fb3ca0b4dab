#!/usr/bin/env bash
# Puts files into a folder the way that Kubernetes mounts a secret: each name is a symbolic link through `..data`, a link to
# a folder with the files. A new secret is a new folder, and the link changes over in one step, so that a reader sees the old files
# or the new ones and no mixture. Envoy watches for that with `watched_directory`.
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
