# The CUnit programs of tests/unit, each one test here: bats cannot make tests up as it runs.

load helpers/common

setup_file() {
  ahead ends_without_ipv6 'run_unit util' 'run_unit loop' 'run_unit queue' 'run_unit accept'
}

# run_unit NAME: build/unit/NAME ends by itself in time, exits 0 and says what it has run.
# CUnit returns 0 from a run whose suite initialiser failed or that had nothing to do, so that its
# summary has to be read: "Type Total Ran Passed Failed Inactive", once for each type.
run_unit() {
  local status=0 suites tests asserts
  [[ -x $UNIT/$1 ]] || complain "$UNIT/$1 is not built: make helpers" || return
  (cd "$T" && timeout -k 5 "${UNIT_WITHIN:-60}" "$UNIT/$1") >"$T/out" 2>&1 </dev/null || status=$?
  cat "$T/out"
  # As timeout says it, GNU's or BusyBox's.
  ((status != 124 && status != 143)) ||
    complain "$1: did not end within ${UNIT_WITHIN:-60} s" || return
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
  seen run_unit util
}

# The cases with ::1 are left out there; none may wait for what cannot come.
ends_without_ipv6() {
  UNIT_WITHIN=20 without_ipv6 run_unit util
}

@test "util: on a machine without IPv6 its tests do not hang" {
  seen ends_without_ipv6
}

@test "signals: how the servers of 01, 02, 03 and 05 stop" {
  seen run_unit signals
}

@test "lines: the line service without sockets, and buffers that are allocated on demand" {
  seen run_unit lines
}

@test "queue: a bounded queue between threads" {
  seen run_unit queue
}

@test "loop: descriptors, timers and signals" {
  seen run_unit loop
}

@test "linger: a close that waits for the peer's end, in the loop" {
  seen run_unit linger
}

@test "accept: a listener in the loop, and the errors of accept" {
  seen run_unit accept
}

@test "load: what the load generator sends, checks and counts" {
  seen run_unit load
}

@test "text: which characters are shown, and which names are valid" {
  seen run_unit text
}

@test "room: names, recipients, queues, history and pace, without sockets" {
  seen run_unit room
}

@test "people: how the chat's client reads the server's lines" {
  seen run_unit people
}

@test "no program of tests/unit is left out here" {
  local source name
  for source in "$ROOT"/tests/unit/*.c; do
    name=${source##*/}
    name=${name%.c}
    grep -qx "  seen run_unit $name" "$BATS_TEST_FILENAME" || complain "$name.c has no test here"
  done
}
