"""charts.py NAME DATA PICTURE: draws the chart of that name, with gnuplot.

Lines are named where they end. Each has a color, a pattern and a shape of its own, so that one of
these is enough to tell it from the others.
"""
import csv
import math
import os
import shutil
import subprocess
import sys

from svg import AREAS, COLORS, GRID, INK, MUTED, adopt

WIDTH = 440
FONT = 13
# Filled: circle, square, triangle, diamond, triangle upside down, pentagon.
POINTS = [7, 5, 9, 13, 11, 15]
DASHES = ["solid", "'-'", "'.'", "'-.'", "'--..'", "'-...'"]


def read(name):
    """The rows of a file of figures, without the lines that say how they were measured."""
    with open(name, encoding="utf-8") as f:
        return list(csv.DictReader(line for line in f if not line.startswith("#")))


def number(value):
    """Three digits that count, and commas: 1.27, 16.7, 331, 10,000."""
    return "{:,.0f}".format(value) if value >= 100 else "%.3g" % value


def time_text(us):
    """Microseconds in the unit that suits them."""
    if us < 1000:
        return number(us) + " µs"
    return number(us / 1000) + " ms" if us < 1e6 else number(us / 1e6) + " s"


def quoted(text):
    """As a string of gnuplot."""
    return '"%s"' % text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


class Chart:
    """Commands for gnuplot. Places are in pixels from the top left corner; panel() has its own."""

    def __init__(self, height):
        self.height = height
        self.lines = [
            "set terminal svg noenhanced size %d,%d font 'sans-serif,%d'" % (WIDTH, height, FONT),
            "set encoding utf8",
            "set multiplot",
            "set border 3 linecolor rgb '%s'" % MUTED,
            "set tics nomirror out scale 0.5 textcolor rgb '%s'" % INK,
            "set grid linecolor rgb '%s' linetype 1 linewidth 1" % GRID,
            "unset key",
        ]

    def text(self, x, y, text, color=INK, align="left", size=FONT):
        self.lines.append("set label %s at screen %g,%g %s font ',%d' textcolor rgb '%s'" % (
            quoted(text), x / WIDTH, 1 - y / self.height, align, size, color))

    def stroke(self, x, y, to_x, to_y, color=MUTED, width=1.0):
        self.lines.append(
            "set arrow from screen %g,%g to screen %g,%g nohead front linecolor rgb '%s'"
            " linewidth %g" % (
                x / WIDTH, 1 - y / self.height, to_x / WIDTH, 1 - to_y / self.height, color, width))

    def panel(self, left, right, top, bottom, x, y):
        panel = Panel(self, (left, right, top, bottom), x, y)
        self.lines += [
            "set lmargin at screen %g" % (left / WIDTH),
            "set rmargin at screen %g" % (right / WIDTH),
            "set tmargin at screen %g" % (1 - top / self.height),
            "set bmargin at screen %g" % (1 - bottom / self.height),
            "set xrange [%g:%g]" % (x.low, x.high), "set yrange [%g:%g]" % (y.low, y.high),
            ("set" if x.log else "unset") + " logscale x",
            ("set" if y.log else "unset") + " logscale y",
            "set xtics (%s) offset 0,0.5" % x.tics(), "set ytics (%s)" % y.tics(),
        ]
        return panel

    def draw(self, name, title, description):
        if not shutil.which("gnuplot"):
            sys.exit("gnuplot is missing, which draws this picture: make setup")
        self.lines += ["unset multiplot", ""]
        done = subprocess.run(["gnuplot"], input="\n".join(self.lines), text=True, check=True,
                              stdout=subprocess.PIPE, env=dict(os.environ, LC_ALL="C.UTF-8"))
        with open(name, "w", encoding="utf-8") as f:
            f.write(adopt(done.stdout, title, description))


class Axis:
    """text: how a number is written; at: which numbers, instead of round ones."""

    def __init__(self, low, high, log=False, text=number, at=()):
        self.low, self.high, self.log, self.text, self.at = low, high, log, text, at

    def part(self, value):
        """Where a value is: 0 at the low end, 1 at the high one."""
        if self.log:
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)

    def tics(self):
        at = self.at
        if not at:  # 1, 2, 5, 10 …; over more than two decades only 1, 10, 100 …
            steps = (1, 2, 5) if self.high / self.low < 100 else (1,)
            at = [step * 10.0 ** power for power in range(-3, 9) for step in steps
                  if self.low <= step * 10.0 ** power <= self.high]
        return ", ".join("%s %g" % (quoted(self.text(value)), value) for value in at)


