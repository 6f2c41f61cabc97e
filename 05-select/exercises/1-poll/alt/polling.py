#!/usr/bin/env python3
"""The line service with select.poll: polling.py -p PORT"""
import resource
import select
import signal
import socket
import sys

maximum = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (maximum, maximum))
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
port = int(sys.argv[sys.argv.index("-p") + 1])
server = socket.create_server(("127.0.0.1", port), backlog=4096)
server.setblocking(False)
poll = select.poll()
poll.register(server, select.POLLIN)
clients, partial, pending = {}, {}, {}  # by descriptor
print("listening on 127.0.0.1:%d" % server.getsockname()[1], flush=True)


def accept():
    client = server.accept()[0]
    client.setblocking(False)
    fd = client.fileno()
    clients[fd], partial[fd], pending[fd] = client, b"", b""
    poll.register(fd, select.POLLIN)


def serve(fd):
    if not pending[fd]:
        data = clients[fd].recv(65536)
        if not data:
            raise ConnectionError
        *lines, partial[fd] = (partial[fd] + data).split(b"\n")
        pending[fd] = b"".join(b"+" + line + b"\n" for line in lines)
    pending[fd] = pending[fd][clients[fd].send(pending[fd]) :]
    poll.modify(fd, select.POLLOUT if pending[fd] else select.POLLIN)


while True:
    for fd, _ in poll.poll():
        try:
            accept() if fd == server.fileno() else serve(fd)
        except BlockingIOError:
            if fd in clients and pending[fd]:
                poll.modify(fd, select.POLLOUT)
        except ConnectionError:
            poll.unregister(fd)
            clients.pop(fd).close()
