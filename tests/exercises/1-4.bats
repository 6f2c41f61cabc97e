# 1-4, a client that gives up in time, and takes an error code for a value.
# bats file_tags=1-4

# shellcheck disable=SC2154 # run --separate-stderr sets stderr
CHAPTER=01-basic-tcp
load ../helpers/common

# start_deaf: a server whose queue is full, so that the kernel drops each SYN: connect(2) takes two
# minutes to give up. Sets PORT.
start_deaf() {
  need python3
  start_tool deaf python3 -c 'if True:
    import socket, time
    server = socket.socket()
    server.bind(("127.0.0.1", 0))
    server.listen(0)
    clients = [socket.socket() for _ in range(4)]
    for client in clients:
        client.setblocking(False)
        client.connect_ex(server.getsockname())
    time.sleep(0.2)
    print("listening on 127.0.0.1:%d" % server.getsockname()[1], flush=True)
    time.sleep(60)
  '
  await_port deaf "$TOOL_PID"
}

# within MIN MAX COMMAND…: it takes so many milliseconds.
within() {
  local min=$1 max=$2 start ms
  shift 2
  start=$(now_ms)
  "$@"
  ms=$(($(now_ms) - start))
  ((ms >= min && ms <= max * PATIENCE)) || complain "it took $ms ms, not $min to $max"
}

# says STATUS STDOUT STDERR ARGUMENT…: how the client ends, and what it says.
says() {
  local status=$1 out=$2 err=$3
  shift 3
  run "-$status" --separate-stderr client "$@"
  assert_equal "$output" "$out"
  assert_equal "$stderr" "$err"
}

@test "client: -t 1000 with a server that answers: the same as without -t" {
  start_server
  says 0 hello '' -t 1000 hello
}

# connect(2), EINPROGRESS; poll(2); socket(7), SO_ERROR.
@test "client: no answer: with -t 300 it gives up after 300 ms with ETIMEDOUT and exits 1" {
  start_deaf
  within 300 2500 says 1 '' "client: connect 127.0.0.1:$PORT: Connection timed out (ETIMEDOUT)" \
    -t 300 hello
}

@test "client: a refused connection is reported at once, not when the time has expired" {
  start_server
  stop_server
  within 0 5000 says 1 '' \
    "client: connect 127.0.0.1:$PORT: Connection refused (ECONNREFUSED)" -t 10000 hello
}

# As connect_to does: the first address that failed says most; that this machine has no such address
# says nothing of the server (connect(2), EADDRNOTAVAIL).
@test "client: of several addresses none answers: it reports the first one that refused" {
  start_server
  stop_server
  FAULT_ENV='FAULT_HOST=two,127.0.0.1,127.0.0.2 FAULT_FAIL=connect:EHOSTUNREACH:@2' \
    says 1 '' "client: connect 127.0.0.1:$PORT: Connection refused (ECONNREFUSED)" \
    -t 1000 -a two hello
  FAULT_ENV='FAULT_HOST=two,127.0.0.2,127.0.0.1 FAULT_FAIL=connect:EADDRNOTAVAIL:@1' \
    says 1 '111 ECONNREFUSED' '' -t 1000 -n -a two
}

# What Python calls connect_ex: the number is a result like any other, and nothing is an exception.
@test "client: -n only connects, and prints 0, or the error number and its name" {
  start_server
  says 0 0 '' -n
  says 0 0 '' -n -t 1000
  stop_server
  says 1 '111 ECONNREFUSED' '' -n
  start_deaf
  says 1 '110 ETIMEDOUT' '' -n -t 200
}

# write(2), ENOSPC: a number that cannot be written is no success.
# bats test_tags=kit
@test "client: -n, and the number cannot be written: it says so and exits 1" {
  local address status
  [[ -c /dev/full ]] || skip 'no /dev/full here'
  start_server
  for address in 127.0.0.1 no-such-name.invalid; do
    status=0
    client -n -t 5000 -a "$address" >/dev/full 2>"$T/why" || status=$?
    assert_equal "$status $(<"$T/why")" '1 client: stdout: No space left on device (ENOSPC)'
  done
}

# getaddrinfo(3): errors have numbers of their own, below 0.
@test "client: -n with a name that has no address prints getaddrinfo's number and exits 1" {
  local PORT=1
  run -1 --separate-stderr client -n -t 5000 -a no-such-name.invalid
  assert_output --regexp '^-[0-9]+ [A-Z].*$'
  assert_equal "$stderr" ''
}

# no_name_server: in a network of our own, where a name server takes questions and is silent.
no_name_server() {
  echo 'nameserver 127.0.0.1' >"$T/resolv.conf"
  mount --bind "$T/resolv.conf" /etc/resolv.conf
  start_tool silent python3 -c 'if True:
    import socket, time
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.bind(("127.0.0.1", 53))
    print("bound", flush=True)
    time.sleep(60)'
  wait_for 5 grep -q bound "$T/silent.out"
  PORT=1
  local start out err status=0
  start=$(now_ms)
  err=$(client -t 500 -a name.example hello 2>&1) || status=$?
  [[ $status == 1 && $err == 'client: resolve name.example: no answer within 500 ms' ]] ||
    complain "$status: $err"
  status=0
  out=$(client -t 500 -n -a name.example 2>"$T/err") || status=$?
  [[ $status == 1 && $out == '110 ETIMEDOUT' && ! -s $T/err ]] || complain "$status: $out"
  (($(now_ms) - start < 4000 * PATIENCE)) || complain "it took $(($(now_ms) - start)) ms"
}

# resolv.conf(5): the resolver waits 5 s for each server, twice.
# bats test_tags=kit
@test "client: the time of -t includes the lookup of the name" {
  need_netns
  need python3 mount
  unshare "$NETNS" -m mount --bind /etc/hostname /etc/resolv.conf 2>/dev/null ||
    skip 'no mount namespace here, or no /etc/resolv.conf'
  # shellcheck disable=SC2016
  in_shell unshare "$NETNS" -m sh -c 'ip link set lo up && exec "$@"' sh -- no_name_server
}

# poll(2): EINTR. The remaining time must be computed again.
@test "client: signals neither cut its wait short nor prolong it" {
  start_deaf
  FAULT_ENV='FAULT_FAIL=poll:EINTR:2' within 300 2500 says 1 '' \
    "client: connect 127.0.0.1:$PORT: Connection timed out (ETIMEDOUT)" -t 300 hello
}

# fcntl(2): O_NONBLOCK stays until it is taken away, and recv(2) would fail with EAGAIN.
@test "client: once connected, it waits for the echo however long that takes" {
  start_fake -- recv:5 sleep:700 send:hello recv:1 send:'\n' eof
  says 0 hello '' -t 200 hello
}

@test "client: a time that is not a number from 1 to 3600000: usage, exit 2" {
  local bad PORT=1
  for bad in 0 -1 x 1s '' 3600001; do
    run -2 --separate-stderr client -t "$bad" hello
    [[ $stderr == "client: -t \"$bad\": not a number from 1 to 3600000"*usage:* ]] ||
      complain "not the expected message: $stderr"
  done
}
