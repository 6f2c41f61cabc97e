# What is 06's own: an event loop with callbacks, ten thousand connections, and a load generator.
# The service is judged by 06-line-service.bats; what any TCP program, and any server of many, has
# to stand by 06-tcp.bats and 06-many-clients.bats.

# shellcheck disable=SC2154 # run --separate-stderr sets stderr and stderr_lines
CHAPTER=06-epoll
load helpers/common

# happened CALL FIELD: how often, by the report that the fault shim writes when a process ends.
happened() {
  sed -n "s/^$1 .*\b$2=\([0-9]*\).*/\1/p" "$T/report" | awk '{ sum += $1 } END { print sum + 0 }'
}

need_descriptors() {
  (($(ulimit -Hn) >= $1)) || skip "this user may not have $1 descriptors"
}

# ---- the same text ----

handlers_of() {
  sed -n '/^\/\* ---- connections/,/^\/\* ---- the loop/p' "$ROOT/$1/server.c"
}

# bats test_tags=kit
@test "the connections' part is 05's, word for word; lines.h too, of which 04 has the first part" {
  run -0 diff <(handlers_of 05-select) <(handlers_of 06-epoll)
  (($(handlers_of 06-epoll | wc -l) > 80))
  cmp "$ROOT/05-select/lines.h" "$ROOT/06-epoll/lines.h"
  cmp -n "$(wc -c <"$ROOT/04-threadpool/lines.h")" "$ROOT"/{04-threadpool,05-select}/lines.h
}

# ---- ten thousand connections ----

# getrlimit(2), RLIMIT_NOFILE: each is a descriptor, here and there.
# bats test_tags=heavy
@test "10,000 connections: each is answered, so is a fresh one beside them; 160 bytes for each" {
  need_descriptors 10100
  local before bytes
  start_server
  assert_serving
  before=$(rss_kb "$SERVER_PID")
  start_peer -n 10000 "$PORT" send:'hello\n' line ready:"$T/here" until:"$T/go" send:'bye\n' line
  wait_for 20 test -e "$T/here"
  bytes=$((($(rss_kb "$SERVER_PID") - before) * 1024 / 10000))
  [[ ${SAN-} || $GUEST ]] || ((bytes <= 160)) || complain "$bytes bytes for each connection"
  assert_serving
  touch "$T/go"
  finish_peer
  (($(grep -cx +hello "$T/peer.out") == 10000 && $(grep -cx +bye "$T/peer.out") == 10000))
}

# bats test_tags=kit,heavy
@test "client: 10,000 connections, each reply the right one" {
  need_descriptors 10100
  start_server
  run -0 --separate-stderr client -c 10000 -n 30000
  assert_line --index 0 'connections 10000'
  assert_line --partial 'requests 30000 in '
  assert_line 'errors 0 (refused 0, wrong 0, lost 0, not connected 0)'
}

# ---- the loop ----

# epoll(7), "If using an event cache": one event ends a connection, for which another one waits in
# the same batch. Here it is the timer, which comes due first, while the server sleeps (SIGSTOP).
@test "clients that leave in the moment in which their time is over do no harm" {
  start_server -i 1
  start_peer -n 100 "$PORT" line ready:"$T/refused" until:"$T/go" close
  wait_for 5 test -e "$T/refused"
  kill -STOP "$SERVER_PID" # the connections are half-closed, and wait for our end or 300 ms
  sleep 0.4
  touch "$T/go"
  finish_peer
  kill -CONT "$SERVER_PID"
  "$PEER" -n 50 "$PORT" lines:10 lines-back:10
  assert_serving
}

# ---- faults at every call ----

