# What only 05 has: one thread that serves every client that is ready, the size of an fd_set, and a
# client that watches the keyboard and the server at once. 05-line-service.bats tests the service;
# 05-tcp.bats and 05-many-clients.bats test what every TCP program, and every server with many
# clients, has to withstand.

# shellcheck disable=SC2154 # run --separate-stderr sets stderr and stderr_lines
CHAPTER=05-select
load helpers/common

FD_SETSIZE=1024 # select(2)
SPARE=16        # of these, for clients that get a refusal

setup_file() {
  ahead those_beyond_an_fd_set_are_told client_survives_sigpipe refused_before_it_has_sent \
    says_that_it_was_idle
  in_turn client_gets_32_mb_back
}

# happened CALL FIELD: how often, by the report that the fault shim writes when the server ends.
happened() {
  sed -n "s/^$1 .*\b$2=\([0-9]*\).*/\1/p" "$T/report" | awk '{ sum += $1 } END { print sum + 0 }'
}

# make_lines BYTES: writes them to $T/sent, as lines of 8, and the replies to $T/expected.
make_lines() {
  seq 1000000 $((1000000 + $1 / 8 - 1)) >"$T/sent"
  sed 's/^/+/' "$T/sent" >"$T/expected"
}

# lines_of NAME LINE: how often that peer has received LINE.
lines_of() {
  grep -cx -- "$2" "$T/$1.out" || true
}

# ---- FD_SETSIZE ----

# select(2), BUGS: FD_SET with a descriptor that does not fit writes where it should not. Fortified
# code aborts, AddressSanitizer reports, other code goes wrong later.
those_beyond_an_fd_set_are_told() {
  need_descriptors $((FD_SETSIZE + 100))
  local fit
  start_server
  fit=$((FD_SETSIZE - SPARE - $(fds "$SERVER_PID")))
  start_peer -n 1000 "$PORT" send:'hello\n' line ready:"$T/here" until:"$T/go" send:'still here\n' \
    line
  wait_for 10 test -e "$T/here"
  NAME=late start_peer -n 100 "$PORT" send:'hello\n' line ready:"$T/there" silent
  wait_for 10 test -e "$T/there"
  (($(lines_of peer +hello) == 1000))
  (($(lines_of late +hello) == fit - 1000))
  (($(lines_of late '-too many clients') == 1100 - fit))
  # No reset destroys it, though the client is slow to read and goes on to send.
  run -0 "$PEER" -r 20 "$PORT" sleep:5 send:'hello\n' sleep:20 send:'hello\n' sleep:20 eof
  assert_equal "$(sort -u <<<"$output")" '-too many clients'
  touch "$T/go"
  finish_peer
  (($(lines_of peer '+still here') == 1000))
  assert_serving
}

# bats test_tags=kit,slow
@test "1,100 clients: those that fit into an fd_set are served, the others get a refusal" {
  seen those_beyond_an_fd_set_are_told
}

# It starts with few descriptors and may raise that: setrlimit(2). If not, clients wait: 05-tcp.bats
# bats test_tags=kit
@test "a soft limit of 24 descriptors: the server raises it, and serves 100 clients at once" {
  need prlimit
  need_descriptors 200
  SERVER="prlimit --nofile=24: $SERVER"
  start_server
  "$PEER" -n 100 "$PORT" lines:10 lines-back:10 send:'hello\n' line >"$T/replies"
  (($(wc -l <"$T/replies") == 100))
}

# It inherits 1,024 open descriptors, so that its own do not fit.
# bats test_tags=kit
@test "a listening socket that does not fit into an fd_set: the server says so, exit 1" {
  need_descriptors $((FD_SETSIZE + 8))
  local opened
  opened=$(printf 'exec %d</dev/null; ' {3..1023})
  # LeakSanitizer needs descriptors, of which there are none left.
  run -1 env ASAN_OPTIONS=detect_leaks=0 timeout 10 bash -c \
    "ulimit -n $((FD_SETSIZE + 8)); $opened exec $SERVER -p 0"
  assert_output --regexp '^server: .*Too many open files \(EMFILE\)$'
}

# ---- faults at every call ----

