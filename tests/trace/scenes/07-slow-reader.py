"""One says it, all hear it, and one of them is slow

carol has not read for a while: her receive buffer is full, and so is the server's send buffer for
her. ann says something. The server sends it to bob. For carol sendmsg fails with EAGAIN, and the
server stores the message until she reads again. bob does not wait for her.
"""

HIDE = {"poll"}
SKIP = "earlier lines"


def words(data):
    """What fills the buffers has no meaning."""
    return SKIP if b"xxx" in data else ""


def play(stage):
    """What fills the buffers comes before the picture."""
    stage.small_buffers()
    server = stage.server("07-chat/server", "-r", "0", "-k", "0")
    people = {}
    for name in ("ann", "bob", "carol"):
        people[name] = stage.typist(9007, name)
        people[name].says(f"send {name}\\n")
        stage.settle()
    ann, bob, carol = people.values()
    # Once is not enough: the kernel probes the full buffer, and may find a little room (RFC 9293,
    # 3.8.6.1).
    while not server.has_failed("sendmsg", "EAGAIN", 6):
        ann.says("send " + 900 * "x" + "\\n")
        stage.settle()
        bob.says("recv 9999")
        stage.settle()
    stage.begins()
    ann.says("send hi\\n")
    stage.settle()
    bob.says("recv")
    stage.over()
