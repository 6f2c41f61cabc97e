# What a reader has started, verified. `make exercise-4-2` starts one: see docs/exercises.md.
# Every exercise has its test here, and a tag: bats --filter-tags 4-2 tests/exercises.bats

bats_require_minimum_version 1.5.0

# verify ID: builds and tests the copy in work/ID.
verify() {
  cd "$BATS_TEST_DIRNAME/.." || return 1
  [[ -d work/$1 ]] || skip "not started: make exercise-$1"
  bats_load_library bats-support # only now: it takes longer than to skip
  bats_load_library bats-assert
  run timeout 600 env -u SERVER -u CLIENT -u DIR tests/bin/exercise check "$1"
  assert_success
}

# ---- chapter 01 ----

# bats test_tags=1-0
@test "1-0: The first echo" {
  verify 1-0
}

# bats test_tags=1-1
@test "1-1: A server that greets" {
  verify 1-1
}

# bats test_tags=1-2
@test "1-2: A conversation with the operator" {
  verify 1-2
}

# bats test_tags=1-3
@test "1-3: A socket in the file system" {
  verify 1-3
}

# bats test_tags=1-4
@test "1-4: A connect that gives up in time" {
  verify 1-4
}

# bats test_tags=1-5
@test "1-5: The echo that loses bytes on its way" {
  verify 1-5
}

# bats test_tags=1-6
@test "1-6: The client that is dropped when nothing is wrong" {
  verify 1-6
}

# bats test_tags=1-7
@test "1-7: The server that ends without a message" {
  verify 1-7
}

# bats test_tags=1-8
@test "1-8: The server that cannot be restarted at once" {
  verify 1-8
}

# bats test_tags=1-9
@test "1-9: The server that gives up when it is busy" {
  verify 1-9
}

# bats test_tags=1-10
@test "1-10: The echo that knows how long a message is" {
  verify 1-10
}

# bats test_tags=1-11
@test "1-11: A test for the echo that stops at a NUL" {
  verify 1-11
}

# ---- chapter 02 ----

# bats test_tags=2-0
@test "2-0: The whole datagram" {
  verify 2-0
}

# bats test_tags=2-1
@test "2-1: Datagrams through the file system" {
  verify 2-1
}

# bats test_tags=2-2
@test "2-2: Who is there?" {
  verify 2-2
}

# bats test_tags=2-3
@test "2-3: A file over UDP" {
  verify 2-3
}

# bats test_tags=2-4
@test "2-4: The server that nothing ends" {
  verify 2-4
}

# bats test_tags=2-5
@test "2-5: The long messages that are never answered" {
  verify 2-5
}

# bats test_tags=2-6
@test "2-6: The answer that comes before the question" {
  verify 2-6
}

# bats test_tags=2-7
@test "2-7: The health check that is always content" {
  verify 2-7
}

# bats test_tags=2-8
@test "2-8: A test for the answer that goes to somebody else" {
  verify 2-8
}

# ---- chapter 03 ----

# bats test_tags=3-0
@test "3-0: Where a line ends" {
  verify 3-0
}

# bats test_tags=3-1
@test "3-1: A process for each client" {
  verify 3-1
}

# bats test_tags=3-2
@test "3-2: Frames by length" {
  verify 3-2
}

# bats test_tags=3-3
@test "3-3: A relay that half-closes rightly" {
  verify 3-3
}

# bats test_tags=3-4
@test "3-4: The second message that nobody answers" {
  verify 3-4
}

# bats test_tags=3-5
@test "3-5: The lines that lose their beginning" {
  verify 3-5
}

# bats test_tags=3-6
@test "3-6: The line that is longer than its limit" {
  verify 3-6
}

# bats test_tags=3-7
@test "3-7: The refusal that nobody gets" {
  verify 3-7
}

# bats test_tags=3-8
@test "3-8: A test for the server that answers half a line" {
  verify 3-8
}

# ---- chapter 04 ----

# bats test_tags=4-1
@test "4-1: A thread for each client, and a limit" {
  verify 4-1
}

# bats test_tags=4-2
@test "4-2: A server that says it is busy" {
  verify 4-2
}

# bats test_tags=4-3
@test "4-3: Clients wait while workers sleep" {
  verify 4-3
}

# bats test_tags=4-4
@test "4-4: The pool that gets smaller" {
  verify 4-4
}

