# The exercises' own tools: the reader's loop (tests/bin/exercise) and the proof (tests/bin/prove),
# which has to find what is wrong with an exercise. Both work here on a kit of one small chapter.

bats_require_minimum_version 1.5.0
export SANITIZERS=undefined CFLAGS=-O0 # built sooner

load small-kit

setup_file() {
  make_small_kit
}

setup() {
  load ../helpers/common
  need patch
  T=$BATS_TEST_TMPDIR
  cp -a "$KIT" "$T/kit"
  KIT=$T/kit
  cd "$KIT" || return
}

# prove STATUS [VAR=VALUE…]
prove() {
  local status=$1
  shift
  run "-$status" env K=2 "$@" timeout $((240 * PATIENCE)) tests/bin/prove 3>&-
}

# ---- the proof ----

@test "prove: a build, a hunt and a catch that are right; patches-refresh leaves them alone" {
  prove 0
  assert_line --regexp '^ok +1-1 .* build: A word$'
  assert_line --regexp '^ok +1-2 .* hunt: A word$'
  assert_line --regexp '^ok +1-3 .* catch: A word$'
  assert_line '4 passed, 0 failed, 0 skipped'
  run -0 kit_make patches-refresh
  refute_output
}

@test "prove: an exercise that fails among others is proven once more, alone, and reported" {
  exercise 4 build solution 's/"hello\\n"/"hello\\nbye\\n"/; s/, 6,/, 10,/'
  echo 'changes=a client is told hello' >>"$DIR/about"
  own_test 4 "receives 'hello\nbye\n' eof; [[ -e $T/late ]] || { touch '$T/late'; false; }"
  prove 0 ONLY=1-4
  assert_line --regexp '^FAILED +1-4 '
  assert_line 'once more, one at a time: 1-4'
  assert_line --regexp '^ok +1-4 '
  assert_line '2 passed, 0 failed, 0 skipped'
  rm "$T/late"
  prove 1 AGAIN=0 ONLY=1-4
  assert_line '1 passed, 1 failed, 0 skipped'
}

@test "prove: an exercise that needs what is missing here is skipped with the reason" {
  exercise 4 build solution 's/"hello\\n"/"hello\\nbye\\n"/; s/, 6,/, 10,/'
  echo 'needs=no-such-tool' >>"$DIR/about"
  prove 0 ONLY=1-4
  assert_line 'skip   1-4   build: A word (no-such-tool is missing)'
  assert_line '1 passed, 0 failed, 1 skipped'
}

# All at once, since each costs a compilation.
@test "prove: faults of an exercise are found and named" {
  # patches
  exercise 4 hunt bug 's/, 6,/, 5,/'
  sed -i 's/Tells the client/Tells a client/' "$DIR/bug.patch"
  echo 'tests=a client is told hello' >>"$DIR/about"
  exercise 5 hunt bug 's/Tells the client/Says it/'
  sed -i 's/plain/shim/' "$DIR/about"
  echo 'tests=a client is told hello' >>"$DIR/about"
  exercise 6 hunt bug 's/, 6,/, 6 6,/'
  echo 'tests=a client is told hello' >>"$DIR/about"
  # tests
  exercise 7 hunt bug 's/, 6,/, 5,/; s/close(fd)/exit(9)/'
  echo 'tests=a client is told hello' >>"$DIR/about"
  own_test 7 'timeout 0.1 sleep 9'
  exercise 8 build solution 's/, 6,/, 6L,/'
  own_test 8 "receives 'good day\n' eof"
  # 192: O_CREAT | O_EXCL, so that only the first run fails
  exercise 9 hunt bug 's/, 6,/, open("once", 192, 384) < 0 ? 6 : 5,/'
  echo 'tests=a client is told hello' >>"$DIR/about"
  mkdir "$DIR/alt"
  diff -u --label a/server.c --label b/server.c 01-hello/server.c \
    <(sed 's/, 6,/, 4,/' 01-hello/server.c) >"$DIR/alt/less.patch" || true
  # a catch
  exercise 10 catch bug 's/, 6,/, 5,/'
  sample 'true'
  prove 1
  local expected
  while IFS='|' read -r id expected; do
    awk -v id="$id" '/^[a-zA-Z]/ { on = $2 == id } on' <<<"$output" | grep -qF -- "$expected" ||
      fail "$id: not found: $expected"$'\n'"$output"
  done <<'END'
1-4|bug.patch does not apply: make patches-refresh
1-5|the start passes, but should fail: a client is told hello
1-5|fails 0 of 2 times: a client is told hello
1-6|does not build
1-7|which about does not name: tests=SIGTERM ends it
1-8|the solution (SAN=undefined) fails: own test
1-7|the start fails by a time-out or a missing command: own test
1-7|the chapter itself fails: own test
1-9|fails 0 of 2 times: a client is told hello
1-9|alt/less.patch fails: a client is told hello
1-5|no declared test has anything of the oracle shim
1-10|the mutant is not caught
1-10|no test of sample.bats fails 2 of 2 times
END
  assert_line '4 passed, 7 failed, 0 skipped'
}

