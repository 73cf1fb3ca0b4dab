#!/usr/bin/env bash
# client.sh ADDRESS PORT: waits for the greeting of a server, then sends a line. Prints what comes
# back, and the whole seconds until the greeting.
start=$(date +%s%N)
exec 3<>"/dev/tcp/$1/$2" || exit 1
IFS= read -r -t 20 greeting <&3 || greeting="closed"
# 0.1 s more, because timers may end a little early.
echo "$greeting, after $((($(date +%s%N) - start + 100000000) / 1000000000)) s"
[[ $greeting == closed ]] && exit
echo hello >&3
IFS= read -r -t 20 answer <&3
echo "$answer"
