# The line service, which 03, 04, 05, 06 and 08 all offer: a message is a line, its reply is "+" and
# the line. A line that is too long, and a client that is idle, get "-" and the reason, then the
# end. tests/NN-line-service.bats are symbolic links to this one text; NN says which chapter is
# judged. What every TCP chapter has to withstand, lines or not, is in tcp.bats.
#
# A server of yours, without the options of this kit:
# SERVER='python3 my.py' bats --filter-tags '!kit' tests/03-line-service.bats

NN=${BATS_TEST_FILENAME##*/}
CHAPTER=$(cd "$BATS_TEST_DIRNAME/.." && echo "${NN%%-*}"-*)
load helpers/common
# Files run side by side. Running these short tests in parallel too would cost more than it gains.
# shellcheck disable=SC2034
BATS_NO_PARALLELIZE_WITHIN_FILE=true

LIMIT=65536 # bytes of a line, its newline included

setup_file() {
  ahead idle_is_told slow_lines_end never_reading_is_closed nc_talks newline_ends_the_line \
    refused_ones_keep_nobody_waiting refused_floods_are_closed three_clients_do_not_hold_it_up
  in_turn redis_benchmark_drives_it longest_line_is_answered lines_across_segments \
    many_lines_in_one_segment
}

# answered TEXT REPLY: the client sends TEXT (escapes as in `peer -h`) and half-closes; REPLY is
# all that it gets, byte for byte.
answered() {
  "$PEER" -t 5 "$PORT" send:"$1" half-close eof >"$T/received"
  printf '%b' "$2" >"$T/expected"
  same_bytes "$T/expected" "$T/received"
}

# is_refusal LINE: "-" and a reason for people.
is_refusal() {
  [[ $1 == -*[a-z]* ]] || complain "not a refusal: '${1:0:100}'"
}

# since START MIN MAX: between MIN and MAX milliseconds have passed since then.
since() {
  local ms=$(($(now_ms) - $1))
  # A second for a busy machine.
  ((ms >= $2 && ms <= ($3 + 1000) * PATIENCE)) || complain "after $ms ms, not $2 to $3"
}

# tries COMMAND…: three times at most, until it succeeds. For what is measured in time: on a busy
# machine a correct server is late now and then, and a wrong one is late each time.
tries() {
  "$@" 2>/dev/null || "$@" 2>/dev/null || "$@"
}

# happened CALL FIELD: how often, by the report that the fault shim writes when a process ends. (A
# server of yours may be started through a script, which reports too.)
happened() {
  sed -n "s/^$1 .*\b$2=\([0-9]*\).*/\1/p" "$T/report" | awk '{ sum += $1 } END { print sum + 0 }'
}

# ---- a message is a line ----

# The "+" and "-" of POP3: RFC 1939, 3.
@test "the reply to a line is + and the line; an empty line is a line too" {
  start_server
  answered 'hello\n' '+hello\n'
  answered '\n' '+\n'
}

# recv(2) returns what has arrived; RFC 9293, 2.2: TCP carries a stream of bytes, not messages.
@test "several lines in one segment are answered in order" {
  start_server
  answered 'one\n\nthree\n+four\n-five\n' '+one\n+\n+three\n++four\n+-five\n'
}

# 60,000 bytes: one send of the client, and one segment on the loopback interface.
many_lines_in_one_segment() {
  start_server
  "$PEER" -t 5 "$PORT" lines:10000:6 lines-back:10000:6 open:100
}

@test "10,000 lines in one segment are answered in order" {
  seen many_lines_in_one_segment
}

newline_ends_the_line() {
  start_server
  run -0 "$PEER" "$PORT" dribble:10:'hello world' open:100 send:'\n' line open:100
  assert_output '+hello world'
}

@test "a line in segments of 1 byte is answered once, when its newline has arrived" {
  seen newline_ends_the_line
}

lines_across_segments() {
  start_server
  run -0 "$PEER" "$PORT" send:'one\ntw' line sleep:50 send:'o\nthree\nfo' line line open:50 \
    send:'ur\n' line
  assert_output $'+one\n+two\n+three\n+four'
}

@test "a line that begins in one segment and ends in the next, among others, is answered" {
  seen lines_across_segments
}

# A string function of C would stop at NUL. "\r" is a byte like any other.
@test "all 256 byte values come back unchanged" {
  local bytes
  printf -v bytes '\\x%02x' {0..9} {11..255} # 10 is the newline
  start_server
  answered "$bytes\n\r\n" "+$bytes\n+\r\n"
}

# ---- its limit ----

# The second one begins at another place of the server's buffer, and the third one ends beyond it.
longest_line_is_answered() {
  local at
  start_server
  "$PEER" -t 5 "$PORT" lines:1:$LIMIT lines-back:1:$LIMIT open:50
  for at in 1 40000; do
    "$PEER" -t 5 "$PORT" lines:1:"$at" lines:1:$LIMIT lines-back:1:"$at" lines-back:1:$LIMIT
  done
}

@test "a line of 65,536 bytes, including its newline, is answered" {
  seen longest_line_is_answered
}

# close(2) with unread input sends a reset, which overtakes the reason: RFC 2525, 2.17. Then `eof`
# fails.
@test "a line of 65,537 bytes is refused: the reason arrives, then end of file" {
  start_server
  run -0 "$PEER" -t 5 "$PORT" lines:1:$((LIMIT + 1)) eof
  assert_equal "${#lines[@]}" 1
  is_refusal "$output"
}

@test "the refusal does not wait for the newline, and arrives even after 1 MB has been sent" {
  start_server
  run -0 "$PEER" -t 5 "$PORT" fill:$LIMIT line eof
  is_refusal "$output"
  run -0 "$PEER" -t 5 "$PORT" fill:1000000 line eof
  is_refusal "$output"
  assert_serving
}

# For 300 ms, the server discards what still arrives. On a busy machine, a client may be slower; it
# is then reset, but has received the refusal.
@test "the refusal arrives even if the client keeps sending" {
  local start
  start_server
  head -c 8000000 /dev/zero >"$T/zeros"
  start=$(now_ms)
  run --separate-stderr "$PEER" -t 5 "$PORT" echo:"$T/zeros"
  ((status == 0)) || since "$start" 300 5000
  is_refusal "$output"
  assert_serving
}

@test "lines before the one that is too long are answered first; lines after it are not" {
  start_server
  printf 'one\ntwo\n%0*d\nthree\n' $LIMIT 0 >"$T/sent"
  run -0 "$PEER" -t 5 "$PORT" file:"$T/sent" eof
  assert_equal "${#lines[@]}" 3
  assert_line --index 0 +one
  assert_line --index 1 +two
  is_refusal "${lines[2]}"
}

# The server waits for the client's end for only 300 ms.
refused_ones_keep_nobody_waiting() {
  start_server
  start_peer "$PORT" fill:$((LIMIT + 1)) ready:"$T/here" silent
  wait_for 5 test -e "$T/here"
  assert_serving
  mkfifo "$T/talk"
  start_tool talker sh -c 'exec tr "\0" x </dev/zero >"$1"' sh "$T/talk"
  NAME=second start_peer "$PORT" ready:"$T/there" echo:"$T/talk"
  wait_for 5 test -e "$T/there"
  assert_serving
}

# bats test_tags=slow
@test "refused clients that stay connected, or send without end, keep no one waiting" {
  seen refused_ones_keep_nobody_waiting
}

# With a pause before each recv there is always something to be read.
refused_floods_are_closed() {
  local before name
  FAULT_ENV='FAULT_DELAY=recv:2000' start_server
  before=$(fds "$SERVER_PID")
  for name in one two; do
    NAME=$name start_peer "$PORT" fill:$((LIMIT + 1)) line fill:2000000000
  done
  wait_for 5 grep -q . "$T/two.out"
  wait_for 5 eval '(($(fds "$SERVER_PID") <= before))'
}

# bats test_tags=slow
@test "refused clients are closed even if they send without a pause" {
  seen refused_floods_are_closed
}

# The kernel counts the resets that it sends: nstat(8). If a busy machine does not let a client
# read during the 300 ms for which the server lingers, there is one: so two attempts may fail.
refused_without_reset() {
  local try before
  start_server
  for try in 1 2 3; do
    before=$(nstat -asz TcpOutRsts)
    "$PEER" -r 10 "$PORT" fill:1000000 line eof
    [[ $(nstat -asz TcpOutRsts) != "$before" ]] || return 0
  done
  complain "resets, for the ${try}rd time: before $before, now $(nstat -asz TcpOutRsts)"
}

@test "a refusal causes no reset" {
  need nstat
  run -0 netns refused_without_reset
}

# ---- the end of a conversation ----

# shutdown(2), SHUT_WR; RFC 9293, 3.6: a peer that closes one direction may still receive.
@test "after the client's half-close, every complete line is answered, then end of file follows" {
  start_server
  "$PEER" -t 5 "$PORT" lines:10000 half-close lines-back:10000 eof >"$T/rest"
  [[ ! -s $T/rest ]]
}

@test "bytes after the last newline get no reply" {
  start_server
  answered 'one\ntwo' '+one\n'
  answered 'half a line' ''
  answered '' ''
}

# socket(7), SO_RCVTIMEO, or the time limit of poll, select or epoll_wait.
idle_is_told() {
  start_server -i 2
  tries is_told_in_time
  NAME=other start_server -i 2
  tries talks_on
}

is_told_in_time() {
  local start reply
  start=$(now_ms)
  reply=$("$PEER" -t 5 "$PORT" send:'hello\n' line line eof) || return
  [[ $reply == $'+hello\n-idle for too long' ]] || complain "it was told '$reply'" || return
  since "$start" 1000 3000
}

talks_on() {
  local reply
  reply=$("$PEER" -t 9 "$PORT" send:'one\n' line sleep:900 send:'two\n' line sleep:900 \
    send:'three\nhalf' line sleep:900 send:' a line\n' line open:200) || return
  [[ $reply == *'+half a line' ]] || complain "it was told '$reply'"
}

# bats test_tags=kit
@test "an idle client is told and closed in the stated time; one that sends lines is not" {
  seen idle_is_told
}

# Slow on purpose: single bytes, each within the idle time, would keep a connection for ever.
slow_lines_end() {
  start_server -i 2
  tries slow_line_ends
  tries half_a_line_ends
}

slow_line_ends() {
  local start reply
  start=$(now_ms)
  reply=$("$PEER" -t 9 "$PORT" send:'hello\nha' line sleep:1200 send:l within:1500:line eof) ||
    return
  [[ $reply == $'+hello\n-line not complete in time' ]] || complain "it was told '$reply'" || return
  since "$start" 1200 3000
}

half_a_line_ends() {
  local start reply
  start=$(now_ms)
  reply=$("$PEER" -t 5 "$PORT" send:'half a line' line eof) || return
  [[ $reply == '-line not complete in time' ]] || complain "it was told '$reply'" || return
  since "$start" 1000 3000
}

# bats test_tags=kit,slow
@test "a line must be complete within the idle time of its first byte, however its bytes arrive" {
  seen slow_lines_end
}

# socket(7), SO_SNDTIMEO. When its buffers are full, the server can neither send nor read.
never_reading_is_closed() {
  start_server -i 2
  tries closed_in_time
  assert_serving
}

closed_in_time() {
  local start status=0
  start=$(now_ms)
  "$PEER" -b 4096 "$PORT" fill:1000000000:'\n' 2>"$T/peer.err" || status=$?
  ((status == 1)) && grep -Eq '(ECONNRESET|EPIPE)' "$T/peer.err" ||
    complain "exit status $status: $(<"$T/peer.err")" || return
  since "$start" 1000 3000
}

# bats test_tags=kit,slow
@test "a client that sends but never reads is also closed after the idle time" {
  seen never_reading_is_closed
}

# The last two wait for their turn at a server that serves one at a time.
three_clients_do_not_hold_it_up() {
  local name
  start_server
  for name in first second third; do
    NAME=$name start_peer "$PORT" send:"$name" ready:"$T/$name" silent
    wait_for 5 test -e "$T/$name"
  done
  stop_server
}

@test "SIGTERM with three clients, one in the middle of a message: exit 0 within 2 s" {
  seen three_clients_do_not_hold_it_up
}

# ---- how replies leave ----

# send(2) is a system call and, without Nagle, a segment: tcp(7), TCP_NODELAY.
@test "the replies to all lines of one read leave in one send" {
  FAULT_ENV="FAULT_REPORT=$T/report" start_server
  "$PEER" "$PORT" lines:10000:6 lines-back:10000:6
  stop_server
  [[ -s $T/report ]] || skip 'the fault shim, which counts, cannot see into this server'
  (($(happened send calls) < 100))
  [[ ${PEER_TLS-} ]] || (($(happened send calls) <= $(happened recv calls))) # a record is one send
}

@test "the reply to a single line leaves in one send" {
  local lines script sends=()
  for lines in 2 12; do # TLS has words of its own at the begin and at the end
    FAULT_ENV="FAULT_REPORT=$T/report" start_server
    mapfile -t script < <(yes $'send:hello\\n\nrecv:7' | head -n $((lines * 2)))
    "$PEER" "$PORT" "${script[@]}"
    stop_server
    [[ -s $T/report ]] || skip 'the fault shim, which counts, cannot see into this server'
    sends+=("$(happened send calls)")
    rm "$T/report"
  done
  ((sends[1] - sends[0] == 10))
  [[ ${PEER_TLS-} ]] || ((sends[0] == 2))
}

# ---- other people's clients ----

# redis-benchmark(1) sends "PING\r\n", one at a time or 16 together, and takes "+…" for an answer.
redis_benchmark_drives_it() {
  need redis-benchmark
  local clients=8 # no more than 04 has workers
  local tls=()
  [[ $CHAPTER != 03-* ]] || clients=1 # one at a time
  [[ ! ${PEER_TLS-} ]] || tls=(--tls --cacert "$PEER_TLS")
  start_server
  for together in 1 16; do
    run -0 timeout 20 redis-benchmark -h 127.0.0.1 -p "$PORT" -t ping_inline -n 2000 -q \
      -c "$clients" -P "$together" "${tls[@]}"
    assert_output --partial 'requests per second'
  done
}

# bats test_tags=slow
@test "redis-benchmark can drive the server" {
  seen redis_benchmark_drives_it
}

# nc(1): -w 1 ends it after a second of silence.
nc_talks() {
  [[ ! ${PEER_TLS-} ]] || skip 'nc has no TLS: 08-tls.bats has those who have'
  need nc
  start_server
  run -0 timeout 10 nc -w 1 127.0.0.1 "$PORT" < <(printf 'hello\nworld\n')
  assert_output $'+hello\n+world'
}

@test "nc can talk to the server" {
  seen nc_talks
}
