#!/usr/bin/env python3
"""A thread for each client, the greeting a byte at a time."""
import socket
import socketserver
import sys

GREETING = "欢迎访问服务器!\n".encode()


class Greeter(socketserver.BaseRequestHandler):
    def handle(self):
        try:
            for i in range(len(GREETING)):
                self.request.sendall(GREETING[i : i + 1])
            self.request.shutdown(socket.SHUT_WR)
            self.request.settimeout(0.5)
            while self.request.recv(65536):
                pass
        except OSError:
            pass


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 1000


with Server(("127.0.0.1", int(sys.argv[sys.argv.index("-p") + 1])), Greeter) as server:
    print("listening on 127.0.0.1:%d" % server.server_address[1], flush=True)
    server.serve_forever()
