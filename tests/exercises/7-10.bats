# 7-10, the room in a browser: WebSocket on the port of the lines, and a page.
# bats file_tags=7-10

CHAPTER=07-chat
load ../helpers/common
load ../helpers/chat

setup_file() {
  LANES=1 ahead too_late
}

# rules GROUP [SERVER OPTION…]: a group of tests/helpers/websocket.py, in a room of its own.
rules() {
  local group=$1
  shift
  need python3
  start_server -r 0 -k 0 "$@"
  timeout $((60 * PATIENCE)) python3 "$ROOT/tests/helpers/websocket.py" "$PORT" "$group"
}

# RFC 9110, 9.3.1; CSP 3, 2.4 and 6.
@test "GET / gets the page: at most 150 lines of HTML, and no script but its own may run" {
  rules page
}

# RFC 9112, 3, 5 and 9.6; RFC 6585, 5.
@test "other requests get their status, 400, 404, 431 or 505, and the end" {
  rules requests
}

# RFC 6455, 4.2.2.
@test "a handshake gets 101 and its key's hash, even if it comes in single bytes" {
  rules opened
}

# RFC 6455, 4.2.1, 4.2.2 and 4.4; RFC 9110, 15.5.22.
@test "what is no handshake gets 400, 404, 426 or 505" {
  rules handshakes
}

# RFC 6455, 10.2; RFC 6454, 7; RFC 9110, 7.4 and 15.5.20.
@test "a page of another site gets 403, a name that anybody can make lead here gets 421" {
  rules origins
}

# Passes from the beginning: the room refuses three names.
@test "what another site can send without asking (POST) never becomes a line in the room" {
  rules forms
}

@test "a terminal and two browsers are in one room: a line is a message, and a message is a line" {
  rules together
}

# RFC 6455, 5.1 to 5.3, 7.4.1.
@test "masks, reserved bits and opcodes: what breaks a rule ends with 1002, binary with 1003" {
  rules masks
}

# RFC 6455, 5.2.
@test "messages of 1 to 65,536 bytes are heard; a line of more than 2,000 bytes ends with 1009" {
  rules sizes
}

# RFC 6455, 5.4 and 5.5.
@test "fragments make one message, and Ping, Pong and Close may come between them" {
  rules fragments
}

# RFC 6455, 5.5.2 and 5.5.3.
@test "a Ping gets its Pong; a long or fragmented control frame ends with 1002" {
  rules controls
}

# RFC 6455, 5.5.1, 7.1 and 7.4.
@test "a Close is answered with its code, a Close that breaks a rule with 1002 or 1007" {
  rules codes
}

# RFC 6455, 8.1; RFC 3629.
@test "UTF-8 may be cut by frames, and never by messages; bytes that are not UTF-8 end with 1007" {
  rules utf8
}

@test "whoever is refused is told why, in a message, then 1008 or 1009 follows" {
  rules refused
}

@test "a browser is shown the history, and what it says belongs to the history" {
  rules history -k 20
}

# RFC 9110, 15.6.4; 1013 in the list of codes at IANA (RFC 6455, 11.7).
@test "a full room: a page gets 503, a WebSocket is told in a message and ends with 1013" {
  rules full -m 2
}

# RFC 6455, 5.2. The lengths up to 2,037 bytes are in the test of a terminal and two browsers.
@test "the longest line, a list of 65,535 bytes of names and one of 65,536, comes in one message" {
  need_descriptors 2200
  rules names -m 2000
}

@test "300 lines in one message: each is heard in its time, and the Close after them is answered" {
  rules pace -r 1000
}

too_late() {
  rules late
}

# As in the chapter, 10 seconds; RFC 9110, 15.5.9.
@test "a request not complete in time gets 408, a WebSocket without a name 1008" {
  seen too_late
}

# bats test_tags=kit
@test "SIGTERM: browsers hear that the server is closing, then 1001 and the end follow" {
  need python3
  start_server -r 0 -k 0
  start_tool stop timeout $((30 * PATIENCE)) \
    python3 "$ROOT/tests/helpers/websocket.py" "$PORT" stop
  wait_for 10 said_ready || last_words stop
  kill "$SERVER_PID"
  tool_ends stop 0 || complain "$(<"$T/stop.out")"
  stop_server 0 0
}

said_ready() {
  grep -q ready "$T/stop.out" || not running "$TOOL_PID"
}

