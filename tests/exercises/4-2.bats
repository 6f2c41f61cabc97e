# 4-2, a pool that refuses at once when its queue is full (-q), with a deadline a request (-d MS).
# bats file_tags=4-2

CHAPTER=04-threadpool
load ../helpers/common

# hold NAME: a client that has got an answer, so it has a worker, and keeps it until $T/NAME.go.
hold() {
  rm -f "$T/$1.here"
  NAME=$1 start_peer "$PORT" send:"$1\n" line ready:"$T/$1.here" until:"$T/$1.go"
  wait_for 3 test -e "$T/$1.here" || complain "$1: no answer within 3 s"
}

# line_up NAME VERB…: a client that has sent a line, and then does these verbs.
line_up() {
  local name=$1
  rm -f "$T/$1.here"
  shift
  NAME=$name start_peer "$PORT" send:"$name\n" ready:"$T/$name.here" "$@"
  wait_for 3 test -e "$T/$name.here"
}

# fill_pool: of a server with -w 1 -q 1, the worker and the place in the queue are taken.
fill_pool() {
  hold served
  line_up queued line
}

# free_pool: served leaves, so that queued gets its answer, and both come to a good end.
free_pool() {
  touch "$T/served.go"
  NAME=served finish_peer
  NAME=queued finish_peer
  assert_equal "$(<"$T/queued.out")" +queued
}

has_fds() {
  (($(fds "$SERVER_PID") == $1))
}

@test "the queue is full: the next client is told -busy at once, then end of file follows" {
  start_server -w 1 -q 1
  fill_pool
  receives '-busy\n' within:1000:line within:1000:eof
  receives '-busy\n' within:1000:line within:1000:eof
  free_pool
}

# close(2) with input unread sends a reset, which destroys what is on its way (RFC 2525, 2.17).
@test "a refused client that has sent something also gets -busy, not a reset" {
  start_server -w 1 -q 1
  fill_pool
  receives '-busy\n' send:'hello\n' sleep:100 eof
  receives '-busy\n' fill:60000 sleep:100 eof
  receives '-busy\n' sleep:50 send:'hello\n' sleep:50 send:'hello\n' sleep:50 eof
  free_pool
}

# A server that waits for one of them waits for all of them.
@test "100 refused clients that stay connected keep no one waiting, and are closed in the end" {
  local before
  start_server -w 1 -q 1
  fill_pool
  before=$(fds "$SERVER_PID")
  NAME=refused start_peer -n 100 "$PORT" line ready:"$T/refused" silent
  wait_for 3 test -e "$T/refused" || complain 'not all of 100 were told within 3 s'
  receives '-busy\n' within:1000:line
  (($(grep -cxe -busy "$T/refused.out") == 100))
  wait_for 3 has_fds "$before" || complain "$before descriptors before, $(fds "$SERVER_PID") after"
  free_pool
}

# As many as can linger at a time, and many more.
@test "1,500 refused clients stay connected: the next one is told -busy within a second" {
  need_descriptors 1600
  start_server -w 1 -q 1
  fill_pool
  NAME=refused start_peer -n 1500 "$PORT" ready:"$T/here" line ready:"$T/refused" silent
  wait_for 5 test -e "$T/here" || complain 'not all of 1,500 could connect within 5 s'
  receives '-busy\n' within:1000:line
  wait_for 5 test -e "$T/refused" || complain 'not all of 1,500 were told within 5 s'
  (($(grep -cxe -busy "$T/refused.out") == 1500))
  free_pool
  assert_serving
}

@test "500 clients at once: each is either answered or told -busy" {
  need_descriptors 600
  start_server -w 2 -q 5
  run "$PEER" -t 10 -n 500 "$PORT" send:'hello\n' half-close eof
  ((status == 0)) || complain "$output"
  (($(grep -cxe -busy -e +hello <<<"$output") == 500))
  grep -qxe -busy <<<"$output" || complain 'none was refused: is there room for more than -q?'
  assert_serving
}

@test "as soon as a worker has taken a client from the queue, another can join it" {
  start_server -w 1 -q 1
  fill_pool
  receives '-busy\n' within:1000:eof
  free_pool
  receives '+hello\n' send:'hello\n' half-close eof
  rm "$T/served.go"
  fill_pool
  receives '-busy\n' within:1000:eof
  free_pool
}

# Serving a request that no one waits for any more delays the requests behind it.
@test "-d: a client that waited too long in the queue is told -too late; others are answered" {
  start_server -w 1 -q 9 -d 1000
  hold served
  line_up late eof
  sleep 1.2
  line_up queued line
  free_pool
  NAME=late finish_peer
  assert_equal "$(<"$T/late.out")" '-too late'
}

# bats test_tags=slow
@test "-d: a client whose line is not complete in time is told so, even if bytes keep coming" {
  start_server -d 700
  receives '-too late\n' within:5000:eof
  receives '-too late\n' dribble:100:hello within:5000:eof
  receives '+one\n-too late\n' send:'one\ntw' within:5000:eof
  receives '+one\n-too late\n' send:'one\n' line sleep:100 send:tw within:5000:eof
}

# bats test_tags=slow
@test "-d: each line has its own deadline, and none runs between two lines" {
  start_server -d 1000
  receives '+one\n+two\n+three\n' send:'one\ntw' sleep:700 send:'o\nthr' line line sleep:700 \
    send:'ee\n' line sleep:1200 half-close eof
}

# bats test_tags=kit
@test "SIGTERM while the queue is full: clients waiting in it are answered, exit 0 within 2 s" {
  start_server -w 1 -q 1
  fill_pool
  NAME=refused start_peer -n 20 "$PORT" line ready:"$T/refused" silent
  wait_for 3 test -e "$T/refused" || complain 'not all of 20 were told within 3 s'
  stop_server
  NAME=queued finish_peer
  assert_equal "$(<"$T/queued.out")" +queued
}

# bats test_tags=kit
@test "-d with anything but a number from 1 to 3600000: usage, exit 2" {
  local bad
  for bad in 0 3600001 x ''; do
    run -2 --separate-stderr timeout $((20 * PATIENCE)) bash -c "$SERVER \"\$@\"" server -d "$bad"
    [[ $stderr == "server: -d \"$bad\": not a number from 1 to 3600000"*usage:* ]] ||
      complain "not the expected message: $stderr"
  done
}
