"""A Trace for a terminal: client left, server right, time at the left edge."""
import os
import sys

from rows import make_rows, side_name, tags
from text import mark_text, segment_text, shorten, width

BOLD, DIM, CYAN, YELLOW, OFF = "\033[1m", "\033[2m", "\033[36m", "\033[33m", "\033[0m"
UNICODE = {"idle": "│", "wait": "█", "right": "▶", "left": "◀", "line": "─", "gap": "┆",
           "lost": "×"}
PLAIN = {"idle": "|", "wait": "#", "right": ">", "left": "<", "line": "-", "gap": ":",
         "lost": "x"}
MOST_ROWS = 1000


def is_unicode(stream):
    """Whether the stream can show the characters of UNICODE."""
    return "utf" in (stream.encoding or "").lower()


def terminal_width():
    """The columns of the terminal, also where the picture goes through a pipe: | less."""
    for stream in sys.__stdout__, sys.__stderr__:
        if stream.isatty():
            return os.get_terminal_size(stream.fileno()).columns
    return int(os.environ.get("COLUMNS") or 100)


def fill(text, columns, side):
    """The text at one side of so many columns."""
    text = shorten(text, columns)
    blanks = " " * (columns - width(text))
    return text + blanks if side == "left" else blanks + text


class Screen:
    """Draws with the widths and colors of one terminal."""

    def __init__(self, trace, stream, columns=None):
        columns = columns or terminal_width()
        self.trace = trace
        self.tags = {**tags(trace.clients), **tags(trace.servers)}
        self.color = stream.isatty() and not os.environ.get("NO_COLOR")
        self.signs = UNICODE if is_unicode(stream) else PLAIN
        lanes = 2 * (len(trace.clients) + len(trace.servers))
        space = max(48, min(columns, 120) - 11 - lanes)
        self.side = space * 36 // 100
        self.middle = space - 2 * self.side

    def paint(self, text, code):
        """The text in a color, where the terminal has any."""
        return f"{code}{text}{OFF}" if self.color and text.strip() else text

    def lifelines(self, lanes, row):
        """One column for each program: waiting or not."""
        signs = []
        for lane in lanes:
            sign = self.signs["idle"]
            if row.gap:
                sign = self.signs["gap"]
            if lane in row.waiting:
                sign = self.paint(self.signs["wait"], YELLOW)
            signs.append(sign)
        return " ".join(signs)

    def label(self, mark):
        """What a row says of a call, and whose it is where there are several."""
        if not mark:
            return ""
        return f"{self.tags[mark.call.lane]} {mark_text(mark, 16)}".strip()

    def arrow(self, segment):
        """The middle of a row."""
        if not segment:
            return " " * self.middle
        signs = self.signs
        label = f" {shorten(segment_text(segment, 20), self.middle - 6)} "
        line = signs["line"] * (self.middle - 3 - width(label))
        half = len(line) // 2
        body = line[:half] + label + line[half:]
        if segment.lanes[0] in self.trace.clients:
            return " " + body + signs["lost" if segment.lost else "right"] + " "
        return " " + signs["lost" if segment.lost else "left"] + body + " "

    def line(self, row, since):
        """One row as a line."""
        if row.note:
            return self.paint(" " * 10 + row.note.text, BOLD)
        clock = f"{(row.time - since) * 1000:8.1f}  "
        middle = self.arrow(row.segment)
        if row.gap:
            clock = " " * 10
            middle = f"{row.gap * 1000:.0f} ms".center(self.middle)
        parts = [self.paint(clock, DIM),
                 self.paint(fill(self.label(row.left), self.side, "right"), CYAN), " ",
                 self.lifelines(self.trace.clients, row), middle,
                 self.lifelines(self.trace.servers, row), " ",
                 self.paint(fill(self.label(row.right), self.side, "left"), CYAN)]
        return "".join(parts).rstrip()

    def lines(self):
        """All of the picture."""
        rows = make_rows(self.trace)
        yield self.paint(self.trace.title, BOLD)
        yield ""
        clients, servers = self.trace.clients, self.trace.servers
        head = " " * 6 + "ms  " + fill(side_name(clients), self.side, "right") + " "
        head += " ".join(self.tags[lane] or " " for lane in clients) + " " * self.middle
        head += " ".join(self.tags[lane] or " " for lane in servers) + " " + side_name(servers)
        yield self.paint(head, BOLD)
        for row in rows[:MOST_ROWS]:
            yield self.line(row, rows[0].time)
        if len(rows) > MOST_ROWS:
            yield f"... and {len(rows) - MOST_ROWS} rows more"
        yield ""
        yield f"{self.signs['wait']} waits in this call"
        for words in self.trace.missing:
            yield f"left out: {words}"


def show(trace):
    """Prints it."""
    for line in Screen(trace, sys.stdout).lines():
        print(line)
