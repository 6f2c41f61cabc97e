# 6-3, an HTTP/1.1 server: the reply to GET is the target and a newline.
# bats file_tags=6-3

CHAPTER=06-epoll
load ../helpers/common

H='Host: x\r\n' # what a request of HTTP/1.1 must have

# says EXPECTED VERB…: of what a scripted client gets, the statuses and the lines that begin with /.
says() {
  local expected=$1 status=0
  shift
  "$PEER" -t 5 "$PORT" "$@" >"$T/raw" || status=$?
  run sed -nE 's,\r$,,; s,^HTTP/1\.1 ([0-9]+) .*,\1,p; /^\//p' "$T/raw"
  assert_equal "$(xargs <<<"$output")" "$expected"
  ((status == 0)) || complain "the connection went on otherwise than it should: $*"
}

# refused STATUS HEAD: it, and what follows it, gets this status and the end.
refused() {
  says "200 /first $1" send:"GET /first HTTP/1.1\r\n$H\r\n$2GET /next HTTP/1.1\r\n$H\r\n" eof
  tr -d '\r' <"$T/raw" | grep -qix 'connection: close' || complain "no Connection: close with $1"
}

need_http() {
  start_server
  says '200 /' send:"GET / HTTP/1.1\r\n$H\r\n" within:3000:line half-close eof
}

# RFC 9112, 3; RFC 9110, 15.3.1
@test "curl gets what it asks for: 200, and the target as text" {
  need curl
  start_server
  run -0 --separate-stderr curl -sS -m 5 -w '%{http_code} %{content_type}\n' \
    "http://127.0.0.1:$PORT/hello?a=b"
  assert_equal "$output" $'/hello?a=b\n200 text/plain'
}

# RFC 9110, 6.6.1 and 8.6
@test "a reply has Date and Content-Length, and lines end with CR and LF" {
  start_server
  says '200 /one' send:"GET /one HTTP/1.1\r\n$H\r\n" half-close eof
  grep -Eqi $'^date: [A-Z][a-z]{2}, [0-9]{2} [A-Z][a-z]{2} [0-9]{4} [0-9:]{8} GMT\r$' "$T/raw" ||
    complain "$(<"$T/raw")"
  grep -Eqi $'^content-length: 5\r$' "$T/raw"
}

# RFC 9112, 9.3
@test "keep-alive: curl asks three times over one connection" {
  need curl
  start_server
  run -0 --separate-stderr curl -sS -m 5 -w '%{num_connects}\n' "http://127.0.0.1:$PORT/[1-3]"
  assert_equal "$(xargs <<<"$output")" '/1 1 /2 0 /3 0'
}

# RFC 9110, 9.3.2
@test "HEAD: the head that GET would get, and no body; the next reply follows" {
  start_server
  says '200 200 /two' send:"HEAD /one HTTP/1.1\r\n$H\r\nGET /two HTTP/1.1\r\n$H\r\n" half-close eof
  assert_equal "$(grep -ci '^content-length: 5' "$T/raw")" 2
}

# RFC 9110, 9.3.2: "the server MUST NOT send content in the response".
# bats test_tags=kit,slow
@test "HEAD: a refusal, 408 included, has no body either" {
  local head long
  printf -v long '%09000d' 0
  start_server -i 1
  for head in '/ HTTP/1.1 \r\n' '/ HTTP/1.1\r\nA\r\n' '/a b HTTP/1.1\r\n\r\n' "/$long" \
    '/ HTTP/2.0\r\n\r\n' '/ HTTP/1.1\r\nHo' '/'; do
    "$PEER" -t 5 "$PORT" send:"HEAD $head" eof >"$T/raw" || complain "no end after HEAD $head"
    run -0 sed -n '/^\r$/,$p' "$T/raw"
    assert_output $'\r'
  done
}

# RFC 9112, 9.3.2
@test "pipelining: 1,000 requests at once are answered in order, even with short writes" {
  local i
  for i in {1..1000}; do
    printf 'GET /%d HTTP/1.1\r\nHost: x\r\n\r\n' "$i"
  done >"$T/sent"
  FAULT_ENV='FAULT_SHORT=999 FAULT_FAIL=send:EINTR:3,recv:EAGAIN:4' start_server
  says "$(printf '200 /%d ' {1..999})200 /1000" file:"$T/sent" half-close eof
}