# "Ready" is a hint: select(2), BUGS. A call that then fails with EAGAIN is repeated later.
@test "EINTR, EAGAIN from ready sockets, and short writes at every call: every line is answered" {
  local call
  FAULT_ENV="FAULT_REPORT=$T/report FAULT_SHORT=50 FAULT_FAIL=select:EINTR:3,accept:EAGAIN:2,\
accept:EINTR:3,recv:EAGAIN:2,recv:EINTR:3,send:EAGAIN:2,send:EINTR:3" start_server
  "$PEER" -n 20 "$PORT" lines:200 lines-back:200 half-close eof
  "$PEER" -n 20 "$PORT" dribble:1:'one\n' lines:10 line lines-back:10 >"$T/ones"
  make_lines 400000
  "$PEER" "$PORT" echo:"$T/sent" >"$T/received"
  same_bytes "$T/expected" "$T/received"
  stop_server
  for call in select accept recv send; do
    (($(happened "$call" failed) > 15)) || complain "$call: $(happened "$call" failed)"
  done
  (($(happened send shortened) > 1000))
}

# malloc(3), ENOMEM: for a new connection, for a partial line, for a reply that has to wait. If a
# connection makes exactly K calls, the same one fails in each: hence four values of K.
# bats test_tags=kit,heavy
@test "every Kth malloc fails: that connection is closed; the others and the server continue" {
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

# ---- other clients ----

# From the articles on Python: setblocking(0), after which a call raises BlockingIOError instead of
# waiting, and select with three sets; messages wait until the socket is writable.
# bats test_tags=slow
@test "a Python client with five non-blocking sockets and select gets its replies" {
  need python3
  start_server
  run -0 timeout "$((40 * PATIENCE))" python3 -c 'if True:
    import errno, select, socket, sys
    waiting, replies = {}, {}
    for name in range(5):
        client = socket.socket()
        client.setblocking(0)
        assert client.connect_ex(("127.0.0.1", int(sys.argv[1]))) == errno.EINPROGRESS
        waiting[client] = [f"client {name}: {word}\n".encode() for word in ("hello", "bye")]
        replies[client] = b""
    try:
        client.recv(1024)
    except BlockingIOError:
        print("nothing to read yet")
    while replies:
        outputs = [client for client in replies if waiting[client]]
        readable, writable, exceptional = select.select(list(replies), outputs, list(replies))
        assert not exceptional
        for client in writable:
            client.send(waiting[client].pop(0))
        for client in readable:
            replies[client] += client.recv(1024)
            if replies[client].count(b"\n") == 2:
                print(replies.pop(client).decode(), end="")
                client.close()
  ' "$PORT"
  assert_line 'nothing to read yet'
  assert_equal "${#lines[@]}" 11
  assert_line '+client 4: hello'
  assert_line '+client 0: bye'
}

# ---- the client ----

# typing COMMAND…: starts a client in the background; descriptor 9 is its keyboard.
typing() {
  mkfifo "$T/keyboard"
  start_tool client bash -c "exec timeout 20 $CLIENT -p $PORT <\"\$0\"" "$T/keyboard"
  exec 9>"$T/keyboard"
}

# gives_up WHY VERB…: a client sends two lines to a server that does these verbs. It exits 1, not
# 141 (ended by SIGPIPE), and says why.
gives_up() {
  local why=$1
  shift
  NAME=fake$((++fakes)) start_fake -- "$@"
  run -1 --separate-stderr client one two
  [[ $stderr =~ ^(.*$'\n')?client:.*$why ]] || complain "not '$why': $stderr"
}

# bats test_tags=kit
@test "client: it shows at once what the server says, though nobody types" {
  start_fake -- line send:'+one\n' until:"$T/go" send:'+unasked\n' drain
  typing
  echo one >&9
  wait_for 5 grep -qx +one "$T/client.out"
  touch "$T/go"
  wait_for 5 grep -qx +unasked "$T/client.out"
}

# bats test_tags=kit
@test "client: it notices at once that the server closes, though nobody types: exit 1" {
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
  grep -qx -- '-idle for too long' "$T/client.err"
  [[ ! -s $T/client.out ]]
}

# bats test_tags=kit
@test "client: closed for being idle while nobody types: it shows the server's message, exit 1" {
  seen says_that_it_was_idle
}

# A pipe delivers what has been written so far; a terminal may do so, too.
# bats test_tags=kit
@test "client: exit typed in two pieces ends it; a line that only begins like it is sent" {
  start_fake -- line send:'+exits\n' eof
  typing
  printf ex >&9
  sleep 0.1
  printf 'it' >&9
  sleep 0.1
  printf 's\n' >&9
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

# script(1) gives it a terminal. The prompt comes when every line has its reply.
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

# A client that sends all before it reads waits for ever as soon as the buffers of both kernels are
# full of bytes that nobody reads. ulimit(1): it has no memory for the whole file either.
client_gets_32_mb_back() {
  start_server
  make_lines 32000000
  (
    [[ ${SAN-} ]] || ulimit -v 30000
    client <"$T/sent" >"$T/received"
  )
  same_bytes "$T/expected" "$T/received"
}

# bats test_tags=heavy
@test "client: 32 MB from stdin come back byte for byte, and its memory stays small" {
  seen client_gets_32_mb_back
}

# bats test_tags=kit
@test "client: a line of 65,536 bytes is answered; a longer one is refused after the replies" {
  start_server
  printf '%065535d\n' 7 >"$T/sent"
  sed 's/^/+/' "$T/sent" >"$T/expected"
  client <"$T/sent" >"$T/received"
  same_bytes "$T/expected" "$T/received"
  printf 'one\n%0100000d\ntwo\n' 7 >"$T/sent"
  run -1 --separate-stderr client <"$T/sent"
  assert_output +one
  [[ ${stderr_lines[0]} == -*65536* ]]
  [[ ${stderr_lines[1]} == client:*refused* ]]
}

# bats test_tags=kit
@test "client: refused, closed or reset before all is answered: it says why and exits 1" {
  gives_up refused line send:'-no more today\n' drain
  [[ $stderr == *'-no more today'* ]]
  refute_output
  gives_up refused line line send:'+one\n-no more today\n' drain
  assert_output +one
  gives_up closed line line send:'+one\n' close
  gives_up '(ECONNRESET|EPIPE)' line line reset
  gives_up '(ECONNRESET|EPIPE|closed)' reset
  gives_up '(ECONNRESET|EPIPE|closed)' close
}

# send(2), EPIPE: it writes after the server's FIN and reset.
client_survives_sigpipe() {
  FAULT_ENV=FAULT_DELAY=send:$((1000000 * PATIENCE)) gives_up '' \
    sleep:$((300 * PATIENCE)) half-close sleep:50 reset
}

# bats test_tags=kit
@test "client: SIGPIPE does not end it" {
  seen client_survives_sigpipe
}

# The refusal, and a reset behind it, arrive while the client is about to send.
refused_before_it_has_sent() {
  FAULT_ENV=FAULT_DELAY=send:$((600000 * PATIENCE)) gives_up 'the server refused' \
    send:'-no more today\n' sleep:$((200 * PATIENCE)) reset
  [[ $stderr == *$'\n''-no more today'* || $stderr == '-no more today'* ]]
}

# bats test_tags=kit
@test "client: refused and reset before it sends anything: it shows the server's message, exit 1" {
  seen refused_before_it_has_sent
}

@test "client: 7-byte writes, EINTR and EAGAIN at every call: no byte is lost or doubled" {
  start_server
  make_lines 80000
  FAULT_ENV="FAULT_SHORT=7 FAULT_REPORT=$T/report FAULT_FAIL=connect:EINTR:@1,select:EINTR:2,\
recv:EINTR:2,recv:EAGAIN:3,send:EINTR:3,send:EAGAIN:4" client <"$T/sent" >"$T/received"
  same_bytes "$T/expected" "$T/received"
  grep -q '^send .*failed=[0-9]\{4\}.* shortened=[0-9]\{5\}' "$T/report"
  grep -q '^select .*failed=[0-9]\{3\}' "$T/report"
}

# ---- usage ----

# bats test_tags=kit
@test "an option that is not a number, or out of range: usage on stderr, exit 2" {
  local bad
  for bad in 0 86401 x '' -1; do
    run -2 timeout 5 bash -c "$SERVER \"\$@\"" server -i "$bad"
    assert_output --partial 'usage: server'
  done
}
