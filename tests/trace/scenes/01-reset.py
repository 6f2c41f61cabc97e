"""A client closes with the reply unread: its kernel sends RST

The client sends hello, and closes when the echo has arrived, without reading it. Instead of FIN its
kernel sends RST. The server's recv fails with ECONNRESET. The server closes this connection and
waits for the next client.
"""

CLIENT = """
import socket
s = socket.create_connection(("127.0.0.1", 9001))
s.send(b"hello")
input()
s.close()
"""


def play(stage):
    """The client closes when the echo is in its receive buffer."""
    stage.server("01-basic-tcp/server")
    stage.begins()
    client = stage.python(CLIENT)
    client.makes("sendto")
    stage.settle()
    client.says("")
    client.ends()
    stage.over()
