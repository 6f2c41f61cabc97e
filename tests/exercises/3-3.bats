# 3-3, a relay: it listens at -p, connects to -P for each client, and hands on all that either says.
# bats file_tags=3-3

CHAPTER=03-long-conn
load ../helpers/common

# behind VERB…: a scripted server, and the relay before it; PORT is the relay's.
behind() {
  start_fake -t 10 -- "$@"
  start_server -P "$PORT"
}

# heard TEXT: all that the scripted server has got, when its script has come to its end.
heard() {
  NAME=fake finish_peer
  printf %b "$1" >"$T/expected"
  tail -n +2 "$T/fake.out" >"$T/received"
  same_bytes "$T/expected" "$T/received"
}

# line_server: the chapter's own server, and the relay before it.
line_server() {
  local own
  quote own "$BUILD/$CHAPTER/server"
  FAULT_ENV='' NAME=lines SERVER=$own start_server
  start_server -P "$PORT"
}

@test "bytes from the client reach the server, and bytes from the server reach the client" {
  behind line send:'good morning\n' recv:3 send:'\x00\xff\r' eof
  receives 'good morning\n\x00\xff\r' send:'hello\n' line send:'\x00\xfe\r' recv:3 half-close eof
  heard 'hello\n\x00\xfe\r'
}

# A server may speak first, and a client say nothing at all.
@test "either side may send first, and a client that comes and goes leaves nothing behind" {
  behind send:'welcome\n' recv:2 eof
  receives 'welcome\n' line send:ok half-close eof
  heard ok
}

# shutdown(2): "no more from me" goes through, and the other direction goes on.
@test "the client's half-close reaches the server, and the answer still comes back" {
  behind eof sleep:100 send:'that was all: ' sleep:100 send:'bye\n' half-close
  receives 'that was all: bye\n' send:'one\ntwo' half-close within:2000:eof
  heard 'one\ntwo'
}

@test "the server's half-close reaches the client, which can still send much" {
  behind send:'no more from me\n' half-close eof
  receives 'no more from me\n' within:2000:eof sleep:100 send:'one ' sleep:100 send:'two' half-close
  heard 'one two'
}

# recv(2) returns 0, poll(2) says POLLIN and POLLHUP, again and again.
@test "a half-closed, silent conversation uses no CPU time" {
  local ticks
  behind send:x half-close until:"$T/go" eof
  start_peer "$PORT" recv:1 eof ready:"$T/here" until:"$T/go" half-close
  wait_for 5 test -e "$T/here" || complain 'the end of file has not come'
  ticks=$(cpu_ticks "$SERVER_PID")
  sleep 0.5
  ticks=$(($(cpu_ticks "$SERVER_PID") - ticks))
  ((ticks < 10)) || complain "it has used $ticks of 50 ticks for waiting"
  touch "$T/go"
  finish_peer
  heard ''
}

@test "8 MB in both directions at once arrive byte for byte, then end of file follows" {
  line_server
  seq 1000000 1999999 >"$T/sent"
  sed 's/^/+/' "$T/sent" >"$T/expected"
  "$PEER" -t 15 "$PORT" echo:"$T/sent" >"$T/received"
  same_bytes "$T/expected" "$T/received"
}

# send(2), recv(2), poll(2).
@test "writes of 7 bytes at a time, and EINTR: no byte is lost or duplicated" {
  FAULT_ENV='FAULT_SHORT=7 FAULT_FAIL=accept:EINTR:2,poll:EINTR:3,recv:EINTR:4,send:EINTR:5' \
    line_server
  seq 20000 >"$T/sent"
  sed 's/^/+/' "$T/sent" >"$T/expected"
  "$PEER" -t 15 "$PORT" echo:"$T/sent" >"$T/received"
  same_bytes "$T/expected" "$T/received"
}

# One direction is full, since the server does not read: the other has to go on. And what a program
# reads from a client, faster than it can send it on, is its own memory.
@test "a server that does not read: its own data still arrives, and memory does not grow" {
  local before
  forget_freed_memory
  behind send:hello recv:1 until:"$T/go" fill:4000000 half-close until:"$T/done" drain
  start_peer "$PORT" recv:5 send:x sleep:100 ready:"$T/here" flood:1 ready:"$T/flooded" \
    recv:4000000 eof half-close ready:"$T/done"
  wait_for 5 test -e "$T/here"
  before=$(rss_kb "$SERVER_PID")
  wait_for 5 test -e "$T/flooded"
  (($(rss_kb "$SERVER_PID") - before < 1024)) ||
    complain "it has grown by $(($(rss_kb "$SERVER_PID") - before)) kB"
  touch "$T/go"
  wait_for 5 test -e "$T/done" || complain 'what the server said has not come within 5 s'
  finish_peer
  NAME=fake finish_peer
}

# RFC 9293, 3.5.2. An end of file would say: that was all.
@test "a reset by the server reaches the client as a reset, not as end of file" {
  behind recv:1 send:'HTTP/1.1 200 OK\r\nContent-Le' sleep:100 reset
  run "$PEER" -t 3 "$PORT" send:x line eof
  assert_output --partial ECONNRESET
}

@test "a reset by the client reaches a server that neither sends nor reads" {
  behind recv:1 send:y closed:3000
  run "$PEER" -t 3 "$PORT" send:x recv:1 reset
  NAME=fake finish_peer || complain 'the server has not been told within 3 s'
}

