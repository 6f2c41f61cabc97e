"""Where a scene is played: its programs run under strace beside a tcpdump, in a network of their
own.

Nothing here sleeps and hopes. A scene goes on when the programs are quiet: every thread sleeps in
a system call (Stage.settle), or has printed what the scene waits for (Program.prints).
"""
import fcntl
import os
import re
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import time

import events
from capture import MARK, Capture
from program import Program, Trouble

PATIENCE = float(os.environ.get("PATIENCE") or 1)
LIMIT = 20 * PATIENCE  # seconds for all of a scene
MOST = 20_000_000  # bytes that strace, tcpdump and the programs may write
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


def has_own_network():
    """Whether own_network() could do it."""
    return bool(os.environ.get("TRACE_NETWORK"))


def need_own_network():
    """For scenes that change the network."""
    if not has_own_network():
        raise Trouble("no right to make a network of its own, which this scene needs")


class Stage:
    """What a scene's play() gets. home: the directory of the programs."""

    def __init__(self, home):
        if not shutil.which("strace"):
            raise Trouble("strace is missing (make setup installs it)")
        self.home = home
        self.directory = tempfile.mkdtemp(prefix="trace-")
        self.deadline = time.monotonic() + LIMIT
        self.programs = []  # all of them, in the order of their start
        self.clients = []
        self.servers = []
        self.ports = set()  # of the servers
        self.notes = []
        self.losses = []    # (time, port)
        self.missing = []   # what could not be recorded
        self.capture = Capture(self.directory, LIMIT / 4)
        self.captures = False
        self.begin = 0      # of the picture; all times are those of time.time()
        self.finish = None  # of the picture
        self.last = None    # see over()

    # ---- for scenes ----

    def server(self, *argv):
        """Starts a server, and waits until it listens (UDP: has an address)."""
        if has_own_network():
            self.start_capture([])
        name = "server" if not self.servers else f"server {len(self.servers) + 1}"
        program = Program(self, name, argv)
        self.programs.append(program)
        self.servers.append(program)
        self.until(lambda: self.ready(program), f"{name} does not listen")
        self.settle()
        # In everybody's network: only what belongs to the scene.
        places = [["port", str(port)] for port in sorted(self.ports)] + [["dst", "host", MARK[0]]]
        self.start_capture([word for place in places for word in ["or", *place]][1:])
        return program

    def client(self, *argv, name=None, stdin=subprocess.PIPE):
        """Starts a client. What it reads is what the scene says (Program.says)."""
        program = Program(self, name or f"client {len(self.clients) + 1}", argv, stdin)
        self.programs.append(program)
        self.clients.append(program)
        return program

    def python(self, code):
        """Starts a client that is a few lines of Python."""
        return self.client(sys.executable, "-c", code)

    def typist(self, port, name=None):
        """Starts a client that connects and then does what the scene tells it to: `send TEXT`
        (\\n is a newline), `recv` (`recv 9`: at most 9 bytes) or `close`, each with says()."""
        return self.client(sys.executable, "-c", TYPIST, str(port), name=name)

    def settle(self):
        """Waits until nothing happens any more but by a timer: all programs are quiet, and still
        are, with nothing new from strace, when they have been looked at three times more."""
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

    def arrived(self, port):
        """Waits until bytes that came to this port have not been read (proc_net_tcp)."""
        pattern = re.compile(rf" [0-9A-F]+:{port:04X} [0-9A-F]+:[0-9A-F]+ 01 \w+:0*[1-9A-F]")

        def unread():
            with open("/proc/net/tcp", encoding="ascii") as file:
                return pattern.search(file.read())
        self.until(unread, f"nothing arrives at port {port}")

    def lose(self, port):
        """The network loses the next segment to this port (nft(8): of a million, the first)."""
        need_own_network()
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
        need_own_network()
        for name in ("tcp_wmem", "tcp_rmem"):
            try:
                with open(f"/proc/sys/net/ipv4/{name}", "w", encoding="ascii") as file:
                    file.write("4096 4096 4096")
            except OSError as error:
                raise Trouble(f"{error}: this scene needs root") from error

    def file(self, name):
        """The path of a file that is removed after the scene."""
        return os.path.join(self.directory, name)

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

    def cut(self, why):
        """Ends the programs. The picture has what happened so far, and says why it ends there."""
        self.finish = time.time()
        self.missing.append(f"the rest: {why}")
        self.end_programs()

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
                raise Trouble(f"{trouble} after {LIMIT:g} s")
            if sum(file.stat().st_size for file in os.scandir(self.directory)) > MOST:
                raise Trouble(f"more than {MOST // 1_000_000} MB of calls, segments and output")
            time.sleep(0.002)

    def last_words(self):
        """The end of what each program has printed."""
        said = [(p.name, p.printed()[-2000:]) for p in self.programs]
        return "".join(f". {name} printed: {words}" for name, words in said if words)

    def ready(self, program):
        """Whether it listens, or, with UDP, has an address; notes its ports."""
        if program.process.poll() is not None:
            raise Trouble(f"{program.name} has ended")
        calls = [call for call in program.calls() if call.result == 0]
        made = events.protocols(program.calls())
        for call in calls:
            if call.name in ("bind", "getsockname") and call.inode in made:
                self.ports |= {int(call.detail or call.peer or 0)} - {0}
        listening = {call.inode for call in calls if call.name == "listen"}
        bound = {call.inode for call in calls if call.name == "bind"}
        if listening - set(made):
            raise Trouble(f"{program.name} listens, but not on TCP. Only TCP and UDP can be shown")
        return bool(listening or bound & set(made) and "TCP" not in made.values())

    def start_capture(self, expression):
        """Starts tcpdump, or notes why there are no segments."""
        if self.captures or self.missing:
            return
        if not shutil.which("tcpdump"):
            self.missing.append("the segments: tcpdump is missing (make setup installs it)")
            return
        why = self.capture.begin(expression)
        self.captures = not why
        if why:
            self.missing.append(f"the segments: tcpdump may not capture: {why}")

    def segments(self):
        """What tcpdump has captured."""
        if not self.captures:
            return []
        if not self.capture.mark():
            self.missing.append("the last segments: tcpdump has not kept up")
        self.capture.end()
        return self.capture.segments()

    def end_programs(self):
        """Ends what of them still runs."""
        for program in self.programs:
            program.end()

    def close(self):
        """Ends all that was started, and removes the files."""
        self.end_programs()
        self.capture.end()
        shutil.rmtree(self.directory, ignore_errors=True)
