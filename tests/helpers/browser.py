#!/usr/bin/env python3
"""Two windows of a real browser and a terminal client in one room: exercise 7-10.

usage: browser.py PORT CHROMIUM CLIENT [WORD...]    CLIENT and its WORDs: a client of the room
With SHOTS=DIR, the windows are photographed into that directory.

Chromium takes commands over a pipe (--remote-debugging-pipe): JSON, a NUL after each message, as
the Chrome DevTools Protocol has them. So nothing but Chromium itself is needed. What is typed goes
to the field that has the focus, and what is read is the text that a person would see.
"""
import base64
import json
import os
import queue
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

PATIENCE = float(os.environ.get("PATIENCE", 1))
LIMIT = 20 * PATIENCE  # seconds for whatever has to come
OPTIONS = """--headless=new --no-sandbox --disable-gpu --no-first-run --disable-sync
    --disable-background-networking --disable-component-update --disable-default-apps
    --disable-extensions --disable-dev-shm-usage --disable-background-timer-throttling
    --disable-renderer-backgrounding --no-proxy-server --remote-debugging-pipe""".split()
MARKUP = "<img src=x onerror=\"document.title='taken'\"> <b>bold</b> &amp; " \
         "</p><script>document.title='taken'</script>"


class Browser:
    def __init__(self, program, profile):
        to_read, self.to = os.pipe()
        self.source, to_write = os.pipe()
        self.process = subprocess.Popen(
            # Chromium reads commands from descriptor 3, and writes to 4.
            ["sh", "-c", "in=$1 out=$2; shift 2; eval \"exec \\\"\\$@\\\" 3<&$in 4>&$out\"", "sh",
             str(to_read), str(to_write), program, *OPTIONS, "--user-data-dir=" + profile,
             "about:blank"],
            pass_fds=(to_read, to_write), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=open(os.path.join(profile, "stderr"), "wb"), start_new_session=True)
        os.close(to_read)
        os.close(to_write)
        self.number = 0
        self.messages = queue.Queue()
        self.complaints = []  # what windows' consoles said
        threading.Thread(target=self.listen, daemon=True).start()

    def listen(self):
        """In a thread: the pipe has no limit of time."""
        data = b""
        while True:
            new = os.read(self.source, 65536)
            if not new:
                self.messages.put(None)
                return
            *whole, data = (data + new).split(b"\0")
            for message in whole:
                self.messages.put(json.loads(message))

    def call(self, method, session=None, **parameters):
        """What a command has returned."""
        self.number += 1
        command = {"id": self.number, "method": method, "params": parameters}
        if session:
            command["sessionId"] = session
        os.write(self.to, json.dumps(command).encode() + b"\0")
        while True:
            try:
                message = self.messages.get(timeout=LIMIT)
            except queue.Empty:
                sys.exit("the browser did not answer %s within %d s" % (method, LIMIT))
            if message is None:
                sys.exit("the browser has ended at %s" % method)
            if message.get("method") in ("Runtime.exceptionThrown", "Log.entryAdded"):
                self.complaints.append(message["params"])
            if message.get("id") == self.number:
                if "error" in message:
                    sys.exit("%s: %s" % (method, message["error"]))
                return message["result"]

    def end(self):
        """The whole group, with all that Chromium has started."""
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()


class Window:
    def __init__(self, browser, name, url):
        self.browser = browser
        self.name = name
        context = browser.call("Target.createBrowserContext")["browserContextId"]
        target = browser.call("Target.createTarget", url="about:blank", width=480, height=640,
                              browserContextId=context)["targetId"]
        attached = browser.call("Target.attachToTarget", targetId=target, flatten=True)
        self.session = attached["sessionId"]
        for method in "Runtime.enable", "Log.enable", "Page.enable":
            self.call(method)
        self.call("Emulation.setFocusEmulationEnabled", enabled=True)
        self.call("Page.navigate", url=url)
        self.wait_until("document.readyState === 'complete' && location.href !== 'about:blank'")

    def call(self, method, **parameters):
        return self.browser.call(method, self.session, **parameters)

    def value(self, expression):
        result = self.call("Runtime.evaluate", expression=expression)
        return result["result"].get("value")

    def wait_until(self, expression):
        end = time.monotonic() + LIMIT
        while not self.value(expression):
            if time.monotonic() > end:
                sys.exit("%s: waited in vain for %s\nIts text is:\n%s\nIts console: %s" % (
                    self.name, expression, self.value("document.body.innerText"),
                    self.browser.complaints))
            time.sleep(0.02)

    def types(self, text):
        """Into the field that has the focus, then Enter."""
        self.wait_until("document.activeElement.matches('input, textarea')")
        self.call("Input.insertText", text=text)
        for kind in "keyDown", "keyUp":
            self.call("Input.dispatchKeyEvent", type=kind, key="Enter", code="Enter", text="\r",
                      windowsVirtualKeyCode=13)
        self.wait_until("document.activeElement.value === ''")

    def shows(self, text):
        """A person sees this text."""
        self.wait_until("document.body.innerText.includes(%s)" % json.dumps(text))

    def photograph(self, name):
        if os.environ.get("SHOTS"):
            png = base64.b64decode(self.call("Page.captureScreenshot")["data"])
            with open(os.path.join(os.environ["SHOTS"], name + ".png"), "wb") as file:
                file.write(png)


