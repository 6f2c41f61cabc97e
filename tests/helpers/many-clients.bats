# What a server that serves many clients at a time has to withstand: 04, 05, 06 and 08, each in its
# own way.
# tests/NN-many-clients.bats are symbolic links to this one text, and NN says which chapter is
# judged. What each of these clients may do is in tcp.bats and in line-service.bats.
#
# A server of yours, without the options of this kit:
# SERVER='python3 my.py' bats --filter-tags '!kit' tests/06-many-clients.bats

NN=${BATS_TEST_FILENAME##*/}
CHAPTER=$(cd "$BATS_TEST_DIRNAME/.." && echo "${NN%%-*}"-*)
load helpers/common
# Files run side by side. Running these short tests in parallel too would cost more than it gains.
# shellcheck disable=SC2034
BATS_NO_PARALLELIZE_WITHIN_FILE=true

# A pool serves as many at a time as it has workers; the others wait, and are served after them.
AT_ONCE=()
[[ $CHAPTER != 04-* || $GUEST ]] || AT_ONCE=(-w 64)

setup_file() {
  ahead silent_clients_take_no_time slow_reader_holds_up_nobody sigterm_answers_what_has_arrived \
    idle_are_closed
  in_turn sigterm_under_load_of_many_lines sigterm_under_load bursts_leave_nothing \
    sleeping_server_answers_later
}

# happened CALL FIELD: how often, by the report that the fault shim writes when the server ends.
happened() {
  sed -n "s/^$1 .*\b$2=\([0-9]*\).*/\1/p" "$T/report" | awk '{ sum += $1 } END { print sum + 0 }'
}

# has_fds MIN [MAX]: the server has that many open descriptors.
has_fds() {
  local n
  n=$(fds "$SERVER_PID")
  ((n >= $1 && n <= ${2:-n}))
}

# start_load PROGRAM OPTION…: a client of another chapter, in the background.
start_load() {
  local program=$BUILD/$1
  shift
  start_tool load timeout 20 "$program" -p "$PORT" "$@"
}

# load_ended STATUS: it ended so. 1: the server has closed the connection, as it should.
load_ended() {
  local status=0
  wait "${TOOLS[load]}" || status=$?
  unset 'TOOLS[load]'
  ((status == $1)) || complain "the client ended with $status" || last_words load
  run grep -E 'ECONNRESET|EPIPE|does not fit|wrong [1-9]' "$T/load.err" "$T/load.out"
  refute_output
}

# ---- they come ----

# listen(2): a client that is not accepted yet is connected nevertheless, if the backlog has room.
# With one of 10, most of them wait for a minute. signal(7): SIGCONT ends epoll_wait with EINTR.
sleeping_server_answers_later() {
  local tls=${PEER_TLS:+100} # of them speak, through TLS
  (($(</proc/sys/net/core/somaxconn) >= 1200)) || skip 'the backlog of this system has less room'
  need_descriptors 1300
  start_server
  kill -STOP "$SERVER_PID"
  ((tls == 0)) || PEER_TLS='' NAME=more start_peer -n $((1200 - tls)) "$PORT" silent
  start_peer -n $((tls ? tls : 1200)) "$PORT" ready:"$T/here" send:'hello\n' half-close \
    ready:"$T/sent" eof
  wait_for 15 test -e "$T/here"
  [[ ${PEER_TLS-} ]] || wait_for 5 test -e "$T/sent" # before a handshake nothing can be sent
  kill -CONT "$SERVER_PID"
  finish_peer
  (($(grep -cx +hello "$T/peer.out") == (tls ? tls : 1200)))
  kill -STOP "$SERVER_PID"
  kill -CONT "$SERVER_PID"
  assert_serving
}

# bats test_tags=heavy
@test "1,200 clients connect while the server is stopped by SIGSTOP; then each is answered" {
  seen sleeping_server_answers_later
}

bursts_leave_nothing() {
  local before
  start_server
  before=$(fds "$SERVER_PID")
  "$PEER" -t 60 -r 50 -n 10 "$PORT" lines:20 half-close lines-back:20 eof
  wait_for 5 has_fds "$before" "$before"
  assert_serving
}

# bats test_tags=heavy
@test "50 bursts of 10 clients: each gets its replies, and nothing is left behind" {
  seen bursts_leave_nothing
}

@test "a client that leaves does not disturb those that connected before or after it" {
  local name
  start_server "${AT_ONCE[@]}"
  for name in first second third; do
    NAME=$name start_peer -n 15 "$PORT" send:'one\n' line ready:"$T/$name" until:"$T/$name.go" \
      send:'two\n' line
    wait_for 5 test -e "$T/$name"
  done
  for name in second third first; do
    touch "$T/$name.go"
    NAME=$name finish_peer
    (($(grep -cx +two "$T/$name.out") == 15))
    assert_serving
  done
}

# ---- they stay ----

# Level-triggered epoll reports "writable" for ever if a server asks for it without need: epoll(7).
silent_clients_take_no_time() {
  start_server "${AT_ONCE[@]}"
  start_peer -n 10 "$PORT" ready:"$T/first" silent
  NAME=second start_peer -n 10 "$PORT" lines:10 lines-back:10 ready:"$T/second" silent
  NAME=third start_peer -n 10 "$PORT" send:'one\nhalf a line' line ready:"$T/third" silent
  for name in first second third; do
    wait_for 5 test -e "$T/$name"
  done
  assert_not_spinning
}

@test "30 clients that are silent, answered or in the middle of a line use no CPU time" {
  seen silent_clients_take_no_time
}

# They connect at different times, and one sends a line in between: each has its own time limit.
idle_are_closed() {
  local name ms
  start_server -i 2 "${AT_ONCE[@]}"
  start_peer -n 30 "$PORT" closed:3000
  NAME=speaker start_peer "$PORT" sleep:1200 send:'hello\n' line closed:3000
  sleep 0.4
  NAME=half start_peer -n 15 "$PORT" send:'half a line' closed:3000
  sleep 0.4
  NAME=late start_peer -n 15 "$PORT" send:'hello\n' line closed:3000
  for name in peer speaker half late; do
    NAME=$name finish_peer
    while read -r ms; do
      [[ $ms == +hello ]] || ((ms >= 1000)) || complain "$name: closed after $ms ms"
    done <"$T/$name.out"
  done
  assert_serving
}

# bats test_tags=kit,slow
@test "60 idle clients are closed in the stated time, even in mid-line; an active one is not" {
  seen idle_are_closed
}

# grows FILE BYTES: it has more than these.
grows() {
  (($(wc -c <"$1") > $2))
}

# tcp(7): the slow client's buffers are full: a server that waits for room there waits for it.
slow_reader_holds_up_nobody() {
  local before
  start_server
  seq 1000000 2999999 >"$T/sent" # 16 MB, at 1 MB a second
  start_peer -b 4096 "$PORT" echo:"$T/sent":1000
  wait_for 5 test -s "$T/peer.out"
  "$PEER" -t 5 -n 50 "$PORT" lines:1000 half-close lines-back:1000 eof
  before=$(wc -c <"$T/peer.out")
  assert_serving
  wait_for 5 grows "$T/peer.out" "$before" # else the slow one gets nothing any more
  ((before < 16000000))
}

# bats test_tags=heavy
@test "beside a slow reader, 50 fast clients are served, and the slow one still progresses" {
  seen slow_reader_holds_up_nobody
}

# ---- what fails ----

# close(2) may fail with EINTR or EIO, and has closed: closing again could close another client's.
@test "when close fails, it is not called again, and no descriptor stays open" {
  local before
  FAULT_ENV="FAULT_REPORT=$T/report FAULT_FAIL=close:EIO:2,close:EINTR:3" start_server
  before=$(fds "$SERVER_PID")
  "$PEER" -r 20 -n 5 "$PORT" lines:5 half-close lines-back:5 eof
  wait_for 5 has_fds "$before" "$before"
  assert_serving
  stop_server
  (($(happened close failed) > 50))
  (($(happened close calls) < 120))
}

# ---- they are left ----

# The server is stopped (SIGSTOP) while all this arrives, so it finds the signal and the lines at
# once. Of a pool of 8, eight are served and twelve wait in the queue.
sigterm_answers_what_has_arrived() {
  local before shake_hands=()
  [[ ! ${PEER_TLS-} ]] || shake_hands=(send:'one\n' line)
  start_server
  before=$(fds "$SERVER_PID")
  start_peer -n 20 "$PORT" "${shake_hands[@]}" ready:"$T/here" until:"$T/go" lines:500 \
    ready:"$T/sent" lines-back:500 eof
  wait_for 5 test -e "$T/here"
  wait_for 5 has_fds $((before + 20))
  kill -STOP "$SERVER_PID"
  touch "$T/go"
  wait_for 5 test -e "$T/sent"
  kill -TERM "$SERVER_PID"
  kill -CONT "$SERVER_PID"
  stop_server 0 0
  finish_peer # it fails if there was a reset
}

@test "SIGTERM: 20 clients get the reply to every line that had arrived, then end of file" {
  seen sigterm_answers_what_has_arrived
}

# The same through TLS, by peer: that many lines at a time on 20 connections.
load_through_tls() {
  local script
  mapfile -t script < <(yes "lines:$1"$'\n'"lines-back:$1" | head -n 20000)
  start_tool load "$PEER" -n 20 "$PORT" "${script[@]:0:2}" print:'connections 20\n' "${script[@]}"
  wait_for 5 test -s "$T/load.out"
  sleep 0.3
  stop_server
  load_ended 1
  grep -Eq 'closed (before|after)' "$T/load.err"
}

# is_tried_again TRY: the load has ended with a reset. The server waits 300 ms for what a client
# still sends, and on a busy machine a client may be slower: so there are three tries.
is_tried_again() {
  wait_for 20 not running "${TOOLS[load]}"
  (($1 < 3)) && grep -q ECONNRESET "$T/load.err" || return
  unset 'TOOLS[load]'
}

# 04's client checks each reply, asks again when it has it, and says how each connection ended.
sigterm_under_load() {
  local try
  if [[ ${PEER_TLS-} ]]; then
    start_server
    load_through_tls 1
    return
  fi
  for try in 1 2 3; do
    start_server
    # shellcheck disable=SC2046 # 100,000 messages
    start_load 04-threadpool/client -c 20 $(seq 100000)
    wait_for 5 test -s "$T/load.out"
    stop_server
    is_tried_again "$try" || break
  done
  load_ended 1
  grep -q '^client: the server closed without a reply' "$T/load.err"
}

# bats test_tags=heavy
@test "SIGTERM under load: each client gets the right replies so far, then end of file, no reset" {
  seen sigterm_under_load
}

# 06's load generator keeps sixteen lines in flight on each connection.
sigterm_under_load_of_many_lines() {
  local try
  if [[ ${PEER_TLS-} ]]; then
    start_server
    load_through_tls 16
    return
  fi
  for try in 1 2 3; do
    start_server
    start_load 06-epoll/load -c 8 -P 16 -d 9
    wait_for 5 grep -q '^connections 8' "$T/load.out"
    sleep 0.3
    stop_server
    is_tried_again "$try" || break
  done
  load_ended 1
  grep -q '^requests [1-9]' "$T/load.out"
}

# bats test_tags=heavy
@test "SIGTERM under load, with many lines in flight: right replies, then end of file, no reset" {
  seen sigterm_under_load_of_many_lines
}
