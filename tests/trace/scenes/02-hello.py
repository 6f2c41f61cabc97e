"""One datagram there, one back

The client's connect sends nothing: it only stores the server's address. A datagram carries the
message and its number, another one the echo. Neither close sends anything.
"""


def words(data):
    """Eight bytes of header: of the run, and the number of the message."""
    return f"{int.from_bytes(data[4:8], 'big')}:\"{data[8:].decode()}\""


def play(stage):
    """The chapter's own two programs."""
    stage.server("02-udp/server")
    client = stage.client("02-udp/client", "hello")
    client.ends()
    stage.over()
