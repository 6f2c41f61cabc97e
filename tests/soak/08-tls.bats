# What takes too long for `make test` of chapter 08: testssl.sh, valgrind, ten thousand handshakes.

CHAPTER=08-tls
load ../helpers/common

# New for each run: wrong-certs.sh.
setup_file() {
  export WRONG=$BATS_FILE_TMPDIR/certs
  sh "$BATS_TEST_DIRNAME/../helpers/wrong-certs.sh" "$WRONG"
}

# Each test has its own copy: two of them move files, and tests run side by side.
setup() {
  trace_tests_only
  cp -r "$WRONG" "$T/certs"
  WRONG=$T/certs
}

# start_ours [OPTION…]: the server with the certificates of this run.
start_ours() {
  start_server -c "$WRONG/server.pem" -k "$WRONG/server.key" "$@"
  export PEER_TLS=$WRONG/ca.pem
}

has_fds() {
  (($(fds "$SERVER_PID") <= $1))
}

# Its exit status counts warnings of its own. What it found is in the JSON file.
@test "testssl.sh reports nothing of severity LOW or above" {
  local testssl
  need testssl.sh
  testssl=$(command -v testssl || command -v testssl.sh)
  need python3
  start_ours
  timeout 300 "$testssl" --warnings off --color 0 -n min --quiet --openssl-timeout 5 \
    --connect-timeout 5 --add-ca "$WRONG/ca.pem" --jsonfile "$T/found.json" \
    "localhost:$PORT" >"$T/told" || true
  run -0 python3 -c 'if True:
    import collections, json, sys
    found = json.load(open(sys.argv[1]))
    print(*sorted(collections.Counter(f["severity"] for f in found).items()))
    for f in found:
        if f["severity"] in ("LOW", "MEDIUM", "HIGH", "CRITICAL", "FATAL"):
            print(f["severity"], f["id"], f["finding"])
  ' "$T/found.json"
  assert_equal "${#lines[@]}" 1
  assert_output --regexp "'OK', [3-9][0-9]\)"
  echo "# $output" >&3
  assert_serving
}

# visits N: so many handshakes of each kind; the last three kinds fail. $T/hello is a ClientHello.
visits() {
  "$PEER" -t 100 -r "$1" "$PORT" send:'hello\n' line half-close eof >/dev/null
  "$PEER" -t 100 -r "$1" "$PORT" lines:10 reset
  PEER_TLS='' "$PEER" -t 100 -r "$1" "$PORT" send:'GET / HTTP/1.0\r\n\r\n' eof
  PEER_TLS='' "$PEER" -t 100 -r "$1" "$PORT" file:"$T/hello" recv:500 reset >/dev/null
  PEER_TLS='' "$PEER" -t 100 -r "$1" "$PORT" file:"$T/hello" recv:500 file:"$T/hello" eof >/dev/null
}

@test "10,000 handshakes, of which 6,000 fail, leave no descriptor and no memory behind" {
  local fds rss
  need python3
  start_ours
  assert_serving
  python3 "$ROOT/tests/helpers/hostile.py" "$PORT" "$PEER_TLS" hello-file >"$T/hello"
  fds=$(fds "$SERVER_PID")
  visits 500
  wait_for 7 has_fds "$fds"
  rss=$(rss_kb "$SERVER_PID")
  visits 2000
  assert_serving
  wait_for 7 has_fds "$fds"
  [[ ${SAN-} ]] || (($(rss_kb "$SERVER_PID") - rss < 512)) ||
    complain "from $rss to $(rss_kb "$SERVER_PID") kB"
}

@test "1,000 times SIGHUP, with good and bad files, leave no descriptor and no memory behind" {
  local fds rss i
  start_ours
  assert_serving
  fds=$(fds "$SERVER_PID")
  for i in {1..1000}; do
    kill -HUP "$SERVER_PID"
    ((i % 10)) || assert_serving
    ((i != 100)) || rss=$(rss_kb "$SERVER_PID")
    ((i != 500)) || mv "$WRONG/server.key" "$WRONG/server.key.away"
  done
  mv "$WRONG/server.key.away" "$WRONG/server.key"
  assert_serving
  has_fds "$fds"
  [[ ${SAN-} ]] || (($(rss_kb "$SERVER_PID") - rss < 512)) ||
    complain "from $rss to $(rss_kb "$SERVER_PID") kB"
}

