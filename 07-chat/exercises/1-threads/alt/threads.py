#!/usr/bin/env python3
"""A chat room with two threads for each client: one reads, one sends what is pending."""
import os
import signal
import socket
import socketserver
import sys
import threading
import time

LIMIT = 256 * 1024  # bytes pending for one member
lock = threading.Lock()  # guards all shared data; never held while waiting for a client
members = {}  # the name in lower case: the Member


def start(target, *args):
    while True:
        thread = threading.Thread(target=target, args=args, daemon=True)
        try:
            thread.start()
            return thread
        except RuntimeError:  # no more threads: retry when others may have ended
            time.sleep(0.1)


class Member(socketserver.StreamRequestHandler):
    name = None

    def setup(self):
        super().setup()
        self.owed = bytearray()
        self.over = False
        self.changed = threading.Condition(lock)
        self.sender = start(self.send_owed)

    def send_owed(self):
        try:
            while not self.over or self.owed:
                with lock:
                    self.changed.wait_for(lambda: self.owed or self.over)
                    data = bytes(self.owed)
                    self.owed.clear()
                self.connection.sendall(data)
        except OSError:
            self.cut()

    def cut(self):
        try:
            self.connection.shutdown(socket.SHUT_RDWR)  # wakes the threads that wait for it
        except OSError:
            pass  # the client has closed already

    # Call the methods from here to enter with the lock held.

    def tell(self, line):
        self.owed += line.encode() + b"\n"
        self.changed.notify()
        if len(self.owed) > LIMIT:  # too slow
            self.owed.clear()
            self.cut()

    def say(self, line):
        for member in members.values():
            if member is not self:
                member.tell(line)

    def here(self):
        return "here: " + ", ".join(member.name for member in members.values())

    def enter(self, name):
        if name.lower() in members:
            self.tell("-name %s: taken" % name)
            return
        self.name = name
        self.say("* %s joined" % name)
        members[name.lower()] = self
        self.tell("+welcome %s, %s" % (name, self.here()))

    def handle(self):
        try:
            while (line := self.rfile.readline(2001)).endswith(b"\n"):
                text = line.decode(errors="replace").rstrip("\r\n")
                with lock:
                    if not self.name:
                        self.enter(text)
                    elif text == "/who":
                        self.tell("+" + self.here())
                    elif text.startswith("/quit"):
                        break
                    else:
                        self.say("%s: %s" % (self.name, text))
        except OSError:
            pass

    def finish(self):
        with lock:
            if self.name:
                del members[self.name.lower()]
                self.say("* %s left" % self.name)
            self.over = True
            self.changed.notify()
        self.sender.join()
        super().finish()


class Room(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    request_queue_size = 1000

    def process_request(self, request, client_address):
        start(self.process_request_thread, request, client_address)


with Room(("127.0.0.1", int(sys.argv[sys.argv.index("-p") + 1])), Member) as server:
    signal.signal(signal.SIGTERM, lambda number, frame: os._exit(0))
    print("listening on 127.0.0.1:%d" % server.server_address[1], flush=True)
    server.serve_forever()
