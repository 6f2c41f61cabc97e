#!/usr/bin/env bats
# The book that `make book` makes of the documents and the sources.
# bats file_tags=book

load ../helpers/common

need_book_tools() {
  need markdown-it pygments jinja2
}

# Builds the book once, and has one browser read it: each test below asks what that has found.
setup_file() {
  (need_book_tools) >/dev/null || return 0
  "$ROOT/docs/book/build.py" "$BATS_FILE_TMPDIR/book" >"$BATS_FILE_TMPDIR/log" || return
  (need chromium chromedriver selenium) >/dev/null || return 0
  timeout $((900 * PATIENCE)) "$ROOT/tests/helpers/browse_book.py" "$BATS_FILE_TMPDIR/book" \
    "$(axe_library)" >"$BATS_FILE_TMPDIR/seen" 2>&1 3>&- || true
}

axe_library() {
  local file
  file=$(npm root --global 2>/dev/null)/axe-core/axe.min.js
  [[ ! -e $file ]] || echo "$file"
}

setup() {
  need_book_tools
  BOOK=$BATS_FILE_TMPDIR/book
}

# finds_nothing_wrong NAME: in the check of that name in tests/helpers/browse_book.py.
finds_nothing_wrong() {
  need chromium chromedriver selenium
  run -0 cat "$BATS_FILE_TMPDIR/seen"
  assert_line "ok $1"
}

@test "the build says for each chapter how many lines of code no page explains" {
  run -0 cat "$BATS_FILE_TMPDIR/log"
  for chapter in "$ROOT"/0[1-9]-*; do
    assert_line --regexp \
      "^book: ${chapter##*/}: [0-9]+ lines of code: .* \([0-9]+ lines\) that no page explains$"
  done
}

@test "the book is the same, byte for byte, when it is built twice" {
  run -0 "$ROOT/docs/book/build.py" "$T/again"
  diff -r "$BOOK" "$T/again"
}

# small_kit: a copy of what the book is made of, to change.
small_kit() {
  mkdir "$T/kit"
  (cd "$ROOT" && tar -cf - --exclude=build --exclude=work --exclude=.git .) | tar -xf - -C "$T/kit"
}

@test "a snippet that is in no file fails the build, and so does a link that leads nowhere" {
  small_kit
  cd "$T/kit" || return
  printf '\n```c 01-basic-tcp/server.c\nint nowhere;\n```\n' >>docs/02-udp.md
  run -1 docs/book/build.py "$T/out"
  assert_output --regexp '^book: docs/02-udp\.md:[0-9]+: these lines are not in 01-basic-tcp/'
  cp "$ROOT/docs/02-udp.md" docs/
  printf '\n[nowhere](03-long-conn.md#nowhere)\n' >>docs/02-udp.md
  run -1 docs/book/build.py "$T/out"
  assert_output 'book: docs/02-udp.md: 03-long-conn.html has no #nowhere'
  [[ ! -e $T/out ]]
}

# What is there must not be lost by a slip of the fingers.
@test "the build replaces a book, and nothing else" {
  small_kit
  cd "$T/kit" || return
  run -1 docs/book/build.py docs
  assert_output 'book: docs is there, and is not a book'
  [[ -s docs/glossary.md ]]
  : >"$T/file"
  run -1 docs/book/build.py "$T/file"
  mkdir "$T/book"
  touch "$T/book"/{index.html,book.css,stale}
  run -0 docs/book/build.py "$T/book/"
  [[ -s $T/book/index.html && ! -e $T/book/stale && ! -e $T/book.new ]]
}

@test "the words around the prose may be of another language, if none is missing" {
  small_kit
  cd "$T/kit" || return
  sed 's/"before": .*/"before": "上一页",/' docs/book/en.json >docs/book/zh.json
  BOOK_WORDS=zh.json run -0 docs/book/build.py "$T/out"
  grep -q '上一页' "$T/out/02-udp.html"
  sed -i '/"before"/d; /"copied"/d' docs/book/zh.json
  BOOK_WORDS=zh.json run -1 docs/book/build.py "$T/out"
  assert_output 'book: BOOK_WORDS: no words for before, copied'
  BOOK_WORDS=xx.json run -1 docs/book/build.py "$T/out"
  assert_output --regexp '^book: .*No such file.*xx\.json'
}

