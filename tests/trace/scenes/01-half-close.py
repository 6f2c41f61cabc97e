"""FIN ends one direction only

The client sends hello and FIN at once. The server still sends the echo, and the client still
receives it. Then the server sends its own FIN.
"""

CLIENT = """
import socket
s = socket.create_connection(("127.0.0.1", 9001))
s.send(b"hello")
s.shutdown(socket.SHUT_WR)
while s.recv(100):
    pass
s.close()
"""


def play(stage):
    """The server is stopped until FIN has been sent, so that the picture is always this one."""
    server = stage.server("01-basic-tcp/server")
    stage.begins()
    server.stops()
    client = stage.python(CLIENT)
    client.makes("recvfrom")
    server.goes_on()
    client.ends()
    stage.over()
