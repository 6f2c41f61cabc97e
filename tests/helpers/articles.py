#!/usr/bin/env python3
"""The clients of the articles, after their descriptions; only the port is another.

usage: articles.py ID PORT [CA]    ID: A1 and so on, as in docs/from-python.md

Prints what came of it: `works`; `waits` if nothing came before the text got a newline, and the
reply after it; `fails` if the server's certificate is not trusted without CA. Anything else is an
exception.
"""
import socket
import ssl
import sys

ADDRESS = ("127.0.0.1", int(sys.argv[2]))
SILENCE = 0.1  # seconds. A reply that comes later is a wrong one to what follows.
LIMIT = 20


def connect():
    return socket.create_connection(ADDRESS, LIMIT)


def outcome(s, text, reply):
    """Sends text as the article does, and waits for a reply; then again with a newline."""
    s.sendall(text)
    s.settimeout(SILENCE)
    try:
        early = s.recv(1024)
    except socket.timeout:
        early = None
    s.settimeout(LIMIT)
    if early is not None:
        assert early == text, early
        return "works"
    s.sendall(b"\n")
    late = s.recv(1024)
    assert late.startswith(reply), late
    return "waits"


def echo():
    """A1, D4, E3"""
    with connect() as s:
        s.sendall(b"Hello, Server!")
        assert s.recv(1024) == b"Hello, Server!"
    return "works"


def message():
    """A4, B5, B7, E4: text without a newline"""
    with connect() as s:
        return outcome(s, "你好".encode(), "+你好\n".encode())


def greeting():
    """B4: it says nothing, and wants to be greeted"""
    with connect() as s:
        return outcome(s, b"", b"+\n")


def datagram():
    """B2, B9"""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.settimeout(LIMIT)
        s.sendto("你好".encode(), ADDRESS)
        assert s.recvfrom(1024)[0] == "你好".encode()
    return "works"


def connect_ex():
    """D2"""
    with socket.socket() as s:
        assert s.connect_ex(ADDRESS) == 0
    return "works"


def member():
    """A2, E7: the first message is the name"""
    with connect() as s:
        return outcome(s, b"ann", b"+welcome ann")


def secure():
    """E6"""
    def ask(context):
        with connect() as s, context.wrap_socket(s, server_hostname="localhost") as tls:
            return outcome(tls, b"Hello, secure world!", b"+Hello, secure world!\n")

    try:
        return ask(ssl.create_default_context())
    except ssl.SSLCertVerificationError:
        assert ask(ssl.create_default_context(cafile=sys.argv[3])) == "waits"
    return "fails"


CLIENTS = {
    "A1": echo, "D4": echo, "E3": echo, "A4": message, "B5": message, "B7": message, "E4": message,
    "B4": greeting, "B2": datagram, "B9": datagram, "D2": connect_ex, "A2": member, "E7": member,
    "E6": secure,
}
print(CLIENTS[sys.argv[1]]())
