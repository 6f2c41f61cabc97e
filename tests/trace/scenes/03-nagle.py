"""Nagle's algorithm waits for an ACK that is delayed

The client sends a line in two pieces. Nagle's algorithm keeps the second piece back until the first
is acknowledged. The server's kernel delays this ACK for 40 ms, because a reply might carry it; but
the server has nothing to reply to yet.
"""

GAP = 0.025
ACKS = True

CLIENT = """
import socket
s = socket.create_connection(("127.0.0.1", 9003))
for _ in range(20):
    s.send(b"first\\n")
    s.recv(100)
input()
s.send(b"half, ")
s.send(b"rest\\n")
s.recv(100)
s.close()
"""


def play(stage):
    """The kernel delays ACKs only on a connection that has carried requests and replies."""
    stage.server("03-long-conn/server")
    client = stage.python(CLIENT)
    client.makes("sendto", 20)
    stage.settle()
    stage.begins()
    client.says("")
    client.ends()
    stage.over()
