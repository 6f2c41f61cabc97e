# 1-2, a conversation: the client's line, and the operator's answer.
# bats file_tags=1-2

# shellcheck disable=SC2154 # run --separate-stderr sets stderr
CHAPTER=01-basic-tcp
load ../helpers/common

# types LINE…: the operator does, now or before being asked. A server's standard input is that pipe.
types() {
  printf '%s\n' "$@" >"$T/silence"
}

# screen TEXT: what the operator has seen so far (escapes as in printf %b), after the first line.
screen() {
  printf %b "$1" >"$T/expected"
  tail -n +2 "$T/server.out" >"$T/seen"
  same_bytes "$T/expected" "$T/seen"
}

# operator COMMAND…: one whose typing comes from a command, and so comes to an end.
operator() {
  printf 'exec %s "$@" < <(%s)\n' "$SERVER" "$*" >"$T/operated"
  SERVER="bash $T/operated"
}

# ---- the server ----

@test "the operator's line is the answer to the client's line" {
  start_server
  types 'fine, thanks'
  receives 'fine, thanks\n' send:'how are you?\n' line
}

# stdout(3): what has no newline is not shown on a terminal before it is flushed.
@test "the operator sees the message in capitals, and is asked for an answer at once" {
  start_server
  start_peer "$PORT" send:'how are you?\n' ready:"$T/here" line
  wait_for 5 test -e "$T/here"
  wait_for 3 screen 'HOW ARE YOU?\n ? ' 2>/dev/null || screen 'HOW ARE YOU?\n ? '
  types fine
  finish_peer
}

@test "a conversation of three lines, each answered in its turn; empty ones are lines too" {
  start_server
  types one '' three
  receives 'one\n\nthree\n' send:'a\n' line send:'\n' line send:'c\n' line
  screen 'A\n ? \n ? C\n ? '
}

# RFC 9293, 2.2: TCP keeps no boundaries. One recv is not one message.
@test "a message is a line: a byte at a time is one, two in a segment are two" {
  start_server
  types first second third
  receives 'first\nsecond\nthird\n' dribble:5:'hello\n' line send:'two\nthree\n' line line
  screen 'HELLO\n ? TWO\n ? THREE\n ? '
}

@test "q of the operator ends the conversation, and the next client is served" {
  start_server
  types q
  receives '' send:'hello\n' eof
  types good
  receives 'good\n' send:'anybody?\n' line
}

@test "a client that leaves while the operator thinks does no harm" {
  start_server
  "$PEER" "$PORT" send:'I cannot wait\n' close
  "$PEER" "$PORT" send:'nor can I\n' reset
  types 'to nobody' 'to nobody' 'to you'
  WITHIN=5 receives 'to you\n' send:'I can\n' line
}

# console_codes(4): ESC [ 2 J clears the screen, BEL rings.
@test "control characters of a client reach the operator as dots" {
  start_server
  types ok
  receives 'ok\n' send:'\x1b[2Jhi\x07\rx\n' line
  screen '.[2JHI..X\n ? '
}

@test "a line of more than 1,024 bytes ends that conversation and nothing else" {
  start_server
  receives '' fill:5000 eof
  types good
  receives 'good\n' send:'short\n' line
}

# send(2), recv(2), accept(2): short counts, EINTR.
@test "writes of 1 byte at a time, and EINTR: every answer is whole" {
  FAULT_ENV='FAULT_SHORT=1 FAULT_FAIL=accept:EINTR:2,recv:EINTR:2,send:EINTR:2' start_server
  types 'the first' 'the second'
  receives 'the first\nthe second\n' send:'one\n' line send:'two\n' line
}

# fgets(3) fails with EINTR when a signal has come and its handler has no SA_RESTART.
# bats test_tags=kit
@test "SIGTERM while the operator thinks: exit 0 within 2 s" {
  start_server
  start_peer "$PORT" send:'hello\n' ready:"$T/here" eof
  wait_for 5 test -e "$T/here"
  wait_for 3 grep -q HELLO "$T/server.out"
  stop_server 0 TERM
  finish_peer
}

# bats test_tags=kit
@test "the end of the operator's input ends the server, exit 0; a last line needs no newline" {
  operator printf 'only\\nthis'
  start_server
  receives 'only\nthis\n' send:'one\ntwo\nthree\n' eof
  stop_server 0 0
}

# ---- the client ----

# talk ARGUMENT…: the client, but not for ever.
talk() {
  timeout 3 bash -c "exec $CLIENT \"\$@\"" client -p "$PORT" "$@" || true
}

@test "client: sends each message as a line, prints each answer" {
  start_fake -- line send:'good day\n' line send:'fine\n' eof
  talk hello 'how are you?' >"$T/received"
  printf 'good day\nfine\n' >"$T/expected"
  same_bytes "$T/expected" "$T/received"
  NAME=fake finish_peer
  tail -n +2 "$T/fake.out" >"$T/received"
  printf 'hello\nhow are you?\n' >"$T/expected"
  same_bytes "$T/expected" "$T/received"
}

@test "client: q ends it and is not sent; an answer may come a byte at a time" {
  start_fake -- line dribble:5:'good day\n' eof
  talk < <(printf 'hello\nq\nmore\n') >"$T/received"
  echo 'good day' >"$T/expected"
  same_bytes "$T/expected" "$T/received"
  NAME=fake finish_peer
  tail -n +2 "$T/fake.out" >"$T/received"
  echo hello >"$T/expected"
  same_bytes "$T/expected" "$T/received"
}

# bats test_tags=kit
@test "client: the server ends the conversation, or resets, before it has answered: exit 1" {
  start_fake -- recv:5 sleep:50 half-close sleep:300 close
  run -1 --separate-stderr client hello
  assert_equal "$output|$stderr" '|client: the server ended the conversation'
  NAME=second start_fake -- recv:5 send:half sleep:50 reset
  run -1 --separate-stderr client hello
  assert_equal "$stderr" 'client: the server is gone: recv: Connection reset by peer (ECONNRESET)'
}
