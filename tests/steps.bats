# The tables of steps in the docs: every cell says what a program does, or how it fails, when it
# meets the hostile clients of its chapter. tests/steps/NN.bash has these clients; they report what
# they observe, without looking at the table. So a step that unexpectedly survives fails its test.

load helpers/common
load steps/common
cd "$ROOT" || exit

setup_file() {
  local rows
  [[ -z ${SAN-} ]] || return 0
  mapfile -t rows < <(sed -n 's/^  seen \(row .*\)/\1/p' "$BATS_TEST_FILENAME")
  LANES=6 ahead "${rows[@]}" # they mostly wait, also where few lanes are enough for others
}

setup() {
  trace_tests_only
  [[ -z ${SAN-} ]] || skip 'the table is about the plain programs, not instrumented ones'
}

@test "every chapter has steps; each step has a row and a test, each column its clients" {
  local dir
  for dir in [0-9][0-9]-*/; do
    [[ -d $dir/steps ]] || complain "$dir has no steps"
    table_is_complete "${dir%%-*}" "$BATS_TEST_FILENAME"
  done
}

# ---- 01: one TCP conversation ----

@test "01 1-greet does what its row says" {
  seen row 01/1-greet
}

@test "01 2-echo does what its row says" {
  seen row 01/2-echo
}

@test "01 3-next does what its row says" {
  seen row 01/3-next
}

@test "01 4-all does what its row says" {
  seen row 01/4-all
}

@test "01 5-outlive does what its row says" {
  seen row 01/5-outlive
}

@test "01 6-restart does what its row says" {
  seen row 01/6-restart
}

@test "01 7-stop does what its row says" {
  seen row 01/7-stop
}

@test "01 8-linger does what its row says" {
  seen row 01/8-linger
}

@test "01 server.c does what its row says" {
  seen row 01/server
}

# ---- 02: datagrams ----

@test "02 1-print does what its row says" {
  seen row 02/1-print
}

@test "02 2-echo does what its row says" {
  seen row 02/2-echo
}

@test "02 3-connect does what its row says" {
  seen row 02/3-connect
}

@test "02 4-retry does what its row says" {
  seen row 02/4-retry
}

@test "02 5-number does what its row says" {
  seen row 02/5-number
}

@test "02 server.c does what its row says" {
  seen row 02/server
}

# ---- 03: lines over one connection ----

@test "03 1-recv does what its row says" {
  seen row 03/1-recv
}

@test "03 2-lines does what its row says" {
  seen row 03/2-lines
}

@test "03 3-refuse does what its row says" {
  seen row 03/3-refuse
}

@test "03 4-idle does what its row says" {
  seen row 03/4-idle
}

@test "03 5-deadline does what its row says" {
  seen row 03/5-deadline
}

@test "03 server.c does what its row says" {
  seen row 03/server
}

# ---- 04: worker threads ----

@test "04 1-thread-each does what its row says" {
  seen row 04/1-thread-each
}

@test "04 2-pool does what its row says" {
  seen row 04/2-pool
}

@test "04 3-bounded does what its row says" {
  seen row 04/3-bounded
}

@test "04 4-drain does what its row says" {
  seen row 04/4-drain
}

@test "04 server.c does what its row says" {
  seen row 04/server
}

# ---- 05: select ----

@test "05 1-select-echo does what its row says" {
  seen row 05/1-select-echo
}

@test "05 2-three-sets does what its row says" {
  seen row 05/2-three-sets
}

@test "05 3-state does what its row says" {
  seen row 05/3-state
}

@test "05 server.c does what its row says" {
  seen row 05/server
}

# ---- 06: an event loop ----

@test "06 1-register does what its row says" {
  seen row 06/1-register
}

@test "06 2-partial does what its row says" {
  seen row 06/2-partial
}

@test "06 3-idle does what its row says" {
  seen row 06/3-idle
}

@test "06 4-batch does what its row says" {
  seen row 06/4-batch
}

@test "06 server.c does what its row says" {
  seen row 06/server
}

# ---- 07: a chat room ----

@test "07 1-select does what its row says" {
  seen row 07/1-select
}

@test "07 2-threads does what its row says" {
  seen row 07/2-threads
}

@test "07 3-lines does what its row says" {
  seen row 07/3-lines
}

@test "07 4-queues does what its row says" {
  seen row 07/4-queues
}

@test "07 server.c does what its row says" {
  seen row 07/server
}

# ---- 08: TLS ----

@test "08 1-encrypt does what its row says" {
  seen row 08/1-encrypt
}

@test "08 2-verify does what its row says" {
  seen row 08/2-verify
}

@test "08 3-nonblocking does what its row says" {
  seen row 08/3-nonblocking
}

@test "08 server.c does what its row says" {
  seen row 08/server
}
