#!/usr/bin/env python3
"""A server whose log has to wait: does it still obey SIGTERM?

usage: stuck-log.py SERVER [ARGUMENT...]    the line service; it gets -p 0 -v
Its stderr is a terminal that nobody reads and that it may not open again, so not even with
O_NONBLOCK (ioctl_tty(2), TIOCEXCL; with CAP_SYS_ADMIN it may). Poll reports such a terminal as
ready while there is room for a part of a line; then write waits. Clients come until the server
answers none of them any more. Prints what is wrong; exit status 1 if the server does not end.
"""
import fcntl
import os
import pty
import signal
import socket
import subprocess
import sys
import termios

PATIENCE = float(os.environ.get("PATIENCE", 1))
CLIENTS_MAX = 1000
ROOM = 8192  # bytes, about


def unread_terminal():
    """Returns both ends of a terminal that is nearly full."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCEXCL)
    os.set_blocking(slave, False)
    try:
        while True:
            os.write(slave, b"x" * 100)
    except BlockingIOError:
        pass
    room = 0
    while room < ROOM:
        room += len(os.read(master, ROOM))
    os.set_blocking(slave, True)
    return master, slave


def is_answered(port):
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as client:
        client.sendall(b"hello\n")
        try:
            return client.recv(100) == b"+hello\n"
        except socket.timeout:
            return False


def main():
    master, slave = unread_terminal()
    server = subprocess.Popen([*sys.argv[1:], "-p", "0", "-v"], stdout=subprocess.PIPE, stderr=slave)
    try:
        port = int(server.stdout.readline().rsplit(b":", 1)[1])
        clients = 0
        while clients < CLIENTS_MAX and is_answered(port):
            clients += 1
        server.send_signal(signal.SIGTERM)
        status = server.wait(2 * PATIENCE)
    except subprocess.TimeoutExpired:
        sys.exit("after %d clients its log had to wait, and it did not obey SIGTERM" % clients)
    finally:
        server.kill()
        server.wait()
    if status != 0:
        sys.exit("exit status %d" % status)


main()
