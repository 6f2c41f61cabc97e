"""The rows of a picture, the same for the terminal and for SVG.

A row has room for one event of the clients (left), one segment (middle) and one event of the
servers (right). Events share a row where one is the cause of the next: a send, its segment, and
the recv that returns with it.
"""
from bisect import bisect
from dataclasses import dataclass, field

from events import POLLS, RECEIVERS, WAITERS, Call, Note, Segment

WAIT = 0.005  # seconds. A call that took as long did wait.
GAP = 0.025   # a pause that the picture shows
TAKERS = {"accept", *RECEIVERS, *POLLS}  # calls that take what has arrived


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
    times = [segment.time for segment in segments]
    for event in trace.events:
        if not isinstance(event, Call):
            found.append((event.time, event))
        elif event.end is None or waits(
                event, segments[bisect(times, event.start):bisect(times, event.end)]):
            found.append((event.start, Mark(event, "start")))
            if event.end is not None:
                found.append((event.end, Mark(event, "return")))
        else:
            found.append((event.start, Mark(event, "call")))
    return sorted(found, key=lambda pair: pair[0])


def waits(call, meanwhile):
    """Whether a call that has returned did wait: it lasted long, or what it wanted came while it
    lasted. meanwhile: the segments of that time."""
    if call.name not in WAITERS or call.error in ("EINPROGRESS", "EAGAIN"):
        return False
    if call.end - call.start >= WAIT:
        return True
    return call.name in TAKERS | {"connect"} and any(
        s.lanes[1] == call.lane and (call.name == "accept" or not s.is_ack) for s in meanwhile)


def belongs(what, row, side):
    """Whether this stands in the row, beside its cause: a segment beside the call that sent it, a
    call that returns beside the segment that it waited for."""
    if isinstance(what, Segment):
        marks = [mark for mark in (row.left, row.right) if mark]
        return len(marks) == 1 and not row.segment and sends(marks[0], what)
    if isinstance(what, Mark) and what.kind == "return" and row.segment:
        return not getattr(row, side) and row.segment.lanes[1] == what.call.lane
    return False


def sends(mark, segment):
    """Whether the segment may come from this call. An ACK comes from the kernel."""
    return (mark.kind != "return" and mark.call.name not in TAKERS
            and mark.call.lane == segment.lanes[0] and not segment.is_ack)


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
    rows, last = [], None  # the last moment, once a client has done something
    shown = moments(trace) if acks else without_acks(moments(trace))
    for time, what in shown:
        side = "left" if isinstance(what, Mark) and what.call.lane in trace.clients else "right"
        # How long the server has waited for its first client says nothing.
        if gap and last and time - last >= gap:
            rows.append(Row(last, gap=time - last))
        if last or side == "left":
            last = time
        if not rows or not belongs(what, rows[-1], side):
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
