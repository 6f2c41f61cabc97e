"""tls.py measure FILE: drives 08 and its peers in turn, writes figures to FILE.
tls.py report FILE DIR: writes them into DIR/benchmarks.md, as its last section.

A part of `make bench` of its own (ONLY=tls: nothing else); QUICK and ROUNDS as in measure.py.
"""
import contextlib
import json
import os
import socket
import statistics
import subprocess
import sys
import time

from measure import CORES, PROBLEMS, QUICK, ROUNDS, Failed, Server, pin, say, turns
from parts import write_part

CERTS = "08-tls/certs/server"
IDLE = 100 if QUICK else 1000
SCALE = 0.05 if QUICK else 1  # of the numbers of requests and handshakes
SERVERS = [
    ("08", "08 tls", ["08-tls/server"]),
    ("libevent", "libevent", ["build/bench/peer_libevent_tls"]),
    ("s_server", "openssl s_server", ["openssl", "s_server"]),
]
# Name, title, arguments of load_tls, how many.
REQUESTS = [
    ("one", "1 connection", ("requests", 1, 1), 6000),
    ("plain", "50 connections", ("requests", 50, 1), 20000),
    ("pipelined", "50 connections, 16 lines at once", ("requests", 50, 16), 160000),
]
HANDSHAKES = [
    ("%s %s" % (version, kind), "TLS %s, %s" % (version, kind), ("handshakes", version, kind), 600)
    for version in ("1.3", "1.2") for kind in ("full", "resumed")
]


class SServer(Server):
    """openssl s_server: quiet, or it would print its port, but also half a page for each client."""

    def __init__(self):
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        command = ["openssl", "s_server", "-accept", "127.0.0.1:%d" % self.port, "-rev", "-quiet"]
        command += ["-cert", CERTS + ".pem", "-key", CERTS + ".key"]
        self.idle = []
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, preexec_fn=pin(CORES[0])
        )
        self.proc = "/proc/%d/" % self.process.pid
        for _ in range(100):
            try:
                socket.create_connection(("127.0.0.1", self.port)).close()
                return
            except ConnectionRefusedError:
                time.sleep(0.05)
        raise Failed("it does not start")


def start(server):
    return SServer() if server[0] == "s_server" else Server(server[2], 1)


def run_load(server, arguments, n):
    """Microseconds of the server's CPU time for each of n, while the load's clock ran."""
    command = ["build/bench/load_tls", server.port, *arguments, max(1, int(n * SCALE))]
    load = subprocess.Popen(
        [str(word) for word in command], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL, text=True, preexec_fn=pin(CORES[-1])
    )
    load.stdout.readline()
    cpu = -server.cpu_ns()
    end = load.stdout.readline()
    cpu += server.cpu_ns()
    why = load.communicate()[1].strip()
    if load.returncode:
        raise Failed(why)
    return cpu / 1000 / int(end.split()[1])


