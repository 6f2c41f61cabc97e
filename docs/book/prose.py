"""Markdown to HTML: the pages' prose, with its snippets, sessions, words and links joined to the
rest of the book."""
import itertools
import os
import re
import textwrap
from typing import NamedTuple

from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from markupsafe import escape

import kit

SLUG_DROPS = re.compile(r"[^\w\- ]")


def text_of(inline):
    """An inline token's text, without its marks."""
    return "".join(
        " " if child.type == "softbreak" else child.content for child in inline.children or []
    )


def slug(text):
    """The name that GitHub gives to a heading."""
    return SLUG_DROPS.sub("", text.lower()).replace(" ", "-")


def plain(text):
    """Text as it stands, mostly a picture made of letters. book.css makes it fit its columns."""
    columns = max(len(line) for line in text.split("\n"))
    return (
        f'<pre class="text" style="--columns: {columns}"><code>{escape(text)}</code></pre>\n'
    )


def hint(text):
    """A hint's text: code is between backticks, or in lines that begin with four blanks."""
    parts = []
    for is_code, lines in itertools.groupby(text.split("\n"), lambda line: line[:4] == "    "):
        part = "\n".join(lines)
        if is_code:
            parts.append(plain(textwrap.dedent(part)))
        elif part.strip():
            words = re.sub(r"(?<=[\w,])\n", " ", part.strip())  # within a sentence
            words = re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(words)))
            parts.append(f"<p>{words}</p>\n")
    return "".join(parts)


def link_to(href, html, **attributes):
    """A link around this HTML. A name of an attribute has _ for -, and may end with one: class_.
    Those without a value are left out."""
    more = "".join(
        f' {name.strip("_").replace("_", "-")}="{escape(value)}"'
        for name, value in attributes.items() if value
    )
    return f'<a href="{escape(href)}"{more}>{html}</a>'


class Cell(NamedTuple):
    """Of a table: the token that opens it, and its text."""
    token: Token
    text: str


def read_table(tokens, start):
    """The cells of the table that begins there: its heads, and the rows below them."""
    rows = []
    for at in range(start, len(tokens)):
        if tokens[at].type == "table_close":
            break
        if tokens[at].type == "tr_open":
            rows.append([])
        elif tokens[at].type in ("th_open", "td_open"):
            rows[-1].append(Cell(tokens[at], text_of(tokens[at + 1])))
    return rows[0], rows[1:]


def unbroken(command):
    """A command may be broken between its words, not after the hyphen of an option."""
    words = re.split(r"( +)", command)
    return "".join(
        f'<span class="short">{escape(word)}</span>' if "-" in word and len(word) <= 28
        else escape(word) for word in words
    )


