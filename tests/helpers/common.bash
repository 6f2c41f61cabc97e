# shellcheck shell=bash
# What every test file needs. It begins with
#
#   CHAPTER=03-long-conn
#   load helpers/common
#
# and a test then reads like this:
#
#   start_server -i 2                               # on a free port: PORT, SERVER_PID
#   run -0 "$PEER" "$PORT" send:'hello\n' line      # a scripted peer, `peer -h` lists its verbs
#   assert_output +hello
#   stop_server                                     # SIGTERM, exit status 0, nothing left over
#
# Whatever a test leaves running, teardown stops in the same way, and fails the test if a server
# had ended on its own. (A file that has a teardown itself calls common_teardown there.)
# Functions that start something take NAME=… before them for a second one: `NAME=second
# start_server`. Its output is in $T/NAME.out and $T/NAME.err.
#
# From the environment: SERVER and CLIENT are the programs under test (several words if need be),
# SAN chooses an instrumented build, START_WITHIN, STOP_WITHIN and CLIENT_WITHIN are limits in
# seconds (valgrind needs longer ones), PATIENCE multiplies these and all other limits that an
# answer has to meet (for a machine that does much else at the same time). For the exercises:
# PROGRAMS, another directory of the chapter's server and client; SOURCES, of its sources;
# STOP_FILE, see `setup` and `explain`.