# "Ready" is a hint. What then fails with EAGAIN is tried again when the next event comes.
@test "EINTR, and EAGAIN from ready sockets, at every call; short writes: every line is answered" {
  local call
  FAULT_ENV="FAULT_REPORT=$T/report FAULT_SHORT=50 FAULT_FAIL=epoll_wait:EINTR:3,accept:EAGAIN:2,\
accept:EINTR:3,recv:EAGAIN:2,recv:EINTR:3,send:EAGAIN:2,send:EINTR:3" start_server
  "$PEER" -n 20 "$PORT" lines:200 lines-back:200 half-close eof
  "$PEER" -n 20 "$PORT" dribble:1:'one\n' lines:10 line lines-back:10 >"$T/ones"
  seq 1000000 1050000 >"$T/sent"
  sed 's/^/+/' "$T/sent" >"$T/expected"
  "$PEER" "$PORT" echo:"$T/sent" >"$T/received"
  same_bytes "$T/expected" "$T/received"
  stop_server
  for call in epoll_wait accept recv send; do
    (($(happened "$call" failed) > 15)) || complain "$call: $(happened "$call" failed)"
  done
  (($(happened send shortened) > 1000))
}

# malloc(3), ENOMEM: for a new connection, for a line begun, for a reply that has to wait.
# bats test_tags=kit,heavy
@test "every fifth malloc fails: that connection is closed, the others and the server go on" {
  [[ -z ${SAN-} ]] || skip 'a sanitizer has a malloc of its own'
  local i good=0
  FAULT_ENV="FAULT_REPORT=$T/report FAULT_SHORT=5 FAULT_FAIL=malloc:ENOMEM:5" start_server
  for i in {1..40}; do
    run "$PEER" -t 5 "$PORT" send:'hello\nhalf' line send:' a line\n' line half-close eof
    ((status == 0)) || continue
    assert_output $'+hello\n+half a line'
    good=$((good + 1))
  done
  ((good > 0 && good < 40))
  stop_server
  (($(happened malloc failed) > 15))
}

# epoll_ctl(2), ENOMEM, ENOSPC: the first calls are the start's. Then one is for the listening
# socket, which is let go of for a moment when accept fails, or for a connection.
# bats test_tags=kit,heavy
@test "epoll_ctl fails once, at any call: it costs the start or one connection, and nothing else" {
  local k lost=0 NAME
  for k in {1..12}; do
    NAME=server$k
    if ! FAULT_ENV="FAULT_SHORT=3 FAULT_FAIL=epoll_ctl:ENOMEM:@$k,accept:EMFILE:@2" \
      start_server 2>/dev/null; then
      grep -q '^server: .* (ENOMEM)$' "$T/$NAME.err"
      stop_server 1 0
      continue
    fi
    for _ in 1 2; do
      "$PEER" -t 5 "$PORT" send:'hello\n' line 2>/dev/null || lost=$((lost + 1))
    done
    assert_serving
    stop_server
  done
  ((lost > 0 && lost <= 7))
}

# bats test_tags=kit,heavy
@test "epoll_ctl fails for every tenth call: connections end, the server does not" {
  local i good=0
  FAULT_ENV="FAULT_REPORT=$T/report FAULT_SHORT=3 FAULT_FAIL=epoll_ctl:ENOSPC:10" start_server
  for i in {1..40}; do
    run "$PEER" -t 5 "$PORT" send:'hello\n' line half-close eof
    ((status)) || good=$((good + 1))
  done
  ((good > 0 && good < 40))
  stop_server
  (($(happened epoll_ctl failed) > 5))
}

# ---- other clients ----

# Of the Python articles: register a socket, its events and a callback; the loop calls back.
@test "a Python program with selectors and callbacks talks to it" {
  need python3
  start_server
  run -0 timeout 10 python3 -c 'if True:
    import selectors, socket, sys
    selector = selectors.DefaultSelector()
    def on_connected(client, name):
        client.send(f"client {name}: hello\n".encode())
        selector.modify(client, selectors.EVENT_READ, (on_reply, name))
    def on_reply(client, name):
        print(client.recv(1024).decode(), end="")
        selector.unregister(client)
        client.close()
    for name in range(5):
        client = socket.socket()
        client.setblocking(False)
        client.connect_ex(("127.0.0.1", int(sys.argv[1])))
        selector.register(client, selectors.EVENT_WRITE, (on_connected, name))
    while selector.get_map():
        for key, events in selector.select():
            callback, name = key.data
            callback(key.fileobj, name)
  ' "$PORT"
  assert_equal "$(sort <<<"$output")" "$(printf '+client %d: hello\n' {0..4})"
}

