# What is chapter 01's own: an echo of bytes, whatever they are, and a client that knows what has
# to come back. What it shares with the other TCP chapters is in 01-tcp.bats.

# shellcheck disable=SC2154 # run --separate-stderr sets stderr and stderr_lines
CHAPTER=01-basic-tcp
load helpers/common

setup_file() {
  in_turn file_of_any_bytes_comes_out slow_reader_gets_64_mib
}

# fails LINE [ARGUMENT…]: the client exits 1 and its stderr is this line (a regular expression).
fails() {
  local line=$1
  shift
  run -1 --separate-stderr client "$@"
  [[ ${stderr_lines[*]} =~ ^client:\ $line$ ]] || complain "not $line: $stderr"
}

# ---- the server ----

@test "all 256 byte values come back, including NUL" {
  start_server
  printf %b "$(printf '\\x%02x' {0..255})" >"$T/bytes"
  (($(wc -c <"$T/bytes") == 256))
  "$PEER" "$PORT" echo:"$T/bytes" >"$T/received"
  same_bytes "$T/bytes" "$T/received"
}

# RFC 9293, 2.2: a stream of bytes; what one send took may be brought by many recv, and the reverse.
@test "bytes without a newline are echoed at once, one at a time or many" {
  start_server
  run -0 "$PEER" "$PORT" send:one recv:3 send:two send:three recv:8 dribble:1:'bytes' recv:5
  assert_output onetwothreebytes
}

# tcp(7): while a client does not read, send(2) blocks; then we do not read; then it cannot send.
slow_reader_gets_64_mib() {
  local before after
  start_server
  assert_serving
  before=$(rss_kb "$SERVER_PID")
  head -c 67108864 /dev/urandom >"$T/bytes"
  "$PEER" "$PORT" echo:"$T/bytes":50000 >"$T/received"
  same_bytes "$T/bytes" "$T/received"
  after=$(awk '/^VmHWM:/ { print $2 }' "/proc/$SERVER_PID/status") # the most it ever was
  ((after - before < 1024)) || complain "from $before to $after kB"
}

# bats test_tags=heavy
@test "64 MiB come back byte for byte to a client that reads slowly, without more memory" {
  seen slow_reader_gets_64_mib
}

# shutdown(2): its FIN reaches us as end of file, after all its bytes.
@test "a client that half-closes at once still gets every byte" {
  start_server
  run -0 "$PEER" "$PORT" fill:100000 half-close sleep:100 drain
  assert_output 100000
}

# The client of many tutorials: it takes one recv for one message, which is right most of the time.
# bats test_tags=slow
@test "a Python client gets its echo: connect, sendall, recv(1024)" {
  need python3
  start_server
  run -0 timeout "$((40 * PATIENCE))" python3 -c 'if True:
    import socket, sys
    with socket.create_connection(("127.0.0.1", int(sys.argv[1]))) as s:
        s.sendall(b"Hello, Server!")
        print(s.recv(1024).decode())
  ' "$PORT"
  assert_output 'Hello, Server!'
}

@test "three clients at once: one is served, the others wait their turn, and none is lost" {
  start_server
  start_peer "$PORT" send:first recv:5 ready:"$T/here" until:"$T/go"
  wait_for 5 test -e "$T/here"
  NAME=second start_peer "$PORT" send:second recv:6
  NAME=third start_peer "$PORT" send:third recv:5
  sleep 0.2
  [[ ! -s $T/second.out && ! -s $T/third.out ]]
  touch "$T/go"
  for NAME in peer second third; do
    finish_peer
  done
  assert_equal "$(cat "$T"/{peer,second,third}.out)" firstsecondthird
}

# ---- the client ----

file_of_any_bytes_comes_out() {
  start_server
  # A line `q` would be the end.
  { head -c 2000000 /dev/urandom | tr q Q && printf 'no newline'; } >"$T/bytes"
  CLIENT_WITHIN=60 client <"$T/bytes" >"$T/received"
  same_bytes "$T/bytes" "$T/received"
}

@test "client: a file of any bytes on stdin is printed unchanged" {
  seen file_of_any_bytes_comes_out
}

@test "client: a line and an argument of 100,000 bytes are echoed" {
  start_server
  printf '%0100000d\n' 7 >"$T/line"
  client <"$T/line" >"$T/received"
  same_bytes "$T/line" "$T/received"
  client "$(<"$T/line")" >"$T/received"
  same_bytes "$T/line" "$T/received"
}

@test "client: an echo that arrives one byte at a time is printed like any other" {
  start_fake -- recv:5 dribble:5:hello recv:1 send:'\n' eof
  run -0 client hello
  assert_output hello
  NAME=fake finish_peer
}

# send(2), recv(2), connect(2): short counts, and EINTR from each.
@test "client: short writes, and EINTR in every second call, lose no byte" {
  FAULT_ENV='FAULT_SHORT=999' start_server
  seq 5000 >"$T/lines"
  FAULT_ENV="FAULT_SHORT=7 FAULT_REPORT=$T/report \
    FAULT_FAIL=connect:EINTR:1:3,send:EINTR:2,recv:EINTR:2" client <"$T/lines" >"$T/received"
  same_bytes "$T/lines" "$T/received"
  run -0 cat "$T/report"
  assert_line 'connect calls=4 failed=3 shortened=0'
  refute_line --regexp '^(send|recv) .*failed=0'
}

@test "client: the server closes before the whole echo has arrived: it says so and exits 1" {
  start_fake -- recv:5 send:hel close
  fails 'the server closed the connection before the whole echo had arrived' hello
  NAME=fake finish_peer
}

@test "client: the server resets the connection: it says so and exits 1" {
  start_fake -- recv:5 reset
  fails 'the server is gone: recv: Connection reset by peer \(ECONNRESET\)' hello
}

# send(2), EPIPE: a reset after the server's FIN, while the client still sends. Exit status 141
# would be a death by SIGPIPE.
@test "client: the server vanishes while the client sends: it says so and exits 1" {
  start_fake -- recv:1 half-close sleep:50 reset
  FAULT_ENV='FAULT_SHORT=100 FAULT_DELAY=send:5000' fails \
    'the server is gone: send: .* \((EPIPE|ECONNRESET)\)' "$(printf %09999d 7)"
}

@test "client: wrong bytes come back: it says so and exits 1" {
  start_fake -- recv:5 send:hellO eof
  fails 'what came back is not what was sent' hello
}

@test "client: more bytes come back than were sent: it says so and exits 1" {
  start_fake -- recv:5 send:hello recv:1 send:'\n and more' eof
  fails 'the server sent more than was expected' hello
}