# RFC 6455, 10.4. The server's memory may grow by what 100 lines take, not by what is claimed.
# bats test_tags=kit
@test "a frame of 2^63 bytes, and 200,000 fragments: memory is bounded" {
  local before
  forget_freed_memory
  need python3
  start_server -r 0 -k 0
  "$PEER" "$PORT" send:'probe\n' line half-close eof >/dev/null
  before=$(rss_kb "$SERVER_PID")
  timeout $((60 * PATIENCE)) python3 "$ROOT/tests/helpers/websocket.py" "$PORT" endless
  (($(peak_kb "$SERVER_PID") - before < 6000)) ||
    complain "the memory grew from $before to $(peak_kb "$SERVER_PID") kB"
}

# tcp(7), TCP_USER_TIMEOUT: with -t, the kernel is not the first to give up on a busy machine.
@test "a browser that does not read is dropped like any slow reader; those that read lose nothing" {
  rules slow -t 3600
}

@test "a browser that sends Pings and does not read is dropped, too" {
  rules pings -t 3600
}

# recv(2) and send(2): a frame may be cut anywhere, on the way in and on the way out.
@test "short writes, EINTR and EAGAIN: no frame is torn" {
  local group
  need python3
  FAULT_ENV='FAULT_SHORT=3 FAULT_FAIL=recv:EAGAIN:4,recv:EINTR:7,send:EINTR:3,send:EAGAIN:5' \
    start_server -r 0 -k 0
  for group in together fragments utf8; do
    timeout $((60 * PATIENCE)) python3 "$ROOT/tests/helpers/websocket.py" "$PORT" $group
  done
}

# bats test_tags=kit
@test "-w NAME: browsers may use that name, too; a NAME that no host can have: usage, status 2" {
  need python3
  start_server -r 0 -k 0 -w chat.example
  receives 'HTTP/1.1 101' send:"$(handshake chat.example:80)" recv:12 close
  receives 'HTTP/1.1 101' send:"$(handshake localhost)" recv:12 close
  receives 'HTTP/1.1 421' send:"$(handshake chat2.example)" recv:12 close
  run -2 --separate-stderr timeout $((20 * PATIENCE)) bash -c "$SERVER -p 0 -w 'a b'"
  [[ $stderr == server:*usage:* && ! $output ]] || complain "$stderr"
}

# handshake HOST
handshake() {
  printf '%s\\r\\n' 'GET /room HTTP/1.1' "Host: $1" "Origin: https://$1" 'Upgrade: websocket' \
    'Connection: Upgrade' 'Sec-WebSocket-Version: 13' \
    'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==' ''
}

# opens_page: else nobody needs to start a browser.
opens_page() {
  "$PEER" "$PORT" send:"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n" eof \
    >"$T/page" || true
  [[ $(head -n 1 "$T/page") == 'HTTP/1.1 200 '* ]] || complain "no page: $(head -n 1 "$T/page")"
}

# A client that somebody else has written, as they come.
@test "npm's ws is in the room with a terminal" {
  need ws
  start_server
  opens_page
  join bob
  start_tool ws timeout $((20 * PATIENCE)) env NODE_PATH=/usr/share/nodejs node -e '
    const WebSocket = require("ws")
    const ws = new WebSocket(`ws://127.0.0.1:${process.argv[1]}/room`)
    ws.on("open", () => { ws.send("ann"); ws.ping("x"); })
    ws.on("message", (data, binary) => {
      console.log(`${data}${binary ? " (binary)" : ""}`)
      if (String(data) === "bob: hello") { ws.send("grüß dich, 你好"); ws.close(4000, "bye"); }
    })
    ws.on("pong", (data) => console.log(`pong ${data}`))
    ws.on("close", (code) => console.log(`closed ${code}`))
  ' "$PORT"
  hears bob '* ann joined'
  says bob hello
  hears bob 'ann: grüß dich, 你好' '* ann left'
  tool_ends ws 0
  assert_equal "$(sort "$T/ws.out")" "$(printf '%s\n' '+welcome ann, here: bob, ann' 'bob: hello' \
    'closed 4000' 'pong x' | sort)"
}

# The page is this server's own: one field, which has the focus, for the name and then for lines.
# A real browser decides what is markup.
@test "two windows of Chromium and a terminal: all text is text; a window that hangs goes" {
  local command
  need chromium python3
  start_server -r 0 -k 0
  opens_page
  eval "command=($CLIENT)"
  timeout $((100 * PATIENCE)) python3 "$ROOT/tests/helpers/browser.py" "$PORT" \
    "$(command -v chromium || command -v chromium-browser || command -v google-chrome)" \
    "${command[@]}"
}
