#!/usr/bin/env python3
"""What no TLS library does, said to a TLS server: hostile.py PORT CA VERB...

Each verb is one visit, or several. It prints a line of what came back: alerts by their name, then
"end" (FIN) or "reset". The client of the handshakes is Python's own, between two memory BIOs, so
that every byte on its way can be held back, cut or changed.
"""
import os
import socket
import ssl
import struct
import sys

ALERTS = {0: "close_notify", 10: "unexpected_message", 20: "bad_record_mac", 22: "record_overflow",
          40: "handshake_failure", 47: "illegal_parameter", 50: "decode_error",
          51: "decrypt_error", 70: "protocol_version", 100: "no_renegotiation"}
ALERT, HANDSHAKE, DATA = 21, 22, 23
port, ca = int(sys.argv[1]), sys.argv[2]


def connect():
    s = socket.create_connection(("127.0.0.1", port), timeout=8)
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return s


def reset(s):
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    s.close()


def record(kind, data, version=0x0303):
    return struct.pack("!BHH", kind, version, len(data)) + data


def replies(s):
    """Reads to the end, and tells the records in words."""
    got, words = b"", []
    try:
        while more := s.recv(65536):
            got += more
        end = "end"
    except ConnectionError:
        end = "reset"
    except TimeoutError:
        end = "still open"
    while len(got) >= 5:
        kind, version, size = struct.unpack("!BHH", got[:5])
        body, got = got[5:5 + size], got[5 + size:]
        if kind == ALERT and size == 2:
            words.append(ALERTS.get(body[1], str(body[1])))
        elif kind == ALERT or kind == DATA and size == 19:
            words.append("alert")  # encrypted; of 1.3 it is a record of data, by its size
        elif kind == HANDSHAKE and body[0] == 2:
            session = 38 + 1 + body[38]
            words.append("hello %04x compression %d"
                         % (struct.unpack("!H", body[session:session + 2])[0], body[session + 2]))
    return " ".join(words + [end])


def send(s, data):
    try:
        s.sendall(data)
    except ConnectionError:
        pass  # told by what it has sent before


def say(data):
    s = connect()
    send(s, data)
    return replies(s)


class Client:
    """A handshake in flights: what comes from here is in self.out until somebody sends it."""

    def __init__(self, version=ssl.TLSVersion.TLSv1_3):
        context = ssl.create_default_context(cafile=ca)
        context.minimum_version = context.maximum_version = version
        self.received, self.out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.received, self.out, server_hostname="localhost")
        self.s = connect()

    def step(self, call):
        """One try. True when it is done."""
        try:
            self.result = call()
            return True
        except ssl.SSLWantReadError:
            return False

    def flight(self):
        self.done = self.step(self.tls.do_handshake)
        return self.out.read()

    def hear(self):
        self.received.write(self.s.recv(65536))

    def shake(self):
        while True:
            self.s.sendall(self.flight())
            if self.done:
                return
            self.hear()

    def line(self, text):
        self.tls.write(text)
        self.s.sendall(self.out.read())
        while not self.step(lambda: self.tls.read(1000)):
            self.hear()
        return self.result


def extension(number, data):
    return struct.pack("!HH", number, len(data)) + data


def client_hello(version, suites, compression=b"\0"):
    """A ClientHello of TLS 1.2 or before, with what an EC certificate needs."""
    extensions = b"" if version < 0x0301 else (
        extension(10, b"\0\2\0\x17") + extension(11, b"\1\0") + extension(0xff01, b"\0") +
        extension(13, b"\0\6\4\3\2\3\4\1"))
    body = (struct.pack("!H", version) + os.urandom(32) + b"\0" +
            struct.pack("!H", 2 * len(suites)) + b"".join(struct.pack("!H", n) for n in suites) +
            bytes([len(compression)]) + compression)
    if extensions:
        body += struct.pack("!H", len(extensions)) + extensions
    return record(HANDSHAKE, b"\1" + struct.pack("!I", len(body))[1:] + body, min(version, 0x0301))


