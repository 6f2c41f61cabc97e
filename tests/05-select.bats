# What is 05's own: one thread that serves whoever is ready, the size of an fd_set, a client that
# watches the keyboard and the server at once. The service is judged by 05-line-service.bats; what
# any TCP program, and any server of many, has to stand by 05-tcp.bats and 05-many-clients.bats.

# shellcheck disable=SC2154 # run --separate-stderr sets stderr and stderr_lines
CHAPTER=05-select
load helpers/common

FD_SETSIZE=1024 # select(2)
SPARE=16        # of these, for those who get a refusal

# happened CALL FIELD: how often, by the report that the fault shim writes when the server ends.
happened() {
  sed -n "s/^$1 .*\b$2=\([0-9]*\).*/\1/p" "$T/report" | awk '{ sum += $1 } END { print sum + 0 }'
}

# make_lines BYTES: so many in $T/sent, as lines of 8, and in $T/expected the reply to them.
make_lines() {
  seq 1000000 $((1000000 + $1 / 8 - 1)) >"$T/sent"
  sed 's/^/+/' "$T/sent" >"$T/expected"
}

# lines_of NAME LINE: how many of them that peer has received.
lines_of() {
  grep -cx -- "$2" "$T/$1.out" || true
}

# ---- FD_SETSIZE ----

