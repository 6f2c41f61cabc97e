#!/usr/bin/env python3
"""peer_asyncio.py: the line service on asyncio's protocols, for the bench.

What a careful user writes: a Protocol (streams cost about twice as much), and one write for all the
replies to what came. asyncio sets TCP_NODELAY itself. Less than 06: no idle timeout.
"""
import asyncio
import itertools
import resource
import socket
import sys

LINE_LIMIT = 65536


class LineService(asyncio.Protocol):
    def __init__(self):
        self.rest = b""

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        if self.rest:
            data = self.rest + data
        end = data.rfind(b"\n") + 1
        self.rest = data[end:]
        if len(data) > LINE_LIMIT and self.too_long(data):
            return
        if end:
            self.transport.write(b"+" + data[: end - 1].replace(b"\n", b"\n+") + b"\n")

    def too_long(self, data):
        """Answers what comes before a line that is too long, refuses that, and ends."""
        lines = data.split(b"\n")
        good = list(itertools.takewhile(lambda line: len(line) < LINE_LIMIT, lines))
        if len(good) == len(lines):
            return False
        self.transport.write(b"".join(b"+%s\n" % line for line in good))
        self.transport.write(b"-line of more than %d bytes\n" % LINE_LIMIT)
        self.transport.close()
        return True


async def main(port):
    loop = asyncio.get_running_loop()
    server = await loop.create_server(LineService, "127.0.0.1", port, backlog=socket.SOMAXCONN)
    print("listening on 127.0.0.1:%d" % server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


_, most = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
asyncio.run(main(int(sys.argv[2]) if len(sys.argv) == 3 else 0))  # -p PORT
