"""The rows of a picture, the same for the terminal and for SVG.

A row has room for one event of the clients (left), one segment (middle) and one event of the
servers (right). Events share a row where one is the cause of the next: a send, its segment, and
the recv that returns with it.
"""
from dataclasses import dataclass, field

from events import WAITERS, Call, Note, Segment

WAIT = 0.005  # seconds. A call that took as long did wait.
GAP = 0.025   # a pause that the picture shows
ARRIVALS = {"accept", "connect", "recv", "recvmsg", "read", "poll", "select", "epoll_wait"}


@dataclass
class Mark:
    """An event of a program in a row."""
    call: Call
    kind: str  # call: all of it; start or return: of one that waits


@dataclass
class Row:
    """What stands side by side. waiting: the lanes whose call waits through this row."""
    time: float
    left: Mark = None
    segment: Segment = None
    right: Mark = None
    note: Note = None
    gap: float = 0
    waiting: set = field(default_factory=set)


def moments(trace):
    """(time, what) of all that the picture shows, in order."""
    found = []
    segments = [e for e in trace.events if isinstance(e, Segment)]
    for event in trace.events:
        if not isinstance(event, Call):
            found.append((event.time, event))
        elif waits(event, segments):
            found.append((event.start, Mark(event, "start")))
            if event.end is not None:
                found.append((event.end, Mark(event, "return")))
        else:
            found.append((event.start, Mark(event, "call")))
    return sorted(found, key=lambda pair: pair[0])


def waits(call, segments):
    """Whether the call waited: it has not returned, or what it wanted came while it lasted, or it
    lasted long."""
    if call.name not in WAITERS or call.end is None:
        return call.end is None
    if call.error in ("EINPROGRESS", "EAGAIN"):
        return False
    if call.end - call.start >= WAIT:
        return True
    if call.name not in ARRIVALS:
        return False
    return any(s.lanes[1] == call.lane and call.start < s.time < call.end
               and (call.name == "accept" or not s.is_ack) for s in segments)


def caused(row, what, side):
    """Whether what belongs into this row, beside what is its cause."""
    if row.note or row.gap:
        return False
    if isinstance(what, Segment):
        cause = row.left or row.right
        return bool(cause and not row.segment and not (row.left and row.right)
                    and cause.call.lane == what.lanes[0] and cause.kind != "return"
                    and cause.call.name not in ("recv", "read", "accept", "poll", "select")
                    and not what.is_ack)
    if isinstance(what, Mark):
        return bool(what.kind == "return" and row.segment and not getattr(row, side)
                    and row.segment.lanes[1] == what.call.lane)
    return False


def without_acks(found):
    """The moments, of the pure ACKs only those that answer SYN or FIN."""
    kept, answered = [], set()
    for time, what in found:
        if isinstance(what, Segment):
            way = (what.sender, what.receiver)
            if "SYN" in what.flags or "FIN" in what.flags:
                answered.add(way[::-1])
            if what.is_ack and way not in answered:
                continue
            answered.discard(way)
        kept.append((time, what))
    return kept


def make_rows(trace, gap=GAP, acks=True):
    """The rows of a trace. A pause of this length, if any, is a row too. Without acks those that
    only acknowledge data are left out: they come or not, as timers and the load have it."""
    rows, last = [], None
    shown = moments(trace) if acks else without_acks(moments(trace))
    for time, what in shown:
        # How long the server has waited for its first client says nothing.
        if gap and any(row.left for row in rows) and time - last >= gap:
            rows.append(Row(last, gap=time - last))
        last = time
        side = "left" if isinstance(what, Mark) and what.call.lane in trace.clients else "right"
        if not rows or not caused(rows[-1], what, side):
            rows.append(Row(time))
        if isinstance(what, Segment):
            rows[-1].segment = what
        elif isinstance(what, Note):
            rows[-1].note = what
        else:
            setattr(rows[-1], side, what)
    note_waiting(rows)
    return rows


def note_waiting(rows):
    """Fills in who waits in each row: from the row after the start to that of the return."""
    waiting = set()
    for row in rows:
        for mark in (row.left, row.right):
            if mark and mark.kind == "return":
                waiting.discard(mark.call.lane)
        row.waiting = set(waiting)
        for mark in (row.left, row.right):
            if mark and mark.kind == "start":
                waiting.add(mark.call.lane)


def side_name(lanes):
    """The head of one side."""
    if len(lanes) == 1:
        return lanes[0]
    kinds = [lane.split()[0] for lane in lanes]
    return ", ".join(kind + "s" if kinds.count(kind) > 1 else kind for kind in dict.fromkeys(kinds))


def tags(lanes):
    """What tells the lanes of one side apart: {lane: "2"}, all "" where there is only one."""
    if len(lanes) < 2:
        return {lane: "" for lane in lanes}
    return {lane: lane.split()[-1] if lane[-1].isdigit() else lane[0] for lane in lanes}
