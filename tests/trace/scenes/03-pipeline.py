"""Three lines in one segment, three replies in one

The client sends three lines with one call and does not wait in between. The server reads them with
one call, and sends all three replies with one call.
"""

CLIENT = """
import socket
s = socket.create_connection(("127.0.0.1", 9003))
s.send(b"a\\nb\\nc\\n")
s.recv(100)
s.close()
"""


def play(stage):
    """All three are in one send."""
    stage.server("03-long-conn/server")
    stage.begins()
    client = stage.python(CLIENT)
    client.ends()
    stage.over()
