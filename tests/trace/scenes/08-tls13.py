"""A full handshake of TLS 1.3

First TCP connects. The client sends ClientHello. The server answers with ServerHello; what follows
is encrypted, so that only records of application data can be seen: the certificate, the proof that
the server has its key, Finished. Then line and reply travel in the same kind of record.
"""

TLS = True
HIDE = {"poll", "epoll_wait", "socket"}
MERGE = {"read", "write", "recv", "send"}


def play(stage):
    """The chapter's own two programs."""
    stage.server("08-tls/server")
    stage.begins()
    client = stage.client("08-tls/client", "hello")
    client.ends()
    stage.over()
