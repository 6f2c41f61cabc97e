# The tools of the tests, tested. A scripted server is peer with -l, so peer plays both sides.

# The tests are subshells to shellcheck, and what they set for common.bash is unused. Words in
# single quotes are for another shell.
# shellcheck disable=SC2016,SC2030,SC2031,SC2034,SC2153
load ../helpers/common

# got: waits for the scripted server's good end; its output is then in $T/got.
got() {
  NAME=fake finish_peer
  tail -n +2 "$T/fake.out" >"$T/got"
}

# failed: the same for a server that has to fail; its message is then in $output.
failed() {
  wait_for 5 not running "${TOOLS[fake]}"
  run cat "$T/fake.err"
  assert_output
}

# ---- common.bash ----

@test "quote: in any locale, sh reads the quoted word unchanged" {
  local word quoted locale
  for word in plain/path 'a path' $'\xc3\xa9t\xc3\xa9' "it's" '$HOME' 'a"b' 'a\b' '*' ''; do
    for locale in C C.UTF-8; do
      LC_ALL=$locale quote quoted "$word"
      run -0 sh -c "printf %s $quoted"
      assert_output "$word"
    done
  done
}

# ---- peer: verbs ----

@test "peer: send, recv, line, eof, print: one side prints what the other sends" {
  start_fake -- line send:'one\ntwo' eof
  run -0 "$PEER" "$PORT" send:'hello\nrest' line recv:3 print:'|\n'
  assert_output $'one\ntwo|'
  got
  printf 'hello\nrest' >"$T/expected"
  same_bytes "$T/expected" "$T/got"
}

@test "peer: escapes stand for every byte, even NUL; a colon in TEXT is text" {
  start_fake -- eof
  run -0 "$PEER" "$PORT" send:'a:b\n\r\t\\\0\x00\x7f\xFf'
  got
  printf 'a:b\n\r\t\\\0\0\177\377' >"$T/expected"
  same_bytes "$T/expected" "$T/got"
}

@test "peer: file sends a file; echo sends one and reads to the end at the same time" {
  head -c 3000000 /dev/urandom >"$T/there"
  head -c 9000000 /dev/urandom >"$T/back"
  start_fake -- echo:"$T/back"
  "$PEER" "$PORT" echo:"$T/there" >"$T/received"
  got
  same_bytes "$T/back" "$T/received"
  same_bytes "$T/there" "$T/got"

  NAME=second start_fake -- file:"$T/back"
  "$PEER" "$PORT" eof >"$T/received"
  same_bytes "$T/back" "$T/received"
}

@test "peer: echo with a pace reads no faster than that" {
  local start
  head -c 50000 /dev/zero >"$T/zeros"
  start_fake -- echo:"$T/zeros"
  start=$(now_ms)
  "$PEER" "$PORT" echo:"$T/zeros":200 >"$T/received"
  (($(now_ms) - start >= 240))
  same_bytes "$T/zeros" "$T/received"
}

@test "peer: fill sends N bytes of one kind; drain counts, and works after a half-close" {
  start_fake -- drain fill:200000 close
  run -0 "$PEER" "$PORT" fill:100001:y half-close drain
  assert_output 200000
  got
  [[ $(<"$T/got") == 100001 ]]
}

@test "peer: lines are numbered, and have the length asked for, including the newline" {
  start_fake -- eof
  "$PEER" "$PORT" lines:3 lines:2:4 lines:2:1 lines:1:70000
  got
  run -0 --keep-empty-lines head -n 7 "$T/got"
  assert_output $'abcdefg00000000\nbcdefgh00000001\ncdefghi00000002\n000\n001\n\n\n'
  (($(wc -c <"$T/got") == 3 * 16 + 2 * 4 + 2 * 1 + 70000))
  [[ $(tail -c 14 "$T/got") == ?????00000000 ]]
}

@test "peer: lines-back verifies the reply to each line, every byte of it" {
  start_fake -- eof
  "$PEER" "$PORT" lines:10000:20
  got
  sed 's/^/+/' "$T/got" >"$T/replies"
  NAME=right start_fake -- file:"$T/replies" drain
  run -0 "$PEER" "$PORT" lines:10000:20 lines-back:10000:20
  refute_output
}

@test "peer: lines-back notices a reply that is changed, lost, moved or cut off" {
  # replies_are WHAT: the server sends $T/bad to a peer that expects three replies.
  replies_are() {
    NAME=$1 start_fake -- file:"$T/bad"
    run -1 "$PEER" "$PORT" lines-back:3
  }
  printf '+abcdefg00000000\n+bcdefgh0000x001\n+cdefghi00000002\n' >"$T/bad"
  replies_are changed
  assert_output --partial 'reply 2, byte 13: expected 0x30, received 0x78'
  printf '+abcdefg00000000\n+cdefghi00000002\n' >"$T/bad"
  replies_are lost
  assert_output --partial 'reply 2, byte 2: expected 0x62, received 0x63'
  printf '+bcdefgh00000001\n+abcdefg00000000\n+cdefghi00000002\n' >"$T/bad"
  replies_are moved
  assert_output --partial 'reply 1, byte 2'
  printf '+abcdefg00000000\n+bcdefgh0' >"$T/bad"
  replies_are cut
  assert_output --partial 'closed after 1 of 3 replies'
  printf 'abcdefg00000000\n' >"$T/bad"
  replies_are unmarked
  assert_output --partial 'reply 1, byte 1: expected 0x2b, received 0x61'
}

