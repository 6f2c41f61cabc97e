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

# watched_server CHAPTER: builds $T/CHAPTER/server, which says each change of a state.
watched_server() {
  local table file dir=$T/$1
  table=docs/pictures/${1%%-*}-states.txt
  mkdir "$dir"
  cp "$1"/*.[ch] "$1/Makefile" "$dir/"
  [[ ! -d $1/certs ]] || cp -R "$1/certs" "$dir/"
  for file in server.c members.c; do
    [[ ! -e $1/$file ]] || states watched "$table" "$1/$file" >"$dir/$file"
  done
  make -s -C "$dir" CFLAGS=-O0 server
}

# visits CHAPTER VERBS…: clients of that server, side by side, each with its VERBS (some words); one
# more is there when the server stops.
visits() {
  local chapter=$1 options=() port pid verbs
  watched_server "$chapter"
  [[ $chapter == 07-* ]] || options=(-i 1)
  [[ $chapter != 08-* ]] || export PEER_TLS=$ROOT/08-tls/certs/ca.pem
  "$T/$chapter/server" -p 0 "${options[@]}" >"$T/$chapter.out" 2>"$T/$chapter.log" &
  pid=$!
  until grep -sq listening "$T/$chapter.out"; do sleep 0.05; done
  port=$(sed 's/.*://' "$T/$chapter.out")
  for verbs in "${@:2}"; do
    # shellcheck disable=SC2086 # words
    build/helpers/peer "$port" $verbs >/dev/null 2>&1 &
  done
  # shellcheck disable=SC2046 # words
  wait $(jobs -p | grep -vx "$pid")
  build/helpers/peer "$port" 'send:eve\n' line "ready:$T/$chapter.there" eof >/dev/null 2>&1 &
  until [[ -e $T/$chapter.there ]]; do sleep 0.05; done
  kill "$pid"
  wait
}

@test "each change of a state that the programs make in a run is in the table" {
  local chapter sources
  cp util.h "$T/"
  local line_service=('send:hi\n line half-close eof' 'fill:70000 eof' 'eof' 'send:a reset')
  for chapter in 05-select 06-epoll 08-tls; do
    timeout $((40 * PATIENCE)) bash -c "$(declare -f states watched_server visits)
      T='$T' ROOT='$ROOT'; visits \"\$@\"" - "$chapter" "${line_service[@]}" 3>&- &
  done
  timeout $((40 * PATIENCE)) bash -c "$(declare -f states watched_server visits)
    T='$T' ROOT='$ROOT'; visits \"\$@\"" - 07-chat 'send:ann\n line send:/quit\n eof' \
    'send:a,b\n*\n(\n eof' 'send:bob\n line half-close eof' 'half-close eof' 3>&- &
  wait
  for chapter in 05-select 06-epoll 07-chat 08-tls; do
    mapfile -t sources < <(server_sources "${chapter%%-*}")
    run -0 states seen "docs/pictures/${chapter%%-*}-states.txt" "${sources[@]}" <"$T/$chapter.log"
    refute_output
    (($(grep '^state' "$T/$chapter.log" | sort -u | wc -l) > 4)) ||
      complain "$chapter: too few changes: $(cat "$T/$chapter.log")"
  done
  grep -v 'all is sent: send FIN' docs/pictures/05-states.txt >"$T/table"
  run -1 states seen "$T/table" 05-select/server.c <"$T/05-select.log"
  assert_output 'the table has not: CLOSING to HALF_CLOSED in conn_half_close'
}
