#!/usr/bin/env bats
# What the documents say is what the code and the programs do.
# bats file_tags=docs

load helpers/common
cd "$ROOT" || exit

# The commands of a page mostly wait, so the pages are run side by side.
setup_file() {
  local doc pages=()
  [[ -z ${SAN-} ]] || return 0
  for doc in docs/*.md README.md; do
    pages+=("run_blocks $doc")
  done
  ahead "${pages[@]}"
}

# Where there are no network namespaces, the pages wait for each other.
run_blocks() {
  timeout $((900 * PATIENCE)) tests/bin/doc-console "$1"
}

# Runs the console blocks of a document. A skipped block is told, also when the test passes.
console() {
  [[ -z ${SAN-} ]] || skip 'the documents show the plain programs, not instrumented ones'
  run seen run_blocks "$1"
  assert_success
  grep ': skipped: ' <<<"$output" | sed 's/^/# /' >&3 || true
  if [[ $output == *'all of its sessions were skipped'* ]]; then
    skip "${lines[0]}"
  fi
}

@test "every C snippet is in the file that it names, word for word" {
  run tests/bin/doc-snippets README.md docs/*.md
  assert_success
}

@test "every relative link resolves, and so does every heading that it names" {
  run tests/bin/doc-links README.md docs/*.md
  assert_success
}

@test "each term of the glossary is linked or explained where a page first uses it" {
  run tests/bin/doc-terms README.md docs/*.md
  assert_success
}

@test "each call, flag and type of a chapter's programs is named on a page up to the chapter's" {
  run tests/bin/doc-calls 0[1-9]-*
  assert_success
}

# A shell gives the number of a job that has ended to no other job before it has reported the end,
# at its next prompt (bash(1), JOB CONTROL). Without a wait, the next session's first job could be
# the second, and its "kill %1" would end nothing.
@test "a session whose last command ends a job by its number waits for the end" {
  # shellcheck disable=SC2016  # awk's
  run -0 awk '
    /^```/ {
      if (last ~ /kill [^;]*(%[0-9]|\$!)/ && last !~ /wait/)
        print FILENAME ":" line ": add \"; wait\": " last
      inside = !inside && /^```console/
      last = ""
    }
    inside && /^\$ / { last = $0; line = FNR }' README.md docs/*.md
  assert_output ''
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

@test "from-python: for each program of the articles, the page links a tested program of ours" {
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
    done < <(grep -oE '\]\([^)]*' <<<"${row##*| }" | cut -c 3-)
  done <<<"$rows"
}

# With the programs of the chapters. Those of exercises are their solutions' affair.
@test "from-python: each client of the articles does with our servers what its row says" {
  need python3
  local row id homes home result chapter rows=0
  while IFS='|' read -r _ id _ homes result _; do
    for home in ${homes//,/ }; do
      [[ $home == 0? ]] || continue
      chapter=("$ROOT/$home"-*/)
      quote SERVER "${chapter[0]}server"
      NAME=$id-$home start_server
      run -0 timeout 60 python3 tests/helpers/articles.py "${id// /}" "$PORT" 08-tls/certs/ca.pem
      assert_equal "$id $home $output" "$id $home ${result// /}"
      rows=$((rows + 1))
    done
  done < <(sed -n '/^| | the article.s client/,/^$/p' docs/from-python.md | grep '^| [A-E][0-9]')
  ((rows >= 15))
}

@test "the doc of each chapter lists all of its exercises with their titles and minutes" {
  local about id row key value page
  local -A is=() text=()
  for page in 0*/; do
    text[${page%/}]=$'\n'$(<"docs/${page%/}.md")$'\n'
  done
  for about in 0*/exercises/*/about; do
    [[ $about =~ ^0([1-8])-[a-z-]+/exercises/([0-9]+)- ]]
    id=${BASH_REMATCH[1]}-${BASH_REMATCH[2]}
    while IFS="=" read -r key value; do
      [[ ! $key ]] || is[$key]=$value
    done <"$about"
    row="| [$id](../${about%about}README.md) | ${is[kind]} | ${is[title]} | ${is[minutes]} |"
    [[ ${text[${about%%/*}]} == *$'\n'"$row"$'\n'* ]] ||
      fail "docs/${about%%/*}.md has no line: $row"
  done
}

# Where the bug is, the hints say.
@test "no README of a hunt says in which file the bug is" {
  local readme text
  for readme in 0*/exercises/*/README.md; do
    text=$(tr '\n' ' ' <"$readme")
    [[ $text != *'bug is in `'* ]] || fail "$readme says where the bug is"
  done
}

# A test that was renamed leaves a dead name behind: docs/exercises.md, "about".
@test "every test that an exercise's about file names exists, and every pattern fits one" {
  need python3
  run -0 python3 - <<'END'
import glob, os, re

def names(*files):
    return [n for f in files for n in re.findall(r'^@test "(.*)" \{', open(f).read(), re.M)]

def alternatives(pattern): # one level of parentheses: 'a|b(c|d).*' is 'a', 'bc.*' and 'bd.*'
    for part in re.split(r'\|(?![^(]*\))', pattern):
        before, inner, after = re.fullmatch(r'([^(]*)\(?([^)]*)\)?(.*)', part).groups()
        for each in inner.split('|'):
            yield before + each + after

found = 0
for about in sorted(glob.glob('0*/exercises/*/about')):
    number = re.match(r'0(\d).*/(\d+)-', about)
    chapter = names(*glob.glob(f'tests/{about[:2]}-*.bats'))
    own = f'tests/exercises/{number[1]}-{number[2]}.bats'
    tests = chapter + (names(own) if os.path.exists(own) else [])
    for key, value in re.findall('^(.*?)=(.*)$', open(about).read(), re.M):
        if key in ('tests', 'also'):
            found += 1
            if value not in tests:
                print(f'{about}: {key}: no such test: {value}')
        elif key in ('changes', 'keeps'):
            for pattern in alternatives(value):
                if not any(re.fullmatch(pattern, name) for name in chapter):
                    print(f'{about}: {key}: no test of the chapter fits: {pattern}')
if not found:
    print('no exercise names a test')
END
  refute_output
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

@test "CHANGELOG: its commands print what it shows" {
  console docs/CHANGELOG.md
}

@test "CONTRIBUTING: its commands print what it shows" {
  console docs/CONTRIBUTING.md
}

@test "design: its commands print what it shows" {
  console docs/design.md
}

@test "exercises: its commands print what it shows" {
  console docs/exercises.md
}

@test "from-python: its commands print what it shows" {
  console docs/from-python.md
}

@test "io-uring: its commands print what it shows" {
  console docs/io-uring.md
}

@test "teaching: its commands print what it shows" {
  console docs/teaching.md
}

@test "glossary: its commands print what it shows" {
  console docs/glossary.md
}

@test "tools: its commands print what it shows" {
  console docs/tools.md
}
