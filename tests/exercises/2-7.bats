# 2-7, an answer from somebody who was not asked.
# bats file_tags=2-7

# shellcheck disable=SC2154 # run --separate-stderr sets stderr
CHAPTER=02-udp
load ../helpers/common

# start_forger CODE: it sees each request, answers it as it should be, but from another port, and
# does CODE.
start_forger() {
  need python3
  start_tool forger timeout $((20 * PATIENCE)) python3 -c "if True:
    import socket
    s, other = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
    s.bind(('127.0.0.1', 0))
    print('listening on 127.0.0.1:%d' % s.getsockname()[1], flush=True)
    while True:
        data, client = s.recvfrom(65536)
        other.sendto(data, client)
        $1"
  await_port forger "$TOOL_PID"
}

# connect(2), on a datagram socket; or recvfrom(2), and a look at the source.
# bats test_tags=kit
@test "client: the right answer from a wrong port is ignored" {
  start_forger pass
  run -1 --separate-stderr client -t 100 -r 2 hello
  assert_equal "$output|$stderr" '|1 sent, 0 received, 1 retried, 1 lost'
}

# bats test_tags=kit
@test "client: after an answer from a wrong port, the server's own answer counts" {
  start_forger 's.sendto(data, client)'
  run -0 --separate-stderr client -t 2000 hello world
  assert_equal "$output" $'hello\nworld'
  [[ $stderr == '2 sent, 2 received, 0 retried, 0 lost; '* ]]
}