@test "prove: missing parts are found without running anything" {
  exercise 4 hunt bug 's/, 6,/, 5,/'
  sed -i '/## Requirement/,+2d; s/Text/[text](none.md)/' "$DIR/README.md"
  rm "$DIR/hint-2"
  printf 'taste=good\n' >>"$DIR/about"
  exercise 5 hunt bug 's/, 6,/, 5,/'
  printf 'changes=x\nwith=02-more/words.h\n' >>"$DIR/about"
  sed -i 's/plain/luck/; /minutes/d' "$DIR/about"
  sed -i 's/  verify 1-5/  verify 1-6/' tests/exercises.bats
  exercise 7 build solution 's/, 6,/, 5,/'
  printf 'with=02-more/none.h\n' >>"$DIR/about"
  touch tests/exercises/8-8.bats
  prove 1 ONLY=1-4
  assert_line '    tags or tests of no exercise: 1-6 8-8'
  assert_line '    hint-2 is missing'
  assert_line '    README.md has no section: ## Requirement'
  assert_line '    README.md: a link leads nowhere'
  assert_line '    about: line 6:taste=good is none of its keys'
  assert_line '    about: no tests='
  prove 1 ONLY=1.5
  assert_line '    about: no minutes='
  assert_line '    about: oracle= one of plain shim burst sanitizer fdlimit'
  assert_line '    about: changes and with are for builds'
  assert_line '    tests/exercises.bats: no test with the tag 1-5 that says: verify 1-5'
  prove 1 ONLY=1-7
  assert_line '    tests/exercises/1-7.bats is missing'
  assert_line --partial 'about: with=02-more/none.h: no file of another chapter'
  prove 2 ONLY=9
}

# ---- the reader's loop ----

@test "a hunt from start to end: failure, hints, state, solution, reset" {
  run -2 kit_make exercise-1-2
  assert_line --partial 'work/1-2 is your copy'
  assert_line 'FAILED: a client is told hello'
  assert_line 'expected 6 bytes, received 5; they differ at byte 6:'
  assert_line --regexp '^ +\^$'
  assert_line '--- server: exit status 0; its standard error: empty'
  assert_line --regexp '^Hint: .'
  refute_line --partial 'SIGTERM ends it'
  assert_equal "$(head -n 1 work/1-2/server.c)" \
    '/* Broken on purpose: exercise 1-2, 01-hello/exercises/2-it/README.md */'
  assert_equal "$(<work/state)" '1-2 failed - 0'
  run -0 kit_make hint-1.2
  assert_output 'this is hint 1'
  run -0 kit_make hint-1-2
  assert_output 'this is hint 2'
  run -0 kit_make solution-1-2 <<<n
  refute_line --regexp '^[-+]'
  sed -i 's/, 5,/, 6,/' work/1-2/server.c
  run -0 make --no-print-directory -C work/1-2 3>&-
  assert_line '  ok: a client is told hello'
  assert_line '  ok: 1 tests of the chapter'
  [[ $(<work/state) == '1-2 passed '[0-9]*' 2' && -x work/1-2/server ]]
  run -0 kit_make solution-1-2
  assert_line --regexp '^-/\* Broken on purpose'
  run -0 kit_make progress
  assert_output '01-hello       [#--] 1 of 3'
  echo >>work/1-2/server.c
  run -0 kit_make progress
  assert_output '01-hello       [---] 0 of 3   stale: 1-2'
  run -0 kit_make reset-1-2 <<<n
  grep -q ', 6,' work/1-2/server.c
  run -0 kit_make reset-1-2 <<<y
  grep -q ', 5,' work/1-2/server.c
  grep -q ', 6,' work/old/1-2.1/server.c
}

@test "a build: the start is the chapter, and a compile error names the reader's own file" {
  run -2 kit_make exercise-1-1
  assert_line 'FAILED: own test'
  cmp <(sed 's,\.\./util,util,' 01-hello/server.c) work/1-1/server.c
  cmp 02-more/words.h work/1-1/words.h # about, with=
  echo oops >>work/1-1/server.c
  run -2 kit_make exercise-1-1
  assert_line --regexp '^work/1-1/server.c:[0-9]+:[0-9]+: error'
  sed -i 's/"hello\\n", 6/"hello\\nbye\\n", 10/; /^oops/d' work/1-1/server.c
  run -0 kit_make exercise-1-1
  assert_line '  ok: own test'
  assert_line '  ok: 1 tests of the chapter'
  run -0 kit_make next
  assert_line --regexp '^1-2 \(hunt, 5 minutes\): A word'
  run -0 kit_make exercises
  assert_line --regexp '^  1-1 +build +5 min  A word  \[passed\]$'
  echo '/* a newer kit */' >>util.h
  run -0 kit_make progress
  assert_output '01-hello       [#--] 1 of 3'
}

