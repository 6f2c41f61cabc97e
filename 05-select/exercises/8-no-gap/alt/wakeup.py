#!/usr/bin/env python3
"""The line service with select, and a pipe that signals write to: wakeup.py -p PORT"""
import os
import select
import signal
import socket
import sys

port = int(sys.argv[sys.argv.index("-p") + 1])
server = socket.create_server(("127.0.0.1", port), backlog=4096)
server.setblocking(False)
woken, wake = os.pipe()
os.set_blocking(wake, False)
signal.set_wakeup_fd(wake)
for number in signal.SIGTERM, signal.SIGINT, signal.SIGHUP:
    signal.signal(number, lambda *_: None)
partial = {}  # by socket: the beginning of a line
print("listening on 127.0.0.1:%d" % server.getsockname()[1], flush=True)


def accept():
    try:
        client = server.accept()[0]
    except BlockingIOError:
        return
    partial[client] = b""


def serve(client):
    try:
        data = client.recv(65536)
        *lines, partial[client] = (partial[client] + data).split(b"\n")
        client.sendall(b"".join(b"+" + line + b"\n" for line in lines))
    except ConnectionError:
        data = b""
    if not data:
        del partial[client]
        client.close()


while True:
    ready = select.select([woken, server, *partial], [], [])[0]
    if woken in ready:
        break
    for one in ready:
        accept() if one is server else serve(one)
