"""report.py FILE DIR: writes DIR/benchmarks.md and its charts from what measure.py put into FILE.

Every sentence with a figure is made from the figures: run on another machine, it says other things.
"""
import json
import os
import re
import statistics
import subprocess
import sys

from parts import write_part

with open(sys.argv[1]) as f:
    FACTS = json.load(f)
DIR = sys.argv[2]
SERVERS = [(name, title) for name, title, _ in FACTS["servers"]]
TITLE = dict(SERVERS)
BASE = next((name for name in ("libuv", "limit", "06") if name in TITLE), SERVERS[0][0])
CONNECTIONS = sorted({c for c, _, idle in FACTS["scenarios"] if not idle})
FIGURES = [
    ("cpu", "Server CPU time per request, in µs", 2),
    ("rate", "Requests per second", 0),
    ("p50", "Latency: half of the replies come within, in µs (p50)", 0),
    ("p99", "Latency: 99 of 100 replies come within, in µs (p99)", 0),
]


# ---- figures: a median over the rounds; None where there is none ----


def rounds(kind, scenario, server, key):
    return {
        row["turn"]: row[key]
        for row in FACTS["figures"]
        if (row["kind"], row["scenario"], row["server"]) == (kind, scenario, server) and key in row
    }


def median(kind, scenario, server, key):
    values = rounds(kind, scenario, server, key)
    return statistics.median(values.values()) if values else None


def ratio(kind, scenario, server, key, base=BASE, base_scenario=None):
    """To another server, or scenario, of the same round each; the median of these."""
    ours = rounds(kind, scenario, server, key)
    theirs = rounds(kind, base_scenario or scenario, base, key)
    both = [ours[turn] / theirs[turn] for turn in ours if theirs.get(turn)]
    return statistics.median(both) if both else None


def load(connections, at_once=1, idle=0):
    return [connections, at_once, idle]


def cpu_ratio(scenario, server, base):
    return ratio("load", scenario, server, "cpu", base)


# ---- tables ----


def number(value, digits):
    return "{:,.{}f}".format(value, digits)


def table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "| --- |" + " ---: |" * (len(head) - 1)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def cell(kind, scenario, server, key, digits):
    value = median(kind, scenario, server, key)
    if value is None:
        return "–"
    times = ratio(kind, scenario, server, key)
    return number(value, digits) + (" (%.2f)" % times if times else "")


def load_tables(at_once):
    scenarios = [load(c, at_once) for c in CONNECTIONS]
    scenarios += [s for s in FACTS["scenarios"] if s[1] == at_once and s[2]]
    head = ["connections"] + [
        number(c, 0) + (" + %s idle" % number(idle, 0) if idle else "") for c, _, idle in scenarios
    ]
    for key, title, digits in FIGURES:
        yield "#### %s" % title
        yield table(head, [
            [title] + [cell("load", s, name, key, digits) for s in scenarios]
            for name, title in SERVERS
        ])


def calls_table():
    at = sorted({row["scenario"] for row in FACTS["figures"] if row["kind"] == "calls"})
    rows = [
        [title] + [cell("calls", c, name, "calls", 2) for c in at]
        for name, title in SERVERS if any(median("calls", c, name, "calls") for c in at)
    ]
    if rows:
        yield "### System calls per request"
        yield table(["connections"] + [number(c, 0) for c in at], rows)


def other_tables():
    memory = [
        [title, number(n, 0)] + [cell("memory", n, name, key, 0) for key in ("new", "used")]
        for name, title, n in FACTS["servers"] if median("memory", n, name, "new") is not None
    ]
    if memory:
        yield "### Resident memory for each idle connection, in bytes"
        yield table(["", "connections", "has sent nothing", "has sent a line"], memory)
    yield from calls_table()
    redis = [
        [title] + [
            cell("redis", at_once, name, key, digits)
            for at_once in (1, 16) for key, digits in (("cpu", 2), ("rate", 0))
        ]
        for name, title in SERVERS if median("redis", 1, name, "cpu") is not None
    ]
    if redis:
        yield "### redis-benchmark, 50 connections"
        yield "This client is not ours: `redis-benchmark -t ping_inline`, with one request at a time and with 16."
        yield table(["", "µs of CPU", "requests/s", "16: µs of CPU", "16: requests/s"], redis)


# ---- what the figures say ----


def sentences():
    yield from about_06()
    yield from about_05()
    yield from about_pools()
    yield from about_bounds()


def quartile_spread(ratios):
    first, middle, third = statistics.quantiles(ratios, n=4, method="inclusive")
    return 100 * (third - first) / middle


