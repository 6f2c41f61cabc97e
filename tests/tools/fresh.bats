# tests/bin/fresh up to where it needs the network: what it asks for, and what it says if there is
# no answer. `.ci/run` runs the rest of it.

# The tests are subshells to shellcheck, and what they set for common.bash is unused.
# shellcheck disable=SC2030,SC2031,SC2034
load ../helpers/common

# A copy of the program, so that its cache is not the kit's.
setup() {
  trace_tests_only
  FRESH=$T/kit/tests/bin/fresh
  mkdir -p "$T/kit/tests/bin" "$T/tmp"
  cp "$ROOT/tests/bin/fresh" "$FRESH"
  unset FRESH_SOURCE FRESH_DIR FRESH_IPV6 SUITE
  export TMPDIR=$T/tmp
}

need_makers() {
  need unshare setpriv flock mmdebstrap
  type apt-get >/dev/null || skip 'apt-get is missing: a fresh Debian is made on a Debian'
  ((EUID == 0)) || unshare --user --map-root-user --map-auto true || skip 'no user namespaces'
}

nothing_left() {
  run -0 ls -A "$TMPDIR"
  refute_output
}

# apt_uses LINE…: what a machine whose apt has these sources would do.
apt_uses() {
  mkdir -p "$T/apt/parts"
  printf '%s\n' "$@" >"$T/apt/sources.list"
  cat >"$T/apt/conf" <<END
Dir::Etc::SourceList "$T/apt/sources.list";
Dir::Etc::SourceParts "$T/apt/parts";
END
  export APT_CONFIG=$T/apt/conf
}

@test "fresh: -h prints the usage, and exits 0" {
  run -0 --separate-stderr "$FRESH" -h
  assert_line --index 0 'usage: fresh SUITE      bookworm, trixie, sid …'
  assert_line --partial 'FRESH_SOURCE=URL'
  [[ ! $stderr ]]
}

@test "fresh: no suite, two suites or a bad suite: the usage on stderr, exit 2" {
  local words
  for words in '' 'trixie sid' --trixie ../trixie 'a;b'; do
    # shellcheck disable=SC2086 # words
    run -2 --separate-stderr "$FRESH" $words
    [[ ! $output && $stderr == 'usage: fresh SUITE'* ]]
  done
}

@test "make fresh: without SUITE it prints the usage" {
  run -2 make -s -C "$ROOT" fresh SUITE=
  assert_output --partial 'usage: fresh SUITE'
}

@test "fresh: a package source that cannot be reached: skipped, exit 75, nothing is left" {
  need_makers
  FRESH_SOURCE=http://127.0.0.1:1/debian run -75 "$FRESH" sid
  assert_line \
    'fresh: skipped: the package source cannot be reached (http://127.0.0.1:1/debian sid)'
  nothing_left
}

@test "fresh: a package source that does not have the suite is a failure, not a skip" {
  need_makers
  mkdir "$T/empty"
  FRESH_SOURCE=file:$T/empty run -1 "$FRESH" trixie
  assert_line 'fresh: the package source does not have what trixie needs'
  refute_line --partial skipped
  nothing_left
}

@test "fresh: apt's own sources are used for the suite, its updates and its security updates" {
  local own
  need_makers
  own=$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release)
  apt_uses "deb http://127.0.0.1:1/debian $own main contrib" \
    "deb http://127.0.0.1:1/debian $own-updates main" "deb http://127.0.0.1:3/other other main" \
    "deb http://127.0.0.1:2/debian-security $own-security main"
  run -75 "$FRESH" trixie
  assert_line --partial 'http://127.0.0.1:1/debian/ trixie'
  assert_line --partial 'http://127.0.0.1:1/debian/ trixie-updates'
  assert_line --partial 'http://127.0.0.1:2/debian-security/ trixie-security'
  refute_output --partial other

  run -75 "$FRESH" sid # which has neither
  assert_line --partial 'cannot be reached (http://127.0.0.1:1/debian/ sid)'

  apt_uses "deb http://127.0.0.1:3/other other main"
  run -1 "$FRESH" trixie
  assert_output --partial 'apt names no source of Debian here'
  nothing_left
}

@test "fresh: an interrupt ends it at once, and nothing is left" {
  local signal pid
  need_makers
  for signal in INT TERM; do
    NAME=silent-$signal start_fake -t 60 -- recv:1 ready:"$T/$signal" sleep:60000
    export FRESH_SOURCE=http://127.0.0.1:$PORT/debian
    background "fresh-$signal" "$FRESH" trixie
    pid=$!
    wait_for 20 test -e "$T/$signal" # apt has asked
    kill -s "$signal" "$pid"
    wait_for 5 not running "$pid"
    wait_for 5 group_is_empty "$pid"
    nothing_left
    run -0 cat "$T/fresh-$signal.err"
    assert_output 'fresh: interrupted'
  done
}

@test "fresh: two runs for one suite at the same time: the second says so" {
  need_makers
  mkdir -p "$T/kit/build/fresh"
  FRESH_SOURCE=http://127.0.0.1:1/debian run -1 flock "$T/kit/build/fresh/trixie.lock" \
    "$FRESH" trixie
  assert_output 'fresh: another one makes a fresh trixie already'
  nothing_left
}
