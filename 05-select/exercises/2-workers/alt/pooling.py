#!/usr/bin/env python3
"""The line service with select and a pool of threads: pooling.py -p PORT [-w WORKERS]"""
import queue
import select
import socket
import sys
from concurrent.futures import ThreadPoolExecutor


def option(name, default):
    return int(sys.argv[sys.argv.index(name) + 1]) if name in sys.argv else default


class Client:
    def __init__(self, sock):
        sock.setblocking(False)
        self.sock, self.partial, self.pending = sock, b"", b""

    def fileno(self):
        return self.sock.fileno()

    def handle(self):
        """One recv and one send. Returns whether the client is still connected."""
        try:
            if not self.pending:
                data = self.sock.recv(65536)
                *lines, self.partial = (self.partial + data).split(b"\n")
                self.pending = b"".join(b"+" + line + b"\n" for line in lines)
                if not data:
                    return False
            if self.pending:
                self.pending = self.pending[self.sock.send(self.pending) :]
        except BlockingIOError:
            pass
        except ConnectionError:
            return False
        return True


server = socket.create_server(("127.0.0.1", option("-p", 9005)), backlog=1000)
server.setblocking(False)
print("listening on 127.0.0.1:%d" % server.getsockname()[1], flush=True)
woken, waker = socket.socketpair()
results, watched = queue.SimpleQueue(), set()


def work(client):
    results.put((client, client.handle()))
    waker.send(b".")


with ThreadPoolExecutor(option("-w", 4)) as pool:
    while True:
        readers = [client for client in watched if not client.pending]
        writers = [client for client in watched if client.pending]
        readable, writable, _ = select.select([server, woken, *readers], writers, [])
        for ready in {*readable, *writable} - {server, woken}:
            watched.remove(ready)
            pool.submit(work, ready)
        if woken in readable:
            for _ in woken.recv(4096):
                client, there = results.get()
                watched.add(client) if there else client.sock.close()
        if server in readable:
            try:
                watched.add(Client(server.accept()[0]))
            except (BlockingIOError, ConnectionError):
                pass