# The numbers are IANA's. Forward secrecy and an AEAD: only the last two, and 1.3's.
SUITES = {
    "null": (0xC006, 0xC010, 0x0001, 0x0002, 0x003B),
    "anonymous": (0xC018, 0xC019, 0x0034, 0x00A6, 0x006C),
    "export": (0x0003, 0x0006, 0x0008, 0x000B, 0x0014, 0x0017),
    "rc4-3des": (0x0004, 0x0005, 0x000A, 0xC007, 0xC008),
    "cbc": (0xC009, 0xC00A, 0xC023, 0xC024, 0xC013, 0xC014, 0x002F, 0x0035),
    "rsa-key-exchange": (0x009C, 0x009D, 0x002F, 0xC09C),
    "good": (0xC02B, 0xCCA9),
}
GOOD = SUITES["good"] + (0xC02C,)


def old_versions():
    return " ".join(say(client_hello(v, GOOD + SUITES["cbc"] + SUITES["rc4-3des"]))
                    for v in (0x0002, 0x0300, 0x0301, 0x0302))


def suites():
    return "\n".join(name + ": " + (say(client_hello(0x0303, SUITES[name])) if name != "good"
                                    else begin_only(client_hello(0x0303, GOOD)))
                     for name in SUITES)


def begin_only(hello, seconds=1):
    """What a good ClientHello gets: the answer waits for us, so we end."""
    s = connect()
    s.sendall(hello)
    s.settimeout(seconds)
    s.shutdown(socket.SHUT_WR)
    return replies(s)


def compression():
    return begin_only(client_hello(0x0303, GOOD, b"\1\0"))


def junk():
    """No TLS at all, and records that are none: each gets an alert, or the end."""
    words = [say(b"GET / HTTP/1.0\r\n\r\n"), say(b"hello\n" * 1000),
             say(record(HANDSHAKE, b"") * 40), say(record(HANDSHAKE, b"\1" * 18000)),
             say(record(DATA, b"hello\n")), say(record(ALERT, b"\2\x28")),
             say(record(HANDSHAKE, b"\2\0\0\0")), say(record(99, b"hello"))]
    return "\n".join(words)


def noise():
    return " ".join(say(os.urandom(n)) for n in (11, 100, 3000, 70000) for _ in range(5))


def after(data, version):
    c = Client(version)
    c.shake()
    if c.line(b"hello\n") != b"+hello\n":
        return "no reply"
    send(c.s, data)
    return replies(c.s)


def records():
    """Bad records in an encrypted conversation."""
    return "\n".join(after(data, v)
                     for v in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3)
                     for data in (record(DATA, b""), record(DATA, b"\0" * 18000),
                                  record(DATA, os.urandom(100)), record(HANDSHAKE, b"\0" * 40),
                                  b"hello\n" * 100))


def resets():
    """A reset, a cut and a half flight after each flight, in both versions."""
    visits = 0
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        for flights in range(4):
            for how in ("reset", "unread", "half", "fin"):
                c = Client(version)
                for _ in range(flights):
                    c.s.sendall(c.flight())
                    if c.done:
                        break
                    c.hear()
                data = c.flight() if not getattr(c, "done", False) else b""
                if how == "half":
                    c.s.sendall(data[:len(data) // 2])
                elif how != "fin" and data:
                    c.s.sendall(data)
                if how == "unread":
                    c.s.settimeout(0.02)
                    try:
                        c.s.recv(1)
                    except (TimeoutError, ConnectionError):
                        pass
                c.s.close() if how == "fin" else reset(c.s)
                visits += 1
    return "%d visits" % visits


def more_after_close_notify():
    """Nothing may follow close_notify (RFC 8446, 6.1). What does is not answered."""
    c = Client()
    c.shake()
    c.line(b"hello\n")
    c.step(c.tls.unwrap)
    send(c.s, c.out.read())
    send(c.s, record(DATA, os.urandom(60)) * 100)
    c.s.shutdown(socket.SHUT_WR)
    return replies(c.s)


def hello_file():
    sys.stdout.buffer.write(Client().flight())
    return None


for verb in sys.argv[3:]:
    told = globals()[verb.replace("-", "_")]()
    if told is not None:
        print(told)