@test "peer: dribble sends one byte at a time and pauses after each" {
  start_fake -- recv:1 open:30 recv:1 open:30 eof
  "$PEER" "$PORT" dribble:250:ab
  NAME=fake finish_peer
}

@test "peer: reset sends RST, close and half-close send FIN" {
  start_fake -- eof
  "$PEER" "$PORT" reset
  failed
  assert_output --partial 'Connection reset by peer (ECONNRESET)'
  for ending in close half-close; do
    NAME=$ending start_fake -- eof
    "$PEER" "$PORT" "$ending"
    NAME=$ending finish_peer
  done
}

@test "peer: gone closes with a reply unread, which makes the kernel send RST" {
  start_fake -- line send:'reply\n' eof
  "$PEER" "$PORT" send:'question\n' gone
  failed
  assert_output --partial ECONNRESET
}

@test "peer: closed waits for the end, whether FIN or RST, and says how long it took" {
  start_fake -- fill:10 recv:1 sleep:100 close
  run -0 "$PEER" "$PORT" send:x closed:5000
  ((output >= 50 && output < 5000))
  NAME=second start_fake -- recv:1 reset
  run -0 "$PEER" "$PORT" send:x closed:5000
  NAME=third start_fake -- eof
  run -1 "$PEER" "$PORT" closed:30
  assert_output --partial "still open after $((30 * PATIENCE)) ms"
}

@test "peer: open fails when the connection does not stay open and silent" {
  start_fake -- eof
  "$PEER" "$PORT" open:30
  NAME=second start_fake -- send:x eof
  run -1 "$PEER" "$PORT" open:5000
  assert_output --partial 'not silent: 1 bytes came'
  NAME=third start_fake -- close
  run -1 "$PEER" "$PORT" open:5000
  assert_output --partial 'closed after'
}

@test "peer: within fails a verb that takes longer, though bytes keep coming" {
  start_fake -- line send:x flood:5
  run -1 "$PEER" "$PORT" within:30:line
  assert_output --partial 'within:30:line'
  assert_output --partial "not done within $((30 * PATIENCE)) ms"
  NAME=second start_fake -- send:'soon\n' flood:5
  run -1 "$PEER" "$PORT" within:3000:line within:30:drain
  assert_line --partial 'within:30:drain'
}

@test "peer: after the time of -t it gives up, names the verb and exits 3" {
  start_fake -- eof
  run -3 "$PEER" -t 1 "$PORT" send:x line close
  assert_output --partial 'line (port'
  assert_output --partial "not done after $PATIENCE s"
}

@test "PATIENCE multiplies the limits of peer, crowd, wait_for and the start of a server" {
  start_fake -r 3 -- eof
  export PATIENCE=2
  run -3 "$PEER" -t 1 "$PORT" line
  assert_output --partial 'not done after 2 s'
  run -1 "$PEER" "$PORT" within:30:line
  assert_output --partial 'not done within 60 ms'
  run -1 "$PEER" "$PORT" closed:30
  assert_output --partial 'still open after 60 ms'
  PATIENCE=much run -2 "$PEER" "$PORT" line
  assert_output --partial 'not a number: PATIENCE'
  NAME=mute start_fake -- silent
  run -3 "$ROOT/build/helpers/crowd" -t 1 "$PORT" talk 1 1 20
  assert_output --partial 'not done after 2 s'
  START_WITHIN=1
  serves "$forever"
  run -1 in_shell -- start_server
  assert_line "server did not print 'listening on ADDR:PORT' within 2 s"
  SECONDS=0
  run -1 wait_for 1 false
  ((SECONDS >= 2))
}

@test "peer: ready reports that all connections are open; until waits for a file" {
  start_fake -n 3 -- recv:4
  start_peer -n 3 "$PORT" ready:"$T/here" until:"$T/go" send:late
  wait_for 5 test -e "$T/here"
  [[ ! -s $T/peer.out ]] && running "$PEER_PID"
  touch "$T/go"
  finish_peer
  got
  [[ $(<"$T/got") == latelatelate ]]
}

@test "peer: silent holds the connection until standard input ends" {
  start_fake -- drain
  start_peer "$PORT" ready:"$T/here" silent
  wait_for 5 test -e "$T/here"
  NAME=second start_fake -- drain
  "$PEER" "$PORT" silent </dev/null
  running "$PEER_PID"
}

@test "peer: flood sends without reading for a given time, and counts what was accepted" {
  start_fake -- until:"$T/flooded" drain
  run -0 "$PEER" "$PORT" flood:1 ready:"$T/flooded"
  ((output > 100000))
  got
  [[ $(<"$T/got") == "$output" ]]
}

# ---- peer: options ----

@test "peer: -n opens many at once, more than the soft limit; -r does all of it again" {
  need_descriptors 400
  start_fake -n 300 -r 2 -- recv:2 send:k
  run -0 bash -c 'ulimit -Sn 64; "$0" -n 300 -r 2 "$1" send:ok recv:1 closed:5000' "$PEER" "$PORT"
  [[ $(tr -cd k <<<"$output" | wc -c) == 600 ]]
  NAME=fake finish_peer
}

