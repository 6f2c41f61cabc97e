#!/usr/bin/env python3
"""build.py OUT [--print]: makes the book in the directory OUT, which is replaced if it is a book.

`make book` runs it. OUT/index.html can be opened from the disk. With --print, OUT/index.html is one
page with everything, from which `make book-pdf` makes a PDF.

The pages are the kit's own documents. What stands around them is in templates/, book.css and
book.js, and the words of that are in en.json: BOOK_WORDS=xx.json takes others.
"""
import difflib
import itertools
import json
import os
import re
import shutil
import sys
from urllib.parse import unquote

sys.dont_write_bytecode = True  # nothing is left beside the sources
try:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    import kit
    import prose
except ImportError as missing:
    # The system's packages belong to the system's Python, which another one may hide.
    system = "/usr/bin/python3"
    if os.path.exists(system) and not os.path.samefile(sys.executable, system):
        os.execv(system, [system, *sys.argv])
    sys.exit(f"book: {missing}; make setup installs what the book needs")

HERE = os.path.dirname(os.path.abspath(__file__))
FIRST = ["README.md", "docs/00-sockets.md"]
LAST = [
    "docs/exercises.md", "docs/tools.md", "docs/from-python.md", "docs/benchmarks.md",
    "docs/io-uring.md", "docs/glossary.md", "docs/teaching.md", "docs/design.md",
    "docs/CONTRIBUTING.md", "docs/CHANGELOG.md",
]
MAX_PAGE = 200_000  # bytes, with book.css and book.js
CONTEXT = 6  # lines of a comparison around what has changed


def fold(rows):
    """The rows of a comparison, with one row in place of many that are the same."""
    out = []
    for same, run in itertools.groupby(rows, lambda row: row[0] == "same"):
        run = list(run)
        if same and len(run) > 3 * CONTEXT:
            count = len(run) - 2 * CONTEXT
            run[CONTEXT:-CONTEXT] = [("folded", count, "", count, "")]
        out += run
    return out


def svg_attributes(text):
    """Its size, for which the page keeps room, and whether it knows what dark means."""
    head = re.search(r"<svg\b[^>]*>", text).group()
    sizes = [re.search(rf'\b{side}="([\d.]+)(?:px|pt)?"', head) for side in ("width", "height")]
    attributes = ""
    if all(sizes):
        width, height = (round(float(size.group(1))) for size in sizes)
        attributes = f' width="{width}" height="{height}"'
    if "prefers-color-scheme" in text:
        attributes += ' class="adapts"'
    return attributes


class Page:
    """One page of prose. source is its Markdown file (for messages), url its place in the book."""

    def __init__(self, source, url, chapter=None):
        self.source = source
        self.url = url
        self.chapter = chapter
        self.target = "code" if chapter else None  # the pane that shows a chapter's files
        self.title = ""
        self.html = ""
        self.prefix = ""  # of the anchors of an exercise
        self.sections = []  # (level, anchor, text)
        self.texts = [[]]  # for the search: of what stands before the first section, and of each
        self.anchors = []
        self.step_anchors = {}  # a step's file: the snippet and the heading that first show it
        self.matrix = None  # of the steps: the heads of the table's columns, and its rows
        # While it is rendered:
        self.heading = ""  # the last one
        self.meanings = 0  # how many words of the glossary there were
        self.open_term = None  # the link to the glossary that is not closed: (anchor, id)
        self.snippets = 0
        self.last_line = {}  # a file: where its last snippet ended
        self.current_file = None  # of the last snippet
        self.mentions = set()  # (path, name) of what the prose has named

    def unique(self, anchor):
        """The anchor, or, where the page has it already, the anchor with a number."""
        tries = 0
        name = anchor
        while name in self.anchors:
            tries += 1
            name = f"{anchor}-{tries}"
        return name

    def section(self, level, anchor, text):
        self.anchors.append(anchor)
        self.sections.append((level, anchor, text))
        self.texts.append([])

    def text(self, text):
        self.texts[-1].append(text)

    def aim(self, target):
        """The attribute that opens a source file of this chapter in the pane beside the prose."""
        aimed = self.target and isinstance(target, kit.Source) and target.owner == self.chapter
        return f' target="{self.target}"' if aimed else ""

    def mention(self, name, sources):
        """Notes that the prose names what these files define. An anchor, if it does so first."""
        new = [s for s in dict.fromkeys(sources) if (s.path, name) not in self.mentions]
        if not new:
            return None
        anchor = self.unique(f"name-{name}")
        self.anchors.append(anchor)
        for source in new:
            self.mentions.add((source.path, name))
            source.explained.add(
                kit.NAMED, *source.definitions[name], (self, anchor, self.heading))
        return anchor


