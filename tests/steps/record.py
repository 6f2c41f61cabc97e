#!/usr/bin/env python3
"""usage: record.py PORT FILE: relays connections to PORT and appends every byte to FILE."""
import socket
import sys
import threading


def carry(source, target, record):
    while data := source.recv(65536):
        record.write(data)
        record.flush()
        target.sendall(data)
    target.shutdown(socket.SHUT_WR)


def main():
    record = open(sys.argv[2], "ab")
    listener = socket.create_server(("127.0.0.1", 0))
    print("listening on 127.0.0.1:%d" % listener.getsockname()[1], flush=True)
    while True:
        client, _ = listener.accept()
        server = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
        for ends in (client, server), (server, client):
            threading.Thread(target=carry, args=(*ends, record), daemon=True).start()


main()
