"""Plays a scene: runs its programs under strace beside a tcpdump, in a network of their own.

Nothing here sleeps and hopes. A scene goes on when the programs are quiet: every thread sleeps in
a system call (Stage.settle), or has printed what the scene waits for (Program.prints).
"""
import fcntl
import glob
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time

import events

PATIENCE = float(os.environ.get("PATIENCE") or 1)
LIMIT = 20 * PATIENCE  # seconds for all of a scene
CALLS = ("%network,read,write,readv,writev,close,poll,ppoll,select,pselect6,?_newselect,"
         "epoll_wait,epoll_pwait,?epoll_pwait2,futex,nanosleep,clock_nanosleep,wait4,waitid,"
         "rt_sigtimedwait,rt_sigsuspend,?pause,exit_group")
ENDED = ("", "Z", "X")  # states of a thread
MARK = ("127.0.0.2", 9)  # where the datagram goes that says: all before it is in the file
TYPIST = r"""
import socket, sys
s = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
for line in sys.stdin:
    verb, _, words = line.rstrip("\n").partition(" ")
    if verb == "send":
        s.send(words.replace("\\n", "\n").encode())
    elif verb == "recv":
        s.recv(int(words or 1000))
    else:
        s.close()
"""


class Trouble(Exception):
    """The scene cannot go on; the text says why."""


def own_network():
    """Gives this process and its children a network with a loopback and nothing else, by starting
    Python again in one (unshare(1)). Without the right to do this, nothing changes."""
    if os.environ.get("TRACE_NETWORK"):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            request = struct.pack("16sh14x", b"lo", 0x1 | 0x40)  # IFF_UP | IFF_RUNNING
            fcntl.ioctl(s, 0x8914, request)  # SIOCSIFFLAGS, netdevice(7)
        return
    # --keep-caps lets another user than root capture: root of a user namespace, as by -r, is not
    # what tcpdump expects of root.
    for options in (["-n"], ["--map-current-user", "--keep-caps", "-n"], ["-rn"]):
        command = ["unshare", *options]
        try:
            subprocess.run(command + ["true"], check=True, stderr=subprocess.DEVNULL)
        except (OSError, subprocess.CalledProcessError):
            continue
        os.environ["TRACE_NETWORK"] = "own"
        os.execvp(command[0], command + [sys.executable] + sys.argv)


def state(task):
    """R, S, D, t, ... of a thread (proc(5)); "" if it has ended."""
    try:
        with open(f"/proc/{task}/stat", encoding="utf-8", errors="replace") as file:
            return file.read().rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return ""


class Program:
    """A program of the scene, under strace."""

    def __init__(self, stage, name, argv, stdin=subprocess.PIPE):
        self.stage = stage
        self.name = name
        self.stopped = False
        self.prefix = os.path.join(stage.directory, name.replace(" ", "-"))
        self.output = open(self.prefix + ".output", "w+b")
        environment = dict(os.environ, PYTHONUNBUFFERED="1", LC_ALL="C.UTF-8")
        self.process = subprocess.Popen(
            ["strace", "-ff", "-qq", "-o", self.prefix + ".calls", "-ttt", "-T", "-y", "-s", "256",
             "-e", "trace=" + CALLS, "-e", "signal=SIGSTOP", *argv],
            stdin=stdin, stdout=self.output, stderr=self.output, env=environment,
            cwd=stage.home, start_new_session=True)

    def threads(self):
        """What strace has written so far: of each thread its id and its lines. The first thread
        comes first."""
        found = {}
        for path in glob.glob(glob.escape(self.prefix) + ".calls.*"):
            with open(path, encoding="utf-8", errors="replace") as file:
                found[int(path.rpartition(".")[2])] = file.read()
        return dict(sorted(found.items()))

    def printed(self):
        """All that it has printed."""
        with open(self.prefix + ".output", "rb") as file:
            return file.read().decode("utf-8", "replace")

    def says(self, text):
        """Writes a line to its standard input."""
        self.process.stdin.write(text.encode() + b"\n")
        self.process.stdin.flush()

    def input_ends(self):
        """End of file on its standard input."""
        self.process.stdin.close()

    def prints(self, text, times=1):
        """Waits until it has printed this text so often."""
        self.stage.until(lambda: self.printed().count(text) >= times,
                         f"{self.name} has not printed {text!r}")

    def makes(self, call, times=1):
        """Waits until it has begun this system call so often: sendto, for example."""
        def count():
            text = "".join(self.threads().values())
            return len(re.findall(rf"^[\d.]+ {call}\(", text, re.MULTILINE))
        self.stage.until(lambda: count() >= times, f"{self.name} has not called {call}")

    def fails(self, call, error, times=1):
        """Whether this system call has failed with this error so often."""
        text = "".join(self.threads().values())
        return len(re.findall(rf" {call}\(.*= -1 {error} ", text)) >= times

    def ends(self):
        """Waits for its end. Returns its exit status."""
        self.stage.until(lambda: self.process.poll() is not None, f"{self.name} has not ended")
        return self.process.returncode

    def stops(self):
        """Stops it with SIGSTOP."""
        thread = next(iter(self.threads()))
        os.kill(thread, signal.SIGSTOP)
        self.stopped = True
        # Not before strace has let it stop: a SIGCONT that comes earlier would be lost.
        self.stage.until(lambda: "stopped by SIGSTOP" in "".join(self.threads().values()),
                         f"{self.name} does not stop")

    def goes_on(self):
        """Lets it continue."""
        os.kill(next(iter(self.threads())), signal.SIGCONT)

    def ended_before(self, moment):
        """Whether it had ended at this time."""
        ends = re.findall(r"^([\d.]+) exit_group\(", "".join(self.threads().values()), re.MULTILINE)
        return any(float(time) < moment for time in ends)

    def quiet(self):
        """Whether each of its threads has ended, or sleeps in a call that has not returned."""
        if self.process.poll() is not None:
            return True
        threads = self.threads()
        for thread, text in threads.items():
            now = state(thread)
            if now in ENDED:
                continue
            if now != "S" or not text or text.endswith("\n"):
                return False
        return bool(threads)

    def end(self):
        """Ends whatever of it still runs."""
        for thread in self.threads():
            if self.process.poll() is None and state(thread) not in ENDED:
                try:
                    os.kill(thread, signal.SIGKILL)
                except OSError:
                    pass
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            pass
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except OSError:
            pass
        self.process.wait()
        self.output.close()
        if self.process.stdin:
            try:
                self.process.stdin.close()
            except BrokenPipeError:
                pass


