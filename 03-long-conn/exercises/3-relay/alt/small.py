#!/usr/bin/env python3
"""A relay with room for very little, and no haste: small.py -p PORT -P PORT"""
import select
import socket
import struct
import sys
import time

ROOM = 3000


def option(name, default):
    return int(sys.argv[sys.argv.index(name) + 1]) if name in sys.argv else default


class Way:
    def __init__(self, source, target):
        self.source, self.target = source, target
        self.data, self.ended, self.closed = b"", False, False

    def reads(self):
        return not self.ended and len(self.data) < ROOM

    def writes(self):
        return self.data or (self.ended and not self.closed)

    def step(self, readable, writable):
        try:
            if writable.get(self.target) and self.writes():
                self.data = self.data[self.target.send(self.data) :]
                if self.ended and not self.data:
                    self.target.shutdown(socket.SHUT_WR)
                    self.closed = True
            if readable.get(self.source) and self.reads():
                more = self.source.recv(ROOM - len(self.data))
                self.ended = not more
                self.data += more
        except (BlockingIOError, InterruptedError):
            pass


def relay(client, server):
    for each in client, server:
        each.setblocking(False)
        each.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)
    up, down = Way(client, server), Way(server, client)
    while not (up.closed and down.closed):
        poll = select.poll()
        for each, out, back in (client, up, down), (server, down, up):
            events = (out.reads() and select.POLLIN) | (back.writes() and select.POLLOUT or 0)
            if events or not (out.ended and back.closed):
                poll.register(each, events)
        news = {fd: event for fd, event in poll.poll()}
        if not any(event & (select.POLLIN | select.POLLOUT) for event in news.values()):
            time.sleep(0.02)  # a hang-up that has to wait for its turn is reported at once, again
        readable = {each: news.get(each.fileno(), 0) & select.POLLIN for each in (client, server)}
        writable = {each: news.get(each.fileno(), 0) & select.POLLOUT for each in (client, server)}
        up.step(readable, writable)
        down.step(readable, writable)
        for each in client, server:
            if news.get(each.fileno(), 0) & select.POLLERR:
                raise ConnectionError


def serve(client):
    with client, socket.socket() as server:
        try:
            server.connect(("127.0.0.1", option("-P", 9001)))
            relay(client, server)
        except OSError:
            for each in client, server:
                reset = struct.pack("ii", 1, 0)
                each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)


listener = socket.create_server(("127.0.0.1", option("-p", 9003)))
print("listening on 127.0.0.1:%d" % listener.getsockname()[1], flush=True)
while True:
    serve(listener.accept()[0])
