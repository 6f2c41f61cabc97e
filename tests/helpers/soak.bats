# What takes too long for `make test`: the same hostile clients, for longer and again and again.
# tests/soak/NN-soak.bats are symbolic links to this one text, and NN says which chapter is judged.
# `make soak` runs them.

NN=${BATS_TEST_FILENAME##*/}
CHAPTER=$(cd "$BATS_TEST_DIRNAME/../.." && echo "${NN%%-*}"-*)
load ../helpers/common

case $CHAPTER in
  01-*) PLUS='' ;;
  *) PLUS=+ ;;
esac

MANY=1000
[[ $CHAPTER != 08-* ]] || MANY=100

# make_lines BYTES: writes that many to $T/sent, as lines of 8, and their reply to $T/expected.
make_lines() {
  seq 1000000 $((1000000 + $1 / 8 - 1)) >"$T/sent"
  sed "s/^/$PLUS/" "$T/sent" >"$T/expected"
}

has_fds() {
  (($(fds "$SERVER_PID") <= $1))
}

# A connection that ends in any way leaves nothing: neither a descriptor nor memory.
@test "100,000 connections (TLS: 10,000) of seven kinds leave no descriptor and no memory behind" {
  local fds rss round
  start_server
  for round in 0 {1..10}; do
    "$PEER" -t 60 -r $((MANY * 2)) "$PORT" send:'hello\n' close
    "$PEER" -t 60 -r $((MANY * 2)) "$PORT" send:'hello\nhalf a line' reset
    "$PEER" -t 60 -r $((MANY * 2)) "$PORT" reset
    "$PEER" -t 60 -r $MANY "$PORT" close
    "$PEER" -t 60 -r $MANY "$PORT" lines:100 gone
    "$PEER" -t 60 -r $MANY "$PORT" send:'hello\n' line half-close eof >/dev/null
    "$PEER" -t 60 -n 50 -r $((MANY / 50)) "$PORT" send:'hello\n' close
    assert_serving
    if ((round == 0)); then # the first round is for what is taken once and kept
      fds=$(fds "$SERVER_PID") rss=$(rss_kb "$SERVER_PID")
    fi
  done
  wait_for 5 has_fds "$fds"
  [[ ${SAN-} ]] || (($(rss_kb "$SERVER_PID") - rss < 256)) ||
    complain "from $rss to $(rss_kb "$SERVER_PID") kB"
}

# K of K: a race inside the server would show only in some of the runs.
@test "short writes and EINTR: 30 of 30 runs answer 2 MB byte for byte" {
  local run
  make_lines 2000000
  FAULT_ENV='FAULT_SHORT=777 FAULT_FAIL=recv:EINTR:3,send:EINTR:5' start_server
  for run in {1..30}; do
    "$PEER" -t 60 "$PORT" echo:"$T/sent" >"$T/received"
    same_bytes "$T/expected" "$T/received" || complain "in run $run"
  done
}

@test "SIGTERM: 30 of 30 servers in the middle of a conversation exit with status 0 in time" {
  local run
  for run in {1..30}; do
    rm -f "$T/here"
    start_server
    start_peer "$PORT" send:'hello\nhalf a line' line ready:"$T/here" eof
    wait_for 5 test -e "$T/here"
    stop_server || complain "in run $run"
    finish_peer
  done
}

# A server that a client floods for ten seconds waits for it, and takes no memory meanwhile.
@test "a client that sends for ten seconds and never reads costs no memory" {
  local before after
  start_server
  assert_serving
  before=$(rss_kb "$SERVER_PID")
  "$PEER" -t 30 "$PORT" flood:10 >/dev/null
  assert_serving
  after=$(awk '/^VmHWM:/ { print $2 }' "/proc/$SERVER_PID/status")
  [[ ${SAN-} ]] || ((after - before < 1024)) || complain "from $before to $after kB"
}

# fiu-run(1) makes one in twenty network calls fail, each time with another error.
@test "random errors of network calls end connections, never the server" {
  need fiu-run
  [[ -z ${SAN-} ]] || skip "fiu's preload library crashes what a sanitizer has instrumented"
  local good=0 bad=0 NAME _
  local names=posix/io/net
  [[ ! ${PEER_TLS-} ]] || names=posix/io/rw # OpenSSL calls read and write
  SERVER="fiu-run -x -c 'enable_random name=$names/*,probability=0.05' $SERVER"
  for NAME in first second third fourth fifth; do
    start_server 2>/dev/null && break
    stop_server 1 0 # at its start it may give up, and then it says so
  done
  for _ in {1..100}; do
    if "$PEER" -t 5 "$PORT" send:'hello\n' line half-close eof; then
      good=$((good + 1))
    else
      bad=$((bad + 1))
    fi
  done
  ((good > 0 && bad > 0))
  for _ in {1..10}; do # one write in twenty fails, also that by which a handler tells of a signal
    kill -TERM "$SERVER_PID" 2>/dev/null || break
    sleep 0.2
  done
  stop_server 0 0
}

# valgrind(1)
@test "valgrind finds nothing: no bad access, no leak, no descriptor left open" {
  local valgrind='valgrind -q --leak-check=full --show-leak-kinds=all --track-fds=yes'
  need_valgrind
  START_WITHIN=20 STOP_WITHIN=20 SERVER="$valgrind --error-exitcode=99 $SERVER"
  start_server
  make_lines 100000
  "$PEER" -t 20 "$PORT" echo:"$T/sent" >"$T/received"
  same_bytes "$T/expected" "$T/received"
  "$PEER" "$PORT" lines:1000 gone
  "$PEER" "$PORT" send:'half a line' reset
  eval "start_tool client timeout 20 $valgrind $CLIENT -p $PORT hello bye"
  NAME=client finish_peer
  start_peer "$PORT" send:'hello\nhalf a line' line ready:"$T/here" eof
  wait_for 20 test -e "$T/here"
  stop_server
  finish_peer
  run grep -Ev 'FILE DESCRIPTORS: 3 open|^==[0-9]+== *$' "$T/server.err" "$T/client.err"
  refute_output
}
