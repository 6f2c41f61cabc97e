# 1-3, the echo service on a Unix-domain socket: -a unix:PATH.
# bats file_tags=1-3

# shellcheck disable=SC2154 # run --separate-stderr sets stderr
CHAPTER=01-basic-tcp
load ../helpers/common

PORT=1 # of a Unix socket nobody asks, but `client` gives the client one

# echoes MESSAGE [PATH]: a client gets it back.
echoes() {
  need nc
  echo "$1" >"$T/expected"
  timeout 10 nc -N -U "${2:-$T/s}" <"$T/expected" >"$T/received"
  same_bytes "$T/expected" "$T/received"
}

# refuses LINE ARGUMENT…: the server does not start, and says why on stderr.
refuses() {
  local line=$1
  shift
  run -1 --separate-stderr bash -c "timeout 10 $SERVER \"\$@\"" server "$@"
  assert_equal "$stderr" "$line"
}

# unix(7); the rest is as with TCP.
@test "-a unix:PATH: the server says where it listens, and echoes" {
  start_server -a "unix:$T/s"
  assert_equal "$(<"$T/server.out")" "listening on unix:$T/s"
  echoes hello
  echoes 'and again'
}

@test "2 MB are echoed byte for byte" {
  need nc
  start_server -a "unix:$T/s"
  head -c 2000000 /dev/urandom >"$T/bytes"
  timeout 10 nc -N -U "$T/s" <"$T/bytes" >"$T/received"
  same_bytes "$T/bytes" "$T/received"
}

# umask(2), unix(7): connecting needs the right to write. A chmod after bind would be too late.
@test "only its owner may use the socket: it has mode 600 from the moment it exists" {
  umask 0
  start_server -a "unix:$T/s"
  assert_equal "$(stat -c %a "$T/s")" 600
  if command -v strace >/dev/null && [[ ! ${SAN-} ]]; then
    NAME=traced SERVER="strace -f -e trace=chmod,fchmod,fchmodat -o ${T@Q}/trace $SERVER"
    NAME=traced start_server -a "unix:$T/traced"
    run ! grep chmod "$T/trace"
  fi
}

# bats test_tags=kit
@test "the server removes its socket file when it ends" {
  start_server -a "unix:$T/s"
  echoes hello
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
  echoes hello
}

# bats test_tags=kit
@test "a path where a server listens: a second server says so and exits 1; the first is unharmed" {
  start_server -a "unix:$T/s"
  refuses "server: bind unix:$T/s: Address already in use (EADDRINUSE)" -a "unix:$T/s"
  echoes hello
}

# bats test_tags=kit
@test "a path that is a file, a directory or a link to a socket is left alone: exit 1" {
  local path
  echo precious >"$T/file"
  mkdir "$T/dir"
  start_server -a "unix:$T/s"
  stop_server 137 KILL
  ln -s s "$T/link"
  for path in file dir link; do
    refuses "server: bind unix:$T/$path: Address already in use (EADDRINUSE)" -a "unix:$T/$path"
  done
  assert_equal "$(<"$T/file")" precious
  [[ -d $T/dir && -L $T/link && -S $T/s ]]
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
  refuses 'server: unix: needs a path, as in unix:/tmp/echo' -a unix:
  run -1 --separate-stderr client -a unix: hello
  assert_equal "$stderr" 'client: unix: needs a path, as in unix:/tmp/echo'
}

# connect(2): EAGAIN. A blocking connect would wait until the server accepts.
# bats test_tags=kit
@test "a path where a server is too busy to accept is also in use" {
  need python3
  start_tool busy timeout $((20 * PATIENCE)) python3 -c 'if True:
    import socket, sys, time
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(sys.argv[1])
    listener.listen(0)
    clients = []
    while True:
        clients.append(socket.socket(socket.AF_UNIX))
        clients[-1].setblocking(False)
        if clients[-1].connect_ex(sys.argv[1]):
            break
    print("full", flush=True)
    time.sleep(20)
  ' "$T/s"
  wait_for 5 grep -q full "$T/busy.out"
  refuses "server: bind unix:$T/s: Address already in use (EADDRINUSE)" -a "unix:$T/s"
}

# sys/un.h: sun_path has 108 bytes.
# bats test_tags=kit
@test "a path of more than 107 bytes is refused by the server and the client" {
  local long
  long=$(printf '%0108d' 0)
  refuses 'server: a path of more than 107 bytes does not fit into a struct sockaddr_un' \
    -a "unix:$long"
  run -1 --separate-stderr client -a "unix:$long" hello
  assert_equal "$stderr" \
    'client: a path of more than 107 bytes does not fit into a struct sockaddr_un'
}

@test "a client that leaves in the middle of an echo does no harm" {
  need python3
  start_server -a "unix:$T/s"
  timeout $((10 * PATIENCE)) python3 -c 'if True:
    import socket, sys
    for size in 0, 10, 1000000:
        s = socket.socket(socket.AF_UNIX)
        s.setblocking(size < 1000)
        s.connect(sys.argv[1])
        s.send(b"x" * size)
        s.close()
  ' "$T/s"
  echoes hello
}

# ---- the client ----

# unix(7). The name appears when the socket listens.
@test "client: -a unix:PATH: it prints the echo of each message" {
  need python3
  start_tool echo timeout $((20 * PATIENCE)) python3 -c 'if True:
    import os, socket, sys
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(sys.argv[1] + ".new")
    listener.listen()
    os.rename(sys.argv[1] + ".new", sys.argv[1])
    client, _ = listener.accept()
    while data := client.recv(65536):
        client.sendall(data)
  ' "$T/s"
  wait_for 5 test -S "$T/s"
  client -a "unix:$T/s" hello 'and again' >"$T/received"
  printf 'hello\nand again\n' >"$T/expected"
  same_bytes "$T/expected" "$T/received"
}

# connect(2): ENOENT, ECONNREFUSED.
# bats test_tags=kit
@test "client: no such path, or no server behind it any more: the reason, exit 1" {
  run -1 --separate-stderr client -a "unix:$T/none" hello
  assert_equal "$stderr" "client: connect unix:$T/none: No such file or directory (ENOENT)"
  start_server -a "unix:$T/s"
  stop_server 137 KILL
  run -1 --separate-stderr client -a "unix:$T/s" hello
  assert_equal "$stderr" "client: connect unix:$T/s: Connection refused (ECONNREFUSED)"
}
