"""A message, its echo, and a half-close

The client connects, sends hello and then a newline, and receives each of them back. Its shutdown
sends FIN. The server still answers what it has received, then closes too.
"""


def play(stage):
    stage.server("01-basic-tcp/server")
    client = stage.client("01-basic-tcp/client", "hello")
    client.ends()
    stage.over()
