# The exercises' own tools: the reader's loop (tests/bin/exercise) and the proof (tests/bin/prove),
# which has to find what is wrong with an exercise. Both work here on a kit of one small chapter.

bats_require_minimum_version 1.5.0
export SANITIZERS=undefined CFLAGS=-O0 # built sooner

# The chapter says hello to each client. Its exercises are all about that.
setup_file() {
  load ../helpers/common
  KIT=$BATS_FILE_TMPDIR/kit
  export KIT
  mkdir -p "$KIT"/{01-hello,tests/{exercises,bench,helpers,bin},build}
  cd "$KIT" || return
  cp "$ROOT"/{Makefile,util.h} .
  cp "$ROOT"/tests/bin/{exercise,exercise.sh,prove,tools.sh,doc-links,lint} tests/bin/
  cp "$ROOT/tests/setup_suite.bash" tests/
  cp "$ROOT/tests/helpers/common.bash" tests/helpers/
  cp "$ROOT/tests/exercises/exercises.mk" tests/exercises/
  touch tests/bench/bench.mk
  mkdir -p tests/shim
  cp "$ROOT"/tests/helpers/peer{.c,_tls.h} tests/helpers/
  cp "$ROOT/tests/shim/fault.c" tests/shim/
  cp -r "$ROOT"/build/{helpers,fault.so} build/ # newer than their sources
  touch build/helpers/* build/fault.so
  cp "$ROOT/.clang-format" .
  program >01-hello/server.c
  echo 'int main(void) { return 0; }' >01-hello/client.c
  chapter_tests >tests/01-hello.bats
  echo >tests/exercises.bats
  exercise 1 build solution 's/"hello\\n"/"hello\\nbye\\n"/; s/, 6,/, 10,/'
  mkdir 02-more
  echo '/* words */' >02-more/words.h
  printf '%s\n' 'changes=a client is told hello.*' 'with=02-more/words.h' >>"$DIR/about"
  own_test 1 "receives 'hello\nbye\n' eof"
  exercise 2 hunt bug 's/, 6,/, 5,/'
  echo 'tests=a client is told hello' >>"$DIR/about"
  exercise 3 catch bug 's/, 6,/, 5,/'
  sample 'receives "hello\n" eof'
  kit_make -s all helpers
  kit_make -s all helpers SAN="$SANITIZERS"
}

# program: the chapter's server.
program() {
  cat <<'END'
#include "../util.h"

/* Tells the client. */
static void serve(int client) {
    send_all(client, "hello\n", 6, 1000);
    linger_close(client);
}

int main(int argc, char **argv) {
    char why[WHY_TEXT];
    int fd = listen_on("127.0.0.1", argc == 3 ? argv[2] : "0", why);
    stop_on_signals();
    if (fd < 0)
        die(why, errno);
    announce(fd);
    while (!stopping) {
        int client = accept(fd, NULL, NULL);
        if (client >= 0)
            serve(client);
    }
    close(fd);
    return 0;
}
END
}

# In files of tests that are made here a test begins with %test, or bats would take it for its own.
chapter_tests() {
  sed 's/^%test/@test/' <<'END'
CHAPTER=01-hello
load helpers/common
%test "a client is told hello" {
  start_server
  receives 'hello\n' eof
}
%test "SIGTERM ends it" {
  start_server
  stop_server
}
END
}

# exercise N KIND PATCH SED: a good one, whose patch is what SED does to the server.
exercise() {
  local n=$1 name
  DIR=$KIT/01-hello/exercises/$n-it
  mkdir -p "$DIR"
  printf '%s\n' "kind=$2" 'title=A word' 'minutes=5' 'learns=how' >"$DIR/about"
  [[ $2 == build ]] || echo 'oracle=plain' >>"$DIR/about"
  echo "# 1-$n A word" >"$DIR/README.md"
  for name in Story 'Why it matters' Requirement 'How it is tested' 'What to read'; do
    printf '\n## %s\n\nText.\n' "$name" >>"$DIR/README.md"
  done
  for name in 1 2 3; do
    echo "this is hint $name" >"$DIR/hint-$name"
  done
  sed "$4" "$KIT/01-hello/server.c" |
    diff -u --label a/server.c --label b/server.c "$KIT/01-hello/server.c" - >"$DIR/$3.patch" ||
    (($? == 1))
  printf '# bats test_tags=1-%s\n%%test "1-%s: A word" {\n  verify 1-%s\n}\n' "$n" "$n" "$n" |
    sed 's/^%test/@test/' >>"$KIT/tests/exercises.bats"
}

# own_test N COMMAND: its file of tests, with one.
own_test() {
  printf '%s\n' "# bats file_tags=1-$1" 'CHAPTER=01-hello' 'load ../helpers/common' \
    "%test \"own test\" {" '  start_server' "  $2" '}' | sed 's/^%test/@test/' \
    >"$KIT/tests/exercises/1-$1.bats"
  echo 'tests=own test' >>"$DIR/about"
}

sample() {
  printf '%s\n' 'CHAPTER=01-hello' 'load ../../tests/helpers/common' "%test \"sample\" {" \
    '  start_server' "  $1" '}' | sed 's/^%test/@test/' >"$DIR/sample.bats"
}

setup() {
  load ../helpers/common
  need patch
  T=$BATS_TEST_TMPDIR
  cp -a "$KIT" "$T/kit"
  KIT=$T/kit
  cd "$KIT" || return
}

