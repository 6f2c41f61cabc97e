#!/usr/bin/env python3
"""A slow room: it pauses before each byte, and says of each member that left how it left."""
import asyncio
import sys

inside, history = {}, []


def say(text, but=None):
    for name, queue in inside.items():
        if name != but:
            queue.put_nowait(text)


def talk(name, text):
    say(text, but=name)
    history.append("(earlier) " + text)
    del history[:-20]


def enter(queue, old, name):
    if not name.isalnum() or name.lower() in [other.lower() for other in inside if other != old]:
        queue.put_nowait("-name: taken, or not made of letters and digits")
        return old
    say("* %s is now known as %s" % (old, name) if old else "* %s joined" % name)
    inside.pop(old, None)
    inside[name] = queue
    if not old:
        for line in ["+welcome %s, here: %s" % (name, ", ".join(inside)), *history]:
            queue.put_nowait(line)
    return name


def heed(queue, name, text):
    command, _, rest = text.partition(" ")
    if not name or command == "/nick":
        return enter(queue, name, rest if name else text)
    if command == "/who":
        queue.put_nowait("+here: " + ", ".join(inside))
    elif command == "/me":
        talk(name, "* %s: %s" % (name, rest))
    elif text.startswith("/") and not text.startswith("//"):
        queue.put_nowait("-I know /who, /nick and /me")
    elif text:
        talk(name, "%s: %s" % (name, text.replace("//", "/", 1) if text[0] == "/" else text))
    return name


async def speak(queue, writer):
    while True:
        for byte in (await queue.get() + "\n").encode():
            await asyncio.sleep(0.002)
            writer.write(bytes([byte]))


async def member(reader, writer):
    name, queue, how = None, asyncio.Queue(), "closed"
    speaker = asyncio.create_task(speak(queue, writer))
    try:
        while (line := await reader.readline()).endswith(b"\n"):
            text = line.decode("utf-8", "replace").rstrip("\r\n")
            name = heed(queue, name, "".join(c if c.isprintable() else "\ufffd" for c in text))
    except (ConnectionError, ValueError):
        how = "connection lost"
    inside.pop(name, None)
    if name:
        say("* %s left (%s)" % (name, how))
    speaker.cancel()
    writer.close()


async def main():
    server = await asyncio.start_server(member, "127.0.0.1", sys.argv[sys.argv.index("-p") + 1])
    print("listening on 127.0.0.1:%d" % server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


asyncio.run(main())
