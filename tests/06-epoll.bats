# What is 06's own: an event loop with callbacks, ten thousand connections, and a load generator.
# The service is judged by 06-line-service.bats; what any TCP program, and any server of many, has
# to stand by 06-tcp.bats and 06-many-clients.bats.

# shellcheck disable=SC2154 # run --separate-stderr sets stderr and stderr_lines
CHAPTER=06-epoll
load helpers/common

setup_file() {
  ahead times_are_those_of_requests client_says_what_went_wrong leave_as_time_is_over \
    goes_on_for_a_second interrupted_in_vain shows_progress wrong_replies_are_found \
    says_that_it_was_idle
  in_turn epoll_ctl_may_fail load_makes_ten_thousand ten_thousand_are_answered
}

# happened CALL FIELD: how often, by the report that the fault shim writes when a process ends.
happened() {
  sed -n "s/^$1 .*\b$2=\([0-9]*\).*/\1/p" "$T/report" | awk '{ sum += $1 } END { print sum + 0 }'
}

# ---- the same text ----

handlers_of() {
  sed -n '/^\/\* ---- connections/,/^\/\* ---- the loop/p' "$ROOT/$1/server.c"
}

# bats test_tags=kit
@test "the connections' part is word for word the same as in 05" {
  run -0 diff <(handlers_of 05-select) <(handlers_of 06-epoll)
  (($(handlers_of 06-epoll | wc -l) > 80))
}

