"""The second client waits until the first has gone

The first client is connected and silent, and the server waits in recv for it. The second client
connects and sends without trouble, because its kernel and the server's do that, but its recv waits.
When the first client has ended, the server accepts the second one and answers at once.
"""


def play(stage):
    """The first client gets its lines from here, so it stays as long as we like."""
    stage.server("01-basic-tcp/server")
    stage.begins()
    first = stage.client("01-basic-tcp/client")
    first.says("one")
    first.prints("one")
    stage.settle()
    second = stage.client("01-basic-tcp/client", "two")
    stage.settle()
    first.input_ends()
    first.ends()
    second.ends()
    stage.over()
