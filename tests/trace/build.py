"""Makes a Trace of what a Stage has recorded: who is in it, and what belongs into the picture."""
from events import POLLS, RECEIVERS, SENDERS, Call, Records, Trace, parse_call, protocols

SHOWN = {"socket", "bind", "listen", "accept", "connect", "shutdown", "close",
         *SENDERS, *RECEIVERS, *POLLS}
LATER = 0.0003  # seconds that strace may take to write how a call begins
MANY_BYTES = 1000  # more than this may come in pieces


def read_calls(text, lane, stopped=False):
    """All calls of one thread, in its order. In a program that the scene has stopped, a call that
    this interrupted goes on as the next one."""
    calls = [call for line in text.splitlines() if (call := parse_call(line, lane))]
    # strace measures a call only from when it has written how it begins, so it ends a bit later.
    for call, after in zip(calls, calls[1:]):
        call.latest = after.start
        if call.end is not None:
            call.end = min(call.end + LATER, after.start)
    kept = []
    for call, after in zip(calls, calls[1:] + [None]):
        interrupted = call.end is None or stopped and call.error == "EINTR"
        if interrupted and after and call.name == after.name:
            after.start = call.start
        else:
            kept.append(call)
    return kept


def made_sockets(threads):
    """[(descriptor, time)] of what socket and accept have returned to a program, in any thread."""
    return [(call.result, call.start) for calls in threads for call in calls
            if call.name in ("socket", "accept") and call.result is not None]


def shown_calls(calls, known, made, scene):
    """Those of a thread's calls that the picture shows: of the scene's protocol, as the C library
    has sockets of its own. made: see made_sockets."""
    wanted = SHOWN - getattr(scene, "HIDE", set())
    protocol = "TCP" if "TCP" in known.values() else "UDP"
    shown = []
    for call in calls:
        call.protocol = known.get(call.inode, "")
        # A program may copy a descriptor (dup) only to try something: the copy's close is left out.
        is_copy = call.name == "close" and not any(
            fd == call.fd and time < call.start for fd, time in made)
        belongs = call.polls if call.name in POLLS else call.protocol == protocol
        if belongs and call.name in wanted and not is_copy:
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


def until_last(calls, lane, name):
    """The calls, but of this lane only those up to its last call of this name."""
    end = max(call.start for call in calls if (call.lane, call.name) == (lane, name))
    return [call for call in calls if call.lane != lane or call.start <= end]


def split_lanes(name, others, threads):
    """{lane: calls} of a program: one for each of its threads that does something, in the order of
    their first call; only the first thread's, if none does. others are the names of those after the
    first one."""
    first = threads[:1] if not any(threads) or threads[0] else []
    busy = sorted(filter(None, threads[1:]), key=lambda calls: calls[0].start)
    names = [name, *others] if first or not others else list(others)
    lanes = {}
    for calls in first + busy:
        lane = names[len(lanes)] if len(lanes) < len(names) else f"{name} {len(lanes) + 1}"
        for call in calls:
            call.lane = lane
        lanes[lane] = calls
    return lanes


def port_owners(calls, segments, clients, ports):
    """{port of a client: its lane}. The call that was under way when its first segment was sent
    tells whose it is; where strace was too late to know that, the call that may have been."""
    owners = {port: None for port in ports}
    calls = [call for call in calls
             if call.lane in clients and call.name in ("connect", "send", "sendmsg")]
    for segment in segments:
        if segment.sender not in owners:
            begun = [call for call in calls if call.start <= segment.time <= call.latest]
            begun.sort(key=lambda call: call.end is not None and call.end < segment.time)
            owners[segment.sender] = begun[0].lane if begun else None
    return {port: lane for port, lane in owners.items() if lane}


def connection_holders(calls, servers):
    """{port of a client: the thread of the server that serves it}."""
    calls = [call for call in calls if call.lane in servers]
    accepted = [call for call in calls if call.name == "accept" and call.peer]
    peers = {call.inode: call.peer for call in accepted}
    holders = {call.peer: call.lane for call in accepted}
    for call in calls:
        if call.inode in peers and call.name not in ("accept", "close"):
            holders[peers[call.inode]] = call.lane
    return holders


def without_bytes(calls):
    """The calls of a TLS program without what was read and written, which is encrypted, and without
    those that found nothing."""
    kept = [call for call in calls if call.error != "EAGAIN"]
    for call in kept:
        if call.name in RECEIVERS | SENDERS:
            call.data, call.counted = None, False
    return kept


def merge_calls(calls, names):
    """The calls of one thread, but those of these names that follow each other on the same
    descriptor and moved bytes are one: how the kernel cuts many bytes depends on the load. So a
    receive of many bytes is always shown as several."""
    merged = []
    for call in calls:
        moved = call.result if call.name in names and call.result else 0
        if call.name in RECEIVERS and moved > MANY_BYTES:
            call.data, call.times = None, 2
        last = merged[-1] if merged else None
        if (last and (last.name, last.fd) == (call.name, call.fd)
                and moved > 0 and (last.result or 0) > 0):
            last.end, last.result, last.times = call.end, last.result + moved, 2
            last.data = None
            last.counted = last.counted and call.counted
        else:
            merged.append(call)
    return merged


