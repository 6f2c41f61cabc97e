"""A Trace as text: the words for its events, and the form that a test compares."""
import unicodedata

from events import POLLS, RECEIVERS, SENDERS, Call, Segment

STARTS = {"socket", "bind", "listen", "connect", "accept"}


def width(text):
    """How many columns of a terminal it takes."""
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def shorten(text, columns):
    """The text, or its beginning and an ellipsis."""
    if width(text[:columns + 1]) <= columns:
        return text
    text = text[:columns]
    while width(text) > columns - 1:
        text = text[:-1]
    return text + "…"


def data_text(event, columns=60):
    """The bytes of a call or a segment, in the scene's words if it has any."""
    if event.words:
        return shorten(event.words, columns)
    size = len(event.data)
    if isinstance(event, Call):  # strace has written only the first bytes
        size = event.asked if event.name in SENDERS else event.result
    return quote(event.data, columns, size)


def quote(data, columns, size):
    """The bytes as a string of C, or how many they are where they are no text."""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        text = "\0"
    if any(unicodedata.category(c) == "Cc" and c not in "\n\t\r" for c in text):
        return f"{size} bytes" if size != 1 else "1 byte"
    for char, name in (("\\", "\\\\"), ('"', '\\"'), ("\n", "\\n"), ("\t", "\\t"), ("\r", "\\r")):
        text = text.replace(char, name)
    return '"' + shorten(text, columns) + '"'


def call_text(call, columns=60):
    """What the program asked for: send(4, "hello")."""
    words = [] if call.fd is None or call.name in POLLS else [str(call.fd)]
    if call.name in SENDERS and call.data is not None:
        words.append(data_text(call, columns))
    if call.name in ("bind", "shutdown") and call.detail:
        words.append(call.detail)
    return f"{call.name}({', '.join(words)})" + (" ..." if call.times > 1 else "")


def result_text(call, columns=60):
    """What it got: = 5, or "" where success says nothing more."""
    if call.end is None:
        return ""
    if call.error:
        return call.error
    if call.result and not call.counted:
        return ""
    if call.name in RECEIVERS:
        if call.result == 0:
            return "= 0, end of file" if call.protocol == "TCP" else "= 0"
        data = call.data or b""
        return f"= {call.result} {data_text(call, columns)}" if data else f"= {call.result}"
    if call.result == 0 and call.name not in POLLS:
        return ""
    return f"= {call.result}"


def mark_text(mark, columns=60):
    """What a row of a picture says of a call."""
    if mark.kind == "return":
        return f"{mark.call.name} {result_text(mark.call, columns) or 'returns'}"
    if mark.kind == "start":
        return call_text(mark.call, columns)
    return f"{call_text(mark.call, columns)} {result_text(mark.call, columns)}".strip()


def segment_text(segment, columns=60):
    """What a segment carries: SYN ACK, "hello". What was lost says so. ACK is said only
    where there is nothing else, and beside SYN; PSH never."""
    if segment.records:
        counts = {name: segment.records.count(name) for name in segment.records}
        return ", ".join(f"{name} ×{n}" if n > 1 else name for name, n in counts.items())
    flags = [f for f in segment.flags.split() if f != "PSH"]
    if segment.data or "FIN" in flags or "RST" in flags:
        flags = [f for f in flags if f != "ACK"]
    words = [" ".join(flags)] if flags else []
    if segment.data or not segment.flags:
        words.append(data_text(segment, columns))
    if segment.repeated:
        words.append("(again)")
    if segment.lost:
        words.append("(lost)")
    return " ".join(words)


def compared(trace):
    """The text form: of each program its calls, and of each direction what was sent. Times, ports,
    pure ACKs and what TCP has sent again are left out, as they differ from run to run. Of TLS there
    are only the records and who connects: how many calls move them, and in which order both sides
    close, is up to the library and the load."""
    parts = [[trace.title]]
    for lane in trace.clients + trace.servers:
        parts.append([lane] + [f"  {line}" for line in call_lines(trace, lane)])
    for (sender, receiver), texts in sorted(sent_texts(trace).items()):
        parts.append([f"{sender} -> {receiver}"] + [f"  {line}" for line in texts])
    return "\n\n".join("\n".join(part) for part in parts) + "\n"


def call_lines(trace, lane):
    """The calls of one program, each with its result."""
    for event in trace.events:
        if isinstance(event, Call) and event.lane == lane and (
                event.name in STARTS or not trace.tls):
            result = result_text(event) if event.end is not None else "(waits)"
            yield f"{call_text(event)} {result}".rstrip()


def sent_texts(trace):
    """{(sender, receiver): what it has sent}. Which thread of the server has a connection is in
    the calls."""
    directions = {}
    for event in trace.events:
        if not isinstance(event, Segment) or event.is_ack or event.repeated:
            continue
        if trace.tls and not event.records and "SYN" not in event.flags:
            continue
        way = tuple("server" if lane in trace.servers else lane for lane in event.lanes)
        directions.setdefault(way, []).extend(event.records or [segment_text(event)])
    return directions