class Stage:
    """What a scene's play() gets."""

    def __init__(self, home):
        if not shutil.which("strace"):
            raise Trouble("strace is missing (make setup installs it)")
        self.home = home
        self.directory = tempfile.mkdtemp(prefix="trace-")
        self.deadline = time.monotonic() + LIMIT
        self.programs = []
        self.clients = []
        self.servers = []
        self.notes = []
        self.missing = []
        self.losses = []  # (time, port)
        self.ports = set()
        self.capture = None
        self.begin = 0
        self.finish = None
        self.last = None

    # ---- for scenes ----

    def server(self, *argv):
        """Starts a server, and waits until it listens (UDP: has an address)."""
        if os.environ.get("TRACE_NETWORK"):
            self.start_capture([])
        name = "server" if not self.servers else f"server {len(self.servers) + 1}"
        program = Program(self, name, argv)
        self.programs.append(program)
        self.servers.append(program)
        self.until(lambda: self.ready(program), f"{name} does not listen")
        self.settle()
        if not self.capture:
            port = max(self.ports, default=0)
            self.start_capture(["port", str(port), "or", "dst", "host", MARK[0]])
        return program

    def client(self, *argv, name=None, stdin=subprocess.PIPE):
        """Starts a client. What it reads is what the scene says (Program.says)."""
        program = Program(self, name or f"client {len(self.clients) + 1}", argv, stdin)
        self.programs.append(program)
        self.clients.append(program)
        return program

    def settle(self):
        """Waits until nothing happens any more but by a timer: all programs are quiet, and still
        are when they have been looked at twice."""
        def quiet():
            for _ in range(3):
                before = [p.threads() for p in self.programs]
                if not all(p.quiet() for p in self.programs):
                    return False
                time.sleep(0.003)
                if before != [p.threads() for p in self.programs]:
                    return False
            return True
        self.until(quiet, "the programs do not become quiet")

    def python(self, code):
        """Starts a client that is a few lines of Python."""
        return self.client(sys.executable, "-c", code)

    def typist(self, port, name=None):
        """Starts a client that connects and then does what the scene tells it to: `send TEXT`
        (\\n is a newline), `recv` (`recv 9`: at most 9 bytes) or `close`, each with says()."""
        return self.client(sys.executable, "-c", TYPIST, str(port), name=name)

    def lose(self, port):
        """The network loses the next segment to this port (nft(8): of a million, the first)."""
        rules = ("add table ip stages; add chain ip stages input "
                 "{ type filter hook input priority 0; }; "
                 f"add rule ip stages input th dport {port} numgen inc mod 1000000 == 0 drop")
        try:
            subprocess.run(["nft", rules], check=True, stderr=subprocess.PIPE)
        except (OSError, subprocess.CalledProcessError) as error:
            raise Trouble("nft may not lose a segment here (SETUP_EXTRA=ci make setup installs "
                          "nft)") from error
        self.losses.append((time.time(), port))

    def small_buffers(self):
        """From now on sockets have small buffers, so that few bytes fill them (tcp(7))."""
        if not os.environ.get("TRACE_NETWORK"):
            raise Trouble("no right to make a network of its own, which this scene needs")
        for name in ("tcp_wmem", "tcp_rmem"):
            with open(f"/proc/sys/net/ipv4/{name}", "w", encoding="ascii") as file:
                file.write("4096 4096 4096")

    def file(self, name):
        """The path of a file that is removed after the scene."""
        return os.path.join(self.directory, name)

    def arrived(self, port):
        """Waits until bytes that came to this port have not been read (proc_net_tcp)."""
        pattern = re.compile(rf" [0-9A-F]+:{port:04X} [0-9A-F]+:[0-9A-F]+ 01 \w+:0*[1-9A-F]")

        def unread():
            with open("/proc/net/tcp", encoding="ascii") as file:
                return pattern.search(file.read())
        self.until(unread, f"nothing arrives at port {port}")

    def note(self, text):
        """A sentence at this moment of the picture."""
        self.notes.append(events.Note(time.time(), text))

    def begins(self):
        """What has happened so far is no part of the picture."""
        self.begin = time.time()

    def over(self, last=None):
        """What happens from now on is no part of the picture. last=(program, call) ends this
        program's part with the last such call, however late it is now: for programs with timers."""
        self.settle()
        self.finish = time.time()
        self.last = last

    # ---- for the rest of the kit ----

    def lane(self, program):
        """The name of a program in the picture."""
        if program.name == "client 1" and len(self.clients) == 1:
            return "client"
        return program.name

    def until(self, condition, trouble):
        """Waits for the condition. A scene whose time has expired fails."""
        while time.monotonic() > self.deadline or not condition():
            if time.monotonic() > self.deadline:
                said = "; ".join(f"{p.name}: {p.printed().strip() or '(nothing)'}"
                                 for p in self.programs)
                raise Trouble(f"{trouble} after {LIMIT:g} s. Printed: {said}")
            time.sleep(0.002)

    def ready(self, program):
        """Whether it listens; notes the port. A UDP server is ready when it waits."""
        text = "".join(program.threads().values())
        bound = {int(port) for port in
                 re.findall(r"(?:bind|getsockname)\(.*port=htons\((\d+)\).*= 0 <", text)}
        self.ports |= bound - {0}
        if program.process.poll() is not None:
            raise Trouble(f"{program.name} has ended: {program.printed().strip()}")
        # Of UDP there is no listen: a server is ready when it waits for a first datagram.
        return bool(re.search(r"listen\(.*= 0 <", text)
                    or bound and "SOCK_DGRAM" in text and "SOCK_STREAM" not in text)

    def start_capture(self, words):
        """Starts tcpdump, or notes why there are no segments."""
        if self.capture or self.missing:
            return
        if not shutil.which("tcpdump"):
            self.missing.append("the segments: tcpdump is missing (make setup installs it)")
            return
        # Root of a user namespace cannot become the user that tcpdump otherwise becomes.
        for user in (["-Z", "root"] if os.geteuid() == 0 else [], []):
            self.capture = self.tcpdump(*user, *words)
            if self.mark():
                return
            self.end_capture()
        with open(os.path.join(self.directory, "complaint"), "rb") as file:
            why = file.read().decode("utf-8", "replace").strip().splitlines()[-1:]
        self.missing.append(f"the segments: tcpdump may not capture ({' '.join(why)})")

    def tcpdump(self, *words):
        """Starts tcpdump with these words more; it writes to the file packets."""
        command = ["tcpdump", "-i", "lo", "-n", "-s", "0", "--immediate-mode", "-U", "-w", "-",
                   *words]
        with open(os.path.join(self.directory, "packets"), "wb") as packets, \
                open(os.path.join(self.directory, "complaint"), "wb") as complaint:
            return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=packets,
                                    stderr=complaint, start_new_session=True)

    def mark(self):
        """Sends datagrams until tcpdump has written one more: then all before it is written too.
        Returns whether it worked."""
        path = os.path.join(self.directory, "packets")
        before = os.path.getsize(path)
        word = b"mark %f" % time.time()
        while self.capture.poll() is None and time.monotonic() < self.deadline:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
                s.sendto(word, MARK)
            time.sleep(0.002)
            if os.path.getsize(path) > before:
                with open(path, "rb") as file:
                    file.seek(before)
                    if word in file.read():
                        return True
        return False

    def end_capture(self):
        """Ends tcpdump."""
        if self.capture:
            self.capture.kill()
            self.capture.wait()
            self.capture = None

    def segments(self):
        """What tcpdump has captured, without the marks."""
        if not self.capture:
            return []
        self.mark()
        self.end_capture()
        with open(os.path.join(self.directory, "packets"), "rb") as file:
            found = events.parse_pcap(file.read())
        return [s for s in found if not s.data.startswith(b"mark ")]

    def close(self):
        """Ends all that was started, and removes the files."""
        for program in self.programs:
            program.end()
        self.end_capture()
        shutil.rmtree(self.directory, ignore_errors=True)
