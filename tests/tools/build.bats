# The Makefile, and the scripts of tests/bin that it calls. What changes files does so in a copy.

load ../helpers/common

setup() {
  # What this run was asked for is not what the makes and runs in here are asked for.
  unset MAKEFLAGS MFLAGS MAKELEVEL MAKEOVERRIDES SAN TAGS FILTER JOBS CC CFLAGS CPPFLAGS LDFLAGS
  unset CI SETUP_EXTRA WERROR
  TREE=$T/tree
  BIN=$T/bin
}

# ---- the Makefile ----

# copy_tree: what git would take into $TREE, but only chapter 01, and of the tests only unit.bats
# and its util.c:
# a mistake must not make this file run itself.
copy_tree() {
  local file
  cd "$ROOT" || return
  { git ls-files -co --exclude-standard 2>/dev/null || find . -type f; } | sed 's,^\./,,' |
    grep -vE '^(\.git/|build/|0[2-9]-|tests/(soak|tools)/|tests/unit/[^u])' |
    grep -vE '^tests/([^u]|u[^n])[^/]*\.bats$' >"$T/files"
  while read -r file; do
    mkdir -p "$TREE/$(dirname "$file")"
    [[ ! -f $file ]] || cp -p "$file" "$TREE/$file"
  done <"$T/files"
  rm -f "$TREE/01-basic-tcp/server" "$TREE/01-basic-tcp/client"
  cd "$TREE" || return
}

# Every make is bounded, and says what it compiles.
make() {
  timeout $((60 * PATIENCE)) make --no-print-directory "$@" 3>&-
}

# assert_built COUNT: so many programs.
assert_built() {
  assert_equal "$(grep -c -e ' -o ' <<<"$output")" "$1"
}

@test "make help has one line for every target" {
  local target lines
  run -0 make -C "$ROOT" help
  for target in '' NN NN-name setup doctor tour test test-NN stress-tests diff-NN lint clean \
    exercises exercise-N-M hint-N-M mystery-N check-N-M progress next prove patches-refresh; do
    lines=$(grep -cE "^  make ${target:- }  *[^ ]+ [^ ]" <<<"$output") || true
    assert_equal "$target: $lines" "$target: 1"
  done
}