@test "a header that the reader adds may include util.h by the chapter's path or the copy's" {
  run -2 kit_make exercise-1-1
  printf '%s\n' '#pragma once' '#include "../util.h"' '#define LAST "bye\n"' >work/1-1/last.h
  sed -i '1a #include "last.h"' work/1-1/server.c
  sed -i 's/"hello\\n", 6/"hello\\n" LAST, 10/' work/1-1/server.c
  run -0 kit_make exercise-1-1
  assert_line '  ok: own test'
  test -x work/1-1/server
}

@test "a program in an endless loop: the failure says that it ran without answering" {
  kit_make exercise-1-2 >/dev/null 2>&1 || true
  sed -i 's/    size_t sent = 0;/&\n    for (;;)\n        ;/' work/1-2/server.c
  run -2 kit_make exercise-1-2
  assert_line 'server ran without answering: it never waits for anything, as in an endless loop'
  assert_line --partial 'Hint: It ran without answering. Which loop goes on for ever?'
}

@test "wrong bytes, then an endless loop: the hint is about the bytes; no bytes: about that" {
  kit_make exercise-1-2 >/dev/null 2>&1 || true
  sed -i 's/    linger_close(client);/    for (;;)\n        ;/' work/1-2/server.c
  run -2 kit_make exercise-1-2
  assert_line 'expected 6 bytes, received 5; they differ at byte 6:'
  assert_line --partial 'Hint: The bytes before the caret are right.'
  sed -i 's/    for (;;)$/    return;/; /^ *;$/d; s/"hello\\n", 5/"", 0/' work/1-2/server.c
  sed -i 's/    return;/    close(client);/' work/1-2/server.c
  run -2 kit_make exercise-1-2
  assert_line 'expected 6 bytes, received 0; they differ at byte 1:'
  assert_line --partial 'Hint: Nothing came back.'
}

@test "Listening on instead of listening on: the failure shows both lines" {
  kit_make exercise-1-2 >/dev/null 2>&1 || true
  sed -i 's/    announce(fd);/    puts("Listening on 127.0.0.1:4");\n    fflush(stdout);/' \
    work/1-2/server.c
  START_WITHIN=1 run -2 kit_make exercise-1-2
  assert_line 'expected: listening on 127.0.0.1:PORT'
  assert_line 'printed:  Listening on 127.0.0.1:4'
  assert_line --partial 'Hint: It printed another line than the tests look for.'
  refute_output --partial flushed
}

@test "a missing file is named, with the command that brings it back" {
  local file hint='To begin anew, with all files: make reset-1-2 (your copy is kept in work/old)'
  kit_make exercise-1-2 >/dev/null 2>&1 || true
  for file in server.c client.c util.h; do
    mv "work/1-2/$file" away
    run -2 kit_make exercise-1-2
    assert_line "work/1-2/$file is missing. $hint"
    refute_output --partial 'make doctor'
    mv away "work/1-2/$file"
  done
  kit_make exercise-1-1 >/dev/null 2>&1 || true
  sed -i '1a #include "words.h"' work/1-1/server.c
  rm work/1-1/words.h
  run -2 kit_make exercise-1-1
  assert_line "work/1-1/words.h is missing. ${hint/1-2/1-1}"
  assert_line --regexp '^work/1-1/server.c:2:10: fatal error: .?words.h'
  mkdir -p work/1-3
  run -2 kit_make exercise-1-3
  assert_line "work/1-3/catch.bats is missing. ${hint/1-2/1-3}"
}

@test "a syntax error: only the compiler's first error is shown, and how many more there are" {
  kit_make exercise-1-2 >/dev/null 2>&1 || true
  printf '%s\n' 'int one(void) { return missing_1; }' 'int two(void) { return missing_2; }' \
    'int three(void) { return missing_3; }' >>work/1-2/server.c
  run -2 kit_make exercise-1-2
  assert_line --regexp '^work/1-2/server.c:[0-9]+:[0-9]+: error: .*missing_1'
  assert_line '… and 2 more'
  refute_output --regexp 'missing_[23]'
}

@test "an assertion that fails without a message: the requirement is repeated" {
  sed -i "s/^  receives .*/  (( 1 == 2 ))/" tests/01-hello.bats
  run -2 kit_make exercise-1-2
  assert_line 'The check above is false, so this requirement is not met:'
  assert_line '  a client is told hello'
  sed -i "s/^  (( 1 == 2 ))/  complain 'a reason'/" tests/01-hello.bats
  run -2 kit_make exercise-1-2
  assert_line 'a reason'
  refute_output --partial 'The check above'
}

# It ends with status 3, and what the test itself asks for is right.
@test "a program that ends badly after its test: no command of the test is called wrong" {
  kit_make exercise-1-2 >/dev/null 2>&1 || true
  sed -i 's/, 5,/, 6,/; s/    return 0;/    return 3;/' work/1-2/server.c
  run -2 kit_make exercise-1-2
  assert_line --partial 'exit status 3, not 0'
  assert_line --partial 'every step of the test had passed'
  refute_line --partial 'receives'
  refute_line --partial 'No answer in time' # that is peer's exit status 3
}