# load_library NAME: as bats_load_library, but without the library's own load.bash, which starts a
# process for each of its files: for hundreds of tests that is half a minute of processor time.
load_library() {
  local dirs dir file files
  IFS=: read -ra dirs <<<"${BATS_LIB_PATH-}"
  for dir in "${dirs[@]}"; do
    files=("$dir/$1"/src/*.bash)
    [[ -e ${files[0]} ]] || continue
    for file in "${files[@]}"; do
      # shellcheck disable=SC1090
      source "$file"
    done
    return
  done
  bats_load_library "$1"
}
load_library bats-support
load_library bats-assert
# By a trap before every command bats knows the line in which a test fails, which takes a quarter of
# the processor's time of all tests. NO_TRACE=yes does without (tests/bin/prove).
[[ ! ${NO_TRACE-} ]] || set +T
bats_require_minimum_version 1.5.0

ROOT=$(cd "${BASH_SOURCE[0]%/*}/../.." && pwd)
T=${BATS_TEST_TMPDIR:-${BATS_FILE_TMPDIR-}} # this test's own directory
PEER=$ROOT/build/helpers/peer
RELAY=$ROOT/build/helpers/udprelay
SHIM=$ROOT/build/fault.so
BUILD=$ROOT${SAN:+/build/${SAN//,/-}}
UNIT=$ROOT/build/${SAN:+${SAN//,/-}/}unit
GUEST=${SERVER:+yes} # not the kit's own server
SERVER=${SERVER:-$(printf %q "${PROGRAMS:-$BUILD/${CHAPTER-}}/server")}
CLIENT=${CLIENT:-$(printf %q "${PROGRAMS:-$BUILD/${CHAPTER-}}/client")}
SOURCES=${SOURCES:-$ROOT/${CHAPTER-}}
: "${START_WITHIN:=5}" "${STOP_WITHIN:=3}" "${CLIENT_WITHIN:=20}"
export PATIENCE=${PATIENCE:-1} # peer and crowd have limits, too

# The shim is loaded after the sanitizer's library has been linked, which it has to be told.
SHIM_ENV=(env "LD_PRELOAD=$SHIM"
  "ASAN_OPTIONS=${ASAN_OPTIONS:+$ASAN_OPTIONS:}verify_asan_link_order=0")

# Chapter 08 is TLS, and so are its peers; with PEER_TLS='' before it, one is not.
if [[ ${CHAPTER-} == 08-* ]]; then
  export PEER_TLS=$ROOT/08-tls/certs/ca.pem
fi

declare -gA SERVERS=() TOOLS=() # what is running: the pid of each name, also its process group
declare -gA ENDED=()            # how each server ended

setup() {
  trace_tests_only
  [[ ! ${STOP_FILE-} || ! -e $STOP_FILE ]] || skip 'an earlier test failed'
}

teardown() {
  common_teardown
}

# trace_tests_only: a command in a helper costs no trap, and a failure in there has the line of its
# call, where bats has what we know of it.
trace_tests_only() {
  ! declare -F bats_debug_trap >/dev/null ||
    trap '[[ $BASH_SOURCE == *.bash ]] || bats_debug_trap "$BASH_SOURCE"' DEBUG
}

# ---- small things ----

complain() {
  printf '%s\n' "$@" >&2
  return 1
}

now_ms() {
  echo $((${EPOCHREALTIME/[.,]/} / 1000)) # the point or comma is the locale's
}

# need TOOL…: skips the test where one is missing.
need() {
  local tool
  for tool; do
    command -v "$tool" >/dev/null || skip "$tool is missing: make setup installs it"
  done
}

# moment: 10 ms. Most of a test is waiting, and sleep(1) is a process each time.
moment() {
  [[ -p $T/moment ]] || mkfifo "$T/moment"
  read -r -t 0.01 <>"$T/moment" || true # nobody writes to it
}

# wait_for SECONDS COMMAND…: until it succeeds.
wait_for() {
  local end=$((${EPOCHREALTIME/[.,]/} + $1 * PATIENCE * 1000000))
  shift
  until "$@"; do
    ((${EPOCHREALTIME/[.,]/} < end)) || complain "waited in vain for: $*" || return
    moment
  done
}

# with_fault VAR=VALUE… COMMAND…: the command under the fault shim.
with_fault() {
  "${SHIM_ENV[@]}" "$@"
}

fds() {
  set -- "/proc/$1/fd"/*
  echo $#
}

rss_kb() {
  awk '/^VmRSS:/ { print $2 }' "/proc/$1/status"
}

# Processor time used so far, user and system, in ticks (getconf CLK_TCK a second).
cpu_ticks() {
  sed 's/.*) //' "/proc/$1/stat" | awk '{ print $12 + $13 }'
}

# same_bytes EXPECTED RECEIVED: two files, NUL bytes included.
same_bytes() {
  cmp -s "$1" "$2" && return
  local expected received at first
  expected=$(wc -c <"$1") && received=$(wc -c <"$2") || return
  at=$(cmp -l "$1" "$2" 2>/dev/null | awk '{ print $1; exit }') # counted from 1
  : "${at:=$(((expected < received ? expected : received) + 1))}"
  first=$((at > 9 ? at - 9 : 0))
  echo "expected $expected bytes, received $received; they differ at byte $at:"
  echo "expected $(bytes_at "$first" "$1")"
  echo "received $(bytes_at "$first" "$2")"
  printf '%*s\n' $((9 + (at - first) * 4)) '^'
  return 1
} >&2

# 16 bytes from an offset: characters where they have one, else octal.
bytes_at() {
  tail -c "+$(($1 + 1))" "$2" | head -c 16 | od -An -v -tc
}

# receives EXPECTED PEER_ARGUMENT…: a scripted client gets EXPECTED (escapes as in printf %b), byte
# for byte, and its script goes as it says.
receives() {
  local status=0
  printf %b "$1" >"$T/expected"
  shift
  "$PEER" -t "${WITHIN:-3}" "$PORT" "$@" >"$T/received" || status=$?
  same_bytes "$T/expected" "$T/received" && return "$status"
}

# ---- processes ----

# running PID: it is there, and not a zombie.
running() {
  local stat
  { read -r stat <"/proc/$1/stat"; } 2>/dev/null && [[ ${stat##*) } != Z* ]]
}

# The members of a process group that still run, with their commands.
group_of() {
  local pid
  kill -0 -- "-$1" 2>/dev/null || return 0
  cat /proc/[0-9]*/stat 2>/dev/null |
    awk -v group="$1" '{ pid = $1; sub(/.*\) /, ""); if ($3 == group && $1 != "Z") print pid }' |
    while read -r pid; do
      echo "$pid $(tr '\0' ' ' 2>/dev/null <"/proc/$pid/cmdline")"
    done
}

# kill_group PID: of what `background` has started; the process too, as right after its start it
# has no group of its own yet. Numbers of ended processes are given anew, also to processes of
# others: one whose parent is neither this test nor, as that has ended, init is not meant.
kill_group() {
  local stat=
  { read -r stat <"/proc/$1/stat"; } 2>/dev/null || true
  read -r _ stat _ <<<"${stat##*) }"
  [[ ! $stat || $stat == "$$" || $stat == "$BASHPID" || $stat == 1 ]] || return 0
  kill -KILL -- "-$1" 2>/dev/null || true
  kill -KILL "$1" 2>/dev/null || true
}

group_is_empty() {
  [[ -z $(group_of "$1") ]]
}

# background NAME COMMAND…: in a process group of its own, with nothing inherited: bats waits for
# whoever holds its descriptors, and a leak must not count ours. Standard input stays silent.
background() {
  local name=$1 fd
  shift
  [[ -p $T/silence ]] || mkfifo "$T/silence"
  : >"$T/$name.out" 2>"$T/$name.err"
  (
    trap - DEBUG ERR # of bats
    for fd in "/proc/$BASHPID/fd"/*; do
      fd=${fd##*/}
      ((fd < 3 || fd == 255)) || eval "exec $fd>&-"
    done
    cd "${BATS_CWD:-.}" || exit
    [[ -z ${LIMIT_FDS-} ]] || ulimit -n "$LIMIT_FDS"
    exec setsid "$@" <>"$T/silence" >"$T/$name.out" 2>"$T/$name.err"
  ) &
}

