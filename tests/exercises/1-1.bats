# 1-1, a server that greets and closes, and its client that reads the greeting.
# bats file_tags=1-1

# shellcheck disable=SC2154 # run --separate-stderr sets stderr
CHAPTER=01-basic-tcp
load ../helpers/common

GREETING='欢迎访问服务器!'

# greeted VERB…: a scripted client that does this gets the greeting and nothing else.
greeted() {
  receives_at_once "$GREETING\n" "$@" eof
}

# RFC 3629: 22 bytes of UTF-8, and a newline. shutdown(2): the end of file comes after them.
@test "the greeting arrives at once, as UTF-8, then end of file follows" {
  start_server
  greeted
  greeted
}

# close(2) with input unread sends a reset, which destroys what is on its way (RFC 2525, 2.17).
@test "a client that sends first also gets the greeting, not a reset" {
  start_server
  greeted send:'GET / HTTP/1.0\r\n\r\n' sleep:100
  greeted fill:60000 sleep:100
}

# send(2): a short count; EINTR.
@test "writes of 1 byte at a time, and EINTR: the greeting is complete" {
  FAULT_ENV='FAULT_SHORT=1 FAULT_FAIL=accept:EINTR:2,send:EINTR:2' start_server
  greeted
  greeted
}

# accept(2), recv(2), send(2): ECONNABORTED, ECONNRESET, EPIPE are about one connection.
@test "clients that close or reset before they are greeted do no harm" {
  FAULT_ENV='FAULT_DELAY=send:2000' start_server
  "$PEER" -r 20 "$PORT" close
  "$PEER" -r 20 "$PORT" reset
  "$PEER" -r 5 "$PORT" half-close gone
  greeted
}

@test "a client that neither reads nor closes delays the next one by less than a second" {
  start_server
  start_peer "$PORT" ready:"$T/here" until:"$T/go"
  wait_for 5 test -e "$T/here"
  greeted within:1000:recv:23
}

@test "100 clients, one after another: each is greeted" {
  start_server
  "$PEER" -r 100 "$PORT" within:1000:eof >"$T/received"
  (($(grep -cxF "$GREETING" "$T/received") == 100)) || complain 'not each was greeted'
}

# ---- the client ----

# recv(2): how many bytes a call brings says nothing about what was sent.
@test "client: prints the greeting, however slowly it arrives, and exits 0" {
  start_fake -- dribble:2:"$GREETING\n" close
  client >"$T/received"
  echo "$GREETING" >"$T/expected"
  same_bytes "$T/expected" "$T/received"
}

# bats test_tags=kit
@test "client: the server closes without a greeting, or resets: it says so and exits 1" {
  start_fake -- close
  run -1 --separate-stderr client
  assert_equal "$output|$stderr" '|client: the server closed without a greeting'
  NAME=second start_fake -- send:'half a gr' sleep:100 reset
  run -1 --separate-stderr client
  assert_equal "$stderr" 'client: the server is gone: recv: Connection reset by peer (ECONNRESET)'
}

# ---- what the frame of the chapter does ----

# These come last, since greeting needs none of them: main, which the chapter gives you, does them.
# signal(7); the exit status of the kit's servers.
# bats test_tags=kit
@test "SIGTERM: exit 0 within 2 s, idle or with a client" {
  start_server
  greeted
  stop_server 0 TERM
  start_server
  start_peer "$PORT" recv:23 ready:"$T/here" until:"$T/go"
  wait_for 5 test -e "$T/here"
  stop_server 0 TERM
}
