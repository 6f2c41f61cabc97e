# What a reader has started, verified: `make exercise-4-2` begins one, docs/exercises.md tells how.
# Every exercise has its test here, and a tag: bats --filter-tags 4-2 tests/exercises.bats

bats_require_minimum_version 1.5.0

setup() {
  bats_load_library bats-support
  bats_load_library bats-assert
  cd "$BATS_TEST_DIRNAME/.." || return 1
}

# verify ID: builds and tests the copy in work/ID.
verify() {
  [[ -d work/$1 ]] || skip "not started: make exercise-$1"
  run timeout 600 env -u SERVER -u CLIENT -u DIR tests/bin/exercise check "$1"
  assert_success
}

# ---- chapter 01 ----

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
@test "1-7: The server that is gone without a word" {
  verify 1-7
}

# bats test_tags=1-8
@test "1-8: The server that does not come back" {
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

# ---- chapter 03 ----

# ---- chapter 04 ----

# ---- chapter 05 ----

# ---- chapter 06 ----

# ---- chapter 07 ----

# ---- chapter 08 ----
