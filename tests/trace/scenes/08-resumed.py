"""A resumed handshake of TLS 1.3

The client has been here before and sends the ticket that it got then. The server recognizes it, so
it sends neither its certificate nor a signature: there are fewer records than in a full handshake.
"""

TLS = True
HIDE = {"poll", "epoll_wait", "socket", "select", "bind"}
MERGE = {"read", "write", "recv", "send"}

CLIENT = ["openssl", "s_client", "-brief", "-connect", "127.0.0.1:9008", "-CAfile",
          "08-tls/certs/ca.pem"]


def talk(stage, *words):
    """One line, its reply, and the end."""
    client = stage.client(*CLIENT, *words)
    client.says("hello")
    client.prints("+hello")
    stage.settle()
    client.input_ends()
    client.ends()


def play(stage):
    """The picture shows the second visit."""
    session = stage.file("session")
    stage.server("08-tls/server")
    talk(stage, "-sess_out", session)
    stage.settle()
    stage.begins()
    talk(stage, "-sess_in", session)
    stage.over()
