#!/usr/bin/env bats
# The book that `make book` makes of the documents and the sources.
# bats file_tags=book

load ../helpers/common

need_book_tools() {
  need markdown-it pygments jinja2
}

setup_file() {
  (need_book_tools) >/dev/null || return 0
  "$ROOT/docs/book/build.py" "$BATS_FILE_TMPDIR/book" >"$BATS_FILE_TMPDIR/log"
}

setup() {
  need_book_tools
  BOOK=$BATS_FILE_TMPDIR/book
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