@test "a test of the chapter itself that fails is called that, after the exercise's own" {
  kit_make exercise-1-2 >/dev/null 2>&1 || true
  sed -i 's/, 5,/, 6,/; s/    return 0;/    return 3;/' work/1-2/server.c
  sed -i 's/  receives .*/&\n  stop_server 3/' tests/01-hello.bats
  run -2 kit_make exercise-1-2
  assert_line 'FAILED: SIGTERM ends it'
  assert_line 'This is a test of 01-hello itself: what its programs do, yours have to do, too.'
  assert_line '(in test file tests/01-hello.bats, line 10)' # where it is in the whole file
}

@test "several own tests at a time: the first in order that fails is reported, and all others end" {
  printf '%s\n' '# bats file_tags=1-1' 'CHAPTER=01-hello' 'load ../helpers/common' \
    '%test "a good one" {' '  true' '}' \
    '%test "it fails after the next one" {' "  until [[ -e '$T/next' ]]; do moment; done" \
    '  moment 0.5' '  ((1 == 2))' '}' \
    '%test "it fails at once" {' "  touch '$T/next'" '  ((1 == 3))' '}' \
    '# bats test_tags=slow' '%test "a long one" {' '  start_server' \
    "  sh -c 'echo \$\$ >\"$T/pid\"; exec sleep 300'" '}' |
    sed 's/^%test/@test/' >tests/exercises/1-1.bats
  run -2 kit_make exercise-1-1
  assert_line '  ok: a good one'
  assert_line 'FAILED: it fails after the next one'
  assert_line '(in test file tests/exercises/1-1.bats, line 10)'
  refute_line --partial 'it fails at once'
  [[ ! -s $T/pid ]] || not running "$(<"$T/pid")"
  run find tests -name '*.bats.*'
  refute_output
}

@test "after a change only what has changed is compiled; an earlier text needs no compiler" {
  [[ ! ${CC-} =~ [/\ ] ]] || skip 'CC has to be a word, for which another can stand in'
  mkdir "$T/bin"
  printf '%s\n' '#!/bin/sh' "case \" \$* \" in *' -c '*) echo \"\$*\" >>'$T/compiled' ;; esac" \
    "exec $(command -v "${CC:-cc}") \"\$@\"" >"$T/bin/${CC:-cc}"
  chmod +x "$T/bin/${CC:-cc}"
  PATH=$T/bin:$PATH
  run -2 kit_make exercise-1-2
  grep -q ' -c server.c ' "$T/compiled"
  : >"$T/compiled"
  sed -i 's/, 5,/, 6,/' work/1-2/server.c
  touch -t 202001010000 work/1-2/server.c # contents count, not times
  run -0 kit_make exercise-1-2
  assert_equal "$(grep -o ' -c [a-z.]*' "$T/compiled")" ' -c server.c'
  : >"$T/compiled"
  sed -i 's/, 6,/, 5,/' work/1-2/server.c
  run -2 kit_make exercise-1-2
  assert_line 'FAILED: a client is told hello'
  [[ ! -s $T/compiled ]]
}

@test "the loop leaves out tests of a client that is the chapter's, and says so" {
  printf '%s\n' '%test "client: it ends" {' '  true' '}' |
    sed 's/^%test/@test/' >>tests/01-hello.bats
  kit_make exercise-1-2 >/dev/null 2>&1 || true
  sed -i 's/, 5,/, 6,/' work/1-2/server.c
  run -0 kit_make exercise-1-2
  assert_line '  ok: 1 tests of the chapter'
  assert_line --regexp \
    "^  left out: 1 tests of the client, which is the chapter's; make check-1-2 runs them, too$"
  echo >>work/1-2/client.c
  run -0 kit_make exercise-1-2
  assert_line '  ok: 2 tests of the chapter'
  refute_line --partial 'left out'
}

@test "1-1 tests last what the frame of its chapter does" {
  assert_equal "$(sed -n 's/^@test "\(.*\)" {/\1/p' "$ROOT/tests/exercises/1-1.bats" | tail -n 1)" \
    'SIGTERM: exit 0 within 2 s, idle or with a client'
}

@test "a catch without its last brace, or without half-close: the advice names that" {
  kit_make exercise-1-3 >/dev/null 2>&1 || true
  sed '$d' 01-hello/exercises/3-it/sample.bats >work/1-3/catch.bats
  run -2 kit_make exercise-1-3
  assert_line '! work/1-3/catch.bats cannot be read, so none of its tests can run:'
  assert_line --regexp '^    line [0-9]+: syntax error'
  assert_line 'Hint: no line with only } ends this test:'
  assert_line '    @test "sample" {'
  refute_output --partial end_ahead
  # a chapter that, like most, closes after its client
  sed -i 's/    linger_close/    char rest[9];\n    while (recv(client, rest, 9, 0) > 0)\n&/' \
    01-hello/server.c
  sed -i 's/9, 0) > 0)$/&\n        ;/' 01-hello/server.c
  cp 01-hello/exercises/3-it/sample.bats work/1-3/catch.bats
  run -2 kit_make exercise-1-3
  assert_line '! the chapter itself has to pass'
  assert_line 'said that it sends no more: write half-close before eof.'
}

