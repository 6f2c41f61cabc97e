"""A datagram is lost, and sent again

The first datagram never arrives. Nothing tells the client; its poll expires after 250 ms. The
client sends the message again, and this time the reply comes.
"""

GAP = 0.025


def words(data):
    """Eight bytes of header: of the run, and the number of the message."""
    return f"{int.from_bytes(data[4:8], 'big')}:\"{data[8:].decode()}\""


def play(stage):
    """A rule of nft loses one datagram."""
    stage.server("02-udp/server")
    stage.lose(9002)
    stage.begins()
    client = stage.client("02-udp/client", "hello")
    client.ends()
    stage.over()
