#!/usr/bin/env python3
"""An echo server for datagrams that answers what came last first, and takes its time."""
import socket
import sys

server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(("127.0.0.1", int(sys.argv[sys.argv.index("-p") + 1])))
print("listening on 127.0.0.1:%d" % server.getsockname()[1], flush=True)
while True:
    server.settimeout(None)
    waiting = [server.recvfrom(65536)]
    server.settimeout(0.05)
    try:
        while len(waiting) < 10:
            waiting.append(server.recvfrom(65536))
    except TimeoutError:
        pass
    for data, client in reversed(waiting):
        server.sendto(data, client)
