"""tcpdump, on the loopback, beside the programs of a scene."""
import os
import socket
import subprocess
import time

import events

# Where the datagram goes that says: all that came before it is in the file. Nobody listens there.
MARK = ("127.0.0.2", 9)


class Capture:
    """Runs tcpdump until end(). words: its expression; limit: how long it may take to write what it
    has seen, in seconds. Without the right to capture, why has its complaint."""

    def __init__(self, directory, words, limit):
        self.packets = os.path.join(directory, "packets")
        self.limit = limit
        self.process = None
        self.why = ""
        # Root of a user namespace cannot become the user that tcpdump otherwise becomes.
        for user in ([["-Z", "root"], []] if os.geteuid() == 0 else [[]]):
            complaint = os.path.join(directory, "complaint")
            self.start([*user, *words], complaint)
            if self.mark():
                self.why = ""
                return
            self.end()
            with open(complaint, "rb") as file:
                said = file.read().decode("utf-8", "replace").strip()
            self.why = said.rpartition("\n")[2].strip("()") or "it writes nothing"

    def start(self, words, complaint):
        """Starts tcpdump with these words more; it complains to a file."""
        command = ["tcpdump", "-i", "lo", "-n", "-s", "0", "--immediate-mode", "-U", "-w", "-"]
        with open(self.packets, "wb") as packets, open(complaint, "wb") as complaints:
            self.process = subprocess.Popen([*command, *words], stdin=subprocess.DEVNULL,
                                            stdout=packets, stderr=complaints,
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
        """Ends tcpdump."""
        self.process.kill()
        self.process.wait()