@test "make NN, NN-name, and make in the chapter build that chapter and nothing else" {
  copy_tree
  mkdir 99-other
  cp 01-basic-tcp/*.c 01-basic-tcp/Makefile 99-other/
  run -0 make 01
  assert_built 2
  [[ -x 01-basic-tcp/server && -x 01-basic-tcp/client && ! -e 99-other/server ]]
  run -0 make clean
  [[ ! -e 01-basic-tcp/server && ! -e 01-basic-tcp/client && ! -e build ]]
  run -0 make -n 01-basic-tcp
  assert_built 2
  run -0 make -n -C 01-basic-tcp
  assert_built 2
  run -0 make -n
  assert_built 4
}

@test "only a change of a source, of util.h or of the flags causes a rebuild" {
  copy_tree
  run -0 make 01
  assert_built 2
  run -0 make 01
  assert_built 0
  touch util.h
  run -0 make 01
  assert_built 2
  run -0 make 01 CFLAGS=-DCHANGED
  assert_built 2
  run -0 make 01 CFLAGS=-DCHANGED
  assert_built 0
  touch 01-basic-tcp/client.c
  run -0 make 01 CFLAGS=-DCHANGED
  assert_built 1
}

@test "a chapter's other .c files are parts of both programs, even if added or removed later" {
  copy_tree
  cd 01-basic-tcp || return
  echo 'int part(void); int part(void) { return 0; }' >part.c
  echo 'int part(void); int (*first)(void) = part;' >>server.c
  echo 'int part(void); int (*other)(void) = part;' >>client.c
  run -0 make -C .. 01
  assert_built 2
  touch part.c
  run -0 make -C .. 01
  assert_built 2
  mv part.c apart.c
  run -0 make -C .. 01
  assert_built 2
  rm apart.c
  run -2 make -C .. 01
  assert_output --regexp "undefined reference to .part"
}

@test "a compiler warning fails the build only with WERROR=1, since new compilers have new ones" {
  copy_tree
  echo 'static int idle(int n) { unsigned u = n; return (int)u; }' >>01-basic-tcp/server.c
  run -2 make 01 WERROR=1
  assert_output --partial 'idle'
  [[ ! -e 01-basic-tcp/server ]]
  run -0 make 01
  assert_output --partial 'idle'
  [[ -x 01-basic-tcp/server ]]
}

# glibc as its authors ship it warns of checks without optimization; Debian's does not.
@test "CFLAGS may turn optimization off, choose another fortify level, define _GNU_SOURCE" {
  local flags
  copy_tree
  printf '%s\n' '#if defined _FORTIFY_SOURCE && !defined __OPTIMIZE__' \
    '#error _FORTIFY_SOURCE requires compiling with optimization' '#endif' >"$T/upstream.h"
  for flags in "-O0 -include upstream.h" -O1 -D_FORTIFY_SOURCE=3 -Wp,-D_FORTIFY_SOURCE=1 \
    -U_FORTIFY_SOURCE -D_GNU_SOURCE; do
    run -0 make 01 helpers CPATH="$T" WERROR=1 CFLAGS="$flags"
    refute_output --partial warning
  done
}

@test "make test, make certs and the kit's other targets also work inside a chapter" {
  copy_tree
  run -0 make -C 01-basic-tcp -n test
  assert_line --partial 'tests/bin/run-tests tests/01-'
  run -0 make -C 01-basic-tcp -n certs exercise-1-2
  assert_line --partial '08-tls/certs.sh'
  assert_line --partial 'tests/bin/exercise run 1-2'
  run -2 make -C 01-basic-tcp tset
  assert_line --partial "No rule to make target 'tset'"
  run -0 make -C 01-basic-tcp
  assert_built 2
  run -0 make -C 01-basic-tcp server
  assert_line "make: 'server' is up to date."
  run -0 make -C 01-basic-tcp clean
  [[ ! -e 01-basic-tcp/server && ! -e 01-basic-tcp/client ]]
}

# Make splits names at spaces, the shell at quotes.
@test "the kit builds in a path with spaces, quotes and non-ASCII letters" {
  TREE="$T/süßer  Ort, it's"
  copy_tree
  mkdir 08-tls
  cp "$ROOT"/08-tls/{Makefile,certs.sh} 08-tls/
  printf '%s\n' '#include <stdio.h>' 'int main(void) { return puts(CERTS) < 0; }' >08-tls/server.c
  cp 08-tls/server.c 08-tls/client.c
  run -0 make 01 08
  run -0 08-tls/server
  assert_output "$TREE/08-tls/certs"
  [[ -s 08-tls/certs/server.pem && -x 01-basic-tcp/server ]]
  run -0 make 01 08
  assert_built 0
  touch util.h
  run -0 make 01
  assert_built 2
  run -0 make clean
  [[ ! -e 08-tls/certs ]]
}

@test "an instrumented build has a directory of its own" {
  echo 'int main(void) { return 0; }' >"$T/probe.c"
  cc -fsanitize=address,undefined "$T/probe.c" -o "$T/probe" 2>/dev/null ||
    skip 'no sanitizers here: SETUP_EXTRA=ci make setup'
  copy_tree
  run -0 make 01 SAN=address,undefined
  assert_built 2
  [[ -x build/address-undefined/01-basic-tcp/server && ! -e 01-basic-tcp/server ]]
  run -0 make 01
  assert_built 2
  run -0 make 01 SAN=address,undefined
  assert_built 0
}

# ---- every program ----

# fflush(3): stdio keeps a short text, so only a flush finds out that the disk is full.
@test "-h, and the usage cannot be written: exit 1 with the reason, in all chapters" {
  [[ -c /dev/full ]] || skip 'no /dev/full here'
  local program status tried=0
  for program in "$ROOT"/0*/{server,client,load}; do
    [[ -x $program ]] || continue
    status=0
    "$program" -h >/dev/full 2>"$T/why" || status=$?
    assert_equal "$status ${program#"$ROOT"/}: $(<"$T/why")" \
      "1 ${program#"$ROOT"/}: ${program##*/}: stdout: No space left on device (ENOSPC)"
    tried=$((tried + 1))
  done
  ((tried >= 17)) || fail "only $tried programs are built"
}

# ---- run-tests ----

# run_tests STATUS [VAR=VALUE…] FILE…: in an environment without the bats that runs this test.
run_tests() {
  local status=$1
  shift
  run "-$status" env -i "PATH=${PATH//"$BATS_LIBEXEC:"/}" "HOME=$HOME" "TMPDIR=$T" JOBS=1 \
    "RUN_TESTS_MARK=${RUN_TESTS_MARK-}" timeout 60 env "${@:1:$#-1}" \
    "${RUN_TESTS:-$ROOT/tests/bin/run-tests}" "${!#}" 3>&-
}

# fixture NAME: a file of tests from standard input, where they begin with %test: bats would take
# them for tests of this file.
fixture() {
  sed 's/^%test/@test/' >"$T/$1.bats"
}

last_line() {
  echo "${lines[-1]}"
}

@test "run-tests: counts the tests that passed and were skipped, and says why" {
  fixture good <<'END'
%test "one" { [[ $SAN == thread ]]; }
# bats test_tags=slow
%test "two" { skip "too slow"; }
END
  run_tests 0 SAN=thread "$T/good.bats"
  assert_line '  two: too slow'
  assert_equal "$(last_line)" '1 passed, 0 failed, 1 skipped'
  run_tests 0 JOBS=2 SAN=thread TAGS='!slow' "$T/good.bats"
  assert_equal "$(last_line)" '1 passed, 0 failed, 0 skipped'
  run_tests 1 JOBS=2 "$T/good.bats"
  assert_line --partial 'good.bats: one'
  assert_equal "$(last_line)" '0 passed, 1 failed, 1 skipped'
}

