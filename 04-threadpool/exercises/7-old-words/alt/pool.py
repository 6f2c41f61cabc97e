#!/usr/bin/env python3
"""The line service with a pool of three threads, which take their time."""
import socket
import sys
import time
from concurrent.futures import ThreadPoolExecutor


def serve(client):
    with client, client.makefile("rb") as lines:
        try:
            while (line := lines.readline(65537)).endswith(b"\n"):
                time.sleep(0.02)
                client.sendall(b"+")
                time.sleep(0.02)
                client.sendall(line)
        except ConnectionError:
            pass


port = int(sys.argv[sys.argv.index("-p") + 1])
with socket.create_server(("127.0.0.1", port), backlog=1000) as server:
    print("listening on 127.0.0.1:%d" % server.getsockname()[1], flush=True)
    with ThreadPoolExecutor(3) as pool:
        while True:
            pool.submit(serve, server.accept()[0])