def spreads():
    """How far the ratios of one cell lie apart, in %, for each cell of the tables of CPU time."""
    return [
        quartile_spread([ours[turn] / theirs[turn] for turn in ours if turn in theirs])
        for s in FACTS["scenarios"] for name in TITLE if name != BASE
        for ours, theirs in [(rounds("load", s, name, "cpu"), rounds("load", s, BASE, "cpu"))]
        if len(set(ours) & set(theirs)) > 2
    ]


def differs(times):
    """Whether a ratio is farther from 1 than those of the usual cell are from each other."""
    usual = statistics.median(spreads() or [0])
    return abs(times - 1) * 100 > usual


def columns(scenarios):
    return ", ".join(
        "%s × %d" % (number(s[0], 0), s[1]) + (" + %s idle" % number(s[2], 0) if s[2] else "")
        for s in scenarios)


def multiples(pairs):
    """1.61 at 50, no difference at 10 and 100."""
    clear = ["%.2f at %s" % (times, number(c, 0)) for c, times in pairs if differs(times)]
    same = [number(c, 0) for c, times in pairs if not differs(times)]
    if same:
        clear.append("no difference at " + ", ".join(same))
    return "; ".join(clear) + " connections"


def about_06():
    for at_once, what in ((1, "one request at a time"), (16, "16 at a time")):
        parts = [
            "%s %s µs" % (title, number(median("load", load(50, at_once), name, "cpu"), 2))
            + ("" if name == "06" or not times else " (06: %.2f)" % times if differs(times)
               else " (06: no difference)")
            for name, title in SERVERS
            if name in ("06", "limit", "uring", "libuv", "libevent", "asyncio")
            and median("load", load(50, at_once), name, "cpu")
            for times in [cpu_ratio(load(50, at_once), "06", name)]
        ]
        if "06" in TITLE and parts:
            yield "CPU time per request at 50 connections, %s: %s." % (what, "; ".join(parts))
    for peer in ("uring", "libuv", "libevent", "asyncio"):
        pairs = [(s, cpu_ratio(s, "06", peer)) for s in FACTS["scenarios"]]
        pairs = [(s, times) for s, times in pairs if times]
        more = [s for s, times in pairs if times > 1 and differs(times)]
        same = [s for s, times in pairs if not differs(times)]
        if pairs:
            yield "06 needs less CPU per request than %s in %d of %d columns%s%s." % (
                TITLE[peer], len(pairs) - len(more) - len(same), len(pairs),
                "; no difference with (connections × requests at once) " + columns(same)
                if same else "",
                "; more with " + columns(more) if more else "")
    for s in FACTS["scenarios"]:
        times = s[2] and ratio("load", s, "06", "cpu", "06", load(s[0], s[1]))
        if times:
            yield "Beside %s idle connections, a request of 06 costs %s." % (
                number(s[2], 0),
                "%.2f of what it costs alone" % times if differs(times) else "what it costs alone")
    memory = median("memory", 10000, "06", "used")
    if memory:
        yield "An idle connection of 06 that has sent a line takes %s bytes." % number(memory, 0)


def about_05():
    pairs = [(c, cpu_ratio(load(c), "05", "06")) for c in CONNECTIONS]
    pairs = [(c, times) for c, times in pairs if times]
    if pairs:
        yield ("CPU time per request of 05 (select) as a multiple of 06: " + multiples(pairs)
               + ". Its limit is 1,024 descriptors.")
    times = cpu_ratio([50, 1, 900], "05", "06")
    if times:
        yield ("With 50 connections that send requests and 900 idle ones, it is %.2f: each call of "
               "select goes through all of them.") % times


def about_pools():
    pairs = [(c, cpu_ratio(load(c), "04", "thread")) for c in CONNECTIONS]
    pairs = [(c, times) for c, times in pairs if times]
    if pairs:
        yield ("CPU time per request of 04 (a worker for each) as a multiple of a thread each: "
               + multiples(pairs) + ".")
    times = cpu_ratio(load(1000), "04", "06")
    if times:
        yield "At 1,000 connections the threads of 04 cost %.2f times what 06 costs." % times