@test "run-tests: with a space or noexec in TMPDIR it uses another directory, and says so" {
  fixture good <<<'%test one { [[ $BATS_TEST_TMPDIR != *" "* ]]; }'
  mkdir "$T/a b"
  run_tests 0 TMPDIR="$T/a b" "$T/good.bats"
  assert_line --regexp '^run-tests: temporary files are in /[^ ]*, not in .*/a b: its name has'
  assert_equal "$(last_line)" '1 passed, 0 failed, 0 skipped'
  run_tests 0 TMPDIR="$T/none" "$T/good.bats"
  assert_line --partial 'no file can be made there'
  unshare -m true 2>/dev/null || return 0 # the rest needs a mount of its own
  mkdir "$T/noexec"
  # shellcheck disable=SC2016
  run -0 unshare -m sh -c 'mount -t tmpfs -o noexec tmpfs "$1" && shift &&
    exec "$@"' sh "$T/noexec" env -i "PATH=${PATH//"$BATS_LIBEXEC:"/}" "HOME=$HOME" \
    "TMPDIR=$T/noexec" JOBS=1 "RUN_TESTS_MARK=${RUN_TESTS_MARK-}" timeout 60 \
    "$ROOT/tests/bin/run-tests" "$T/good.bats" 3>&-
  assert_line --partial "not in $T/noexec: no program can be run there"
  assert_equal "$(last_line)" '1 passed, 0 failed, 0 skipped'
}

@test "run-tests: a tag, a filter or a file that selects no test is an error" {
  fixture good <<'END'
# bats test_tags=slow
%test "one" { true; }
END
  run_tests 2 TAGS=slwo "$T/good.bats"
  assert_output "run-tests: TAGS: no test has the tag 'slwo'"
  run_tests 2 TAGS='a b' "$T/good.bats"
  run_tests 1 TAGS='!slow' "$T/good.bats"
  assert_line 'no test selected'
  run_tests 1 FILTER=two "$T/good.bats"
  assert_line 'no test selected'
  assert_equal "$(last_line)" '0 passed, 0 failed, 0 skipped'
  run_tests 2 FILTER='(' "$T/good.bats"
  run_tests 2 JOBS=0 "$T/good.bats"
  run_tests 2 "$T/09-missing.bats"
  assert_output 'run-tests: no tests for chapter 09'
  run_tests 2 "$T/none.bats"
  echo helpers/outside.bats >"$T/link.bats" # a symbolic link, in a copy that knows none
  run_tests 2 "$T/link.bats"
  assert_output "run-tests: $T/link.bats: there is no test in it"
}