# await_port NAME PID: until its `listening on` line is there; sets PORT (to 1 for a Unix socket,
# which has none).
await_port() {
  local line alive=yes end=$((${EPOCHREALTIME/[.,]/} + START_WITHIN * PATIENCE * 1000000))
  while [[ $alive ]] && ((${EPOCHREALTIME/[.,]/} < end)); do
    running "$2" || alive= # its last words may be there all the same
    while read -r line; do
      if [[ $line =~ ^listening\ on\ (unix:|.*:([0-9]+)$) ]]; then
        PORT=${BASH_REMATCH[2]:-1}
        return
      fi
    done <"$T/$1.out"
    moment
  done
  if [[ $alive ]]; then
    complain "$1 did not print 'listening on ADDR:PORT' within $((START_WITHIN * PATIENCE)) s"
  else
    complain "$1 ended before it printed 'listening on ADDR:PORT'"
  fi || last_words "$1"
}

last_words() {
  echo "--- the end of its standard error, or what a sanitizer says:"
  { grep -Em 1 -A 39 'ERROR: [A-Za-z]*Sanitizer|runtime error:' "$T/$1.err" ||
    tail -n 20 "$T/$1.err"; }
  return 1
} >&2

# ---- the server under test ----

# start_server [OPTION…]: $SERVER -p 0 OPTION…; sets PORT and SERVER_PID. Before it:
# NAME=second, FAULT_ENV='FAULT_SHORT=7' (under the fault shim), LIMIT_FDS=24 (so many descriptors).
start_server() {
  local name=${NAME:-server} command faults
  [[ -z ${SERVERS[$name]-} ]] || complain "$name runs already" || return
  eval "command=($SERVER)"
  read -ra faults <<<"${FAULT_ENV-}"
  [[ -z ${FAULT_ENV-} ]] || command=("${SHIM_ENV[@]}" "${faults[@]}" "${command[@]}")
  background "$name" "${command[@]}" -p 0 "$@"
  SERVERS[$name]=$!
  SERVER_PID=$!
  await_port "$name" "$SERVER_PID"
}

