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
  ((ms >= min && ms <= max)) || complain "it took $ms ms, not $min to $max"
}

# says STATUS STDOUT STDERR ARGUMENT…: how the client ends, and what it says.
says() {
  local status=$1 out=$2 err=$3
  shift 3
  run "-$status" --separate-stderr client "$@"
  assert_equal "$output" "$out"
  assert_equal "$stderr" "$err"
}

@test "client: -t 1000 with a server that answers: as without it" {
  start_server
  says 0 hello '' -t 1000 hello
}

# connect(2), EINPROGRESS; poll(2); socket(7), SO_ERROR.
@test "client: nobody answers: with -t 300 it gives up after 300 ms, ETIMEDOUT, exit 1" {
  start_deaf
  within 300 2500 says 1 '' "client: connect 127.0.0.1:$PORT: Connection timed out (ETIMEDOUT)" \
    -t 300 hello
}

@test "client: a refusal is told at once, not when the time is over" {
  start_server
  stop_server
  within 0 5000 says 1 '' \
    "client: connect 127.0.0.1:$PORT: Connection refused (ECONNREFUSED)" -t 10000 hello
}

# What Python calls connect_ex: the number is a result like any other, and nothing is an exception.
@test "client: -n only connects, and says 0, or the error number and its name" {
  start_server
  says 0 0 '' -n
  says 0 0 '' -n -t 1000
  stop_server
  says 1 '111 ECONNREFUSED' '' -n
  start_deaf
  says 1 '110 ETIMEDOUT' '' -n -t 200
}

# poll(2): EINTR. What is left of the time has to be reckoned anew.
@test "client: signals while it waits neither end nor prolong it" {
  start_deaf
  FAULT_ENV='FAULT_FAIL=poll:EINTR:2' within 300 2500 says 1 '' \
    "client: connect 127.0.0.1:$PORT: Connection timed out (ETIMEDOUT)" -t 300 hello
}

# fcntl(2): O_NONBLOCK stays until it is taken away, and recv(2) would fail with EAGAIN.
@test "client: once connected it waits for the echo, however long that takes" {
  start_fake -- recv:5 sleep:700 send:hello recv:1 send:'\n' eof
  says 0 hello '' -t 200 hello
}

@test "client: a time that is no number from 1 to 3600000: usage, exit 2" {
  local bad PORT=1
  for bad in 0 -1 x 1s '' 3600001; do
    run -2 --separate-stderr client -t "$bad" hello
    [[ $stderr == "client: -t \"$bad\": not a number from 1 to 3600000"*usage:* ]] ||
      complain "not what was to be said: $stderr"
  done
}
