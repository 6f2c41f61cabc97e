"""terminal.py SCREENS PICTURE: draws the screens of terminal.sh, one below the other.

Each character is put where the terminal has it: one column wide, or two (Unicode's East Asian Width
W and F). So the columns are right whatever fonts the reader has.
"""
import re
import sys
import unicodedata
from html import escape
from itertools import groupby

from svg import INK, MUTED, picture

COLUMN, ROW, SIZE = 8.4, 21, 14  # units
LEFT, TITLE = 12, 26
COLORS = {30: INK, 31: "#d55e00", 32: "#009e73", 33: "#7a6000", 34: "#0072b2", 35: "#aa4a85",
          36: "#0072b2", 37: MUTED, 39: INK}  # SGR (console_codes(4))


def columns_of(character):
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def runs(line):
    """Yields (column, text, color, bold): text of one look, and either wide or not."""
    color, bold, column = INK, False, 0
    for part in re.split(r"(\x1b\[[\d;]*m)", line):
        if part.startswith("\x1b"):
            for code in part[2:-1].split(";"):
                code = int(code or 0)
                color = INK if code == 0 else COLORS.get(code, color)
                bold = code == 1 or (bold and code not in (0, 22))
            continue
        for _, group in groupby(part, lambda character: columns_of(character) == 2):
            text = "".join(group)
            yield column, text, color, bold
            column += sum(map(columns_of, text))


def draw_run(top, column, text, color, bold):
    x = LEFT + COLUMN * column
    look = 'class="mono" fill="%s" font-size="%d"%s' % (
        color, SIZE, ' font-weight="bold"' if bold else "")
    widths = list(map(columns_of, text))
    if set(widths) == {1}:
        look += ' x="%g" y="%g" textLength="%g"' % (x, top, COLUMN * len(text))
        return '<text %s lengthAdjust="spacingAndGlyphs">%s</text>' % (look, escape(text))
    places = [x + COLUMN * sum(widths[:i]) for i in range(len(text))]
    return '<text %s x="%s" y="%g">%s</text>' % (
        look, " ".join("%g" % place for place in places), top, escape(text))


def draw_screen(top, name, cursor, lines, columns):
    width, height = COLUMN * columns + 8, ROW * len(lines) + 10
    yield '<text x="%d" y="%d" font-size="13" fill="%s">%s</text>' % (
        LEFT, top + 17, MUTED, escape("%s's terminal" % name))
    yield '<rect x="%g" y="%d" width="%g" height="%d" rx="5" fill="none" stroke="%s"/>' % (
        LEFT - 5, top + TITLE, width + 2, height, MUTED)
    for i, line in enumerate(lines):
        for run in runs(line):
            yield draw_run(top + TITLE + ROW * (i + 1) - 2, *run)
    x, y = cursor
    place = (LEFT + COLUMN * x, top + TITLE + ROW * y + 3, COLUMN, ROW - 2)
    yield '<rect x="%g" y="%g" width="%g" height="%d" fill="none"' % place + (
        ' stroke="%s" stroke-width="1.5"/>' % INK)


def main():
    if len(sys.argv) != 3:
        sys.exit("usage: terminal.py SCREENS PICTURE")
    with open(sys.argv[1], encoding="utf-8") as f:
        parts = re.split(r"(?m)^== (\S+) (\d+) (\d+)\n", f.read())[1:]
    screens = [(parts[i], (int(parts[i + 1]), int(parts[i + 2])), parts[i + 3].split("\n")[:-1])
               for i in range(0, len(parts), 4)]
    columns, body, said, top = 44, [], [], 4
    for name, cursor, lines in screens:
        body += draw_screen(top, name, cursor, lines, columns)
        top += TITLE + ROW * len(lines) + 18
        plain = [re.sub(r"\x1b\[[\d;]*m", "", line) for line in lines]
        said.append("%s sees: %s" % (name, " / ".join(line for line in plain if line)))
    with open(sys.argv[2], "w", encoding="utf-8") as f:
        f.write(picture(round(2 * LEFT + COLUMN * columns), top, "Two people in the chat room",
                        "\n".join(said), "\n".join(body)))


main()
