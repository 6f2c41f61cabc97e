"""chat_report.py FILE DIR: writes the chat room's part of DIR/benchmarks.md from what chat.py put
into FILE. As in report.py, every sentence with a figure is made from the figures."""
import os
import statistics
import subprocess
import sys

from parts import HEADINGS, write_part
from report import DIR, FACTS, SERVERS, TITLE, machine
from report import median, number, quartiles, ratio, rounds, table

MANY, FLOOD = FACTS["many"], FACTS["flood"]
PEERS = [name for name in ("naive", "ncat") if name in TITLE]
BATCHES = (1, 10)


def cell(kind, scenario, server, key, digits):
    value = median(kind, scenario, server, key)
    return "–" if value is None else number(value, digits)


def load_cell(server, batch):
    times = ratio("chat", batch, server, "cpu")
    text = cell("chat", batch, server, "cpu", 2)
    return text + (" (%.2f)" % times if times else "")


def members_rows():
    """For each server and number of members: CPU time per line received, and its quartiles."""
    for name, title in SERVERS:
        for members in FACTS["members"]:
            values = list(rounds("members", members, name, "cpu").values())
            if values:
                middle = "%g" % statistics.median(values)
                yield (name, title, members, middle, *quartiles(values))


def draw_members():
    """One picture: what a line costs over the number of members. Returns the link to it."""
    pictures = os.path.join(DIR, "pictures")
    data = os.path.join(pictures, "chat-members.csv")
    os.makedirs(pictures, exist_ok=True)
    with open(data, "w", encoding="utf-8") as f:
        f.write("# CPU time of the server per line that one member receives, in microseconds: the\n"
                "# median of the rounds, and where their middle half begins and ends.\n"
                "# make bench, %s.\nserver,title,members,median,low,high\n" % FACTS["date"])
        for row in members_rows():
            f.write(",".join(map(str, row)) + "\n")
    words = [sys.executable, "-B", "tests/pictures/charts.py", "chat-members", data]
    done = subprocess.run([*words, os.path.join(pictures, "chat-members.svg")], check=False)
    if done.returncode:
        return ""
    few, many = (number(FACTS["members"][i], 0) for i in (0, -1))
    return "![CPU time per line received, from %s to %s members](pictures/chat-members.svg)\n\n" % (
        few, many)


def members_table():
    shown = [(name, title) for name, title in SERVERS
             if any(row[0] == name for row in members_rows())]
    return table(["members"] + [number(members, 0) for members in FACTS["members"]], [
        [title] + [cell("members", members, name, "cpu", 2) for members in FACTS["members"]]
        for name, title in shown
    ])


def about_members():
    """How much more, or less, a line costs in the largest room than in the smallest."""
    few, many = FACTS["members"][0], FACTS["members"][-1]
    for name, title in SERVERS:
        times = ratio("members", many, name, "cpu", name, few)
        if times:
            yield ("With %s members instead of %s, a line that one member receives costs %s %.2f "
                   "times as much.") % (number(many, 0), number(few, 0), title, times)