# A make from outside and a bats around us are none of its business; a terminal there is not.
kit_make() {
  env -u MAKEFLAGS -u MAKELEVEL -u MFLAGS timeout 120 make --no-print-directory "$@" 3>&-
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

@test "prove: what fails among others is proven once more, alone, and that is told" {
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

# All at once, since each costs a compilation.
@test "prove: what is wrong with an exercise is found and named" {
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

@test "prove: what is missing is found without running anything" {
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

@test "a hunt from its start to its end: what is shown, hints, state, solution, reset" {
  run -2 kit_make exercise-1-2
  assert_line --partial 'work/1-2 is yours now'
  assert_line 'FAILED: a client is told hello'
  assert_line 'expected 6 bytes, received 5; they differ at byte 6:'
  assert_line --regexp '^ +\^$'
  assert_line '--- server: exit status 0; its last words: none'
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
  assert_line '  ok: 2 tests of the chapter'
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

@test "a build: the start is the chapter, a compile error is shown where the reader is" {
  run -2 kit_make exercise-1-1
  assert_line 'FAILED: own test'
  cmp <(sed 's,\.\./util,util,' 01-hello/server.c) work/1-1/server.c
  cmp 02-more/words.h work/1-1/words.h # about, with=
  echo oops >>work/1-1/server.c
  run -2 kit_make exercise-1-1
  assert_line --partial 'work/1-1/server.c:24'
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

@test "check: a program in any language, or a copy of somebody's; the state stays as it is" {
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
  touch -d '2 days ago' students/ben/1-2/*.[ch]
  run -2 kit_make stress-1-2 DIR=students/ben/1-2 N=1
  assert_line '    1 of 1 failed: a client is told hello'
  run -2 kit_make check-1-2 DIR=students/ben/1-2
  assert_line 'FAILED: a client is told hello'
  [[ ! -e work ]]
  run -2 kit_make check-1-2
  assert_line 'exercise: not started: make exercise-1-2'
}

@test "a catch: the chapter and the variants have to pass, the mutant to fail" {
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

@test "a start whose patch does not apply, since the chapter was changed, has not begun" {
  local command
  sed -i 's/, 6,/, 3 + 3,/' 01-hello/server.c
  for command in exercise-1-2 exercise-1-2 mystery-1 mystery-1; do
    run -2 kit_make "$command"
    assert_line 'exercise: 01-hello was changed: git diff 01-hello'
    [[ ! -e work/1-2 && ! -e work/mystery-1 && ! -e work/state ]]
  done
}

@test "a test that is skipped is no test that passes" {
  sed -i "/told hello/a\\  skip 'no room here'" tests/01-hello.bats
  run -2 kit_make exercise-1-2
  assert_line --partial 'a client is told hello # skip no room here'
  assert_line '1-2: none of its tests can run here'
  run -2 kit_make stress-1-2 N=2
  assert_line --partial 'a client is told hello # skip no room here'
  refute_line --partial ' of 2 failed'
  # one of two
  sed -i "s,  skip .*,  [[ -e $T/here ]] || { touch '$T/here'; skip; }," tests/01-hello.bats
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

@test "a compiler without sanitizers: all is built without, and that is told" {
  [[ ! ${CC-} =~ [/\ ] ]] || skip 'CC has to be a word, for which another can stand in'
  refuses
  run -2 kit_make exercise-1-2
  assert_line 'no sanitizers here (make doctor): your programs are built without'
  assert_line 'FAILED: a client is told hello'
  refute_line --partial 'ln: '
  run -2 kit_make stress-1-2 N=1
  assert_line 'no sanitizers here (make doctor): your programs are built without'
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
@test "watch: builds and tests at every save; Ctrl-C ends it, also while tests run" {
  local hears=(env --default-signal=INT)
  "${hears[@]}" true 2>/dev/null || hears=()
  kit_make exercise-1-2 >/dev/null 2>&1 || true
  start_tool watch "${hears[@]}" env -u MAKEFLAGS make --no-print-directory -C "$KIT" watch-1-2
  wait_for 30 grep -q '^FAILED: ' "$T/watch.out"
  sed -i 's/, 5,/, 6,/' work/1-2/server.c
  wait_for 30 grep -q '^1-2 passed' "$T/watch.out"
  ((${#hears[@]})) || skip 'env has no --default-signal here'
  sed -i "/told hello/a\\  sh -c 'touch \"$T/here\"; exec sleep 30'" tests/01-hello.bats
  echo >>work/1-2/server.c
  wait_for 30 test -e "$T/here"
  kill -INT -- "-$TOOL_PID" # as a terminal does it
  wait_for 10 not running "$TOOL_PID"
}

@test "mystery: a bug of the chapter, and which one is told when it is found" {
  run -2 kit_make mystery-1
  assert_line 'work/mystery-1 has a bug. Find it.'
  refute_output --partial 1-2
  sed -i 's/, 5,/, 6,/' work/mystery-1/server.c
  run -0 kit_make mystery-1
  assert_line 'Found. It was 1-2: A word'
}

@test "patches-refresh: a patch follows its chapter; one that cannot is named, and can be mended" {
  local patch=01-hello/exercises/2-it/bug.patch before
  sed -i '1a #include <ctype.h>' 01-hello/server.c
  run -0 kit_make patches-refresh
  assert_line "$patch is new"
  patch -s -p1 --fuzz=0 --dry-run -d 01-hello -i "../$patch" | run ! grep offset
  sed -i 's/, 6,/, 3 + 3,/' 01-hello/server.c
  before=$(<"$patch")
  run -2 kit_make patches-refresh
  assert_line "$patch does not apply any more: make edit-1-2, mend it, make patch-1-2"
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

@test "tests/exercises.bats: what is not started is skipped" {
  run -0 env -u RUN_TESTS_MARK bats "$ROOT/tests/exercises.bats" 3>&-
}
