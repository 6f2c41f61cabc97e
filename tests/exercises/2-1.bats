# 2-1, the echo of datagrams at a path: -a unix:PATH.
# bats file_tags=2-1

# shellcheck disable=SC2154 # run --separate-stderr sets stderr
CHAPTER=02-udp
load ../helpers/common

# python CODE [ARGUMENT…]: with functions that make a client with a name, get an answer, and ask.
python() {
  need python3
  timeout $((20 * PATIENCE)) python3 -c "if True:
    import os, socket, sys, time
    server = sys.argv[1]
    def client(name=None):
        s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        s.settimeout(2)
        if name is not None:
            s.bind(name)
        return s
    def answer(s):
        try:
            return s.recv(300000)
        except TimeoutError:
            return b'nothing'
    def ask(s, data):
        s.sendto(data, server)
        return answer(s)
    $1" "$T/s" "${@:2}"
}

# echoes MESSAGE: a client gets it back.
echoes() {
  echo "$1" >"$T/expected"
  client -a "unix:$T/s" "$1" >"$T/received"
  same_bytes "$T/expected" "$T/received"
}

# refuses LINE ARGUMENT…: the server does not start, and says why on stderr.
refuses() {
  local line=$1
  shift
  run -1 --separate-stderr bash -c "timeout 10 $SERVER \"\$@\"" server "$@"
  assert_equal "$stderr" "$line"
}

# unix(7). An empty datagram is a datagram; two never become one.
@test "-a unix:PATH: it says where it listens, and echoes each datagram of 0 to 65,507 bytes" {
  start_server -a "unix:$T/s"
  assert_equal "$(<"$T/server.out")" "listening on unix:$T/s"
  run -0 python '
    c = client(sys.argv[2])
    for size in 5, 0, 1, 1024, 4097, 65507:
        sent = os.urandom(size)
        if (came := ask(c, sent)) != sent:
            print("%d bytes were sent, %d came" % (size, len(came)))
    c.sendto(b"one", server)
    c.sendto(b"two", server)
    print(answer(c).decode(), answer(c).decode())' "$T/c"
  assert_output 'one two'
}

# unix(7): a client has the path it has bound, or a name in no file system, or none at all.
@test "each client with a name gets its answer; a client without one does no harm" {
  start_server -a "unix:$T/s"
  run -0 python '
    a, b, c, nobody = client(server + "2"), client(sys.argv[2]), client(""), client()
    nobody.sendto(b"0", server)
    for s in a, b, c:
        s.sendto(b"%d" % s.fileno(), server)
    nobody.sendto(b"0", server)
    for s in c, b, a:
        print(answer(s) == b"%d" % s.fileno())' "$T/c"
  assert_equal "$output" $'True\nTrue\nTrue'
}

# recv(2), MSG_TRUNC. No header limits the length here, only the buffer of the sender's socket.
@test "a datagram of 150,000 bytes is echoed in full or not at all" {
  start_server -a "unix:$T/s"
  run -0 python '
    c = client(sys.argv[2])
    c.sendto(b"x" * 150000, server)
    answer = ask(c, b"next")
    print(len(answer) if answer[:1] == b"x" else answer)' "$T/c"
  [[ $output == @("b'next'"|150000) ]] || complain "the echo has $output bytes"
}

# unix(7): datagrams are not lost; when the receiver does not read, its sender blocks.
@test "a client that never reads its answers does not delay the others" {
  start_server -a "unix:$T/s"
  run -0 python '
    deaf, other = client(sys.argv[2]), client("")
    deaf.settimeout(0.5)
    try:
        for i in range(1500):
            deaf.sendto(b"x", server)
        print(ask(other, b"hello"))
    except TimeoutError:
        print("it waits: the server takes nothing any more")' "$T/c"
  assert_output "b'hello'"
}

# unix(7): data that its receiver has not read counts against its sender's SO_SNDBUF. The server has
# one for all clients. Answers are then lost, as the README says, and the server goes on.
@test "unread large answers cost other clients their answers only until they are read" {
  start_server -a "unix:$T/s"
  run -0 python '
    deaf, other = client(sys.argv[2]), client("")
    for i in range(8):
        deaf.sendto(b"x" * 60000, server)
    other.settimeout(0.2)
    ask(other, b"now")
    deaf.settimeout(0.2)
    while answer(deaf) != b"nothing":
        pass
    while answer(other) != b"nothing":
        pass
    other.settimeout(2)
    print(ask(other, b"hello"))' "$T/c"
  assert_output "b'hello'"
}

# rename(2): a client keeps the name that it was given, even if its file has been moved.
@test "a client that has the server's own name does not make the server talk to itself" {
  local before used
  start_server -a "unix:$T/s"
  run -0 python '
    moved, c = sys.argv[2:]
    os.rename(server, moved)
    twin = client(server)
    os.remove(server)
    os.rename(moved, server)
    twin.sendto(b"hello", server)
    print(ask(client(c), b"hello"))' "$T/moved" "$T/c"
  assert_output "b'hello'"
  before=$(cpu_ticks "$SERVER_PID")
  sleep 0.5
  used=$((($(cpu_ticks "$SERVER_PID") - before) * 1000 / $(getconf CLK_TCK)))
  ((used < 50)) || complain "it took $used ms of processor time in half a second"
}

# umask(2), unix(7): sending needs the right to write. A chmod after bind would be too late.
@test "the socket has mode 600 whatever the umask, and is removed when the server ends" {
  umask 0
  start_server -a "unix:$T/s"
  assert_equal "$(stat -c %a "$T/s")" 600
  stop_server
  [[ ! -e $T/s ]] || complain "$T/s is still there"
}

