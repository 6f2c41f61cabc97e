# The CUnit programs of tests/unit, each one test here: bats cannot make tests up as it runs.

load helpers/common

# run_unit NAME: build/unit/NAME ends by itself in time, exits 0 and says what it has run.
# CUnit returns 0 from a run whose suite initialiser failed or that had nothing to do, so that its
# summary has to be read: "Type Total Ran Passed Failed Inactive", once for each type.
run_unit() {
  local status=0 suites tests asserts
  [[ -x $UNIT/$1 ]] || complain "$UNIT/$1 is not built: make helpers" || return
  (cd "$T" && timeout -k 5 "${UNIT_WITHIN:-60}" "$UNIT/$1") >"$T/out" 2>&1 </dev/null || status=$?
  cat "$T/out"
  ((status != 124)) || complain "$1: did not end within ${UNIT_WITHIN:-60} s" || return
  ((status < 128)) || complain "$1: crashed by SIG$(kill -l $((status - 128)))" || return
  ((status == 0)) || complain "$1: exit status $status" || return
  suites=$(summary suites) && tests=$(summary tests) && asserts=$(summary asserts) ||
    complain "$1: no CUnit summary in its output" || return
  counted "$1" suites "$suites" && counted "$1" tests "$tests" && counted "$1" asserts "$asserts"
}

# The numbers of the last line for a type: total, ran, failed, inactive.
summary() {
  awk -v type="$1" '$1 == type && NF == 6 { found = $2 " " $3 " " $5 " " $6 }
    END { print found; exit !found }' "$T/out"
}

counted() {
  local total ran failed inactive
  read -r total ran failed inactive <<<"$3"
  ((total > 0 && ran == total)) || complain "$1: ran $ran of $total $2" || return
  ((failed == 0)) || complain "$1: $failed $2 failed" || return
  [[ $inactive == 0 || $inactive == n/a ]] || complain "$1: $inactive $2 were inactive"
}

@test "util: the pure parts of util.h" {
  run_unit util
}

@test "lines: the line service without its sockets" {
  run_unit lines
}

@test "queue: a bounded queue between threads" {
  run_unit queue
}

@test "loop: descriptors, timeouts and signals" {
  run_unit loop
}

@test "load: what the load generator sends, checks and counts" {
  run_unit load
}

@test "text: what is fit to be shown, and what can be a name" {
  run_unit text
}

@test "room: names, who hears what, queues, history and pace, without sockets" {
  run_unit room
}

@test "people: what the chat's client makes of the server's lines" {
  run_unit people
}

@test "no program of tests/unit is left out here" {
  local source name
  for source in "$ROOT"/tests/unit/*.c; do
    name=${source##*/}
    name=${name%.c}
    grep -qx "  run_unit $name" "$BATS_TEST_FILENAME" || complain "$name.c has no test here"
  done
}