class Renderer(RendererHTML):
    """env: {"page": Page, "book": Book}. A method has the name of the token that it renders."""

    def heading_open(self, tokens, idx, options, env):
        page, token = env["page"], tokens[idx]
        text = text_of(tokens[idx + 1])
        level = int(token.tag[1])
        page.heading = text
        if page.prefix:  # an exercise, among others on its page
            anchor = page.prefix if level == 1 else f"{page.prefix}-{slug(text)}"
            level += 1
        else:
            anchor = page.unique(slug(text))
        token.tag = f"h{level}"
        if level == 1:
            page.title = text
            return f'<h1 id="{escape(env["book"].identify(page, anchor))}">'
        page.section(level, anchor, text)
        return f'<{token.tag} id="{escape(env["book"].identify(page, anchor))}">'

    def heading_close(self, tokens, idx, options, env):
        page, book = env["page"], env["book"]
        tag = tokens[idx - 2].tag
        anchor = page.sections[-1][1] if tag != "h1" and page.sections else None
        mark = ""
        if anchor:
            href = book.link(page, page, anchor)
            mark = " " + link_to(href, "#", class_="anchor", aria_label=book.words["section_link"])
        return f"{mark}</{tag}>\n"

    # ---- links, words, pictures ----

    def link_open(self, tokens, idx, options, env):
        page, book = env["page"], env["book"]
        href = tokens[idx].attrs["href"]
        if re.match(r"[a-z]+:", href):
            return f'<a href="{escape(href)}">'
        target, anchor = book.resolve(page, href)
        if target is book.glossary and anchor and page is not target:
            page.meanings += 1
            tokens[idx].meta["term"] = True
            name = book.identify(page, f"term-{page.meanings}")
            page.open_term = (anchor, name)
            href = book.link(page, target, anchor)
            return f'<span class="term"><a href="{escape(href)}" aria-describedby="{name}">'
        return f'<a href="{escape(book.link(page, target, anchor))}"{page.aim(target)}>'

    def link_close(self, tokens, idx, options, env):
        page, book = env["page"], env["book"]
        if not page.open_term:
            return "</a>"
        anchor, name = page.open_term
        page.open_term = None
        meaning = book.meanings.get(anchor)
        if meaning is None:
            raise kit.Failed(f"{page.source}: the glossary has no {anchor}")
        return f'</a><span class="meaning" role="tooltip" id="{name}">{meaning}</span></span>'

    def image(self, tokens, idx, options, env):
        page, book = env["page"], env["book"]
        token = tokens[idx]
        src, size = book.picture(page, token.attrs["src"])
        alt = escape(self.renderInlineAsText(token.children, options, env))
        return f'<a class="picture" href="{src}"><img src="{src}" alt="{alt}"{size}></a>'

    # ---- code ----

    def code_inline(self, tokens, idx, options, env):
        page, book = env["page"], env["book"]
        content = tokens[idx].content
        # What is short stays in one line: a browser would break "-v" after its hyphen.
        short = ' class="short"' if len(content) <= 28 else ""
        # What is long may be broken where a name has a joint, if it does not fit otherwise.
        parts = escape(content)
        if len(content) > 12:
            parts = re.sub(r"(?<=[_./(,=])(?=\w)", "<wbr>", str(parts))
        html = f"<code{short}>{parts}</code>"
        depth = sum((t.type == "link_open") - (t.type == "link_close") for t in tokens[:idx])
        if depth or not page.chapter:
            return html
        name = re.sub(r"^(struct|enum|union) |\(\)$", "", content)
        found = book.definition(page, name)
        if not found:
            return html
        first, last = found[0].definitions[name]
        anchor = page.mention(name, found)
        return link_to(
            book.link_line(page, found[0], first), html, class_="name", target=page.target,
            data_to=last, id=anchor and book.identify(page, anchor),
        )

    def fence(self, tokens, idx, options, env):
        token = tokens[idx]
        language, _, rest = token.info.strip().partition(" ")
        where = f"{env['page'].source}:{(token.map or [0])[0] + 1}"
        env["page"].text(token.content)
        if language == "c":
            return self.snippet(token, rest.strip(), where, env)
        if language == "console":
            return self.session(token, rest.split(), env)
        if language in ("sh", "python", "make", "diff"):
            code = "\n".join(kit.highlight(token.content.rstrip("\n"), language))
            return (
                f'<div class="block" data-copy="all"><pre class="{language}"><code>{code}'
                "</code></pre></div>\n"
            )
        return plain(token.content)

    def code_block(self, tokens, idx, options, env):
        env["page"].text(tokens[idx].content)
        return plain(tokens[idx].content)

    def snippet(self, token, path, where, env):
        page, book = env["page"], env["book"]
        if not path:
            raise kit.Failed(f"{where}: a C snippet must name its file: ```c DIR/FILE")
        source = book.source(path, page.chapter)
        lines = token.content.rstrip("\n").split("\n")
        first = source.find(lines, page.last_line.get(path, 0))
        if first is None:
            raise kit.Failed(f"{where}: these lines are not in {path}")
        last = first + len(lines) - 1
        page.last_line[path] = last
        page.current_file = source
        page.snippets += 1
        anchor = f"snippet-{page.snippets}"
        source.explained.add(kit.SHOWN, first, last, (page, anchor, page.heading))
        book.same_lines(page, source, lines, anchor)
        page.step_anchors.setdefault(path, (anchor, page.heading))
        words = book.words["lines" if last > first else "line"].format(
            file=source.name, first=first, last=last)
        caption = link_to(
            book.link_line(page, source, first), escape(words), target=page.target, data_to=last)
        code = "\n".join(source.html[first - 1 : last])
        indent = min(len(line) - len(line.lstrip()) for line in lines if line.strip())
        columns = max(map(len, lines)) - indent
        return (
            f'<figure class="snippet" style="--columns: {columns}; --indent: {indent}"'
            f' id="{book.identify(page, anchor)}"><figcaption>{caption}'
            f'</figcaption><pre class="c"><code>{code}</code></pre></figure>\n'
        )

    def session(self, token, words, env):
        book = env["book"]
        needs = [w[6:] for w in words if w.startswith("needs=")]
        needs = [n for n in ",".join(needs).split(",") if n and n != "above"]
        directory = next((w for w in words if "=" not in w), None)
        caption = book.words["terminal"]
        if directory:
            caption = book.words["terminal_in"].format(directory=directory)
        if needs:
            caption += book.words["needs"].format(tools=", ".join(needs))
        out = []
        command = False
        for line in token.content.rstrip("\n").split("\n"):
            command = line.startswith("$ ") or command and line.startswith("> ")
            if command:
                out.append(f'<span class="prompt">{escape(line[:2])}</span>'
                           f'<span class="command">{unbroken(line[2:])}</span>')
            else:
                out.append(f'<span class="output">{escape(line)}</span>' if line else "")
        code = "\n".join(out)
        return (
            f'<figure class="block session" data-copy="commands"><figcaption>{escape(caption)}'
            f'</figcaption><pre class="console"><code>{code}</code></pre></figure>\n'
        )

    # ---- tables: their cells know their columns, for narrow screens ----

    def table_open(self, tokens, idx, options, env):
        heads, rows = read_table(tokens, idx)
        for cell in [*heads, *(cell for row in rows for cell in row)]:
            env["page"].text(cell.text)
        is_matrix = heads[0].text == "step"  # what each step survives
        for row in rows:
            for column, (head, cell) in enumerate(zip(heads, row)):
                if head.text.strip():
                    cell.token.attrs["data-label"] = head.text
                if is_matrix and column and cell.text not in ("✓", "–"):
                    cell.token.attrs["class"] = "fault"
        if is_matrix:
            env["page"].matrix = [head.text for head in heads], [
                [cell.text for cell in row] for row in rows]
        many = ' class="matrix"' if len(heads) > 6 else ""
        return f'<div class="table"><table{many}>\n'

    def table_close(self, tokens, idx, options, env):
        return "</table></div>\n"

    def th_open(self, tokens, idx, options, env):
        # A head without words is a cell: nothing stands there to be read out.
        if not text_of(tokens[idx + 1]).strip():
            tokens[idx].tag = tokens[idx + 2].tag = "td"
        else:
            tokens[idx].attrs["scope"] = "col"
        return self.renderToken(tokens, idx, options, env)

    def paragraph_open(self, tokens, idx, options, env):
        if tokens[idx + 1].type == "inline":
            env["page"].text(text_of(tokens[idx + 1]))
        return self.renderToken(tokens, idx, options, env)


PARSER = MarkdownIt("commonmark", renderer_cls=Renderer).enable("table")


def render(text, page, book):
    """The HTML of a document; notes in the page and in the book what is in there."""
    return PARSER.render(text, {"page": page, "book": book})


def glossary_meanings(path):
    """Anchor: what the word means, without the references to pages."""
    meanings = {}
    anchor = None
    tokens = PARSER.parse(kit.read(path))
    for at, token in enumerate(tokens):
        if token.type == "heading_open":
            anchor = slug(text_of(tokens[at + 1]))
        elif token.type == "paragraph_open" and anchor and anchor not in meanings:
            text = text_of(tokens[at + 1])
            sentences = re.split(r"(?<=[.:]) (?=[A-Z])", text)
            kept = [s for s in sentences if not s.startswith("See ")]
            meanings[anchor] = str(escape(" ".join(kept or sentences)))
    return meanings


def relative(url, start):
    """The address of a page as seen from another page, start."""
    return os.path.relpath(url, os.path.dirname(start) or ".")
