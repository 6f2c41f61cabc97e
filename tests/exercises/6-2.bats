# 6-2, a coroutine for each connection: "count 3" is answered with three lines.
# bats file_tags=6-2

CHAPTER=06-epoll
load ../helpers/common

NINE='+1\n+2\n+3\n+4\n+5\n+6\n+7\n+8\n+9\n' # the answer to "count 9"

# since START: milliseconds.
since() {
  echo $(($(now_ms) - $1))
}

has_fds() {
  (($(fds "$SERVER_PID") <= $1))
}

@test "count 3: three lines, each 100 ms after the last" {
  local start
  start_server
  start=$(now_ms)
  receives '+1\n+2\n+3\n' send:'count 3\n' half-close eof
  start=$(since "$start")
  ((start >= 300)) || complain "all of it came within $start ms"
}

# bats test_tags=slow
@test "replies keep the order of the lines: those before a count do not wait, those after it do" {
  start_server
  receives "+one\n$NINE+two\n$NINE+1\n+three\n" \
    send:'one\ncount 9\ntwo\ncount 9\ncount 1\nthree\nhalf' within:1500:line half-close eof
}

@test "a line that only resembles a count is a line like any other" {
  start_server
  receives '+count\n+count 0\n+count 10\n+count x\n+count  1\n+Count 1\n+1\n' \
    send:'count\ncount 0\ncount 10\ncount x\ncount  1\nCount 1\ncount 1\n' half-close eof
}

# One after the other they would take 90 s.
@test "100 clients count at once: each gets its nine lines in the time that one client takes" {
  local start
  start_server
  start=$(now_ms)
  "$PEER" -t 15 -n 100 "$PORT" send:'count 9\n' half-close eof >"$T/received"
  start=$(since "$start")
  assert_equal "$(sort "$T/received" | uniq -c | xargs)" "$(printf '100 +%d ' {1..8})100 +9"
  ((start >= 900 && start < 10000)) || complain "it took $start ms"
}

# bats test_tags=kit
@test "while others count, a new line is answered, and the loop sleeps" {
  local ticks
  start_server
  start_peer -n 10 "$PORT" send:'count 9\ncount 9\n' ready:"$T/here" half-close eof
  wait_for 5 test -e "$T/here"
  ticks=$(cpu_ticks "$SERVER_PID")
  receives '+hello\n' send:'hello\n' line
  [[ ! -s $T/peer.out ]] || complain 'the counts were over before a fresh line was answered'
  finish_peer
  ticks=$(($(cpu_ticks "$SERVER_PID") - ticks))
  ((ticks < 40)) || complain "the server has used $ticks of 180 ticks"
}

# What a coroutine needs after a wait has to be kept somewhere.
@test "short writes, EINTR and EAGAIN at every call: no line is lost or duplicated" {
  local lines replies
  printf -v lines 'one two three %d\\n' {1..50}
  printf -v replies '+one two three %d\\n' {1..50}
  FAULT_ENV="FAULT_SHORT=2 FAULT_FAIL=epoll_wait:EINTR:3,recv:EAGAIN:2,recv:EINTR:3,\
send:EAGAIN:2,send:EINTR:3" start_server
  receives "+1\n+2\n$replies$NINE+end\n" \
    send:"count 2\n${lines}count 9\nend\n" half-close eof
}

# close(2): the next client may have its descriptor.
@test "a client that leaves in the middle of a count does no harm, and nothing of it is left" {
  local before
  start_server
  assert_serving
  before=$(fds "$SERVER_PID")
  "$PEER" -n 20 "$PORT" send:'count 5\n' line reset
  "$PEER" -n 20 "$PORT" send:'count 5\ncount 5\n' close
  receives '+1\n+2\n' send:'count 2\n' half-close eof
  wait_for 5 has_fds "$before" || complain "$before descriptors before, now $(fds "$SERVER_PID")"
}

# bats test_tags=kit,slow
@test "a client in the middle of a count is not idle; one that is idle after it is told so" {
  start_server -i 1
  receives "$NINE$NINE-idle for too long\n" send:'count 9\ncount 9\n' eof
}

# bats test_tags=kit
@test "SIGTERM in the middle of a count: the count is completed, and the exit status is 0" {
  start_server
  start_peer -n 5 "$PORT" send:'count 9\n' line ready:"$T/here" eof
  wait_for 5 test -e "$T/here"
  stop_server
  finish_peer
  assert_equal "$(sort "$T/peer.out" | uniq -c | xargs)" "$(printf '5 +%d ' {1..8})5 +9"
}

# bats test_tags=kit
@test "SIGTERM with three counts pending: the first is completed, and the server ends within 2 s" {
  start_server
  start_peer -n 5 "$PORT" send:'count 9\ncount 9\ncount 9\n' line ready:"$T/here" eof
  wait_for 5 test -e "$T/here"
  STOP_WITHIN=2 stop_server
  finish_peer
  (($(grep -cx +9 "$T/peer.out") >= 5)) || complain "$(sort "$T/peer.out" | uniq -c)"
}
