#!/usr/bin/env python3
"""The echo at a path, with larger buffers than the kit's: it echoes 150,000 bytes whole."""
import os
import signal
import socket
import stat
import sys

path = sys.argv[sys.argv.index("-a") + 1][len("unix:"):]
server = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
probe = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
try:
    if stat.S_ISSOCK(os.lstat(path).st_mode):
        probe.connect(path)
except FileNotFoundError:
    pass
except ConnectionRefusedError:
    os.unlink(path)
os.umask(0o177)
server.bind(path)
signal.signal(signal.SIGTERM, lambda *_: (os.unlink(path), sys.exit(0)))
print("listening on unix:" + path, flush=True)
while True:
    data, client = server.recvfrom(1000000)
    if client and client != path:
        try:
            server.sendto(data, socket.MSG_DONTWAIT, client)
        except OSError:
            pass