class Panel:
    """One diagram of a chart. Its places are values on both axes."""

    def __init__(self, chart, box, x, y):
        self.chart, self.box, self.x, self.y = chart, box, x, y
        self.plots, self.data, self.names = [], [], []

    def place(self, x, y):
        left, right, top, bottom = self.box
        return (left + self.x.part(x) * (right - left), bottom - self.y.part(y) * (bottom - top))

    def plot(self, style, rows):
        """rows: of x and one or two y."""
        self.plots.append("'-' with " + style)
        self.data += [" ".join("%.6g" % field for field in row) for row in rows] + ["e"]

    def area(self, color, rows):
        self.plot("filledcurves fillcolor rgb '%s' fillstyle solid noborder" % AREAS[color], rows)

    def line(self, kind, points, name, width=2.0, dash=None, marks=True, below=0):
        """A line that is named where it ends; a single point is a point."""
        color = COLORS[kind]
        mark = " pointtype %d pointsize 0.45" % POINTS[kind]
        if len(points) == 1:
            self.plot("points linecolor rgb '%s'%s" % (color, mark), points)
            x, y = self.place(*points[0])
            if abs(below) > FONT:
                self.chart.stroke(x + 1, y - 4, x + 8, y + below + 5, color)
            self.chart.text(x + 10, y + below, name, color)
            return
        self.plot("%s linecolor rgb '%s' linewidth %g dashtype %s%s" % (
            "linespoints" if marks else "lines", color, width, dash or DASHES[kind],
            mark if marks else ""), points)
        x, y = self.place(*points[-1])
        if x < self.box[1] - 20:  # it ends in the middle
            self.chart.text(x + 5, y - 14, name, color)
        else:
            self.names.append(((x, y), name, color))

    def put_names(self, gap=15):
        """Names lines at the right, as near to their ends as there is room; a thin line leads
        there."""
        _, right, top, bottom = self.box
        names = sorted(self.names, key=lambda entry: entry[0][1])
        places = []
        for (_, y), _, _ in names:
            places.append(max(y, places[-1] + gap if places else top))
        limit = bottom + 2
        for i in range(len(places) - 1, -1, -1):
            places[i] = min(places[i], limit)
            limit = places[i] - gap
        for ((x, y), name, color), place in zip(names, places):
            self.chart.stroke(x + 3, y, right + 12, place, color)
            self.chart.text(right + 15, place, name, color)

    def finish(self):
        self.put_names()
        self.chart.lines += ["plot " + ", ".join(self.plots), *self.data,
                             "unset label", "unset arrow"]


# ---- the charts ----

def memory(rows, name):
    def megabytes(server, *keys):
        return [(int(row["connections"]), sum(int(row[key]) for key in keys) / 1e6)
                for row in rows if row["server"] == server]

    resident, kernel = megabytes("thread", "resident"), megabytes("thread", "resident",
                                                                  "kernel_stacks")
    epoll = megabytes("06", "resident")
    chart = Chart(308)
    most = kernel[-1][0]
    panel = chart.panel(45, 300, 36, 262, Axis(0, most, at=range(0, most + 1, 2500)),
                        Axis(0, 1.1 * kernel[-1][1], at=range(0, 1001, 100)))
    panel.area(COLORS[1], [(x, 0, y) for x, y in resident])
    panel.area(COLORS[2], [(x, y, z) for (x, y), (_, z) in zip(resident, kernel)])
    panel.line(2, kernel, "a thread each:\n%s MB with the\nkernel's stacks" % number(kernel[-1][1]),
               marks=False)
    panel.line(1, resident, "%s MB in the\nprogram" % number(resident[-1][1]), marks=False)
    panel.line(0, epoll, "06 epoll: %s MB" % number(epoll[-1][1]), width=3, marks=False)
    chart.text(8, 16, "MB of memory")
    chart.text(172, 302, "connections, each silent after one line", align="center")
    panel.finish()
    chart.draw(name, "The memory of connections: a thread each, and 06", (
        "Memory grows in a straight line with the connections. %s connections with a thread each"
        " take %s MB in the program, and %s MB together with the kernel's stacks. In 06 they take"
        " %s MB.") % (number(most), number(resident[-1][1]), number(kernel[-1][1]),
                      number(epoll[-1][1])))


LIMIT, LAG = 256, 64  # KiB: QUEUE_LIMIT and QUEUE_LAG of 07-chat/queue.h


