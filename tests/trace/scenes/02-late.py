"""A reply comes late, and then once more

The server is busy for a moment, so the client sends message 1 again. The server answers both
copies. The client takes the first reply. The second one stays in its receive buffer until the
client waits for the reply to message 2. Its number tells that it is a late duplicate.
"""

GAP = 0.025


def words(data):
    """Eight bytes of header: of the run, and the number of the message."""
    return f"{int.from_bytes(data[4:8], 'big')}:\"{data[8:].decode()}\""


def play(stage):
    """SIGSTOP makes the server late, until the client has sent twice."""
    server = stage.server("02-udp/server")
    stage.begins()
    server.stops()
    stage.note("The server is stopped for a moment")
    client = stage.client("02-udp/client", "-t", "500")
    client.says("a")
    client.makes("sendto", 2)
    server.goes_on()
    client.prints("a")
    stage.settle()
    client.says("b")
    client.prints("b")
    client.input_ends()
    client.ends()
    stage.over()