# The real one takes a minute: here, a script stands for the browser.
@test "make book-pdf prints one page with everything, in which each link leads somewhere" {
  local page
  small_kit
  cd "$T/kit" || return
  mkdir "$T/bin"
  cat >"$T/bin/chromium" <<'SH'
#!/bin/sh
for word; do
    case $word in
    --print-to-pdf=*) echo PDF >"${word#*=}" ;;
    file://*) echo "$word" >page ;;
    esac
done
SH
  chmod +x "$T/bin/chromium"
  PATH=$T/bin:$PATH run -0 make -s book-pdf
  assert_output 'book: build/book.pdf'
  [[ -s build/book.pdf ]]
  page=$(<page)
  rm build/book.pdf
  printf '#!/bin/sh\necho "no display"\nexit 1\n' >"$T/bin/chromium"
  sed -i 's,"$here/build.py",true,' docs/book/print.sh # once is enough
  PATH=$T/bin:$PATH run -2 make -s book-pdf
  assert_line 'no display'
  assert_line 'book: chromium has printed nothing'
  python3 - "${page#file://}" <<'PYTHON'
import re, sys
text = open(sys.argv[1], encoding="utf-8").read()
ids = re.findall(r' id="([^"]*)"', text)
assert len(ids) == len(set(ids))
links = set(re.findall(r' href="#([^"]*)"', text))
assert len(links) > 1000, len(links)
assert links <= set(ids), links - set(ids)
for part in "Socket Stages", "04-threadpool/queue.c", 'id="glossary"':
    assert part in text, part
PYTHON
}

# ---- in a browser ----

@test "every link and anchor resolves" {
  finds_nothing_wrong links
}

@test "no page has more than 200 kB without pictures" {
  finds_nothing_wrong sizes
}

@test "no page has an error, asks for anything elsewhere, or scrolls sideways at 3 widths" {
  finds_nothing_wrong every_page
}

@test "axe-core finds nothing serious on any page of prose, nor in each other kind of page" {
  need axe-core
  finds_nothing_wrong axe
}

@test "a click on a snippet, or scrolling to it, marks its lines in the file" {
  finds_nothing_wrong snippet_to_lines
}

@test "a second click on a snippet leads back to its lines, wherever the pane is by then" {
  finds_nothing_wrong snippet_again
}

@test "a mark in a file's margin leads back to the prose that explains the line" {
  finds_nothing_wrong line_to_prose
}

@test "each line has a link of its own" {
  finds_nothing_wrong link_of_a_line
}

@test "tabs lead from file to file" {
  finds_nothing_wrong tabs
}

@test "the name of a function in the prose leads to the function" {
  finds_nothing_wrong names_in_the_prose
}

@test "search finds words and functions on all pages, from the keyboard" {
  finds_nothing_wrong search
}

@test "the table of contents opens, also on a phone, and closes by Escape or a click elsewhere" {
  finds_nothing_wrong contents
}

@test "the arrow keys turn pages" {
  finds_nothing_wrong keys
}

@test "the copy button copies commands only" {
  finds_nothing_wrong copy
}

@test "dark and light follow the reader's setting, then the button, which is remembered" {
  finds_nothing_wrong theme
}

@test "a word's meaning appears at the pointer and at the keyboard's focus" {
  finds_nothing_wrong words
}

@test "on a phone, code comes below the prose" {
  finds_nothing_wrong narrow
}

@test "hints are folded" {
  finds_nothing_wrong hints
}

@test "a step stands beside the one before it, with what has changed" {
  finds_nothing_wrong steps
}

@test "without JavaScript, prose, code and pictures are all there" {
  finds_nothing_wrong without_script
}
