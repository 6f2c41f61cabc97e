"""cores.py measure FILE: drives servers with one loop, two, and one for each core; writes to FILE.
cores.py report FILE DIR: writes the figures into DIR/benchmarks.md, as a section of their own.

A part of `make bench` of its own (ONLY=cores: nothing else); QUICK and ROUNDS as in measure.py.
"""
import contextlib
import json
import os
import statistics
import subprocess
import sys
import time

from measure import CORES, LOAD, PROBLEMS, QUICK, ROUNDS, Failed, Server, cpu_ns, say, turns
from parts import HEADINGS, write_part

SLICE_S = 0.05 if QUICK else 0.4  # how long a server is asked in a round
CONNECTIONS = 100  # of all clients together
LOOPS = sorted({1, 2, len(CORES)})
SERVERS = [
    ("6-4", "6-4, a loop each", ["build/bench/6-4/06-epoll/server"]),
    ("libuv", "libuv, a loop each", ["build/bench/peer_libuv"]),
    ("go", "Go, net", ["build/bench/peer_net"]),
]
# Lines that each connection sends together, and the title.
BATCHES = [(1, "one request at a time"), (16, "16 requests at a time")]


class Free(Server):
    """A server that may use all cores; and so may its clients."""

    def __init__(self, command, loops):
        super().__init__(command + ["-w", str(loops)], CONNECTIONS)
        for task in os.listdir(self.proc + "task"):
            os.sched_setaffinity(int(task), set(CORES))


def start_load(server, at_once, requests):
    words = [LOAD, "-p", server.port, "-c", CONNECTIONS // len(CORES), "-P", at_once]
    words += ["-n", requests]
    return subprocess.Popen(
        [str(word) for word in words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def run_load(server, at_once, rates, key):
    """A load generator for each core. Their requests, over the time from the moment when all are
    connected until all have ended."""
    each = int(max(rates.get(key, 10000 * at_once) * SLICE_S / len(CORES), 2 * CONNECTIONS))
    clients = [start_load(server, at_once, each) for _ in CORES]
    for client in clients:
        client.stdout.readline()  # "connections N": its clock starts
    start, cpu, own = time.monotonic(), -server.cpu_ns(), -sum(cpu_ns(c.pid) for c in clients)
    for client in clients:
        client.stdout.readline()  # "requests N in S s"
    seconds = time.monotonic() - start
    cpu += server.cpu_ns()
    own += sum(cpu_ns(client.pid) for client in clients)
    for client in clients:
        why = client.communicate()[1].strip()
        if client.returncode:
            raise Failed(why)
    requests = each * len(clients)
    rates[key] = requests / seconds
    return {
        "cpu": cpu / 1000 / requests,
        "rate": requests / seconds,
        "server busy": cpu / 1e9 / seconds,
        "client busy": own / 1e9 / seconds,
    }


def measure(file):
    servers = [server for server in SERVERS if os.path.exists(server[2][0])]
    figures = []
    for at_once, title in BATCHES:
        say("cores, " + title)
        rates = {}
        with contextlib.ExitStack() as stack:
            running = [
                (server[0], loops, stack.enter_context(Free(server[2], loops)))
                for server in servers for loops in LOOPS
            ]
            for turn, (name, loops, server) in turns(running, ROUNDS):
                row = {"turn": turn, "server": name, "loops": loops, "batch": at_once}
                try:
                    row.update(run_load(server, at_once, rates, (name, loops)))
                except PROBLEMS as problem:
                    row["failed"] = str(problem)
                    say("%s, %d loops, round %d: failed: %s" % (name, loops, turn + 1, problem))
                figures.append(row)
    facts = {
        "rounds": ROUNDS,
        "quick": QUICK,
        "cores": len(CORES),
        "servers": [server[:2] for server in servers],
        "missing": [server[1] for server in SERVERS if server not in servers],
        "figures": figures,
    }
    os.makedirs(os.path.dirname(file) or ".", exist_ok=True)
    with open(file, "w") as f:
        json.dump(facts, f, indent=1)


# ---- the report ----


def values(facts, server, loops, batch, key):
    return [row[key] for row in facts["figures"]
            if (row["server"], row["loops"], row["batch"]) == (server, loops, batch) and key in row]


def spread(found):
    """The middle half of the values, as "-7 to +4 %" of their median."""
    if len(found) < 3:
        return ""
    low, middle, high = statistics.quantiles(found, n=4, method="inclusive")
    return " (%+.0f to %+.0f %%)" % (100 * (low / middle - 1), 100 * (high / middle - 1))


def rows(facts, batch):
    yield "| | loops | requests per second | server CPU time per request, in µs | cores busy: server | clients |"
    yield "| --- | ---: | ---: | ---: | ---: | ---: |"
    for server, title in facts["servers"]:
        for loops in sorted({row["loops"] for row in facts["figures"]}):
            found = {key: values(facts, server, loops, batch, key)
                     for key in ("rate", "cpu", "server busy", "client busy")}
            if found["rate"]:
                yield "| %s | %d | %s%s | %.2f%s | %.2f | %.2f |" % (
                    title, loops,
                    "{:,.0f}".format(statistics.median(found["rate"])), spread(found["rate"]),
                    statistics.median(found["cpu"]), spread(found["cpu"]),
                    statistics.median(found["server busy"]), statistics.median(found["client busy"]))


TEXT = """{heading}

This section shows what more loops bring. *6-4* is the solution of [exercise 6-4](../06-epoll/exercises/4-cores/README.md): a thread with a loop and a
[listening socket](glossary.md#listening-socket) of its own for each core (`SO_REUSEPORT`). *libuv* is the line service of the other sections in as many threads, each with a loop. *Go*
has a goroutine for each connection, and `GOMAXPROCS` threads that run them. `ONLY=cores make bench` measures only this section.

{connections} connections ask, from one load generator for each core. Servers and clients may use all cores: a server with two loops has no core that its clients
leave alone. Each figure is the median of {rounds} rounds in which all servers take turns. In brackets is where the middle half of the rounds lies. *Cores
busy* is the CPU time of the server and of its clients, per second.

{tables}

{limits}
"""


def limits(facts):
    if facts["cores"] <= 2:
        yield ("This machine has %d cores, for the servers and their clients together. So the table shows "
               "what a second loop costs, and cannot show how far more loops go: for that, more cores are "
               "needed than the clients use.") % facts["cores"]
    if facts["quick"]:
        yield "This was a short run (QUICK=1): its figures mean little."
    for row in facts["figures"]:
        if "failed" in row:
            yield "Failed: %s with %d loops, round %d: %s." % (
                row["server"], row["loops"], row["turn"] + 1, row["failed"])
    for title in facts["missing"]:
        yield "%s is left out, because its program was missing." % title


def report(file, directory):
    with open(file) as f:
        facts = json.load(f)
    tables = [
        "### Cores: %s\n\n%s" % (title, "\n".join(rows(facts, batch))) for batch, title in BATCHES
    ]
    write_part(directory, HEADINGS[2], TEXT.format(
        heading=HEADINGS[2],
        connections=CONNECTIONS,
        rounds=facts["rounds"],
        tables="\n\n".join(tables),
        limits="\n".join("- " + sentence for sentence in limits(facts)),
    ))
    print("bench: see %s" % os.path.join(directory, "benchmarks.md"))


if sys.argv[1] == "measure":
    measure(sys.argv[2])
else:
    report(sys.argv[2], sys.argv[3])
