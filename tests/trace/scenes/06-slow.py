"""Five clients, one thread

Client 1 sends only the beginning of a line. The server keeps it and waits in epoll_wait again, for
all of its clients. It answers clients 2 to 5 in between. When the rest of the first line comes,
client 1 gets its reply.
"""

HIDE = {"poll"}


def play(stage):
    """All five are connected when the picture begins."""
    stage.server("06-epoll/server")
    clients = []
    for _ in range(5):
        clients.append(stage.typist(9006))
        stage.settle()
    stage.begins()
    clients[0].says("send sl")
    stage.settle()
    for client in clients[1:]:
        client.says("send b\\n")
        client.says("recv")
        stage.settle()
    clients[0].says("send ow\\n")
    clients[0].says("recv")
    stage.over()
