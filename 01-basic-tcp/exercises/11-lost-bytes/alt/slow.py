#!/usr/bin/env python3
"""An echo server that takes its time: it answers a byte every few milliseconds, in pieces."""
import socket
import sys
import time

server = socket.create_server(("127.0.0.1", int(sys.argv[sys.argv.index("-p") + 1])))
print("listening on 127.0.0.1:%d" % server.getsockname()[1], flush=True)
while True:
    client, _ = server.accept()
    with client:
        try:
            while data := client.recv(3):
                for i in range(len(data)):
                    time.sleep(0.005)
                    client.sendall(data[i : i + 1])
        except ConnectionError:
            pass
