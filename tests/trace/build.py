"""Makes a Trace of what a Stage has recorded: who is in it, and what belongs into the picture."""
from events import Records, Trace, parse_call, protocols

SHOWN = {"socket", "bind", "listen", "accept", "connect", "send", "sendmsg", "write", "recv",
         "recvmsg", "read", "shutdown", "close", "poll", "select", "epoll_wait"}
LATER = 0.0003  # seconds
POLLS = {"poll", "select", "epoll_wait"}


def read_calls(text, lane):
    """All calls of one thread, in its order."""
    calls = [call for line in text.splitlines() if (call := parse_call(line, lane))]
    # strace begins to measure a call only when it has written how it begins: it ends a bit later.
    for call, after in zip(calls, calls[1:]):
        if call.end is not None:
            call.end = min(call.end + LATER, after.start)
    return calls


def shown_calls(calls, known, scene):
    """Those of a program's calls that the picture shows: of the scene's protocol, as the C library
    has sockets of its own."""
    wanted = (SHOWN | getattr(scene, "SHOW", set())) - getattr(scene, "HIDE", set())
    protocol = "TCP" if "TCP" in known.values() else "UDP"
    shown, made = [], set()
    for call in calls:
        call.protocol = known.get(call.inode, "")
        if call.name in ("socket", "accept") and call.result is not None:
            made.add(call.result)
        # Some descriptors are copies, made only to try something.
        tried = call.name == "close" and call.fd not in made
        belongs = call.polls if call.name in POLLS else call.protocol == protocol
        if belongs and call.name in wanted and not tried:
            shown.append(call)
    return shown


def within(calls, begin, finish):
    """The calls that were under way in this time, without what lies outside of it."""
    kept = []
    for call in calls:
        if call.end is not None and call.end < begin or call.start > finish:
            continue
        call.start = max(call.start, begin)
        if call.end is not None and call.end > finish:
            call.end = call.result = None
        kept.append(call)
    return kept


def split_lanes(name, worker, threads):
    """{lane: calls} of a program: one for each of its threads, in the order of their first call."""
    found = [calls for calls in threads if calls]
    rest = sorted(found[1:], key=lambda calls: calls[0].start)
    lanes = {name: found[0] if found else []}
    for number, calls in enumerate(rest, 1):
        lane = f"{worker} {number}" if worker else f"{name} {number + 1}"
        for call in calls:
            call.lane = lane
        lanes[lane] = calls
    return lanes


def port_owners(calls, segments, clients, ports):
    """{port of a client: its lane}. The call that was under way when its first segment was sent
    tells whose it is."""
    owners = {}
    for segment in segments:
        if segment.sender in owners or segment.sender in ports:
            continue
        for call in calls:
            if (call.lane in clients and call.name in ("connect", "send", "sendmsg")
                    and call.start <= segment.time <= (call.end or segment.time)):
                owners[segment.sender] = call.lane
                break
    return owners


def connection_holders(calls, servers):
    """{port of a client: the thread of the server that serves it}."""
    peers, holders = {}, {}
    for call in calls:
        if call.lane not in servers:
            continue
        if call.name == "accept" and call.peer:
            peers[call.inode] = call.peer
            holders[call.peer] = call.lane
    for call in calls:
        if call.lane in servers and call.inode in peers and call.name not in ("accept", "close"):
            holders[peers[call.inode]] = call.lane
    return holders


def place(segments, calls, trace, ports):
    """Says from which lane to which each segment goes; those of nobody are dropped."""
    owners = port_owners(calls, segments, trace.clients, ports)
    holders = connection_holders(calls, trace.servers)
    seen = set()
    kept = []
    for segment in segments:
        client = segment.sender if segment.receiver in ports else segment.receiver
        if client not in owners or {segment.sender, segment.receiver} - {client} - ports:
            continue
        pair = (owners[client], holders.get(client, trace.servers[0]))
        segment.lanes = pair if segment.sender == client else pair[::-1]
        key = (segment.sender, segment.receiver, segment.seq, segment.flags, segment.data)
        segment.repeated = bool(segment.flags) and not segment.is_ack and key in seen
        seen.add(key)
        kept.append(segment)
    return kept


def name_records(segments):
    """Writes the names of the TLS records into segments that carry some."""
    streams = {}
    for segment in segments:
        if segment.data:
            key = (segment.sender, segment.receiver)
            segment.records = streams.setdefault(key, Records()).add(segment.data)


def make_trace(stage, scene, title, about):
    """The Trace of a stage on which a scene has been played."""
    trace = Trace(title, about, missing=stage.missing)
    segments = stage.segments()
    programs = {}
    for program in stage.programs:
        name = stage.lane(program)
        programs[name] = [read_calls(text, name) for text in program.threads().values()]
    known = protocols(c for threads in programs.values() for calls in threads for c in calls)
    calls = []
    for program, (name, threads) in zip(stage.programs, programs.items()):
        threads = [shown_calls(found, known, scene) for found in threads]
        side, worker = trace.clients, ""
        if program in stage.servers:
            side, worker = trace.servers, getattr(scene, "WORKER", "")
        lanes = split_lanes(name, worker, threads)
        side += lanes
        calls += [call for found in lanes.values() for call in found]
    finish = stage.finish or float("inf")
    segments = place(segments, calls, trace, stage.ports)
    name_records(segments)
    calls = within(calls, stage.begin, finish)
    trace.events = calls + [e for e in segments + stage.notes if stage.begin <= e.time <= finish]
    trace.events.sort(key=when)
    # A thread that does nothing in the picture is not in it.
    trace.servers[1:] = [lane for lane in trace.servers[1:] if any(c.lane == lane for c in calls)]
    trace.seconds = (stage.finish or when(trace.events[-1])) - when(trace.events[0]) \
        if trace.events else 0
    return trace


def when(event):
    """The time of an event: of a call, when it began."""
    return event.start if hasattr(event, "start") else event.time