def run_idle(server):
    """Bytes of resident memory for each idle connection that has sent a line."""
    with start(server) as running:
        run_load(running, ("requests", 1, 16), 1600)
        before = running.resident()
        load = subprocess.Popen(
            ["build/bench/load_tls", str(running.port), "idle", str(IDLE), "1", "1"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        load.stdout.readline()
        load.stdout.readline()
        growth = running.resident() - before
        load.communicate("\n")
    if load.returncode:
        raise Failed("load_tls")
    return growth / IDLE


def measure(file):
    servers = [s for s in SERVERS if s[0] == "s_server" or os.path.exists(s[2][0])]
    figures = []

    def take(name, turn, server, run, *arguments):
        row = {"name": name, "turn": turn, "server": server[0]}
        try:
            row["value"] = run(*arguments)
        except PROBLEMS as problem:
            row["failed"] = str(problem)
            say("TLS, %s, round %d, %s: failed: %s" % (name, turn + 1, server[1], problem))
        figures.append(row)

    for name, title, arguments, n in REQUESTS + HANDSHAKES:
        say("TLS, " + title)
        fit = [s for s in servers if s[0] != "s_server" or arguments[0] == "handshakes"]
        with contextlib.ExitStack() as stack:
            running = {s[0]: stack.enter_context(start(s)) for s in fit}
            for turn, server in turns(fit, ROUNDS):
                take(name, turn, server, run_load, running[server[0]], arguments, n)
    say("TLS, memory")
    for turn, server in turns([s for s in servers if s[0] != "s_server"], min(ROUNDS, 3)):
        take("memory", turn, server, run_idle, server)
    said = subprocess.run(["openssl", "version"], capture_output=True, text=True).stdout
    said = said.split("(")[0].strip()
    facts = {"openssl": said, "rounds": ROUNDS, "quick": QUICK, "idle": IDLE, "figures": figures,
             "servers": [s[:2] for s in servers]}
    os.makedirs(os.path.dirname(file) or ".", exist_ok=True)
    with open(file, "w") as f:
        json.dump(facts, f, indent=1)


# ---- the report ----


def rounds(facts, name, server):
    return {row["turn"]: row["value"] for row in facts["figures"]
            if (row["name"], row["server"]) == (name, server) and "value" in row}


def median(facts, name, server):
    values = rounds(facts, name, server)
    return statistics.median(values.values()) if values else None


def ratio(facts, name, server, base):
    ours, theirs = rounds(facts, name, server), rounds(facts, name, base)
    both = [ours[turn] / theirs[turn] for turn in ours if turn in theirs]
    return statistics.median(both) if both else None


def table(facts, first, columns, base, text):
    """One row a server; in brackets the ratio to base, of the same round each."""
    yield "| %s | %s |" % (first, " | ".join(title for _, title in columns))
    yield "| --- |" + " ---: |" * len(columns)
    for server, title in facts["servers"]:
        cells = []
        for name, _ in columns:
            value, times = median(facts, name, server), ratio(facts, name, server, base)
            cells.append("–" if value is None else text(value) + (" (%.2f)" % times if times else ""))
        if set(cells) != {"–"}:
            yield "| %s | %s |" % (title, " | ".join(cells))


TEXT = """## TLS

This section compares 08 with a line service on libevent's OpenSSL bufferevents, which has the same TLS settings (`tls.h`). For
[handshakes](glossary.md#handshake), it also compares with `openssl s_server -rev`. The [certificates](glossary.md#certificate) are those of `make certs`
(EC P-256), the library is {openssl}. `ONLY=tls make bench` measures only this section. {quick}Each figure is the median of {rounds} rounds. In brackets is
the ratio to libevent, or to s_server, in the same round.

The first table shows server CPU time per request, in µs, and the resident memory of an idle connection that has sent a line, in bytes ({idle} connections):

{requests}

The second table shows handshakes per second of CPU time, each with one line and its reply (a ratio above 1 is better). In a full handshake, the server
signs with its key. In a resumed one, the client brings a [session ticket](glossary.md#session-ticket):

{handshakes}

The client for these figures makes the [system calls](glossary.md#system-call) of a [blocking](glossary.md#blocking) program, on the other core. s_server
gives two tickets for each full handshake of TLS 1.3, the other servers give one.
"""


def report(file, directory):
    with open(file) as f:
        facts = json.load(f)
    columns = [column[:2] for column in REQUESTS] + [("memory", "memory, bytes")]
    section = TEXT.format(
        openssl=facts["openssl"], rounds=facts["rounds"], idle="{:,}".format(facts["idle"]),
        quick="This was a short run (QUICK=1): its figures mean little. " if facts["quick"] else "",
        requests="\n".join(table(
            facts, "", columns, "libevent",
            lambda value: "{:,.0f}".format(value) if value > 1000 else "%.2f" % value)),
        handshakes="\n".join(table(
            {**facts, "figures": [{**row, "value": 1e6 / row["value"]} for row in facts["figures"]
                                  if row.get("value")]},
            "", [column[:2] for column in HANDSHAKES], "s_server",
            lambda value: "{:,.0f}".format(value))),
    )
    write_part(directory, "## TLS", section)
    print("bench: see %s" % os.path.join(directory, "benchmarks.md"))


if sys.argv[1] == "measure":
    measure(sys.argv[2])
else:
    report(sys.argv[2], sys.argv[3])
