"""A Trace as SVG: the same rows as on a terminal, for a page.

A picture is as wide as its texts need, at most 468 units, so that its letters have 10 pixels where
a page is 360 pixels wide. Letters of the reader's monospace font are at most 0.61 em wide.
"""
import math
from xml.sax.saxutils import escape

from rows import make_rows, side_name, tags
from text import mark_text, segment_text, width

SIZE = 13            # of the letters
LETTER = SIZE * 0.61
LINE = 17            # from one line of text to the next
SIDE = 150           # for the calls of each side, at most
MIDDLE = 164         # between the last client and the first server, at most
MIDDLE_MIN = 94
LANE = 15            # from one lifeline to the next
EDGE = 8

STYLE = """
  svg { color-scheme: light dark; }
  .back { fill: #ffffff; }
  text { font: 13px ui-monospace, monospace; fill: #1a1a1a; }
  .head, .note { font-weight: bold; }
  .note { paint-order: stroke; stroke: #ffffff; stroke-width: 5px; }
  .plain { font-family: system-ui, sans-serif; }
  .quiet { fill: #595959; }
  .life { stroke: #767676; stroke-width: 1; }
  .bar { fill: #d0d0d0; stroke: #595959; stroke-width: 1; }
  .dot { fill: #1a1a1a; }
  .to { stroke: #0072b2; fill: #0072b2; }
  .from { stroke: #b34700; fill: #b34700; }
  .arrow { stroke-width: 1.6; fill: none; }
  .cross { stroke-width: 2.5; fill: none; }
  .ack { stroke-width: 1; stroke-dasharray: 3 3; }
  .tip { stroke: none; }
  @media screen and (prefers-color-scheme: dark) {
    .back { fill: #16191d; }
    text { fill: #e8e8e8; }
    .note { stroke: #16191d; }
    .quiet { fill: #a8a8a8; }
    .life { stroke: #8a8a8a; }
    .bar { fill: #4a4f57; stroke: #b0b0b0; }
    .dot { fill: #e8e8e8; }
    .to { stroke: #56b4e9; fill: #56b4e9; }
    .from { stroke: #e69f00; fill: #e69f00; }
    .arrow { fill: none; }
  }
"""


def wrap(text, columns):
    """The text in lines of at most so many columns, broken at blanks; a long word is broken too."""
    lines = [""]
    for word in text.split(" "):
        longer = f"{lines[-1]} {word}" if lines[-1] else word
        if width(longer) <= columns or not lines[-1] and width(word) <= columns:
            lines[-1] = longer
            continue
        if lines[-1]:
            lines.append("")
        while width(word) > columns:
            lines[-1], word = word[:columns], word[columns:]
            lines.append("")
        lines[-1] = word
    return lines