@test "peer: a refused connection, a bad host and a missing file: the reason, exit 1" {
  start_fake -- close
  "$PEER" "$PORT" close
  NAME=fake finish_peer
  run -1 "$PEER" "$PORT" close
  assert_output "peer: connect (port $PORT, connection 1 of 1): Connection refused (ECONNREFUSED)"
  run -1 "$PEER" -a no.such.host.invalid 1 close
  NAME=second start_fake -- eof
  run -1 "$PEER" "$PORT" file:"$T/nothing"
  assert_output --partial 'No such file or directory (ENOENT)'
}

@test "peer: writing to a closed connection is an error; SIGPIPE does not end it" {
  start_fake -- recv:1 reset
  run -1 "$PEER" "$PORT" send:x closed:5000 send:y send:z
  assert_output --partial '(EPIPE)'
}

@test "peer: a verb after the script's own close is a failure" {
  start_fake -- drain
  run -1 "$PEER" "$PORT" close send:x
  assert_output --partial 'send:x'
}

@test "peer: with an invalid script it exits 2 before it connects" {
  local bad
  for bad in juggle send recv recv:x recv:-1 recv:1:2 lines lines:3:0 fill:99999999999 within:5 \
    within:x:line within:5:within:5:line line:1 send:'\q' send:'\x4' dribble:5 closed; do
    run -2 "$PEER" 1 close "$bad"
    [[ ${#lines[@]} == 1 ]]
  done
  run -2 "$PEER" -u 1 lines:3
  run -2 "$PEER" 1
  run -2 "$PEER" 65536 close
  run -2 "$PEER" -n 0 1 close
  run -2 "$PEER" -q
  run -0 "$PEER" -h
  assert_output --partial half-close
}

@test "peer: accepts IPv6 addresses, with brackets in the listening line" {
  start_fake -a ::1 -- line
  grep -qx "listening on \[::1\]:$PORT" "$T/fake.out"
  "$PEER" -a ::1 "$PORT" send:'x\n'
  NAME=fake finish_peer
}

@test "peer: -P binds the source port, -b sets the receive buffer" {
  need ss
  local source=$((20000 + RANDOM % 10000)) # below the ports that the kernel gives by itself
  start_fake -- silent
  start_peer -P "$source" -b 5000 "$PORT" ready:"$T/here" silent
  wait_for 5 test -e "$T/here"
  run -0 ss -Htmn state established "( sport = :$source )"
  assert_output --partial ":$PORT"
  assert_output --partial rb10000 # the kernel doubles it
}

# ---- peer: UDP ----

# tls_pair CLIENT-VERBS -- SERVER-VERBS: both sides through TLS, with a certificate of its own.
tls_pair() {
  local client=()
  while [[ $1 != -- ]]; do
    client+=("$1")
    shift
  done
  [[ -s $T/own.pem ]] || openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes \
    -subj /CN=x -addext subjectAltName=DNS:localhost -keyout "$T/own.pem" -out "$T/own.crt" \
    2>"$T/log"
  cat "$T/own.crt" >>"$T/own.pem"
  PEER_TLS=$T/own.pem start_fake "$@"
  PEER_TLS=$T/own.crt run timeout 20 "$PEER" "$PORT" "${client[@]}"
}

# RFC 8446, 6.1: close_notify.
@test "peer: with PEER_TLS, each side gets what the other sends through TLS" {
  seq 1000000 1199999 >"$T/sent"
  tls_pair send:'hello\n' line file:"$T/sent" half-close eof \
    -- line send:'+\n' eof send:bye half-close
  assert_success
  assert_output $'+\nbye'
  NAME=fake finish_peer
  cmp <(echo "listening on 127.0.0.1:$PORT" && echo hello && cat "$T/sent") "$T/fake.out"
}

@test "peer: through TLS it reports an end without close_notify, and an unsigned certificate" {
  tls_pair line eof -- send:'+\n' cut
  assert_failure 1
  assert_output --partial 'TLS: unexpected eof'
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=y \
    -keyout "$T/other.key" -out "$T/other.crt" 2>"$T/log"
  PEER_TLS=$T/own.pem NAME=second start_fake -- line
  PEER_TLS=$T/other.crt run -1 "$PEER" "$PORT" send:'hello\n'
  assert_output --partial 'TLS: self-signed certificate'
  PEER_TLS=$T/none run -1 "$PEER" "$PORT" close
  assert_output --partial "PEER_TLS=$T/none"
}

@test "peer: through TLS, data that flood could not send yet is sent before the end" {
  local sent
  tls_pair flood:1 half-close ready:"$T/go" eof -- send:x until:"$T/go" drain half-close
  assert_success
  NAME=fake finish_peer
  sent=${lines[0]}
  [[ ${lines[1]} == x ]]
  ((sent > 100000))
  assert_equal "$(tail -n 1 "$T/fake.out")" "$sent"
}

@test "peer: with PEER_TLS, an immediate close sends nothing, not even a ClientHello" {
  PEER_TLS='' start_fake -- drain
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=x \
    -keyout "$T/key" -out "$T/crt" 2>"$T/log"
  PEER_TLS=$T/crt "$PEER" "$PORT" close
  NAME=fake finish_peer
  assert_equal "$(tail -n 1 "$T/fake.out")" 0
}

@test "peer: UDP keeps datagrams apart, even the empty one and the largest" {
  start_fake -u -- recv:0 send:'' recv:3 send:abc recv:65507 fill:65507:y recv send:z
  run -0 "$PEER" -u "$PORT" send:'' recv:0 send:one recv:3 fill:65507:x within:1000:recv:65507 \
    send:last line
  [[ ${#output} == $((3 + 65507 + 1)) && $output == abcyy*yz ]]
  NAME=fake finish_peer
}

@test "peer: UDP reports a wrong size and a refused port" {
  start_fake -u -- recv send:four
  run -1 "$PEER" -u "$PORT" send:x recv:3
  assert_output --partial 'got a datagram of 4 bytes'
  run -1 "$PEER" -u "$PORT" send:x line
  assert_output --partial ECONNREFUSED
}

# ---- udprelay ----

# relayed EXPECTED OPTION…: sends 1 to 6 through a relay to a server that prints what comes.
relayed() {
  local expected=$1
  shift
  start_fake -u -- recv recv recv recv recv recv recv recv recv
  start_relay "$@"
  "$PEER" -u "$PORT" send:1 send:2 send:3 send:4 send:5 send:6
  wait_for 3 prints "$expected" || complain "$(tail -n 1 "$T/fake.out")"
}

prints() {
  [[ $(tail -n +2 "$T/fake.out") == "$1" ]]
}

@test "udprelay: passes datagrams on unchanged" {
  relayed 123456
}

@test "udprelay: -s swaps neighbors, and sends a held datagram when no other follows it" {
  relayed 132546 -s 2
}

@test "udprelay: -x drops every Nth datagram" {
  relayed 1245 -x 3
}

@test "udprelay: -D duplicates every Nth datagram" {
  relayed 122344566 -D 2
}

@test "udprelay: -d delays all datagrams" {
  local start
  start=$(now_ms)
  relayed 123456 -d 150
  (($(now_ms) - start >= 150))
}

@test "udprelay: -L delays every Nth datagram" {
  relayed 124536 -L 200:3
}

@test "udprelay: -j lets some datagrams overtake others" {
  start_fake -u -- recv recv recv recv recv recv
  start_relay -j 40
  "$PEER" -u "$PORT" send:1 send:2 send:3 send:4 send:5 send:6
  got
  [[ $(<"$T/got") != 123456 && $(fold -w 1 "$T/got" | sort | tr -d '\n') == 123456 ]]
}

@test "udprelay: replies go back to the client that asked, through the same faults" {
  start_fake -u -- recv send:1 send:2 send:3 send:4 send:5 send:6 recv send:x
  start_relay -s 2
  run -0 "$PEER" -u "$PORT" send:a recv recv recv recv recv recv
  assert_output 132546
  run -0 "$PEER" -u "$PORT" send:b recv
  assert_output x
}

@test "udprelay: -f forges a reply from another port" {
  need python3
  start_fake -u -- recv send:true
  start_relay -f
  run -0 timeout 10 python3 -c 'if True:
    import socket, sys
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    relay = ("127.0.0.1", int(sys.argv[1]))
    s.sendto(b"ask", relay)
    print(sorted((data, sender == relay) for data, sender in (s.recvfrom(99), s.recvfrom(99))))
  ' "$PORT"
  assert_output "[(b'as!', False), (b'true', True)]"
}

# ---- start_server and stop_server ----

# serves LINE…: the server under test is a bash script of these lines.
serves() {
  printf '%s\n' "$@" >"$T/server.sh"
  SERVER="bash ${T@Q}/server.sh"
  GUEST=
}

ready='echo listening on 127.0.0.1:9'
forever='while :; do read -r -t 9 _; done'
obedient="trap 'exit 0' TERM"

started_and_stopped() {
  start_server
  stop_server "$@"
}

@test "start_server: finds the port in the listening line, even for IPv6; stop_server wants 0" {
  serves "$obedient" 'echo "args: $*"' 'echo "listening on [::1]:12345"' "$forever"
  start_server -i 2
  [[ $PORT == 12345 ]] && running "$SERVER_PID"
  grep -qx 'args: -p 0 -i 2' "$T/server.out"
  stop_server
  run ! running "$SERVER_PID"
}

@test "start_server: a Python program is found from the directory where bats was called" {
  need python3
  cat >"$T/echo.py" <<'END'
import signal, socket, sys
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
server = socket.create_server(("127.0.0.1", int(sys.argv[2])))
print("listening on 127.0.0.1:%d" % server.getsockname()[1], flush=True)
while True:
    client = server.accept()[0]
    while data := client.recv(1024):
        client.sendall(data)
END
  BATS_CWD=$T SERVER='python3 ./echo.py'
  start_server
  assert_serving
  stop_server
  run -1 assert_serving
}

@test "start_server: fails if the program never listens, ends at once, or does not exist" {
  START_WITHIN=1
  serves 'echo some other words; echo a reason >&2' "$forever"
  run -1 in_shell -- start_server
  assert_line "server did not print 'listening on ADDR:PORT' within $PATIENCE s"
  assert_line 'a reason'
  serves 'echo a reason >&2; exit 3'
  run -1 in_shell -- start_server
  assert_line "server ended before it printed 'listening on ADDR:PORT'"
  assert_line 'a reason'
  SERVER=$T/nothing
  run -1 in_shell -- start_server
  assert_output --partial "No such file"
}

@test "start_server: the server inherits nothing but 0, 1 and 2; LIMIT_FDS is its limit" {
  serves "$obedient" "ls /proc/self/fd; ulimit -n" "$ready" "$forever"
  exec 7<"$T/server.sh"
  LIMIT_FDS=24 start_server
  run -0 head -n 5 "$T/server.out"
  assert_output $'0\n1\n2\n3\n24' # 3 is how ls reads the directory
  stop_server
}

@test "start_server: two servers in one test" {
  serves "$obedient" 'echo "listening on 127.0.0.1:$$"' "$forever"
  start_server
  local first=$SERVER_PID
  NAME=second start_server
  [[ $PORT == "$SERVER_PID" && $SERVER_PID != "$first" ]]
  run -1 start_server
  stop_server
  run ! running "$first"
  NAME=second assert_alive
}

@test "start_server: FAULT_ENV puts the fault shim under the server, with_fault under a command" {
  serves "$obedient" 'echo "$FAULT_SHORT $LD_PRELOAD"' "$ready" "$forever"
  FAULT_ENV='FAULT_REPORT=/dev/null FAULT_SHORT=7' start_server
  grep -qx "7 fault.so" "$T/server.out"
  [[ -z ${LD_PRELOAD-} ]]
  start_fake -- drain
  # shellcheck disable=SC2016
  run -0 with_fault FAULT_REPORT="$T/report" FAULT_SHORT=7 "$PEER" "$PORT" fill:70
  grep -q 'shortened=9' "$T/report"
  got
  [[ $(<"$T/got") == 70 ]]
}

@test "stop_server: an exit status other than the one asked for is a failure" {
  serves "trap 'echo a reason >&2; exit 3' TERM" "$ready" "$forever"
  run -1 in_shell -- started_and_stopped
  assert_line 'server: exit status 3, not 0'
  assert_line 'a reason'
  started_and_stopped 3
}

@test "stop_server: the signal can be chosen; death by the signal is not exit status 0" {
  serves "trap 'exit 0' INT" "$ready" "$forever"
  started_and_stopped 0 INT
  run -1 in_shell -- started_and_stopped
  assert_line 'server: exit status 143, not 0'
  start_server
  kill -INT "$SERVER_PID"
  stop_server 0 0
}

@test "stop_server: a server that ignores the signal is killed, and so is its group" {
  STOP_WITHIN=0
  serves "trap '' TERM" 'sleep 98 & echo $! >&2' "$ready" "$forever"
  run -1 in_shell -- started_and_stopped
  assert_line --partial 'server still ran 0 s after the signal'
  wait_for 5 not running "$(<"$T/server.err")"
}

@test "stop_server: a child left behind is a failure, and is killed" {
  serves "$obedient" 'sleep 97 & echo $! >&2' "$ready" "$forever"
  run -1 in_shell -- started_and_stopped
  assert_line --partial 'server left behind: '
  assert_line --partial 'sleep 97'
  wait_for 5 not running "$(<"$T/server.err")"
}

@test "stop_server: a child that ends a little later than its parent is no failure" {
  serves "(trap 'sleep 0.2; exit' TERM; touch ${T@Q}/set; while :; do sleep 0.01; done) &" \
    "trap 'kill \$!; exit 0' TERM" "until [[ -e ${T@Q}/set ]]; do sleep 0.01; done" \
    "$ready" "$forever"
  started_and_stopped
}

@test "stop_server: a sanitizer's report is a failure, whatever the exit status" {
  local report
  for report in '==1==ERROR: AddressSanitizer: heap-use-after-free' \
    'server.c:9:2: runtime error: signed integer overflow' \
    'WARNING: ThreadSanitizer: data race' '==1==ERROR: LeakSanitizer: detected memory leaks'; do
    serves "$obedient" "echo '$report' >&2" "$ready" "$forever"
    run -1 in_shell -- started_and_stopped
    assert_line 'server: a sanitizer has reported'
  done
}

@test "stop_server: a server that had ended on its own is a failure, even with status 0" {
  serves "$ready"
  lived() {
    start_server
    wait_for 5 not running "$SERVER_PID"
    echo 'it had started'
    stop_server
  }
  run -1 in_shell -- lived
  assert_line 'it had started'
  assert_line 'server ended on its own'
}

@test "assert_alive and assert_serving fail for a dead server and for one that only listens" {
  serves "$obedient" "$ready" "$forever"
  start_server
  assert_alive
  run -1 assert_serving
  assert_output --partial 'a new client got no answer'
  kill -KILL "$SERVER_PID"
  wait_for 5 not running "$SERVER_PID"
  run -1 assert_alive
  assert_output --partial 'server is dead'
  stop_server 137 0
}

# inner LINE…: runs them as a test of its own, in a bats of its own.
inner() {
  printf '%s\n' "load '$ROOT/tests/helpers/common'" '@test inner {' "$@" '}' >"$T/inner.bats"
  run env -i PATH="$PATH" HOME="$T" TMPDIR="$T" BATS_LIB_PATH="$BATS_LIB_PATH" SAN="${SAN-}" \
    SERVER="$SERVER" timeout 30 "$BATS_ROOT/bin/bats" "$T/inner.bats"
}

@test "teardown: stops every program; fails the test if a server had died; leaves nothing" {
  serves "$obedient" "echo \$\$ >>${T@Q}/pids" "$ready" "$forever"
  inner start_server 'NAME=second start_server' 'start_peer -l 0 close' \
    'echo "$PEER_PID" >>'"$T/pids"
  assert_success
  (($(wc -l <"$T/pids") == 3))
  inner start_server 'kill -KILL "$SERVER_PID"'
  assert_failure
  assert_output --partial 'exit status 137'
  local pid
  while read -r pid; do
    wait_for 5 not running "$pid"
  done <"$T/pids"
}

# bats quotes the command that it has seen last, which is not wrong here.
@test "teardown: if only a server's end is wrong, no step of the test is blamed for it" {
  serves "$ready" "$forever"
  inner GUEST= start_server 'true # the last step'
  assert_failure
  assert_output --partial 'exit status 143'
  refute_output --partial 'the last step'
  assert_output --partial "\`common_teardown' failed"
  assert_output --partial 'every step of the test had passed'
  inner GUEST= start_server 'false # a step' 'echo another'
  assert_failure
  assert_output --partial "\`false # a step' failed"
  refute_output --partial 'every step of the test had passed'
}

@test "teardown: SIGTERM may kill a guest's server, but not the kit's own" {
  serves "$ready" "$forever"
  inner start_server
  assert_success
  inner GUEST= start_server
  assert_failure
  assert_output --partial 'exit status 143'
}

# ---- what waits, side by side ----

# forward FILTER LINE…: functions that wait, and a test of each, in a bats of its own. `arg` is one
# with an argument. What they have begun is in $T/begun.
forward() {
  local filter=$1
  shift
  cat >"$T/ahead.bats" <<END
load '$ROOT/tests/helpers/common'
setup_file() {
  ahead good bad absent lost 'arg $T/word' untested
}
begin() {
  echo "\$1" >>'$T/begun'
  start_server
}
good() { begin good; sleep 1; stop_server; }
bad() { begin bad; sleep 1; echo what it said; false; echo no more; }
absent() { skip 'not on this system'; }
lost() { begin lost; kill -KILL "\$SERVER_PID"; sleep 0.1; }
arg() { sleep 1; echo "\$1" >'$T/arg'; }
untested() { touch '$T/untested'; }
END
  local name
  for name in good bad absent lost "arg $T/word"; do
    printf '@test "%s" {\n  seen %s\n}\n' "test ${name%% *}" "$name"
  done >>"$T/ahead.bats"
  printf '%s\n' "$@" >>"$T/ahead.bats"
  run env -i PATH="$PATH" HOME="$T" TMPDIR="$T" BATS_LIB_PATH="$BATS_LIB_PATH" SAN="${SAN-}" \
    SERVER="$SERVER" timeout 60 "$BATS_ROOT/bin/bats" --tap -f "$filter" "$T/ahead.bats"
}

# all_ended: no server that those functions started is there any more.
all_ended() {
  local pid
  while read -r pid; do
    wait_for 5 not running "$pid"
  done <"$T/pids"
}

@test "ahead: functions run side by side; seen reports each as a test of its own would" {
  serves "$obedient" "echo \$\$ >>$T/pids" "$ready" "$forever"
  forward .
  assert_line 'ok 1 test good'
  assert_line 'not ok 2 test bad'
  assert_line '# what it said'
  assert_line --regexp '^# failed in line [0-9]+: false$'
  refute_line '# no more'
  refute_output --partial 'Bad file descriptor'
  assert_line 'ok 3 test absent # skip not on this system'
  assert_line 'not ok 4 test lost'
  assert_line --partial 'server: exit status 137, not 0'
  assert_line 'ok 5 test arg'
  assert_equal "$(<"$T/arg")" "$T/word"
  [[ ! -e $T/untested ]]
  assert_equal "$(sort "$T/begun" | xargs)" 'bad good lost'
  (($(wc -l <"$T/pids") == 3))
  all_ended
}

@test "ahead: if one test is selected, only its function is called, by seen" {
  serves "$obedient" "echo \$\$ >>$T/pids" "$ready" "$forever"
  forward 'test good'
  assert_output $'1..1\nok 1 test good'
  assert_equal "$(<"$T/begun")" good
  forward 'test absent'
  assert_line 'ok 1 test absent # skip not on this system'
  all_ended
}

@test "ahead: a function still running at the end of its file is ended, with its server" {
  serves "$obedient" "echo \$\$ >>$T/pids" "$ready" "$forever"
  forward . 'good() { begin good; sleep 60; }' 'seen() { wait_for 5 test -s '"$T"'/pids; }'
  assert_line 'ok 1 test good'
  all_ended
}

# ---- small things ----

@test "handles: a process has a handler for a signal, or has none" {
  start_tool none sleep 99
  start_tool one bash -c 'trap : INT; while :; do sleep 0.1; done'
  wait_for 5 handles INT "${TOOLS[one]}"
  run -1 handles INT "${TOOLS[none]}"
  run -1 handles TERM "${TOOLS[one]}"
}

@test "tool_ends: checks that a tool ends in time and with the right exit status" {
  start_tool good true
  tool_ends good 0
  start_tool bad sh -c 'sleep 0.1; exit 3'
  tool_ends bad 3
  ends_otherwise() {
    start_tool tool sh -c 'exit 4'
    tool_ends tool 3
  }
  run -1 in_shell -- ends_otherwise
  assert_line 'tool: exit status 4, not 3'
}

@test "assert_not_spinning: silent processes pass, one that spins does not" {
  start_tool silent sleep 99
  start_tool spinning sh -c 'while :; do :; done'
  assert_not_spinning "${TOOLS[silent]}"
  run -1 assert_not_spinning "${TOOLS[silent]}" "${TOOLS[spinning]}"
  assert_output --partial 'us of processor time'
}

@test "running: a zombie does not count as running" {
  start_tool parent bash -c 'sleep 0.3 & echo $! && exec sleep 99'
  wait_for 5 test -s "$T/parent.out"
  wait_for 5 not running "$(<"$T/parent.out")"
  [[ -e /proc/$(<"$T/parent.out") ]]
}

@test "client: runs CLIENT with the port and every argument intact" {
  CLIENT='bash -c "echo \"\$@\"" "a client"'
  PORT=77
  run -0 client -a ::1 'two words'
  assert_output -- '-p 77 -a ::1 two words'
  CLIENT='bash -c "echo \$FAULT_SHORT" x'
  FAULT_ENV=FAULT_SHORT=3 run -0 client
  assert_output 3
}

@test "finish_peer: a peer whose script failed fails the test" {
  botched() {
    start_peer 1 close
    finish_peer
  }
  run -1 in_shell -- botched
  assert_line 'peer: exit status 1'
  assert_line --partial ECONNREFUSED
}

@test "same_bytes: equal files pass, NUL bytes count, the first difference is shown" {
  printf 'abc\0def' >"$T/a"
  printf 'abc\0def' >"$T/b"
  same_bytes "$T/a" "$T/b"
  printf 'abcdef' >"$T/b"
  run -1 same_bytes "$T/a" "$T/b"
  assert_output 'expected 7 bytes, received 6; they differ at byte 4:
expected    a   b   c  \0   d   e   f
received    a   b   c   d   e   f
                        ^'
}

@test "same_bytes: reports a missing tail, a difference far inside, a missing file" {
  head -c 1000000 /dev/zero >"$T/a"
  head -c 999990 /dev/zero >"$T/b"
  run -1 same_bytes "$T/a" "$T/b"
  assert_line 'expected 1000000 bytes, received 999990; they differ at byte 999991:'
  assert_line --regexp '^received( +\\0){8}$'
  { cat "$T/b" && echo ninebytes; } >"$T/c"
  run -1 same_bytes "$T/a" "$T/c"
  assert_line --partial '\0   n   i   n   e   b   y   t'
  assert_line --regexp '^ {44}\^$'
  : >"$T/empty"
  run -1 same_bytes "$T/a" "$T/empty"
  assert_line 'expected 1000000 bytes, received 0; they differ at byte 1:'
  run -1 same_bytes "$T/a" "$T/nothing"
}

@test "wait_for: waits until a command succeeds, or fails and says what it waited for" {
  (sleep 0.2 && touch "$T/there") &
  wait_for 5 test -e "$T/there"
  run -1 wait_for 0 test -e "$T/never"
  assert_output "waited in vain for: test -e $T/never"
}

@test "need: a missing tool skips the test and says which" {
  need bash sh
  inner 'need bash no-such-tool' false
  assert_success
  assert_output --partial '# skip no-such-tool is missing'
  mkdir "$T/bin"
  printf '#!/bin/sh\necho "usage: nc [-l] HOST PORT"\n' >"$T/bin/nc" # as BusyBox's
  chmod +x "$T/bin/nc"
  PATH=$T/bin:$PATH inner 'need nc' false
  assert_success
  assert_output --partial '# skip this nc is not the one that is needed: make setup installs it'
}

# Two messages of valgrind 3.19 about what clang 14 has built.
@test "need_valgrind: a valgrind that cannot read the compiler's programs skips the test" {
  local said
  mkdir "$T/bin"
  for said in '--7-- WARNING: Serious error when reading debug info' \
    '==7== Valgrind: debuginfo reader: ensure_valid failed:'; do
    printf '#!/bin/sh\necho "%s" >&2\n' "$said" >"$T/bin/valgrind"
    chmod +x "$T/bin/valgrind"
    PATH=$T/bin:$PATH SAN='' inner 'need_valgrind' false
    assert_success
    assert_output --partial '# skip this valgrind cannot read the debug information'
  done
  printf '#!/bin/sh\necho "usage: -g: no debug information"\n' >"$T/bin/valgrind"
  PATH=$T/bin:$PATH SAN='' inner 'need_valgrind' 'echo went on && false'
  assert_output --partial 'went on'
}

# without_programs BATS_ARGUMENT…: a bats of its own whose temporary files are on a file system that
# is mounted noexec, as /tmp may be.
without_programs() {
  local own
  for own in -m -rm ''; do
    [[ $own ]] || skip 'no mount namespaces here'
    ! unshare $own mount -t tmpfs -o noexec tmpfs "$T" 2>/dev/null || break
  done
  mkdir "$T/noexec"
  run unshare $own sh -c 'mount -t tmpfs -o noexec tmpfs "$0" && exec "$@"' "$T/noexec" \
    env -i PATH="$PATH" HOME="$T" TMPDIR="$T/noexec" BATS_LIB_PATH="$BATS_LIB_PATH" KIT_BUILT=yes \
    PATIENCE="$PATIENCE" timeout $((120 * PATIENCE)) "$BATS_ROOT/bin/bats" "$@"
}

@test "own_programs: uses the test's own directory, or one below build/, and leaves nothing" {
  inner own_programs '[[ $PROGRAM_DIR == "$T" ]]'
  assert_success
  printf '%s\n' "load '$ROOT/tests/helpers/common'" '@test inner {' own_programs \
    'cp "$(type -P true)" "$PROGRAM_DIR/"' '"$PROGRAM_DIR/true"' '[[ $PROGRAM_DIR != "$T" ]]' \
    "echo \"\$PROGRAM_DIR\" >${T@Q}/where" '}' >"$T/inner.bats"
  without_programs "$T/inner.bats"
  assert_success
  [[ $(<"$T/where") == "$ROOT"/build/?* && ! -e $(<"$T/where") ]]
}

@test "bats tests/, where /tmp is mounted noexec: tests build their programs elsewhere" {
  without_programs -f ThreadSanitizer "$ROOT/tests/04-threadpool.bats"
  assert_success
  refute_output --partial 'Permission denied'
  refute_output --partial 'does not run on this system'
}

@test "need_descriptors: skips by the hard limit, which may be unlimited" {
  need_descriptors 3
  inner 'ulimit -n 256' 'need_descriptors 300' false
  assert_success
  assert_output --partial '# skip 300 descriptors are needed, and `ulimit -Hn` is 256'
  inner 'ulimit() { echo unlimited; }' 'need_descriptors 300' 'echo went on && false'
  assert_output --partial 'went on'
}

# A process with 256 descriptors, which is all that some systems allow, cannot play so many clients.
@test "every test with more than 240 clients at once says that it needs descriptors" {
  run -0 awk '
    /^@test/ { name = $0; said = 0 }
    /need_descriptors/ { said = 1 }
    !said && match($0, /(start_peer|start_fake|PEER"|client) .*-[nc] [0-9]+ /) {
      count = substr($0, RSTART, RLENGTH)
      sub(/.*-[nc] /, "", count)
      if (count + 0 > 240 && $0 !~ /client .*-n |head -c/)
        print FILENAME ": " name
    }' "$ROOT"/tests/0*.bats "$ROOT"/tests/helpers/*.bats "$ROOT"/tests/exercises/*.bats
  assert_output ''
}

@test "fds, rss_kb, cpu_ticks: report on a process, given its number" {
  start_fake -- recv:1 flood:1
  local pid=$FAKE_PID before
  [[ $(fds "$pid") == 4 ]] # 0 1 2 and the listener
  start_peer "$PORT" send:x ready:"$T/here" drain
  wait_for 5 test -e "$T/here"
  wait_for 5 eval "[[ \$(fds $pid) == 5 ]]"
  (($(rss_kb "$pid") > 100))
  before=$(cpu_ticks "$pid")
  wait_for 5 eval "((\$(cpu_ticks $pid) > before + 2))"
}

@test "netns: a function runs in its own network namespace, with all helpers and a teardown" {
  need_netns
  alone() {
    run -0 ip -o link
    assert_output --partial LOOPBACK,UP
    [[ ${#lines[@]} == 1 && $1 == word ]]
    start_fake -- line
    "$PEER" "$PORT" send:'hello\n'
    got
    [[ $(<"$T/got") == hello ]]
    start_server
  }
  serves "$obedient" "$ready" "$forever"
  netns alone word
  serves "trap 'exit 9' TERM" "$ready" "$forever"
  run -1 netns alone word
  assert_output --partial 'exit status 9'
  run -1 netns alone another
  run -1 netns skip
}

@test "is_clean: finds every byte that a terminal would obey, whatever the locale" {
  local locale bad
  source "$ROOT/tests/helpers/chat.bash"
  for locale in C C.UTF-8; do
    LC_ALL=$locale is_clean $'two lines\nin 中文'
    for bad in $'\x01' $'\t' $'\r' $'a\x1b[1m' $'\x7f' $'\xc2\x9b' $'\xe2\x80\xae' $'\xe2\x81\xa6' \
      $'\xff'; do
      LC_ALL=$locale run ! is_clean "$bad"
    done
  done
  mkdir "$T/bin" # another grep
  printf '#!/bin/sh\nexit 2\n' >"$T/bin/grep"
  chmod +x "$T/bin/grep"
  PATH=$T/bin:$PATH run ! is_clean text
}

@test "setup_suite: says what is missing, and shows the compiler's output" {
  # shellcheck source=tests/setup_suite.bash
  source "$ROOT/tests/setup_suite.bash"
  BATS_LIB_PATH=/nowhere run -1 setup_suite
  mkdir "$T/tests"
  cp "$ROOT/tests/setup_suite.bash" "$T/tests"
  printf '%s\n' 'all: FORCE; @echo level=$(MAKELEVEL) san=$(SAN)' 'helpers steps: FORCE;' FORCE: \
    >"$T/Makefile"
  # shellcheck source=tests/setup_suite.bash
  source "$T/tests/setup_suite.bash"
  MAKEFLAGS=-n MAKELEVEL=3 SAN=thread run -0 setup_suite
  assert_line 'level=0 san=thread'
  printf 'all:; @echo "server.c:1: error: no" && false\nhelpers steps:\n' >"$T/Makefile"
  run -1 setup_suite
  assert_line 'server.c:1: error: no'
  assert_line 'the build failed; make doctor says what is missing'
}

# seccomp(2), io_uring_setup(2).
@test "inherit: deny makes a system call fail with EPERM; uring then says what is forbidden" {
  local deny=("$ROOT/build/helpers/inherit" deny:425 --)
  "${deny[@]}" true || skip 'no filters of system calls here (seccomp)'
  run -1 "${deny[@]}" "$ROOT/build/helpers/uring"
  assert_output 'io_uring is forbidden here: by kernel.io_uring_disabled, or by the container'
}
