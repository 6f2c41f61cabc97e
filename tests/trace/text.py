"""A Trace as text: the words for its events, and the form that a test compares."""
import unicodedata

from events import RECEIVERS, SENDERS

STARTS = {"socket", "bind", "listen", "connect", "accept"}


def width(text):
    """How many columns of a terminal it takes."""
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def shorten(text, columns):
    """The text, or its beginning and an ellipsis."""
    if width(text) <= columns:
        return text
    while width(text) > columns - 1:
        text = text[:-1]
    return text + "…"


def data_text(event, columns=60):
    """The bytes of a call or a segment, in the scene's words if it has any."""
    if event.words:
        return shorten(event.words, columns)
    # Of a call strace has written only the first bytes.
    return quote(event.data, columns, getattr(event, "result", None) or len(event.data))


def quote(data, columns=60, size=None):
    """The bytes as a string of C, or how many they are where they are no text."""
    size = size or len(data)
    try:
        text = data.decode()
    except UnicodeDecodeError:
        text = None
    if text is None or any(c < " " and c not in "\n\t\r" for c in text):
        return f"{size} bytes" if size != 1 else "1 byte"
    for char, name in (("\\", "\\\\"), ('"', '\\"'), ("\n", "\\n"), ("\t", "\\t"), ("\r", "\\r")):
        text = text.replace(char, name)
    return '"' + shorten(text, columns) + '"'


def call_text(call, columns=60):
    """What the program asked for: send(4, "hello")."""
    words = [] if call.fd is None or call.name == "epoll_wait" else [str(call.fd)]
    if call.name in ("poll", "select"):
        words = []
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
    if call.result == 0 and call.name not in ("poll", "select", "epoll_wait"):
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
    lines = [trace.title, ""]
    for lane in trace.clients + trace.servers:
        lines.append(lane)
        for event in trace.events:
            name = getattr(event, "name", "")
            if getattr(event, "lane", None) == lane and (name in STARTS or not trace.tls):
                result = result_text(event) if event.end is not None else "(waits)"
                lines.append(f"  {call_text(event)} {result}".rstrip())
        lines.append("")
    directions = {}
    for event in trace.events:
        if hasattr(event, "flags") and not event.is_ack and not event.repeated:
            # Which thread of the server has a connection is in the calls.
            way = tuple("server" if lane in trace.servers else lane for lane in event.lanes)
            texts = event.records or [segment_text(event)]
            if trace.tls and not event.records and "SYN" not in event.flags:
                continue
            directions.setdefault(way, []).extend(texts)
    for sender, receiver in sorted(directions):
        lines.append(f"{sender} -> {receiver}")
        lines += [f"  {text}" for text in directions[sender, receiver]]
        lines.append("")
    return "\n".join(lines[:-1]) + "\n"
