"""chat.py FILE: drives the chat rooms, 07 and its peers, in turn, writes figures to FILE.

`make bench` runs it, and `ONLY=chat make bench` runs nothing else. QUICK and ROUNDS: see measure.py.
"""
import json
import os
import re
import resource
import shutil
import socket
import subprocess
import sys
import time

from measure import CORES, QUICK, Failed, Server, pin, say, take, timed, turns

ROUNDS = int(os.environ.get("ROUNDS") or (1 if QUICK else 3))
CROWD = "build/helpers/crowd"
RECEIVERS = 200
LINES = {1: 50, 10: 200} if QUICK else {1: 600, 10: 4000}  # said one by one, in batches of ten
MEMBERS = (50, 100, 200) if QUICK else (50, 100, 200, 500, 1000, 2000)
HEARD = 5000 if QUICK else 100000  # lines that all members together receive, whatever MEMBERS is
MANY = 100 if QUICK else 1000
SILENT = 100 if QUICK else 500
FLOOD = 20000 if QUICK else 200000

# Name, title, the most people it is given, command.
SERVERS = [
    ("naive", "naive", MANY, ["build/bench/peer_naive"]),
    ("ncat", "ncat --chat", RECEIVERS, ["ncat"]),
    ("07", "07 chat", MANY, ["07-chat/server", "-r", "0", "-m", "2000"]),
]


class Ncat(Server):
    """It takes no port 0, and does not say when it is ready."""

    def __init__(self):
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        words = ["ncat", "-l", "--chat", "-m", str(RECEIVERS + 50), "127.0.0.1", str(self.port)]
        self.idle = []
        self.process = subprocess.Popen(
            words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, preexec_fn=pin(CORES[0])
        )
        end = time.monotonic() + 5
        while not self.listens():
            if time.monotonic() > end:
                raise Failed("it does not start")
            time.sleep(0.02)
        self.proc = "/proc/%d/" % self.process.pid

    def listens(self):
        with open("/proc/net/tcp") as f:
            return any(line.split()[1].endswith(":%04X" % self.port) for line in list(f)[1:])


def start(command):
    return Ncat() if command[0] == "ncat" else Server(command, 1)


def crowd(server, *scenario):
    words = [CROWD, "-t", "60"]
    words += (["-x"] if isinstance(server, Ncat) else []) + [server.port, *scenario]
    return subprocess.Popen(
        [str(word) for word in words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=pin(CORES[-1]),
    )


def end(client):
    out, why = client.communicate()
    if client.returncode:
        raise Failed(why.strip())
    return out


def run(server, *scenario):
    """The numbers that the crowd prints."""
    out = end(crowd(server, *scenario))
    return [float(figure) for figure in re.findall(r"\d+(?:\.\d+)?", out)]


def measure_load(command, receivers, lines, batch):
    with start(command) as server:
        client = crowd(server, "load", receivers, lines, batch)
        client.stdout.readline()  # "go": all are in
        cpu = -server.cpu_ns()
        line = client.stdout.readline()  # "N lines were heard in S s"
        cpu += server.cpu_ns()
        end(client)
    heard, seconds = (float(word) for word in re.findall(r"\d+(?:\.\d+)?", line))
    return {"cpu": cpu / 1000 / heard, "rate": heard / seconds}


def measure_memory(command):
    """After one has come, spoken and gone, as all buffers that are shared are in use then."""
    with start(command) as server:
        run(server, "broadcast", 2, 3)
        before = server.resident()
        client = crowd(server, "stay", SILENT)
        client.stdout.readline()  # "go": all are in, and have heard of each other
        time.sleep(0.3)
        bytes_each = (server.resident() - before) / SILENT
        end(client)
    return {"bytes": bytes_each}


def measure_join(command):
    with start(command) as server:
        _, connected, welcomed = run(server, "join", MANY)
    return {"connected": connected, "welcomed": welcomed}


def measure_broadcast(command):
    with start(command) as server:
        _, _, fastest, usual, _ = run(server, "broadcast", MANY, 21)
    return {"usual": usual, "fastest": fastest}


def measure_flood(command):
    with start(command) as server:
        before = server.resident()
        _, took, exchanged, slowest, _ = run(server, "flood", FLOOD)
        with open(server.proc + "status") as f:
            peak = next(1024 * int(line.split()[1]) for line in f if line.startswith("VmHWM:"))
    return {"took": took, "exchanged": exchanged, "slowest": slowest, "growth": peak - before}


def measure_all(figures, servers):
    for batch in LINES:
        say("chat: %d receivers, %d lines at a time" % (RECEIVERS, batch))
        for turn, server in turns(servers, ROUNDS):
            arguments = server[3], RECEIVERS, LINES[batch], batch
            take(figures, "chat", batch, turn, server, measure_load, *arguments)
    many = [server for server in servers if server[0] != "ncat"]  # it refuses so many, or dies
    for members in MEMBERS:
        say("chat: %d members" % members)
        for turn, server in turns(many, ROUNDS):  # the one who speaks is a member, too
            arguments = server[3], members - 1, max(3, HEARD // members), 1
            take(figures, "members", members, turn, server, measure_load, *arguments)
    for kind, measure in (
        ("memory", measure_memory), ("join", measure_join), ("broadcast", measure_broadcast)
    ):
        say("chat: %d people, %s" % (MANY, kind))
        for turn, server in turns(many, ROUNDS):
            take(figures, kind, MANY, turn, server, measure, server[3])
    say("chat: a flood")
    for turn, server in turns([server for server in servers if server[0] == "07"], ROUNDS):
        take(figures, "flood", FLOOD, turn, server, measure_flood, server[3])


def main():
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    servers = [s for s in SERVERS if os.path.exists(s[3][0]) or shutil.which(s[3][0])]
    missing = [s[1] for s in SERVERS if s not in servers]
    facts = {
        "date": time.strftime("%Y-%m-%d"),
        "rounds": ROUNDS,
        "quick": QUICK,
        "pinned": len(CORES) > 1,
        "servers": [s[:3] for s in servers],
        "missing": missing,
        "scenarios": [],
        "members": MEMBERS,
        "many": MANY,
        "silent": SILENT,
        "receivers": RECEIVERS,
        "flood": FLOOD,
        "figures": [],
    }
    timed(facts, measure_all, facts["figures"], servers)
    os.makedirs(os.path.dirname(sys.argv[1]) or ".", exist_ok=True)
    with open(sys.argv[1], "w") as f:
        json.dump(facts, f, indent=1)


if __name__ == "__main__":
    main()
