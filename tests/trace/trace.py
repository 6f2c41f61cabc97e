#!/usr/bin/env python3
"""Plays a scene, and shows what happened between its programs, and when.

A scene is a file scenes/NN-name.py. The first line of its docstring is the title of the picture,
the rest describes it to readers who do not see it. Its function play(stage) starts programs, and
drives them by what they do, never by time (see Stage in stage.py, Program in program.py). A
function words(data), if there is one, says what to show instead of these bytes. Other names:
  GAP      the picture shows pauses of so many seconds (none). For scenes with timers.
  ACKS     True: the picture shows all pure ACKs, not only those that answer SYN or FIN
  HIDE     names of calls that it does not show, in the text form either: {"poll"}
  MERGE    names of calls: one after the other on the same descriptor, they are shown as one, and
           so are segments. For many bytes: in which pieces they move depends on the load.
  THREADS  what the server's threads are called but for the first: ["acceptor", "worker 1"]
  SKIP     segments that words() calls so are left out
  TLS      True: the picture shows TLS records instead of bytes
"""
import argparse
import glob
import importlib.util
import os
import shlex
import signal
import sys

sys.dont_write_bytecode = True  # for what is imported from here on

import build
import svg
import terminal
import text
from program import Trouble
from stage import LIMIT, Stage, own_network

HERE = os.path.dirname(os.path.abspath(__file__))
KIT = os.path.dirname(os.path.dirname(HERE))
FIRST = {"03": "pipeline", "06": "slow", "08": "tls13"}  # where no scene is asked for; else hello
PICTURES = os.path.join(KIT, "docs", "pictures")
MOST_PRINTED = 50  # lines of each program


def scene_names(prefix=""):
    """The names of all scenes that begin so, in order."""
    paths = glob.glob(os.path.join(glob.escape(HERE), "scenes", "*.py"))
    names = sorted(os.path.basename(path)[:-3] for path in paths)
    return [name for name in names if name.startswith(prefix)]


