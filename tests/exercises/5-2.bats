# 5-2, one thread selects and accepts, workers run the handlers: -w WORKERS of them.
# bats file_tags=5-2

CHAPTER=05-select
load ../helpers/common

# happened CALL FIELD: how often, by the report that the fault shim writes when the server ends.
happened() {
  sed -n "s/^$1 .*\b$2=\([0-9]*\).*/\1/p" "$T/report" | awk '{ sum += $1 } END { print sum + 0 }'
}

# goes_well PEER_ARGUMENT…: a scripted client that comes to a good end.
goes_well() {
  local status=0
  "$PEER" "$@" >"$T/replies" 2>"$T/why" || status=$?
  ((status == 0)) || complain "$(<"$T/why")"
}

# has_fds MIN [MAX]: so many descriptors of the server are open.
has_fds() {
  local n
  n=$(fds "$SERVER_PID")
  ((n >= $1 && n <= ${2:-n}))
}

# has_more_threads THAN MORE: so many threads more than another server has.
has_more_threads() {
  local more
  more=$(($(find "/proc/$SERVER_PID/task" -mindepth 1 -maxdepth 1 | wc -l) - $1))
  ((more == $2)) || complain "$more threads more than with -w 1, not $2"
}

# The shim makes each recv take half a second. One after another, four of them take 2 s.
@test "handlers run at the same time: four slow ones take no longer than one" {
  FAULT_ENV='FAULT_DELAY=recv:500000' start_server -w 4
  goes_well -n 4 "$PORT" send:'hello\n' within:1400:line
}

# accept(2) is the selecting thread's, which never waits for a handler.
# bats test_tags=slow
@test "while all workers are busy, clients are still accepted" {
  local before
  FAULT_ENV='FAULT_DELAY=recv:1900000' start_server -w 2
  before=$(fds "$SERVER_PID")
  start_peer -n 3 "$PORT" send:'hello\n' ready:"$T/here" silent
  wait_for 5 test -e "$T/here"
  wait_for 1 has_fds $((before + 3))
  NAME=second start_peer -n 10 "$PORT" silent
  wait_for 1 has_fds $((before + 13)) || complain 'they have to wait'
}

# Two workers that each read a piece would both append it to the same beginning.
@test "a socket is never handled by two workers at once: lines in pieces are put together right" {
  local text='one two three four five six seven'
  FAULT_ENV='FAULT_DELAY=recv:2000,send:2000' start_server -w 4
  goes_well -n 6 "$PORT" dribble:1:"$text\n$text\n$text\n" line line line half-close eof
  assert_equal "$(sort "$T/replies" | uniq -c | sed 's/^ *//')" "18 +$text"
}

# A buffer to which several workers write at the same time holds the data of none of them.
@test "each client gets its own lines back, however many are handled at the same time" {
  local name
  FAULT_ENV='FAULT_DELAY=recv:1000,send:3000' start_server -w 4
  for name in first other third; do
    NAME=$name start_peer -r 30 "$PORT" send:"$name client\n" line
  done
  for name in first other third; do
    NAME=$name finish_peer
    assert_equal "$(sort "$T/$name.out" | uniq -c | sed 's/^ *//')" "30 +$name client"
  done
}

# select(2): the socket that a worker has is ready all the time, until the worker has read from it.
# bats test_tags=kit
@test "a socket that a worker is handling is not in the sets given to select" {
  FAULT_ENV="FAULT_DELAY=recv:300000 FAULT_REPORT=$T/report" start_server -w 4
  goes_well -n 4 "$PORT" send:'hello\n' line close
  stop_server
  (($(happened select calls) < 200)) ||
    complain "select has returned $(happened select calls) times, for 4 lines"
}

# pipe(7): the result is something to read, so select returns.
@test "a result wakes the thread in select: 300 lines, one after another, within 6 s" {
  local questions=() i
  for i in {1..300}; do
    questions+=(send:"$i\n" line)
  done
  start_server -w 2
  goes_well -t 6 "$PORT" "${questions[@]}"
  seq 300 | sed 's/^/+/' >"$T/expected"
  same_bytes "$T/expected" "$T/replies"
}

# close(2): the number is given to the next client at once. A thread that closes it too early, or
# uses it too late, hits that client.
@test "clients that reset while a worker handles them do no harm, and nothing is left of them" {
  local before i
  FAULT_ENV='FAULT_DELAY=send:500' start_server -w 4
  before=$(fds "$SERVER_PID")
  for i in 1 2 3; do
    NAME=reset$i start_peer -r 30 -n 5 "$PORT" lines:20 reset
  done
  goes_well -t 10 -r 10 -n 10 "$PORT" lines:20 lines-back:20 half-close eof
  for i in 1 2 3; do
    NAME=reset$i finish_peer
  done
  wait_for 3 has_fds "$before" "$before" ||
    complain "$before descriptors before, $(fds "$SERVER_PID") now"
}

# bats test_tags=kit
@test "-w N starts N workers; without it there are 4" {
  local one
  NAME=one start_server -w 1
  one=$(find "/proc/$SERVER_PID/task" -mindepth 1 -maxdepth 1 | wc -l)
  NAME=nine start_server -w 9
  has_more_threads "$one" 8
  start_server
  has_more_threads "$one" 3
}

# pthread_create(3), EAGAIN. ThreadSanitizer has a thread of its own.
# bats test_tags=kit
@test "if only some workers can be started, the server says so and serves with them" {
  FAULT_ENV='FAULT_FAIL=pthread_create:EAGAIN:@3' start_server -w 4
  goes_well -n 20 "$PORT" lines:50 lines-back:50 half-close eof
  grep -qE '^server: only [12] of 4 workers: .' "$T/server.err" || complain 'it has not said so'
}

# bats test_tags=kit
@test "SIGTERM while workers are busy: lines that had arrived are answered, exit 0 within 2 s" {
  FAULT_ENV='FAULT_DELAY=send:200000' start_server -w 2
  start_peer -n 2 "$PORT" send:'hello\n' sleep:50 send:'bye\n' ready:"$T/here" line line eof
  FAULT_ENV='FAULT_DELAY=recv:300000' NAME=slow start_server -w 1
  NAME=many start_peer -n 30 "$PORT" send:'hello\n' ready:"$T/there" silent
  wait_for 5 test -e "$T/here"
  wait_for 5 test -e "$T/there"
  kill "${SERVERS[@]}"
  stop_server 0 0
  finish_peer
  assert_equal "$(sort "$T/peer.out" | uniq -c | tr -s ' \n' ' ')" ' 2 +bye 2 +hello '
  NAME=slow stop_server 0 0
}

# bats test_tags=kit
@test "-w with anything but a number from 1 to 64: usage, exit 2" {
  local bad
  for bad in 0 65 x ''; do
    run -2 --separate-stderr timeout $((20 * PATIENCE)) bash -c "$SERVER \"\$@\"" server -w "$bad"
    [[ $stderr == "server: -w \"$bad\": not a number from 1 to 64"*usage:* ]] ||
      complain "not the expected message: $stderr"
  done
}