@test "a request in segments of 1 byte is answered once, and so is one split over two segments" {
  start_server
  says '200 /a' dribble:1:"GET /a HTTP/1.1\r\n$H\r\n" half-close eof
  says '200 /a 200 /b' send:"GET /a HTTP/1.1\r\n$H\r\nGET /b HT" sleep:50 \
    send:"TP/1.1\r\n$H\r\n" half-close eof
}

# RFC 9112, 9.3: a token in any case, one of several.
@test "Connection: close, and HTTP/1.0 without keep-alive: one reply, then end of file" {
  start_server
  says '200 /a' \
    send:"GET /a HTTP/1.1\r\n${H}connection: TE, Close\r\n\r\nGET /b HTTP/1.1\r\n$H\r\n" eof
  says '200 /a' send:'GET /a HTTP/1.0\r\n\r\nGET /b HTTP/1.0\r\n\r\n' eof
  says '200 /a 200 /b' \
    send:'GET /a HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET /b HTTP/1.0\r\n\r\n' eof
}

# RFC 9112, 3 and 3.2; RFC 9110, 15.6.2 and 15.6.6
@test "a bad request line or Host: 400, 501 or 505, then end of file" {
  need_http
  refused 400 "GET /\r\n$H\r\n"
  refused 400 "GET  / HTTP/1.1\r\n$H\r\n"
  refused 400 "GET /a b HTTP/1.1\r\n$H\r\n"
  refused 400 "GET /\\x01 HTTP/1.1\r\n$H\r\n"
  refused 400 "GET /#part HTTP/1.1\r\n$H\r\n"
  refused 400 "G@T / HTTP/1.1\r\n$H\r\n"
  refused 400 " / HTTP/1.1\r\n$H\r\n"
  refused 400 "GET / HTTP/x.1\r\n$H\r\n"
  refused 400 "GET / HTTP/xyz\r\n$H\r\n"
  refused 400 "GET / HTTP/1\r\n$H\r\n"
  refused 400 "GET / HTTP/11.1\r\n$H\r\n"
  refused 400 "GET  HTTP/1.1\r\n$H\r\n"
  refused 400 "GET / HTTP/1.1 \r\n$H\r\n"
  refused 400 "GET x HTTP/1.1\r\n$H\r\n"
  refused 400 'GET / HTTP/1.1\r\n\r\n'
  refused 400 "GET / HTTP/1.1\r\n$H$H\r\n"
  refused 505 "GET / HTTP/2.0\r\n$H\r\n"
  refused 501 "BREW / HTTP/1.1\r\n$H\r\n"
  refused 501 "get / HTTP/1.1\r\n$H\r\n"
}

# RFC 9110, 4.2.1, 4.2.4 and 7.2; RFC 9112, 3.2 and 3.2.2; RFC 3986, 3.2.2 and 3.2.3
# bats test_tags=slow
@test "an invalid host, in Host or in the target: 400; a valid one is answered" {
  local host
  need_http
  for host in 'a b' 'a/b' 'u@a' 'a?' '<a>' '"a"' 'a:b' 'a:+80' 'a:80:80' 'a:65616' ':80' 'a\\x80' \
    'a, b' '[::1' '::1' '[x]' '[::1]x' '[]' '[1.2.3.4]' '[::1%25lo]' 'a%2eb'; do
    refused 400 "GET / HTTP/1.1\r\nHost: $host\r\n\r\n"
  done
  for host in '' ':80' 'u@a' 'a:b' '[::1' '?a' 'a\\b'; do
    refused 400 "GET http://$host HTTP/1.1\r\n$H\r\n"
    refused 400 "GET http://$host/ HTTP/1.1\r\n$H\r\n"
  done
  refused 400 "GET http:/a HTTP/1.1\r\n$H\r\n"
  for host in a a-1.example:8080 a_b: 127.0.0.1:65535 '[::1]' '[::ffff:1.2.3.4]:80'; do
    says '200 /' send:"GET / HTTP/1.1\r\nHost: $host\r\n\r\n" half-close eof
    says 200 send:"GET http://$host?q HTTP/1.1\r\nHost:\r\n\r\n" half-close eof
    grep -qF "http://$host?q" "$T/raw" || complain "$(<"$T/raw")"
  done
}

