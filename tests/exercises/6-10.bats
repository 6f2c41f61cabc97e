# 6-10, the line service on io_uring: the kernel receives and sends, and reports what came of it.
# bats file_tags=6-10

# shellcheck disable=SC2154 # run --separate-stderr sets stderr
CHAPTER=06-epoll
load ../helpers/common
INHERIT=$ROOT/build/helpers/inherit
SETUP_CALL=425 # io_uring_setup(2), on all processors but Alpha

setup() {
  local reason
  trace_tests_only
  [[ ! ${STOP_FILE-} || ! -e $STOP_FILE ]] || skip 'an earlier test failed'
  reason=$("$ROOT/build/helpers/uring") || skip "$reason"
}

has_fds() {
  (($(fds "$SERVER_PID") <= $1))
}

# descriptor_kinds: what kind the server's own descriptors are, a line each: proc_pid_fd(5).
descriptor_kinds() {
  readlink "/proc/$SERVER_PID/fd"/* | sed -n 's/^anon_inode://p'
}

# stuck N NAME: N clients that send and never read, until the server has no room for their replies.
stuck() {
  NAME=$2 start_peer -t 60 -n "$1" -b 4096 "$PORT" flood:"$PATIENCE" ready:"$T/$2.here" \
    until:"$T/$2.go" half-close drain
  wait_for 20 test -e "$T/$2.here"
}

# io_uring_setup(2).
# bats test_tags=kit
@test "the server waits for a ring, not for epoll" {
  local kinds
  start_server
  assert_serving
  kinds=$(descriptor_kinds)
  [[ $kinds == *'[io_uring]'* ]] || complain "no ring among its descriptors: $kinds"
  [[ $kinds != *'[eventpoll]'* ]] || complain "it has an epoll instance, too: $kinds"
}

# Where io_uring is forbidden: seccomp(2), or /proc/sys/kernel/io_uring_disabled.
# bats test_tags=kit
@test "io_uring is forbidden: the server says so and exits 1" {
  local command
  "$INHERIT" deny:$SETUP_CALL -- true || skip 'no filters of system calls here (seccomp)'
  eval "command=($SERVER)"
  start_tool denied timeout 5 "$INHERIT" deny:$SETUP_CALL -- "${command[@]}" -p 0
  decided() {
    [[ -s $T/denied.out ]] || ! running "$TOOL_PID"
  }
  wait_for 5 decided
  [[ ! -s $T/denied.out ]] || complain "it serves without io_uring: $(<"$T/denied.out")"
  tool_ends denied 1
  grep -Eq '^server: io_uring.*: Operation not permitted \(EPERM\)$' "$T/denied.err" ||
    complain 'not the expected message' || last_words denied
}

# With epoll a request costs a recv and a send at least, and every step an epoll_wait.
# bats test_tags=kit
@test "50 clients: fewer system calls than requests, and none that receives or sends" {
  need strace
  local calls
  # LeakSanitizer does not work under strace.
  export ASAN_OPTIONS=${ASAN_OPTIONS:+$ASAN_OPTIONS:}detect_leaks=0
  SERVER="strace -D -f -qq -e trace=network,read,write,readv,writev,epoll_wait,epoll_ctl,poll,\
io_uring_enter -o ${T@Q}/calls $SERVER" start_server
  run -0 --separate-stderr generate_load -c 50 -n 5000
  stop_server
  run grep -cE ' (recv|send|accept|epoll_|read|write)[a-z0-9]*\(([3-9]|[1-9][0-9])' "$T/calls"
  calls=$output
  ((calls < 50)) || complain "it receives, sends or waits by $calls calls: $(
    sed -E 's/^[0-9]+ +//; s/\(.*//' "$T/calls" | sort | uniq -c | sort -rn | head -n 5)"
  calls=$(grep -c io_uring_enter "$T/calls")
  ((calls < 5000)) || complain "5,000 requests, and $calls calls of io_uring_enter"
}

# refusing ERROR WHEN: a server for which io_uring_enter fails with that error, at the calls that
# WHEN names: strace(1), when=.
refusing() {
  # LeakSanitizer does not work under strace.
  ASAN_OPTIONS=${ASAN_OPTIONS:+$ASAN_OPTIONS:}detect_leaks=0 \
    SERVER="strace -D -f -qq -o /dev/null -e trace=io_uring_enter \
-e inject=io_uring_enter:error=$1:when=$2 $SERVER" start_server
}

# no_more_refusals: strace is ended in a way that leaves the server alone.
no_more_refusals() {
  kill -KILL "$(awk '/^TracerPid:/ { print $2 }' "/proc/$SERVER_PID/status")"
}

# io_uring_enter(2): EAGAIN, ENOMEM, EBUSY. The call fails at once, however long it was to wait, and
# what was to be handed over by it stays in the queue.
@test "the kernel takes no operations for a while (EAGAIN, ENOMEM, EBUSY): no spinning, no end" {
  need strace
  local error
  for error in EAGAIN ENOMEM EBUSY; do
    NAME=$error refusing $error 1+
    NAME=waiting start_peer "$PORT" send:'hello\n' line half-close eof
    assert_not_spinning
    NAME=$error assert_alive
    no_more_refusals
    NAME=waiting finish_peer
    assert_equal "$(<"$T/waiting.out")" +hello
    NAME=$error stop_server
  done
}

