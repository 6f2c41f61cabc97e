#!/usr/bin/env python3
"""The line service over TLS, with a thread for each client."""
import pathlib
import socketserver
import ssl
import sys

certs = pathlib.Path(__file__).resolve().parents[3] / "certs"
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(certs / "server.pem", certs / "server.key")


class Handler(socketserver.BaseRequestHandler):
    def handle(self):
        self.request.settimeout(60)
        try:
            with context.wrap_socket(self.request, server_side=True) as tls:
                for line in tls.makefile("rb"):
                    if not line.endswith(b"\n"):
                        break
                    tls.sendall(b"+" + line)
                tls.unwrap()
        except OSError as error:  # ssl.SSLError is one, too
            print(*self.client_address, error, file=sys.stderr)


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


server = Server(("127.0.0.1", int(sys.argv[sys.argv.index("-p") + 1])), Handler)
print("listening on 127.0.0.1:%d" % server.server_address[1], flush=True)
server.serve_forever()