# A program may have as many .c files as it likes: no header has a variable of which each would get
# its own. Here server.c becomes conns.c, which has the connections, and server.c, the rest.
# bats test_tags=kit,slow
@test "a server split into two .c files that include util.h and the same headers works" {
  need cc
  local d=$T/kit/06
  mkdir -p "$d"
  cp "$ROOT/util.h" "$T/kit/"
  cp "$ROOT"/06-epoll/*.[ch] "$d/"
  rm "$d"/{client,load}.c
  mv "$d/server.c" "$T/whole.c"
  {
    echo '#pragma once'
    sed '/---- connections/,$d; s/^static int verbose;/extern int verbose;/' "$T/whole.c" |
      sed 's/^static void conn_restart_timer/void conn_restart_timer/'
    handlers_of 06-epoll | sed -n 's/^static \(.*)\) {$/\1;/p'
  } >"$d/server.h"
  {
    printf '#include "server.h"\nint verbose;\n'
    handlers_of 06-epoll | sed 's/^static //'
  } >"$d/conns.c"
  {
    echo '#include "server.h"'
    sed '1,/---- the loop/d; s/^static \(void conn_restart_timer\)/\1/' "$T/whole.c"
  } >"$d/server.c"
  cc -std=c11 -O1 -o "$T/two-files" "$d"/*.c -pthread
  quote SERVER "$T/two-files"
  start_server -v
  loads 1000 -c 20 -n 1000
  (($(grep -c ' connected$' "$T/server.err") == 20))
  stop_server
}

# ---- ten thousand connections ----

# getrlimit(2), RLIMIT_NOFILE: each is a descriptor, here and there.
ten_thousand_are_answered() {
  need_descriptors 10100
  local before bytes
  start_server
  assert_serving
  before=$(rss_kb "$SERVER_PID")
  start_peer -t 60 -n 10000 "$PORT" send:'hello\n' line ready:"$T/here" until:"$T/go" \
    send:'bye\n' line
  wait_for 60 test -e "$T/here"
  bytes=$((($(rss_kb "$SERVER_PID") - before) * 1024 / 10000))
  [[ ${SAN-} || $GUEST ]] || ((bytes <= 160)) || complain "$bytes bytes for each connection"
  assert_serving
  touch "$T/go"
  finish_peer
  (($(grep -cx +hello "$T/peer.out") == 10000 && $(grep -cx +bye "$T/peer.out") == 10000))
}

# bats test_tags=heavy
@test "10,000 connections: each is answered, and so is a new one; each costs at most 160 bytes" {
  seen ten_thousand_are_answered
}

load_makes_ten_thousand() {
  need_descriptors 10100
  start_server
  CLIENT_WITHIN=60 run -0 --separate-stderr generate_load -c 10000 -n 30000
  assert_line --index 0 'connections 10000'
  assert_line --partial 'requests 30000 in '
  assert_line 'errors 0 (refused 0, wrong 0, lost 0, not connected 0)'
}

# bats test_tags=kit,heavy
@test "load: 10,000 connections get the right replies" {
  seen load_makes_ten_thousand
}

# ---- the loop ----

# epoll(7), "If using an event cache": one event ends a connection, for which another one waits in
# the same batch. Here it is the timer, which comes due first, while the server sleeps (SIGSTOP).
leave_as_time_is_over() {
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

@test "clients that leave at the moment when their timeout expires do no harm" {
  seen leave_as_time_is_over
}

# ---- faults at every call ----

# "Ready" is a hint. What then fails with EAGAIN is tried again when the next event comes.
@test "EINTR and EAGAIN at every call, and short writes: every line is answered" {
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

# malloc(3), ENOMEM: for a new connection, for a line begun, for a reply that has to wait. Where a
# connection costs as many calls as one K says, each loses the same one: hence four K.
# bats test_tags=kit,heavy
@test "every Kth malloc fails: only that connection is closed" {
  [[ -z ${SAN-} ]] || skip 'a sanitizer has a malloc of its own'
  local i k good=0
  for k in 3 5 7 11; do
    NAME=server$k
    FAULT_ENV="FAULT_REPORT=$T/report FAULT_SHORT=5 FAULT_AFTER=listen \
FAULT_FAIL=malloc:ENOMEM:$k" start_server
    for i in {1..15}; do
      run "$PEER" -t 5 "$PORT" send:'hello\nhalf' line send:' a line\n' line half-close eof
      ((status == 0)) || continue
      assert_output $'+hello\n+half a line'
      good=$((good + 1))
    done
    stop_server
  done
  ((good > 0 && good < 60)) || complain "$good of 60"
  (($(happened malloc failed) > 10))
}

# epoll_ctl(2), ENOMEM, ENOSPC: the first calls are the start's. Then one is for the listening
# socket, which is let go of for a moment when accept fails, or for a connection.
epoll_ctl_may_fail() {
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
@test "epoll_ctl fails once, at any call: the start or one connection fails, and nothing else" {
  seen epoll_ctl_may_fail
}

# bats test_tags=kit,heavy
@test "every tenth epoll_ctl fails: connections end, the server does not" {
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
# bats test_tags=slow
@test "a Python client that uses selectors and callbacks gets its replies" {
  need python3
  start_server
  run -0 timeout "$((40 * PATIENCE))" python3 -c 'if True:
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

# ---- the load generator: what it asks, and what it says ----

# figure NAME: the number after that word in $output.
figure() {
  sed -n "s,^$1 \([0-9.]*\).*,\1,p" <<<"$output"
}

# timerfd_create(2). A queue of timeouts has one timer, for its first entry.
@test "a line restarts the idle timeout without a system call, even with one client" {
  need strace
  [[ -z ${SAN-} ]] || skip 'LeakSanitizer does not work under strace'
  local lines
  SERVER="strace -D -qq -e trace=timerfd_settime -o ${T@Q}/calls $SERVER" start_server
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
  run -0 --separate-stderr generate_load "$@"
  assert_equal "$stderr" ''
  assert_equal "$(figure requests)" "$requests"
  assert_line 'unanswered 0'
  assert_line 'errors 0 (refused 0, wrong 0, lost 0, not connected 0)'
}

# fake_service HOW: answers lines, in Python, but not as it should: see there.
fake_service() {
  need python3
  NAME=fake-$1
  start_tool "$NAME" timeout "$((40 * PATIENCE))" python3 -c 'if True:
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
@test "load: the report has connections, requests, rate, percentiles and errors" {
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
@test "load: -c, -n, -P and -s set connections, requests, pipelining and line size" {
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

goes_on_for_a_second() {
  local start
  start_server
  start=$(now_ms)
  run -0 --separate-stderr generate_load -c 5 -d 1
  (($(now_ms) - start >= 1000))
  (($(figure requests) > 100))
  assert_line 'unanswered 0'
}

# bats test_tags=kit,heavy
@test "load: -d N sends requests for N seconds" {
  seen goes_on_for_a_second
}

# The server is slow, so that we know the time of a request: 20 ms, each connection after the other.
times_are_those_of_requests() {
  FAULT_ENV='FAULT_DELAY=send:20000' start_server
  loads 20 -c 2 -n 20
  awk '/^(p|max)/ && $2 < 20000 { exit 1 } /^p50/ && $2 > 1000000 { exit 1 }' <<<"$output"
}

# bats test_tags=kit
@test "load: the reported times are those of the requests" {
  seen times_are_those_of_requests
}

# bats test_tags=kit
@test "load: a pool with fewer workers than connections answers all of them" {
  quote SERVER "$BUILD/04-threadpool/server"
  start_server -w 4
  loads 500 -c 20 -n 500
}

# ---- the load generator: it takes nothing for an answer that is none ----

wrong_replies_are_found() {
  local how
  for how in twice stale flip short; do
    fake_service "$how"
    run -1 --separate-stderr generate_load -c 4 -n 1000 -P 4
    assert_line --partial 'wrong 1,' || complain "$how"
    [[ $stderr =~ ^'load: '(the reply does|a reply that does)' not fit the line sent'$ ]] ||
      complain "$stderr"
  done
}

# bats test_tags=kit,slow
@test "load: finds one wrong, doubled, old or truncated reply in a thousand, and exits 1" {
  seen wrong_replies_are_found
}

# bats test_tags=kit
@test "load: a refusal is counted and shown, the other connections go on, and it exits 1" {
  fake_service refuse
  run -1 --separate-stderr generate_load -c 4 -n 1000
  assert_line 'errors 1 (refused 1, wrong 0, lost 0, not connected 0)'
  assert_line 'unanswered 1'
  assert_equal "$(figure requests)" 999
  assert_equal "$stderr" 'load: the server refuses: no more today'
}

# bats test_tags=kit,slow
@test "load: a connection closed by the server is counted, the others go on, and it exits 1" {
  fake_service close
  run -1 --separate-stderr generate_load -c 4 -n 1000
  assert_line 'errors 1 (refused 0, wrong 0, lost 1, not connected 0)'
  assert_line 'unanswered 1'
  assert_equal "$(figure requests)" 999
  assert_equal "$stderr" 'load: the server closed the connection'
}

# bats test_tags=kit,slow
@test "load: when the server is killed, every connection is counted as lost, and it exits 1" {
  start_server
  start_tool load timeout 20 bash -c "exec $LOAD -p $PORT -c 10 -d 15"
  wait_for 5 grep -q '^connections 10' "$T/load.out"
  sleep 0.2
  stop_server 137 KILL
  tool_ends load 1
  grep -Eqx 'errors 10 \(refused 0, wrong 0, lost 10, not connected 0\)' "$T/load.out"
  grep -Eqx 'load: .*(closed the connection|\((ECONNRESET|EPIPE)\))' "$T/load.err"
}

# bats test_tags=kit
@test "load: connections that cannot be opened are counted, the others go on, and it exits 1" {
  start_server
  FAULT_ENV='FAULT_FAIL=socket:EMFILE:@4,connect:ECONNREFUSED:@8' \
    run -1 --separate-stderr generate_load -c 10 -n 500
  assert_line 'connections 8'
  assert_equal "$(figure requests)" 500
  assert_line 'errors 2 (refused 0, wrong 0, lost 0, not connected 2)'
  [[ $stderr =~ ^load:\ connect:.*EMFILE ]]
}

# bats test_tags=kit
@test "load: with too few descriptors for its connections, it says so at once and exits 1" {
  need prlimit
  start_server
  LOAD="prlimit --nofile=100:100 $LOAD"
  run -1 --separate-stderr generate_load -c 100 -n 500
  [[ $stderr == load:*descriptors* ]]
}

# ---- the load generator: its end ----

# interrupt_load: Ctrl-C for the program itself, not for timeout(1) around it.
interrupt_load() {
  pkill -INT -g "$TOOL_PID" -x load || complain 'load has ended before' || last_words load
}

# signal(7): what is asked is waited for, nothing more is asked, and the report comes.
# bats test_tags=kit,slow
@test "load: Ctrl-C ends the run, and the report is printed" {
  start_server
  start_tool load timeout 20 bash -c "exec $LOAD -p $PORT -c 10 -d 15"
  wait_for 5 grep -q '^connections 10' "$T/load.out"
  sleep 0.3
  interrupt_load
  tool_ends load 0
  grep -qx 'unanswered 0' "$T/load.out"
  grep -q '^requests [1-9]' "$T/load.out"
  [[ ! -s $T/load.err ]]
}

interrupted_in_vain() {
  fake_service stall
  start_tool load timeout 20 bash -c "exec $LOAD -p $PORT -c 4 -n 1000"
  wait_for 5 grep -q '^connections 4' "$T/load.out"
  sleep 0.3
  interrupt_load
  tool_ends load 1
  grep -qx 'unanswered 4' "$T/load.out"
  grep -q '^load: nothing has come' "$T/load.err"
}

# bats test_tags=kit,heavy
@test "load: Ctrl-C while the server does not answer: it prints the report and exits 1" {
  seen interrupted_in_vain
}

# script(1) gives it a terminal.
shows_progress() {
  need script
  start_server
  timeout 20 script -qec "$LOAD -p $PORT -c 5 -d 2" /dev/null </dev/null >"$T/screen"
  grep -Eq '5 connections, [1-9][0-9]* replies, [1-9][0-9]* a second' "$T/screen"
  tr '\r' '\n' <"$T/screen" | grep -q '^requests/s [1-9]'
}

# bats test_tags=kit,heavy
@test "load: on a terminal it shows a progress line, and then the report" {
  seen shows_progress
}

# bats test_tags=slow
@test "load: short writes, EINTR and EAGAIN at every call: all replies are right" {
  local call
  start_server
  FAULT_ENV="FAULT_SHORT=7 FAULT_REPORT=$T/report FAULT_FAIL=connect:EINTR:@1,epoll_wait:EINTR:2,\
recv:EINTR:2,recv:EAGAIN:3,send:EINTR:3,send:EAGAIN:4" loads 3000 -c 20 -n 3000 -P 4 -s 40
  for call in epoll_wait recv send; do
    (($(happened "$call" failed) > 100)) || complain "$call: $(happened "$call" failed)"
  done
}

# ---- the client ----

client_says_what_went_wrong() {
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
  FAULT_ENV=FAULT_DELAY=send:$((1000000 * PATIENCE)) gives_up '' \
    sleep:$((300 * PATIENCE)) half-close sleep:50 reset
}

# bats test_tags=kit,slow
@test "client: a refusal, a close, a reset or a wrong reply: it says so and exits 1" {
  seen client_says_what_went_wrong
}

# typing: a client in the background, to whose keyboard descriptor 9 leads.
typing() {
  mkfifo "$T/keyboard"
  start_tool client bash -c "exec timeout 20 $CLIENT -p $PORT <\"\$0\"" "$T/keyboard"
  exec 9>"$T/keyboard"
}

# bats test_tags=kit
@test "client: it notices at once that the server has ended, although nobody types, and exits 1" {
  start_fake -- line send:'+one\n' close
  typing
  echo one >&9
  tool_ends client 1
  assert_equal "$(<"$T/client.out")" +one
  grep -q '^client: the server closed' "$T/client.err"
}

says_that_it_was_idle() {
  start_server -i 1
  typing
  tool_ends client 1
  grep -qx 'client: -idle for too long' "$T/client.err"
  [[ ! -s $T/client.out ]]
}

# bats test_tags=kit,slow
@test "client: closed for being idle: it shows the server's message and exits 1" {
  seen says_that_it_was_idle
}

# bats test_tags=kit
@test "client: a reply that comes before a request is an error: exit 1" {
  start_fake -- line send:'+one\n+two\n' drain
  typing
  echo one >&9
  tool_ends client 1
  assert_equal "$(<"$T/client.out")" +one
  grep -q '^client: .*does not fit' "$T/client.err"
}

# A pipe delivers what has been written so far, a terminal may do so too.
# bats test_tags=kit
@test "client: exit typed in two pieces ends it; a line that only begins like it is sent" {
  start_fake -- line send:'+exits\n' eof
  typing
  printf ex >&9
  sleep 0.1
  printf 'its\n' >&9
  wait_for 5 grep -qx +exits "$T/client.out"
  printf exi >&9
  sleep 0.1
  printf 't\n' >&9
  NAME=client finish_peer # though its input is still open
  NAME=fake finish_peer
  assert_equal "$(tail -n +2 "$T/fake.out")" exits
}

# bats test_tags=kit
@test "client: a line in pieces is sent when it is complete or the input ends" {
  start_server
  typing
  printf 'hel' >&9
  sleep 0.1
  printf 'lo\nno newline' >&9
  wait_for 5 grep -qx +hello "$T/client.out"
  exec 9>&-
  NAME=client finish_peer
  assert_equal "$(<"$T/client.out")" $'+hello\n+no newline'
}

# script(1) gives it a terminal.
# bats test_tags=kit
@test "client: on a terminal it shows a prompt for each line" {
  need script
  start_server
  (
    echo one
    wait_for 5 grep -q '+one' "$T/screen"
    echo two
    wait_for 5 grep -q '+two' "$T/screen"
    echo exit
  ) | timeout 20 script -qefc "$CLIENT -p $PORT" "$T/screen" >"$T/typescript"
  (($(grep -o '> ' "$T/screen" | wc -l) == 3))
}

# epoll_ctl(2), EPERM: epoll takes no file, nor /dev/zero. Both can always be read.
# bats test_tags=kit
@test "client: a file and a line of 65,536 bytes are sent; longer or endless lines are refused" {
  start_server
  seq 2000 >"$T/sent"
  printf '%065535d\n' 7 >>"$T/sent"
  sed 's/^/+/' "$T/sent" >"$T/expected"
  client <"$T/sent" >"$T/received"
  same_bytes "$T/expected" "$T/received"
  printf 'one\n%0100000d\ntwo\n' 7 >"$T/sent"
  run -1 --separate-stderr client <"$T/sent"
  assert_output +one
  [[ $stderr == 'client: -line of more than 65536 bytes' ]]
  run -1 --separate-stderr client </dev/zero
  [[ $stderr == 'client: -line of more than 65536 bytes' ]]
}

@test "client: short writes, EINTR and EAGAIN at every call: no byte is lost or doubled" {
  start_server
  seq 1000000 1001000 >"$T/sent"
  sed 's/^/+/' "$T/sent" >"$T/expected"
  FAULT_ENV="FAULT_SHORT=7 FAULT_REPORT=$T/report FAULT_FAIL=connect:EINTR:@1,epoll_wait:EINTR:2,\
recv:EINTR:2,recv:EAGAIN:3,send:EINTR:3,send:EAGAIN:4" client <"$T/sent" >"$T/received"
  same_bytes "$T/expected" "$T/received"
  (($(happened send failed) > 100 && $(happened recv failed) > 100))
}

# ---- usage ----

# bats test_tags=kit,heavy
@test "an option that is not a number, or out of range: usage on stderr, exit 2" {
  local bad option
  PORT=9
  for bad in 0 86401 x '' -1; do
    run -2 timeout 5 bash -c "$SERVER \"\$@\"" server -i "$bad"
    assert_output --partial 'usage: server'
  done
  for option in c n P s d; do
    for bad in 0 -1 x '' 99999999999; do
      run -2 generate_load "-$option" "$bad"
      assert_output --partial 'usage: load'
    done
  done
  run -2 generate_load -s 1
  run -2 generate_load -s 65537
  run -2 generate_load -c 2 hello
  assert_output --partial 'no arguments'
  run -0 generate_load -h
  assert_output --regexp '^usage: load .*-a ADDR.*-p PORT.*-c N'
}
