"""The second client waits until the first has gone

The first client is connected and silent, and the server waits in recv for it. The second client
connects and sends without trouble, because its kernel and the server's do that, but its recv waits.
When the first client has ended, the server accepts the second one and answers at once.
"""


def play(stage):
    """Both clients do what they are told, so that the first one stays as long as we like."""
    stage.server("01-basic-tcp/server")
    stage.begins()
    first = stage.typist(9001)
    first.says("send one")
    first.says("recv")
    stage.settle()
    second = stage.typist(9001)
    second.says("send two")
    second.says("recv")
    stage.settle()
    first.says("close")
    stage.over()