@test "make test-NN: a chapter without tests is an error" {
  copy_tree
  rm -r 01-basic-tcp tests/helpers/*.c tests/unit/*.c # they need not be built for this
  run -2 make test-09
  assert_line 'run-tests: no tests for chapter 09'
}

@test "run-tests: a test whose process dies is a failure, alone and in parallel" {
  fixture crash <<'END'
%test "one" { true; }
%test "two" { kill -KILL $$; }
%test "three" { true; }
END
  local jobs
  for jobs in 1 2; do
    run_tests 1 "JOBS=$jobs" "$T/crash.bats"
    assert_line '  no result for test 2 of 3, which had begun: two'
    assert_equal "$(last_line)" '2 passed, 1 failed, 0 skipped'
  done
}

@test "run-tests: fewer results than planned are failures" {
  fixture worker <<'END'
%test "one" { true; }
%test "two" { kill -KILL $PPID; } # the bats that runs this file
%test "three" { true; }
END
  run_tests 1 "$T/worker.bats"
  assert_line '  no result for test 3 of 3'
  assert_equal "$(last_line)" '2 passed, 1 failed, 0 skipped'
  fixture setup <<'END'
setup_file() { false; }
%test "one" { true; }
%test "two" { true; }
END
  run_tests 1 "$T/setup.bats"
  assert_equal "$(last_line)" '0 passed, 2 failed, 0 skipped'
  fixture syntax <<<'%test "one" { if; }'
  run_tests 1 "$T/syntax.bats"
  assert_equal "$(last_line)" '0 passed, 1 failed, 0 skipped'
}

@test "run-tests: a result that is reported twice is a failure" {
  fixture twice <<<'%test "one" { echo "ok 1 one" >&3; }'
  run_tests 1 "$T/twice.bats"
  assert_line '  two results for test 1: one'
}

@test "run-tests: a failing teardown_file is a failure" {
  fixture teardown <<'END'
teardown_file() { false; }
%test "one" { true; }
END
  run_tests 1 "$T/teardown.bats"
  assert_equal "$(last_line)" '1 passed, 1 failed, 0 skipped'
}

# is_ended PID: a process that was killed needs a moment until it is gone.
is_ended() {
  wait_for 5 eval "! running $1"
}

@test "run-tests: a process that a test leaves running is a failure, and is killed" {
  fixture stray <<<"%test one { setsid sleep 61 >/dev/null 2>&1 3>&- & echo \$! >'$T/pid'; }"
  run_tests 1 "$T/stray.bats"
  assert_line --partial 'a test left this process running:'
  assert_line --partial 'sleep 61'
  is_ended "$(<"$T/pid")"
}

@test "run-tests: with jobs, the results keep the order of the tests" {
  need 'GNU parallel'
  fixture order <<'END'
%test "one" { sleep 0.5; }
%test "two" { true; }
END
  run_tests 0 JOBS=2 "$T/order.bats"
  assert_line --index 1 'ok 1 one'
  assert_line --index 2 'ok 2 two'
}

@test "run-tests: without GNU parallel it says so and runs one test at a time" {
  fixture good <<<'%test one { true; }'
  mkdir "$BIN"
  printf '#!/bin/sh\necho "parallel of moreutils"\n' >"$BIN/parallel"
  chmod +x "$BIN/parallel"
  PATH=$BIN:$PATH run_tests 0 JOBS=2 "$T/good.bats"
  assert_line 'run-tests: no GNU parallel or flock: one test at a time'
  assert_equal "$(last_line)" '1 passed, 0 failed, 0 skipped'
}

@test "run-tests: interrupted, it leaves nothing running and no temporary file" {
  fixture long <<END
teardown() { echo torn >'$T/torn'; }
%test one {
  setsid sleep 62 >/dev/null 2>&1 3>&- &
  echo \$! >'$T/pid'
  sleep 30
}
END
  background runner env -i "PATH=${PATH//"$BATS_LIBEXEC:"/}" "HOME=$HOME" "TMPDIR=$T" JOBS=1 \
    "$ROOT/tests/bin/run-tests" "$T/long.bats"
  local runner=$! status=0
  wait_for 10 test -s "$T/pid"
  kill -TERM "$runner"
  wait "$runner" || status=$?
  assert_equal "$status" 130
  is_ended "$(<"$T/pid")"
  assert_equal "$(<"$T/torn")" torn
  assert_equal "$(ls -d "$T"/run-tests.* 2>/dev/null)" ''
}

# ---- the same, again and again ----

# stress FILE…: two runs of each kind.
stress() {
  N=2 timeout 120 "$ROOT/tests/bin/stress-tests" "$@" 3>&-
}

# A file whose second test fails each third time, one that passes. Each is run four times alone and
# four times together with the other.
@test "stress-tests: prints how often each test passed and failed; exit 1 if any failed" {
  fixture lucky <<'END'
%test "always passes" {
  true
}
%test "each third time it fails" {
  echo x >>"$BATS_TEST_DIRNAME/runs"
  (($(wc -l <"$BATS_TEST_DIRNAME/runs") % 3))
}
END
  fixture sound <<<'%test "sound" { true; }'
  run -1 stress "$T/lucky.bats" "$T/sound.bats"
  assert_line --regexp '^file +quiet +busy +failed$'
  assert_line --regexp '^lucky.bats +1 of 2 +2 of 2 +1$' # the third run, and the sixth: together
  assert_line --regexp '^sound.bats +2 of 2 +2 of 2 +0$'
  assert_line --regexp '^together +2 of 2 +1 of 2 +1$'
  assert_equal "$(grep -c '    1 x each third time it fails$' <<<"$output")" 2
  assert_line --regexp '^10 runs passed, 2 failed, in [0-9]+ s$'
  run ! pgrep -f 'busy '"$T"
  run -0 stress "$T/sound.bats"
  assert_line --regexp '^8 runs passed, 0 failed, in [0-9]+ s$'
}

@test "stress-tests: a run that hangs is ended and reported; nothing is left running" {
  fixture hang <<<'%test "hangs" { sleep 997; }'
  run -1 env LIMIT=1 N=1 timeout 120 "$ROOT/tests/bin/stress-tests" "$T/hang.bats" 3>&-
  assert_line --regexp '^hang.bats +0 of 1 +0 of 1 +2$'
  assert_output --partial '2 x (not done after 1 s)'
  run -2 stress
  run -2 stress "$T/none.bats"
  run -2 env N=0 "$ROOT/tests/bin/stress-tests" "$T/hang.bats"
  run -2 env KINDS=loud "$ROOT/tests/bin/stress-tests" "$T/hang.bats"
  run -1 env KINDS=busy LIMIT=1 N=1 timeout 120 "$ROOT/tests/bin/stress-tests" "$T/hang.bats" 3>&-
  assert_line --regexp '^hang.bats +- +0 of 1 +1$'
}

# ---- the unit tests ----

# unit_program NAME BODY [SUITE INITIALISER]: tests/unit/NAME.c of the copy, with one test.
unit_program() {
  local add='CU_add_test(suite, "body", body);'
  cat >"tests/unit/$1.c" <<END
#include <CUnit/Basic.h>
#include <stdlib.h>
#include <unistd.h>
static void body(void) {
    $2
}
static int initialiser(void) {
    return ${3:-0};
}
int main(void) {
    CU_initialize_registry();
    CU_pSuite suite = CU_add_suite("suite", initialiser, NULL);
    ${2:+$add}
    (void)body, (void)suite;
    CU_basic_run_tests();
    CU_cleanup_registry();
    return 0;
}
END
}

@test "a unit program that crashes, hangs or tests nothing is a failure; so is one left out" {
  local name
  copy_tree
  rm -r 01-basic-tcp tests/helpers/*.c # they need not be built for this
  # Those of the chapters' pieces are not here.
  sed -i '/^@test "\(util\|no program\)/!{ /^@test/,/^}/d; }' tests/unit.bats
  unit_program util 'CU_ASSERT(1);'
  unit_program crash 'abort();'
  unit_program hang 'pause();'
  unit_program status 'exit(3);'
  unit_program quits '_exit(0);'
  unit_program fails 'CU_ASSERT(0);' # and main returns 0, as if it did not know
  unit_program broken 'CU_ASSERT(1);' 1
  unit_program no_assert ';'
  unit_program no_test ''
  for name in crash hang status quits fails broken no_assert no_test; do
    printf '@test "%s" {\n  seen run_unit %s\n}\n' "$name" "$name" >>tests/unit.bats
  done
  unit_program forgotten 'CU_ASSERT(1);'
  RUN_TESTS=$TREE/tests/bin/run-tests run_tests 1 UNIT_WITHIN=1 "$TREE/tests/unit.bats"
  assert_line '# crash: crashed by SIGABRT'
  assert_line '# hang: did not end within 1 s'
  assert_line '# status: exit status 3'
  assert_line '# quits: no CUnit summary in its output'
  assert_line '# fails: 1 tests failed'
  assert_line '# broken: ran 0 of 1 suites'
  assert_line '# no_assert: ran 0 of 0 asserts'
  assert_line '# no_test: ran 0 of 0 tests'
  assert_line '# forgotten.c has no test here'
  # The real test of a program without IPv6 passes, or is skipped where there are no namespaces.
  assert_regex "$(last_line)" '^(2 passed, 9 failed, 0|1 passed, 9 failed, 1) skipped$'
}

# ---- lint, coverage, diff-chapter, .ci/run ----

# script NAME: a program in $BIN, from standard input.
script() {
  { echo '#!/bin/sh' && cat; } >"$BIN/$1"
  chmod +x "$BIN/$1"
}

# tools_say true|false TOOL…: that there is nothing, or something, to find.
tools_say() {
  local tool
  for tool in "${@:2}"; do
    rm -f "$BIN/$tool"
    printf '#!/bin/sh\n%s\n' "$1" >"$BIN/$tool"
    chmod +x "$BIN/$tool"
  done
}

# statements N: so many lines.
statements() {
  yes '    idle();' | head -n "$1" || true
}

@test "lint: finds the violations of this kit's rules" {
  need git pmccabe
  copy_tree
  mkdir "$BIN"
  tools_say true clang-format cppcheck shellcheck clang clang-query clang-tidy
  git init -q .
  PATH=$BIN:$PATH run tests/bin/lint # whatever it says of the tree as it is
  local before=$output
  { echo 'int long_one(void) {' && statements 39 && echo '}'; } >01-basic-tcp/a.c
  { echo 'int short_one(void) {' && statements 38 && echo '}'; } >>01-basic-tcp/a.c
  printf '%s\n' 'int deep(int n) {' '    for (;;)' '        for (;;)' '            for (;;)' \
    '                if (n)' '                    return 1;' '}' >>01-basic-tcp/a.c
  printf '/* TO''DO */\n/* %094d */\n/* %095d */\n' 0 0 >01-basic-tcp/b.c
  touch secret.key
  git add -f secret.key
  PATH=$BIN:$PATH run -1 tests/bin/lint
  run -0 grep -vxF "$before" <<<"$output"
  assert_line '01-basic-tcp/a.c:1: long_one has 41 lines, more than 40'
  refute_output --partial short_one
  assert_line '01-basic-tcp/a.c:86: nested more than 3 deep'
  refute_output --partial ':85: nested'
  assert_line --partial '01-basic-tcp/b.c:1:'
  assert_line '01-basic-tcp/b.c:3: more than 100 columns'
  refute_output --partial 'b.c:2'
  assert_line 'secret.key: does not belong in a repository'
}

