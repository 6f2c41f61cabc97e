"""Three clients, two workers

The acceptor accepts all three clients. Each of the first two has a worker, which waits for its next
line. The third client waits in the server's queue. When the first client leaves, its worker takes
the third client out of the queue and answers it.
"""

HIDE = {"poll", "socket"}
THREADS = ["acceptor", "worker 1", "worker 2"]


def play(stage):
    """Two clients stay as long as we like."""
    stage.server("04-threadpool/server", "-w", "2")
    stage.begins()
    clients = []
    for word in ("a", "b"):
        client = stage.client("04-threadpool/client")
        client.says(word)
        client.prints(word)
        stage.settle()
        clients.append(client)
    third = stage.client("04-threadpool/client", "c")
    stage.settle()
    clients[0].input_ends()
    clients[0].ends()
    third.prints("+c")
    third.ends()
    stage.over()
