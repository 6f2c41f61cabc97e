"""A full handshake of TLS 1.2

One more round trip than in 1.3, and more of it can be read on the way: the certificate is sent
before the encryption begins.
"""

TLS = True
HIDE = {"poll", "epoll_wait", "socket", "select", "bind"}
MERGE = {"read", "write", "recv", "send"}

CLIENT = ["openssl", "s_client", "-brief", "-tls1_2", "-connect", "127.0.0.1:9008", "-CAfile",
          "08-tls/certs/ca.pem"]


def play(stage):
    """One line, its reply, and the end."""
    stage.server("08-tls/server")
    stage.begins()
    client = stage.client(*CLIENT)
    client.says("hello")
    client.prints("+hello")
    stage.settle()
    client.input_ends()
    client.ends()
    stage.over()
