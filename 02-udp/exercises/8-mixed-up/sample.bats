CHAPTER=02-udp
load ../../tests/helpers/common

# recvmmsg(2): each message of a batch has an address of its own. A datagram may be lost, doubled or
# late, so nothing is said about how many answers come: only whose they are.
@test "nobody gets the answer to somebody else, also when many ask at once" {
  need python3
  start_server
  run -0 timeout $((10 * PATIENCE)) python3 -c 'if True:
    import os, select, signal, socket, sys, time
    server = ("127.0.0.1", int(sys.argv[1]))
    clients = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for i in range(10)]
    os.kill(int(sys.argv[2]), signal.SIGSTOP)  # so that all are there before it looks
    for i, client in enumerate(clients):
        client.sendto(b"from %d" % i, server)
    os.kill(int(sys.argv[2]), signal.SIGCONT)
    waiting, end = set(clients), time.monotonic() + 2
    while waiting and (left := end - time.monotonic()) > 0:
        for client in select.select(clients, [], [], left)[0]:
            data = client.recv(100)
            if data != b"from %d" % clients.index(client):
                sys.exit(print("client %d got: %s" % (clients.index(client), data.decode())))
            waiting.discard(client)' "$PORT" "$SERVER_PID"
  assert_output ''
}