# stop_server [STATUS] [SIGNAL]: the server has to end with that exit status (0) after that signal
# (TERM; 0 sends none: the test has done it), in time, and with all of its process group. Call it
# without `run`: only the shell that started a process is told how it ended.
stop_server() {
  local name=${NAME:-server} signal=${2:-TERM} pid
  pid=${SERVERS[$name]-}
  [[ $pid ]] || complain "$name is not running" || return
  if [[ $signal != 0 ]] && ! { running "$pid" && kill -s "$signal" "$pid"; }; then
    see_end "$name" "$name ended on its own" "${1:-0}"
  else
    see_end "$name" "" "${1:-0}"
  fi
}

# see_end NAME TROUBLE STATUS…: waits for the end, checks how it ended, and reports all trouble.
see_end() {
  local name=$1 pid=${SERVERS[$1]} trouble=$2 left status=0
  shift 2
  unset "SERVERS[$name]"
  wait_for "$STOP_WITHIN" not running "$pid" 2>/dev/null ||
    trouble+="${trouble:+; }$name still ran $((STOP_WITHIN * PATIENCE)) s after the signal"
  running "$pid" || wait_for 1 group_is_empty "$pid" 2>/dev/null || left=$(group_of "$pid")
  [[ -z ${left-} ]] || trouble+="${trouble:+; }$name left behind: $left"
  kill_group "$pid"
  wait "$pid" 2>/dev/null || status=$?
  ENDED[$name]="exit status $status"
  ((status < 129)) || ENDED[$name]="ended by SIG$(kill -l "$status")"
  [[ " $* " == *" $status "* ]] || trouble+="${trouble:+; }$name: exit status $status, not $*"
  if grep -Eq 'ERROR: AddressSanitizer|runtime error:|ThreadSanitizer|LeakSanitizer' \
    "$T/$name.err"; then
    trouble+="${trouble:+; }$name: a sanitizer has reported"
  fi
  [[ -z $trouble ]] || complain "$trouble" || last_words "$name"
}

not() {
  ! "$@"
}

# A guest in any language may end by the signal itself; the kit's own servers end with 0.
common_teardown() {
  local name pid bad=0
  for name in "${!SERVERS[@]}"; do
    pid=${SERVERS[$name]}
    if running "$pid" && kill -s TERM "$pid"; then
      see_end "$name" "" 0 ${GUEST:+143} || bad=1
    else
      see_end "$name" "$name ended on its own" 0 || bad=1
    fi
  done
  for pid in "${TOOLS[@]}"; do
    kill_group "$pid"
    wait "$pid" 2>/dev/null || true
  done
  [[ ! ${STOP_FILE-} ]] || explain $bad
  return $bad
}

# explain BAD: for learners. After a failure it tells how each server ended and what it said last,
# and no more tests are run.
explain() {
  local name
  [[ ! ${BATS_TEST_SKIPPED-} && (! ${BATS_TEST_COMPLETED-} || $1 != 0) ]] || return 0
  : >"$STOP_FILE"
  for name in "${!ENDED[@]}"; do
    echo "--- $name: ${ENDED[$name]}; its last words:$([[ -s $T/$name.err ]] || echo ' none')"
    tail -n 20 "$T/$name.err"
  done
} >&2

# assert_alive: the server is the process that was started.
assert_alive() {
  local name=${NAME:-server}
  running "${SERVERS[$name]-0}" || complain "$name is dead" || last_words "$name"
}

# assert_serving [PEER OPTION…]: and a fresh client gets its answer within a second; through
# sanitizers, within three.
assert_serving() {
  local reply within=1
  [[ ! ${SAN-} ]] || within=3
  assert_alive || return
  reply=$("$PEER" -t $within "$@" "$PORT" send:'probe\n' line) && [[ $reply == *probe ]] ||
    complain "a fresh client got no answer: '$reply'" || last_words "${NAME:-server}"
}

# ---- clients and tools ----

