"""measure.py FILE: drives the servers of 03 to 06 and their peers in turn, writes figures to FILE.

`make bench` builds what it needs and runs it. From the environment:
  QUICK=1          one round of few requests: tests the bench, not the servers
  ROUNDS=5         a figure is the median of so many
  ONLY=06,libuv    only these servers (ONLY=chat: only chat.py)
  AT=50,1000       only these numbers of connections
"""
import contextlib
import csv
import json
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import time

QUICK = os.environ.get("QUICK", "0") not in ("", "0")
ROUNDS = int(os.environ.get("ROUNDS") or (1 if QUICK else 5))
SLICE_S = 0.05 if QUICK else 0.4  # how long a server is asked in a round
CALLS = 200 if QUICK else 1000  # requests of a run that strace watches
ONLY = [name for name in os.environ.get("ONLY", "").split(",") if name]
AT = [int(number) for number in os.environ.get("AT", "").split(",") if number]
LOAD = "06-epoll/load"
CORES = sorted(os.sched_getaffinity(0))

# Name, title, the most connections it is given, command. "{n}" is the number of connections: the
# pool gets a worker for each, or the wait for a worker would be measured.
SERVERS = [
    ("03", "03 one client", 1, ["03-long-conn/server"]),
    ("thread", "a thread each", 1000, ["build/bench/peer_thread"]),
    ("04", "04 pool", 1000, ["04-threadpool/server", "-w", "{n}"]),
    ("05", "05 select", 1000, ["05-select/server"]),
    ("06", "06 epoll", 10000, ["06-epoll/server"]),
    ("limit", "limit", 10000, ["build/bench/peer_limit"]),
    ("uring", "6-10 io_uring", 10000, ["build/bench/6-10/06-epoll/server"]),
    ("libuv", "libuv", 10000, ["build/bench/peer_libuv"]),
    ("libevent", "libevent", 10000, ["build/bench/peer_libevent"]),
    ("asyncio", "asyncio", 10000, ["tests/bench/peer_asyncio.py"]),
]
# Connections that ask; lines that each sends together; connections that are silent.
SCENARIOS = [(c, p, 0) for p in (1, 16) for c in (1, 10, 50, 100, 1000, 10000)]
SCENARIOS += [(50, 1, 900), (50, 1, 9900)]
CALLS_AT = (1, 50, 1000)
SCENARIOS = [s for s in SCENARIOS if s[0] in AT or not AT]


def say(text):
    print("bench: " + text, file=sys.stderr, flush=True)


class Failed(Exception):
    """A run that gave no figures, and why."""


PROBLEMS = (Failed, OSError, ValueError, LookupError, subprocess.SubprocessError)


def pin(core):
    """The server has one core and its client another, if there are two."""
    return (lambda: os.sched_setaffinity(0, {core})) if len(CORES) > 1 else None


class Server:
    """A server that runs; `with` ends it."""

    def __init__(self, command, connections):
        words = [word.format(n=connections) for word in command] + ["-p", "0"]
        self.idle = []
        self.process = subprocess.Popen(
            words, stdout=subprocess.PIPE, text=True, preexec_fn=pin(CORES[0])
        )
        line = self.process.stdout.readline()
        if not line.startswith("listening on "):
            raise Failed("it does not start")
        self.port = int(line.rsplit(":", 1)[1])
        self.proc = "/proc/%d/" % self.process.pid
        self.own_files = self.files()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.drop_idle()
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()

    def cpu_ns(self):
        return cpu_ns(self.process.pid)

    def resident(self):
        with open(self.proc + "smaps_rollup") as f:
            return next(1024 * int(line.split()[1]) for line in f if line.startswith("Rss:"))

    def files(self):
        return len(os.listdir(self.proc + "fd"))

    def is_traced(self):
        with open(self.proc + "status") as f:
            return any(line.startswith("TracerPid:") and line.split()[1] != "0" for line in f)

    def add_idle(self, n):
        """Connects n silent clients, and waits until the server has accepted them all."""
        end = time.monotonic() + 20
        for _ in range(n):
            self.idle.append(socket.create_connection(("127.0.0.1", self.port), 10))
        while self.files() < self.own_files + n:
            if time.monotonic() > end:
                raise Failed("it has %d descriptors for %d clients" % (self.files(), n))
            time.sleep(0.02)


    def drop_idle(self):
        for s in self.idle:
            s.close()
        before = len(self.idle)
        self.idle = []
        while self.process.poll() is None and before != self.files():
            before = self.files()
            time.sleep(0.05)  # until it has closed its ends


def cpu_ns(pid):
    """The process's CPU clock (clock_getcpuclockid(3)): the run time of each of its threads, as the
    scheduler keeps it (/proc/PID/task/*/schedstat), with those that have ended."""
    return time.clock_gettime_ns(~pid << 3 | 2)