# ---- the client: what it asks, and what it says ----

# figure NAME: the number after that word in $output.
figure() {
  sed -n "s,^$1 \([0-9.]*\).*,\1,p" <<<"$output"
}

# timerfd_create(2). A queue of timeouts has one timer, for its first; who is alone is always first.
@test "a line restarts the idle timeout without a system call, also of the only client" {
  need strace
  [[ -z ${SAN-} ]] || skip 'LeakSanitizer does not work under strace'
  local lines
  SERVER="strace -D -qq -e trace=timerfd_settime -o $T/calls $SERVER" start_server
  printf -v lines '%s ' {1..50}
  # shellcheck disable=SC2086 # many messages, each sent after the reply to the one before
  client $lines >/dev/null
  stop_server
  run grep -c timerfd "$T/calls"
  ((output < 10)) || complain "$output calls"
}

# loads REQUESTS OPTION…: so many are answered, all of them right.
loads() {
  local requests=$1
  shift
  run -0 --separate-stderr client "$@"
  assert_equal "$stderr" ''
  assert_equal "$(figure requests)" "$requests"
  assert_line 'unanswered 0'
  assert_line 'errors 0 (refused 0, wrong 0, lost 0, not connected 0)'
}

# fake_service HOW: answers lines, in Python, but not as it should: see there.
fake_service() {
  need python3
  NAME=fake-$1
  start_tool "$NAME" timeout 20 python3 -c 'if True:
    import itertools, socketserver, sys
    how, numbers = sys.argv[1], itertools.count()
    class Handler(socketserver.StreamRequestHandler):
        disable_nagle_algorithm = True
        def handle(self):
            last = b"none\n"
            for line in self.rfile:
                number, reply = next(numbers), b"+" + line
                if number == 100 or how == "stall" and number > 100:
                    reply = {"twice": reply * 2, "stale": b"+" + last,
                             "flip": reply.replace(line[3:4], b" ", 1),
                             "short": b"+" + line[1:], "refuse": b"-no more today\n",
                             "close": b"", "stall": b""}[how]
                self.wfile.write(reply)
                if number == 100 and how in ("close", "refuse"):
                    return
                last = line
    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True
    server = Server(("127.0.0.1", 0), Handler)
    print("listening on 127.0.0.1:%d" % server.server_address[1], flush=True)
    server.serve_forever()
  ' "$1"
  await_port "$NAME" "$TOOL_PID"
}

# bats test_tags=kit
@test "client: the report: connections, requests, rate, percentiles, errors" {
  start_server
  loads 5000 -c 10 -n 5000
  assert_equal "${#lines[@]}" 9
  assert_line --index 0 'connections 10'
  assert_line --index 1 --regexp '^requests 5000 in [0-9]+\.[0-9]{3} s$'
  assert_line --index 2 --regexp '^requests/s [1-9][0-9]*$'
  for i in 3 4 5 6; do
    assert_line --index $i --regexp '^(p50|p90|p99|max) [0-9]+\.[0-9] us$'
  done
  awk '/^(p|max)/ { if ($2 < last) exit 1; last = $2 }' <<<"$output" # none before the other
}

# bats test_tags=kit
@test "client: any number of connections, requests, requests together, and bytes of a line" {
  start_server
  loads 1 -c 1 -n 1
  loads 5 -c 20 -n 5
  loads 7 -c 2 -n 7 -P 16
  loads 20000 -c 30 -n 20000 -P 16
  loads 30000 -c 3 -n 30000 -P 10000
  loads 1000 -c 7 -n 1000 -s 2 -P 3
  loads 300 -c 5 -n 300 -s 65536 -P 2
  loads 5000 -n 5000 # 50 connections
  assert_line --index 0 'connections 50'
}

