#!/usr/bin/env python3
"""A browser without a browser: HTTP requests and WebSocket frames, byte by byte (RFC 6455).

usage: websocket.py PORT GROUP    each rule of the group is tried on the room at 127.0.0.1:PORT
Prints each rule that does not hold, what was expected and what came; exit status 1 if there is one.
The room must have no limit of lines a second, and keep no history: -r 0 -k 0.
"""
import base64
import hashlib
import os
import re
import resource
import select
import socket
import struct
import sys
import threading
import time

PATIENCE = float(os.environ.get("PATIENCE", 1))
GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, 1.3
KEY = "dGhlIHNhbXBsZSBub25jZQ=="  # the sample there
CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
FIN = 0x80


class Broken(Exception):
    """The server has broken a rule: what it did."""


# ---- what a client sends ----

def request(*fields, line="GET /room HTTP/1.1", without="", host="127.0.0.1:%d"):
    """A handshake; without: names of fields that are left out; fields: more of them."""
    own = ["Host: " + host, "Upgrade: websocket", "Connection: Upgrade",
           "Sec-WebSocket-Key: " + KEY, "Sec-WebSocket-Version: 13"]
    own = [field for field in own if field.split(":")[0] not in without.split()]
    return "\r\n".join([line, *own, *fields, "", ""])


