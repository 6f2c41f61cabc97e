# 1-2, a conversation: the client's line, and the operator's answer.
# bats file_tags=1-2

# shellcheck disable=SC2154 # run --separate-stderr sets stderr
CHAPTER=01-basic-tcp
load ../helpers/common
SILENCE=$T/typed

# types LINE…: the operator does, now or before being asked. A server's standard input is that pipe.
types() {
  printf '%s\n' "$@" >"$SILENCE"
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
  SERVER="bash ${T@Q}/operated"
}

# ---- the server ----

@test "the operator's line is sent as the answer to the client's line" {
  start_server
  types 'fine, thanks'
  receives 'fine, thanks\n' send:'how are you?\n' line
}

# stdout(3): what has no newline is not shown on a terminal before it is flushed.
@test "the operator sees the message in capitals, and is asked for an answer immediately" {
  start_server
  start_peer "$PORT" send:'how are you?\n' ready:"$T/here" line
  wait_for 5 test -e "$T/here"
  wait_for 3 screen 'HOW ARE YOU?\n ? ' 2>/dev/null || screen 'HOW ARE YOU?\n ? '
  types fine
  finish_peer
}

@test "a conversation of three lines, each answered in turn; an empty line is a line too" {
  start_server
  types one '' three
  receives 'one\n\nthree\n' send:'a\n' line send:'\n' line send:'c\n' line
  screen 'A\n ? \n ? C\n ? '
}

# RFC 9293, 2.2: TCP keeps no boundaries. One recv is not one message.
@test "a message is a line, whether it arrives byte by byte or with another in one segment" {
  start_server
  types first second third
  receives 'first\nsecond\nthird\n' dribble:5:'hello\n' line send:'two\nthree\n' line line
  screen 'HELLO\n ? TWO\n ? THREE\n ? '
}

@test "when the operator types q, the conversation ends, and the next client is served" {
  start_server
  types q
  receives '' send:'hello\n' eof
  types good
  receives 'good\n' send:'anybody?\n' line
}

@test "a client that leaves before the operator has answered does no harm" {
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

# ECMA-48, 5.3: U+0080 to U+009F are control characters, too: U+009B is what ESC [ is. As a byte,
# 0x9B is one to terminals that do not read UTF-8, and part of a character to those that do.
@test "control characters above 0x7F also become dots, and other text stays unchanged" {
  export LC_ALL=C.UTF-8
  start_server
  types ok
  receives 'ok\n' send:'\x9b2J\xc2\x9b2J\xe4 \xe6\xac\xa2\xe8\xbf\x8e\xc3\xa9\n' line
  screen '.2J.2J. 欢迎é\n ? '
}

@test "an answer of 3,000 bytes is one answer, and the next answer is not affected" {
  local long
  long=$(printf '%03000d' 7)
  start_server
  types "$long" next
  receives "$long\nnext\n" send:'one\n' line send:'two\n' line
}

@test "a line of more than 1,024 bytes ends its conversation and nothing else" {
  start_server
  receives '' fill:5000 eof
  types good
  receives 'good\n' send:'short\n' line
}

# send(2), recv(2), accept(2): short counts, EINTR.
@test "writes of 1 byte at a time, and EINTR: every answer is complete" {
  FAULT_ENV='FAULT_SHORT=1 FAULT_FAIL=accept:EINTR:2,recv:EINTR:2,send:EINTR:2' start_server
  types 'the first' 'the second'
  receives 'the first\nthe second\n' send:'one\n' line send:'two\n' line
}

# fgets(3) fails with EINTR when a signal has come and its handler has no SA_RESTART.
# bats test_tags=kit
@test "SIGTERM before the operator has answered: exit 0 within 2 s" {
  start_server
  start_peer "$PORT" send:'hello\n' ready:"$T/here" eof
  wait_for 5 test -e "$T/here"
  wait_for 3 grep -q HELLO "$T/server.out"
  stop_server 0 TERM
  finish_peer
}

# bats test_tags=kit
@test "SIGTERM while lines and answers keep arriving: exit 0 within 2 s" {
  operator yes
  start_server
  start_tool flood bash -c 'yes | "$0" -t 20 "$1" file:/dev/stdin' "$PEER" "$PORT"
  wait_for 5 test -s "$T/server.out"
  wait_for 5 eval '(($(stat -c %s "$T/server.out") > 100000))'
  stop_server 0 TERM
}

# bats test_tags=kit
@test "end of file on the operator's input ends the server, exit 0; a last line needs no newline" {
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

@test "client: sends each message as a line and prints each answer" {
  start_fake -- line send:'good day\n' line send:'fine\n' eof
  talk hello 'how are you?' >"$T/received"
  printf 'good day\nfine\n' >"$T/expected"
  same_bytes "$T/expected" "$T/received"
  NAME=fake finish_peer
  tail -n +2 "$T/fake.out" >"$T/received"
  printf 'hello\nhow are you?\n' >"$T/expected"
  same_bytes "$T/expected" "$T/received"
}

@test "client: q ends it and is not sent; an answer may arrive a byte at a time" {
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
@test "client: the server closes or resets before it has answered: exit 1" {
  start_fake -- recv:5 sleep:50 half-close sleep:300 close
  run -1 --separate-stderr client hello
  assert_equal "$output|$stderr" '|client: the server ended the conversation'
  NAME=second start_fake -- recv:5 send:half sleep:50 reset
  run -1 --separate-stderr client hello
  assert_equal "$stderr" 'client: the server is gone: recv: Connection reset by peer (ECONNRESET)'
}

# send(2): EPIPE says only that the server will take no more. What it had said is still there to be
# read, and then the end of file.
# bats test_tags=kit
@test "client: the server ends the conversation while the client still sends: it says so" {
  start_fake -- recv:5 half-close sleep:300 reset
  head -c 20000000 /dev/zero | tr '\0' x >"$T/long"
  run -1 --separate-stderr client <"$T/long"
  assert_line_of_end
}

# assert_line_of_end: one of the two ways in which the end may reach the client.
assert_line_of_end() {
  case $stderr in
  'client: the server ended the conversation') ;;
  'client: the server is gone: recv: Connection reset by peer (ECONNRESET)') ;;
  *) complain "stderr: $stderr" ;;
  esac
}