def queue(rows, name):
    def points(member):
        return [(int(row["ms"]) / 1000, int(row["queue"]) / 1024)
                for row in rows if row["member"] == member]

    mute, bob, carol = points("mute"), points("bob"), points("carol")
    end = max(x for x, _ in bob + carol)
    chart = Chart(318)
    panel = chart.panel(40, 335, 36, 268, Axis(-0.1, end, at=range(int(end) + 1)),
                        Axis(0, 290, at=range(0, 257, 64)))
    for limit, text in ((LIMIT, "limit:\ndropped"), (LAG, "lags: the\nothers wait")):
        _, y = panel.place(0, limit)
        panel.plot("lines linecolor rgb '%s' dashtype '-'" % MUTED, [(-0.1, limit), (end, limit)])
        chart.text(344, y - 3, text)
    for kind, member, width in ((3, carol, 2), (1, bob, 1.5), (2, mute, 3)):
        panel.line(kind, member, "", width, "solid", marks=False)
    panel.names = []
    panel.plot("points pointtype 7 pointsize 0.6 linecolor rgb '%s'" % COLORS[2], mute[-1:])
    x, y = panel.place(mute[-1][0], 200)
    chart.text(x + 8, y, "mute reads nothing,\nand is dropped", COLORS[2])
    x, y = panel.place(end * 0.42, 110)
    chart.text(x, y - 14, "bob reads slowly", COLORS[1])
    x, y = panel.place(end * 0.42, 0)
    chart.text(x, y - 9, "carol reads at once", COLORS[3])
    chart.text(8, 16, "KiB in the queue of a member")
    chart.text(187, 306, "seconds", align="center")
    panel.finish()
    chart.draw(name, "The queues of three members of the chat room, measured", (
        "A fourth member sends lines as fast as the server takes them, for three seconds. carol"
        " reads at once, and her queue stays empty. bob reads slowly: his queue goes up and down"
        " between %.0f and %.0f KiB, near the 64 KiB from which on the others wait, and is empty at"
        " the end. mute reads nothing: the queue grows steadily to the limit of 256 KiB, and after"
        " %.1f s mute is dropped.") % (
            min(y for x, y in bob if mute[-1][0] < x < 0.8 * end),
            max(y for _, y in bob), mute[-1][0]))


OWN = ["06", "thread", "04", "05", "03"]  # each with the color and shape of its place


def place_of(title):
    """The place in OWN of a server that is called so."""
    return next((i for i, own in enumerate(OWN) if own in title), len(OWN))


BIN = 1.12  # the width of a column: so many times as long as the one before


def percentile(counts, percent):
    """Of (ns, replies) in order, as histogram.h does it."""
    rank, seen = sum(replies for _, replies in counts) * percent / 100, 0
    for ns, replies in counts:
        seen += replies
        if seen >= rank:
            return ns
    return 0


def columns(counts, low, high):
    """(µs, replies) for each column between low and high µs."""
    sums = {}
    for ns, replies in counts:
        place = int(math.log(ns / 1000) / math.log(BIN))
        sums[place] = sums.get(place, 0) + replies
    first, last = (int(math.log(us) / math.log(BIN)) for us in (low, high))
    for place in range(first, last + 1):
        for edge in (place, place + 1):
            yield min(max(BIN ** edge, low), high), sums.get(place, 0)


def latency_row(chart, panel, top, server, color, counts):
    """One server's distribution. Returns it in words."""
    bars = list(columns(counts, panel.x.low, panel.x.high))
    panel.area(color, [(x, 0, y) for x, y in bars])
    panel.plot("lines linecolor rgb '%s' linewidth 1.5" % color, bars)
    p50, p99 = (percentile(counts, percent) / 1000 for percent in (50, 99))
    for us, width in ((p50, 3), (p99, 1)):
        x, _ = panel.place(us, 0)
        chart.stroke(x, top + 22, x, top + ROW - 12, INK, width=width)
    times = (time_text(p50), time_text(p99), time_text(counts[-1][0] / 1000))
    chart.text(12, top + 6, server, color, size=14)
    chart.text(424, top + 6, "p50 %s, p99 %s, longest %s" % times, INK, "right")
    return "%s: half of the replies within %s, 99 %% within %s, the last after %s." % (
        server, *times)


ROW = 88  # the height of each server's part