def frame(first, payload=b"", mask=b"\x12\x34\x56\x78", length=None, size=None):
    """A frame. first: its first byte. mask=None: it has none. length, if given, is what it says
    instead of the payload's size, and size in how many bytes: 0, 2 or 8."""
    if isinstance(payload, str):
        payload = payload.encode()
    length = len(payload) if length is None else length
    if size is None:
        size = 0 if length < 126 else 2 if length < 65536 else 8
    second = {0: length, 2: 126, 8: 127}[size] | (0x80 if mask else 0)
    extended = struct.pack(">Q", length)[8 - size:]
    if mask:
        pattern = (mask * (len(payload) // 4 + 1))[:len(payload)]
        masked = int.from_bytes(payload, "big") ^ int.from_bytes(pattern, "big")
        payload = mask + masked.to_bytes(len(payload), "big")
    return bytes([first, second]) + extended + payload


def text(payload, **options):
    return frame(FIN | TEXT, payload, **options)


def begin(payload, **options):
    """The first fragment of a message."""
    return frame(TEXT, payload, **options)


def more(payload, **options):
    return frame(CONTINUATION, payload, **options)


def last(payload=b"", **options):
    return frame(FIN | CONTINUATION, payload, **options)


def ping(payload=b"", **options):
    return frame(FIN | PING, payload, **options)


def close(code=1000, reason=b""):
    return frame(FIN | CLOSE, struct.pack(">H", code) + reason)


# ---- a connection ----

class Connection:
    """A socket with a limit of time. The bytes that came and were not asked for yet are kept."""

    def __init__(self, port, rcvbuf=None):
        self.socket = socket.socket()
        if rcvbuf:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)
        self.socket.settimeout(10 * PATIENCE)
        self.socket.connect(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.port = port
        self.data = b""
        self.ended = False

    def send(self, data, piece=None):
        """In pieces of so many bytes, with pauses if these are more than one. A server that has had
        enough may have closed already."""
        size = piece or len(data) or 1
        try:
            for i in range(0, len(data), size):
                if i > 0 and size > 1:
                    time.sleep(0.05)
                self.socket.sendall(data[i:i + size])
        except (BrokenPipeError, ConnectionResetError):
            pass

    def receive(self):
        try:
            data = self.socket.recv(65536)
        except socket.timeout:
            raise Broken("nothing came for 10 s, after %r" % self.data[-200:])
        except ConnectionResetError:
            raise Broken("the connection was reset, after %r" % self.data[-200:])
        self.data += data
        self.ended = not data
        return bool(data)

    def take(self, size):
        while len(self.data) < size:
            if not self.receive():
                raise Broken("the connection has ended within a frame: %r" % self.data[-200:])
        taken, self.data = self.data[:size], self.data[size:]
        return taken

    def until(self, end):
        """All bytes to this end, which is included."""
        while end not in self.data:
            if not self.receive():
                raise Broken("the connection has ended after %r" % self.data[-200:])
        return self.take(self.data.index(end) + len(end))

    def to_end(self):
        while self.receive():
            pass
        return self.take(len(self.data))

    def half_close(self):
        self.socket.shutdown(socket.SHUT_WR)


class Reply:
    """Of HTTP: its head, and all that followed."""

    def __init__(self, data):
        head, _, self.body = data.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        match = re.fullmatch(r"HTTP/1\.1 (\d{3}) .*", lines[0])
        if not match:
            raise Broken("this is no reply of HTTP/1.1: %r" % data[:200])
        self.status = int(match.group(1))
        self.fields = {}
        for line in lines[1:]:
            name, colon, value = line.partition(":")
            if not colon or not re.fullmatch(r"[A-Za-z0-9-]+", name):
                raise Broken("this is no field: %r" % line)
            name, value = name.lower(), value.strip()
            self.fields[name] = ", ".join(filter(None, [self.fields.get(name), value]))

    def has(self, name, word):
        return word.lower() in re.split(r"\s*,\s*", self.fields.get(name, "").lower())


def ask(port, text_of_request, piece=None):
    """The reply to a request after which the connection ends."""
    c = Connection(port)
    c.send(text_of_request.encode("latin-1"), piece)
    reply = Reply(c.to_end())
    if "content-length" in reply.fields and int(reply.fields["content-length"]) != len(reply.body):
        raise Broken("Content-Length is %(content-length)s" % reply.fields
                     + ", and the body has %d bytes" % len(reply.body))
    return reply


class WebSocket(Connection):
    """Opened. What the server sends is checked: no masks, no reserved bits, minimal lengths."""

    def __init__(self, port, *fields, piece=None, behind=b"", **options):
        super().__init__(port, **options)
        self.send((request(*fields) % port).encode() + behind, piece)
        reply = Reply(self.until(b"\r\n\r\n"))
        if reply.status != 101:
            raise Broken("the handshake was answered with %d" % reply.status)
        accept = base64.b64encode(hashlib.sha1((KEY + GUID).encode()).digest()).decode()
        if reply.fields.get("sec-websocket-accept") != accept:
            raise Broken("Sec-WebSocket-Accept: is %r, and not %r"
                         % (reply.fields.get("sec-websocket-accept"), accept))
        if not reply.has("upgrade", "websocket") or not reply.has("connection", "upgrade"):
            raise Broken("101 needs Upgrade: websocket, and Connection: Upgrade")
        for name in "sec-websocket-extensions", "sec-websocket-protocol":
            if name in reply.fields:
                raise Broken("nobody has asked for " + name)

    def frame(self):
        """The next one: its FIN, opcode and payload."""
        first, second = self.take(2)
        length = second & 0x7f
        if second & 0x80 or first & 0x70:
            raise Broken("a frame begins with the bytes %02x %02x: a mask, or a reserved bit"
                         % (first, second))
        if length >= 126:
            size = 2 if length == 126 else 8
            length = int.from_bytes(self.take(size), "big")
            if length < (126 if size == 2 else 65536):
                raise Broken("a length of %d takes %d bytes more" % (length, size))
        if first & 0x0f >= CLOSE and (length > 125 or not first & FIN):
            raise Broken("a control frame of %d bytes, or a fragment of one" % length)
        return first & FIN, first & 0x0f, self.take(length)

    def next(self):
        """The next message, as text; or (PONG, payload), or (CLOSE, code)."""
        message = b""
        opcode = CONTINUATION
        while True:
            fin, kind, payload = self.frame()
            if kind == CLOSE:
                if len(payload) == 1:
                    raise Broken("a Close frame with half a code")
                return CLOSE, int.from_bytes(payload[:2], "big") if payload else None
            if kind >= CLOSE:
                return kind, payload
            if (kind == CONTINUATION) == (opcode == CONTINUATION):
                raise Broken("a frame of kind %d does not belong here" % kind)
            opcode = opcode or kind
            message += payload
            if fin:
                return message.decode()  # ValueError: not UTF-8


def line_of(c):
    return c.until(b"\n").decode().rstrip("\n")


def member(port, name, **options):
    """A browser that is in the room."""
    w = WebSocket(port, **options)
    w.send(text(name))
    welcome = w.next()
    if not isinstance(welcome, str) or not welcome.startswith("+welcome %s, here: " % name):
        raise Broken("no welcome for %s, but %r" % (name, welcome))
    return w


# ---- rules ----

def expect(what, expected, found):
    if found != expected:
        raise Broken("%s: expected %r\n%*sfound %r" % (what, expected, len(what) + 5, "", found))


# Each row: the rule, what a browser sends, what others hear, the code of the Close that it gets,
# and of Pongs the last one. A row that breaks no rule ends with a Close of ours.
MASKS = [
    ("5.3: a masked frame is heard", text("hello") + close(), ["hello"], 1000),
    ("5.3: a mask of zeros is a mask", text("hello", mask=bytes(4)) + close(), ["hello"], 1000),
    ("5.3: each frame has its own mask",
     text("one", mask=b"abcd") + text("two", mask=b"\xff\0\xff\1") + close(), ["one", "two"], 1000),
    ("5.1: a frame without a mask: 1002", text("hello", mask=None), [], 1002),
    ("5.1: what came before it is heard", text("hello") + text("no", mask=None), ["hello"], 1002),
    ("5.1: a Ping without a mask: 1002", ping(b"x", mask=None), [], 1002),
    ("5.2: a reserved bit, RSV1 (nobody has agreed on compression): 1002",
     frame(FIN | 0x40 | TEXT, "hello"), [], 1002),
    ("5.2: RSV2: 1002", frame(FIN | 0x20 | TEXT, "hello"), [], 1002),
    ("5.2: RSV3, in a Ping: 1002", frame(FIN | 0x10 | PING), [], 1002),
    *[("5.2: opcode %d, which nothing is: 1002" % n, frame(FIN | n, "x"), [], 1002)
      for n in (3, 7, 11, 15)],
    ("5.6: a binary message, which no one can read here: 1003", frame(FIN | BINARY, "x"), [], 1003),
]
SIZES = [
    *[("5.2: a message of %d bytes" % n, text("x" * n) + close(), ["x" * n], 1000)
      for n in (1, 125, 126, 127, 2000)],
    *[("5.2: a message of %d bytes: 16 lines of 1,000, and the rest" % n,
       text(("x" * 999 + "\n") * 65 + "y" * (n - 65000)) + close(),
       ["x" * 999] * 65 + ["y" * (n - 65000)], 1000) for n in (65535, 65536)],
    ("5.2: 125 bytes, and the length in two bytes: 1002", text("x" * 125, size=2), [], 1002),
    ("5.2: 65,535 bytes, and the length in eight bytes: 1002",
     text("x" * 65535, size=8), [], 1002),
    ("5.2: a length with its highest bit set: 1002", text("x", length=1 << 63, size=8), [], 1002),
    ("a line of 2,001 bytes: 1009", text("x" * 2001), [], 1009),
    ("a line of 2,003 bytes in three fragments, without an end: 1009",
     begin("x" * 1000) + more("x" * 1000) + more("xxx"), [], 1009),
    ("a line that claims to have 2^62 bytes: 1009",
     text("x" * 3000, length=1 << 62, size=8), [], 1009),
    ("an empty message says nothing", text("") + text("x") + close(), ["x"], 1000),
    ("a message of three lines, and one with a newline at its end",
     text("a\nb\r\n\nc") + text("d\n") + text("e") + close(), ["a", "b", "c", "d", "e"], 1000),
]
FRAGMENTS = [
    ("5.4: a message in three fragments", begin("he") + more("ll") + last("o") + close(),
     ["hello"], 1000),
    ("5.4: fragments without bytes", begin("") + more("") + more("hello") + last() + close(),
     ["hello"], 1000),
    ("5.4: no line ends before its message does",
     begin("a\nb") + more("c\n") + more("d") + last("e") + close(), ["a", "bc", "de"], 1000),
    ("5.5: a Ping between fragments gets its Pong, and is no part of the message",
     begin("he") + ping(b"now") + last("llo") + close(), ["hello"], 1000, b"now"),
    ("5.5: a Close between fragments: the message is not heard", begin("he") + close(), [], 1000),
    ("5.4: a continuation of nothing: 1002", more("x"), [], 1002),
    ("5.4: the last part of nothing: 1002", text("x") + last("y"), ["x"], 1002),
    ("5.4: a message within a message: 1002", begin("x") + text("y"), [], 1002),
    ("5.4: a fragment of a binary message: 1003", frame(BINARY, "x"), [], 1003),
]
CONTROLS = [
    ("5.5.2: a Ping gets a Pong with the same bytes", ping(b"\0\xffping") + close(), [], 1000,
     b"\0\xffping"),
    ("5.5.2: a Ping without bytes", ping() + close(), [], 1000, b""),
    ("5.5: a Ping of 125 bytes", ping(b"p" * 125) + close(), [], 1000, b"p" * 125),
    ("5.5: a Ping of 126 bytes: 1002", ping(b"p" * 126), [], 1002),
    ("5.5: a Close of 126 bytes: 1002", close(1000, b"r" * 124), [], 1002),
    ("5.5: a fragment of a Ping: 1002", frame(PING, b"p"), [], 1002),
    ("5.5.3: of several Pings, the last one at least gets its Pong",
     ping(b"1") + ping(b"2") + ping(b"3") + close(), [], 1000, b"3"),
    ("5.5.3: a Pong that nobody has asked for is ignored",
     frame(FIN | PONG, b"p") + text("x") + close(), ["x"], 1000),
]
CODES = [
    *[("7.4: a Close with %d is answered with it" % n, close(n, "bye".encode()), [], n)
      for n in (1000, 1001, 1003, 1007, 1011, 3000, 4999)],
    ("5.5.1: a Close without a code", frame(FIN | CLOSE), [], None),
    ("5.5.1: a Close with half a code: 1002", frame(FIN | CLOSE, b"\3"), [], 1002),
    ("5.5.1: the same after a Ping whose payload is a whole one: 1002",
     ping(b"\3\xe8") + frame(FIN | CLOSE, b"\3"), [], 1002, b"\3\xe8"),
    *[("7.4: a Close with %d, which nobody may send: 1002" % n, close(n), [], 1002)
      for n in (0, 999, 1004, 1005, 1006, 1015, 2999, 5000, 65535)],
    ("5.5.1: a Close whose reason is not UTF-8: 1007", close(1000, b"\xff"), [], 1007),
    ("5.5.1: nothing is heard after a Close", close(1000) + text("x") + ping(), [], 1000),
    ("what was said before a Close is heard", text("x") + close(1001), ["x"], 1001),
    ("/quit: +bye, then 1000", text("/quit"), [], 1000),
]
KISS = "κόσμε 你好 🙂".encode()
UTF8 = [
    ("8.1: UTF-8", text(KISS) + close(), [KISS.decode()], 1000),
    ("8.1: a character may lie in two fragments",
     b"".join(begin(KISS[:1]) if i == 0 else more(KISS[i:i + 1]) for i in range(len(KISS)))
     + last() + close(), [KISS.decode()], 1000),
    ("8.1: a Ping within a character",
     begin("🙂".encode()[:2]) + ping(b"p") + last("🙂".encode()[2:]) + close(), ["🙂"], 1000, b"p"),
    ("8.1: a character that two messages share: 1007",
     text("🙂".encode()[:2]) + text("🙂".encode()[2:]), [], 1007),
    *[("8.1: bytes that are not UTF-8 (%s): 1007" % what, text(b"a" + data + b"z"), [], 1007)
      for what, data in (("never a byte", b"\xff"), ("a lone continuation", b"\x80"),
                         ("a character too long by one", b"\xc0\xaf"), ("half of a pair",
                          b"\xed\xa0\x80"), ("too large", b"\xf4\x90\x80\x80"))],
    ("8.1: the same in two fragments: 1007", begin(b"a\xed") + last(b"\xa0\x80"), [], 1007),
    ("8.1: a message that ends within a character: 1007", text(b"a\xe2\x82"), [], 1007),
    ("what was said before it is heard", text("x") + text(b"\xff"), ["x"], 1007),
    ("control characters are cleaned, as everyone's are",
     text("a\x1b[2J\0\x9b\u202eb") + close(), ["a�[2J���b"], 1000),
]


def check_frames(port, rows, piece):
    witness = Connection(port)
    witness.send(b"witness\n")
    line_of(witness)
    for number, (rule, data, said, code, *pong) in enumerate(rows):
        try:
            check_frames_row(port, witness, "m%d" % number, data, said, code, pong, piece)
        except (Broken, ValueError) as problem:
            yield rule, piece, problem
            witness.socket.close()
            witness = Connection(port)
            witness.send(b"witness\n")
            line_of(witness)
    witness.send(b"/quit\n")
    witness.to_end()


def check_frames_row(port, witness, name, data, said, code, pong, piece):
    w = member(port, name, piece=piece)
    w.send(data, piece)
    answers = []
    while not answers or answers[-1][0] != CLOSE:
        answers.append(w.next())
    expect("the code of its Close", code, answers[-1][1])
    expect("what followed it", b"", w.to_end())
    w.socket.close()
    pongs = [answer[1] for answer in answers if answer[0] == PONG]
    expect("its last Pong", pong, pongs[-1:])
    expect("others hear", "* %s joined" % name, line_of(witness))
    for line in said:
        expect("others hear", "%s: %s" % (name, line), line_of(witness))
    heard = line_of(witness)
    if not heard.startswith("* %s left" % name):
        raise Broken("others hear %r, and not that it has left" % heard)


# Each row: the rule, a request, the status of the reply.
PAGE = {"line": "GET / HTTP/1.1", "without": "Upgrade Connection"}
REQUESTS = [
    ("the page", request(**PAGE), 200),
    ("the page, for a browser that has found us as localhost",
     request(**{**PAGE, "host": "localhost:%d"}), 200),
    ("the page, by IPv6", request(**{**PAGE, "host": "[::1]:%d"}), 200),
    ("the page, through a tunnel from another port",
     request(**{**PAGE, "host": "127.0.0.1:80"}), 200),
    ("no other page", request(**{**PAGE, "line": "GET /index.html HTTP/1.1"}), 404),
    ("RFC 9112, 3: no version", request(**{**PAGE, "line": "GET /"}), 400),
    ("RFC 9112, 3: two spaces", request(**{**PAGE, "line": "GET  / HTTP/1.1"}), 400),
    ("RFC 9112, 3.2: no target", request(**{**PAGE, "line": "GET  HTTP/1.1"}), 400),
    *[("RFC 9112, 2.3: what is no version: it is HTTP/, a digit, a dot, a digit",
       request(**{**PAGE, "line": "GET / " + version}), 400)
      for version in ("HTTP/xyz", "HTTP/1", "HTTP/1.", "HTTP/.11", "HTTP/1,1", "HTTP/x.1",
                      "HTTP/1.x", "HTTP/11.1", "HTTP/1.10", "HTTP/1.1 ", "http/1.1", "HTTPS/1.1",
                      "ICY/11.1", "")],
    *[("RFC 9110, 15.6.6: another major version", request(**{**PAGE, "line": "GET / " + version}),
       505) for version in ("HTTP/2.0", "HTTP/0.9", "HTTP/3.1")],
    *[("RFC 9110, 2.5: another minor version of HTTP/1",
       request(**{**PAGE, "line": "GET / " + version}), 200)
      for version in ("HTTP/1.0", "HTTP/1.2", "HTTP/1.9")],
    ("RFC 9112, 3.2: no Host", request(**{**PAGE, "without": "Host"}), 400),
    ("RFC 9112, 3.2: no Host, which HTTP/1.1 wants: a version of which we know nothing comes first",
     request(**{**PAGE, "without": "Host", "line": "GET / HTTP/2.0"}), 505),
    ("RFC 9112, 3: no other line makes up for a malformed request line",
     request(**{**PAGE, "line": "GET /\x01 HTTP/1.1\r\nGET / HTTP/2.0"}), 400),
    ("RFC 9112, 3.2: two of them", request("Host: localhost", **PAGE), 400),
    ("RFC 9112, 5.1: a space before the colon", request("Origin : x", **PAGE), 400),
    ("RFC 9112, 5.2: a line that continues another", request("A: b\r\n c", **PAGE), 400),
    ("RFC 9110, 5.5: a control character", request("A: \x01", **PAGE), 400),
    ("RFC 9110, 5.5: a NUL", request("A: \0", **PAGE), 400),
    ("RFC 9112, 5: no colon", request("A", **PAGE), 400),
    ("RFC 6585, 5: a head of 8,192 bytes is not too long",
     request("A: " + "x" * (8192 - len(request("A: ", **{**PAGE, "host": "127.0.0.1"}))),
             **{**PAGE, "host": "127.0.0.1"}), 200),
    ("RFC 6585, 5: one of more than that is",
     request("A: " + "x" * 8192, **PAGE), 431),
    ("RFC 6585, 5: one that never ends is", "GET / HTTP/1.1\r\nA: " + "x" * 1000000, 431),
]
HANDSHAKES = [
    ("4.2.1: no Upgrade: 426 (RFC 9110, 15.5.22)", request(without="Upgrade"), 426),
    ("4.2.1: Upgrade to something else", request("Upgrade: h2c", without="Upgrade"), 426),
    ("4.2.1: no Connection: Upgrade", request("Connection: close", without="Connection"), 426),
    ("4.4: no version", request(without="Sec-WebSocket-Version"), 426),
    ("4.4: another version",
     request("Sec-WebSocket-Version: 8", without="Sec-WebSocket-Version"), 426),
    ("4.2.1: no key", request(without="Sec-WebSocket-Key"), 400),
    ("11.3.1: two keys", request("Sec-WebSocket-Key: " + KEY), 400),
    *[("4.2.1: a key that is not 16 bytes in base64",
       request("Sec-WebSocket-Key: " + key, without="Sec-WebSocket-Key"), 400)
      for key in ("", "x", KEY[:20] + "====", KEY[:-4], KEY + KEY, "!" + KEY[1:])],
    ("4.2.1: HTTP/1.0, which has no Upgrade (RFC 9110, 7.8)",
     request(line="GET /room HTTP/1.0"), 426),
    ("4.2.1: HTTP/2.0", request(line="GET /room HTTP/2.0"), 505),
    ("4.2.1: another place", request(line="GET /rooms HTTP/1.1"), 404),
]
# "%d" is the port.
ORIGINS = [
    ("10.2: another site", request("Origin: http://evil.example"), 403),
    ("10.2: another port is another site", request("Origin: http://127.0.0.1:1%d"), 403),
    ("10.2: the same port, another name", request("Origin: http://localhost:%d"), 403),
    ("10.2: a page without a site, from a file", request("Origin: null"), 403),
    ("10.2: what only begins with our name", request("Origin: http://127.0.0.1:%d.evil.example"),
     403),
    ("10.2: what only ends with our name",
     request("Origin: http://evil.example/http://127.0.0.1:%d"), 403),
    ("10.2: another scheme", request("Origin: file://127.0.0.1:%d"), 403),
    ("10.2: no name at all", request("Origin:"), 403),
    ("10.2: two of them", request("Origin: http://127.0.0.1:%d", "Origin: http://evil.example"),
     400),
    *[("a name that anyone can make lead here (DNS rebinding): 421 (RFC 9110, 15.5.20)",
       request("Origin: http://" + host, host=host), 421)
      for host in ("evil.example:%d", "localhost.evil.example:%d", "127.0.0.1.evil.example",
                   "1.evil.example", "127.0.0.1evil.example", "evil.example:127.0.0.1", "")],
    ("the page, under such a name", request(**{**PAGE, "host": "evil.example:%d"}), 421),
]
OPENED = [
    ("1.3: the sample of the RFC", (), None),
    ("4.2.1: words in any case, among others", ("Connection: keep-alive, x", "upgrade: WebSocket"),
     None),
    ("9.1: extensions are not needed", ("Sec-WebSocket-Extensions: permessage-deflate",), None),
    ("10.2: a page of ours", ("Origin: http://127.0.0.1:%d",), None),
    ("10.2: a page of ours, with TLS in front of it", ("origin: HTTPS://127.0.0.1:%d",), None),
    ("10.2: no browser", (), None),
    ("4.2.2: a handshake in single bytes", ("Origin: http://127.0.0.1:%d",), 1),
]


def check_requests(port, rows, piece):
    for rule, asked, status in rows:
        asked = asked.replace("%d", str(port))
        try:
            reply = ask(port, asked, piece if piece != 1 or len(asked) < 1000 else None)
            expect("the status", status, reply.status)
            if status == 426:
                expect("it says which version it wants", "13",
                       reply.fields.get("sec-websocket-version"))
                expect("Upgrade: websocket", True, reply.has("upgrade", "websocket"))
            if "date" not in reply.fields:
                raise Broken("a reply without Date (RFC 9110, 6.6.1)")
            if not reply.has("connection", "close"):
                raise Broken("a reply without Connection: close (RFC 9112, 9.6)")
        except (Broken, ValueError) as problem:
            yield rule, piece, problem


def check_opened(port, rows):
    for rule, fields, piece in rows:
        try:
            w = WebSocket(port, *[field.replace("%d", str(port)) for field in fields], piece=piece)
            w.send(text("guest") + ping(b"x") + close())
            answers = [w.next() for _ in range(3)]
            expect("the Close", (CLOSE, 1000), answers[2])
            if (PONG, b"x") not in answers:
                raise Broken("no Pong, but %r" % answers)
            expect("then", b"", w.to_end())
            w.socket.close()
        except (Broken, ValueError) as problem:
            yield rule, piece, problem


# ---- whole tests ----

def check_page(port):
    """It is HTML, small, and asks for nothing from elsewhere; no script but its own may run."""
    reply = ask(port, request(**PAGE) % port)
    expect("the status", 200, reply.status)
    expect("Content-Type", "text/html; charset=utf-8", reply.fields.get("content-type").lower())
    body = reply.body.decode()
    if not re.match(r"<!doctype html>", body, re.I) or "<script" not in body:
        raise Broken("no page, but %r" % body[:200])
    if len(body.splitlines()) > 150:
        raise Broken("the page has %d lines, more than 150" % len(body.splitlines()))
    if re.search(r"""(src|href)\s*=\s*['"]?(?!['"\s]*data:|['"\s])|@import|url\(""", body):
        raise Broken("the page loads something else")
    policy = {}
    for part in reply.fields.get("content-security-policy", "").split(";"):
        name, *values = part.split() or [""]
        policy[name] = values
    expect("Content-Security-Policy: default-src", ["'none'"], policy.get("default-src"))
    expect("Content-Security-Policy: frame-ancestors", ["'none'"], policy.get("frame-ancestors"))
    scripts = re.findall(r"<script>(.*?)</script>", body, re.S)
    hashes = ["'sha256-%s'" % base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
              for script in scripts]
    expect("Content-Security-Policy: script-src", hashes, policy.get("script-src"))


def check_forms(port):
    """A page of another site can send a form or fetch(): no line of it may come into the room."""
    witness = Connection(port)
    witness.send(b"witness\n")
    line_of(witness)
    for method in "POST", "PUT", "OPTIONS":
        c = Connection(port)
        body = "\nmallory\nhello\n/quit\n"
        c.send(("%s / HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nOrigin: http://evil.example\r\n"
                "Content-Type: text/plain\r\nContent-Length: %d\r\n\r\n%s"
                % (method, port, len(body), body)).encode())
        c.half_close()
        c.to_end()
    witness.send(b"/who\n")
    expect("the witness hears", "+here: witness", line_of(witness))


def check_together(port):
    """A terminal and two browsers in one room."""
    bob = Connection(port)
    bob.send(b"bob\n")
    expect("bob hears", "+welcome bob, here: bob", line_of(bob))
    ann = WebSocket(port)
    ann.send(text("ann"))
    expect("ann hears", "+welcome ann, here: bob, ann", ann.next())
    expect("bob hears", "* ann joined", line_of(bob))
    ann.send(text("hello, bob"))
    expect("bob hears", "ann: hello, bob", line_of(bob))
    bob.send("grüß dich\r\n<b>not bold</b> & so on\n".encode())
    expect("ann hears", "bob: grüß dich", ann.next())
    expect("ann hears", "bob: <b>not bold</b> & so on", ann.next())
    for size in 125, 126, 127, 2005:
        line = "x" * (size - len("bob: "))
        bob.send(line.encode() + b"\n")
        expect("a message of %d bytes" % size, "bob: " + line, ann.next())
    eve = WebSocket(port)
    eve.send(text("Ann"))
    expect("eve hears", "-name Ann: taken", eve.next())
    eve.send(text("eve"))
    expect("eve hears", "+welcome eve, here: bob, ann, eve", eve.next())
    ann.send(text("/msg eve a secret") + text("/nick anna"))
    expect("ann hears", "* eve joined", ann.next())
    expect("eve hears", "ann (to you): a secret", eve.next())
    for w in ann, eve:
        if w is ann:
            expect("ann hears", "+sent to eve", w.next())
        expect("she hears", "* ann is now known as anna", w.next())
    eve.send(text("/help"))
    help_text = [eve.next() for _ in range(6)]
    if [line for line in help_text if "\n" in line or not line.startswith("+/")]:
        raise Broken("/help is not six messages of one line each: %r" % help_text)
    eve.socket.close()
    expect("ann hears", "* eve left", ann.next())
    ann.half_close()
    for line in "* eve joined", "* ann is now known as anna", "* eve left", "* anna left":
        expect("bob hears", line, line_of(bob))
    get = Connection(port)
    get.send(b"GET\n")
    expect("a member may have the name GET", "+welcome GET, here: bob, GET", line_of(get))


def check_refused(port):
    """Three names, and a line after the room has had enough."""
    w = WebSocket(port)
    w.send(text("") + text("a b\n") + begin("") + last("") + text("*") + text("+"))
    for name in "a b", "*", "+":
        heard = w.next()
        if not heard.startswith("-name %s: " % name):
            raise Broken("no refusal of the name %r, but %r" % (name, heard))
    expect("then", "-too many tries", w.next())
    expect("then", (CLOSE, 1008), w.next())
    expect("then", b"", w.to_end())
    w = member(port, "ann")
    w.send(text("x" * 2001))
    expect("ann hears", "-line of more than 2000 bytes", w.next())
    expect("then", (CLOSE, 1009), w.next())
    expect("then", b"", w.to_end())


def promptly(talk):
    """What talk() returns: it connects, and sends at once, as browsers do. If it takes more than
    half a second, because this machine does something else, the room may have taken it for a silent
    terminal: then once more."""
    for _ in range(30):
        begun = time.monotonic()
        problem = None
        try:
            result = talk()
        except Broken as broken:
            problem = broken
        if time.monotonic() - begun < 0.5:
            if problem:
                raise problem
            return result
    raise Broken("30 times, nothing came of it within half a second; at last: %s" % problem)


def begin_request(port):
    c = Connection(port)
    c.send(b"GET / HTTP/1.1\r\nHo")
    return c


def check_full(port):
    """The room has two places here, which are taken."""
    said = "-the room is full (2)"
    bob = Connection(port)
    bob.send(b"bob\n")
    line_of(bob)
    ann = member(port, "ann")
    expect("bob hears", "* ann joined", line_of(bob))
    silent = Connection(port)
    begun = promptly(lambda: begin_request(port))
    for piece in None, 1:
        reply = promptly(lambda: ask(port, request(**PAGE) % port, piece))
        expect("the status of the page", 503, reply.status)
        expect("the body", said[1:].encode() + b"\n", reply.body)
        for field in "date", "content-length":
            if field not in reply.fields:
                raise Broken("503 without %s" % field)
        if not reply.has("connection", "close"):
            raise Broken("503 without Connection: close")
    for rule, asked, status in ("no target", request(**{**PAGE, "line": "GET  HTTP/1.1"}), 400), \
            ("no such page", request(**{**PAGE, "line": "GET /x HTTP/1.1"}), 404), \
            ("another site", request("Origin: http://evil.example"), 403):
        reply = promptly(lambda: ask(port, asked.replace("%d", str(port))))
        expect("the status for " + rule, status, reply.status)
    for name in b"", text("eve"), text("eve") + text("hello") + close(3000):
        w = promptly(lambda: WebSocket(port, behind=name))
        expect("a browser hears", said, w.next())
        expect("then", (CLOSE, 1013), w.next())
        expect("then", b"", w.to_end())
    for line in b"eve\nhello\n", b"GET\n", b"G\n":
        c = Connection(port)
        c.send(line)
        expect("a terminal hears", said, line_of(c))
        expect("then", b"", c.to_end())
    gone = Connection(port)
    gone.half_close()
    expect("one that sends nothing but FIN hears", said, line_of(gone))
    expect("a silent one hears", said, line_of(silent))
    expect("a request that is not complete after a second", 503, Reply(begun.to_end()).status)
    ann.socket.close()
    expect("bob hears", "* ann left", line_of(bob))
    eve = member(port, "eve")
    expect("bob hears", "* eve joined", line_of(bob))
    eve.send(text("there is a place again"))
    expect("bob hears", "eve: there is a place again", line_of(bob))


def check_names(port):
    """The longest line is the list of names: 65,535 bytes, then one more. The room has 2,000
    places here."""
    names = ["m%04d" % n + "x" * 27 for n in range(1 + (65535 - len("+here: reader")) // 34)]
    names[0] = "y" * (32 + 65535 - len("+here: reader, " + ", ".join(names)))
    reader = member(port, "reader")
    crowd = {}
    poller = select.epoll()
    threading.Thread(target=discard, args=(poller, crowd), daemon=True).start()
    for name in names:
        c = Connection(port)
        c.send(name.encode() + b"\n")
        crowd[c.socket.fileno()] = c
        poller.register(c.socket, select.EPOLLIN)
    first = next(iter(crowd.values()))
    for _ in names:
        heard = reader.next()
        if not re.fullmatch(r"\* \w+ joined", heard):
            raise Broken("the reader hears %r" % heard)
    reader.send(text("/who"))
    listed = reader.next()
    expect("the size of the list", 65535, len(listed))
    if sorted(listed.split(", ")) != sorted(["+here: reader"] + names):
        raise Broken("these are not all the names: %r..." % listed[:200])
    renamed = names[0] + "z"
    first.send(b"/nick " + renamed.encode() + b"\n")
    expect("the reader hears", "* %s is now known as %s" % (names[0], renamed), reader.next())
    reader.send(text("/who"))
    if reader.next() != listed.replace(names[0], renamed):
        raise Broken("the list with one byte more is another one")


def discard(poller, crowd):
    """In a thread: reads all that comes to these connections, until the program ends."""
    while True:
        for fd, _ in poller.poll():
            try:
                if crowd[fd].socket.recv(65536):
                    continue
            except OSError:
                pass
            poller.unregister(fd)


def check_late(port):
    """10 seconds for a head and a name."""
    w = WebSocket(port)
    c = Connection(port)
    c.send(b"GET / HTTP/1.1\r\nHo")
    for late in w, c:
        late.socket.settimeout(14 * PATIENCE)
    expect("the status", 408, Reply(c.to_end()).status)
    expect("without a name", "-no name within 10 seconds", w.next())
    expect("then", (CLOSE, 1008), w.next())
    expect("then", b"", w.to_end())


def check_history(port):
    """The room keeps 20 messages here."""
    bob = Connection(port)
    bob.send(b"bob\nhello\n/me waves\n/who\n")
    line_of(bob)
    expect("bob hears", "+here: bob", line_of(bob))
    ann = member(port, "ann")
    expect("ann hears", "(earlier) bob: hello", ann.next())
    expect("ann hears", "(earlier) * bob: waves", ann.next())
    ann.send(text("from a browser") + text("/who"))
    expect("ann hears", "+here: bob, ann", ann.next())
    for name in "eve", "eva":
        eve = Connection(port)
        eve.send(name.encode() + b"\n")
        line_of(eve)
        for line in "bob: hello", "* bob: waves", "ann: from a browser":
            expect(name + " hears", "(earlier) " + line, line_of(eve))
    for name in "dan", "don":
        w = member(port, name)
        for line in "bob: hello", "* bob: waves", "ann: from a browser":
            expect(name + " hears", "(earlier) " + line, w.next())
    bob.send(b"".join(b"%d\n" % n for n in range(20)) + b"/who\n")
    while not line_of(bob).startswith("+here"):
        pass
    w = member(port, "new")
    for n in range(20):
        expect("new hears", "(earlier) bob: %d" % n, w.next())


def check_pace(port):
    """300 lines in one message, and a Close behind them: heard one after the other."""
    bob = Connection(port)
    bob.send(b"bob\n")
    line_of(bob)
    ann = member(port, "ann")
    expect("bob hears", "* ann joined", line_of(bob))
    ann.send(text("\n".join(map(str, range(300)))) + close(3000))
    for n in range(300):
        expect("bob hears", "ann: %d" % n, line_of(bob))
    expect("bob hears", "* ann left", line_of(bob))
    expect("ann gets", (CLOSE, 3000), ann.next())


def gets_pong(w, payload):
    """Perhaps after notices."""
    heard = w.next()
    while isinstance(heard, str):
        heard = w.next()
    expect("it gets", (PONG, payload), heard)


def check_endless(port):
    """What never ends takes no memory: the test looks at how much the server has."""
    w = member(port, "ann")
    w.send(text("", length=(1 << 63) - 1, size=8, mask=bytes(4)) + b"\n" * 8000000)
    w.socket.close()
    w = member(port, "ben")
    w.send(begin("") + more("") * 200000 + ping(b"still there"))
    gets_pong(w, b"still there")
    w.socket.close()
    crowd = [member(port, "c%d" % i) for i in range(50)]
    for c in crowd:
        c.send(text("x" * 1999, length=1 << 62, size=8))
    w = member(port, "dan")
    w.send(ping(b"and still"))
    gets_pong(w, b"and still")


def check_pings(port):
    """Pings from someone who never reads: dropped, as any slow reader is."""
    bob = Connection(port)
    bob.send(b"bob\n")
    line_of(bob)
    ann = member(port, "ann", rcvbuf=4096)
    expect("bob hears", "* ann joined", line_of(bob))
    ann.socket.settimeout(60 * PATIENCE)
    data = ping(b"p" * 125) * 60
    try:
        for _ in range(20000):
            ann.socket.sendall(data)
            ann.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except (BrokenPipeError, ConnectionResetError):
        pass
    else:
        raise Broken("20,000 times 60 Pings were taken, and no Pong was read")
    expect("bob hears", "* ann left (too slow)", line_of(bob))


def check_slow(port):
    """A browser that does not read any more is dropped; one that reads has heard everything."""
    bob = Connection(port)
    bob.send(b"bob\n")
    line_of(bob)
    reader = member(port, "reader")
    slow = member(port, "slow", rcvbuf=4096)
    bob.until(b"* slow joined\n")
    expect("the reader hears", "* slow joined", reader.next())
    sent = 0
    left = False
    while not left:
        if sent > 20000:
            raise Broken("20,000 lines were said, and slow is still there")
        bob.send(b"".join(b"%06d %s\n" % (sent + i, b"x" * 900) for i in range(50)))
        for i in range(50):
            heard = reader.next()
            if heard == "* slow left (too slow)":
                left = True
                heard = reader.next()
            expect("the reader hears", "bob: %06d " % (sent + i) + "x" * 900, heard)
        sent += 50
    expect("bob hears", "* slow left (too slow)", line_of(bob))


def check_stop(port):
    """The test sends SIGTERM once everyone is there."""
    bob = Connection(port)
    bob.send(b"bob\n")
    line_of(bob)
    ann = member(port, "ann")
    unnamed = WebSocket(port)
    print("ready", flush=True)
    expect("ann hears", "* server is closing", ann.next())
    for w in ann, unnamed:
        expect("then", (CLOSE, 1001), w.next())
        expect("then", b"", w.to_end())


WHOLE = {name[6:]: check for name, check in list(globals().items())
         if name.startswith("check_") and check.__doc__}  # check_NAME: the group NAME
TABLES = {"masks": MASKS, "sizes": SIZES, "fragments": FRAGMENTS, "controls": CONTROLS,
          "codes": CODES, "utf8": UTF8}
HTTP = {"requests": REQUESTS, "handshakes": HANDSHAKES, "origins": ORIGINS}


def findings(port, group):
    if group in TABLES:
        small = [row for row in TABLES[group] if len(row[1]) < 300]
        yield from check_frames(port, TABLES[group], None)
        yield from check_frames(port, small, 1)
    elif group in HTTP:
        yield from check_requests(port, HTTP[group], None)
        yield from check_requests(port, HTTP[group][:3], 1)
        yield from check_requests(port, [row for row in HTTP[group] if "8,192" in row[0]], 8191)
    elif group == "opened":
        yield from check_opened(port, OPENED)
    else:
        try:
            WHOLE[group](port)
        except (Broken, ValueError) as problem:
            yield WHOLE[group].__doc__, None, problem


def main():
    bad = 0
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    for rule, piece, problem in findings(int(sys.argv[1]), sys.argv[2]):
        print("does not hold%s: %s\n  %s" % (" byte by byte" if piece else "", rule, problem))
        bad += 1
        if bad == 5:
            break
    sys.exit(bad > 0)


if __name__ == "__main__":
    main()
