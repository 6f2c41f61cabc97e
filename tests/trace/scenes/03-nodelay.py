"""The same two pieces with TCP_NODELAY

TCP_NODELAY turns Nagle's algorithm off. The client's kernel sends both pieces at once, and the
reply comes after a fraction of a millisecond.
"""

GAP = 0.025
ACKS = True

CLIENT = """
import socket
s = socket.create_connection(("127.0.0.1", 9003))
s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
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
    """The server is stopped until both pieces are there, so that it always reads both at once."""
    server = stage.server("03-long-conn/server")
    client = stage.python(CLIENT)
    client.makes("sendto", 20)
    stage.settle()
    stage.begins()
    server.stops()
    client.says("")
    client.makes("recvfrom", 21)
    server.goes_on()
    client.ends()
    stage.over()