# valgrind(1). One side at a time: both have only 5 s for a handshake.
valgrind=(valgrind -q --leak-check=full --show-leak-kinds=all --track-fds=yes --error-exitcode=99)

# found_nothing FILE…: but the three descriptors that everyone has.
found_nothing() {
  run grep -E '^==[0-9]+==' /dev/null "$@"
  run grep -v 'FILE DESCRIPTORS: 3 open\|^[^:]*:==[0-9]*== *$' <<<"$output"
  refute_output
}

# goes_well FILE OPTION…: the client with this standard input. Beside much else its handshake under
# valgrind may take too long, which ends it with 1: one of three times has to go well.
goes_well() {
  local input=$1
  shift
  for _ in 1 2 3; do
    run client "${identity[@]}" "$@" <"$input"
    ((status == 1)) || break
  done
  assert_success # 99 if valgrind has found something
}

@test "valgrind finds nothing in the client: good and bad handshakes, many lines" {
  need_valgrind
  start_ours -C "$WRONG/ca.pem"
  identity=(-C "$WRONG/ca.pem" -c "$WRONG/client.pem" -k "$WRONG/client.key")
  CLIENT_WITHIN=90 CLIENT="${valgrind[*]} $CLIENT"
  goes_well /dev/null -i hello world
  seq 2000 >"$T/lines"
  goes_well "$T/lines"
  run -1 client -C "$WRONG/ca.pem" hello
  run -1 client "${identity[@]}" -n example.org hello
}

@test "valgrind finds nothing in the server: good and bad handshakes, replies, reload, exit" {
  need_valgrind
  START_WITHIN=30 STOP_WITHIN=30 SERVER="${valgrind[*]} $SERVER"
  start_ours -C "$WRONG/ca.pem" -v
  identity=(-C "$WRONG/ca.pem" -c "$WRONG/client.pem" -k "$WRONG/client.key")
  run -0 client "${identity[@]}" hello world
  run -1 client -C "$WRONG/ca.pem" hello
  run -1 client "${identity[@]}" -n example.org hello
  kill -HUP "$SERVER_PID"
  PEER_TLS='' "$PEER" "$PORT" send:'GET / HTTP/1.0\r\n\r\n' eof
  PEER_TLS='' "$PEER" "$PORT" send:'\x16\x03\x01' reset
  PEER_TLS='' "$PEER" "$PORT" silent </dev/null
  run -1 "$PEER" "$PORT" send:'hello\n' line
  mv "$WRONG/server.key" "$WRONG/away"
  kill -HUP "$SERVER_PID"
  wait_for 10 grep -q 'server.key: No such file' "$T/server.err"
  mv "$WRONG/away" "$WRONG/server.key"
  NAME=plain start_server -c "$WRONG/server.pem" -k "$WRONG/server.key"
  "$PEER" "$PORT" lines:3000 lines-back:3000 half-close eof
  "$PEER" "$PORT" lines:1000 gone
  "$PEER" "$PORT" fill:100000 line eof
  "$PEER" "$PORT" send:'half a line' cut
  start_peer "$PORT" send:'hello\nhalf a line' line ready:"$T/here" eof
  wait_for 20 test -e "$T/here"
  NAME=plain stop_server
  finish_peer
  stop_server
  found_nothing "$T/server.err" "$T/plain.err"
}

@test "a reset at every stage of the handshake does no harm, 20 of 20 times" {
  local run
  need python3
  start_ours
  for run in {1..20}; do
    timeout 60 python3 "$ROOT/tests/helpers/hostile.py" "$PORT" "$PEER_TLS" resets noise junk \
      >"$T/said"
    run ! grep -E 'open|reset' "$T/said"
  done
  assert_serving
}
