"""The certificate has another name

The client wants to talk to wrong.example. The server's certificate does not have this name, so the
client sends an alert, which is encrypted too, and closes. It has not sent its line.
"""

TLS = True
HIDE = {"poll", "epoll_wait", "socket"}
MERGE = {"read", "write", "recv", "send"}


def play(stage):
    """The client asks for a name that the certificate does not have."""
    stage.server("08-tls/server")
    stage.begins()
    client = stage.client("08-tls/client", "-n", "wrong.example", "hello")
    client.ends()
    stage.over()