# bats test_tags=kit,heavy
@test "client: -d N goes on for N seconds" {
  local start
  start_server
  start=$(now_ms)
  run -0 --separate-stderr client -c 5 -d 1
  (($(now_ms) - start >= 1000))
  (($(figure requests) > 100))
  assert_line 'unanswered 0'
}

# The server is slow, so that we know the time of a request: 20 ms, each connection after the other.
# bats test_tags=kit
@test "client: the times are those of the requests" {
  FAULT_ENV='FAULT_DELAY=send:20000' start_server
  loads 20 -c 2 -n 20
  awk '/^(p|max)/ && $2 < 20000 { exit 1 } /^p50/ && $2 > 1000000 { exit 1 }' <<<"$output"
}

# bats test_tags=kit
@test "client: a pool that serves fewer at a time than there are connections serves them all" {
  SERVER=$BUILD/04-threadpool/server
  start_server -w 4
  loads 500 -c 20 -n 500
}

# ---- the client: it takes nothing for an answer that is none ----

# bats test_tags=kit
@test "client: one reply in a thousand that is wrong, doubled, old or cut is found: exit 1" {
  local how
  for how in twice stale flip short; do
    fake_service "$how"
    run -1 --separate-stderr client -c 4 -n 1000 -P 4
    assert_line --partial 'wrong 1,' || complain "$how"
    assert_equal "$stderr" 'client: a reply that does not fit the line sent'
  done
}

# bats test_tags=kit
@test "client: refused by the server: counted, its words, exit 1; the other connections go on" {
  fake_service refuse
  run -1 --separate-stderr client -c 4 -n 1000
  assert_line 'errors 1 (refused 1, wrong 0, lost 0, not connected 0)'
  assert_line 'unanswered 1'
  assert_equal "$(figure requests)" 999
  assert_equal "$stderr" 'client: the server refuses: no more today'
}

# bats test_tags=kit
@test "client: a connection that the server closes is counted, the others go on: exit 1" {
  fake_service close
  run -1 --separate-stderr client -c 4 -n 1000
  assert_line 'errors 1 (refused 0, wrong 0, lost 1, not connected 0)'
  assert_line 'unanswered 1'
  assert_equal "$(figure requests)" 999
  assert_equal "$stderr" 'client: the server closed the connection'
}

# bats test_tags=kit
@test "client: the server is killed under load: every connection is counted as lost, exit 1" {
  start_server
  start_tool client timeout 20 bash -c "exec $CLIENT -p $PORT -c 10 -d 15"
  wait_for 5 grep -q '^connections 10' "$T/client.out"
  sleep 0.2
  stop_server 137 KILL
  run -1 wait "$TOOL_PID"
  grep -Eqx 'errors 10 \(refused 0, wrong 0, lost 10, not connected 0\)' "$T/client.out"
  grep -Eqx 'client: .*(closed the connection|\((ECONNRESET|EPIPE)\))' "$T/client.err"
}

# bats test_tags=kit
@test "client: connections that cannot be opened are counted, the others go on: exit 1" {
  start_server
  FAULT_ENV='FAULT_FAIL=socket:EMFILE:@4,connect:ECONNREFUSED:@8' \
    run -1 --separate-stderr client -c 10 -n 500
  assert_line 'connections 8'
  assert_equal "$(figure requests)" 500
  assert_line 'errors 2 (refused 0, wrong 0, lost 0, not connected 2)'
  [[ $stderr =~ ^client:\ connect:.*EMFILE ]]
}

# bats test_tags=kit
@test "client: more connections than it may have descriptors: says so at once, exit 1" {
  need prlimit
  start_server
  CLIENT="prlimit --nofile=100:100 $CLIENT"
  run -1 --separate-stderr client -c 100 -n 500
  [[ $stderr == client:*descriptors* ]]
}

# ---- the client: its end ----

