"""What strace and tcpdump have written, as one list of events in the order of time.

A Call is a system call of one program, a Segment is what one kernel sent to the other. Both clocks
are CLOCK_REALTIME, so their times can be compared (strace(1) -ttt, pcap-savefile(5)).
"""
import re
import struct
from dataclasses import dataclass, field


@dataclass
class Call:
    """One system call; end is None while it has not returned."""
    lane: str            # the program, or the thread, that made it
    start: float
    end: float = None
    name: str = ""       # as in C: accept for accept4, send for sendto, ...
    fd: int = None
    result: int = None
    error: str = ""      # EAGAIN
    data: bytes = None   # the bytes that were sent or received, maybe only the first of them
    asked: int = 0       # how many bytes the program asked to send
    words: str = ""      # what the scene calls these bytes
    detail: str = ""     # what else the picture says: SHUT_WR, a port
    inode: int = None    # of the socket, the same in all programs that have it
    protocol: str = ""   # TCP or UDP; "" for what is no such socket
    counted: bool = True  # how many bytes it moved belongs into the picture
    times: int = 1       # it stands for several such calls
    polls: bool = False  # it waits for sockets: poll, select, epoll_wait
    peer: int = None     # the port of the peer, where the call says it
    latest: float = float("inf")  # when the thread's next call began: it ended before


@dataclass
class Segment:
    """A TCP segment or a UDP datagram."""
    time: float
    sender: int          # ports
    receiver: int
    flags: str           # SYN, FIN, RST, ACK, PSH: separated by blanks; "" for UDP
    data: bytes = b""
    seq: int = 0
    lanes: tuple = ()    # of the sender and the receiver, once they are known
    repeated: bool = False  # it carries nothing that had not been sent before
    lost: bool = False   # the scene lost it on its way
    words: str = ""      # what the scene calls its bytes
    records: list = field(default_factory=list)  # names of TLS records that end in it

    @property
    def is_ack(self):
        """Only an ACK: whether it is sent, and when, depends on timers and load."""
        return self.flags == "ACK" and not self.data


@dataclass
class Note:
    """A sentence of the scene's own."""
    time: float
    text: str
    lanes: tuple = ()


@dataclass
class Trace:
    """A scene that has been played."""
    title: str
    about: str
    clients: list = field(default_factory=list)  # lanes, from left to right
    servers: list = field(default_factory=list)
    events: list = field(default_factory=list)
    missing: list = field(default_factory=list)  # what could not be recorded
    tls: bool = False


# ---- strace ----

NAMES = {"accept4": "accept", "sendto": "send", "recvfrom": "recv", "ppoll": "poll",
         "pselect6": "select", "_newselect": "select", "epoll_pwait": "epoll_wait",
         "epoll_pwait2": "epoll_wait", "readv": "read", "writev": "write"}
# recvmsg and sendmsg keep their names: they are calls of their own.
WAITERS = {"accept", "connect", "recv", "recvmsg", "read", "send", "sendmsg", "write", "poll",
           "select", "epoll_wait", "close"}
SENDERS = {"send", "sendmsg", "write"}
RECEIVERS = {"recv", "recvmsg", "read"}
POLLS = {"poll", "select", "epoll_wait"}
LINE = re.compile(r"(?P<start>\d+\.\d+) (?P<name>\w+)\((?P<rest>.*)$")
END = re.compile(r"\)\s+= (?P<value>-?\d+|0x[0-9a-f]+|\?)(<socket:\[(?P<inode>\d+)\]>)?"
                 r"( (?P<error>E\w+))?( \(.*\))? <(?P<took>[\d.]+)>$")
SOCKET = re.compile(r"(\d+)<socket:\[(\d+)\]>")
PORT = re.compile(r"port=htons\((\d+)\)")
MADE = {"SOCK_STREAM": "TCP", "SOCK_DGRAM": "UDP"}
ADDRESS = re.compile(r'inet_(?:addr\(|pton\(AF_INET6, )"[^"]*"')
# A buffer: its bytes, whether there are more of them, and its size, in an iovec or behind it.
BUFFER = re.compile(r'"((?:[^"\\]|\\.)*)"(?:\.\.\.)?(?:, (?:iov_len=)?(\d+))?')
ESCAPE = re.compile(rb"\\(x[0-9a-f]{2}|[0-7]{1,3}|.)")
SIMPLE = {b"n": b"\n", b"t": b"\t", b"r": b"\r", b"v": b"\v", b"f": b"\f"}


def unescape(text):
    """The bytes of a string as strace writes it."""
    def one(match):
        code = match.group(1)
        if code[:1] == b"x" and len(code) == 3:
            return bytes([int(code[1:], 16)])
        if code.isdigit():
            return bytes([int(code, 8) & 255])
        return SIMPLE.get(code, code)
    return ESCAPE.sub(one, text.encode())


def parse_call(line, lane):
    """The call in one line of strace -ttt -T -y, or None. The line may break off: a call that has
    not returned."""
    match = LINE.match(line)
    if not match:
        return None
    call = Call(lane, float(match["start"]), name=NAMES.get(match["name"], match["name"]))
    end = END.search(match["rest"])
    parse_arguments(call, match["rest"][:end.start()] if end else match["rest"])
    if end:
        parse_end(call, end)
    if call.name in RECEIVERS and (call.result or 0) <= 0:
        call.data = None  # an address: nothing was received
    return call