# RFC 9112, 11.2: what a proxy before us reads as one request, and we as two; 2.2, 5.1, 5.2, 6.1
# and 6.3.
@test "an ambiguous request, and any body, is refused: no request is smuggled" {
  need_http
  refused 413 "GET / HTTP/1.1\r\n${H}Content-Length: 25\r\n\r\n"
  refused 501 "GET / HTTP/1.1\r\n${H}Transfer-Encoding: chunked\r\n\r\n"
  refused 400 "GET / HTTP/1.1\r\n${H}Content-Length : 25\r\n\r\n"
  refused 400 "GET / HTTP/1.1\r\n${H}A: b\r\n Content-Length: 25\r\n\r\n"
  refused 400 "GET / HTTP/1.1\r\n${H}A: b\rContent-Length: 25\r\n\r\n"
  refused 400 "GET / HTTP/1.1\r\n${H}A: \\0\r\n\r\n"
  refused 400 "GET / HTTP/1.1\r\n$H: b\r\n\r\n"
  says '200 /' send:"\r\nGET / HTTP/1.1\r\n${H}Content-Length: 0\r\n\r\n" half-close eof
}

# RFC 9110, 5.1, 5.5 and 5.6.2: some programs cut what is not a token, such as
# "Transfer-Encoding\x0b", to the name that it resembles; others do not.
# bats test_tags=slow
@test "a field name that is not a token, or a control character in a value: 400" {
  local byte
  need_http
  for byte in 01 08 0b 0c 1f 20 22 28 29 2c 2f 3b 3c 3d 3e 3f 40 5b 5c 5d 7b 7d 7f 80 a0 ff; do
    refused 400 "GET / HTTP/1.1\r\n${H}Transfer-Encoding\\x$byte: chunked\r\n\r\n"
    refused 400 "GET / HTTP/1.1\r\n$H\\x${byte}Content-Length: 44\r\n\r\n"
    refused 400 "GET / HTTP/1.1\r\n${H}X\\x${byte}Y: 1\r\n\r\n"
  done
  for byte in 01 08 0b 0c 1f 7f; do
    refused 400 "GET / HTTP/1.1\r\n${H}A: b\\x$byte\r\n\r\n"
    refused 400 "GET / HTTP/1.1\r\n${H}Content-Length: 0\\x$byte\r\n\r\n"
  done
  says '200 /' send:"GET / HTTP/1.1\r\n${H}!#\$%&'*+-.^_\`|~09: \tb \\xff \t\r\nA:\r\n\r\n" \
    half-close eof
}

# RFC 9112, 6.3
@test "Content-Length that is not a number, or is repeated: 400; a number above 0: 413" {
  local length
  need_http
  for length in '' '0, 25' '0, 0' '0 0' '+0' '-0' '-1' '0x0' '0;' '0.0' '25, 25' '2 5' 'a' '"0"'; do
    refused 400 "GET / HTTP/1.1\r\n${H}Content-Length: $length\r\n\r\n"
  done
  refused 400 "GET / HTTP/1.1\r\n${H}Content-Length: 0\r\nContent-Length: 0\r\n\r\n"
  refused 400 "GET / HTTP/1.1\r\n${H}Content-Length: 0\r\nContent-Length: 25\r\n\r\n"
  for length in 1 00025 4294967296 18446744073709551616 100000000000000000000000000000000; do
    refused 413 "GET / HTTP/1.1\r\n${H}Content-Length: $length\r\n\r\n"
  done
  says '200 /' send:"GET / HTTP/1.1\r\n${H}Content-Length: 00 \r\n\r\n" half-close eof
}

