# What takes too long for `make test`: more members, more lines, more hostile ones. They are played
# as in tests/07-chat.bats. `make soak` runs this.

CHAPTER=07-chat
load ../helpers/common
load ../helpers/chat

teardown() {
  all_leave
  common_teardown
}

# grown_by KB: the most memory it had at any time, beside what it had at first.
grown_by() {
  [[ ${SAN-} ]] || (($(peak_kb "$SERVER_PID") - BEFORE <= $1)) ||
    complain "from $BEFORE to $(peak_kb "$SERVER_PID") kB"
}

# ---- many ----

@test "1,000 members speak once each: 999,000 lines are heard, each once, in the same order" {
  start_server -m 1100 -r 0
  "$CROWD" -t 200 "$PORT" talk 1000 1 30
}

@test "100 members speak 100 times each: 1,000,000 lines are heard, in the same order" {
  start_server -r 0
  "$CROWD" -t 200 "$PORT" talk 100 100 90
}

@test "500 members reset at the same instant: the others are told of each; 10 times" {
  local before
  start_server -r 0
  assert_serving
  before=$(fds "$SERVER_PID")
  for _ in {1..10}; do
    "$CROWD" -t 60 "$PORT" reset 500
  done
  wait_for 5 has_fds "$before"
}

@test "ten members send 2,000-byte lines in pieces: 4,000 lines are heard, none mixed" {
  start_server -r 0
  "$CROWD" -t 200 "$PORT" talk 10 400 2001
}

# ---- slow readers, floods ----

@test "200,000 lines beside a member that never reads: no one else loses any; under 1 MiB" {
  start_server -r 0
  assert_serving
  BEFORE=$(rss_kb "$SERVER_PID")
  "$CROWD" -t 200 "$PORT" flood 200000
  grown_by 1024
  assert_serving
}

# The talker does not wait for its listeners here. These read at once, and that has to be enough;
# but who gets no processor for long does not read, so one of three times has to go well.
@test "200,000 lines as fast as they can be sent: fast readers lose none" {
  start_server -r 0
  assert_serving
  BEFORE=$(rss_kb "$SERVER_PID")
  for _ in 1 2 3; do
    run "$CROWD" -t 200 -w 0 "$PORT" flood 200000
    ((status)) || break
  done
  ((status == 0)) || complain "$output"
  grown_by 2048
  assert_serving
}

@test "ten floods of ten seconds within the line limit: no memory grows, others are served" {
  start_server
  assert_serving
  BEFORE=$(rss_kb "$SERVER_PID")
  for i in {1..10}; do
    NAME=flooder$i start_peer -t 30 "$PORT" send:"flooder$i\n" flood:10
  done
  for _ in {1..8}; do
    assert_serving
    sleep 1
  done
  for i in {1..10}; do
    NAME=flooder$i finish_peer
  done
  grown_by 2048
  assert_serving
}

# ---- they come and go ----

@test "5,000 times connect, name, say, close, and 5,000 resets: no descriptor or memory is kept" {
  local before round
  start_server -r 0
  for round in 0 1 2; do
    "$PEER" -t 100 -r 5000 "$PORT" send:'bob\nhello\n' close
    "$PEER" -t 100 -r 2500 "$PORT" send:'bob\nhello\nhalf a line' reset
    "$PEER" -t 100 -r 2500 "$PORT" reset
    "$PEER" -t 100 -n 50 -r 20 "$PORT" send:'twin\nhello\n' close
    assert_serving
    if ((round == 0)); then # the first round is for what is taken once and kept
      before=$(fds "$SERVER_PID") BEFORE=$(rss_kb "$SERVER_PID")
    fi
  done
  wait_for 5 has_fds "$before"
  grown_by 512
}

@test "SIGTERM: 30 of 30 servers in the middle of a chat exit with status 0 in time" {
  local run
  for run in {1..30}; do
    start_server -r 0
    join ann
    start_tool talker "$PEER" "$PORT" send:'bob\n' line flood:9
    sleep 0.1
    stop_server || complain "in run $run"
    leaves ann
    kill_group "${TOOLS[talker]}"
    unset 'TOOLS[talker]'
  done
}

# ---- hostile text ----

@test "200,000 lines of random bytes: no control bytes, valid UTF-8, no line lost or split" {
  start_server -r 0
  run -0 python_talk random 200000
}

# zzuf(1) flips one bit in twenty, in 50 ways.
@test "a conversation garbled by zzuf ends no server, and is clean when it is heard" {
  need zzuf iconv
  local seed status
  start_server -r 0
  start_peer -t 100 "$PORT" send:'listener\n' line ready:"$T/in" eof
  wait_for 5 test -e "$T/in"
  for seed in {1..50}; do
    {
      ((seed % 5)) || printf 'bob%d\n' "$seed" # this name is fuzzed too
      printf 'hello\n/me waves\n/who\n/msg listener psst\n/nick eve\n'
      printf '你好 %d\n' {1..200}
      printf '/help\n//path\n/quit good night\n'
    } | zzuf -r 0.05 -s "$seed" >"$T/text"
    { ((seed % 5 == 0)) || printf 'bob%d\n' "$seed"; cat "$T/text"; } >"$T/fuzzed"
    status=0
    "$PEER" -t 10 "$PORT" echo:"$T/fuzzed" >"$T/out" 2>"$T/err" || status=$? # 1: a reset
    ((status < 2)) || complain "seed $seed: $(<"$T/err")"
    cat "$T/out" >>"$T/heard"
  done
  assert_serving
  stop_server
  finish_peer
  cat "$T/peer.out" >>"$T/heard"
  (($(wc -l <"$T/heard") > 1000))
  iconv -f utf-8 -t utf-8 "$T/heard" >/dev/null
  run ! env LC_ALL=C grep -aqE "$NOT_CLEAN" <(tr '\0' '\1' <"$T/heard")
}

@test "random bytes from eight clients at a time for five seconds do no harm" {
  local i
  start_server -r 0
  join ann
  for i in {1..8}; do
    start_tool "noise$i" timeout 5 sh -c 'while :; do
      head -c 20000 /dev/urandom >"$1"; "$2" -t 2 "$3" echo:"$1" >/dev/null; done' \
      sh "$T/noise$i" "$PEER" "$PORT"
  done
  for i in {1..8}; do
    wait "${TOOLS[noise$i]}" || true
    unset "TOOLS[noise$i]"
  done
  assert_serving
}

# ---- memory ----

# valgrind(1)
@test "valgrind finds nothing in the hostile set, a flood, resets and 1,000 lines of random bytes" {
  need python3
  need_valgrind
  local valgrind='valgrind -q --leak-check=full --show-leak-kinds=all --track-fds=yes'
  START_WITHIN=20 STOP_WITHIN=20 SERVER="$valgrind --error-exitcode=99 $SERVER"
  start_server -r 0
  for _ in 1 2 3; do
    hostile_set
    "$CROWD" -t 200 "$PORT" talk 20 20 300
    "$CROWD" -t 200 "$PORT" reset 50
    "$CROWD" -t 200 "$PORT" flood 30000
  done
  run -0 python_talk random 1000
  join ann bob
  says ann hello
  stop_server
  run grep -Ev 'FILE DESCRIPTORS: 3 open|^==[0-9]+== *$' "$T/server.err"
  refute_output
}
