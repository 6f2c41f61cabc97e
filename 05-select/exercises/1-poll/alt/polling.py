#!/usr/bin/env python3
"""The line service with select.poll: polling.py -p PORT"""
import resource
import select
import signal
import socket
import sys

most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
port = int(sys.argv[sys.argv.index("-p") + 1])
server = socket.create_server(("127.0.0.1", port), backlog=4096)
server.setblocking(False)
poll = select.poll()
poll.register(server, select.POLLIN)
clients, begun, owed = {}, {}, {}  # by descriptor
print("listening on 127.0.0.1:%d" % server.getsockname()[1], flush=True)


def accept():
    client = server.accept()[0]
    client.setblocking(False)
    fd = client.fileno()
    clients[fd], begun[fd], owed[fd] = client, b"", b""
    poll.register(fd, select.POLLIN)


def serve(fd):
    if not owed[fd]:
        data = clients[fd].recv(65536)
        if not data:
            raise ConnectionError
        *lines, begun[fd] = (begun[fd] + data).split(b"\n")
        owed[fd] = b"".join(b"+" + line + b"\n" for line in lines)
    owed[fd] = owed[fd][clients[fd].send(owed[fd]) :]
    poll.modify(fd, select.POLLOUT if owed[fd] else select.POLLIN)


while True:
    for fd, _ in poll.poll():
        try:
            accept() if fd == server.fileno() else serve(fd)
        except BlockingIOError:
            if fd in clients and owed[fd]:
                poll.modify(fd, select.POLLOUT)
        except ConnectionError:
            poll.unregister(fd)
            clients.pop(fd).close()