# select(2), BUGS: FD_SET with a descriptor that does not fit writes where it should not. Fortified
# code aborts, AddressSanitizer reports, other code goes wrong later.
# bats test_tags=kit
@test "1,100 clients: those that fit an fd_set are served, the others are told: too many clients" {
  (($(ulimit -Hn) >= FD_SETSIZE + 100)) || skip "this user may not have so many descriptors"
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

# Its descriptors are few, but it may have more: setrlimit(2). Where not, clients wait: 05-tcp.bats.
# bats test_tags=kit
@test "a soft limit of 24 descriptors is raised: 100 clients at once are served" {
  need prlimit
  (($(ulimit -Hn) >= 200)) || skip "this user may not have so many descriptors"
  SERVER="prlimit --nofile=24: $SERVER"
  start_server
  "$PEER" -n 100 "$PORT" lines:10 lines-back:10 send:'hello\n' line >"$T/replies"
  (($(wc -l <"$T/replies") == 100))
}

# It inherits 1,024 open descriptors, so that its own do not fit.
# bats test_tags=kit
@test "a listening socket that does not fit an fd_set: it says so, exit 1" {
  (($(ulimit -Hn) >= FD_SETSIZE + 8)) || skip "this user may not have so many descriptors"
  local opened
  opened=$(printf 'exec %d</dev/null; ' {3..1023})
  # LeakSanitizer needs descriptors, of which there are none left.
  run -1 env ASAN_OPTIONS=detect_leaks=0 timeout 10 bash -c \
    "ulimit -n $((FD_SETSIZE + 8)); $opened exec $SERVER -p 0"
  assert_output --regexp '^server: .*Too many open files \(EMFILE\)$'
}

# ---- faults at every call ----

# "Ready" is a hint: select(2), BUGS. What then fails with EAGAIN is tried again later.
@test "EINTR, and EAGAIN from ready sockets, at every call; short writes: every line is answered" {
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

# malloc(3), ENOMEM: for a new connection, for a line begun, for a reply that has to wait.
# bats test_tags=kit,heavy
@test "every fifth malloc fails: that connection is closed, the others and the server go on" {
  [[ -z ${SAN-} ]] || skip 'a sanitizer has a malloc of its own'
  local i good=0
  FAULT_ENV="FAULT_REPORT=$T/report FAULT_SHORT=5 FAULT_FAIL=malloc:ENOMEM:5" start_server
  for i in {1..60}; do
    run "$PEER" -t 5 "$PORT" send:'hello\nhalf' line send:' a line\n' line half-close eof
    ((status == 0)) || continue
    assert_output $'+hello\n+half a line'
    good=$((good + 1))
  done
  ((good > 0 && good < 60))
  stop_server
  (($(happened malloc failed) > 20))
}

# ---- other clients ----

# Of the Python articles: setblocking(0), where a call raises BlockingIOError, does not wait, and
# select with three sets; what is to be sent waits until the socket is writable.
@test "a Python program with five non-blocking sockets and select talks to it" {
  need python3
  start_server
  run -0 timeout 10 python3 -c 'if True:
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

# typing COMMAND…: a client in the background, to whose keyboard descriptor 9 leads.
typing() {
  mkfifo "$T/keyboard"
  start_tool client bash -c "exec timeout 20 $CLIENT -p $PORT <\"\$0\"" "$T/keyboard"
  exec 9>"$T/keyboard"
}

# gives_up WHY VERB…: a client sends two lines to a server that does these verbs. It exits 1, no 141
# (death by SIGPIPE), and says why.
gives_up() {
  local why=$1
  shift
  NAME=fake$((++fakes)) start_fake -- "$@"
  run -1 --separate-stderr client one two
  [[ $stderr =~ ^(.*$'\n')?client:.*$why ]] || complain "not '$why': $stderr"
}

# bats test_tags=kit
@test "client: what the server says is shown at once, though nobody types" {
  start_fake -- line send:'+one\n' until:"$T/go" send:'+unasked\n' drain
  typing
  echo one >&9
  wait_for 5 grep -qx +one "$T/client.out"
  touch "$T/go"
  wait_for 5 grep -qx +unasked "$T/client.out"
}

# bats test_tags=kit
@test "client: that the server ends is noticed at once, though nobody types: exit 1" {
  start_fake -- line send:'+one\n' close
  typing
  echo one >&9
  wait_for 5 not running "$TOOL_PID"
  run -1 wait "$TOOL_PID"
  assert_equal "$(<"$T/client.out")" +one
  grep -q '^client: the server closed' "$T/client.err"
}

# bats test_tags=kit
@test "client: refused for being idle while nobody types: the server's words, exit 1" {
  start_server -i 1
  typing
  printf 'half a line' >&9
  wait_for 5 not running "$TOOL_PID"
  run -1 wait "$TOOL_PID"
  grep -qx -- '-idle for too long' "$T/client.err"
  [[ ! -s $T/client.out ]]
}

# A pipe delivers what has been written so far, a terminal may do so too.
# bats test_tags=kit
@test "client: exit in two pieces is not sent; what begins like it is" {
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
@test "client: a line in pieces is sent when it is complete, or at the end of the input" {
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

# script(1) gives it a terminal. The prompt comes when all that was asked is answered.
# bats test_tags=kit
@test "client: a prompt for each line on a terminal" {
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

# A client that sends all before it reads stops for ever as soon as the buffers of both kernels are
# full of what nobody reads. ulimit(1): it has no room for the whole file either.
# bats test_tags=heavy
@test "client: 32 MB through stdin come back byte for byte, with little memory" {
  start_server
  make_lines 32000000
  (
    [[ ${SAN-} ]] || ulimit -v 30000
    client <"$T/sent" >"$T/received"
  )
  same_bytes "$T/expected" "$T/received"
}

# bats test_tags=kit
@test "client: a line of 65,536 bytes is answered; a longer one refused, after the replies" {
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
@test "client: refused, left or reset before all is answered: exit 1 and the reason" {
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
# bats test_tags=kit
@test "client: it does not die by SIGPIPE" {
  FAULT_ENV=FAULT_DELAY=send:400000 gives_up '' sleep:100 half-close sleep:50 reset
}

@test "client: writes of 7 bytes, EINTR and EAGAIN in every call: no byte lost or doubled" {
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
@test "a number that is none, or out of range: usage, exit 2" {
  local bad
  for bad in 0 86401 x '' -1; do
    run -2 timeout 5 bash -c "$SERVER \"\$@\"" server -i "$bad"
    assert_output --partial 'usage: server'
  done
}
