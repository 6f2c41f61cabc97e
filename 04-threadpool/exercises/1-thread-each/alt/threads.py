#!/usr/bin/env python3
"""The line service with socketserver, a thread for each client: threads.py -p PORT [-w WORKERS]"""
import os
import signal
import socketserver
import sys
import threading
import time


def option(name, default):
    return int(sys.argv[sys.argv.index(name) + 1]) if name in sys.argv else default


class Lines(socketserver.StreamRequestHandler):
    def handle(self):
        try:
            while (line := self.rfile.readline(65537)).endswith(b"\n"):
                self.wfile.write(b"+" + line)
        except ConnectionError:
            pass


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 1000
    places = threading.Semaphore(option("-w", 64))

    def get_request(self):
        self.places.acquire()
        return super().get_request()

    def process_request(self, request, client_address):
        while True:
            try:
                return super().process_request(request, client_address)
            except RuntimeError:  # no more threads: others will end
                time.sleep(0.1)

    def process_request_thread(self, request, client_address):
        super().process_request_thread(request, client_address)
        self.places.release()


with Server(("127.0.0.1", option("-p", 9004)), Lines) as server:
    signal.signal(signal.SIGTERM, lambda number, frame: os._exit(0))
    print("listening on 127.0.0.1:%d" % server.server_address[1], flush=True)
    server.serve_forever()
