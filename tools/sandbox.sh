#!/usr/bin/env bash
# Runs the sandbox in the foreground until Ctrl-C: one Envoy with the modules in dist/.
#
#   ENVOY                 the Envoy to run, .tools/envoy by default
#   SANDBOX_CONFIG        its configuration, envoy/sandbox.yaml by default
#   SANDBOX_ATTACH        native: dist/libsluice.so instead of the wasm modules that it replaces
#   SANDBOX_PORT          the port that the configuration listens on, 10000 by default
#   SANDBOX_ADMIN_PORT    the port of the admin interface, 9901 by default
#
# If there is dist/playground (make playground), Envoy also serves it, see playground/README.md.
set -euo pipefail
# Paths of modules in the configuration are relative to this folder.
cd "$(dirname "${BASH_SOURCE[0]}")/.."

envoy=${ENVOY:-.tools/envoy}
config=${SANDBOX_CONFIG:-envoy/sandbox.yaml}
port=${SANDBOX_PORT:-10000}
admin=${SANDBOX_ADMIN_PORT:-9901}
log=.tools/sandbox.log
start_seconds=60

print_requests() {
  local url=http://127.0.0.1:$port
  cat <<END
The sandbox answers on $url. Try:

  curl -H 'end-user: cheng' $url/payment/balance/query
    {"code":200,"data":"Hello v2, cheng!, id: 1 email: cheng@163.com","message":null}

  curl -H 'end-user: jim' $url/payment/balance/query
    {"code":200,"data":"Hello v1, jim!, id: 1","message":null}

  curl -H 'Host: kim-payment-service' $url/payment/balance/query
    v1 and v2 in turn

  curl -H 'Host: canary.example.com' -H 'end-user: cheng' $url/payment/balance/query
    half of the users get v1, half get v2; a user always gets the same version

  curl -H 'Host: httpbin.example.com' $url/status/418
    a teapot

  curl -i -H 'Host: httpbin.example.com' $url/headers
    HTTP/1.1 404 Not Found

  curl -H 'Host: helloworld-v1.example.com' $url/hello
    Hello version: v1, instance: sandbox

  curl -w ' %{http_code} after %{time_total} s' -H 'Host: httpbin.org' $url/delay/5
    upstream request timeout 504 after 3 s

  curl -w ' after %{time_total} s' -H 'Host: delay.example.com' -H 'end-user: cheng' \
$url/payment/balance/query
    the response of v1 after 7 s; no delay for other users

  curl -i -H 'Host: abort.example.com' -H 'end-user: cheng' $url/payment/balance/query
    HTTP/1.1 500 Internal Server Error ... fault filter abort; 200 for other users

  curl -H 'Host: mirror.example.com' $url/payment/balance/query
    the response of v1, and v2 gets a copy: see http://127.0.0.1:$admin/stats?filter=mirror.mirrored

  curl -H 'end-user: cheng' -H 'fail: yes' $url/payment/balance/query
    v2 is sick; after three of these, v1 answers requests of this user for ten seconds

  curl -o /dev/null -w '%{http_code}\n' -H 'Host: edition.cnn.com' http://127.0.0.1:10001/
    502, because no ServiceEntry has this host; 404 for httpbin.org

  curl --cacert dist/certificates/ca.pem --connect-to ::127.0.0.1:10443 https://www.example.org/
    www.example.org on port 10105; the connection is closed for other names

  curl --cacert dist/certificates/ca.pem --connect-to ::127.0.0.1:10444 https://a.pay.example.com/
    a.pay.example.com on port 10106, by the server name

  curl -i --cacert dist/certificates/ca.pem --connect-to ::127.0.0.1:10445 \
-H 'Host: shop.example.com' https://blog.example.com/
    HTTP/1.1 421 Misdirected Request, because server name and host do not belong together

The rules are in $rules, and the log is in $log.
Envoy's admin interface is on http://127.0.0.1:$admin. Ctrl-C stops the sandbox.
END
  if [ -n "$page" ]; then
    echo "The playground shows and changes the rules, and sends requests: $page"
  else
    echo "make playground adds a page that shows and changes the rules, and sends requests."
  fi
}

fail() {
  echo "sandbox: $*" >&2
  exit 1
}