@test "every third io_uring_enter fails with EAGAIN: every line is answered, in order" {
  need strace
  refusing EAGAIN 3+3
  run "$PEER" -t 20 -n 20 "$PORT" lines:200 half-close lines-back:200 eof
  ((status == 0)) || complain "$output"
}

# law 6 of docs/design.md.
# bats test_tags=kit
@test "SIGTERM while the kernel takes no operations: exit 0 within 2 s" {
  need strace
  refusing ENOMEM 1+
  stop_server
}

# The end of what has come may be in another result, and behind a send that is not done.
@test "100 clients, with 1 to 60 kB of lines each: all replies in order, then end of file" {
  local lines
  start_server
  for lines in 60 600 3750; do
    run "$PEER" -t 20 -n 100 "$PORT" lines:$lines half-close lines-back:$lines eof
    ((status == 0)) || complain "$output"
  done
}

# send(2) takes what there is room for: the kernel reports how much that was.
@test "a client that reads slowly gets every byte of 1 MB" {
  seq 1000000 1131071 >"$T/sent"
  sed 's/^/+/' "$T/sent" >"$T/expected"
  start_server
  "$PEER" -b 4096 "$PORT" echo:"$T/sent":2000 >"$T/received"
  same_bytes "$T/expected" "$T/received"
}

# A multishot receive goes on by itself: what nobody has answered yet has to have an end.
@test "a client that sends without reading costs at most 1.5 MB" {
  local before grown
  forget_freed_memory
  start_server
  assert_serving
  before=$(rss_kb "$SERVER_PID")
  stuck 1 greedy
  grown=$(($(rss_kb "$SERVER_PID") - before))
  ((grown < 1500)) || complain "it has grown by $grown kB"
  assert_serving
}

# Buffers that wait for a client which does not read are missing for all others; and what is
# received for it, although nobody asked, has to be kept somewhere.
@test "10 clients that never read: others are served, and each gets its replies when it reads" {
  local before grown
  forget_freed_memory
  start_server
  assert_serving
  before=$(rss_kb "$SERVER_PID")
  stuck 10 greedy
  run "$PEER" -t 10 -n 20 "$PORT" lines:1000 half-close lines-back:1000 eof
  ((status == 0)) || complain "$output"
  grown=$(($(rss_kb "$SERVER_PID") - before))
  [[ ${SAN-} ]] || ((grown < 10 * 512)) || complain "it has grown by $grown kB"
  wait_for 10 assert_not_spinning 2>/dev/null || # it may have much to read first
    assert_not_spinning
  touch "$T/greedy.go"
  NAME=greedy finish_peer
  # What all of them sent, then the replies to each. The last line of each may be cut off.
  awk 'NR == 1 { sent = int($1 / 16) * 17 } NR > 1 { got += $1; bad += $1 % 17 }
    END { exit !(NR == 11 && !bad && got <= sent && got >= sent - 10 * 17) }' "$T/greedy.out" ||
    complain 'not every line was answered'
}

# A send that is under way reads the memory that it was given, and keeps the socket open.
@test "clients that reset while the kernel sends to them leave nothing behind" {
  local before
  start_server
  assert_serving
  before=$(fds "$SERVER_PID")
  NAME=gone start_peer -t 20 -n 5 -b 4096 "$PORT" flood:1 gone
  "$PEER" -t 20 -n 5 -b 4096 "$PORT" flood:1 reset
  NAME=gone finish_peer
  "$PEER" -n 50 "$PORT" send:'hello\nhalf a line' reset
  wait_for 5 has_fds "$before" || complain "$before descriptors before, now $(fds "$SERVER_PID")"
  assert_serving
}

# close(2) alone would leave the socket open for as long as the send waits.
# bats test_tags=kit
@test "5 clients that never read are closed after the idle time, and their sockets with them" {
  local before
  start_server -i 1
  assert_serving
  before=$(fds "$SERVER_PID")
  start_peer -t 20 -n 5 -b 4096 "$PORT" flood:1 ready:"$T/here" silent
  wait_for 10 test -e "$T/here"
  wait_for 8 has_fds "$before" || complain "$before descriptors before, now $(fds "$SERVER_PID")"
  wait_for 5 gone_from_kernel
  assert_serving
}

# gone_from_kernel: no socket of the server is connected (proc_pid_net(5), state 01).
gone_from_kernel() {
  ! awk -v port="$(printf ':%04X' "$PORT")" '$4 == "01" && substr($2, 9) == port { found = 1 }
    END { exit !found }' /proc/net/tcp
}

@test "SIGTERM with 5 clients that never read: exit 0 within 2 s" {
  start_server
  stuck 5 greedy
  stop_server
}

# law 6 of docs/design.md; write(2), EINTR. Root may open every terminal, unless it gives up that
# right.
@test "the log is a terminal that nobody reads and that cannot be opened anew: it obeys SIGTERM" {
  local command server=$SERVER
  need python3
  ((EUID != 0)) || need setpriv
  ((EUID != 0)) || server="setpriv --inh-caps -all --bounding-set -all $SERVER"
  eval "command=($server)"
  run timeout $((30 * PATIENCE)) python3 "$ROOT/tests/helpers/stuck-log.py" "${command[@]}"
  ((status == 0)) || complain "$output"
}
