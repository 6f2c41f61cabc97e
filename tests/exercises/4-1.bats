# 4-1, the line service with a thread for each client: -w WORKERS of them at most.
# bats file_tags=4-1

CHAPTER=04-threadpool
load ../helpers/common

# hold NAME [N]: N clients (1) that have got an answer, and stay until the file $T/NAME.go exists.
hold() {
  NAME=$1 start_peer -n "${2:-1}" "$PORT" send:"$1\n" line ready:"$T/$1.here" until:"$T/$1.go"
  wait_for_work 3 "$SERVER_PID $PEER_PID" test -e "$T/$1.here" || complain "$1: no answer"
}

# let_go NAME…: they leave, and have to come to a good end.
let_go() {
  local NAME
  for NAME; do
    touch "$T/$NAME.go"
    finish_peer
  done
}

threads() {
  set -- "/proc/$SERVER_PID/task"/*
  echo $#
}

has_threads() {
  (($(threads) == $1))
}

has_fds() {
  (($(fds "$SERVER_PID") == $1))
}

# Lines of /proc/PID/maps: a stack that nobody takes back stays there; pthread_create(3), NOTES.
mappings() {
  wc -l <"/proc/$SERVER_PID/maps"
}

# pthread_create(3)
@test "twenty silent clients keep no other client waiting" {
  start_server
  hold silent 20
  receives '+hello\n' send:'hello\n' half-close eof
  let_go silent
}

@test "a thread starts with its client and ends with it" {
  local before
  start_server
  assert_serving
  sleep 0.2 # for the thread of that one
  before=$(threads)
  hold five 5
  has_threads $((before + 5)) || complain "$before threads without a client, $(threads) with five"
  let_go five
  wait_for 3 has_threads "$before" || complain "$(threads) threads are left, $before before"
}

# pthread_detach(3): else an ended thread keeps its stack until somebody joins it.
@test "after 200 clients, one after another, no descriptor, thread or stack is left" {
  local fds threads maps
  start_server
  "$PEER" -r 20 "$PORT" send:'hello\n' line close
  sleep 0.2
  fds=$(fds "$SERVER_PID") threads=$(threads) maps=$(mappings)
  "$PEER" -r 100 "$PORT" send:'hello\n' line close
  "$PEER" -r 100 "$PORT" send:'half a line' reset
  wait_for 3 has_fds "$fds"
  wait_for 3 has_threads "$threads"
  (($(mappings) < maps + 200)) || # a stack left is two, with its guard page
    complain "$maps mappings before, $(mappings) after"
}

# listen(2): who is not accepted waits in the kernel's backlog, and costs the server nothing.
@test "-w 2: a third client is accepted and served only when one of the two has gone" {
  local before ticks
  start_server -w 2
  assert_serving
  sleep 0.2
  before=$(fds "$SERVER_PID") ticks=$(cpu_ticks "$SERVER_PID")
  hold first
  hold second
  NAME=third start_peer "$PORT" send:'third\n' line
  sleep 0.5
  [[ ! -s $T/third.out ]] || complain 'a third one is served'
  has_fds $((before + 2)) ||
    complain "$before descriptors without a client, $(fds "$SERVER_PID") with two and one who waits"
  ticks=$(($(cpu_ticks "$SERVER_PID") - ticks))
  ((ticks < 20)) || complain "the server has used $ticks ticks of processor time while it waited"
  let_go first
  NAME=third finish_peer
  assert_equal "$(<"$T/third.out")" +third
  let_go second
}

# The delays let threads end while others begin.
@test "40 bursts of ten clients at -w 4: each line is answered" {
  FAULT_ENV='FAULT_DELAY=pthread_mutex_lock:100,pthread_cond_wait:300' start_server -w 4
  run "$PEER" -t 10 -r 40 -n 10 "$PORT" lines:10 half-close lines-back:10 eof
  ((status == 0)) || complain "$output"
  assert_serving
}

# pthread_create(3), EAGAIN; malloc(3), ENOMEM: both are over when others have left.
@test "a thread cannot be started: clients being served notice nothing, and the next one waits" {
  FAULT_ENV="FAULT_REPORT=$T/report FAULT_FAIL=pthread_create:EAGAIN:3" start_server
  hold first
  run "$PEER" -t 5 -r 10 "$PORT" send:'hello\n' line close
  ((status == 0)) || complain "a client was not served: $output"
  let_go first
  assert_equal "$(grep -cx +hello <<<"$output")" 10
  stop_server
  grep -Eq '^pthread_create .*failed=[1-9]' "$T/report" || [[ $GUEST ]]
}

# pthread_kill(3): only a thread that has not ended, or is not detached, may be signalled.
# bats test_tags=kit
@test "SIGTERM while clients come and go at the limit: exit 0 within 2 s" {
  start_server -w 4
  hold silent 2
  start_tool load "$PEER" -t 60 -r 10000 -n 6 "$PORT" lines:2 half-close lines-back:2 eof
  sleep 0.3
  stop_server
}

# What has arrived is answered, also of those who have nothing more to say.
# bats test_tags=kit
@test "SIGTERM at the limit, with more clients in the backlog: exit 0 within 2 s" {
  start_server -w 2
  hold first
  hold second
  NAME=outside start_peer -n 20 "$PORT" send:'hello\n' ready:"$T/sent" silent
  wait_for 3 test -e "$T/sent"
  stop_server
}