def load(server, connections, at_once, amount):
    """Runs the load generator; returns its figures, and both CPU times while its clock ran."""
    words = [LOAD, "-p", server.port, "-c", connections, "-P", at_once, *amount]
    client = subprocess.Popen(
        [str(word) for word in words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=pin(CORES[-1]),
    )
    client.stdout.readline()  # "connections N": the clock starts
    cpu, own = -server.cpu_ns(), -cpu_ns(client.pid)
    lines = [client.stdout.readline()]  # "requests N in S s": all are answered
    cpu += server.cpu_ns()
    own += cpu_ns(client.pid)  # its clock stands until we wait for it
    lines += client.stdout.readlines()
    why = client.stderr.read().strip()
    if client.wait() != 0:
        raise Failed(why)
    said = {line.split()[0]: line.split()[1:] for line in lines}
    requests, seconds = int(said["requests"][0]), float(said["requests"][2])
    return {
        "cpu": cpu / 1000 / requests,
        "rate": float(said["requests/s"][0]),
        "p50": float(said["p50"][0]),
        "p99": float(said["p99"][0]),
        "server busy": cpu / 1e9 / seconds,
        "client busy": own / 1e9 / seconds,
    }


def warm(server):
    """One client comes and goes. Then the buffers that all share are in use; and asyncio's reads,
    of 256 KiB each, are no longer mapped and unmapped one by one: glibc has adapted (mallopt(3),
    M_MMAP_THRESHOLD). That makes it three times as fast."""
    load(server, 1, 16, ["-n", 1600])


def measure_load(server, scenario, rates):
    """One slice. How many requests that is, the slice before has shown."""
    connections, at_once, idle = scenario
    seconds = SLICE_S / pieces(scenario)
    requests = max(rates.get(server, 10000 * at_once) * seconds, 2 * connections * at_once)
    server.add_idle(idle)
    figures = load(server, connections, at_once, ["-n", int(requests)])
    server.drop_idle()
    rates[server] = figures["rate"]
    return figures


def growth(server, before, connections):
    """Bytes for each connection: while it has said nothing; and after a line and its reply."""
    server.add_idle(connections)
    time.sleep(0.2)
    new = server.resident()
    for s in server.idle:
        s.sendall(b"one line\n")
    for s in server.idle:
        s.recv(100)
    return {"new": (new - before) / connections, "used": (server.resident() - before) / connections}


def measure_memory(command, connections):
    with Server(command, 1) as server:
        warm(server)
        before = server.resident()
        if "{n}" not in command:
            return growth(server, before, connections)
    with Server(command, connections) as server:  # a pool's threads are what its clients cost
        return growth(server, before, connections)


def traced(server, connections, requests):
    """How many system calls the server makes for a run of the load generator, in all."""
    words = ["strace", "-f", "-c", "-qq", "-p", str(server.process.pid)]
    tracer = subprocess.Popen(words, stderr=subprocess.PIPE, text=True)
    end = time.monotonic() + 10
    while not server.is_traced():
        if time.monotonic() > end or tracer.poll() is not None:
            raise Failed("strace: " + tracer.communicate()[1].strip())
        time.sleep(0.01)
    load(server, connections, 1, ["-n", requests])
    tracer.send_signal(signal.SIGINT)
    total = tracer.communicate()[1].strip().split("\n")[-1].split()
    return int(total[3] if total[-1] == "total" else "")


def measure_calls(command, connections):
    """System calls per request: the difference of a long run and a short one, so that what is done
    once for each connection does not count."""
    with Server(command, connections) as server:
        warm(server)
        few = traced(server, connections, CALLS)
        many = traced(server, connections, 3 * CALLS)
    return {"calls": (many - few) / (2 * CALLS)}


def measure_redis(command, at_once):
    """Somebody else's client. Its replies are not checked."""
    n = int(60000 * SLICE_S * (1 if at_once == 1 else 8))
    words = ["redis-benchmark", "-t", "ping_inline", "--csv", "-c", 50, "-P", at_once, "-n", n]
    with Server(command, 50) as server:
        warm(server)
        cpu = -server.cpu_ns()
        done = subprocess.run(
            [str(word) for word in [*words, "-p", server.port]],
            capture_output=True,
            text=True,
            timeout=60,
            preexec_fn=pin(CORES[-1]),
        )
        cpu += server.cpu_ns()
    rows = list(csv.reader(done.stdout.splitlines()))
    if done.returncode or not rows or len(rows[-1]) < 8:
        raise Failed("redis-benchmark: " + (done.stderr.strip() or done.stdout.strip()))
    return {"cpu": cpu / 1000 / n, "rate": float(rows[-1][1])}


def pieces(scenario):
    """Up to 100 connections are there at once. So there a round is made of three, each a third as
    long: what disturbs one server then disturbs its neighbours too, and a median has more to go by."""
    return 3 if scenario[0] <= 100 and not scenario[2] and not QUICK else 1


def turns(items, rounds):
    """One after the other, in each round; each round begins with another one."""
    for turn in range(rounds):
        for i in range(len(items)):
            yield turn, items[(i + turn) % len(items)]


def take(figures, kind, scenario, turn, server, run, *arguments):
    row = {"turn": turn, "kind": kind, "scenario": scenario, "server": server[0]}
    try:
        row.update(run(*arguments))
    except PROBLEMS as problem:
        row["failed"] = str(problem)
        say("%s %s, round %d, %s: failed: %s" % (kind, scenario, turn + 1, server[1], problem))
    figures.append(row)


def measure_scenario(figures, servers, scenario):
    """All servers are there all the time, and asleep but for the one whose turn it is."""
    fit = [server for server in servers if scenario[0] + scenario[2] <= server[2]]
    rates, running = {}, {}
    say("%d connections, %d at once, %d idle" % tuple(scenario))
    with contextlib.ExitStack() as stack:
        for name, _, _, command in fit:
            running[name] = stack.enter_context(Server(command, scenario[0] + scenario[2]))
            warm(running[name])
        for turn, server in turns(fit, ROUNDS * pieces(scenario)):
            arguments = running[server[0]], scenario, rates
            take(figures, "load", scenario, turn, server, measure_load, *arguments)


def measure_all_calls(figures, servers):
    if not shutil.which("strace"):
        say("strace is missing, so system calls are not counted")
        return
    for connections in (c for c in CALLS_AT if c in AT or not AT):
        say("system calls, %d connections" % connections)
        fit = [server for server in servers if connections <= server[2]]
        for turn, server in turns(fit, 1):  # a second round counts the same
            arguments = server[3], connections
            take(figures, "calls", connections, turn, server, measure_calls, *arguments)


def measure_all(figures, servers):
    for scenario in SCENARIOS:
        measure_scenario(figures, servers, scenario)
    say("memory")
    many = [server for server in servers if server[2] > 1]
    for turn, server in turns(many, min(ROUNDS, 3)):
        take(figures, "memory", server[2], turn, server, measure_memory, server[3], server[2])
    measure_all_calls(figures, many)
    if not shutil.which("redis-benchmark"):
        say("redis-benchmark is missing, so its part is left out")
        return
    for at_once in (1, 16):
        say("redis-benchmark, %d at once" % at_once)
        for turn, server in turns(many, min(ROUNDS, 3)):
            take(figures, "redis", at_once, turn, server, measure_redis, server[3], at_once)


def busy_s():
    """Seconds that the machine's processors have worked for processes, or for other machines."""
    with open("/proc/stat") as f:
        user, nice, system, _, _, _, _, steal = map(int, f.readline().split()[1:9])
    return (user + nice + system + steal) / os.sysconf("SC_CLK_TCK")


def own_s():
    """The same of this process and those that it started, as far as they have ended."""
    usage = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in usage)