# client [OPTION…] [MESSAGE…]: $CLIENT -p $PORT …, for CLIENT_WITHIN at most; FAULT_ENV as above.
client() {
  local command faults
  eval "command=($CLIENT)"
  read -ra faults <<<"${FAULT_ENV-}"
  [[ -z ${FAULT_ENV-} ]] || command=("${SHIM_ENV[@]}" "${faults[@]}" "${command[@]}")
  (cd "${BATS_CWD:-.}" &&
    exec timeout "$((CLIENT_WITHIN * PATIENCE))" "${command[@]}" -p "$PORT" "$@")
}

# start_tool NAME COMMAND…: a background process whose end is nobody's business; sets TOOL_PID.
start_tool() {
  [[ -z ${TOOLS[$1]-} ]] || complain "$1 runs already" || return
  background "$@"
  TOOLS[$1]=$!
  TOOL_PID=$!
}

# start_peer ARGUMENT…: peer in the background, with a standard input that never ends.
start_peer() {
  start_tool "${NAME:-peer}" "$PEER" "$@"
  # shellcheck disable=SC2034
  PEER_PID=$TOOL_PID
}

# finish_peer: waits for its end, which has to be a good one. Its output is in $T/peer.out.
finish_peer() {
  local name=${NAME:-peer} status=0
  wait "${TOOLS[$name]}" || status=$?
  unset "TOOLS[$name]"
  ((status == 0)) || complain "$name: exit status $status" || last_words "$name"
}

# start_fake [PEER OPTION…] -- VERB…: peer as a scripted server; sets PORT and FAKE_PID.
start_fake() {
  local options=()
  while [[ $1 != -- ]]; do
    options+=("$1")
    shift
  done
  shift
  start_tool "${NAME:-fake}" "$PEER" "${options[@]}" -l 0 "$@"
  FAKE_PID=$TOOL_PID
  await_port "${NAME:-fake}" "$FAKE_PID"
}

# start_relay [OPTION…]: udprelay before $PORT, which from then on is the relay's.
start_relay() {
  start_tool "${NAME:-relay}" "$RELAY" "$@" "$PORT"
  await_port "${NAME:-relay}" "$TOOL_PID"
}

# ---- network namespaces ----

# need_netns: skips the test where it cannot have a network of its own; sets NETNS.
need_netns() {
  need unshare ip
  for NETNS in -n -rn; do
    unshare "$NETNS" ip link set lo up 2>/dev/null && return
  done
  skip "no network namespaces here: they need root, or user namespaces"
}

# netns FUNCTION [ARGUMENT…]: runs a function of the test file in a network of its own.
netns() {
  need_netns
  # shellcheck disable=SC2016
  in_shell unshare "$NETNS" sh -c 'ip link set lo up && exec "$@"' sh -- "$@"
}

# in_shell [COMMAND…] -- FUNCTION [ARGUMENT…]: the function in a bash of its own (started through
# COMMAND) that has all functions, the variables of this file and a teardown.
in_shell() {
  local through=()
  while [[ $1 != -- ]]; do
    through+=("$1")
    shift
  done
  shift
  # shellcheck disable=SC2016
  {
    declare -f
    declare -p T ROOT PEER RELAY SHIM BUILD UNIT GUEST SERVER CLIENT SOURCES SHIM_ENV \
      START_WITHIN STOP_WITHIN CLIENT_WITHIN
    echo 'declare -A SERVERS=() TOOLS=() ENDED=()'
    echo 'skip() { complain "skip before netns, not inside: $*"; exit 1; }'
    echo 'trap '\''echo "failed: $BASH_COMMAND"'\'' ERR'
    echo 'trap '\''status=$?; trap - ERR; BATS_TEST_COMPLETED=1; ((!status)) ||
      BATS_TEST_COMPLETED=; teardown || status=1; exit $status'\'' EXIT'
    echo 'set -eE; "$@"'
  } >"$T/in_shell.bash"
  "${through[@]}" bash "$T/in_shell.bash" "$@"
}