def latency(rows, name):
    servers = {}
    for row in rows:
        servers.setdefault(row["server"], []).append((float(row["ns"]), int(row["replies"])))
    low = min(percentile(counts, 0.1) for counts in servers.values()) / 1000 / 1.5
    high = max(counts[-1][0] for counts in servers.values()) / 1000 * 1.1
    chart = Chart(40 + ROW * len(servers) + 40)
    said = []
    for i, (server, counts) in enumerate(servers.items()):
        top = 40 + ROW * i
        highest = max(y for _, y in columns(counts, low, high))
        is_last = i == len(servers) - 1
        panel = chart.panel(12, 424, top + 28, top + ROW - 12,
                            Axis(low, high, True, time_text if is_last else lambda us: ""),
                            Axis(0, highest, at=[0]))
        chart.lines += ["set border 1", "unset ytics"]
        color = COLORS[place_of(server)]
        said.append(latency_row(chart, panel, top, server, color, counts))
        panel.finish()
    chart.lines += ["unset grid", "unset border", "unset tics"]
    chart.text(12, 14, "How many replies came after what time (p50 thick, p99 thin)")
    chart.text(218, chart.height - 10, "time from request to reply", align="center")
    chart.lines += ["unset logscale", "set xrange [0:1]", "set yrange [0:1]", "plot -1 linetype -2"]
    chart.draw(name, "The latency of four servers, as distributions", " ".join(said))


# Title, what the numbers are, and how far below its point the name of 03 is, where no line is.
BENCH = {
    "cpu": ("Server CPU time per request", "µs per request: less is better", number, -14),
    "rate": ("Throughput, one request at a time", "requests per second: more is better", number, 4),
    "p99": ("Latency: 99 of 100 replies come within", "p99: less is better", time_text, -44),
}
OTHERS = ["06", "libuv", "libevent", "limit", "asyncio", "uring"]


def spread_lines(rows, x, panel, servers, below=0):
    """A band and a line for each of the servers that is in the rows. x: the column of the numbers
    below the chart."""
    for kind, server in enumerate(servers):
        spread = [(int(row[x]), float(row["low"]), float(row["high"]))
                  for row in rows if row["server"] == server and row["low"]]
        if len(spread) > 1:
            panel.area(COLORS[kind], spread)
    for kind in reversed(range(len(servers))):  # the first one last, so that it is on top
        found = [row for row in rows if row["server"] == servers[kind]]
        if found:
            panel.line(kind, [(int(row[x]), float(row["median"])) for row in found],
                       found[0]["title"], width=3 if kind == 0 else 1.6, below=below)


def span(rows):
    """From a little below to a little above all values, on a logarithmic scale."""
    values = [float(row[part]) for row in rows for part in ("median", "low", "high") if row[part]]
    return min(values) / 1.15, max(values) * 1.15


def bench(key):
    title, unit, text, below = BENCH[key]

    def draw(rows, name):
        rows = [row for row in rows if row["figure"] == key]
        chart = Chart(632)
        for top, servers, most, head in (
            (0, OWN, 1000, "The kit's servers, up to 1,000 connections"),
            (320, OTHERS, 10000, "06 beside other servers, up to 10,000"),
        ):
            axis = Axis(0.8, most * 1.15, log=True,
                        at=[at for at in (1, 10, 100, 1000, 10000) if at <= most])
            panel = chart.panel(68, 325, top + 56, top + 262, axis,
                                Axis(*span(rows), log=True, text=text))
            chart.text(8, top + 16, head, size=14)
            chart.text(8, top + 38, unit, MUTED)
            chart.text(196, top + 300, "connections", align="center")
            shown = [row for row in rows if int(row["connections"]) <= most]
            spread_lines(shown, "connections", panel, servers, below)
            panel.finish()
        chart.draw(name, title, (
            "Two diagrams over the number of connections, each with one curve for each server and a"
            " band for the middle half of the rounds. All figures are in the tables below."))

    return draw


def chat_members(rows, name):
    servers = list(dict.fromkeys(row["server"] for row in rows))
    servers.sort(key=lambda server: server != "07")
    members = sorted({int(row["members"]) for row in rows})
    chart = Chart(312)
    panel = chart.panel(60, 325, 56, 262, Axis(0.9 * members[0], 1.1 * members[-1], log=True,
                                               at=members), Axis(*span(rows), log=True))
    chart.text(8, 16, "The server's CPU time for each line that one member receives")
    chart.text(8, 38, "µs: less is better", MUTED)
    chart.text(192, 300, "members", align="center")
    spread_lines(rows, "members", panel, servers)
    panel.finish()
    ends = ["%s %s µs with %s members" % (row["title"], row["median"], row["members"])
            for row in rows if int(row["members"]) == members[-1]]
    chart.draw(name, "CPU time per line received in the chat room, by the number of members",
               "Where the curves end: %s." % ", ".join(ends))


CHARTS = {"chat-members": chat_members, "memory": memory, "queue": queue, "latency": latency}
CHARTS.update({"bench-" + key: bench(key) for key in BENCH})


def main():
    if len(sys.argv) != 4 or sys.argv[1] not in CHARTS:
        sys.exit("usage: charts.py %s DATA PICTURE" % "|".join(CHARTS))
    CHARTS[sys.argv[1]](read(sys.argv[2]), sys.argv[3])


main()
