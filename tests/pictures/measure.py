"""measure.py memory|queue|latency FILE: runs the programs, and keeps what a picture shows in FILE.

`make measure-memory` and the others build what they need and run it. The first lines of a file say
what was measured, on what machine. charts.py draws the pictures.
"""
import os
import resource
import socket
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "bench"))
import measure as bench  # noqa: E402
from measure import QUICK, Failed, Server, warm  # noqa: E402

bench.CORES = bench.CORES[:1]  # nothing is pinned: the kernel places the programs as it likes

THREADS = ["build/bench/peer_thread"]
EPOLL = ["06-epoll/server"]


def machine():
    cores = "%d cores" % os.cpu_count()
    return "%s, %s %s, %s" % (cores, os.uname().sysname, os.uname().release, os.uname().machine)


def keep(name, about, head, rows):
    with open(name, "w", encoding="utf-8") as f:
        for line in about + ["Measured on %s: %s." % (time.strftime("%Y-%m-%d"), machine())]:
            f.write("# %s\n" % line)
        f.write(",".join(head) + "\n")
        for row in rows:
            f.write(",".join(str(field) for field in row) + "\n")


# ---- memory: 06 against a thread for each connection ----

STEPS = range(0, 10001, 1000)


def kernel_stacks():
    with open("/proc/meminfo") as f:
        return next(1024 * int(line.split()[1]) for line in f if line.startswith("KernelStack:"))


def memory_of(name, command):
    with Server(command, 0) as server:
        warm(server)
        time.sleep(0.2)
        resident, stacks = server.resident(), kernel_stacks()
        for connections in STEPS:
            new = connections - len(server.idle)
            server.add_idle(new)
            for s in server.idle[len(server.idle) - new:]:
                s.sendall(b"one line\n")
            for s in server.idle[len(server.idle) - new:]:
                s.recv(100)
            kernel = max(0, kernel_stacks() - stacks) if command == THREADS else 0
            yield name, connections, server.resident() - resident, kernel


def memory(name):
    rows = [row for one in (("06", EPOLL), ("thread", THREADS)) for row in memory_of(*one)]
    keep(name, [
        "Memory of a server for connections that have sent a line and are silent: 06-epoll/server,",
        "and tests/bench/peer_thread.c, with a thread for each and stacks of 64 KiB. resident: how",
        "much its resident set has grown (Rss, proc_pid_smaps(5)). kernel_stacks: how much those",
        "of all threads of the machine have grown (KernelStack, proc_meminfo(5)). The kernel's",
        "memory for the sockets is the same for both, and not counted. make measure-memory",
    ], ["server", "connections", "resident", "kernel_stacks"], rows)


# ---- the queues of 07, while one reader is slow and one does not read ----

LINE = b"x" * 90 + b"\n"
SPEAK_S, END_S = 3.0, 5.0
SLOW_RATE = 300_000  # bytes a second that the slow reader reads
SMALL = 16 * 1024  # a buffer in the kernel


def join(port, name, option=None):
    """A member of the room. option: of which buffer in the kernel there is only a small one."""
    s = socket.socket()
    s.settimeout(10)
    if option:
        s.setsockopt(socket.SOL_SOCKET, option, SMALL)  # before connect: tcp(7)
    s.connect(("127.0.0.1", port))
    s.sendall(name.encode() + b"\n")
    heard = b""
    while b"+welcome" not in heard:
        new = s.recv(1000)
        if not new:
            raise Failed("%s may not join: %r" % (name, heard))
        heard += new
    return s


def drain(s, rate, end):
    """Reads at most so many bytes a second (0: all that comes) until the end, or its own."""
    taken, start = 0, time.monotonic()
    s.settimeout(0.02)
    while time.monotonic() < end:
        if rate and taken > rate * (time.monotonic() - start):
            time.sleep(0.005)
            continue
        try:
            got = len(s.recv(4096 if rate else 65536))
        except TimeoutError:
            continue
        except ConnectionError:
            return
        if got == 0:
            return
        taken += got


def speak(s, end):
    s.settimeout(1)
    while time.monotonic() < end:
        try:
            s.send(LINE * 20)
        except TimeoutError:
            pass


