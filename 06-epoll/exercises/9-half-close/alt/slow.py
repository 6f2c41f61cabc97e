#!/usr/bin/env python3
"""A slow line service: a thread for each client, and a pause before each byte that it sends."""
import socketserver
import sys
import time


class Handler(socketserver.StreamRequestHandler):
    def handle(self):
        for line in self.rfile:
            if not line.endswith(b"\n"):
                return
            for byte in b"+" + line:
                time.sleep(0.01)
                self.wfile.write(bytes([byte]))


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


server = Server(("127.0.0.1", int(sys.argv[sys.argv.index("-p") + 1])), Handler)
print("listening on 127.0.0.1:%d" % server.server_address[1], flush=True)
server.serve_forever()
