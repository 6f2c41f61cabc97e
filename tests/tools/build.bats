# The Makefile, and the scripts of tests/bin that it calls. What changes files does so in a copy.

load ../helpers/common

setup() {
  # What this run was asked for is not what the makes and runs in here are asked for.
  unset MAKEFLAGS MFLAGS MAKELEVEL MAKEOVERRIDES SAN TAGS FILTER JOBS CC CFLAGS CPPFLAGS LDFLAGS
  unset CI SETUP_EXTRA
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
  timeout 60 make --no-print-directory "$@" 3>&-
}

assert_built() { # <count>
  assert_equal "$(grep -c -e ' -o ' <<<"$output")" "$1"
}

@test "make help has one line for every target" {
  local target lines
  run -0 make -C "$ROOT" help
  for target in '' NN NN-name setup doctor tour test test-NN diff-NN lint clean \
    exercises exercise-N-M hint-N-M mystery-N check-N-M progress next prove patches-refresh; do
    lines=$(grep -cE "^  make ${target:- }  *[^ ]+ [^ ]" <<<"$output") || true
    assert_equal "$target: $lines" "$target: 1"
  done
}

@test "make NN, NN-name, and make in the chapter build that chapter and nothing else" {
  copy_tree
  mkdir 99-other
  cp 01-basic-tcp/*.c 99-other/
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

@test "a change of util.h or of the flags rebuilds, and nothing else does" {
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

@test "a warning of the compiler fails the build" {
  copy_tree
  echo 'static int idle(int n) { unsigned u = n; return (int)u; }' >>01-basic-tcp/server.c
  run -2 make 01
  assert_output --partial 'idle'
  [[ ! -e 01-basic-tcp/server ]]
}

@test "an instrumented build goes to a place of its own" {
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

@test "run-tests: counts what passed and was skipped, and says why" {
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

@test "run-tests: choosing nothing is an error, be it by a tag, a filter or a file" {
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
  : >"$T/empty.bats"
  run_tests 1 "$T/empty.bats"
}

@test "make test-NN: a chapter without tests is an error" {
  copy_tree
  rm -r 01-basic-tcp tests/helpers/*.c tests/unit/*.c # they need not be built for this
  run -2 make test-09
  assert_line 'run-tests: no tests for chapter 09'
}

@test "run-tests: a test whose process dies is a failure, alone or in parallel" {
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

@test "run-tests: a result that comes twice is a failure" {
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

@test "run-tests: a process that a test leaves running is a failure, and is ended" {
  fixture stray <<<"%test one { setsid sleep 61 >/dev/null 2>&1 3>&- & echo \$! >'$T/pid'; }"
  run_tests 1 "$T/stray.bats"
  assert_line --partial 'a test left this process running:'
  assert_line --partial 'sleep 61'
  is_ended "$(<"$T/pid")"
}

@test "run-tests: with jobs, the results keep the order of the tests" {
  parallel --version </dev/null 2>/dev/null | grep -q '^GNU' || skip 'GNU parallel is missing'
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
    printf '@test "%s" {\n  run_unit %s\n}\n' "$name" "$name" >>tests/unit.bats
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
  assert_equal "$(last_line)" '1 passed, 9 failed, 0 skipped'
}

# ---- setup and doctor ----

# script NAME: a program in $BIN, from standard input.
script() {
  { echo '#!/bin/sh' && cat; } >"$BIN/$1"
  chmod +x "$BIN/$1"
}

# bare_system [PACKAGE MANAGER]: $BIN is all of PATH, with everything that setup looks for. Each
# fake package manager writes down how it was called, fails where $REFUSE is among the packages,
# and else installs the commands of $INSTALLS.
bare_system() {
  local tool
  mkdir "$BIN" "$T/lib" "$T/lib/bats-assert" "$T/lib/bats-support"
  touch "$T/lib/bats-assert/load.bash" "$T/lib/bats-support/load.bash" "$T/log"
  for tool in sh cat chmod cut dirname env grep head id ls paste printf sed touch tr; do
    ln -s "$(command -v "$tool")" "$BIN/$tool"
  done
  echo 'echo Bats 1.8.2' | script bats
  for tool in bash make openssl setsid flock patch strace python3 gnuplot redis-benchmark \
    redis-server tmux nc; do
    echo "echo $tool 1.2.3" | script "$tool"
  done
  echo 'echo GNU parallel 20250101' | script parallel
  printf '%s\n' stdio.h openssl/ssl.h openssl/opensslv.h histedit.h CUnit/Basic.h uv.h \
    event2/event.h hiredis/async.h >"$T/headers"
  script cc <<END
while read -r word file; do
  [ "\$word" != '#include' ] || header=\${file#<}
done
exec grep -qx "\${header%>}" '$T/headers'
END
  [[ $# == 0 ]] || script "$1" <<END
echo "$1 \$*" >>'$T/log'
[ "\$1" != --prefix ] || exec echo /brew
case " \$* " in *" \${REFUSE:-nothing} "*) exit 1 ;; esac
case \$* in *update | -Sy) exit ;; esac
for name in \$INSTALLS; do
  case \$name in
  *.h) echo "\$name" >>'$T/headers' ;;
  *) printf '#!/bin/sh\necho Bats 1.8.2\n' >'$BIN'/\$name && chmod +x '$BIN'/\$name ;;
  esac
done
END
}

# lose NAME…: commands and headers that this system does not have after all.
lose() {
  local name
  for name; do
    rm -f "$BIN/$name"
    grep -vx "$name" "$T/headers" >"$T/rest" || true
    mv "$T/rest" "$T/headers"
  done
}

user() { # <uid>
  rm "$BIN/id"
  echo "echo $1" | script id
}

fake_sudo() {
  printf '%s\n' "echo \"sudo \$*\" >>'$T/log'" 'exec "$@"' | script sudo
}

# setup_here STATUS [VAR=VALUE…] [ARGUMENT]
setup_here() {
  local status=$1 options=()
  shift
  [[ ${!#} != --* ]] || options=("${!#}")
  run "-$status" env -i "PATH=$BIN" "BATS_LIB_PATH=$T/lib" "${@:1:$#-${#options[@]}}" \
    /bin/sh "$ROOT/tests/bin/setup" "${options[@]}" 3>&-
}

assert_log() {
  assert_equal "$(<"$T/log")" "$(printf '%s\n' "$@")"
}

@test "setup: where everything is, it calls nothing" {
  bare_system apt-get
  fake_sudo
  setup_here 0
  assert_output 'setup: everything is here'
  assert_log ''
}

@test "setup: installs what is missing, with each of the five package managers" {
  local manager
  for manager in apt-get dnf pacman apk brew; do
    rm -rf "$BIN" "${T:?}/lib" "$T/log"
    bare_system "$manager"
    user 0
    lose CUnit/Basic.h bash nc
    setup_here 0 'INSTALLS=CUnit/Basic.h bash nc'
    assert_line --partial 'missing: CUnit headers (required): the unit tests cannot be built'
    assert_line --partial 'missing: nc (optional): tests and doc sessions with nc are skipped'
    assert_line 'setup: done'
    mv "$T/log" "$T/log.$manager"
  done
  local install='install -y --no-install-recommends'
  cp "$T/log.apt-get" "$T/log"
  assert_log 'apt-get update' "apt-get $install bash libcunit1-dev" \
    "apt-get $install netcat-openbsd"
  install='install -y --setopt=install_weak_deps=False'
  cp "$T/log.dnf" "$T/log"
  assert_log "dnf $install bash CUnit-devel" "dnf $install netcat"
  grep -v -e -Sy "$T/log.pacman" >"$T/log"
  install='-S --needed --noconfirm'
  assert_log "pacman $install bash cunit" "pacman $install openbsd-netcat"
  cp "$T/log.apk" "$T/log"
  assert_log 'apk add --no-cache bash cunit-dev' 'apk add --no-cache netcat-openbsd'
  grep -v -e --prefix "$T/log.brew" >"$T/log"
  assert_log 'brew install bash cunit' 'brew install netcat'
}

@test "setup: goes through sudo where it is not root, but never for brew" {
  bare_system dnf
  fake_sudo
  user 1000
  lose bats
  setup_here 0 INSTALLS=bats
  assert_line --index 1 --partial 'setup: + sudo dnf install'
  assert_log "sudo dnf install -y --setopt=install_weak_deps=False bats" \
    "dnf install -y --setopt=install_weak_deps=False bats"
  mv "$BIN/dnf" "$BIN/brew"
  lose bats
  : >"$T/log"
  setup_here 0 INSTALLS=bats
  run -1 grep sudo "$T/log"
}

@test "setup: says what to type where it cannot install" {
  bare_system apk
  user 1000
  lose bats strace
  setup_here 1 # no sudo
  assert_line --partial 'not root, and no sudo. Needed: bats 1.8. '
  assert_line --partial 'By hand: as root: apk add --no-cache bats strace'
  assert_log ''
  user 0
  setup_here 1 REFUSE=bats
  assert_line 'setup: could not install bats 1.8. By hand: apk add --no-cache bats'
  refute_output --partial 'setup: installed'
  setup_here 1 INSTALLS=strace # it said that it did
  assert_line 'setup: installed, but still not found: bats 1.8. By hand: apk add --no-cache bats'
  lose apk
  setup_here 1
  assert_line --partial 'no package manager that it knows'
  assert_line --partial 'Needed: bats 1.8.'
}

@test "setup: an optional tool that cannot be had is a warning and costs no other" {
  bare_system apk
  user 0
  lose gnuplot nc
  setup_here 0 REFUSE=gnuplot INSTALLS=nc
  assert_line 'setup: warning: still no gnuplot: benchmarks draw no pictures'
  refute_line --partial 'still no nc'
  [[ -x $BIN/nc ]]
  user 1000
  setup_here 0
  assert_line --partial 'setup: warning: not root, and no sudo'
}

@test "setup: missing bats libraries, an old bats and an OpenSSL before 3 are seen" {
  bare_system apk
  user 0
  echo 'echo Bats 1.2.1' | script bats
  rm -r "$T/lib/bats-assert"
  setup_here 0 --list
  assert_line --partial 'missing: bats 1.8 (required)'
  assert_line --partial 'missing: bats-assert (required)'
  run -0 sh -c '. "$0/tests/bin/tools.sh"; header stdio.h "3 >= 3"' "$ROOT"
  run -1 sh -c '. "$0/tests/bin/tools.sh"; header stdio.h "1 >= 3"' "$ROOT"
  run -1 sh -c '. "$0/tests/bin/tools.sh"; header no/such.h' "$ROOT"
}

@test "setup --list does nothing; SETUP_EXTRA=ci adds the tools of .ci/run" {
  bare_system apt-get
  user 0
  lose strace
  setup_here 0 SETUP_EXTRA=ci --list
  assert_line --regexp '^setup: \+ .*apt-get install .* strace clang .*shellcheck clang-format '
  assert_log ''
  setup_here 1 --lists
}

@test "setup: every required tool has a package with every package manager" {
  tool() {
    [[ $1 != required ]] || [[ $# == 10 && " ${*:6} " != *' - '* ]] || complain "$2: $*"
  }
  source "$ROOT/tests/bin/tools.sh"
  all_tools
}

@test "doctor: exit status 1 only where something required is missing, with what it costs" {
  bare_system
  lose strace
  run -0 env -i "PATH=$BIN" "BATS_LIB_PATH=$T/lib" /bin/sh "$ROOT/tests/bin/doctor"
  assert_line --regexp '^bats 1\.8 +1\.8\.2 +required$'
  assert_line --regexp '^strace +missing +optional +tests and doc sessions with strace are '
  lose CUnit/Basic.h
  run -1 env -i "PATH=$BIN" "BATS_LIB_PATH=$T/lib" /bin/sh "$ROOT/tests/bin/doctor"
  assert_line --regexp '^CUnit headers +missing +required +the unit tests cannot be built$'
}

# ---- lint, coverage, diff-chapter, .ci/run ----

# tools_say true|false TOOL…: that there is nothing, or something, to find.
tools_say() {
  local tool
  for tool in "${@:2}"; do
    ln -sf "$(type -P "$1")" "$BIN/$tool"
  done
}

# statements N: so many lines.
statements() {
  yes '    idle();' | head -n "$1" || true
}

@test "lint: finds what breaks the rules of this kit" {
  command -v git >/dev/null || skip 'git is missing'
  copy_tree
  mkdir "$BIN"
  tools_say true clang-format cppcheck shellcheck
  git init -q .
  PATH=$BIN:$PATH run tests/bin/lint # whatever it says of the tree as it is
  local before=$output
  { echo 'int long_one(void) {' && statements 39 && echo '}'; } >01-basic-tcp/a.c
  { echo 'int short_one(void) {' && statements 38 && echo '}'; } >>01-basic-tcp/a.c
  printf '%s\n' 'int deep(int n) {' '    for (;;)' '        for (;;)' '            for (;;)' \
    '                if (n)' '                    return 1;' '}' >>01-basic-tcp/a.c
  yes '' | head -n 181 >>01-basic-tcp/server.c || true
  yes '' | head -n 201 >>util.h || true
  printf '/* TO''DO */\n/* %094d */\n/* %095d */\n' 0 0 >01-basic-tcp/b.c
  touch secret.key
  git add -f secret.key
  PATH=$BIN:$PATH run -1 tests/bin/lint
  run -0 grep -vxF "$before" <<<"$output"
  assert_line '01-basic-tcp/a.c:1: long_one has 41 lines, more than 40'
  refute_output --partial short_one
  assert_line '01-basic-tcp/a.c:86: nested more than 3 deep'
  refute_output --partial ':85: nested'
  assert_line --regexp '^01-basic-tcp/server.c: [0-9]+ lines, more than 180$'
  assert_line --regexp '^util.h: [0-9]+ lines, more than 200$'
  assert_line --partial '01-basic-tcp/b.c:1:'
  assert_line '01-basic-tcp/b.c:3: more than 100 columns'
  refute_output --partial 'b.c:2'
  assert_line 'secret.key: does not belong in a repository'
}