def queue(name):
    errors = tempfile.TemporaryFile("w+")
    server = subprocess.Popen(["build/pictures/queue_probe", "-p", "0", "-r", "0"],
                              stdout=subprocess.PIPE, stderr=errors, text=True)
    try:
        port = int(server.stdout.readline().rsplit(":", 1)[1])
        people = [join(port, "carol"), join(port, "bob", socket.SO_RCVBUF),
                  join(port, "mute", socket.SO_RCVBUF)]
        speaker = join(port, "ann", socket.SO_SNDBUF)
        start = time.monotonic()
        work = [
            threading.Thread(target=drain, args=(people[0], 0, start + END_S)),
            threading.Thread(target=drain, args=(people[1], SLOW_RATE, start + END_S)),
            threading.Thread(target=drain, args=(speaker, 0, start + END_S)),
            threading.Thread(target=speak, args=(speaker, start + SPEAK_S)),
        ]
        for thread in work:
            thread.start()
        for thread in work:
            thread.join()
        for s in [*people, speaker]:
            s.close()
    finally:
        server.terminate()
        server.wait(10)
        server.stdout.close()
    errors.seek(0)
    rows = [line.split() for line in errors]
    rows = [row for row in rows if len(row) == 4 and row[1] != "ann"]
    first = next(int(row[0]) for row in rows if int(row[3]) > 4096)
    keep(name, [
        "The queues of three members of 07-chat while a fourth sends lines of 90 bytes, as fast as",
        "the server takes them (./server -r 0), for %g s. carol reads all that comes, bob %d kB"
        " a" % (SPEAK_S, SLOW_RATE / 1000),
        "second, and mute nothing. Buffers of bob, mute, ann: %d KiB. queue: what the waiting" % (
            SMALL / 1024),
        "messages cost (queue.h). kernel: bytes that the peer has not acknowledged (SIOCOUTQ,",
        "tcp(7)). No more rows: the member was dropped, or has left. make measure-queue",
    ], ["ms", "member", "queue", "kernel"], thinned(
        (int(ms) - first, who, cost, kernel) for ms, who, cost, kernel in rows
        if int(ms) >= first - 100))


def thinned(rows):
    """At most one row for each member and 10 ms; and the last one of each."""
    last, waiting = {}, {}
    for row in rows:
        if row[0] - last.get(row[1], -1000) >= 10:
            last[row[1]] = row[0]
            waiting.pop(row[1], None)
            yield row
        else:
            waiting[row[1]] = row
    yield from waiting.values()


# ---- latency: how many replies came after what time ----

CONNECTIONS, REQUESTS, TURNS = (50, 1000, 1) if QUICK else (1000, 40_000, 5)  # REQUESTS in a turn
SERVERS = [
    ("06 epoll", EPOLL),
    ("05 select", ["05-select/server"]),
    ("04 pool", ["04-threadpool/server", "-w", "{n}"]),
    ("a thread each", THREADS),
]


def latency_of(command):
    words = ["build/pictures/load_histogram", "-c", CONNECTIONS, "-n", REQUESTS]
    with Server(command, CONNECTIONS) as server:
        warm(server)
        done = subprocess.run([str(word) for word in [*words, "-p", server.port]], text=True,
                              capture_output=True, timeout=120)
    if done.returncode:
        raise Failed(done.stderr.strip())
    for line in done.stdout.splitlines():
        first, _, second = line.partition(" ")
        if first.isdigit():
            yield int(first), int(second)


def latency(name):
    counts = {title: {} for title, _ in SERVERS}
    for _ in range(TURNS):
        for title, command in SERVERS:
            for ns, replies in latency_of(command):
                counts[title][ns] = counts[title].get(ns, 0) + replies
    rows = [(title, ns, counts[title][ns]) for title, _ in SERVERS for ns in sorted(counts[title])]
    keep(name, [
        "How many replies came after what time, in nanoseconds: %d connections that have one"
        " request" % CONNECTIONS,
        "each on its way. Requests in a turn: %d; turns: %d. The ranges of time are those of" % (
            REQUESTS, TURNS),
        "06-epoll/histogram.h. The kernel places server and load generator as it likes.",
        "make measure-latency",
    ], ["server", "ns", "replies"], rows)


def main():
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    {"memory": memory, "queue": queue, "latency": latency}[sys.argv[1]](sys.argv[2])


main()