@test "lint: a tool's finding counts as a finding, and in CI a missing tool does too" {
  mkdir -p "$TREE/tests/bin" "$BIN"
  cp "$ROOT/tests/bin/"{lint,tools.sh,exercise.sh,tmpdir.sh,code-rules,code.query} \
    "$TREE/tests/bin/"
  cd "$TREE"
  mkdir 01-it
  echo 'int main(void);' >01-it/a.c
  echo 'on: push' >a.yml
  echo '{}' >a.json
  local tool
  for tool in bash cp dirname find getconf grep head mktemp rm sed sort tee awk wc xargs; do
    ln -s "$(type -P "$tool")" "$BIN/$tool"
  done
  local all=(clang clang-format clang-query clang-tidy cppcheck pmccabe shellcheck yamllint python3)
  local how='; SETUP_EXTRA=ci make setup tells what to install'
  for tool in clang-query pmccabe shellcheck yamllint; do
    tools_say true "${all[@]}"
    rm "$BIN/$tool"
    PATH=$BIN CI='' run -0 tests/bin/lint
    assert_line "lint: $tool is missing$how; its part is left out"
    PATH=$BIN CI=true run -1 tests/bin/lint
    assert_line "lint: $tool is missing$how"
  done
  for tool in "${all[@]}"; do
    tools_say true "${all[@]}"
    PATH=$BIN CI=true run -0 tests/bin/lint
    tools_say 'echo "$0: error: it fails"; exit 1' "$tool"
    PATH=$BIN run -1 tests/bin/lint
  done
}

# lint_code FILE…: the rules of the code only.
lint_code() {
  mkdir -p "$BIN"
  tools_say true clang-format cppcheck
  PATH=$BIN:$PATH "$ROOT/tests/bin/lint" "$@"
}

# lint_finds FINDING CODE: in the second line.
lint_finds() {
  printf '%s\n' 'int f(int), g(void);' "int t(int a, int b) { $2 }" >code.c
  run -1 lint_code code.c
  assert_line --regexp "^code.c:2:([0-9]+:)? $1\$"
}

