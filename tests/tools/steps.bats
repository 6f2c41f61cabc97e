#!/usr/bin/env bats
# The frame that proves the docs' tables of steps, shown to pass what is right and to fail what is
# wrong. A kit of one small chapter is made for each test: its steps are scripts that print a word,
# and its hostile clients observe that word.

bats_require_minimum_version 1.5.0

setup() {
  bats_load_library bats-support
  bats_load_library bats-assert
  ROOT=$(cd "$BATS_TEST_DIRNAME/../.." && pwd)
  cd "$BATS_TEST_TMPDIR" || return 1
  mkdir -p tests/bin tests/helpers tests/steps docs build 01-mini/steps
  cp "$ROOT"/tests/bin/{step,tools.sh,tmpdir.sh} tests/bin/
  cp "$ROOT/tests/helpers/common.bash" tests/helpers/
  cp "$ROOT/tests/steps/common.bash" tests/steps/
  ln -s "$ROOT/build/helpers" "$ROOT/build/fault.so" build/
  program 01-mini/steps/1-first lives
  program 01-mini/steps/2-second 'is killed'
  program 01-mini/steps/3-pair-server lives
  program 01-mini/steps/3-pair-client lives
  program 01-mini/server lives
  cat >tests/steps/01.bash <<'END'
behavior 'a word' 'A client asks for a word.'
on_a_word() {
  case $("$PROGRAM") in
    lives) echo ✓ ;;
    'is killed') echo 'is killed' ;;
    silence) unseen 'nobody can hear it here' ;;
    *) complain 'an unknown word' ;;
  esac
}
behavior 'IPv6' 'A client asks for nothing.'
on_ipv6() {
  echo –
}
END
  doc
  {
    sed -n '/^load /p; /^@test "every chapter/,/^}/p' "$ROOT/tests/steps.bats"
    for step in 1-first 2-second 3-pair server; do
      printf '@test "01 %s" {\n  seen row 01/%s\n}\n' "$step" "$step"
    done
  } >tests/steps.bats
}

# program NAME WORD: a step that prints it. Its source only has to be there.
program() {
  printf '#!/bin/sh\necho "%s"\n' "$2" >"$1"
  chmod +x "$1"
  echo "/* $2 */" >"$1.c"
}

