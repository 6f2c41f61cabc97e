#!/usr/bin/env python3
"""Plays a scene, and shows what happened between its programs, and when.

A scene is a file scenes/NN-name.py. The first line of its docstring is the title of the picture,
the rest describes it to readers who do not see it. Its function play(stage) starts programs, and
drives them by what they do, never by time (see Stage in stage.py). A function
words(data), if there is one, says what to show instead of these bytes. Other names:
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
import stage as stages
import svg
import terminal
import text

HERE = os.path.dirname(os.path.abspath(__file__))
KIT = os.path.dirname(os.path.dirname(HERE))
FIRST = {"03": "pipeline", "06": "slow", "08": "tls13"}  # where no scene is asked for; else hello
PICTURES = os.path.join(KIT, "docs", "pictures")


def scene_names(prefix=""):
    """The names of all scenes that begin so, in order."""
    paths = glob.glob(os.path.join(glob.escape(HERE), "scenes", "*.py"))
    names = sorted(os.path.basename(path)[:-3] for path in paths)
    return [name for name in names if name.startswith(prefix)]


def load_scene(name):
    """The module scenes/NAME.py."""
    path = os.path.join(HERE, "scenes", name + ".py")
    spec = importlib.util.spec_from_file_location("scene", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class TwoPrograms:
    """A scene with a server and a client that are given as commands."""

    GAP = 0.025

    def __init__(self, server, client):
        self.__doc__ = f"{server} and {client}"
        self.server, self.client = shlex.split(server), shlex.split(client)

    def play(self, stage):
        """Until the client ends, or the time has expired."""
        stage.server(*self.server)
        # A client may ask its user.
        client = stage.client(*self.client, stdin=None)
        try:
            client.ends()
            stage.over()
        except stages.Trouble as trouble:
            stage.missing.append(f"the rest: {trouble}")


def step_scene(chapter, step):
    """The scene of a step: its server, and its own client or the chapter's."""
    home, = glob.glob(os.path.join(KIT, chapter + "-*")) or [""]
    found = sorted(path[:-2] for path in glob.glob(f"{home}/steps/{step}-*.c"))
    if not found:
        raise stages.Trouble(f"chapter {chapter} has no step {step}")
    client = found[0] if found[0].endswith("-client") else os.path.join(home, "client")
    scene = TwoPrograms(shlex.quote(found[-1]), shlex.quote(client) + " hello")
    scene.__doc__ = f"Step {step} of chapter {chapter}: {os.path.basename(found[-1])}"
    return scene


def perform(scene, home=KIT):
    """Plays a scene. Returns its Trace, and what the programs have printed."""
    title, _, about = scene.__doc__.strip().partition("\n")
    stage = stages.Stage(home)
    signal.alarm(int(2 * stages.LIMIT))
    try:
        scene.play(stage)
        trace = build.make_trace(stage, scene, title, " ".join(about.split()))
        return trace, [(stage.lane(p), p.printed().rstrip("\n")) for p in stage.programs]
    finally:
        stage.close()


def show(scene, home=KIT):
    """Plays a scene for the terminal."""
    trace, printed = perform(scene, home)
    terminal.show(trace)
    for name, words in printed:
        for line in words.splitlines():
            print(f"{name} prints: {line}")


def draw(name, directory):
    """Writes the picture of a scene, and its text form."""
    scene = load_scene(name)
    trace, _ = perform(scene)
    if trace.missing:
        raise stages.Trouble(f"{name}: left out would be {trace.missing[0]}")
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
        raise stages.Trouble(f"chapter {chapter} has no scene {scene or ''}: make trace lists all")
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
    parser.add_argument("--text", metavar="NAME", help="print the text form of a scene")
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
        raise stages.Trouble("a server and a client are needed: make trace SERVER=... CLIENT=...")
    elif arguments.names:
        print("\n".join(scene_names()))
    elif arguments.text:
        print(text.compared(perform(load_scene(arguments.text))[0]), end="")
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


def main():
    """Runs in a network of its own where that is allowed."""
    arguments = parse_arguments()
    stages.own_network()
    # Whatever ends this program, it ends what it has started.
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGALRM):
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    try:
        run(arguments)
    except stages.Trouble as trouble:
        print(f"trace: {trouble}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
