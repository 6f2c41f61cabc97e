#!/usr/bin/env python3
"""The line service with socketserver, a process for each client: forking.py -p PORT [-c CLIENTS]"""
import contextlib
import os
import signal
import socketserver
import sys


def option(name, default):
    return int(sys.argv[sys.argv.index(name) + 1]) if name in sys.argv else default


class Lines(socketserver.StreamRequestHandler):
    def handle(self):
        try:
            while (line := self.rfile.readline(65537)).endswith(b"\n"):
                self.wfile.write(b"+" + line)
        except ConnectionError:
            pass


class Server(socketserver.ForkingTCPServer):
    allow_reuse_address = True
    request_queue_size = 1000
    max_children = option("-c", 64)


def end(number, frame):
    for pid in server.active_children or ():
        with contextlib.suppress(ProcessLookupError):  # it has ended, and is about to be left out
            os.kill(pid, signal.SIGKILL)
    os._exit(0)


with Server(("127.0.0.1", option("-p", 9003)), Lines) as server:
    signal.signal(signal.SIGTERM, end)
    print("listening on 127.0.0.1:%d" % server.server_address[1], flush=True)
    server.serve_forever()