def commit():
    """That of the tree; what a benchmark itself has written into docs/ does not count."""
    try:
        head = ["git", "rev-parse", "--short", "HEAD"]
        name = subprocess.run(head, capture_output=True, text=True, check=True).stdout.strip()
        changed = subprocess.run(["git", "diff", "--quiet", "HEAD", "--", ".", ":!docs"]).returncode
        return name + ("-dirty" if changed else "")
    except (OSError, subprocess.SubprocessError):
        return "unknown"


def timed(facts, run, *arguments):
    """Notes of what commit it is, how long it took, and what part of the processors other work had
    meanwhile."""
    facts["commit"] = commit()
    start, others = time.monotonic(), busy_s() - own_s()
    run(*arguments)
    seconds = time.monotonic() - start
    facts["minutes"] = seconds / 60
    facts["others"] = max(0, busy_s() - own_s() - others) / seconds / os.cpu_count()


def main():
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    if most < 10100:
        sys.exit("bench: 10,100 descriptors are needed, and `ulimit -Hn` is %d" % most)
    servers = [s for s in SERVERS if s[0] in ONLY or not ONLY]
    missing = [s for s in servers if not os.path.exists(s[3][0])]
    for server in missing:
        say("%s is missing, so %s is left out" % (server[3][0], server[1]))
    servers = [s for s in servers if s not in missing]
    facts = {
        "date": time.strftime("%Y-%m-%d"),
        "rounds": ROUNDS,
        "quick": QUICK,
        "pinned": len(CORES) > 1,
        "servers": [s[:3] for s in servers],
        "missing": [s[1] for s in missing],
        "scenarios": SCENARIOS,
        "figures": [],
    }
    timed(facts, measure_all, facts["figures"], servers)
    os.makedirs(os.path.dirname(sys.argv[1]) or ".", exist_ok=True)
    with open(sys.argv[1], "w") as f:
        json.dump(facts, f, indent=1)


if __name__ == "__main__":
    main()