def about_bounds():
    busy = [
        "%d at once: server %.0f %%, client %.0f %%" % (at_once, 100 * server, 100 * client)
        for at_once in (1, 16)
        for server, client in [
            [median("load", load(50, at_once), "06", who + " busy") for who in ("server", "client")]
        ] if server and client
    ]
    if busy:
        yield ("How busy 06 and its client were at 50 connections: %s of the time. Where the "
               "client is the busier one, it limits requests per second and latency, and hides "
               "what the server could do. CPU time per request does not depend on that."
               ) % "; ".join(busy)
    found = spreads()
    if found:
        yield ("The ratios of CPU time differ from round to round. In a typical cell of the tables, "
               "the middle half of them lies within %.0f %%, in the worst cell within %.0f %%. A "
               "ratio nearer to 1 than the typical spread is called \"no difference\" above. More "
               "rounds (`ROUNDS=`) make the spread smaller."
               ) % (statistics.median(found), max(found))
    yield ("During the run, other work took %.0f %% of the processors. That affects requests per "
           "second and latency, and ratios and CPU time much less.") % (100 * FACTS["others"])
    if FACTS["quick"]:
        yield "This was a short run (QUICK=1) to try out the bench: its figures mean little."
    for row in FACTS["figures"]:
        if "failed" in row:
            yield "Failed: %s, %s %s, round %d: %s." % (
                TITLE[row["server"]], row["kind"], row["scenario"], row["turn"] + 1, row["failed"])
    for title in FACTS["missing"]:
        yield "%s is left out, because its program was missing." % title


# ---- the machine ----


def said(*command, pattern=r".*"):
    """The first match in what a command prints; "unknown" without the command."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10)
        done.check_returncode()
        return re.search(pattern, done.stdout).group(0)
    except (OSError, AttributeError, subprocess.SubprocessError):
        return "unknown"


def machine():
    with open("/proc/cpuinfo") as f:
        model = re.search(r"model name\s*: (.*)|$", f.read()).group(1) or os.uname().machine
    version = r"\d[\w.~+-]*"
    yield "date", FACTS["date"]
    yield "commit", FACTS["commit"]
    yield "processor", "%s, %d cores" % (model, os.cpu_count())
    yield "kernel", "%s %s" % (os.uname().sysname, os.uname().release)
    yield "[congestion control](glossary.md#congestion-control)", said("sysctl", "-n", "net.ipv4.tcp_congestion_control")
    yield "compiler", said(os.environ.get("CC", "cc"), "--version")
    yield "C library", said("ldd", "--version")
    yield "libuv", said("pkg-config", "--modversion", "libuv", pattern=version)
    yield "liburing", said("pkg-config", "--modversion", "liburing", pattern=version)
    yield "libevent", said("pkg-config", "--modversion", "libevent", pattern=version)
    yield "Python", said("python3", "--version", pattern=version)
    yield "redis-benchmark", said("redis-benchmark", "--version", pattern=version)
    yield "rounds", "%d, in %.0f minutes" % (FACTS["rounds"], FACTS["minutes"])
    yield "cores", ("the server on one, its client on another" if FACTS["pinned"]
                    else "one for both, so they take turns: requests per second mean little")


# ---- what the charts show ----

CHARTS = [
    ("cpu", "Server CPU time per request"),
    ("rate", "Throughput, one request at a time"),
    ("p99", "Latency: 99 of 100 replies come within"),
]


def quartiles(values):
    """The band of a chart: the middle half of the rounds, if there are enough."""
    if len(values) < 3:
        return "", ""
    first, _, third = statistics.quantiles(values, n=4, method="inclusive")
    return "%g" % first, "%g" % third


def write_chart_data(name):
    with open(name, "w", encoding="utf-8") as f:
        f.write("# The figures of the charts in benchmarks.md, one request at a time: the median of\n"
                "# the rounds, and where their middle half begins and ends. make bench, %s.\n"
                "figure,server,title,connections,median,low,high\n" % FACTS["date"])
        for key, _ in CHARTS:
            for server, title in SERVERS:
                for c in CONNECTIONS:
                    value = median("load", load(c), server, key)
                    if value:
                        spread = quartiles(list(rounds("load", load(c), server, key).values()))
                        fields = [key, server, title, str(c), "%g" % value, *spread]
                        f.write(",".join(fields) + "\n")


def alternative(key, title):
    """The chart in words, for those who cannot see it."""
    ends = []
    for server, name in SERVERS:
        values = [(c, median("load", load(c), server, key)) for c in CONNECTIONS]
        values = [(c, value) for c, value in values if value]
        if values:
            ends.append("%s %s (%s)" % (name, number(values[-1][1], 2 if key == "cpu" else 0),
                                        number(values[-1][0], 0)))
    unit = {"cpu": "µs", "rate": "requests per second", "p99": "µs"}[key]
    return ("%s, by the number of connections. The last value of each curve in %s, and in brackets "
            "its connections: %s. The tables below have all values.") % (title, unit, ", ".join(ends))


def draw_charts():
    pictures = os.path.join(DIR, "pictures")
    os.makedirs(pictures, exist_ok=True)
    data = os.path.join(pictures, "bench.csv")
    write_chart_data(data)
    for key, _ in CHARTS:
        chart = "bench-" + key
        words = [sys.executable, "-B", "tests/pictures/charts.py", chart, data]
        subprocess.run([*words, os.path.join(pictures, chart + ".svg")], check=False)


TEXT = """# Benchmarks

