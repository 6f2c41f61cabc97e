"""The states of a connection: a table of them, compared with a program and drawn as a picture.

usage: states.py check TABLE FILE.c...   names each difference between the table and the program
       states.py watched TABLE FILE.c    prints the file, changed so that the program writes a line
                                         "state NUMBER NEXT FUNCTION" to stderr for each change
       states.py seen TABLE FILE.c...    names each such line of its input that the table has not
       states.py words TABLE             prints the table in words, as the picture has them
       states.py draw TABLE PICTURE.svg  draws the table, with dot
"""
import re
import sys
import textwrap
from html import escape

from svg import adopt, draw_dot

LABEL = 16  # letters of a line at an arrow
NOTE = 44


class Table:
    """Rows of (state, event, next state, function), and the settings before them."""

    def __init__(self, name):
        self.rows, self.settings = [], {}
        with open(name, encoding="utf-8") as f:
            for line in f:
                if line.startswith("#") or not line.strip():
                    continue
                if "|" in line:
                    self.rows.append(tuple(part.strip() for part in line.split("|")))
                else:
                    key, value = line.split(":", 1)
                    self.settings[key] = value.strip()
        self.flag, self.flag_state = (self.settings.get("flag", "") + "  ").split(" ")[:2]

    def states(self):
        names = {name for row in self.rows for name in (row[0], row[2])}
        return names - {"*", "new", "closed", self.flag_state}

    def changes(self):
        """(function, next state). A connection begins with all zero, which is its first state: if
        no statement assigns that, the table says conn_open."""
        return {(function, after) for _, _, after, function in self.rows}


# ---- what the program does ----

def functions(text):
    """Yields each function's name and body, as .clang-format lays them out."""
    for match in re.finditer(r"(?ms)^\w[^\n;={}]*?(\w+)\([^;{}]*\) \{\n(.*?)^\}", text):
        yield match.group(1), match.group(2)


def without_comments(text):
    return re.sub(r"(?s)/\*.*?\*/", "", text)


def program_states(text):
    return re.search(r"enum \{([^{}]*)\} state;", text).group(1).replace(",", " ").split()


def program_changes(text, table):
    changes, assigned = set(), set()
    for name, body in functions(text):
        for state in re.findall(r"state = (\w+)", body):
            changes.add((name, state))
            assigned.add(state)
        if table.flag and table.flag + " = 1" in body:
            changes.add((name, table.flag_state))
        # The two that do what others have decided are no change of their own.
        carried_out = name in ("conn_update", "flush_pending")
        if "conn_end(" in body or ("conn_close(" in body and not carried_out):
            changes.add((name, "closed"))
    first = program_states(text)[0]
    if first not in assigned:
        changes.add(("conn_open", first))
    return changes


def read(names):
    text = ""
    for name in names:
        with open(name, encoding="utf-8") as f:
            text += f.read()
    return text


def check(table, text):
    problems = []
    for what, ours, theirs in (
        ("state", table.states(), set(program_states(text))),
        ("change", table.changes(), program_changes(text, table)),
    ):
        problems += ["only the table has the %s %s" % (what, one) for one in ours - theirs]
        problems += ["only the program has the %s %s" % (what, one) for one in theirs - ours]
    for problem in sorted(problems):
        print(problem)
    return 1 if problems else 0


# ---- what a run does ----

def watched(table, text):
    """In chapter 07 the connection has the flag, and its member the state."""
    def note(state, after, statement):
        return '{ fprintf(stderr, "state %%d %s %%s\\n", (int)(%s), __func__); %s }' % (
            after, state, statement)

    def of_connection(c):
        if not table.flag:
            return c + "->state"
        return "%s->%s ? 99 : (int)%s->member.state" % (c, table.flag, c)

    text = re.sub(r"(\w+)->state = (\w+);",
                  lambda m: note(m.group(1) + "->state", m.group(2), m.group()), text)
    text = re.sub(r"(\w+)->%s = 1;" % (table.flag or "!"),
                  lambda m: note(of_connection(m.group(1)), table.flag_state, m.group()), text)
    return re.sub(r"(?<=    )(?:return |\w+ = )?conn_end\((\w+), .*?\);",
                  lambda m: note(of_connection(m.group(1)), "closed", m.group()), text)


def seen(table, text, lines):
    names = dict(enumerate(program_states(text)))
    names[99] = table.flag_state
    known = {(state, after, function) for state, _, after, function in table.rows}
    unknown = set()
    for line in lines:
        word, number, after, function = (line.split() + [""] * 4)[:4]
        if word != "state":
            continue
        before = names[int(number)]
        rows = {(state, after, function) for state in (before, "*", "new")}
        if before != after and not rows & known:
            unknown.add((before, after, function))
    for change in sorted(unknown):
        print("the table has not: %s to %s in %s" % change)
    return 1 if unknown else 0


# ---- the picture ----

def quoted(text, width):
    """The text in lines, as dot takes it. The spaces keep it away from the arrow."""
    together = re.sub(r"(\d) (s|ms)\b", "\\1\u00a0\\2", text)
    lines = textwrap.wrap(together, width, break_long_words=False)
    return '"%s"' % "\\n".join("\u00a0%s\u00a0" % line for line in lines)


def arrows(table):
    """One for each pair of states, with all events that lead from one to the other."""
    events = {}
    for state, event, after, _ in table.rows:
        if state != "*":
            events.setdefault((state, after), []).append(event)
    for (state, after), texts in events.items():
        yield '"%s" -> "%s" [label=%s]' % (state, after, quoted("; ".join(texts), LABEL))


def dot_of(table):
    always = []
    for state, event, _, _ in table.rows:
        if state == "*" and event not in always:
            always.append(event)
    return """digraph {
graph [bgcolor=transparent nodesep=0.25 ranksep=0.4 pad=0.1]
graph [fontname="sans-serif" fontsize=13 label=%s]
node [shape=box style=rounded fontname="sans-serif" fontsize=14 height=0.4 margin="0.14,0.05"]
edge [fontname="sans-serif" fontsize=13 arrowsize=0.8]
new [label="" shape=circle style=filled fillcolor="#000000" width=0.16 height=0.16 fixedsize=true]
closed [label=%s style="rounded,bold"]
%s
}
""" % ('"\\n' + quoted("closed from each state: " + "; ".join(always), NOTE)[1:],  # a line apart
       quoted(table.settings.get("closed", "closed"), NOTE), "\n".join(arrows(table)))


def sentences(table):
    """The table in words, for readers who cannot see the picture."""
    where = {"new": "A new connection", "*": "In each state"}
    return " ".join("%s: %s, then %s." % (where.get(state, state), event, after)
                    for state, event, after, _ in table.rows)


def draw(table, name):
    with open(name, "w", encoding="utf-8") as f:
        f.write(adopt(draw_dot(dot_of(table)), table.settings["title"], sentences(table)))
    return 0


def main():
    if len(sys.argv) < 3 or sys.argv[1] not in ("check", "watched", "seen", "words", "draw"):
        sys.exit(__doc__.partition("\n\n")[2].rstrip())
    command, table, files = sys.argv[1], Table(sys.argv[2]), sys.argv[3:]
    if command == "draw":
        return draw(table, files[0])
    text = read(files)
    if command == "check":
        return check(table, without_comments(text))
    if command == "seen":
        return seen(table, without_comments(text), sys.stdin)
    print(watched(table, text) if command == "watched" else escape(sentences(table)))
    return 0


sys.exit(main())
