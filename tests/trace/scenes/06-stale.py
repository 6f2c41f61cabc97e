"""Two events of one connection in one batch

The server closes a connection that is idle for a second. It is stopped until this time has expired
and a second line has come, too. So epoll_wait returns two events: the timer, and the connection,
which is readable. The server must not touch a connection that the first event has closed.
"""

import time

GAP = 0.025
HIDE = {"poll", "socket"}


def play(stage):
    """The timer of a stopped server expires, too."""
    server = stage.server("06-epoll/server", "-i", "1")
    client = stage.typist(9006)
    client.says("send one\\n")
    client.says("recv")
    stage.settle()
    stage.begins()
    server.stops()
    stage.note("The server is stopped")
    time.sleep(1.2)
    client.says("send two\\n")
    stage.arrived(9006)
    # The client reads the refusal and closes at once, so that the server need not wait for it.
    client.says("recv")
    client.says("close")
    stage.note("The server continues")
    server.goes_on()
    stage.over(last=(server, "close"))