def read_words():
    """What stands around the prose, in some language: no word of en.json may be missing."""
    english, words = (json.loads(kit.read(f"docs/book/{name}"))
                      for name in ("en.json", os.environ.get("BOOK_WORDS", "en.json")))
    missing = [key for key in english if key not in words]
    missing += [key for key in english["script"] if key not in words.get("script", ())]
    if missing:
        raise kit.Failed(f"BOOK_WORDS: no words for {', '.join(missing)}")
    return words


class Book:
    """single: one page with everything, to be printed."""

    def __init__(self, out, single):
        self.out = out
        self.single = single
        self.words = read_words()
        self.sources = {}  # (path, owner): a kit.Source
        self.explained_texts = {}  # what all sources with the same text share: a kit.Explained
        self.pictures = set()  # paths
        self.links = []  # (page, target, anchor), to be checked
        self.ids = set()  # (url, anchor)
        self.walks = {}  # a chapter: the page that lists its steps
        self.written = 0
        self.shared_size = sum(
            os.path.getsize(os.path.join(HERE, name)) for name in ("book.css", "book.js"))
        self.templates = Environment(
            loader=FileSystemLoader(os.path.join(HERE, "templates")), autoescape=True,
            undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
        )
        self.templates.globals.update(t=self.words, book=self)
        self.printed = {}  # of each text of a source file, the one that the single page has
        self.meanings = prose.glossary_meanings("docs/glossary.md")
        self.chapters = kit.chapters()
        self.pages = []  # in their order
        self.by_file = {}  # a path: its page
        self.list_pages()
        self.glossary = self.by_file["docs/glossary.md"]

    def list_pages(self):
        for path in FIRST:
            self.add(path)
        for chapter in self.chapters:
            self.add(f"docs/{chapter}.md", chapter)
            self.add(f"{chapter}/exercises")
        for path in LAST:
            self.add(path)
        for name in sorted(os.listdir(os.path.join(kit.ROOT, "docs"))):
            if name.endswith(".md") and f"docs/{name}" not in self.by_file:
                self.add(f"docs/{name}")

    def add(self, path, chapter=None):
        url = path.removeprefix("docs/").removesuffix(".md") + ".html"
        page = Page(path, "index.html" if path == "README.md" else url, chapter)
        self.pages.append(page)
        self.by_file[path] = page

    # ---- where things are ----

    def source(self, path, chapter):
        owner = chapter if path == "util.h" else path.split("/")[0]
        owner = owner if owner in self.chapters else None
        if (path, owner) not in self.sources:
            try:
                self.sources[path, owner] = kit.Source(path, owner, self.explained_texts)
            except OSError as error:
                raise kit.Failed(f"{path}: {error.strerror}") from error
        return self.sources[path, owner]

    def resolve(self, page, href):
        """What a relative link leads to: a page or a file of the book, and the anchor there."""
        path, _, anchor = unquote(href).partition("#")
        if not path:
            return page, anchor
        path = os.path.normpath(os.path.join(os.path.dirname(page.source), path))
        if path in self.by_file:
            return self.by_file[path], anchor
        exercise = re.match(r"(\d\d-[^/]+)/exercises/(\d+)-[^/]+(/README.md)?$", path)
        if exercise:
            chapter = exercise.group(1)
            prefix = f"{int(chapter[:2])}-{exercise.group(2)}"
            return self.by_file[f"{chapter}/exercises"], prefix + (anchor and "-" + anchor)
        steps = re.match(r"(\d\d-[^/]+)/steps$", path)
        if steps:
            return self.by_file[path], ""
        if os.path.isfile(os.path.join(kit.ROOT, path)):
            return self.source(path, page.chapter), anchor
        raise kit.Failed(f"{page.source}: {href}: the book has no such page")

    def key(self, url):
        return re.sub(r"[^\w-]", "-", url.removesuffix(".html"))

    def identify(self, page, anchor):
        """The id of an anchor. In the single page each anchor has its page before it."""
        self.ids.add((page.url, anchor))
        return f"{self.key(page.url)}.{anchor}" if self.single else anchor

    def link(self, page, target, anchor=""):
        """An href. What the single page leaves out has none there: see drop_dead_links."""
        self.links.append((page, target, anchor))
        if self.single:
            if isinstance(target, kit.Source):
                target = self.printed.get((os.path.basename(target.path), target.text), target)
            return "#" + self.key(target.url) + (f".{anchor}" if anchor else "")
        path = "" if target is page and anchor else prose.relative(target.url, page.url)
        return path + (f"#{anchor}" if anchor else "")

    def link_line(self, page, source, line):
        return self.link(page, source, source.anchor(line))

    def definition(self, page, name):
        """Where the name that the prose says is defined, in order: the file of the last snippet,
        the chapter's programs and parts, their headers."""
        if not re.fullmatch(r"[A-Za-z_]\w{2,}", name) or name in ("main", "client", "server"):
            return []
        files = [self.source(p, page.chapter) for p in kit.chapter_files(page.chapter)]
        files.sort(key=lambda source: source.path.endswith(".h"))
        if page.current_file:
            files.insert(0, page.current_file)
        return [source for source in files if name in source.definitions]

    def same_lines(self, page, shown, lines, anchor):
        """What the prose shows of a step, it shows of the chapter's own programs as well, if they
        have the same lines: from three on."""
        if len(lines) < 3:
            return
        for path in kit.chapter_files(page.chapter) if page.chapter else ():
            source = self.source(path, page.chapter)
            first = source is not shown and source.find(lines, 0)
            if first:
                last = first + len(lines) - 1
                source.explained.add(kit.SHOWN, first, last, (page, anchor, page.heading))

    def picture(self, page, src):
        """The address of a picture, and more attributes for its element."""
        path = os.path.normpath(os.path.join(os.path.dirname(page.source), src))
        if not os.path.isfile(os.path.join(kit.ROOT, path)):
            raise kit.Failed(f"{page.source}: no picture {src}")
        self.pictures.add(path)
        attributes = svg_attributes(kit.read(path)) if path.endswith(".svg") else ""
        return prose.relative(self.picture_url(path), page.url), attributes

    def picture_url(self, path):
        return "pictures/" + os.path.basename(path)

    # ---- pages ----

    def render_pages(self):
        for chapter in self.chapters:
            self.walks[chapter] = self.step_walks(chapter)
        for page in self.pages:
            if page.source.endswith("/exercises"):
                page.html = self.exercises(page)
            else:
                page.html = prose.render(kit.read(page.source), page, self)

    def exercises(self, page):
        """The HTML of the page with all exercises of a chapter."""
        chapter = page.source.split("/")[0]
        page.title = self.words["exercises_of"].format(chapter=chapter)
        names = os.listdir(os.path.join(kit.ROOT, page.source))
        names.sort(key=lambda name: int(name.split("-")[0]))
        items = [self.exercise(page, f"{chapter}/exercises/{name}") for name in names]
        page.source = f"{chapter}/exercises"
        page.prefix = ""
        return self.templates.get_template("exercises.html").render(
            page=page, items=items, chapter=self.by_file[f"docs/{chapter}.md"])

    def exercise(self, page, directory):
        """What the template shows of one exercise. While it is rendered, the page is that of its
        own document."""
        chapter, _, name = directory.split("/")
        page.source = f"{directory}/README.md"
        page.prefix = f"{int(chapter[:2])}-{name.split('-')[0]}"
        about = kit.read(f"{directory}/about").splitlines()
        hints = sorted(f for f in os.listdir(os.path.join(kit.ROOT, directory))
                       if f.startswith("hint-"))
        return {
            "id": page.prefix,
            "about": dict(line.split("=", 1) for line in about if "=" in line),
            "html": prose.render(kit.read(page.source), page, self),
            "hints": [prose.hint(kit.read(f"{directory}/{hint}").strip("\n")) for hint in hints],
        }

    # ---- steps ----

    def step_walks(self, chapter):
        """One page for each step: its programs beside those of the step before."""
        steps = {}
        for path in kit.step_files(chapter):
            title, _, role = re.fullmatch(
                r"(\d+-.*?)(-(server|client))?\.c", os.path.basename(path)).groups()
            steps.setdefault(title, {})[role or "server"] = path
        titles = sorted(steps, key=lambda title: int(title.split("-")[0]))
        last = {role for files in steps.values() for role in files}
        steps["server"] = {role: f"{chapter}/{role}.c" for role in ("server", "client")
                           if role in last}
        walks, before = [], {}
        for title in [*titles, "server"]:
            walk = Page(f"{chapter}/steps/{title}", f"{chapter}/steps/{title}.html")
            walk.step = title
            walk.files = [
                (role, before.get(role), path) for role, path in sorted(
                    steps[title].items(), reverse=True)
            ]
            before.update(steps[title])
            walks.append(walk)
        index = Page(f"{chapter}/steps", f"{chapter}/steps/index.html")
        index.walks = walks
        self.by_file[f"{chapter}/steps"] = index
        return index

    def compare(self, page, old_path, path, chapter):
        """Rows of the two files side by side: (kind, old line, old HTML, line, HTML)."""
        new = self.source(path, chapter)
        if not old_path:
            return [("same", None, None, n, h) for n, h in enumerate(new.html, 1)], 0
        old = self.source(old_path, chapter)
        rows, changes = [], 0
        matcher = difflib.SequenceMatcher(None, old.lines, new.lines, autojunk=False)
        for kind, a, b, c, d in matcher.get_opcodes():
            changes += kind != "equal"
            for offset in range(max(b - a, d - c)):
                left = (a + offset + 1, old.html[a + offset]) if a + offset < b else (None, None)
                right = (c + offset + 1, new.html[c + offset]) if c + offset < d else (None, None)
                first = kind != "equal" and offset == 0
                rows.append(("same" if kind == "equal" else "first" if first else "changed",
                             *left, *right))
        return fold(rows), changes

    def survives(self, chapter, walk, before):
        """What the table of the chapter's page says about a step: (client, before, now)."""
        matrix = self.by_file[f"docs/{chapter}.md"].matrix
        if not matrix:
            return []
        heads, rows = matrix

        def row(title):
            if title == "server":
                return rows[-1]
            return next((r for r in rows if r[0].startswith(title)), None)

        now, then = row(walk.step), before and row(before.step)
        if not now:
            return []
        return [
            (head, then[i] if then else "", now[i]) for i, head in enumerate(heads) if i
        ]

    def write_steps(self, chapter):
        index = self.walks[chapter]
        page = self.by_file[f"docs/{chapter}.md"]
        for at, walk in enumerate(index.walks):
            before = index.walks[at - 1] if at else None
            after = index.walks[at + 1] if at + 1 < len(index.walks) else None
            walk.title = f"{chapter}, {walk.step if walk.step != 'server' else 'server.c'}"
            programs = []
            for role, old, path in walk.files:
                rows, changes = self.compare(walk, old, path, chapter)
                programs.append({
                    "role": role, "rows": rows, "changes": changes,
                    "old": old and self.source(old, chapter), "new": self.source(path, chapter),
                })
            walk.explained = next(
                (page.step_anchors[path] for _, _, path in walk.files
                 if path in page.step_anchors), None)
            self.write(walk, "walk.html", chapter=page, index=index, before=before, after=after,
                       programs=programs, explained=walk.explained, number=at + 1,
                       survives=self.survives(chapter, walk, before))
        index.title = self.words["steps_of"].format(chapter=chapter)
        self.write(index, "steps.html", chapter=page, walks=index.walks)

    # ---- output ----

    def put(self, url, text):
        path = os.path.join(self.out, url)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        self.written += 1
        size = len(text.encode()) + self.shared_size
        if url.endswith(".html") and not self.single and size > MAX_PAGE:
            raise kit.Failed(f"{url}: {size} bytes; a page has {MAX_PAGE} at most")

    def write(self, page, template, **values):
        root = prose.relative(".", page.url)
        self.ids.add((page.url, ""))
        self.put(page.url, self.templates.get_template(template).render(
            page=page, root="" if root == "." else root + "/", **values))

    def write_site(self):
        for at, page in enumerate(self.pages):
            self.write(
                page, "page.html", before=self.pages[at - 1] if at else None,
                after=self.pages[at + 1] if at + 1 < len(self.pages) else None,
                pane=self.source(f"{page.chapter}/server.c", page.chapter)
                if page.chapter else None,
                steps=self.walks.get(page.chapter))
        for chapter in self.chapters:
            self.write_steps(chapter)
            for path in kit.chapter_files(chapter) + kit.step_files(chapter):
                self.source(path, chapter)
        done = set()
        while todo := sorted(set(self.sources) - done, key=str):
            for key in todo:
                self.write_source(self.sources[key])
                done.add(key)
        self.put("search.js", self.search_index())

    def write_source(self, source):
        tabs, steps = [], []
        if source.owner:
            tabs = [self.source(p, source.owner) for p in kit.chapter_files(source.owner)]
            steps = [self.source(p, source.owner) for p in kit.step_files(source.owner)]
        for line in range(1, len(source.lines) + 1) if source.owner else ():
            self.ids.add((source.url, source.anchor(line)))
        page = self.by_file.get(f"docs/{source.owner}.md")
        self.write(source, "source.html", tabs=tabs, steps=steps, chapter=page,
                   shares=source.shares() if source.language == "c" else None)

    def search_index(self):
        """[url, page, section, text] for each section, and for each definition."""
        entries = []
        for page in self.pages:
            heads = [("", "")] + [(anchor, text) for _, anchor, text in page.sections]
            for (anchor, head), texts in zip(heads, page.texts):
                text = re.sub(r"\s+", " ", " ".join(texts))
                url = page.url + (f"#{anchor}" if anchor else "")
                entries.append([url, page.title, head, text])
        seen = set()
        for (path, owner), source in sorted(self.sources.items(), key=str):
            if source.language != "c" or (os.path.basename(path), source.text) in seen:
                continue
            seen.add((os.path.basename(path), source.text))
            for name, (first, last) in sorted(source.definitions.items(), key=lambda d: d[1]):
                text = re.sub(r"\s+", " ", " ".join(source.lines[first - 1 : last]))
                entries.append([f"{source.url}#{source.anchor(first)}", path, name, text])
        return "bookIndex(" + json.dumps(entries, ensure_ascii=False, indent=0) + ");\n"

    def choose_printed(self):
        for chapter in self.chapters:
            for path in kit.step_files(chapter) + kit.chapter_files(chapter):
                source = self.source(path, chapter)
                self.printed.setdefault((os.path.basename(path), source.text), source)

    def write_single(self):
        text = self.templates.get_template("single.html").render(
            pages=self.pages, sources=list(self.printed.values()), root="")
        ids = set(re.findall(r' id="([^"]*)"', text))
        used = set(re.findall(r' (?:href="#|aria-describedby=")([^"]*)"', text))
        text = re.sub(r' href="#([^"]*)"', lambda m: m[0] if m[1] in ids else "", text)
        # A PDF keeps all others, one for each line of the programs, and becomes twice as large.
        text = re.sub(r' id="([^"]*)"', lambda m: m[0] if m[1] in used else "", text)
        self.put("index.html", text)

    def copy_files(self):
        for path in sorted(self.pictures):
            target = os.path.join(self.out, self.picture_url(path))
            os.makedirs(os.path.dirname(target), exist_ok=True)
            shutil.copyfile(os.path.join(kit.ROOT, path), target)
        for name in ("book.css", "book.js"):
            shutil.copyfile(os.path.join(HERE, name), os.path.join(self.out, name))

    def check_links(self):
        urls = {url for url, _ in self.ids}
        for page, target, anchor in self.links:
            known = (target.url, anchor) in self.ids if anchor else target.url in urls
            if not known:
                raise kit.Failed(f"{page.source}: {target.url} has no #{anchor}")

    def report(self):
        """How much of each chapter's code the prose explains."""
        for chapter in self.chapters:
            counts = [0, 0, 0]
            for path in kit.chapter_files(chapter):
                if path != "util.h":
                    for kind, count in enumerate(self.source(path, chapter).shares()):
                        counts[kind] += count
            whole = sum(counts)
            share = [round(100 * count / whole) for count in counts]
            print(f"book: {chapter}: {whole} lines of code: {share[kit.SHOWN]} % shown by its "
                  f"page, {share[kit.NAMED]} % of something that a page names, "
                  f"{share[kit.UNEXPLAINED]} % ({counts[0]} lines) that no page explains")
        print(f"book: {self.written} files in {self.out}")


