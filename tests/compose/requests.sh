# shellcheck shell=bash disable=SC2154 # run.sh sets the variables
# The requests of run.sh, and the tests of the filters.

# ask PATH CURL_OPTION...: sends a request; prints the body, a space and the status.
ask() {
  local path=$1
  shift
  curl --silent --show-error --max-time 20 --write-out ' %{http_code}' "$@" "http://127.0.0.1:$SANDBOX_PORT$path"
}

# ask_tls PORT URL CURL_OPTION...: sends a request to a published port; prints the body, a space and
# the status, or the exit code of curl.
ask_tls() {
  local port=$1
  shift
  curl --silent --max-time 20 --cacert dist/certificates/ca.pem --write-out ' %{http_code}' \
    --connect-to "::127.0.0.1:$port" "$@" || echo " $?"
}

# The routes and faults of envoy/sandbox.yaml.
test_requests() {
  local path=/payment/balance/query start slow
  local v1='{"code":200,"data":"Hello v1, jim!, id: 1","message":null}'
  expect "a user is routed to v2" \
    '{"code":200,"data":"Hello v2, cheng!, id: 1 email: cheng@163.com","message":null} 200' \
    "$(ask $path -H 'end-user: cheng' | tr -d '\n')"
  expect "another user is routed to v1" "$v1 200" "$(ask $path -H 'end-user: jim' | tr -d '\n')"
  expect "a path without a route gets 404" " 404" "$(ask /headers -H 'Host: httpbin.example.com')"
  expect "a fault aborts the request of one user" "fault filter abort 500" \
    "$(ask $path -H 'Host: abort.example.com' -H 'end-user: cheng')"
  expect "a fault does not abort the request of another user" "$v1 200" "$(ask $path -H 'Host: abort.example.com' -H 'end-user: jim' | tr -d '\n')"

  start=$SECONDS
  ask $path -H 'Host: delay.example.com' -H 'end-user: cheng' >"$work/delayed" &
  slow=$!
  until_true 5 "a delay is active" has_stat wasmcustom.sluice.fault.active_faults 1
  wait $slow
  [ $((SECONDS - start)) -ge 6 ] || fail "the delay of 7 s took $((SECONDS - start)) s"
  [[ "$(cat "$work/delayed")" == *'Hello v1, cheng!'* ]] || fail "unexpected response after the delay: $(cat "$work/delayed")"
  pass "a fault delays the request of one user"

  local before
  before=$(stat cluster.kim-payment-service-v2.upstream_rq_total)
  expect "v1 answers a mirrored request" "$v1 200" \
    "$(ask $path -H 'Host: mirror.example.com' -H 'end-user: jim' | tr -d '\n')"
  until_true 5 "v2 gets the copy" \
    has_stat cluster.kim-payment-service-v2.upstream_rq_total $((before + 1))
  expect "the mirror filter counts the copy" 1 "$(stat wasmcustom.sluice.mirror.mirrored)"
}

has_v2() {
  [[ "$(ask /payment/balance/query -H 'end-user: cheng')" == *'Hello v2'* ]]
}

# The filters outlier, egress and sni of envoy/sandbox.yaml.
test_other_filters() {
  local path=/payment/balance/query
  for _ in 1 2 3; do
    ask $path -H 'end-user: cheng' -H 'fail: yes' >"$work/failed"
  done
  expect "v2 fails on request" "v2 is sick 503" "$(tr -d '\n' <"$work/failed")"
  expect "the outlier filter ejects v2" 'Hello v1, cheng!, id: 1' \
    "$(ask $path -H 'end-user: cheng' | jq -rn 'input.data')"
  until_true 20 "v2 returns" has_v2
  pass "v2 returns"
  expect "the egress filter allows a known host" 200 \
    "$(SANDBOX_PORT=$EGRESS_PORT ask /status/200 -H 'Host: httpbin.org' | tail -c 3)"
  expect "the egress filter refuses an unknown host" " 502" \
    "$(SANDBOX_PORT=$EGRESS_PORT ask / -H 'Host: edition.cnn.com')"
  expect "the egress filter allows a known server name" "www.example.org on port 10105 200" \
    "$(ask_tls "$EGRESS_TLS_PORT" https://www.example.org/ | tr -d '\n')"
  expect "the egress filter closes a connection to an unknown server name" " 000 35" \
    "$(ask_tls "$EGRESS_TLS_PORT" https://edition.cnn.com/)"
  expect "the sni filter routes by server name" "a.pay.example.com on port 10106 200" \
    "$(ask_tls "$SNI_PORT" https://a.pay.example.com/ | tr -d '\n')"
  expect "the sni filter closes a connection without a route" " 000 35" \
    "$(ask_tls "$SNI_PORT" https://blog.example.com/)"
  expect "the sni filter refuses a host of another server name" " 421" \
    "$(ask_tls "$SNI_AUTHORITY_PORT" https://blog.example.com/ -H 'Host: shop.example.com')"
}