has_fds() {
  (($(fds "$SERVER_PID") <= $1))
}

# poll(2): POLLERR comes though nobody has asked for it.
@test "a client that half-closes and then resets is noticed even if the server is silent" {
  local before
  behind recv:1 send:y eof until:"$T/go"
  before=$(fds "$SERVER_PID")
  "$PEER" -t 3 "$PORT" send:x recv:1 half-close sleep:200 reset
  wait_for 3 has_fds "$before" || complain 'the conversation goes on without a client'
  touch "$T/go"
}

# The end of file was handed on to the server, and the relay's buffer towards the client is full.
@test "a reset by the server ends the conversation of a half-closed client that does not read" {
  local before
  behind eof flood:1 reset
  before=$(fds "$SERVER_PID")
  start_peer -t 10 "$PORT" half-close until:"$T/go"
  NAME=fake finish_peer
  wait_for 3 has_fds "$before" || complain 'the conversation goes on without a server'
}

# As above, but the server ends in good order. What it has said waits for the client, without cost.
@test "the server's half-close waits, at no cost, until a half-closed client has read the rest" {
  local ticks
  behind eof fill:4000000 half-close
  start_peer -t 10 "$PORT" half-close sleep:300 ready:"$T/here" until:"$T/go" recv:4000000 eof
  wait_for 5 test -e "$T/here"
  ticks=$(cpu_ticks "$SERVER_PID")
  sleep 0.5
  ticks=$(($(cpu_ticks "$SERVER_PID") - ticks))
  ((ticks < 10)) || complain "it has used $ticks of 50 ticks for waiting"
  touch "$T/go"
  finish_peer
}

# tcp(7), TCP_USER_TIMEOUT counts from when a closed window is first asked, too.
# bats test_tags=kit
@test "-k 1: a client that does not read for 5 s is not taken for dead" {
  behind fill:4000000 half-close recv:2 eof
  stop_server
  PORT=$(sed 's/.*://' "$T/fake.out")
  start_server -P "$PORT" -k 1
  start_peer -b 4096 -t 20 "$PORT" sleep:5000 send:hi recv:4000000 eof half-close
  finish_peer
}

# RFC 6093: TCP's urgent data is a byte of the stream, which SO_OOBINLINE leaves in its place.
@test "an urgent byte arrives in its place in the stream" {
  need python3
  behind recv:5 send:ok half-close eof
  run -0 timeout $((10 * PATIENCE)) python3 -c 'if True:
    import socket, sys
    s = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
    s.send(b"ab")
    s.send(b"!", socket.MSG_OOB)
    s.send(b"cd")
    print(s.recv(2))' "$PORT"
  assert_output "b'ok'"
  heard 'ab!cd'
}

# connect(2): ECONNREFUSED. A connection that cannot be made ends that conversation only.
@test "no server listens: the client gets a reset; as soon as one listens, relaying works" {
  local there
  start_fake -- close
  there=$PORT
  "$PEER" "$PORT" close
  NAME=fake finish_peer
  start_server -P "$there"
  run "$PEER" -t 3 "$PORT" line
  assert_output --partial ECONNRESET
  start_tool there "$PEER" -l "$there" send:'here I am\n' eof
  wait_for 3 grep -q listening "$T/there.out"
  receives 'here I am\n' line half-close eof
}

@test "300 conversations, ended by either side, leave no descriptor behind" {
  local before
  line_server
  receives '+x\n' send:'x\n' half-close eof
  before=$(fds "$SERVER_PID")
  "$PEER" -r 100 "$PORT" send:'hello\n' line close
  "$PEER" -r 100 "$PORT" send:'hello\nhalf' line reset
  "$PEER" -r 100 "$PORT" close
  receives '+x\n' send:'x\n' half-close eof
  has_fds "$before" || complain "$before before, $(fds "$SERVER_PID") after"
}

# bats test_tags=kit
@test "-i 1: a conversation in which both sides are silent is dropped after a second or two" {
  behind recv:1 closed:3000
  stop_server
  PORT=$(sed 's/.*://' "$T/fake.out")
  start_server -P "$PORT" -i 1
  run "$PEER" -t 5 "$PORT" send:x line
  assert_output --partial ECONNRESET
  NAME=fake finish_peer
}

# bats test_tags=kit
@test "SIGTERM: data in flight arrives, and the relay exits with status 0 within 2 s" {
  behind line sleep:400 send:'late\n' eof
  start_peer "$PORT" send:'hello\n' ready:"$T/here" line
  wait_for 5 test -e "$T/here"
  sleep 0.1
  stop_server
  finish_peer
  assert_equal "$(<"$T/peer.out")" late
}

# bats test_tags=kit
@test "-P with a bad port: exit 2; -A with a bad address: exit 1" {
  run -2 --separate-stderr timeout $((20 * PATIENCE)) bash -c "$SERVER \"\$@\"" server -P 0
  assert_regex "$stderr" '^server: -P "0": not a number from 1 to 65535'
  run -1 --separate-stderr timeout $((20 * PATIENCE)) bash -c "$SERVER \"\$@\"" server -A nowhere
  assert_regex "$stderr" '^server: -A nowhere: .'
}