# Somebody may have removed its file. What is there now is not ours: another server, or a text.
# bats test_tags=kit
@test "a file that has replaced the socket file is left in place when the server ends" {
  start_server -a "unix:$T/s"
  rm "$T/s"
  NAME=other start_server -a "unix:$T/s"
  stop_server
  echoes hello
  rm "$T/s"
  echo precious >"$T/s"
  NAME=other stop_server
  assert_equal "$(<"$T/s")" precious
}

# unix(7): the file stays when its server dies, and then bind fails with EADDRINUSE.
@test "a stale socket file, left by a server that was killed, is replaced" {
  start_server -a "unix:$T/s"
  stop_server 137 KILL
  [[ -S $T/s ]]
  start_server -a "unix:$T/s"
  run -0 python 'print(ask(client(sys.argv[2]), b"hello"))' "$T/c"
  assert_output "b'hello'"
}

# flock(2). The shim makes each server wait between its look at the stale socket and the next step.
# bats test_tags=kit
@test "two servers start at once on a stale path: one listens, the other says so and exits 1" {
  local name
  start_server -a "unix:$T/s"
  stop_server 137 KILL
  for name in one other; do
    start_tool $name "${SHIM_ENV[@]}" FAULT_DELAY=close:300000 bash -c "exec $SERVER \"\$@\"" \
      server -a "unix:$T/s"
  done
  wait_for 5 grep -q . "$T/one.err" "$T/other.err"
  wait_for 5 grep -q . "$T/one.out" "$T/other.out"
  run -0 cat "$T/one.err" "$T/other.err"
  assert_output "server: bind unix:$T/s: Address already in use (EADDRINUSE)"
  run -0 cat "$T/one.out" "$T/other.out"
  assert_output "listening on unix:$T/s"
}

# unix(7), "Abstract": a name that begins with a NUL byte has no file, and so no mode either.
# bats test_tags=kit
@test "unix: without a path is refused by the server and the client" {
  local PORT=1
  refuses 'server: unix: needs a path, as in unix:/tmp/echo' -a unix:
  run -1 --separate-stderr client -a unix: hello
  assert_equal "$stderr" 'client: unix: needs a path, as in unix:/tmp/echo'
}

# sys/un.h: sun_path has 108 bytes.
# bats test_tags=kit
@test "a path in use, a file, a link, a path too long: the reason, exit 1, nothing is changed" {
  local path
  start_server -a "unix:$T/s"
  echo precious >"$T/file"
  ln -s s "$T/link"
  for path in s file link; do
    refuses "server: bind unix:$T/$path: Address already in use (EADDRINUSE)" -a "unix:$T/$path"
  done
  refuses 'server: a path of more than 107 bytes does not fit into a struct sockaddr_un' \
    -a "unix:$(printf '%0108d' 0)"
  assert_equal "$(<"$T/file")" precious
  echoes hello
}

# ECMA-48: ESC and the bytes from 0x80 to 0x9f can control a terminal.
# bats test_tags=kit
@test "-v shows the client's path without any byte that a terminal would obey" {
  start_server -v -a "unix:$T/s"
  run -0 python 'print(ask(client(sys.argv[2]), b"hi"))' "$T/"$'\e[31m\n'
  assert_output "b'hi'"
  assert_equal "$(<"$T/server.err")" "from unix:$T/.[31m., 2 bytes: hi"
}

# ---- the client ----

# bats test_tags=kit
@test "client: prints each reply, leaves no file; a message too long is refused, not cut" {
  local longest=$T/longest
  start_server -a "unix:$T/s"
  run -0 --separate-stderr client -a "unix:$T/s" one '' 'two words'
  assert_equal "$output" $'one\n\ntwo words'
  [[ $stderr == '3 sent, 3 received, 0 retried, 0 lost; '* ]]
  assert_equal "$(find "$T" -type s)" "$T/s"
  head -c 65499 /dev/zero | tr '\0' x >"$longest"
  client -a "unix:$T/s" <"$longest" >"$T/received" 2>/dev/null
  echo | cat "$longest" - >"$T/expected"
  same_bytes "$T/expected" "$T/received"
  run -1 --separate-stderr client -a "unix:$T/s" < <(cat "$longest" "$longest")
  assert_equal "$output|${stderr_lines[1]}" "|client: unix:$T/s: Message too long (EMSGSIZE)"
}

# unix(7): a sender waits while the queue of the receiver is full. The client has a time limit.
# bats test_tags=kit
@test "client: the server hangs and its queue is full: it gives its messages up in time" {
  local start
  start_server -a "unix:$T/s"
  kill -STOP "$SERVER_PID"
  run -0 python '
    c = client()
    c.setblocking(False)
    try:
        while True:
            c.sendto(b"x", server)
    except BlockingIOError:
        print("full")'
  assert_output full
  start=$(now_ms)
  run timeout $((20 * PATIENCE)) bash -c "$CLIENT -t 20 -r 2 -a unix:${T@Q}/s one two"
  kill -CONT "$SERVER_PID"
  assert_equal "$output" '2 sent, 0 received, 2 retried, 2 lost'
  (($(now_ms) - start < 4000 * PATIENCE))
}

# connect(2): ENOENT, ECONNREFUSED.
# bats test_tags=kit
@test "client: no such path, or no server behind it any more: the reason, exit 1" {
  start_server -a "unix:$T/s"
  stop_server 137 KILL
  run -1 --separate-stderr client -a "unix:$T/none" hello
  assert_equal "$stderr" "client: unix:$T/none: No such file or directory (ENOENT)"
  run -1 --separate-stderr client -a "unix:$T/s" hello
  assert_equal "$stderr" "client: unix:$T/s: Connection refused (ECONNREFUSED)"
}