class Drawing:
    """One SVG in the making. y is where the next row begins."""

    def __init__(self, trace, gap, acks):
        self.trace = trace
        self.rows = make_rows(trace, gap, acks)
        self.tags = {**tags(trace.clients), **tags(trace.servers)}
        self.names = [wrap(side_name(lanes), int(SIDE / LETTER))
                      for lanes in (trace.clients, trace.servers)]
        self.x = {}
        x = EDGE + self.side("left", self.names[0]) + 10
        for lane in trace.clients:
            self.x[lane] = x
            x += LANE
        x += self.middle() - LANE
        for lane in trace.servers:
            self.x[lane] = x
            x += LANE
        self.width = math.ceil(x - LANE + 10 + self.side("right", self.names[1]) + EDGE)
        self.y = EDGE
        self.shapes = []   # below: lifelines and bars
        self.words = []    # above
        self.open = {}     # lane: y at which its waiting began

    def side(self, side, lines):
        """How wide the texts of one side are, its name included."""
        for row in self.rows:
            lines = lines + self.label_lines(getattr(row, side))
        return max(map(width, lines)) * LETTER

    def middle(self):
        """How far apart the two sides are: what stands over arrows ends before their tips."""
        lines = [line for row in self.rows for line in self.arrow_lines(row.segment)]
        return max([MIDDLE_MIN] + [width(line) * LETTER + 18 for line in lines])

    def text(self, x, y, words, kind="", anchor="start"):
        """One line of text."""
        kind = f' class="{kind}"' if kind else ""
        self.words.append(f'<text x="{x:g}" y="{y:g}"{kind} text-anchor="{anchor}">'
                          f'{escape(words)}</text>')

    def paragraph(self, words, kind, end=None):
        """Text over the full width, or as far as end."""
        for line in wrap(words, int(((end or self.width) - 2 * EDGE) / LETTER)):
            self.y += LINE
            self.text(EDGE, self.y, line, kind)

    def heads(self):
        """The names of the programs, over their lines."""
        self.y += LINE * max(map(len, self.names)) + 6
        for lane, x in self.x.items():
            if self.tags[lane]:
                self.text(x, self.y, self.tags[lane], "head", "middle")
        first, last = self.x[self.trace.clients[0]], self.x[self.trace.servers[-1]]
        ends = (first - 10, "end"), (last + 10, "start")
        for (x, anchor), lines in zip(ends, self.names):
            for number, line in enumerate(reversed(lines)):
                self.text(x, self.y - number * LINE, line, "head", anchor)
        self.y += 8

    def label(self, mark, y, side):
        """What a program did, beside its line."""
        if side == "left":
            x, anchor = self.x[self.trace.clients[0]] - 10, "end"
        else:
            x, anchor = self.x[self.trace.servers[-1]] + 10, "start"
        for number, line in enumerate(self.label_lines(mark)):
            self.text(x, y + 4 + number * LINE, line, "", anchor)
        self.words.append(f'<circle class="dot" cx="{self.x[mark.call.lane]:g}" cy="{y:g}" r="3"/>')

    def label_lines(self, mark):
        """The lines of a label; none without a mark. The result has lines of its own where it does
        not fit beside the call."""
        if not mark:
            return []
        columns = int(SIDE / LETTER)
        words = f"{self.tags[mark.call.lane]} {mark_text(mark, 14)}".strip()
        call, equals, result = words.partition(" = ")
        if width(words) <= columns or not equals:
            return wrap(words, columns)
        return wrap(call, columns) + wrap("= " + result, columns)

    def arrow_lines(self, segment):
        """What stands over an arrow."""
        if not segment:
            return []
        if segment.records:
            return segment_text(segment).split(", ")
        return wrap(segment_text(segment, 14), int((MIDDLE - 8) / LETTER))

    def arrow(self, segment, y):
        """A segment, from one line to another."""
        start, end = (self.x[lane] for lane in segment.lanes)
        kind = "to" if segment.lanes[0] in self.trace.clients else "from"
        sign = 1 if end > start else -1
        lines = self.arrow_lines(segment)
        middle = (self.x[self.trace.clients[-1]] + self.x[self.trace.servers[0]]) / 2
        over = 10 if segment.lost else 7  # a cross is higher than a line
        for number, line in enumerate(lines):
            self.text(middle, y - over - (len(lines) - 1 - number) * LINE, line, "", "middle")
        if segment.lost:
            end = (start + 2 * end) / 3
            self.words.append(f'<path class="{kind} cross" '
                              f'd="M{end - 5:g} {y - 5:g}l10 10m0-10l-10 10"/>')
        ack = " ack" if segment.is_ack else ""
        self.words.append(f'<path class="{kind} arrow{ack}" '
                          f'd="M{start + sign * 5:g} {y:g}H{end - sign * 10:g}"/>')
        if not segment.lost:
            self.words.append(f'<path class="{kind} tip" d="M{end - sign * 4:g} {y:g}'
                              f'l{-sign * 10} -4.5v9z"/>')

    def bar(self, lane, top, bottom):
        """The time in which a program waits."""
        self.shapes.append(f'<rect class="bar" x="{self.x[lane] - 4:g}" y="{top:g}" width="8" '
                           f'height="{max(bottom - top, 4):g}"/>')

    def row(self, row):
        """One row. Its y is that of the arrow and of the first line of each label."""
        if row.note:
            self.y += 6
            self.paragraph(row.note.text, "note plain", self.x[self.trace.servers[0]])
            self.y += 8
            return
        if row.gap:
            self.y += LINE
            middle = (self.x[self.trace.clients[-1]] + self.x[self.trace.servers[0]]) / 2
            self.text(middle, self.y, f"{row.gap * 1000:.0f} ms", "quiet plain", "middle")
            self.y += 8
            return
        over = len(self.arrow_lines(row.segment))
        self.y += max(LINE * over + 4, 14)
        y = self.y
        for mark, side in ((row.left, "left"), (row.right, "right")):
            if mark:
                self.label(mark, y, side)
                self.follow(mark, y)
        if row.segment:
            self.arrow(row.segment, y)
        below = max(len(self.label_lines(row.left)), len(self.label_lines(row.right)), 1)
        self.y += (below - 1) * LINE + 8

    def follow(self, mark, y):
        """Begins or ends a bar."""
        if mark.kind == "start":
            self.open[mark.call.lane] = y
        elif mark.kind == "return":
            self.bar(mark.call.lane, self.open.pop(mark.call.lane, y), y)

    def draw(self):
        """The whole file."""
        self.paragraph(self.trace.title, "head plain")
        self.heads()
        top = self.y
        for row in self.rows:
            self.row(row)
        self.y += 6
        for lane, start in self.open.items():
            self.bar(lane, start, self.y)
        for x in self.x.values():
            self.shapes.insert(0, f'<path class="life" d="M{x:g} {top:g}V{self.y:g}"/>')
        self.y += LINE
        if any('class="bar"' in shape for shape in self.shapes):
            self.shapes.append(f'<rect class="bar" x="{EDGE}" y="{self.y - 11:g}" width="8" '
                               'height="14"/>')
            self.text(EDGE + 14, self.y, "waits in this call", "quiet plain")
        height = self.y + EDGE
        body = "\n".join(self.shapes + self.words)
        return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{self.width:g}" '
                f'height="{height:g}" viewBox="0 0 {self.width:g} {height:g}" role="img" '
                f'aria-labelledby="title desc">\n<title id="title">{escape(self.trace.title)}'
                f'</title>\n<desc id="desc">{escape(self.trace.about)}</desc>\n'
                f'<style>{STYLE}</style>\n<rect class="back" width="100%" height="100%"/>\n'
                f'{body}\n</svg>\n')


def draw(trace, gap=None, acks=False):
    """The text of an SVG file (see make_rows)."""
    return Drawing(trace, gap, acks).draw()
