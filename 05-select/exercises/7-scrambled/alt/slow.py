#!/usr/bin/env python3
"""A slow line service with select: it reads 3 bytes, sends 2 bytes, and pauses in between."""
import select
import socket
import sys
import time

server = socket.create_server(("127.0.0.1", int(sys.argv[sys.argv.index("-p") + 1])))
print("listening on 127.0.0.1:%d" % server.getsockname()[1], flush=True)
server.setblocking(False)
partial, pending = {}, {}  # of each client: a partial line; replies that are not sent yet


def serve(client, writable):
    if pending[client]:
        if writable:
            pending[client] = pending[client][client.send(pending[client][:2]) :]
        return
    data = client.recv(3)
    if not data:
        raise ConnectionError
    *lines, partial[client] = (partial[client] + data).split(b"\n")
    pending[client] = b"".join(b"+" + line + b"\n" for line in lines)


while True:
    readers = [client for client in pending if not pending[client]]
    writers = [client for client in pending if pending[client]]
    readable, writable, _ = select.select([server, *readers], writers, [])
    for client in {*readable, *writable}:
        try:
            if client is server:
                client = server.accept()[0]
                client.setblocking(False)
                partial[client] = pending[client] = b""
            else:
                serve(client, client in writable)
        except BlockingIOError:
            pass
        except ConnectionError:
            del partial[client], pending[client]
            client.close()
    time.sleep(0.003)