def is_other(out):
    """Whether something is there that is not a book, and should stay."""
    if os.path.isdir(out):
        names = os.listdir(out)
        return bool(names) and not {"index.html", "book.css"} <= set(names)
    return os.path.lexists(out)


def make(out, single):
    """Writes the book beside its place, checks it, and puts it there."""
    if is_other(out):
        raise kit.Failed(f"{out} is there, and is not a book")
    book = Book(out + ".new", single)
    shutil.rmtree(book.out, ignore_errors=True)
    try:
        if single:
            book.choose_printed()
        book.render_pages()
        if single:
            book.write_single()
        else:
            book.write_site()
            book.check_links()
        book.copy_files()
        shutil.rmtree(out, ignore_errors=True)
        os.rename(book.out, out)
        book.out = out
    finally:
        shutil.rmtree(out + ".new", ignore_errors=True)
    return book


def main():
    args = [arg for arg in sys.argv[1:] if arg != "--print"]
    if len(args) != 1:
        sys.exit("usage: build.py OUT [--print]")
    try:
        book = make(args[0].rstrip("/"), "--print" in sys.argv)
    except (kit.Failed, OSError) as failure:
        sys.exit(f"book: {failure}")
    if not book.single:
        book.report()


if __name__ == "__main__":
    main()
