# The tables of the states of a connection, from which pictures are drawn.

bats_require_minimum_version 1.5.0

# shellcheck disable=SC2154 # run --separate-stderr sets stderr
setup() {
  load ../helpers/common
  need python3
  T=$BATS_TEST_TMPDIR
  cd "$ROOT" || return
}

states() {
  python3 -B tests/pictures/states.py "$@"
}

# server_sources CHAPTER: what its server is made of.
server_sources() {
  printf '%s\n' "$1"-*/*.[ch] | grep -vE '/(client|load)\.c$'
}

@test "the tables of states have each state of the program, each change, and no other" {
  local chapter sources
  for chapter in 05 06 07 08; do
    mapfile -t sources < <(server_sources "$chapter")
    run -0 states check "docs/pictures/$chapter-states.txt" "${sources[@]}"
    refute_output
  done
}

@test "a change of state that the table has not, or only the table has, is named; so is a state" {
  local table=docs/pictures/05-states.txt source=05-select/server.c
  sed '0,/c->state = CLOSING;/s//c->state = HALF_CLOSED;/' "$source" >"$T/server.c"
  run -1 states check "$table" "$T/server.c"
  assert_output "only the program has the change ('conn_answer', 'HALF_CLOSED')
only the table has the change ('conn_answer', 'CLOSING')"
  sed 's/shutdown(c->fd, SHUT_WR);/return conn_end(c, "new");/' "$source" >"$T/server.c"
  run -1 states check "$table" "$T/server.c"
  assert_output "only the program has the change ('conn_half_close', 'closed')"
  sed 's/^        OPEN,/        NEW, OPEN,/' "$source" >"$T/server.c"
  run -1 states check "$table" "$T/server.c"
  assert_line 'only the program has the state NEW'
  grep -v conn_refuse "$table" >"$T/table"
  run -1 states check "$T/table" "$source"
  assert_output "only the program has the change ('conn_refuse', 'CLOSING')"
}

@test "each picture of states is that of its table" {
  local chapter
  for chapter in 05 06 07 08; do
    states words "docs/pictures/$chapter-states.txt" >"$T/words"
    grep -qFf "$T/words" "docs/pictures/$chapter-states.svg" ||
      complain "docs/pictures/$chapter-states.svg is not up to date: make pictures"
  done
}