# bats test_tags=4-5
@test "4-5: The answer to somebody else's question" {
  verify 4-5
}

# bats test_tags=4-6
@test "4-6: Connected, and never answered" {
  verify 4-6
}

# bats test_tags=4-7
@test "4-7: A test for the worker that remembers" {
  verify 4-7
}

# ---- chapter 05 ----

# bats test_tags=5-1
@test "5-1: The same with poll" {
  verify 5-1
}

# bats test_tags=5-2
@test "5-2: select and a pool of workers" {
  verify 5-2
}

# bats test_tags=5-3
@test "5-3: The thousandth client" {
  verify 5-3
}

# bats test_tags=5-4
@test "5-4: The server that never rests" {
  verify 5-4
}

# bats test_tags=5-5
@test "5-5: The connection that ends in mid-sentence" {
  verify 5-5
}

# bats test_tags=5-6
@test "5-6: The crash that nobody can repeat" {
  verify 5-6
}

# bats test_tags=5-7
@test "5-7: A test for replies that arrive scrambled" {
  verify 5-7
}

# bats test_tags=5-8
@test "5-8: No gap for a signal" {
  verify 5-8
}

# ---- chapter 06 ----

# bats test_tags=6-1
@test "6-1: Slow work beside the loop" {
  verify 6-1
}

# bats test_tags=6-2
@test "6-2: A coroutine for each connection" {
  verify 6-2
}

# bats test_tags=6-3
@test "6-3: HTTP, with curl as the client" {
  verify 6-3
}

# bats test_tags=6-4
@test "6-4: A loop on every core" {
  verify 6-4
}

# bats test_tags=6-5
@test "6-5: The listener that answers sixty-four" {
  verify 6-5
}

# bats test_tags=6-6
@test "6-6: The crash in one of a million closes" {
  verify 6-6
}

# bats test_tags=6-7
@test "6-7: The server that is busy saying no" {
  verify 6-7
}

# bats test_tags=6-8
@test "6-8: The server that works hardest when nobody is there" {
  verify 6-8
}

# bats test_tags=6-9
@test "6-9: A test for the server that leaves too early" {
  verify 6-9
}

# bats test_tags=6-10
@test "6-10: The same service on io_uring" {
  verify 6-10
}

# bats test_tags=6-11
@test "6-11: A new version without losing a connection" {
  verify 6-11
}

# ---- chapter 07 ----

# bats test_tags=7-1
@test "7-1: The room with a thread for each client" {
  verify 7-1
}

# bats test_tags=7-2
@test "7-2: Several rooms under one roof" {
  verify 7-2
}

# bats test_tags=7-3
@test "7-3: A history that outlives the server" {
  verify 7-3
}

# bats test_tags=7-4
@test "7-4: Two servers, one room" {
  verify 7-4
}

# bats test_tags=7-5
@test "7-5: The member that hears itself" {
  verify 7-5
}

# bats test_tags=7-6
@test "7-6: The guest who never listens" {
  verify 7-6
}

# bats test_tags=7-7
@test "7-7: The escape sequence inside a character" {
  verify 7-7
}

# bats test_tags=7-8
@test "7-8: The name that nobody has any more" {
  verify 7-8
}

# bats test_tags=7-9
@test "7-9: A test for the room where anybody can speak as the server" {
  verify 7-9
}

# bats test_tags=7-10
@test "7-10: The room in a browser" {
  verify 7-10
}

# ---- chapter 08 ----

# bats test_tags=8-1
@test "8-1: The chat room that knows who you are" {
  verify 8-1
}

# bats test_tags=8-2
@test "8-2: Two names, two certificates" {
  verify 8-2
}

# bats test_tags=8-3
@test "8-3: Tickets, and keys that do not last" {
  verify 8-3
}

# bats test_tags=8-4
@test "8-4: The client that trusts the wrong server" {
  verify 8-4
}

# bats test_tags=8-5
@test "8-5: The log that went quiet" {
  verify 8-5
}

# bats test_tags=8-6
@test "8-6: The handshake in which both sides wait" {
  verify 8-6
}

# bats test_tags=8-7
@test "8-7: Seven bytes that stop the service" {
  verify 8-7
}

# bats test_tags=8-8
@test "8-8: A test for the server that blames the wrong client" {
  verify 8-8
}