# signal(7): what is asked is waited for, nothing more is asked, and the report comes.
# bats test_tags=kit
@test "client: Ctrl-C ends it with its report" {
  start_server
  start_tool client timeout --foreground 20 bash -c "exec $CLIENT -p $PORT -c 10 -d 15"
  wait_for 5 grep -q '^connections 10' "$T/client.out"
  sleep 0.3
  pkill -INT -g "$TOOL_PID" -x client
  wait_for 5 not running "$TOOL_PID"
  wait "$TOOL_PID"
  grep -qx 'unanswered 0' "$T/client.out"
  grep -q '^requests [1-9]' "$T/client.out"
  [[ ! -s $T/client.err ]]
}

# bats test_tags=kit,heavy
@test "client: Ctrl-C while a server has stopped to answer: the report, and exit 1" {
  fake_service stall
  start_tool client timeout --foreground 20 bash -c "exec $CLIENT -p $PORT -c 4 -n 1000"
  wait_for 5 grep -q '^connections 4' "$T/client.out"
  sleep 0.3
  pkill -INT -g "$TOOL_PID" -x client
  wait_for 5 not running "$TOOL_PID"
  run -1 wait "$TOOL_PID"
  grep -qx 'unanswered 4' "$T/client.out"
  grep -q '^client: nothing has come' "$T/client.err"
}

# script(1) gives it a terminal.
# bats test_tags=kit,heavy
@test "client: a progress line on a terminal, and the report after it" {
  need script
  start_server
  timeout 20 script -qec "$CLIENT -p $PORT -c 5 -d 2" /dev/null </dev/null >"$T/screen"
  grep -Eq '5 connections, [1-9][0-9]* replies, [1-9][0-9]* a second' "$T/screen"
  tr '\r' '\n' <"$T/screen" | grep -q '^requests/s [1-9]'
}

@test "client: short writes, EINTR and EAGAIN in every call: each reply is the right one" {
  local call
  start_server
  FAULT_ENV="FAULT_SHORT=7 FAULT_REPORT=$T/report FAULT_FAIL=connect:EINTR:@1,epoll_wait:EINTR:2,\
recv:EINTR:2,recv:EAGAIN:3,send:EINTR:3,send:EAGAIN:4" loads 3000 -c 20 -n 3000 -P 4 -s 40
  for call in epoll_wait recv send; do
    (($(happened "$call" failed) > 100)) || complain "$call: $(happened "$call" failed)"
  done
}

# ---- the client: without load ----

# bats test_tags=kit
@test "client: refused, left, reset or told something else: exit 1 and the reason" {
  local reply
  gives_up() {
    local why=$1
    shift
    NAME=fake$((++fakes)) start_fake -- "$@"
    run -1 --separate-stderr client hello bye
    [[ $stderr =~ ^client:.*$why ]] || complain "not '$why': $stderr"
  }
  gives_up 'no more today' line send:'+hello\n' line send:'-no more today\n' drain
  assert_output +hello
  gives_up 'no reply' line send:'+hello\n' line close
  gives_up ECONNRESET line reset
  for reply in '+other\n' '+hell\n' 'hello\n' '\n' '+\n'; do
    gives_up 'does not fit' line send:"$reply" drain
  done
  FAULT_ENV=FAULT_DELAY=send:400000 gives_up '' sleep:100 half-close sleep:50 reset
}

# ---- usage ----

# bats test_tags=kit,heavy
@test "a number that is none, or out of range: usage, exit 2" {
  local bad option
  PORT=9
  for bad in 0 86401 x '' -1; do
    run -2 timeout 5 bash -c "$SERVER \"\$@\"" server -i "$bad"
    assert_output --partial 'usage: server'
  done
  for option in c n P s d; do
    for bad in 0 -1 x '' 99999999999; do
      run -2 client "-$option" "$bad"
      assert_output --partial 'usage: client'
    done
  done
  run -2 client -s 1
  run -2 client -s 65537
  run -2 client -c 2 hello
  assert_output --partial 'not both'
}
