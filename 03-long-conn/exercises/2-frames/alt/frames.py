#!/usr/bin/env python3
"""Frames by length, one client at a time: frames.py -p PORT [-m BYTES]"""
import socket
import struct
import sys


def option(name, default):
    return int(sys.argv[sys.argv.index(name) + 1]) if name in sys.argv else default


def receive(client, n):
    """n bytes; or fewer, at the client's end."""
    data = bytearray()
    while len(data) < n and (piece := client.recv(min(n - len(data), 4096))):
        data += piece
    return data


def serve(client):
    while len(head := receive(client, 4)) == 4:
        (n,) = struct.unpack(">I", head)
        if n > limit:
            client.sendall(b"\0\0\0\x09-too long")
            break
        body = receive(client, n)
        if len(body) < n:
            break
        client.sendall(struct.pack(">I", n + 1))
        client.sendall(b"+")
        client.sendall(body)
    client.shutdown(socket.SHUT_WR)
    client.settimeout(0.3)
    while client.recv(65536):
        pass


limit = option("-m", 1048576)
server = socket.create_server(("127.0.0.1", option("-p", 9003)))
print("listening on 127.0.0.1:%d" % server.getsockname()[1], flush=True)
while True:
    client, _ = server.accept()
    with client:
        try:
            serve(client)
        except OSError:
            pass