@test "edit: the libraries of an exercise are linked there too" {
  echo 'libs=-lm' >>01-hello/exercises/2-it/about
  run -0 kit_make edit-1-2
  sed -i '1a #include <math.h>' work/edit/1-2/01-hello/server.c
  sed -i 's/int main(.*/&\n    if (cbrt((double)argc) > 1000.0)\n        return 1;/' \
    work/edit/1-2/01-hello/server.c
  run -0 kit_make -C work/edit/1-2
  test -x work/edit/1-2/01-hello/server
}

@test "check: tests a program in any language, which counts when it passes, or another copy" {
  need python3
  cat >hello.py <<'END'
import socket, sys
server = socket.create_server(("127.0.0.1", int(sys.argv[2])))
print("listening on 127.0.0.1:%d" % server.getsockname()[1], flush=True)
while True:
    client, _ = server.accept()
    client.sendall(b"hello\nbye\n"[: 10 if len(sys.argv) < 4 else 9])
    client.close()
END
  run -0 kit_make check-1-1 SERVER='python3 hello.py'
  assert_line '1-1: passed'
  run -0 kit_make progress
  assert_output '01-hello       [#--] 1 of 3'
  sed -i 's/10 if/9 if/' hello.py
  run -2 kit_make check-1-1 SERVER='python3 hello.py'
  assert_line 'expected 10 bytes, received 9; they differ at byte 10:'
  run -2 kit_make check-1-2 CLIENT=/bin/true
  assert_line '1-2: none of its tests is for such a program (SERVER= or CLIENT=)'
  kit_make exercise-1-2 >/dev/null 2>&1 || true
  mkdir -p students/anna
  mv work/1-2 students/anna/
  rm -r work
  run -2 kit_make check-1-2 DIR=students/anna/1-2
  sed -i 's/, 5,/, 6,/' students/anna/1-2/server.c
  run -0 kit_make check-1-2 DIR=students/anna/1-2
  run -0 kit_make stress-1-2 DIR=students/anna/1-2 N=3
  assert_output '    0 of 3 failed: a client is told hello'
  # what was built for one is not taken for another's, whose files are older
  cp -r students/anna students/ben
  sed -i 's/, 6,/, 5,/' students/ben/1-2/server.c
  touch -t 202001010000 students/ben/1-2/*.[ch]
  run -2 kit_make stress-1-2 DIR=students/ben/1-2 N=1
  assert_line '    1 of 1 failed: a client is told hello'
  run -2 kit_make check-1-2 DIR=students/ben/1-2
  assert_line 'FAILED: a client is told hello'
  [[ ! -e work ]]
  run -2 kit_make check-1-2
  assert_line 'exercise: not started: make exercise-1-2'
}

@test "check and stress: neither a name nor a makefile in a copy that was handed in is run" {
  kit_make exercise-1-2 >/dev/null 2>&1 || true
  mkdir students
  mv work/1-2 students/
  sed -i 's/, 5,/, 6,/' students/1-2/server.c
  : >"students/1-2/x;touch named;.c"
  : >'students/1-2/$(shell touch named).c'
  printf 'all server client %%:\n\ttouch %s/made\n' "$T" >students/1-2/GNUmakefile
  cp students/1-2/GNUmakefile students/1-2/makefile
  run -0 kit_make check-1-2 DIR=students/1-2
  run -0 kit_make stress-1-2 DIR=students/1-2 N=1
  run find "$T" \( -name named -o -name made \)
  refute_output
}

@test "a catch: the chapter and the variants must pass, the mutant must fail" {
  run -2 kit_make exercise-1-3
  assert_line '! the chapter itself has to pass'
  assert_output --partial 'in test file work/1-3/catch.bats, line '
  cp 01-hello/exercises/3-it/sample.bats work/1-3/catch.bats
  run -0 kit_make exercise-1-3
  assert_line '  the mutant is caught'
  mkdir -p "$T/handed in, & all/anna"
  mv work/1-3 "$T/handed in, & all/anna/" # from where ../../tests leads nowhere
  run -0 kit_make check-1-3 DIR="$T/handed in, & all/anna/1-3"
  assert_line '1-3: passed'
}

@test "an exercise whose patch does not fit a changed chapter is not started" {
  local command
  sed -i 's/, 6,/, 3 + 3,/' 01-hello/server.c
  for command in exercise-1-2 exercise-1-2 mystery-1 mystery-1; do
    run -2 kit_make "$command"
    assert_line 'exercise: 01-hello was changed: git diff 01-hello'
    [[ ! -e work/1-2 && ! -e work/mystery-1 && ! -e work/state ]]
  done
}

@test "a skipped test does not count as passed" {
  sed -i "/told hello/a\\  skip 'no room here'" tests/01-hello.bats
  run -2 kit_make exercise-1-2
  assert_line --partial 'a client is told hello # skip no room here'
  assert_line '1-2: none of its tests can run here'
  run -2 kit_make stress-1-2 N=2
  assert_line --partial 'a client is told hello # skip no room here'
  refute_line --partial ' of 2 failed'
  # one of two, which may run at the same time: mkdir succeeds for one of them
  sed -i "s,  skip .*,  ! mkdir '$T/here' 2>/dev/null || skip," tests/01-hello.bats
  run -2 kit_make stress-1-2 N=2
  assert_output --partial '    1 of 1 failed: a client is told hello'
}

# refuses: a compiler that has no sanitizers.
refuses() {
  local name=${CC:-cc}
  mkdir "$T/bin"
  printf '%s\n' '#!/bin/sh' 'case $* in *-fsanitize*) exit 1 ;; esac' \
    "exec $(command -v "$name") \"\$@\"" >"$T/bin/$name"
  chmod +x "$T/bin/$name"
  PATH=$T/bin:$PATH
}

@test "a compiler without sanitizers: programs are built without them, and this is reported" {
  [[ ! ${CC-} =~ [/\ ] ]] || skip 'CC has to be a word, for which another can stand in'
  refuses
  run -2 kit_make exercise-1-2
  assert_line 'no sanitizers here (see make doctor): your programs are built without them'
  assert_line 'FAILED: a client is told hello'
  refute_line --partial 'ln: '
  run -2 kit_make stress-1-2 N=1
  assert_line 'no sanitizers here (see make doctor): your programs are built without them'
  assert_line '    1 of 1 failed: a client is told hello'
  sed -i 's/, 5,/, 6,/' work/1-2/server.c
  run -0 kit_make exercise-1-2
  [[ -x work/1-2/server ]]
  run -0 kit_make stress-1-2 N=1
  rm work/1-2/server # what was built is not what was changed
  run -0 kit_make progress
  assert_output '01-hello       [#--] 1 of 3'
  mkdir work/1-3
  cp 01-hello/exercises/3-it/sample.bats work/1-3/catch.bats
  run -0 kit_make exercise-1-3
  assert_line '  the chapter passes'
  assert_line '  the mutant is caught'
}

# What is started in the background ignores SIGINT, if nobody sees to it: bash(1), "Signals".
@test "watch: builds and tests at every save; Ctrl-C ends it, even while tests run" {
  local hears=(env --default-signal=INT)
  "${hears[@]}" true 2>/dev/null || hears=()
  kit_make exercise-1-2 >/dev/null 2>&1 || true
  start_tool watch "${hears[@]}" env -u MAKEFLAGS make --no-print-directory -C "$KIT" watch-1-2
  wait_for 60 grep -q '^FAILED: ' "$T/watch.out"
  sed -i 's/, 5,/, 6,/' work/1-2/server.c
  wait_for 60 grep -q '^1-2 passed' "$T/watch.out"
  ((${#hears[@]})) || skip 'env has no --default-signal here'
  sed -i "/told hello/a\\  sh -c 'touch \"$T/here\"; exec sleep 30'" tests/01-hello.bats
  echo >>work/1-2/server.c
  wait_for 60 test -e "$T/here"
  kill -INT -- "-$TOOL_PID" # as a terminal does it
  wait_for 10 not running "$TOOL_PID"
  grep -q '^1-2 passed ' work/state # what has passed is not made to fail by Ctrl-C
}

# start_watching COMMAND: `make watch-1-2` in a terminal of 80 columns, to whose keyboard descriptor
# 9 leads. What it shows is in $T/watch.out.
start_watching() {
  need script
  mkfifo "$T/keyboard"
  start_tool watch bash -c 'script -qfec "stty cols 80; exec $1" /dev/null <"$2"' bash \
    "env -u MAKEFLAGS make --no-print-directory -C ${KIT@Q} $1" "$T/keyboard"
  exec 9>"$T/keyboard"
}

# shows TEXT [N]: watch has shown it N times, if not once.
shows() {
  (($(grep -cF -- "$1" "$T/watch.out") >= ${2:-1}))
}

@test "watch: on a terminal, shows progress, requirement, failure and keys, and takes the keys" {
  sed -i '/^## Requirement/,/^## How/s/Text/It says hello/' 01-hello/exercises/2-it/README.md
  start_watching watch-1-2
  wait_for 60 shows 'q quit'
  shows '0 of 3 exercises'
  shows 'It says hello.'
  shows 'FAILED: a client is told hello'
  echo -n h >&9
  wait_for 10 shows 'this is hint 1'
  echo -n s >&9
  wait_for 10 shows 'the solution is shown when 1-2 has passed'
  sed -i 's/, 5,/, 6,/' work/1-2/server.c
  wait_for 60 shows '1-2 passed. You have seen: how'
  wait_for 10 shows '1 of 3 exercises'
  echo -n s >&9
  wait_for 10 shows '-/* Broken on purpose'
  echo -n l >&9
  wait_for 10 shows '[passed]'
  echo -n n >&9 # 1-1 comes next
  wait_for 60 shows 'FAILED: own test'
  test -d work/1-1
  echo -n q >&9
  wait_for 10 not running "$TOOL_PID"
}

@test "watch: an editor's backups and files that vanish neither end it nor make it run again" {
  kit_make exercise-1-2 >/dev/null 2>&1 || true
  start_tool watch env -u MAKEFLAGS make --no-print-directory -C "$KIT" watch-1-2
  wait_for 60 grep -q '^FAILED: ' "$T/watch.out"
  local i
  for ((i = 0; i < 200; i++)); do
    echo >work/1-2/gone.c
    echo >work/1-2/server.c~
    echo >work/1-2/.server.c.swp
    echo >work/1-2/4913
    rm work/1-2/gone.c
  done
  sed -i 's/, 5,/, 6,/' work/1-2/server.c
  wait_for 60 grep -q '^1-2 passed' "$T/watch.out"
  rm work/1-2/4913
  cp work/1-2/server.c~ work/1-2/client.c~
  sleep 1
  assert_equal "$(grep -c '^1-2 passed' "$T/watch.out")" 1
  run cat "$T/watch.err"
  refute_output --partial cksum
}

# The first has written the state already when it ends. Here we have the state's lock by then.
@test "a run that ends leaves the lock of another process alone" {
  sed -i "/told hello/a\\  touch '$T/here'; until [[ -e '$T/go' ]]; do sleep 0.1; done" \
    tests/01-hello.bats
  start_tool first env -u MAKEFLAGS "$KIT/tests/bin/exercise" run 1-2
  wait_for 60 test -e "$T/here"
  ln -s $$ work/.state.lock
  kill "$TOOL_PID"
  touch "$T/go"
  tool_ends first 143
  assert_equal "$(readlink work/.state.lock)" $$
}

@test "two runs of one exercise at once: the second is refused; a hint taken meanwhile counts" {
  sed -i "/told hello/a\\  touch '$T/here'; until [[ -e '$T/go' ]]; do sleep 0.1; done" \
    tests/01-hello.bats
  start_tool first env -u MAKEFLAGS make --no-print-directory -C "$KIT" exercise-1-2
  wait_for 60 test -e "$T/here"
  run -2 kit_make exercise-1-2
  assert_line --regexp '^exercise: 1-2 is being tested already, by process [0-9]+: wait for it'
  run -0 kit_make hint-1-2
  touch "$T/go"
  tool_ends first 2
  assert_equal "$(<work/state)" '1-2 failed - 1'
  run find work -name '.*lock'
  refute_output
  ln -s 999999999 work/.1-2.lock # of a process that was killed
  run -2 kit_make exercise-1-2
  assert_line 'FAILED: a client is told hello'
}

@test "the loop leaves out tests that take long and says so; check runs them" {
  printf '%s\n' '# bats test_tags=heavy' '%test "a long one" {' '  true' '}' |
    sed 's/^%test/@test/' >>tests/01-hello.bats
  kit_make exercise-1-2 >/dev/null 2>&1 || true
  sed -i 's/, 5,/, 6,/' work/1-2/server.c
  run -0 kit_make exercise-1-2
  assert_line '  ok: 1 tests of the chapter'
  assert_line '  left out: 1 tests that take long; make check-1-2 runs them, too'
  run -0 kit_make check-1-2
  assert_line '  ok: 2 tests of the chapter'
  refute_line --partial 'left out'
}

@test "in a copy, make hint, make solution and make reset need no number" {
  kit_make exercise-1-2 >/dev/null 2>&1 || true
  run -0 make --no-print-directory -C work/1-2 hint 3>&-
  assert_output 'this is hint 1'
  run -0 make --no-print-directory -C work/1-2 solution 3>&- <<<y
  assert_line --regexp '^-/\* Broken on purpose'
  run -0 make --no-print-directory -C work/1-2 reset 3>&- <<<y
  assert_line --partial 'your copy is now in work/old/1-2.1'
}

@test "next: after warm-ups only, the easiest of chapter 01, wherever the last warm-up was" {
  mv 02-more/words.h 01-hello/ && sed -i '/^with=/d' 01-hello/exercises/1-it/about
  mkdir -p 02-more/exercises 02-more/steps
  cp 01-hello/server.c 02-more/steps/1-hello.c
  cp 01-hello/{server.c,client.c,Makefile} 02-more/
  cp -r 01-hello/exercises/2-it 02-more/exercises/0-it
  cp -r 01-hello/exercises/2-it 02-more/exercises/2-it
  sed -i 's/kind=hunt/kind=first/; $astep=1-hello' 02-more/exercises/0-it/about
  sed 's/01-hello/02-more/' tests/exercises/1-1.bats >tests/exercises/2-0.bats
  run -0 kit_make next
  assert_line --regexp '^2-0 \(first'
  kit_make exercise-2-0 || true
  printf '%s\n' '2-0 passed program 0' >work/state
  run -0 kit_make next
  assert_line --regexp '^1-1 '
}

@test "hint: its lines are folded between words, for a terminal of 80 columns" {
  kit_make exercise-1-2 >/dev/null 2>&1 || true
  printf '%s ' {1..60}word >01-hello/exercises/2-it/hint-1
  run -0 kit_make hint-1-2
  ((${#lines[@]} >= 5))
  [[ ! $output =~ [^$'\n']{81} && ${lines[0]} == *'word ' ]]
}

@test "next: what was started comes first, then the easiest of the chapter worked on last" {
  mkdir -p 02-more/exercises
  cp -r 01-hello/exercises/2-it 02-more/exercises/1-it
  cp -r 01-hello/exercises/2-it 02-more/exercises/2-it
  sed -i 's/minutes=5/minutes=9/' 02-more/exercises/1-it/about
  sed -i 's/minutes=5/minutes=9/' 01-hello/exercises/1-it/about
  mkdir work
  run -0 kit_make next # the easiest of the first chapter
  assert_line --regexp '^1-2 '
  printf '%s\n' '1-3 failed - 0' >work/state
  run -0 kit_make next
  assert_line --regexp '^1-3 '
  printf '%s\n' '1-3 passed mystery 0' >work/state
  echo 2-9 >work/last
  run -0 kit_make next
  assert_line --regexp '^2-2 '
}

@test "an exercise begins with the kit's text, not with what the reader has tried in the chapter" {
  need git
  git init -q .
  git add -f 01-hello tests Makefile util.h
  git -c user.name=a -c user.email=a@example commit -qm kit
  sed -i 's/, 6,/, 3 + 3,/' 01-hello/server.c
  run -2 kit_make exercise-1-2
  assert_line --partial "01-hello differs from the kit's (git diff 01-hello); the kit's own text"
  assert_line 'FAILED: a client is told hello'
  grep -q ', 5,' work/1-2/server.c
  run -0 kit_make solution-1-2 <<<y
  assert_line --regexp '^\+.*, 6,'
  refute_output --partial '3 + 3'
}

@test "mystery: gives one of the chapter's bugs, and names it when it has been found" {
  run -2 kit_make mystery-1
  assert_line 'work/mystery-1 has a bug. Find it.'
  refute_output --partial 1-2
  sed -i 's/, 5,/, 6,/' work/mystery-1/server.c
  run -0 kit_make hint-mystery-1
  assert_output 'this is hint 1'
  run -0 kit_make mystery-1
  assert_line 'Found. It was 1-2: A word'
  run -0 kit_make solution-mystery-1
  assert_line --regexp '^-/\* Broken on purpose'
  run -0 kit_make progress
  assert_output '01-hello       [#--] 1 of 3'
  run -2 kit_make mystery-1 # another; there is only one here
  assert_line 'your copy is now in work/old/mystery-1.1'
  assert_line 'work/mystery-1 has a bug. Find it.'
  sed -i 's/, 5,/, 7,/' work/mystery-1/server.c
  run -0 make --no-print-directory -C work/mystery-1 reset 3>&- <<<y
  assert_line --partial 'your copy is now in work/old/mystery-1.2'
  grep -q ', 5,' work/mystery-1/server.c
}

@test "patches-refresh: a patch follows its chapter; one that cannot is named, and can be fixed" {
  local patch=01-hello/exercises/2-it/bug.patch before
  sed -i '1a #include <ctype.h>' 01-hello/server.c
  run -0 kit_make patches-refresh
  assert_line "$patch is new"
  patch -s -p1 --fuzz=0 --dry-run -d 01-hello -i "../$patch" | run ! grep offset
  sed -i 's/, 6,/, 3 + 3,/' 01-hello/server.c
  before=$(<"$patch")
  run -2 kit_make patches-refresh
  assert_line "$patch does not apply any more: make edit-1-2, fix it, make patch-1-2"
  assert_equal "$(<"$patch")" "$before"
  run -0 kit_make edit-1-2
  assert_line 'conflicts are marked with <<<<<<<'
  run -2 kit_make patch-1-2
  sed -i '/^<<<<<<</,/^>>>>>>>/c\    send_all(client, "hello\\n", 2 + 3, 1000);' \
    work/edit/1-2/01-hello/server.c
  run -0 kit_make patch-1-2
  grep -q '^+.*2 + 3' "$patch"
  patch -s -p1 --fuzz=0 --dry-run -d 01-hello -i "../$patch"
}

@test "tests/exercises.bats: an exercise that is not started is skipped" {
  run -0 env -u RUN_TESTS_MARK bats "$ROOT/tests/exercises.bats" 3>&-
}
