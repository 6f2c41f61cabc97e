#!/usr/bin/env python3
"""Gives a file away, and has all of it in memory."""
import socket
import sys

content = open(sys.argv[sys.argv.index("-f") + 1], "rb").read()
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(("127.0.0.1", int(sys.argv[sys.argv.index("-p") + 1])))
print("listening on 127.0.0.1:%d" % server.getsockname()[1], flush=True)
while True:
    request, client = server.recvfrom(65536)
    if len(request) == 1032:
        start = int.from_bytes(request[4:8], "big") * 1024
        server.sendto(request[:8] + content[start:start + 1024], client)
