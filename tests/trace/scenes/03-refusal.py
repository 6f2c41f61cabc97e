"""A refusal that arrives

The client sends a line that is too long. The server sends a reply that begins with a minus sign and
says why, then FIN. It goes on reading until the client closes. If it closed at once, with bytes
unread, its kernel would send RST, and the client might never see the refusal.
"""

HIDE = {"poll"}
MERGE = {"recv", "send"}

CLIENT = """
import socket
s = socket.create_connection(("127.0.0.1", 9003))
s.sendall(bytes(70000))
while s.recv(100):
    pass
s.close()
"""


def play(stage):
    """70,000 bytes without a newline."""
    stage.server("03-long-conn/server")
    stage.begins()
    client = stage.python(CLIENT)
    client.ends()
    stage.over()