@test "lint: what a tool finds is a finding, and in CI a missing tool is one too" {
  mkdir -p "$TREE/tests/bin" "$BIN"
  cp "$ROOT/tests/bin/lint" "$TREE/tests/bin/"
  cd "$TREE"
  echo 'int main(void);' >a.c
  local tool
  for tool in bash dirname find grep head mktemp rm sed awk wc; do
    ln -s "$(type -P "$tool")" "$BIN/$tool"
  done
  tools_say true clang-format cppcheck
  PATH=$BIN run -0 tests/bin/lint
  assert_line 'lint: shellcheck is missing, so its part is left out'
  PATH=$BIN CI=true run -1 tests/bin/lint
  assert_line 'lint: shellcheck is missing: SETUP_EXTRA=ci make setup'
  for tool in clang-format cppcheck shellcheck; do
    tools_say true clang-format cppcheck shellcheck
    PATH=$BIN CI=true run -0 tests/bin/lint
    tools_say false "$tool"
    PATH=$BIN run -1 tests/bin/lint
  done
}

@test "coverage: counts lines and branches, names what was missed, fails with its program" {
  need gcov
  copy_tree
  cat >util.h <<'END'
static inline int sign(int n) {
    if (n < 0)
        return -1;
    return n > 0;
}
END
  unit_program util 'CU_ASSERT(sign(1) == 1);'
  sed -i '1i #include "../../util.h"' tests/unit/util.c
  run -0 tests/bin/coverage
  assert_line --regexp '^util.h sign +3 of 4 +1 of 2 *$'
  assert_line '  util.h:2: 1 of 2 branches not taken:    if (n < 0)'
  assert_line '  util.h:3: not run:        return -1;'
  unit_program util 'abort();'
  run -1 tests/bin/coverage
  assert_line 'coverage: tests/unit/util.c fails'
}

