"""tcpdump, on the loopback, beside the programs of a scene."""
import os
import socket
import subprocess
import time

import events

# Where the datagram goes that says: all that came before it is in the file. Nobody listens there.
MARK = ("127.0.0.2", 9)


class Capture:
    """tcpdump runs from begin() to end(). limit: in how many seconds it has to write what it has
    seen."""

    def __init__(self, directory, limit):
        self.packets = os.path.join(directory, "packets")
        self.complaint = os.path.join(directory, "complaint")
        self.limit = limit
        self.process = None

    def begin(self, expression):
        """Starts tcpdump. Returns "", or why it does not work."""
        # Root of a user namespace cannot become the user that tcpdump otherwise becomes.
        for user in ([["-Z", "root"], []] if os.geteuid() == 0 else [[]]):
            self.start([*user, *expression])
            if self.mark():
                return ""
            self.end()
        with open(self.complaint, "rb") as file:
            said = file.read().decode("utf-8", "replace").strip()
        return said.rpartition("\n")[2].strip("()") or "it writes nothing"

    def start(self, words):
        """Starts tcpdump with these words more."""
        command = ["tcpdump", "-i", "lo", "-n", "-s", "0", "--immediate-mode", "-U", "-w", "-"]
        with open(self.packets, "wb") as packets, open(self.complaint, "wb") as complaint:
            self.process = subprocess.Popen([*command, *words], stdin=subprocess.DEVNULL,
                                            stdout=packets, stderr=complaint,
                                            start_new_session=True)

    def mark(self):
        """Sends datagrams until tcpdump has written one of them: then all that came before is
        written too. Returns whether it was."""
        before = os.path.getsize(self.packets)
        word = b"mark %f" % time.time()
        deadline = time.monotonic() + self.limit
        while self.process.poll() is None and time.monotonic() < deadline:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
                s.sendto(word, MARK)
            time.sleep(0.002)
            if os.path.getsize(self.packets) > before:
                with open(self.packets, "rb") as file:
                    file.seek(before)
                    if word in file.read():
                        return True
        return False

    def segments(self):
        """What tcpdump has written, without the marks."""
        with open(self.packets, "rb") as file:
            found = events.parse_pcap(file.read())
        return [s for s in found if not s.data.startswith(b"mark ")]

    def end(self):
        """Ends tcpdump, if it runs."""
        if self.process:
            self.process.kill()
            self.process.wait()