`make bench` writes this page, and its next run overwrites it. A run takes a quarter of an hour, and needs two cores that nothing else uses. `QUICK=1 make bench`
only tries out whether everything works, and writes to `build/bench`. `ONLY=06,libuv` measures only these servers, `ONLY=chat` only the chat room of 07,
`ONLY=cores` only how more loops help. `AT=50,1000` measures only these numbers of connections, and `ROUNDS=5` sets the number of rounds.

All servers offer the [line service](glossary.md#line-service): they answer each line with `+` and the line. Some have a [thread](glossary.md#thread) or a
[worker](glossary.md#worker) for each connection, others serve all [descriptors](glossary.md#descriptor) in one thread. The plots show CPU time,
[throughput](glossary.md#throughput) and [latency](glossary.md#latency) over the number of connections, with one curve
per server, and a band that holds the middle half of the rounds:

{plots}

## What the figures say

Each ratio here, and in brackets in the tables, is a median of ratios *within* a round, in which both servers ran at nearly the same time.
Each time is a median over the rounds, taken by itself. So a ratio need not be the quotient of the two times beside it.
In the first two lines, the number after a server, as in "(06: 0.63)", is the CPU time of 06 divided by that server's.

{sentences}

## What was measured

- *limit* is a bare epoll loop with nothing around it: it has no [timeouts](glossary.md#timeout) and no limits, and does not handle
  [slow readers](glossary.md#slow-reader). It shows what the [kernel](glossary.md#kernel) costs.
- *6-10 io_uring* is the solution of [exercise 6-10](io-uring.md): what 06 does, on io_uring.
- *a thread each* starts a thread for each connection. *04 pool* has as many workers as there are connections; with fewer, the figures would show
  mostly the wait for a worker.
- *libuv*, *libevent* and *asyncio* offer the line service as a careful user of each library would write it: all replies to one read leave in one write,
  [Nagle's algorithm](glossary.md#nagles-algorithm) is off, and the first two use the parser of chapter 06. They have no
  [idle timeouts](glossary.md#idle-timeout), which 06 has.
- The client is the [load generator](glossary.md#load-generator) of chapter 06. Lines have 16 bytes, and each reply is checked. A connection sends again
  when it has all its replies (a closed loop). With 16 requests at a time, it sends 16 lines together, and waits for all 16 replies.
- Another process holds the idle connections, and sends nothing on them.
- *Server CPU time per request* is what the scheduler counts for the server's threads, user and system time together, from the
  moment when all clients are connected until the last reply, divided by the number of requests. On a machine that does other work too, it is the
  steadiest figure.
- *Latency* is the time from the send of a batch to the arrival of the reply, as the client sees it. It includes waiting in the client. The clock
  starts after the clients have connected.
- *Memory* is how much these idle connections increase the process's resident set (Rss in `/proc/PID/smaps_rollup`). What the kernel keeps for a
  [socket](glossary.md#socket) is not included; it is the same for all servers. The memory of the pool's threads counts as memory of its clients.
- *[System calls](glossary.md#system-call)* are all that a server makes while it answers, with one request at a time. `strace` counts them, and slows the server. So each wake-up
  finds more to do than in a run without it.
- Each figure is the median of the rounds. In each round the servers take turns of 0.4 s (up to 100 connections: three turns of 0.13 s), while the
  others sleep. Before the first round, each server has served one client. In brackets is the ratio to {base} in the same turn (also a median).

| | |
| --- | --- |
{machine}

## Tables

### One request at a time

{tables}

### 16 requests at a time

{tables16}

{others}
"""


def main():
    draw_charts()
    text = TEXT.format(
        plots="\n\n".join("![%s](pictures/bench-%s.svg)" % (alternative(key, title), key)
                         for key, title in CHARTS),
        sentences="\n".join("- " + sentence for sentence in sentences()),
        machine="\n".join("| %s | %s |" % pair for pair in machine()),
        tables="\n\n".join(load_tables(1)),
        tables16="\n\n".join(load_tables(16)),
        others="\n\n".join(other_tables()),
        base=TITLE[BASE],
    )
    write_part(DIR, "", text)
    print("bench: see %s/benchmarks.md" % DIR)


if __name__ == "__main__":
    main()
