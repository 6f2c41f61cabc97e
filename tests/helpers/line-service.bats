# The line service, which 03, 04, 05, 06 and 08 all give: a message is a line, its reply is "+" and
# the line. A line that is too long, and a client that is idle, get "-" and the reason, then the
# end. tests/NN-line-service.bats are symbolic links to this one text; NN says which chapter is
# judged. What every TCP chapter has to stand, lines or not, is in tcp.bats.
#
# A server of yours, without the options of this kit:
# SERVER='python3 my.py' bats --filter-tags '!kit' tests/03-line-service.bats

NN=${BATS_TEST_FILENAME##*/}
CHAPTER=$(cd "$BATS_TEST_DIRNAME/.." && echo "${NN%%-*}"-*)
load helpers/common
# Files run side by side; to run these short tests so, too, would cost more than it gains.
# shellcheck disable=SC2034
BATS_NO_PARALLELIZE_WITHIN_FILE=true

LIMIT=65536 # bytes of a line, its newline included

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

# since START MIN MAX: so many milliseconds have gone by.
since() {
  local ms=$(($(now_ms) - $1))
  ((ms >= $2 && ms <= $3 * PATIENCE)) || complain "after $ms ms, not $2 to $3"
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

# recv(2) returns what has come; RFC 9293, 2.2: TCP carries a stream of bytes and knows no messages.
@test "several lines in one segment are answered in order" {
  start_server
  answered 'one\n\nthree\n+four\n-five\n' '+one\n+\n+three\n++four\n+-five\n'
}

# 60,000 bytes: one send of the client, and one segment on the loopback interface.
@test "10,000 lines in one segment are answered in order" {
  start_server
  "$PEER" -t 5 "$PORT" lines:10000:6 lines-back:10000:6 open:100
}

@test "a line in segments of 1 byte is answered once, when its newline has come" {
  start_server
  run -0 "$PEER" "$PORT" dribble:10:'hello world' open:100 send:'\n' line open:100
  assert_output '+hello world'
}

@test "a line that begins in one segment and ends in the next, with others around it" {
  start_server
  run -0 "$PEER" "$PORT" send:'one\ntw' line sleep:50 send:'o\nthree\nfo' line line open:50 \
    send:'ur\n' line
  assert_output $'+one\n+two\n+three\n+four'
}

# A string function of C would stop at NUL. "\r" is a byte as any other, there is no telnet here.
@test "all 256 byte values come back as they are" {
  local bytes
  printf -v bytes '\\x%02x' {0..9} {11..255} # 10 is the newline
  start_server
  answered "$bytes\n\r\n" "+$bytes\n+\r\n"
}

# ---- its limit ----

# The second one begins at another place of the server's buffer, and the third one ends beyond it.
@test "a line of 65,536 bytes, its newline included, is answered" {
  local at
  start_server
  "$PEER" -t 5 "$PORT" lines:1:$LIMIT lines-back:1:$LIMIT open:50
  for at in 1 40000; do
    "$PEER" -t 5 "$PORT" lines:1:"$at" lines:1:$LIMIT lines-back:1:"$at" lines-back:1:$LIMIT
  done
}

# close(2) with unread input sends a reset, which overtakes the reason: RFC 2525, 2.17. Then `eof`
# fails.
@test "a line of 65,537 bytes is refused: the reason arrives, then end of file" {
  start_server
  run -0 "$PEER" -t 5 "$PORT" lines:1:$((LIMIT + 1)) eof
  assert_equal "${#lines[@]}" 1
  is_refusal "$output"
}

@test "the refusal does not wait for the newline, and arrives though 1 MB have been sent" {
  start_server
  run -0 "$PEER" -t 5 "$PORT" fill:$LIMIT line eof
  is_refusal "$output"
  run -0 "$PEER" -t 5 "$PORT" fill:1000000 line eof
  is_refusal "$output"
  assert_serving
}

@test "the refusal arrives though the client goes on sending" {
  start_server
  head -c 8000000 /dev/zero >"$T/zeros"
  run -0 "$PEER" -t 5 "$PORT" echo:"$T/zeros"
  is_refusal "$output"
  assert_serving
}

@test "lines before the one that is too long are answered first, lines after it are not" {
  start_server
  printf 'one\ntwo\n%0*d\nthree\n' $LIMIT 0 >"$T/sent"
  run -0 "$PEER" -t 5 "$PORT" file:"$T/sent" eof
  assert_equal "${#lines[@]}" 3
  assert_line --index 0 +one
  assert_line --index 1 +two
  is_refusal "${lines[2]}"
}

# The server waits for the client's end only so long: 300 ms here.
@test "a refused client that does not leave, and one that goes on for ever, keep nobody waiting" {
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

# The kernel counts the resets that it sends: nstat(8).
refused_without_reset() {
  local before
  start_server
  before=$(nstat -asz TcpOutRsts)
  "$PEER" -r 10 "$PORT" fill:1000000 line eof
  assert_equal "$(nstat -asz TcpOutRsts)" "$before"
}

@test "a refusal causes no reset" {
  need nstat
  run -0 netns refused_without_reset
}

# ---- the end of a conversation ----

# shutdown(2), SHUT_WR; RFC 9293, 3.6: who closes one direction may still receive on the other.
@test "after the client's half-close every complete line is answered, then comes end of file" {
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
# bats test_tags=kit
@test "an idle client is told and closed in the stated time; one that says a byte at times is not" {
  local start
  start_server -i 2
  NAME=other start_server -i 2
  start_peer -t 5 "$PORT" dribble:900:abc send:'\n' line open:200
  PORT=$(sed 's/.*://' "$T/server.out")
  start=$(now_ms)
  run -0 "$PEER" -t 5 "$PORT" send:'hello\nhalf a line' line eof
  since "$start" 1000 3000
  assert_line --index 0 +hello
  is_refusal "${lines[1]}"
  finish_peer
  [[ $(<"$T/peer.out") == +abc ]]
}

# socket(7), SO_SNDTIMEO. Its buffers full of replies, the server can neither send nor read on.
# bats test_tags=kit
@test "a client that sends and never reads is closed after the idle time, too" {
  local start
  start_server -i 2
  start=$(now_ms)
  run -1 "$PEER" -b 4096 "$PORT" fill:1000000000:'\n'
  assert_output --regexp '(ECONNRESET|EPIPE)'
  since "$start" 1000 3000
  assert_serving
}

# The last two wait for their turn at a server that serves one at a time.
@test "SIGTERM with three clients, one in mid-message: exit 0 within 2 s" {
  local name
  start_server
  for name in first second third; do
    NAME=$name start_peer "$PORT" send:"$name" ready:"$T/$name" silent
    wait_for 5 test -e "$T/$name"
  done
  stop_server
}

# ---- how replies leave ----

# send(2) is a system call and, without Nagle, a segment: tcp(7), TCP_NODELAY.
@test "all replies to what one read brought leave in one send" {
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
@test "redis-benchmark can drive it" {
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

# nc(1): -w 1 ends it after a second of silence.
@test "nc can talk to it" {
  [[ ! ${PEER_TLS-} ]] || skip 'nc has no TLS: 08-tls.bats has those who have'
  need nc
  start_server
  run -0 timeout 10 nc -w 1 127.0.0.1 "$PORT" < <(printf 'hello\nworld\n')
  assert_output $'+hello\n+world'
}