def parse_arguments(call, arguments):
    """Fills in what a program asked for."""
    socket = SOCKET.match(arguments)
    if socket:
        call.fd, call.inode = int(socket[1]), int(socket[2])
    port = PORT.search(arguments)
    if call.name == "bind" and port:
        call.detail = port[1]
    elif port:
        call.peer = int(port[1])
    if call.name == "socket" and arguments.startswith("AF_INET"):
        call.protocol = MADE.get(arguments.split(", ")[1].split("|")[0], "")
    if call.name in SENDERS | RECEIVERS:
        buffers = BUFFER.findall(ADDRESS.sub("", arguments))
        call.data = unescape("".join(text for text, _ in buffers)) if buffers else None
        call.asked = sum(int(size or 0) for _, size in buffers)
    call.polls = call.name == "epoll_wait" or (call.name in ("poll", "select")
                                               and "<socket:[" in arguments)
    if call.name == "shutdown":
        call.detail = arguments.rsplit(", ", 1)[-1]


def parse_end(call, end):
    """Fills in what it got; end is a match of END. A call that was interrupted got nothing."""
    if end["inode"]:
        call.inode = int(end["inode"])
    if end["value"] != "?":
        call.end = call.start + float(end["took"])
        call.result = int(end["value"], 0)
        call.error = end["error"] or ""


def protocols(calls):
    """{inode: TCP or UDP} of the sockets that these calls have made."""
    known = {}
    for call in calls:
        if call.name == "socket" and call.protocol:
            known[call.inode] = call.protocol
        elif call.name == "accept" and call.result is not None:
            known[call.inode] = "TCP"
    return known


# ---- pcap ----

FLAGS = ((2, "SYN"), (1, "FIN"), (4, "RST"), (8, "PSH"), (16, "ACK"))
ETHERNET = 14  # bytes of its header, which the loopback of Linux has, too


def parse_packet(time, packet):
    """The segment or datagram in an IP packet, or None."""
    version = packet[0] >> 4 if packet else 0
    if version == 4:
        protocol, header = packet[9], (packet[0] & 15) * 4
        size = struct.unpack_from("!H", packet, 2)[0] or len(packet)
    elif version == 6:
        protocol, header = packet[6], 40
        size = 40 + struct.unpack_from("!H", packet, 4)[0]
    else:
        return None
    payload = packet[header:size]
    if protocol == 17:
        sender, receiver = struct.unpack_from("!HH", payload)
        return Segment(time, sender, receiver, "", payload[8:])
    if protocol != 6:
        return None
    sender, receiver, seq = struct.unpack_from("!HHI", payload)
    flags = " ".join(name for bit, name in FLAGS if payload[13] & bit)
    return Segment(time, sender, receiver, flags, payload[(payload[12] >> 4) * 4:], seq)


def parse_pcap(data):
    """The segments in a file that tcpdump writes on the loopback. Its end may be missing: the last
    packet is left out."""
    order = "<" if data[:4] == b"\xd4\xc3\xb2\xa1" else ">"  # as this processor has it
    segments, at = [], 24
    while at + 16 <= len(data):
        seconds, microseconds, kept, _ = struct.unpack_from(order + "IIII", data, at)
        at += 16 + kept
        if at > len(data):
            break
        segment = parse_packet(seconds + microseconds / 1e6, data[at - kept + ETHERNET:at])
        if segment:
            segments.append(segment)
    return segments


# ---- TLS ----

RECORDS = {20: "ChangeCipherSpec", 21: "Alert", 22: "Handshake", 23: "ApplicationData"}
MESSAGES = {1: "ClientHello", 2: "ServerHello", 4: "NewSessionTicket", 11: "Certificate",
            12: "ServerKeyExchange", 13: "CertificateRequest", 14: "ServerHelloDone",
            15: "CertificateVerify", 16: "ClientKeyExchange", 20: "Finished"}


def handshake_messages(body):
    """The names of the messages in a record of type Handshake; ["encrypted"] if it is that."""
    names, at = [], 0
    while at + 4 <= len(body):
        size = int.from_bytes(body[at + 1:at + 4], "big")
        if body[at] not in MESSAGES or at + 4 + size > len(body):
            return ["encrypted"]
        names.append(MESSAGES[body[at]])
        at += 4 + size
    return names


class Records:
    """The TLS records of one direction of a connection, out of its segments (RFC 8446, 5.1)."""

    def __init__(self):
        self.pending = b""

    def add(self, data):
        """The names of the records that are complete with these bytes."""
        self.pending += data
        names = []
        while len(self.pending) >= 5:
            size = 5 + int.from_bytes(self.pending[3:5], "big")
            if len(self.pending) < size:
                break
            kind, body = self.pending[0], self.pending[5:size]
            self.pending = self.pending[size:]
            if kind == 22:
                names += handshake_messages(body)
            else:
                names.append(RECORDS.get(kind, "?"))
        return names