@test "make diff-NN: what changed since the chapter before; the first has none" {
  copy_tree
  run -0 make diff-01
  assert_output '01: the first chapter has none before it'
  mkdir 02-next
  sed 's/CHUNK/PIECE/' 01-basic-tcp/server.c >02-next/server.c
  cp 01-basic-tcp/client.c 02-next/
  run -0 make diff-02
  assert_line --regexp '^-.*CHUNK'
  assert_line --regexp '^\+.*PIECE'
  run -2 make diff-09
  assert_line 'diff-chapter: no chapter 09'
}

@test ".ci/run: ends with what failed and the sum of all runs, and a failed step fails it" {
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
  PATH=$BIN:$PATH BREAK=nothing run -0 timeout 60 .ci/run
  assert_equal "$(last_line)" '4 passed, 0 failed, 2 skipped'
  PATH=$BIN:$PATH BREAK=lint run -1 timeout 60 .ci/run
  assert_line --regexp '^FAILED .* lint$'
  assert_equal "$(last_line)" '4 passed, 1 failed, 2 skipped'
  PATH=$BIN:$PATH BREAK='setup test' COUNT=3 run -1 timeout 60 .ci/run
  assert_equal "$(last_line)" '2 passed, 3 failed, 1 skipped'
  [[ ${output##*=== coverage} == *$'\nnot ok 7 a test\n# why\n'*'0 passed, 3 failed'* ]]
}