@test "lint: each rule of the code finds the line that breaks it" {
  need clang clang-query pmccabe
  cd "$T"
  lint_finds 'comma operator' 'a = f(1), b = 1;'
  lint_finds '[?]: inside another' 'return a ? (b ? 1 : 2) : 3;'
  lint_finds '[?]: as a statement' 'a ? f(1) : f(2);'
  lint_finds '[?]: as a statement' 'if (a) (void)(b ? f(1) : f(2));'
  lint_finds '[?]: as a statement' 'for (a = 0; a < b; a++) b ? f(1) : f(2);'
  lint_finds 'assignment inside an expression' 'if ((a = f(b)) > 0) return 1;'
  lint_finds 'assignment inside an expression' 'a = b = 1;'
  lint_finds 'assignment inside an expression' 'f(a = b);'
  lint_finds 'assignment inside an expression' 'while ((a = b) > 0) f(a);'
  lint_finds 'assignment as a condition or value' 'return a = b;'
  lint_finds 'side effect in an argument' 'f(a++);'
  lint_finds 'arithmetic on a truth value' 'a += b == 1;'
}

@test "lint: the two idioms, assert, and system macros are not findings" {
  need clang clang-query pmccabe
  cd "$T"
  cat >code.c <<'END'
#include <assert.h>
#include <sys/select.h>
#include <unistd.h>

int main(int argc, char **argv) {
    fd_set set;
    char data[9];
    ssize_t n;
    int option;
    FD_ZERO(&set);
    FD_SET(0, &set);
    assert(argc > 0 ? argv[0] != NULL : 1);
    while ((option = getopt(argc, argv, "a")) != -1)
        argc--;
    while ((n = read(0, data, sizeof data)) > 0)
        argc += (int)n;
    return 0;
}
END
  run -0 lint_code code.c
  assert_output 'lint: nothing found'
}

@test "lint: checks the number of ?: in a file, complexity, and the contents of headers" {
  need clang clang-query pmccabe
  cd "$T"
  local i
  {
    echo 'int f(int);'
    for i in 1 2; do
      printf '%s\n' "int choice_$i(int a) {" '    return a ? 1 : 2;' '}'
    done
    echo 'int complex(int a) {'
    for i in {1..10}; do
      printf '    if (a == %d)\n        return f(a);\n' "$i"
    done
    printf '    return 0;\n}\n'
  } >code.c
  run -1 lint_code code.c
  assert_line 'code.c: 2 ?: in 30 lines of code, more than 1.5 in 100'
  assert_line 'code.c:8: complex has a complexity of 11, more than 10'
  printf '%s\n' '#pragma once' 'static int state;' 'extern int elsewhere;' '' '/* Counts. */' \
    'int part_good(void);' 'int part_too(int a);' '' 'int part_bad(int a);' '' '/* Holds. */' \
    'static inline int holds(void) {' '    static int n;' '    return n;' '}' >parts.h
  printf '%s\n' '#include "parts.h"' 'int main(void) {' '    return holds() + state;' '}' >code.c
  run -1 lint_code code.c parts.h
  assert_line 'parts.h:2:1: variable defined in a header'
  assert_line 'parts.h:13:5: variable defined in a header'
  assert_line 'parts.h:9: part_bad has no contract: what does it take and return?'
  assert_line 'parts.h:12: holds does not begin with parts_'
  assert_equal "${#lines[@]}" 4
}

@test "lint: clang-tidy finds nothing; solutions are checked too, and must apply" {
  need clang-tidy clang clang-query pmccabe patch
  copy_tree
  rm -rf 01-basic-tcp/exercises/*
  mkdir 01-basic-tcp/exercises/1-it
  echo kind=build >01-basic-tcp/exercises/1-it/about
  printf '%s\n' '#include <stdlib.h>' '#include <string.h>' 'char *copy(const char *text) {' \
    '    return malloc(strlen(text + 1));' '}' >01-basic-tcp/tidy.c
  { echo '+++ b/new.c' && echo '@@ -0,0 +1,3 @@' &&
    printf '+%s\n' 'int twice(int a, int b) {' '    return a = b;' '}'; } |
    sed '1i --- /dev/null' >01-basic-tcp/exercises/1-it/solution.patch
  run -1 tests/bin/lint
  assert_line --regexp '^01-basic-tcp/tidy.c:4:.*bugprone'
  assert_line 'build/lint/1-1/01-basic-tcp/new.c:2:12: assignment as a condition or value'
  sed -i 's/^--- .*/--- a\/new.c/; s/-0,0/-1,1/; s/1,3 @@/1,4 @@\n context/' \
    01-basic-tcp/exercises/1-it/solution.patch
  run -1 tests/bin/lint
  assert_line '01-basic-tcp/exercises/1-it/solution.patch does not apply'
}