# RFC 6585, 5
@test "a head of 8,192 bytes is answered; a longer one gets 431, even if the client goes on" {
  local fill
  printf -v fill '%08100d' 0
  start_server
  says '200 /' send:"GET / HTTP/1.1\r\n${H}A: $fill${fill:0:60}\r\n\r\n" half-close eof
  says '431' send:"GET / HTTP/1.1\r\n${H}A: $fill${fill:0:61}\r\n\r\n" eof
  says '431' send:'GET / HTTP/1.1\r\nA: ' fill:1000000 eof
  yes 'A: b' | head -c 2000000 >"$T/fields"
  says '431' send:'GET / HTTP/1.1\r\n' file:"$T/fields" eof
}

# RFC 9110, 15.5.9; slow requests are an attack: Slowloris.
# bats test_tags=kit,slow
@test "-i 1: a silent client is closed; in the middle of a request it gets 408 first" {
  start_server -i 1
  says 408 send:'GET / HTTP/1.1\r\nHo' within:3000:line eof
  grep -Eqi $'^date: [A-Z][a-z]{2}, [0-9]{2} [A-Z][a-z]{2} [0-9]{4} [0-9:]{8} GMT\r$' "$T/raw" ||
    complain "408 without a Date: $(<"$T/raw")"
  says '200 /' send:"GET / HTTP/1.1\r\n$H\r\n" eof
}

# Such an attack sends a byte now and then. A client that sends a request now and then is welcome.
# bats test_tags=kit,slow
@test "a request not complete after -i seconds gets 408; a pause between requests does not" {
  start_server -i 2
  says 408 send:'GET / HTTP/1.1\r\n' sleep:1500 send:Host within:1500:eof
  says '200 /a 200 /b 408' send:"GET /a HTTP/1.1\r\n$H\r\n" sleep:1500 \
    send:"GET /b HTTP/1.1\r\n$H\r\nGET" sleep:1500 send:' ' within:1500:eof
}

# RFC 9112, 2.2: an empty line before a request is ignored, and begins nothing.
# bats test_tags=kit,slow
@test "empty lines between requests neither shorten nor extend the time of the next request" {
  start_server -i 2
  says '200 /a 200 /b' send:"GET /a HTTP/1.1\r\n$H\r\n\r\n" sleep:1500 send:"GET /b" sleep:1000 \
    send:" HTTP/1.1\r\n$H\r\n" half-close eof
  says '' send:'\r\n' sleep:1500 send:'\n\r\n' within:1500:eof
}

# Its replies do not fit into the kernel's buffers; ours is bounded, so that the server has to stop
# reading.
# bats test_tags=kit
@test "10 clients that ask and never read: others are answered, and memory is bounded" {
  local before
  forget_freed_memory
  need_http
  yes $'GET / HTTP/1.1\r\nHost: x\r\n\r' | head -n 300000 >"$T/sent"
  before=$(rss_kb "$SERVER_PID")
  start_peer -n 10 -b 4096 -t 20 "$PORT" ready:"$T/here" file:"$T/sent"
  wait_for 5 test -e "$T/here"
  sleep 0.5
  says '200 /b' send:"GET /b HTTP/1.1\r\n$H\r\n" half-close eof
  (($(rss_kb "$SERVER_PID") - before < 10000)) ||
    complain "$before kB before, now $(rss_kb "$SERVER_PID")"
}

# bats test_tags=kit
@test "SIGTERM: requests that had arrived are answered, then end of file, and exit status 0" {
  need_http
  start_peer -n 5 "$PORT" send:"GET /first HTTP/1.1\r\n$H\r\n" line ready:"$T/here" until:"$T/go" \
    send:"GET /last HTTP/1.1\r\n$H\r\n" ready:"$T/sent" eof
  wait_for 5 test -e "$T/here"
  kill -STOP "$SERVER_PID"
  touch "$T/go"
  wait_for 5 test -e "$T/sent"
  kill -TERM "$SERVER_PID"
  kill -CONT "$SERVER_PID"
  stop_server 0 0
  finish_peer
  assert_equal "$(grep -cx /last "$T/peer.out")" 5
}

@test "wrk can drive the server" {
  need wrk
  need_http
  run -0 timeout 10 wrk -t 1 -c 20 -d 1s "http://127.0.0.1:$PORT/hello"
  refute_output --partial 'Non-2xx'
  refute_output --partial 'Socket errors'
}
