"""A program of a scene, under strace."""
import contextlib
import glob
import os
import re
import shutil
import signal
import subprocess

import events

CALLS = ("%network,read,write,readv,writev,close,poll,ppoll,select,pselect6,?_newselect,"
         "epoll_wait,epoll_pwait,?epoll_pwait2,futex,nanosleep,clock_nanosleep,wait4,waitid,"
         "rt_sigtimedwait,rt_sigsuspend,?pause,exit_group")
ENDED = ("", "Z", "X")  # states of a thread


class Trouble(Exception):
    """The scene cannot go on; the text says why."""


def state(task):
    """R, S, D, t, ... of a thread (proc(5)); "" if it has ended."""
    try:
        with open(f"/proc/{task}/stat", encoding="utf-8", errors="replace") as file:
            return file.read().rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return ""


def tracer(task):
    """The id of the process that traces this thread, or 0."""
    try:
        with open(f"/proc/{task}/status", encoding="utf-8", errors="replace") as file:
            return int(re.search(r"TracerPid:\s+(\d+)", file.read())[1])
    except OSError:
        return 0


def began(text):
    """When the first call began in what strace has written of a thread."""
    return float(text.partition(" ")[0] or "inf")


class Program:
    """In a session of its own. What it prints goes to a file."""

    def __init__(self, stage, name, argv, stdin=subprocess.PIPE):
        command = argv[0] if argv else ""
        if not shutil.which(os.path.join(stage.home, command) if "/" in command else command):
            raise Trouble(f"{name}: {command!r} is not a program that a shell could run")
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

    # ---- for scenes: each verb waits until it has happened ----

    def says(self, text):
        """Writes a line to its standard input."""
        try:
            self.process.stdin.write(text.encode() + b"\n")
            self.process.stdin.flush()
        except BrokenPipeError as error:
            raise Trouble(f"{self.name} reads no more") from error

    def input_ends(self):
        """End of file on its standard input."""
        self.process.stdin.close()

    def prints(self, text):
        """It has printed this text."""
        self.stage.until(lambda: text in self.printed(), f"{self.name} has not printed {text!r}")

    def makes(self, call, times=1):
        """It has begun this system call so often: sendto, for example."""
        self.stage.until(lambda: self.count(rf"{call}\(") >= times,
                         f"{self.name} has not called {call}")

    def ends(self):
        """It has ended."""
        self.stage.until(lambda: self.process.poll() is not None, f"{self.name} has not ended")

    def stops(self):
        """SIGSTOP has stopped it. Only once in a scene."""
        os.kill(self.first_thread(), signal.SIGSTOP)
        self.stopped = True
        # Not before strace has let it stop: a SIGCONT that comes earlier would be lost.
        self.stage.until(lambda: self.count("--- stopped by SIGSTOP"), f"{self.name} does not stop")

    def goes_on(self):
        """SIGCONT lets it continue."""
        os.kill(self.first_thread(), signal.SIGCONT)

    def has_failed(self, call, error, times=1):
        """Whether this system call has failed with this error so often. Does not wait."""
        return self.count(rf"{call}\(.*= -1 {error} ") >= times

    # ---- what is known of it ----

    def threads(self):
        """What strace has written so far: of each thread its id and its lines. The first thread
        comes first."""
        found = {}
        for path in glob.glob(glob.escape(self.prefix) + ".calls.*"):
            with open(path, encoding="utf-8", errors="replace") as file:
                found[int(path.rpartition(".")[2])] = file.read()
        # Not by their ids, which begin again at the highest one.
        return dict(sorted(found.items(), key=lambda thread: began(thread[1])))

    def first_thread(self):
        """Its id, which is also that of the process."""
        return next(iter(self.threads()))

    def lines(self):
        """What strace has written of all threads, in lines."""
        return [line for text in self.threads().values() for line in text.splitlines()]

    def calls(self):
        """All of its calls."""
        parsed = (events.parse_call(line, self.name) for line in self.lines())
        return [call for call in parsed if call]

    def count(self, pattern):
        """How often strace has written this behind a time."""
        return sum(bool(re.match(r"[\d.]+ " + pattern, line)) for line in self.lines())

    def printed(self):
        """All that it has printed."""
        with open(self.prefix + ".output", "rb") as file:
            return file.read().decode("utf-8", "replace").rstrip()

    def ended_before(self, moment):
        """Whether it had ended at this time."""
        ends = (re.match(r"([\d.]+) exit_group\(", line) for line in self.lines())
        return any(end and float(end[1]) < moment for end in ends)

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

    # ---- its end ----

    def end(self):
        """Ends whatever of it still runs, in whatever session."""
        if self.process.poll() is None:
            for thread in self.threads():
                # Another process may have the number of a thread that has ended.
                if tracer(thread) == self.process.pid:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(thread, signal.SIGKILL)
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        self.output.close()
        if self.process.stdin:
            with contextlib.suppress(BrokenPipeError):
                self.process.stdin.close()