in_use() {
  (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null
}

# Does not use curl, because nothing else in this script needs it.
is_ready() (
  exec 2>/dev/null
  exec 3<>"/dev/tcp/127.0.0.1/$admin" || exit
  printf 'GET /ready HTTP/1.1\r\nHost: sandbox\r\nConnection: close\r\n\r\n' >&3 || exit
  IFS= read -r -t 2 status <&3 || exit
  [[ $status == "HTTP/1.1 200 "* ]]
)

is_running() {
  [ -n "$pid" ] && kill -0 "$pid" 2>/dev/null
}

# Starts the playground beside Envoy. Sets `page`, the address of the page, and `config`.
start_playground() {
  local folder=.tools/playground
  cargo build --quiet --package sluice-playground-server --locked ||
    fail "the server of the playground cannot be built"
  rm -rf "$folder"
  mkdir -p "$folder"
  # Only the user may read the token in the address.
  (umask 077 && : >"$folder/address")
  setsid "${CARGO_TARGET_DIR:-target}/debug/sluice-playground-server" "$config" dist/playground \
    "$folder" >"$folder/address" 2>"$folder/log" </dev/null &
  playground=$!
  until page=$(cat "$folder/address") && [ -n "$page" ]; do
    kill -0 "$playground" 2>/dev/null || fail "$(cat "$folder/log")"
    sleep 0.1
  done
  config=$folder/envoy.json
}

# The line of the log that best explains why Envoy ended.
reason() {
  local line
  line=$(sed -n 's/.*\(cannot bind .*: Address already in use\).*/\1/p' "$log" | head -n 1)
  # The error of a filter in its configuration.
  [ -n "$line" ] ||
    line=$(sed -n -e 's/^\[.*\]\[\(error\|critical\)\]\[wasm\].* wasm log[^:]*: \(..*\)/\2/p' \
      -e 's/^\[.*\]\[error\]\[dynamic_modules\].* sluice: \(..*\)/\1/p' "$log" | head -n 1)
  # The last line of the log repeats the error without time and source.
  [ -n "$line" ] || line=$(tail -n 1 "$log")
  echo "${line:-it wrote no log}"
}

# shellcheck disable=SC2317 # the trap calls it
stop() {
  [ -z "$playground" ] || kill "$playground" 2>/dev/null || true
  is_running || return 0
  kill -TERM "$pid" 2>/dev/null || true
  for _ in {1..50}; do
    is_running || return 0
    sleep 0.1
  done
  kill -KILL "$pid" 2>/dev/null || true
}

pid=
playground=
page=
trap stop EXIT
trap 'exit 0' INT TERM HUP

[ -x "$envoy" ] || fail "no Envoy at $envoy; make setup installs it"
[ -f "$config" ] || fail "no configuration at $config"
case ${SANDBOX_ATTACH:-wasm} in
wasm) ;;
native)
  export ENVOY_DYNAMIC_MODULES_SEARCH_PATH=$PWD/dist
  mkdir -p .tools
  cargo run --quiet --package sluice-scenarios --locked -- native "$config" >.tools/sandbox.yaml ||
    fail "$config cannot have the dynamic module"
  config=.tools/sandbox.yaml
  ;;
*) fail "SANDBOX_ATTACH is $SANDBOX_ATTACH, but has to be native or wasm" ;;
esac
for number in $(sed -n 's/.*port_value: \([1-9][0-9]*\).*/\1/p' "$config" | sort -u); do
  # Two Envoys can silently share the port of a listener.
  if in_use "$number"; then
    fail "port $number is in use; stop the program that uses it"
  fi
done

mkdir -p "$(dirname "$log")"
rules=$config
[ ! -f dist/playground/index.html ] || start_playground
# Envoy runs in its own session, so that only this script gets Ctrl-C and then stops Envoy.
# One worker, so that counts do not depend on the worker that accepts a connection.
setsid "$envoy" --config-path "$config" --log-level warning --concurrency 1 \
  --use-dynamic-base-id >"$log" 2>&1 </dev/null &
pid=$!

deadline=$((SECONDS + start_seconds))
until is_ready; do
  is_running || fail "Envoy did not start: $(reason) (full log: $log)"
  [ $SECONDS -lt $deadline ] || fail "Envoy was not ready after $start_seconds s (log: $log)"
  sleep 0.1
done
print_requests

code=0
wait "$pid" 2>/dev/null || code=$?
fail "Envoy ended by itself with code $code; its log is $log"
