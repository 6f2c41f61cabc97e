#!/usr/bin/env python3
"""The line service, which takes its time: its replies come in pieces, and its end comes late."""
import socket
import sys
import time

server = socket.create_server(("127.0.0.1", int(sys.argv[sys.argv.index("-p") + 1])))
print("listening on 127.0.0.1:%d" % server.getsockname()[1], flush=True)
while True:
    client, _ = server.accept()
    with client:
        rest = b""
        try:
            while data := client.recv(3):
                *lines, rest = (rest + data).split(b"\n")
                for line in lines:
                    client.sendall(b"+")
                    time.sleep(0.02)
                    client.sendall(line + b"\n")
            time.sleep(0.3)
        except ConnectionError:
            pass
