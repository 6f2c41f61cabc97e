# 2-6, an answer that is not for this question.
# bats file_tags=2-6

# shellcheck disable=SC2154 # run --separate-stderr sets stderr
CHAPTER=02-udp
load ../helpers/common

# RFC 768: a datagram may come twice. The second here is a perfect answer, to the question before.
# bats test_tags=kit
@test "client: a second copy of the answer to the first ping does not answer the second ping" {
  need python3
  start_tool once timeout $((20 * PATIENCE)) python3 -c "if True:
    import socket
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.bind(('127.0.0.1', 0))
    print('listening on 127.0.0.1:%d' % s.getsockname()[1], flush=True)
    data, client = s.recvfrom(65536)
    s.sendto(data, client)
    s.sendto(data, client)
    while True:
        s.recv(65536)"
  await_port once "$TOOL_PID"
  run -1 --separate-stderr client -t 100 -r 2 ping ping
  [[ $stderr == '2 sent, 1 received, '*' retried, 1 lost'* ]] || complain "it says: $stderr"
}

# Each datagram takes 20 ms, and comes twice.
# bats test_tags=kit
@test "client: no reported round trip is shorter than the delay of the network" {
  start_server
  start_relay -d 20 -D 1
  run -0 --separate-stderr client -t 5000 ping ping ping ping
  [[ $stderr =~ min/avg/max\ ([0-9]+)\. ]]
  ((BASH_REMATCH[1] >= 35)) || complain "40 ms there and back, and the client says: $stderr"
}
