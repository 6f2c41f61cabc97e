#!/usr/bin/env bats
# What the documents say is what the code and the programs do.
# bats file_tags=docs

bats_require_minimum_version 1.5.0

setup() {
  bats_load_library bats-support
  bats_load_library bats-assert
  cd "$BATS_TEST_DIRNAME/.." || return 1
}

# Runs the console blocks of a document. A skipped block is told, also when the test passes.
console() {
  [[ -z ${SAN-} ]] || skip 'the documents show the plain programs, not instrumented ones'
  run timeout 300 tests/bin/doc-console "$1"
  assert_success
  grep ': skipped: ' <<<"$output" | sed 's/^/# /' >&3 || true
  if [[ $output == *'all of its console blocks were skipped'* ]]; then
    skip "${lines[0]}"
  fi
}

@test "every C snippet stands in the file it names, word for word" {
  run tests/bin/doc-snippets README.md docs/*.md
  assert_success
}

@test "every relative link resolves, and every heading it names is there" {
  run tests/bin/doc-links README.md docs/*.md
  assert_success
}

@test "no document is left out of this file" {
  for doc in README.md docs/*.md; do
    grep -qx "  console $doc" "$BATS_TEST_FILENAME" || fail "$doc has no console test here"
  done
}

# is_tested TARGET: a link of from-python leads to something that tests run.
is_tested() {
  local file=${1%%#*}
  case $file in
  ../*/exercises/*)
    [[ $file =~ ^../0([1-8])-[a-z-]+/exercises/([0-9]+)- ]] &&
      grep -qx "  verify ${BASH_REMATCH[1]}-${BASH_REMATCH[2]}" tests/exercises.bats
    ;;
  '') is_tested from-python.md ;; # a heading of its own
  ../util.h) [[ -f tests/unit/util.c ]] ;;
  *.md)
    grep -qx "  console docs/$file" "$BATS_TEST_FILENAME" &&
      { [[ $file != 0[1-9]-* ]] || [[ -s tests/${file%.md}.bats ]]; }
    ;;
  *) false ;;
  esac
}

@test "from-python: each program of the articles has a home, which is there and is tested" {
  local row target rows ids
  rows=$(sed -n '/^## Each program of the articles/,/^## What/p' docs/from-python.md |
    grep -E '^\| [A-E][0-9] \|')
  ids=$(awk '{ print $2 }' <<<"$rows" | xargs)
  assert_equal "$ids" "$(echo A{1..5} B{1..9} C{1..5} D{1..4} E{1..8})"
  while read -r row; do
    row=${row%|}
    [[ ${row##*| } == *']('* ]] || fail "no link: $row"
    while read -r target; do
      is_tested "$target" || fail "not tested: $target"
    done < <(grep -oP '\]\(\K[^)]*' <<<"${row##*| }")
  done <<<"$rows"
}

@test "the doc of each chapter lists all of its exercises, as they describe themselves" {
  local about id row
  for about in 0*/exercises/*/about; do
    [[ $about =~ ^0([1-8])-[a-z-]+/exercises/([0-9]+)- ]]
    id=${BASH_REMATCH[1]}-${BASH_REMATCH[2]}
    row="| [$id](../${about%about}README.md) | $(sed -n 's/^kind=//p' "$about") |"
    row+=" $(sed -n 's/^title=//p' "$about") | $(sed -n 's/^minutes=//p' "$about") |"
    grep -qxF "$row" "docs/${about%%/*}.md" || fail "docs/${about%%/*}.md has no line: $row"
  done
}

@test "README: its commands print what it shows" {
  console README.md
}

@test "00-sockets: its commands print what it shows" {
  console docs/00-sockets.md
}

@test "01-basic-tcp: its commands print what it shows" {
  console docs/01-basic-tcp.md
}

@test "02-udp: its commands print what it shows" {
  console docs/02-udp.md
}

@test "03-long-conn: its commands print what it shows" {
  console docs/03-long-conn.md
}

@test "04-threadpool: its commands print what it shows" {
  console docs/04-threadpool.md
}

@test "05-select: its commands print what it shows" {
  console docs/05-select.md
}

@test "06-epoll: its commands print what it shows" {
  console docs/06-epoll.md
}

@test "07-chat: its commands print what it shows" {
  console docs/07-chat.md
}

@test "08-tls: its commands print what it shows" {
  console docs/08-tls.md
}

@test "benchmarks: its commands print what it shows" {
  console docs/benchmarks.md
}

@test "exercises: its commands print what it shows" {
  console docs/exercises.md
}

@test "from-python: its commands print what it shows" {
  console docs/from-python.md
}

@test "tools: its commands print what it shows" {
  console docs/tools.md
}
