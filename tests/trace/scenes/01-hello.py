"""A message, its echo, and a half-close

The client connects: SYN, SYN ACK, ACK. It sends hello and receives it back, then a newline. With
shutdown it sends FIN. The server's recv returns 0; the server sends FIN too, and closes.
"""


def play(stage):
    """The chapter's own two programs."""
    stage.server("01-basic-tcp/server")
    client = stage.client("01-basic-tcp/client", "hello")
    client.ends()
    stage.over()
