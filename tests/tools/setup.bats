# setup and doctor, and the table of tools that both read (tests/bin/tools.sh).

load ../helpers/common

setup() {
  unset CC CFLAGS CPPFLAGS SETUP_EXTRA
  BIN=$T/bin
}

# ---- the table ----

# rows FUNCTION: calls it with each row's own fields. What is wrong is in $T/wrong.
rows() {
  : >"$T/wrong"
  source "$ROOT/tests/bin/tools.sh"
  eval "tool() { $1 \"\$@\"; }"
  all_tools
  assert_equal "$(<"$T/wrong")" ''
}

wrong() {
  echo "$*" >>"$T/wrong"
}

# is_probe NAME TEXT: commands joined by && or ||: of tools.sh, bash, or of that name.
is_probe() {
  local part known='has|header|san|builds|python_has|npm_has|node_has|bats_lib|bats_with_tags'
  known+='|gnu_parallel|has_font|helps|bash -c'
  sh -n -c "$2" || return
  while read -r part; do
    [[ $part =~ ^($known|$1)( |$) ]] || return
  done < <(sed 's/ && /\n/g; s/ || /\n/g' <<<"$2")
}

# is_command TEXT: what prints a version; - for none.
is_command() {
  [[ $1 == - ]] || { [[ $1 =~ ^([a-z]|\$\{CC) ]] && sh -n -c "$1"; }
}

# is_sentence TEXT: several words with a verb, neither a command nor a list of packages.
is_sentence() {
  local verb='is|are|can|cannot|do|draw|fails|leaves|needs|run|skipped'
  [[ $1 =~ ^[a-z].*\ .*[A-Za-z\)]$ && $1 =~ \ ($verb)(\ |:|$) && $1 != *\|* ]]
}