@test "lint: finds copies, flags, handlers and helpers that differ between chapters" {
  need python3
  local chapter rules="$ROOT/tests/bin/code-rules"
  mkdir "$T/kit"
  cd "$T/kit"
  for chapter in 01-a 05-b 06-c 08-d; do
    mkdir "$chapter"
    printf '%s\n' 'FLAGS = -O2' 'PROGRAMS = server' >"$chapter/Makefile"
    printf '%s\n' 'static void on_stop_signal(int number) {' '    count = number;' '}' \
      >"$chapter/server.c"
    echo 'int line;' >"$chapter/lines.h"
  done
  for chapter in 05-b 06-c; do
    printf '%s\n' '/* ---- connections: this part is the same in 05 and 06 ---- */' 'int a;' \
      '/* ---- loop ---- */' "int of_$chapter;" >>"$chapter/server.c"
  done
  printf '%s\n' '/* Helps. Built in 01. */' 'static inline int help(int a) {' \
    '    return a; /* why */' '}' '' '/* Built in 01. Here it also adds. */' \
    'static inline int add(int a) {' '    return a + 1;' '}' >util.h
  printf '%s\n' 'static int help(int a) {' '    /* how */' '    return a;' '}' \
    'static int add(int a) {' '    return a;' '}' >>01-a/server.c
  run -0 "$rules" --kit
  echo 'int other;' >>08-d/lines.h
  sed -i 's/O2/O3/' 06-c/Makefile
  sed -i 's/int a;/int b;/' 06-c/server.c
  sed -i 's/count = number/count = 1/' 08-d/server.c
  sed -i 's/Here it also adds/Adds/; s/return a; /return 1; /' util.h
  run -1 "$rules" --kit
  assert_line '08-d/lines.h: differs from 05-b/lines.h, which it has to be a copy of'
  assert_line '06-c/Makefile: its flags differ from those of 01-a/Makefile'
  assert_line '06-c/server.c: its part of connections differs from that of 05-b/server.c'
  assert_line '08-d/server.c:1: on_stop_signal differs from that of 01-a/server.c'
  local why='differs from that of util.h, whose comment does not say what it does more'
  assert_line "01-a/server.c:4: help $why"
  assert_line "01-a/server.c:8: add $why"
  assert_equal "${#lines[@]}" 6
}

@test "coverage: counts the lines and branches that unit tests reach, and fails if a test fails" {
  need gcovr
  copy_tree
  cat >util.h <<'END'
static inline int sign(int n) {
    if (n < 0)
        return -1;
    return n > 0;
}
END
  printf 'int twice(int n);\n\nint twice(int n) {\n    return 2 * n;\n}\n' >01-basic-tcp/util.c
  unit_program util 'CU_ASSERT(sign(1) == 1); CU_ASSERT(twice(1) == 2);'
  sed -i '1i /* parts: 01-basic-tcp/util.c */\n#include "../../util.h"\nint twice(int n);' \
    tests/unit/util.c
  run -0 make coverage
  assert_line --regexp '^util.h +4 +3 +75% +3$'
  assert_line --regexp '^01-basic-tcp/util.c +2 +2 +100%' # though its test has the same name
  assert_line 'branches: 50.0% (1 out of 2)'
  unit_program util 'abort();'
  run -2 make coverage
  assert_line build/coverage/unit/util
  refute_line --partial branches
}

@test "make diff-NN: shows what is new since the chapter that the header names" {
  copy_tree
  run -0 make diff-01
  assert_output '01: the first chapter has none before it'
  mkdir 02-next 03-last
  { echo '/* New since chapter 01: x */' && sed 's/CHUNK/PIECE/' 01-basic-tcp/server.c; } \
    >02-next/server.c
  cp 01-basic-tcp/client.c 02-next/
  run -0 make diff-02
  assert_line --regexp '^-.*CHUNK'
  assert_line --regexp '^\+.*PIECE'
  # The parts that it includes, also by way of others; a copy is named.
  echo 'int part_of_two;' | tee 02-next/copy.h >03-last/copy.h
  echo 'int new_header;' >03-last/deep.h
  echo 'int new_code;' >03-last/deep.c
  printf '#include "deep.h"\n' >03-last/part.h
  printf '%s\n' '/* New since 02: y */' '#include "../util.h"' '#include "copy.h"' \
    '#include "part.h"' 'int main(void);' >03-last/server.c
  run -0 make diff-03
  assert_line '+int main(void);'
  assert_line 'Copies, the same as before: copy.h'
  run -0 grep -E '^\+(int new|#include "deep|int main)' <<<"$output"
  assert_output "$(printf '+%s\n' 'int new_header;' 'int new_code;' '#include "deep.h"' \
    'int main(void);')"
  run -2 make diff-09
  assert_line 'diff-chapter: no chapter 09'
}

@test ".ci/run: ends with the failures and the sum of all runs; a failed step fails it" {
  copy_tree
  mkdir "$BIN"
  script make <<'END'
case $* in
*test) printf '2 passed, 0 failed, 1 skipped\n' ;;
esac
case $* in
"$BREAK")
  printf 'not ok 7 a test\n# why\nok 8 another\n0 passed, %d failed, 0 skipped\n' "${COUNT:-0}"
  exit 1
  ;;