# doc [SED_COMMAND]: the chapter's page, changed as it says.
doc() {
  sed -e "${1-}" >docs/01-mini.md <<'END'
# Steps

| step | a `word` | [IPv6](glossary.md#ipv6) |
| --- | --- | --- |
| [1-first](../01-mini/steps/1-first.c) | ✓ | – |
| [2-second](../01-mini/steps/2-second.c) | is killed | – |
| [3-pair](../01-mini/steps/3-pair-server.c), [client](../01-mini/steps/3-pair-client.c) | ✓ | – |
| [server.c](../01-mini/server.c) | ✓ | – |

| a table | of something else |
| --- | --- |
END
}

# proof: the tests of this kit.
proof() {
  run env -u SAN timeout -k 9 60 bats tests/steps.bats
}

# fails_in TEST PATTERN: exactly that test fails, and says why.
fails_in() {
  proof
  assert_failure
  assert_equal "$(grep -c '^not ok' <<<"$output")" 1
  assert_line --regexp "^not ok [0-9]+ $1"
  assert_output --regexp "$2"
}

@test "a table that says what happens passes" {
  proof
  assert_success
  assert_equal "$(grep -c '^ok' <<<"$output")" 5
}

@test "a wrong cell fails, with the page, the step, the column, and both texts" {
  doc '/2-second/s/is killed/is reset/'
  fails_in '01 2-second' \
    'docs/01-mini.md, 2-second, "a word": "is reset" in the table, "is killed" observed'
}

@test "a step that is said to fail and survives fails its test" {
  program 01-mini/steps/2-second lives
  fails_in '01 2-second' '2-second, "a word": "is killed" in the table, "✓" observed'
}

@test "a step that is said to survive and fails fails its test" {
  program 01-mini/server 'is killed'
  fails_in '01 server' '"✓" in the table, "is killed" observed'
}

@test "a cell that does not apply is proved as well" {
  doc '/1-first/s/–/✓/'
  fails_in '01 1-first' '1-first, "IPv6": "✓" in the table, "–" observed'
}

@test "what no client has foreseen fails, whatever the cell says" {
  program 01-mini/steps/1-first 'something else'
  fails_in '01 1-first' 'something that is not known here.*'
  assert_output --partial 'an unknown word'
}

@test "what was started is ended, even when the clients are wrong" {
  cat >>tests/steps/01.bash <<'END'
on_ipv6() {
  start_tool sleeper sleep 300
  echo "$TOOL_PID" >>"$ROOT/pids"
  [[ $STEP != 2-second ]] || echo $((1 +))
  echo –
}
END
  fails_in '01 2-second' '2-second, "IPv6": it did something that is not known'
  assert_equal "$(wc -l <pids)" 4
  while read -r pid; do
    [[ ! -e /proc/$pid ]] || fail "$pid still runs"
  done <pids
}

@test "what cannot be observed here is skipped, with the reason, and the rest of the row proved" {
  program 01-mini/steps/1-first silence
  proof
  assert_success
  assert_line --regexp '^ok .*01 1-first # skip a word: nobody can hear it here'
  doc '/1-first/s/–/✓/'
  fails_in '01 1-first' '"IPv6": "✓" in the table, "–" observed'
}

@test "a program without a row fails, alone or of a pair" {
  program 01-mini/steps/4-more lives
  fails_in 'every chapter' 'no row links to 01-mini/steps/4-more.c'
  rm 01-mini/steps/4-more*
  program 01-mini/steps/1-first-client lives
  fails_in 'every chapter' 'no row links to 01-mini/steps/1-first-client.c'
}

@test "a missing row fails, its test and the check" {
  doc /2-second/d
  proof
  assert_line --regexp '^not ok [0-9]+ every chapter'
  assert_line --regexp '^not ok [0-9]+ 01 2-second'
  assert_output --partial 'the table has no row for 2-second'
}

@test "a row without a test, a row without a program, no row of server.c" {
  sed -i '/^@test "01 2-second/,/^}/d' tests/steps.bats
  fails_in 'every chapter' 'no test of 01/2-second'
  doc '/3-pair/s/3-pair-[a-z]*/3-other/g'
  proof
  assert_output --partial 'the row of 3-other is no program'
  doc '/server\.c](/d'
  proof
  assert_output --partial 'the last row is not server.c'
}

@test "a chapter without steps, or without clients, fails" {
  mkdir 02-more
  fails_in 'every chapter' '02-more/ has no steps'
  mkdir 02-more/steps
  fails_in 'every chapter' '02.bash: No such file'
}

@test "a column without its clients, and clients without a column" {
  doc 's/^| step | a `word` |/| step | a sentence |/'
  proof
  assert_equal "$(grep -c '^not ok' <<<"$output")" 5
  assert_output --partial 'no behavior "a sentence"'
  doc
  printf "behavior 'a third' 'More.'\n" >>tests/steps/01.bash
  fails_in 'every chapter' 'has a word IPv6 a third'
}

@test "two tables of steps, none, and a row that is too short" {
  doc '$a| step | a `word` | IPv6 |\n| --- | --- | --- |'
  proof
  assert_output --partial 'docs/01-mini.md: 2 tables of steps, not one'
  doc 's/^| step /| stage /'
  proof
  assert_output --partial 'docs/01-mini.md: 0 tables of steps, not one'
  doc '/1-first/s/ – |//'
  proof
  assert_output --partial 'the row of 1-first has 2 cells, not 3'
}

# ---- for a reader ----

@test "step run: a line for each behavior" {
  run -0 tests/bin/step run 01-second
  assert_line --index 0 01-mini/steps/2-second.c
  assert_line --index 1 --regexp '^  A client asks for a word\. +✗ is killed$'
  assert_line --index 2 --regexp '^  A client asks for nothing\. +– does not apply$'
  run -0 tests/bin/step run 01-server
  assert_line --index 1 --regexp '^  A client asks for a word\. +✓ survives$'
}

@test "step run: what is unknown is said, and the exit status is 1" {
  program 01-mini/steps/3-pair-server 'something else'
  run -1 tests/bin/step run 01-pair
  assert_line --index 1 --regexp '\? see below$'
  assert_output --partial 'an unknown word'
}

@test "step diff: against the step before; of server.c, against the last step" {
  run -0 tests/bin/step diff 01-second
  assert_line '-/* lives */'
  assert_line '+/* is killed */'
  run -0 tests/bin/step diff 01-first
  refute_line '-/* lives */'
  assert_line '+/* lives */'
  echo '/* more */' >01-mini/server.c
  run -0 tests/bin/step diff 01-server
  assert_line --partial '3-pair-server.c'
  assert_line '+/* more */'
}

@test "step: what is not there: exit 2, and what there is" {
  run -2 tests/bin/step run 01-fourth
  assert_output 'step: no step 01-fourth; there are: 01-first 01-second 01-pair 01-server '
  run -2 tests/bin/step run 02-first
  assert_output 'step: no chapter 02'
  run -2 tests/bin/step run first
  assert_output --partial 'not NN-title'
  run -2 tests/bin/step
  assert_output --partial usage
}

# ---- the real frame ----

@test "start_step: its port is free, whatever the step prints; and instrumented, if asked for" {
  [[ -x $ROOT/01-basic-tcp/steps/1-greet ]] || skip 'make steps builds it'
  load ../helpers/common
  load ../steps/common
  T=$BATS_TEST_TMPDIR
  choose_step 01/1-greet
  start_step
  first=$PORT
  NAME=second start_step
  ((PORT != first && PORT != 9001))
  assert_equal "$(<"$T/second.out")" 'listening on 127.0.0.1:9001'
  assert_equal "$(peer eof)" '欢迎访问服务器!'
  stop_step
  assert_equal "$HOW" SIGTERM
  STEP_PORT=$first start_step || assert_equal "$(<"$T/step.err")" 'bind: Address already in use'
  kill_group "${TOOLS[second]}"
}