def sentences():
    for batch, what in ((1, "One line at a time"), (10, "In batches of ten")):
        for peer in PEERS:
            times = ratio("chat", batch, "07", "cpu", peer)
            if times:
                yield "%s, 07 needs %.2f of the CPU time of %s per line that one member receives." % (
                    what, times, TITLE[peer])
    yield from about_members()
    memory = median("memory", MANY, "07", "bytes")
    if memory is not None:
        yield "A silent member of 07 costs %s bytes." % number(memory, 0)
    usual = median("broadcast", MANY, "07", "usual")
    if usual is not None:
        yield "%s people are connected to 07 after %s ms. A line reaches %s others in %s ms, at best in %s ms." % (
            number(MANY, 0), cell("join", MANY, "07", "connected", 0), number(MANY - 1, 0),
            number(usual, 1), cell("broadcast", MANY, "07", "fastest", 1))
    slowest = median("flood", FLOOD, "07", "slowest")
    if slowest is not None:
        yield ("While one member sends %s lines to one that never reads and three that do, two of "
               "these exchange %s lines, the slowest in %s ms. The server grows by %s KiB.") % (
            number(FLOOD, 0), cell("flood", FLOOD, "07", "exchanged", 0), number(slowest, 0),
            number(median("flood", FLOOD, "07", "growth") / 1024, 0))
    yield ("During the run, other work took %.0f %% of the processors. That affects times, and "
           "ratios of CPU time much less.") % (100 * FACTS["others"])
    if FACTS["quick"]:
        yield "This was a short run (QUICK=1) to try out the bench: its figures mean little."
    for row in FACTS["figures"]:
        if "failed" in row:
            yield "Failed: %s, %s %s, round %d: %s." % (
                TITLE[row["server"]], row["kind"], row["scenario"], row["turn"] + 1, row["failed"])
    for title in FACTS["missing"]:
        yield "%s is left out, because its program was missing." % title


COLUMNS = [
    ("memory", "bytes", "bytes per silent member", 0),
    ("join", "connected", "ms: all connected", 0),
    ("join", "welcomed", "ms: all welcomed", 0),
    ("broadcast", "usual", "ms: a line received by all", 1),
    ("broadcast", "fastest", "ms: at best", 1),
]

TEXT = """{heading}

`ONLY=chat make bench` measures only this part, in four minutes.

### What the figures say

{sentences}

### What was measured

- *naive* is a chat room as people often write it: `poll`, and one write to each receiver for each message (tests/bench/peer_naive.c). It has no
  limits and no history, does not handle slow readers, and does not check what people send. *ncat* is `ncat --chat`, which has neither names nor limits.
- CPU time is what the scheduler counts for the server, divided by the number of lines that its members received: one member sends lines of 90 bytes, and
  {receivers} members receive them. *One at a time*: the next line is sent when all members have received the last one. *Ten*: ten lines leave in one write.
- All lines are checked (tests/helpers/crowd.c). In 07, the limit of lines per second is off (`-r 0`). All other settings are the defaults.
- Memory is how much {silent} members who joined one after another, and are silent, increase the resident set.
- *All welcomed*: each of {many} members has joined, has been welcomed, and has been told of all members who joined after it. These are about {notices} lines.
- In the flood, one member who receives all of the flood sends a line to another such member every 10 ms.
- Each figure is the median of {rounds} rounds in which the servers take turns, and each server is started again. In brackets is the ratio to {base} in the
  same round.

| | |
| --- | --- |
{machine}

### CPU time per line received, in µs

{load}

### CPU time per line received, in µs, over the number of members

{members_picture}One line at a time, as above. All but one of the members receive each line.

{members}

### {many} people

{people}
"""

# The libraries that only the other part uses are not of interest here.
SKIP = ("libuv", "liburing", "libevent", "redis-benchmark", "rounds")


def main():
    people = [
        [title] + [cell(kind, MANY, name, key, digits) for kind, key, _, digits in COLUMNS]
        for name, title in SERVERS if median("join", MANY, name, "welcomed") is not None
    ]
    text = TEXT.format(
        heading=HEADINGS[1],
        sentences="\n".join("- " + sentence for sentence in sentences()),
        machine="\n".join("| %s | %s |" % pair for pair in machine() if pair[0] not in SKIP),
        load=table(["", "one at a time", "ten"], [
            [title] + [load_cell(name, batch) for batch in BATCHES] for name, title in SERVERS
        ]),
        people=table([""] + [title for _, _, title, _ in COLUMNS], people),
        members=members_table(),
        members_picture=draw_members(),
        many=number(MANY, 0),
        notices=number(MANY * (MANY + 1) // 2, 0),
        receivers=FACTS["receivers"],
        silent=FACTS["silent"],
        rounds=FACTS["rounds"],
        base=SERVERS[0][1],
    )
    write_part(DIR, HEADINGS[1], text)


main()