esac
END
  script bats <<<true
  # Where apt's package source cannot be reached, and where anything else is wrong.
  printf '#!/bin/sh\necho "fresh: skipped: $1"\nexit "${FRESH:-75}"\n' >tests/bin/fresh
  chmod +x tests/bin/fresh
  PATH=$BIN:$PATH BREAK=nothing run -0 timeout 60 .ci/run
  assert_equal "$(last_line)" '6 passed, 0 failed, 3 skipped'
  assert_line 'fresh: skipped: bookworm'
  assert_line 'fresh: skipped: trixie'
  PATH=$BIN:$PATH BREAK=nothing FRESH=1 run -1 timeout 60 .ci/run
  assert_line --regexp '^FAILED .* a fresh trixie$'
  assert_equal "$(last_line)" '6 passed, 2 failed, 3 skipped'
  PATH=$BIN:$PATH BREAK=lint run -1 timeout 60 .ci/run
  assert_line --regexp '^FAILED .* lint$'
  assert_equal "$(last_line)" '6 passed, 1 failed, 3 skipped'
  PATH=$BIN:$PATH BREAK='-j CC=clang test' COUNT=2 run -1 timeout 60 .ci/run
  assert_line --regexp '^FAILED .* the tests, with clang$'
  assert_equal "$(last_line)" '4 passed, 2 failed, 2 skipped'
  PATH=$BIN:$PATH BREAK='setup test' COUNT=3 run -1 timeout 60 .ci/run
  assert_equal "$(last_line)" '4 passed, 3 failed, 2 skipped'
  [[ ${output##*=== coverage} == *$'\nnot ok 7 a test\n# why\n'*'0 passed, 3 failed'* ]]
}

@test ".ci/run: a test that fails once and then passes three times is named as unsteady" {
  copy_tree
  mkdir "$BIN"
  # TIMES: how often the two tests of the doctor fail, if they are run as FILTER says.
  script make <<'END'
case $* in
*test) printf '2 passed, 0 failed, 1 skipped\n' ;;
doctor)
  echo "${FILTER-}" >>filters
  if [ "$(wc -l <filters)" -le "$TIMES" ]; then
    printf 'not ok 3 one (of two)\nnot ok 4 a|b\n%s passed, 2 failed, 0 skipped\n' 5
    exit 1
  fi
  printf '2 passed, 0 failed, 0 skipped\n'
  ;;
esac
END
  script bats <<<true
  printf '#!/bin/sh\nexit 75\n' >tests/bin/fresh
  chmod +x tests/bin/fresh
  PATH=$BIN:$PATH TIMES=1 run -0 timeout 60 .ci/run
  assert_equal "$(last_line)" '13 passed, 0 failed, 3 skipped'
  assert_line 'unsteady, each failed once and then passed three times:'
  assert_line '  the doctor: one (of two)'
  assert_line '  the doctor: a|b'
  assert_equal "$(<filters)" "$(printf '\n%s\n%s\n%s' \
    '^(one \(of two\)|a\|b)$' '^(one \(of two\)|a\|b)$' '^(one \(of two\)|a\|b)$')"
  rm filters
  PATH=$BIN:$PATH TIMES=2 run -1 timeout 60 .ci/run
  assert_equal "$(last_line)" '11 passed, 2 failed, 3 skipped'
  refute_line --partial 'unsteady'
}

@test "lint: a syntax error in YAML or JSON is a finding" {
  need yamllint python3
  echo '{"name": "kit"}' >"$T/good.json"
  printf 'on: push\njobs:\n  one: {}\n' >"$T/good.yml"
  run -0 "$ROOT/tests/bin/lint" "$T/good.json" "$T/good.yml"
  echo '{"name": "kit",}' >"$T/bad.json"
  printf 'on: push\non: push\n' >"$T/bad.yml"
  run -1 "$ROOT/tests/bin/lint" "$T/bad.json"
  assert_line "$T/bad.json: not JSON"
  run -1 "$ROOT/tests/bin/lint" "$T/bad.yml"
  assert_output --partial 'duplication of key "on"'
}

# What the container and the workflow say must be what README says, and what is there.
@test "the container is set up by make setup, and the workflow runs README's two commands" {
  local command
  cd "$ROOT"
  run -0 grep -E '^FROM ' .devcontainer/Dockerfile
  assert_output --regexp '^FROM debian:[a-z]+$'
  grep -q 'make -C /tmp/kit setup' .devcontainer/Dockerfile
  while read -r _ command _; do
    [[ -e $command ]] || fail "the container copies $command, which is not here"
  done < <(grep '^COPY ' .devcontainer/Dockerfile)
  grep -q '"dockerfile": "Dockerfile"' .devcontainer/devcontainer.json
  run -0 grep -xE 'make setup [a-z]+' README.md
  assert_equal "${#lines[@]}" 2
  for command in "${lines[@]}"; do
    grep -qxF "        run: $command" .github/workflows/tests.yml || fail "not in CI: $command"
  done
  # Before `make setup` there is what README takes for granted, on each image; bash may be missing.
  run -0 grep -E '^ +prepare: ' .github/workflows/tests.yml
  assert_equal "${#lines[@]}" "$(grep -c ' image: [a-z]' .github/workflows/tests.yml)"
  for command in "${lines[@]}"; do
    [[ $command =~ \ git\ make\ gcc\ [a-z0-9]+-?dev && $command != *bash* ]] || fail "$command"
  done
  head -n 1 tests/bin/setup | grep -qx '#!/bin/sh'
  for command in debian:stable debian:oldstable ubuntu: fedora: alpine:; do
    grep -qE "image: $command.* # .*never run" .github/workflows/tests.yml || fail "$command"
  done
}
