#!/usr/bin/env python3
"""A line service with select that takes its time: it reads 3 bytes, sends 2, and rests in between."""
import select
import socket
import sys
import time

server = socket.create_server(("127.0.0.1", int(sys.argv[sys.argv.index("-p") + 1])))
print("listening on 127.0.0.1:%d" % server.getsockname()[1], flush=True)
server.setblocking(False)
begun, owed = {}, {}  # of each client: a line without its end; replies that wait


def serve(client, writable):
    if owed[client]:
        if writable:
            owed[client] = owed[client][client.send(owed[client][:2]) :]
        return
    data = client.recv(3)
    if not data:
        raise ConnectionError
    *lines, begun[client] = (begun[client] + data).split(b"\n")
    owed[client] = b"".join(b"+" + line + b"\n" for line in lines)


while True:
    readers = [client for client in owed if not owed[client]]
    writers = [client for client in owed if owed[client]]
    readable, writable, _ = select.select([server, *readers], writers, [])
    for client in {*readable, *writable}:
        try:
            if client is server:
                client = server.accept()[0]
                client.setblocking(False)
                begun[client] = owed[client] = b""
            else:
                serve(client, client in writable)
        except BlockingIOError:
            pass
        except ConnectionError:
            del begun[client], owed[client]
            client.close()
    time.sleep(0.003)