def merge_segments(segments):
    """The segments without ACKs and repetitions; and data that follows data in the same direction
    is one segment with it."""
    merged, last = [], {}
    for segment in segments:
        if segment.is_ack or segment.repeated:
            continue
        connection = frozenset(segment.lanes)
        before = last.get(connection)
        if (before and before.lanes == segment.lanes and before.data and segment.data
                and "FIN" not in before.flags + segment.flags):
            before.data += segment.data
        else:
            merged.append(segment)
            last[connection] = segment
    return merged


def mark_repeated(segments):
    """Marks the TCP segments that carry only bytes, a SYN or a FIN that were sent before."""
    sent = {}
    for segment in segments:
        if not segment.flags or segment.is_ack or "RST" in segment.flags:
            continue
        way = (segment.sender, segment.receiver)
        size = len(segment.data) + ("SYN" in segment.flags) + ("FIN" in segment.flags)
        # Sequence numbers count modulo 2 to the 32nd.
        end = (segment.seq + size) % 2**32
        segment.repeated = way in sent and not 0 < (end - sent[way]) % 2**32 < 2**31
        if not segment.repeated:
            sent[way] = end


def place(segments, calls, trace, ports):
    """The segments between the programs; says from which lane to which each of them goes."""
    owners = port_owners(calls, segments, trace.clients, ports)
    holders = connection_holders(calls, trace.servers)
    door = next((call.lane for call in calls if call.name == "accept"), trace.servers[0])
    kept, begun = [], set()
    for segment in segments:
        client = segment.sender if segment.receiver in ports else segment.receiver
        if client not in owners or {segment.sender, segment.receiver} - {client} - ports:
            continue
        # A connection has no thread of its own until the first bytes come.
        if segment.data:
            begun.add(client)
        holder = holders.get(client, door) if client in begun else door
        pair = (owners[client], holder)
        segment.lanes = pair if segment.sender == client else pair[::-1]
        kept.append(segment)
    return kept


def mark_lost(segments, losses):
    """Marks what the scene has lost: after each of these times the next segment to that port."""
    for time, port in losses:
        for segment in segments:
            if segment.time > time and segment.receiver == port:
                segment.lost = True
                break


def name_words(events, scene):
    """Asks the scene what it calls the bytes of calls and segments."""
    if not hasattr(scene, "words"):
        return
    for event in events:
        if event.data:
            event.words = scene.words(event.data)


def name_records(segments):
    """Writes the names of the TLS records into segments that carry some."""
    streams = {}
    for segment in segments:
        if segment.data:
            key = (segment.sender, segment.receiver)
            segment.records = streams.setdefault(key, Records()).add(segment.data)


def rename(trace, old, new):
    """Gives a client another name."""
    trace.clients = [new if lane == old else lane for lane in trace.clients]
    for event in trace.events:
        if getattr(event, "lane", "") == old:
            event.lane = new
        elif hasattr(event, "lanes"):
            event.lanes = tuple(new if lane == old else lane for lane in event.lanes)


def make_calls(stage, scene, trace):
    """All calls of all programs that the scene shows; adds their lanes to the trace."""
    programs = [[read_calls(text, stage.lane(program), program.stopped)
                 for text in program.threads().values()] for program in stage.programs]
    known = protocols(c for threads in programs for calls in threads for c in calls)
    all_calls = []
    for program, threads in zip(stage.programs, programs):
        made = made_sockets(threads)
        threads = [shown_calls(calls, known, made, scene) for calls in threads]
        if trace.tls:
            threads = [without_bytes(calls) for calls in threads]
        threads = [merge_calls(calls, getattr(scene, "MERGE", ())) for calls in threads]
        serves = program in stage.servers
        names = getattr(scene, "THREADS", ()) if serves else ()
        lanes = split_lanes(stage.lane(program), names, threads)
        (trace.servers if serves else trace.clients).extend(lanes)
        all_calls += [call for calls in lanes.values() for call in calls]
    return all_calls


def make_segments(stage, scene, trace, calls):
    """All segments between the programs, with what the scene says of them."""
    segments = place(stage.segments(), calls, trace, stage.ports)
    mark_repeated(segments)
    if hasattr(scene, "MERGE"):
        segments = merge_segments(segments)
    if trace.tls:
        name_records(segments)
    mark_lost(segments, stage.losses)
    name_words(segments + calls, scene)
    return [s for s in segments if not s.words or s.words != getattr(scene, "SKIP", "")]


def make_trace(stage, scene, title, about):
    """The Trace of a stage on which a scene has been played."""
    trace = Trace(title, about, missing=stage.missing, tls=getattr(scene, "TLS", False))
    calls = make_calls(stage, scene, trace)
    segments = make_segments(stage, scene, trace, calls)
    begin, finish = stage.begin, stage.finish or float("inf")
    calls = within(calls, begin, finish)
    if stage.last:
        program, name = stage.last
        calls = until_last(calls, stage.lane(program), name)
    trace.events = calls + [e for e in segments + stage.notes if begin <= e.time <= finish]
    trace.events.sort(key=when)
    # A client that has ended before, and a thread that does nothing, are not in the picture.
    gone = {stage.lane(program) for program in stage.clients if program.ended_before(begin)}
    trace.clients = [lane for lane in trace.clients if lane not in gone]
    busy = {call.lane for call in calls}
    busy.update(lane for e in trace.events if hasattr(e, "lanes") for lane in e.lanes)
    trace.servers = [lane for lane in trace.servers if lane in busy] or trace.servers[:1]
    if len(trace.clients) == 1:
        rename(trace, trace.clients[0], "client")
    return trace


def when(event):
    """The time of an event: of a call, when it began."""
    return event.start if isinstance(event, Call) else event.time