class Terminal:
    """The client, which prints what it hears."""

    def __init__(self, command, port, name):
        self.process = subprocess.Popen([*command, "-p", str(port), "-n", name],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.lines = queue.Queue()
        self.seen = []
        threading.Thread(target=self.listen, daemon=True).start()

    def listen(self):
        for line in self.process.stdout:
            self.lines.put(line.decode().rstrip("\n"))

    def says(self, text):
        self.process.stdin.write(text.encode() + b"\n")
        self.process.stdin.flush()

    def hears(self, text):
        while True:
            try:
                line = self.lines.get(timeout=LIMIT)
            except queue.Empty:
                sys.exit("the terminal did not print %r, but %r" % (text, self.seen))
            self.seen.append(line)
            if text in line:
                return


def talk(browser, port, command):
    url = "http://127.0.0.1:%d/" % port
    ann = Window(browser, "ann", url)
    eve = Window(browser, "eve", url)
    ann.types("ann")
    ann.shows("welcome ann")
    bob = Terminal(command, port, "bob")
    bob.hears("here: ann, bob")
    ann.shows("bob joined")
    eve.types("Ann")
    eve.shows("taken")
    eve.types("eve")
    eve.shows("welcome eve, here: ann, bob, eve")
    bob.hears("eve joined")

    ann.types("hello from a browser: grüß dich, 你好 🙂")
    bob.hears("ann: hello from a browser: grüß dich, 你好 🙂")
    eve.shows("ann: hello from a browser: grüß dich, 你好 🙂")
    bob.says("hello from a terminal")
    ann.shows("bob: hello from a terminal")
    eve.shows("bob: hello from a terminal")

    for speaker in bob.says, ann.types:
        speaker(MARKUP)
        speaker("/me " + MARKUP)
    bob.says("/msg eve " + MARKUP)
    bob.says("/quit " + MARKUP)
    for text in "bob: ", "* bob: ", "bob (to you): ", "* bob left: ", "ann: ", "* ann: ":
        eve.shows(text + MARKUP)
    for window in ann, eve:
        if window.value("document.images.length") or window.value("document.title") == "taken":
            sys.exit("%s: what was said has become markup" % window.name)
        window.photograph(window.name)
    for complaint in browser.complaints:
        sys.exit("the console of a window says: %s" % json.dumps(complaint, indent=1))
    eve.call("Page.close")
    return ann


def slow_tab(ann, port):
    """The script of the page hangs, so the browser stops reading, and the room drops the window."""
    ann.call("Runtime.evaluate", expression="""setTimeout(() => {
        const end = Date.now() + 1000000;
        while (Date.now() < end);
    }, 0)""")
    with socket.create_connection(("127.0.0.1", port), timeout=LIMIT) as loud, \
            socket.create_connection(("127.0.0.1", port), timeout=LIMIT) as witness:
        lines = witness.makefile("rb")
        witness.sendall(b"witness\n")
        lines.readline()
        loud.sendall(b"loud\n")
        heard = lines.readline()
        for said in range(60):  # a megabyte each time
            loud.sendall((b"x" * 999 + b"\n") * 1000)
            for _ in range(1000):
                heard = lines.readline()
                if heard == b"* ann left (too slow)\n":
                    return
                if not heard:
                    sys.exit("the witness was dropped, not the window")
    sys.exit("a window that hangs was not dropped after %d MB" % said)


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("out of time"))  # so that the browser ends
    port, program, command = int(sys.argv[1]), sys.argv[2], sys.argv[3:]
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        browser = Browser(program, profile)
        try:
            ann = talk(browser, port, command)
            slow_tab(ann, port)
        finally:
            browser.end()


if __name__ == "__main__":
    main()