check_row() {
  local row="$1 $2" field word
  (($# == 9)) || wrong "$row: $# fields, not 9"
  [[ $1 =~ ^(required|optional|ci|editor)$ ]] || wrong "$row: no such kind"
  [[ $2 =~ ^[A-Za-z0-9][A-Za-z0-9\ .-]*$ ]] || wrong "$row: no name"
  is_probe "$2" "$3" || wrong "$row: no probe: $3"
  is_command "$4" || wrong "$row: no version: $4"
  is_sentence "$5" || wrong "$row: the cost is no sentence: $5"
  for field in "${@:6}"; do
    [[ $field && ($field == - || $field != *-[[:space:]]*) ]] || wrong "$row: packages: '$field'"
    for word in $field; do
      [[ $word == - || $word =~ ^/?[a-zA-Z0-9][a-zA-Z0-9+./_-]*$ ]] ||
        wrong "$row: no package: '$word'"
    done
    [[ $1 != required || $field != - ]] || wrong "$row: required, but in no package"
  done
  [[ ! ${seen[$2]-} ]] || wrong "$row: twice"
  seen[$2]=$1
}

@test "the table of tools: each field of every row is valid" {
  declare -A seen=()
  rows check_row
  ((${#seen[@]} > 50))
}

@test "the table of tools: a row with an invalid field is noticed" {
  declare -A seen=()
  : >"$T/wrong"
  check_row optional a-tool 'has a-tool' 'a-tool -V' 'tests with it are skipped' a b - c
  assert_equal "$(<"$T/wrong")" ''
  check_row optional one 'has one || has two' - 'has two' a b c d
  check_row sometimes two 'has two' - 'tests with it are skipped' a b c d
  check_row optional three 'tests are skipped' - 'tests with it are skipped' a b c d
  check_row optional four 'has four' - 'tests with it are skipped' 'a|b' b c d
  check_row optional five 'has five' - 'tests with it are skipped' a b c
  check_row required six 'has six' - 'tests with it are skipped' a b c -
  check_row optional a-tool 'has a-tool' 'a-tool -V' 'tests with it are skipped' a b - c
  run -0 cut -d : -f 1 "$T/wrong"
  assert_output "$(printf '%s\n' 'optional one' 'sometimes two' 'optional three' 'optional four' \
    'optional five' 'required six' 'optional a-tool')"
}

# words_needed: every tool that a test or a console block asks for.
words_needed() {
  cd "$ROOT" || return
  {
    find tests -name '*.ba[st]*' -type f -exec cat {} + >"$T/tests"
    grep -oE '^ *(.*(&&|\|\||;) )?need( [a-z0-9.-]+)+' "$T/tests" | sed 's/.*need //'
    grep -oE "need '[A-Za-z ]+'" "$T/tests" | sed "s/need '\(.*\)'/\1/; s/ /_/g"
    cat README.md docs/*.md 0*/exercises/*/README.md | grep -oE '^```+console.* needs=[^ ]+' |
      sed 's/.*needs=//'
  } | tr ' ' '\n' | tr , '\n' | sort -u
}

@test "every tool that a test or a doc session needs is in the table" {
  local word
  declare -A seen=()
  rows check_row
  run -0 words_needed
  assert_line nc   # in tests
  assert_line lsof # in a doc
  assert_line GNU_parallel
  for word in "${lines[@]}"; do
    [[ $word =~ ^([0-9]+-descriptors|root|netns|fresh-port|above|no-such-tool|apt-get|sh)$ ]] ||
      [[ ${seen[${word//_/ }]-} ]] ||
      wrong "$word is needed, but not in the table"
  done
  assert_equal "$(<"$T/wrong")" ''
}

# ---- setup ----

# script NAME: a program in $BIN, from standard input.
script() {
  { echo '#!/bin/sh' && cat; } >"$BIN/$1"
  chmod +x "$BIN/$1"
}

# fake_tool: for each_tool: a command that says what the probes want to hear.
fake_tool() {
  [[ $name =~ ^[a-z0-9.-]+$ && $name != cc && $name != bats-* && $kind != ci ]] || return 0
  echo "echo '$name 1.2.3 -N: Shutdown, --bounding-set'" | script "$name"
}

# bare_system [PACKAGE MANAGER]: $BIN is all of PATH, with everything that setup looks for. Each
# fake package manager writes down how it was called, fails where $REFUSE is among the packages,
# and else installs the commands of $INSTALLS.
bare_system() {
  local tool
  mkdir "$BIN" "$T/lib" "$T/lib/bats-assert" "$T/lib/bats-support"
  touch "$T/lib/bats-assert/load.bash" "$T/lib/bats-support/load.bash" "$T/log"
  for tool in sh cat chmod cut dirname env grep head id ls paste printf sed touch tr; do
    ln -s "$(type -P "$tool")" "$BIN/$tool"
  done
  (source "$ROOT/tests/bin/tools.sh" && each_tool fake_tool)
  echo 'echo Bats 1.8.2' | script bats
  echo 'echo GNU parallel 20250101' | script parallel
  printf '%s\n' stdio.h openssl/ssl.h openssl/opensslv.h histedit.h CUnit/Basic.h uv.h \
    event2/event.h hiredis/async.h liburing.h >"$T/headers"
  script cc <<FAKE
while read -r word file; do
  [ "\$word" != '#include' ] || header=\${file#<}
done
exec grep -qx "\${header%>}" '$T/headers'
FAKE
  [[ $# == 0 ]] || script "$1" <<FAKE
echo "$1 \$*" >>'$T/log'
case " \$* " in *" \${REFUSE:-nothing} "*) exit 1 ;; esac
case \$* in *update | -Sy) exit ;; esac
for name in \$INSTALLS; do
  case \$name in
  *.h) echo "\$name" >>'$T/headers' ;;
  *)
    printf '#!/bin/sh\necho Bats 1.8.2, -N: Shutdown\n' >'$BIN'/\$name && chmod +x '$BIN'/\$name
    ;;
  esac
done
FAKE
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

@test "setup: where nothing is missing, it installs nothing" {
  bare_system apt-get
  fake_sudo
  setup_here 0
  assert_output 'setup: everything is here'
  assert_log ''
}

@test "setup: installs what is missing, with each of the four package managers" {
  local manager
  for manager in apt-get dnf pacman apk; do
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
  local install='install -y --no-remove --no-install-recommends'
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
}

# all_packages COLUMN KIND…: of the table, in its order.
all_packages() {
  local column=$1
  shift
  (
    source "$ROOT/tests/bin/tools.sh"
    eval "tool() { [[ ' $* ' != *\" \$1 \"* || \${$column} == - ]] || printf '%s\n' \${$column}; }"
    all_tools
  )
}

@test "setup: on a bare system it installs the packages of the table, each once, nothing else" {
  local manager column=6 line
  for manager in apt-get dnf pacman apk; do
    rm -rf "$BIN" "${T:?}/lib" "$T/log"
    mkdir "$BIN"
    touch "$T/log"
    for tool in sh cat cut dirname env grep head ls paste printf sed tr; do
      ln -s "$(type -P "$tool")" "$BIN/$tool"
    done
    echo 'echo 0' | script id
    printf '%s\n' "echo \"$manager \$*\" >>'$T/log'" | script "$manager"
    setup_here 1 SETUP_EXTRA='ci editor'
    [[ ${lines[-1]} == 'setup: installed, but still not found: cc, make, '* ]]
    # What is missing, with its cost and nothing more; the commands; what is still missing.
    run -1 grep -vE '^setup: (missing: [^:|]+ \((required|optional|ci|editor)\): [^|]+|\+ [^|]+|wa'`
      `'rning: still no [^:|]+: [^|]+|installed, but still not found: .*)$' <<<"$output"
    grep -oE "^$manager .*" "$T/log" | grep -v -e update -e -Sy | tr ' ' '\n' | grep -vE '^-' |
      grep -vxE "$manager|install|add" >"$T/asked"
    assert_equal "$(<"$T/asked")" "$({
      all_packages "$column" required
      all_packages "$column" optional ci editor
    } | awk '!seen[$0]++')"
    column=$((column + 1))
  done
}

@test "setup: the list for an installation by hand names packages too" {
  bare_system apt-get
  user 1000
  lose redis-server redis-cli openssl
  setup_here 1
  assert_output --partial 'By hand: as root: env DEBIAN_FRONTEND=noninteractive apt-get install'
  [[ ${lines[-1]} == *' --no-install-recommends openssl redis-tools' ]]
}

@test "setup: uses sudo where it does not run as root" {
  bare_system dnf
  fake_sudo
  user 1000
  lose bats
  setup_here 0 INSTALLS=bats
  assert_line --index 1 --partial 'setup: + sudo dnf install'
  assert_log "sudo dnf install -y --setopt=install_weak_deps=False bats" \
    "dnf install -y --setopt=install_weak_deps=False bats"
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
  assert_line --partial 'no package manager that it knows (apt, dnf, pacman, apk)'
  assert_line --partial 'Needed: bats 1.8.'
}

@test "setup: an optional tool that is unavailable is a warning, and others are installed" {
  bare_system apk
  user 0
  lose gnuplot nc
  setup_here 0 REFUSE=gnuplot INSTALLS=nc
  assert_line 'setup: warning: still no gnuplot: benchmarks draw no pictures'
  refute_line --partial 'still no nc'
  [[ -x $BIN/nc ]]
  user 1000
  lose nc
  setup_here 0
  assert_line --partial 'setup: warning: not root, and no sudo'
}

@test "setup: missing bats libraries, an old bats and an OpenSSL before 3 are noticed" {
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

# Traditional netcat has no -N and ncat has it not either; BusyBox's tools have few options.
@test "setup and doctor: another program of the same name is not taken for the right one" {
  bare_system apt-get
  user 0
  echo 'echo "[v1.10] nc [-options] hostname port[s]: -n -q -z"' | script nc
  echo 'echo "Usage: setpriv [OPTIONS]: --nnp --inh-caps"' | script setpriv
  echo 'echo "unrecognized option: $*" && exit 1' | script patch
  setup_here 0 'INSTALLS=nc setpriv patch'
  for tool in nc setpriv patch; do
    assert_line --partial "missing: $tool (optional)"
  done
  assert_line --partial ' patch netcat-openbsd util-linux'
  echo 'echo "[v1.10] nc [-options] hostname port[s]: -n -q -z"' | script nc
  run -0 env -i "PATH=$BIN" "BATS_LIB_PATH=$T/lib" /bin/sh "$ROOT/tests/bin/doctor"
  assert_line --regexp '^nc +not what is needed +optional +.*OpenBSD'
  PATH=$BIN run -0 lacking_here nc
  assert_output 'this nc is not the one that is needed: make setup installs it'
}

@test "setup --list installs nothing; SETUP_EXTRA=ci adds the tools of .ci/run" {
  bare_system apt-get
  user 0
  lose strace
  setup_here 0 SETUP_EXTRA=ci --list
  assert_line --regexp '^setup: \+ .*apt-get install .* strace clang .*shellcheck clang-format '
  refute_output --partial clangd
  assert_log ''
  lose gdb
  setup_here 0 SETUP_EXTRA='editor ci' --list
  assert_line --regexp '^setup: \+ .*apt-get install .* shellcheck .* gdb'
  setup_here 1 SETUP_EXTRA=cy
  assert_output "setup: SETUP_EXTRA: 'cy' is neither ci nor editor"
  setup_here 1 --lists
}

# ---- what a skip says ----

# lacking_here TOOL…: by the table.
lacking_here() {
  (source "$ROOT/tests/bin/tools.sh" && lacking "$@")
}

@test "lacking: names the command that installs the tool, and is silent if none is missing" {
  bare_system apt-get
  PATH=$BIN run -1 lacking_here nc python3
  refute_output
  lose nc
  PATH=$BIN run -0 lacking_here python3 nc nmap
  assert_output 'nc is missing: make setup installs it'
  PATH=$BIN run -0 lacking_here nmap
  assert_output 'nmap is missing: SETUP_EXTRA=ci make setup installs it'
  lose gdb
  PATH=$BIN run -0 lacking_here gdb
  assert_output 'gdb is missing: SETUP_EXTRA=editor make setup installs it'
  PATH=$BIN run -0 lacking_here no-such-tool
  assert_output 'no-such-tool is missing'
  mv "$BIN/apt-get" "$BIN/apk"
  PATH=$BIN run -0 lacking_here hping3
  assert_output 'hping3 is missing, and this system has no package of it'
  lose apk
  PATH=$BIN run -0 lacking_here nc
  assert_output 'nc is missing; make setup tells what to install'
}

# What setup says it would install is what the skip says that setup installs.
@test "lacking: the command that it names installs the tool" {
  local tool said
  for tool in nc lsof valgrind gdb; do
    rm -rf "$BIN" "${T:?}/lib" "$T/log"
    bare_system apt-get
    user 0
    lose "$tool"
    said=$(PATH=$BIN lacking_here "$tool")
    [[ $said =~ ^$tool\ is\ missing:\ (SETUP_EXTRA=([a-z]+)\ )?make\ setup\ installs\ it$ ]]
    setup_here 0 "SETUP_EXTRA=${BASH_REMATCH[2]}" "INSTALLS=$tool"
    refute_line --partial "still no $tool"
    PATH=$BIN run -1 lacking_here "$tool"
  done
}

# ---- doctor ----

doctor_here() { # <status>
  run "-$1" "${@:2}" env -i "PATH=$BIN" "BATS_LIB_PATH=$T/lib" /bin/sh "$ROOT/tests/bin/doctor"
}

@test "doctor: exits 1 only if a required tool is missing, and says what that costs" {
  bare_system
  lose strace
  doctor_here 0
  assert_line --regexp '^bats 1\.8 +1\.8\.2 +required$'
  assert_line --regexp '^redis-server +1\.2\.3 +optional$'
  assert_line --regexp '^strace +missing +optional +tests and doc sessions with strace are '
  lose CUnit/Basic.h redis-server
  doctor_here 1
  assert_line --regexp '^CUnit headers +missing +required +the unit tests cannot be built$'
  assert_line --regexp '^redis-server +missing +optional +exercise 7-4 is not tested$'
}

@test "doctor: reports a loopback interface that is down, and a low descriptor limit" {
  need_netns
  bare_system
  lose bash
  ln -s "$(type -P bash)" "$BIN/bash"
  doctor_here 0
  assert_line --regexp '^loopback +up +required$'
  doctor_here 1 unshare "$NETNS"
  assert_line --regexp '^loopback +down +required +.*ip link set lo up$'
  doctor_here 0 bash -c 'ulimit -n 256; exec "$@"' bash
  assert_line --regexp '^descriptors +soft 256, hard 256 +optional +10,000 wanted'
}

# ---- what tests say where something is missing ----

@test "setup_suite: reports a loopback interface that is down" {
  need_netns
  source "$ROOT/tests/setup_suite.bash"
  mkdir "$T/tests"
  cp "$ROOT/tests/setup_suite.bash" "$T/tests"
  printf 'all helpers steps:\n' >"$T/Makefile"
  run -0 in_suite
  run -1 in_suite unshare "$NETNS"
  assert_output 'the loopback interface is down, and every test needs it: ip link set lo up'
}

in_suite() {
  # shellcheck disable=SC2016
  "$@" bash -c 'bats_load_library_safe() { :; } && . "$0" && setup_suite' \
    "$T/tests/setup_suite.bash"
}

# On some systems BusyBox's programs are the first in PATH: they have what POSIX says, and little
# more.
@test "BusyBox first in PATH: make, tour, run-tests, doc-console and lint work as before" {
  need busybox
  mkdir "$BIN"
  busybox --install -s "$BIN"
  export PATH=$BIN:$PATH RUN_TESTS_MARK=
  run -0 timeout 60 make -s -C "$ROOT" 01 3>&-
  run -0 timeout 60 "$ROOT/tests/bin/tour" 01-basic-tcp
  printf '@test "one" { true; }\n' >"$T/one.bats"
  PATH=${PATH//"$BATS_LIBEXEC:"/} JOBS=1 run -0 timeout 60 "$ROOT/tests/bin/run-tests" "$T/one.bats"
  assert_line '1 passed, 0 failed, 0 skipped'
  FILTER='(' run -2 timeout 60 "$ROOT/tests/bin/run-tests" "$T/one.bats"
  printf '```console\n$ echo yes\nyes\n```\n```console needs=nc\n$ nc -N\n```\n' >"$T/doc.md"
  run -0 timeout 60 "$ROOT/tests/bin/doc-console" "$T/doc.md"
  assert_line --partial 'skipped: this nc is not the one that is needed: '
  run -0 lacking_here patch
  assert_output --partial 'this patch is not the one that is needed: '
  echo 'int main(void) { return 0; }' >"$T/a.c"
  run timeout 60 "$ROOT/tests/bin/lint" "$T/a.c"
  refute_output --partial awk
}
