"""The kit's files as the book shows them: their lines, colors and definitions, and which of their
lines the prose explains."""
import functools
import os
import re

from markupsafe import escape
from pygments import lex
from pygments.lexers import get_lexer_by_name
from pygments.token import Comment, Keyword, Number, String

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
UNEXPLAINED, NAMED, SHOWN = range(3)
COLORS = [
    (Comment.Preproc, "p"),
    (Comment.PreprocFile, "p"),
    (Comment, "c"),
    (Keyword, "k"),
    (String, "s"),
    (Number, "d"),
]
LEXERS = {
    "c": "c", "h": "c", "py": "python", "sh": "bash", "bats": "bash", "bash": "bash",
    "json": "json", "yml": "yaml", "md": "text",
}


class Failed(Exception):
    """What is wrong with the kit's files, with the place."""


def read(path):
    with open(os.path.join(ROOT, path), encoding="utf-8") as file:
        return file.read()


@functools.lru_cache(maxsize=None)
def color_of(kind):
    return next((name for parent, name in COLORS if kind in parent), None)


@functools.lru_cache(maxsize=None)  # chapters have copies of the same files
def highlight(text, language):
    """The text's lines as HTML."""
    lexer = get_lexer_by_name(language, stripnl=False, ensurenl=False)
    out = [""]
    for kind, value in lex(text, lexer):
        color = color_of(kind)
        for number, piece in enumerate(value.split("\n")):
            if number:
                out.append("")
            if piece and color and not piece.isspace():
                out[-1] += f'<span class="{color}">{escape(piece)}</span>'
            else:
                out[-1] += str(escape(piece))
    return out


def language_of(path):
    name = os.path.basename(path)
    if name == "Makefile":
        return "make"
    return LEXERS.get(name.rpartition(".")[2], "bash" if "tests/bin/" in path else "text")


# ---- definitions ----

FUNCTION = re.compile(r"(?!typedef|#|\s|/|\*|\}|else|return)[A-Za-z_][\w \*]*?\b(\w+)\(")
TYPE = re.compile(r"(?:typedef )?(?:struct|enum|union) (\w+) \{")
MACRO = re.compile(r"#define (\w+)")
CONSTANT = re.compile(r"    ([A-Z][A-Z_0-9]{2,})(?: = [^;(]*)?,?(?: +/\*.*)?$")
# A variable's name may be any word, so only those that look like a name are known.
VARIABLE = re.compile(r"(?:static |extern )(?:[\w ]+? \**)(\w+_\w+)(?:\[.*\])?(?: =.*)?;")


def block_end(lines, start):
    """The index of the line that closes what begins there; that line, if nothing is opened."""
    for at in range(start, len(lines)):
        if lines[at].rstrip().endswith(";") and "{" not in "".join(lines[start : at + 1]):
            return at
        if lines[at].startswith("}") or (at == start and re.search(r"\{.*\}", lines[at])):
            return at
    return start


def definitions(lines):
    """Name: its first and last line, from 1 on. A definition wins over a declaration."""
    found = {}
    for index, line in enumerate(lines):
        match = FUNCTION.match(line) or TYPE.match(line) or VARIABLE.match(line)
        one_line = MACRO.match(line) or CONSTANT.match(line)
        if match:
            end = block_end(lines, index)
            whole = "{" in "".join(lines[index : end + 1])
            if whole or match.group(1) not in found:
                found[match.group(1)] = (index + 1, end + 1)
        elif one_line:
            found.setdefault(one_line.group(1), (index + 1, index + 1))
    return found


def code_lines(lines):
    """The numbers of the lines that are not only blanks, comments, braces, or an include."""
    numbers = set()
    in_comment = False
    for number, line in enumerate(lines, 1):
        rest = re.sub(r"/\*.*?\*/|//.*", "", line)
        if in_comment:
            if "*/" not in rest:
                continue
            rest = rest.partition("*/")[2]
            in_comment = False
        if "/*" in rest:
            rest = rest.partition("/*")[0]
            in_comment = True
        if re.search(r"[^\s{}();]", rest) and not rest.startswith("#include"):
            numbers.add(number)
    return numbers


# ---- files ----


class Explained:
    """What the prose says about a text, which may be that of several files."""

    def __init__(self, size):
        self.kinds = [UNEXPLAINED] * (size + 1)
        self.marks = {}  # a line: the kind, page, anchor and title of what explains it best

    def add(self, kind, first, last, mark):
        """The prose says something about these lines; mark: where."""
        for line in range(first, last + 1):
            self.kinds[line] = max(self.kinds[line], kind)
        if first not in self.marks or kind > self.marks[first][0]:
            self.marks[first] = (kind, *mark)


class Source:
    """A file. owner is the chapter in whose pane it is shown, or None; name, how it is called
    there."""

    def __init__(self, path, owner, explained_texts):
        self.path = path
        self.source = path  # as a page has one, for messages
        self.owner = owner
        self.name = os.path.relpath(path, owner) if owner else path
        if path == "util.h":
            self.name = path
        self.url = (f"{owner}/{self.name}" if owner else path) + ".html"
        self.text = read(path)
        self.lines = self.text.rstrip("\n").split("\n")
        self.language = language_of(path)
        self.html = highlight(self.text, self.language)[: len(self.lines)]
        self.definitions = definitions(self.lines) if self.language == "c" else {}
        key = (os.path.basename(path), self.text)
        self.explained = explained_texts.setdefault(key, Explained(len(self.lines)))

    def anchor(self, line):
        return f"{self.name}:{line}"

    def find(self, snippet, after):
        """The first line of the snippet, preferably one after the given line; or None."""
        size = len(snippet)
        places = [
            index + 1
            for index in range(len(self.lines) - size + 1)
            if self.lines[index : index + size] == snippet
        ]
        later = [line for line in places if line > after]
        return (later or places or [None])[0]

    def shares(self):
        """How many lines of code there are of each kind."""
        counts = [0, 0, 0]
        for line in code_lines(self.lines):
            counts[self.explained.kinds[line]] += 1
        return counts


def chapters():
    return sorted(d for d in os.listdir(ROOT) if re.match(r"\d\d-", d))


def chapter_files(chapter):
    """What is compiled: the pair first, then the parts, each with its header."""
    names = [n for n in os.listdir(os.path.join(ROOT, chapter)) if re.search(r"\.[ch]$", n)]
    first = {"server.c": 0, "client.c": 1, "load.c": 2}
    names.sort(key=lambda n: (first.get(n, 9), n))
    files = [f"{chapter}/{name}" for name in names]
    if any('#include "../util.h"' in read(file) for file in files):
        files.append("util.h")
    return files


def step_files(chapter):
    directory = os.path.join(ROOT, chapter, "steps")
    names = sorted(n for n in os.listdir(directory) if n.endswith(".c"))
    return [f"{chapter}/steps/{name}" for name in names]