def load_scene(name):
    """The module scenes/NAME.py."""
    path = os.path.join(HERE, "scenes", name + ".py")
    if not os.path.exists(path):
        raise Trouble(f"there is no scene {name}: make trace lists all")
    spec = importlib.util.spec_from_file_location("scene", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class TwoPrograms:
    """A scene with a server and a client that are given as commands."""

    def __init__(self, server, client, title=""):
        self.__doc__ = title or f"{server} and {client}"
        try:
            self.server, self.client = shlex.split(server), shlex.split(client)
        except ValueError as error:
            raise Trouble(f"{error}: {self.__doc__}") from error

    def play(self, stage):
        """Until the client ends, the time has expired, or somebody presses Ctrl-C."""
        if sys.stderr.isatty():
            print(f"Both programs run now, for {LIMIT:g} s at most. What they print comes after "
                  "the picture.", file=sys.stderr)
        stage.server(*self.server)
        client = stage.client(*self.client, name="client", stdin=None)  # it may ask its user
        try:
            client.ends()
            stage.over()
        except Trouble as trouble:
            stage.cut(trouble)
        except KeyboardInterrupt:
            stage.cut("interrupted")


def step_scene(chapter, step):
    """The scene of a step: its server, and its own client or the chapter's."""
    pattern = os.path.join(glob.escape(KIT), f"{chapter}-*", "steps", f"{step}-*.c")
    found = sorted(path[:-2] for path in glob.glob(pattern))
    if not found:
        raise Trouble(f"chapter {chapter} has no step {step}")
    server, client = found[-1], found[0]
    if not client.endswith("-client"):
        client = os.path.join(os.path.dirname(os.path.dirname(server)), "client")
    return TwoPrograms(shlex.quote(server), shlex.quote(client) + " hello",
                       f"Step {step} of chapter {chapter}: {os.path.basename(server)}")


def perform(scene, home=KIT):
    """Plays a scene. Returns its Trace, and what the programs have printed."""
    title, _, about = scene.__doc__.strip().partition("\n")
    stage = Stage(home)
    signal.alarm(int(2 * LIMIT))
    try:
        scene.play(stage)
        trace = build.make_trace(stage, scene, title, " ".join(about.split()))
        return trace, [(stage.lane(p), p.printed()) for p in stage.programs]
    except Trouble as trouble:
        raise Trouble(f"{trouble}{stage.last_words()}") from trouble
    finally:
        stage.close()
        signal.alarm(0)


def show(scene, home=KIT):
    """Plays a scene for the terminal."""
    trace, printed = perform(scene, home)
    terminal.show(trace)
    for name, words in printed:
        lines = words.splitlines()
        for line in lines[:MOST_PRINTED]:
            print(f"{name} prints: {line}")
        if len(lines) > MOST_PRINTED:
            print(f"{name} prints {len(lines) - MOST_PRINTED} lines more")


def draw(name, directory):
    """Writes the picture of a scene, and its text form."""
    scene = load_scene(name)
    trace, _ = perform(scene)
    if trace.missing:
        raise Trouble(f"{name}: left out would be {trace.missing[0]}")
    path = os.path.join(directory, name)
    picture = svg.draw(trace, getattr(scene, "GAP", None), getattr(scene, "ACKS", False))
    for ending, words in ((".svg", picture), (".txt", text.compared(trace))):
        with open(path + ending, "w", encoding="utf-8") as file:
            file.write(words)


def list_scenes():
    """One line for each scene."""
    for name in scene_names():
        chapter, _, rest = name.partition("-")
        title = load_scene(name).__doc__.strip().splitlines()[0]
        print(f"  {f'make trace-{chapter} SCENE={rest}':36}  {title}")


def show_chapter(chapter, scene):
    """The scene of that name, or the first one of the chapter."""
    names = scene_names(f"{chapter}-{scene}" if scene else f"{chapter}-")
    if not names:
        raise Trouble(f"chapter {chapter} has no scene {scene or ''}: make trace lists all")
    first = f"{chapter}-{FIRST.get(chapter, 'hello')}"
    name = first if not scene and first in names else names[0]
    show(load_scene(name))
    if not scene and len(names) > 1:
        others = " ".join(other.partition("-")[2] for other in names if other != name)
        print(f"\nOther scenes (make trace-{chapter} SCENE=...): {others}")


def parse_arguments():
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("chapter", nargs="?", help="01 to 08")
    parser.add_argument("--scene", help="one of the chapter's scenes")
    parser.add_argument("--step", help="the chapter's step, with a client that sends hello")
    parser.add_argument("--server", help="a command: your own server")
    parser.add_argument("--client", help="a command: your own client")
    parser.add_argument("--pictures", nargs="*", metavar="NAME",
                        help="write these scenes, or all, to --into")
    parser.add_argument("--names", action="store_true", help="print the names of all scenes")
    parser.add_argument("--into", metavar="DIRECTORY", default=PICTURES)
    return parser.parse_args()


def run(arguments):
    """Does what the command line asks for."""
    if arguments.server and arguments.client:
        show(TwoPrograms(arguments.server, arguments.client), os.getcwd())
    elif arguments.server or arguments.client:
        raise Trouble("a server and a client are needed: make trace SERVER=... CLIENT=...")
    elif arguments.names:
        print("\n".join(scene_names()))
    elif arguments.pictures is not None:
        os.makedirs(arguments.into, exist_ok=True)
        for name in arguments.pictures or scene_names():
            draw(name, arguments.into)
    elif arguments.step:
        show(step_scene(arguments.chapter, arguments.step))
    elif arguments.chapter:
        show_chapter(arguments.chapter, arguments.scene)
    else:
        list_scenes()


def out_of_time(*_):
    """Each wait has a limit of its own; this is the last one."""
    raise Trouble(f"out of time, after {2 * LIMIT:g} s")


def main():
    """Runs in a network of its own where that is allowed."""
    arguments = parse_arguments()
    own_network()
    # Whatever ends this program, it ends what it has started.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    signal.signal(signal.SIGALRM, out_of_time)
    sys.stdout.reconfigure(errors="replace")  # for terminals that do not show all letters
    try:
        run(arguments)
        sys.stdout.flush()
    except Trouble as trouble:
        print(f"trace: {trouble}", file=sys.stderr)
        return 1
    except BrokenPipeError:  # who reads this wants no more, as in make trace-01 | head
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
