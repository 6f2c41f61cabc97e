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
# LOAD is 06's load generator, SAN chooses an instrumented build, START_WITHIN, STOP_WITHIN and
# CLIENT_WITHIN are limits in seconds (valgrind needs longer ones), PATIENCE multiplies these and
# all other limits that an answer has to meet (for a machine that does much else at the same time).
# For the exercises: PROGRAMS, another directory of the chapter's programs; SOURCES, of its sources;
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
QUIET=${BATS_RUN_TMPDIR:-$T}/quiet          # a pipe into which nobody writes, one for all tests
SILENCE=$QUIET                              # standard input of what runs in the background
[[ -p $QUIET || ! -d ${QUIET%/*} ]] || mkfifo "$QUIET" 2>/dev/null || [[ -p $QUIET ]]
PEER=$ROOT/build/helpers/peer
RELAY=$ROOT/build/helpers/udprelay
BUILD=$ROOT${SAN:+/build/${SAN//,/-}}
UNIT=$ROOT/build/${SAN:+${SAN//,/-}/}unit
GUEST=${SERVER:+yes} # not the kit's own server

# quote VARIABLE WORD: the word, so that any shell reads it as one. (printf %q is for bash only: it
# writes $'...' where the locale cannot show a letter, and script(1) starts sh.)
quote() {
  # shellcheck disable=SC2089 # the same
  local word=$2 q=\'
  [[ $word =~ ^[A-Za-z0-9_./+-]+$ ]] || word=$q${word//"$q"/"$q\\$q$q"}$q
  printf -v "$1" %s "$word"
}
[[ ${SERVER-} ]] || quote SERVER "${PROGRAMS:-$BUILD/${CHAPTER-}}/server"
[[ ${CLIENT-} ]] || quote CLIENT "${PROGRAMS:-$BUILD/${CHAPTER-}}/client"
if [[ ! ${LOAD-} && -x ${PROGRAMS-}/load ]]; then
  quote LOAD "$PROGRAMS/load"
elif [[ ! ${LOAD-} ]]; then
  quote LOAD "$BUILD/06-epoll/load"
fi
SOURCES=${SOURCES:-$ROOT/${CHAPTER-}}
: "${START_WITHIN:=5}" "${STOP_WITHIN:=3}" "${CLIENT_WITHIN:=20}"
export PATIENCE=${PATIENCE:-1} # peer and crowd have limits, too

# A path with a space would be several names in LD_PRELOAD; a name alone is looked for along
# LD_LIBRARY_PATH. The shim comes before the sanitizer's library, which has to accept that.
SHIM_ENV=(env LD_PRELOAD=fault.so
  "LD_LIBRARY_PATH=$ROOT/build${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
  "ASAN_OPTIONS=${ASAN_OPTIONS:+$ASAN_OPTIONS:}verify_asan_link_order=0")

# Chapter 08 is TLS, and so are its peers; with PEER_TLS='' before it, one is not.
if [[ ${CHAPTER-} == 08-* ]]; then
  export PEER_TLS=$ROOT/08-tls/certs/ca.pem
fi

declare -gA SERVERS=() TOOLS=() # what is running: the pid of each name, also its process group
declare -gA ENDED=()            # how each server ended
declare -gA BUSY=()             # those that were found in an endless loop
declare -g AHEAD=()             # the pids of what `ahead` has begun

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

# need TOOL…: skips the test where one is missing, or is not what the table in tools.sh asks for.
need() {
  local reason
  reason=$(
    trap - DEBUG ERR
    set +eE
    # shellcheck source=tests/bin/tools.sh
    source "$ROOT/tests/bin/tools.sh"
    lacking "$@"
  ) || return 0
  skip "$reason"
}

# need_valgrind: skips the test where valgrind cannot run the server under test. Older ones cannot
# read what newer compilers write for debuggers.
need_valgrind() {
  local said
  need valgrind
  [[ -z ${SAN-} ]] || skip 'valgrind cannot run what a sanitizer has instrumented'
  said=$(eval "valgrind -q $SERVER -h" 2>&1 </dev/null) || true
  [[ ! $said =~ [-=]{2}[0-9]+[-=]{2}[^$'\n']*debug\ ?info ]] ||
    skip "this valgrind cannot read the debug information of this compiler (CFLAGS=-gdwarf-4)"
}

# need_descriptors N: skips the test where this user, and what it starts, may not have so many.
need_descriptors() {
  local hard
  hard=$(ulimit -Hn)
  [[ $hard == unlimited ]] || ((hard >= $1)) ||
    skip "$1 descriptors are needed, and \`ulimit -Hn\` is $hard"
}

# own_programs: sets PROGRAM_DIR, where this test may build a program and run it: its own directory,
# or, as that may be mounted noexec, one below build/, which teardown removes.
own_programs() {
  PROGRAM_DIR=$T
  : >"$T/program"
  chmod +x "$T/program"
  [[ ! -x $T/program ]] || return 0
  mkdir -p "$ROOT/build"
  PROGRAM_DIR=$(mktemp -d "$ROOT/build/test.XXXXXX")
}

# moment [SECONDS]: 10 ms. Most of a test is waiting, and sleep(1) is a process each time.
moment() {
  read -r -t "${1:-0.01}" <>"$QUIET" || true
}

# wait_for SECONDS COMMAND…: until it succeeds. Most of what a test waits for comes at once, so the
# first pauses are short.
wait_for() {
  local end=$((${EPOCHREALTIME/[.,]/} + $1 * PATIENCE * 1000000)) pauses=(0.002 0.005)
  shift
  until "$@"; do
    ((${EPOCHREALTIME/[.,]/} < end)) || complain "waited in vain for: $*" || return
    moment "${pauses[0]-}"
    pauses=("${pauses[@]:1}")
  done
}

# wait_for_work SECONDS PIDS COMMAND…: as wait_for, for what these processes (a list of words) have
# to do now, with no time to wait for. When all of them have slept for a second, each waits for
# another, and that is said at once. (A process that is only late, as on a busy machine, is not
# asleep, and on loopback nothing is on its way for long.)
wait_for_work() {
  local pids=$2 seconds=$1 now used='' since=0
  local end=$((${EPOCHREALTIME/[.,]/} + $1 * PATIENCE * 1000000))
  shift 2
  until "$@"; do
    now=${EPOCHREALTIME/[.,]/}
    if ! all_sleep "$pids" || [[ $used != "$(all_used "$pids")" ]]; then
      used=$(all_used "$pids") since=$now
    fi
    ((now - since < 1000000 * PATIENCE)) ||
      complain "nothing has happened for $PATIENCE s: the programs wait for each other" || return
    ((now < end)) || complain "waited $((seconds * PATIENCE)) s in vain for: $*" || return
    moment 0.02
  done
}

# all_sleep PIDS: each thread of them waits for something.
all_sleep() {
  local pid stat
  for pid in $1; do
    for stat in "/proc/$pid/task"/*/stat; do
      { read -r stat <"$stat"; } 2>/dev/null || return
      [[ ${stat##*) } == S* ]] || return
    done
  done
}

# all_used PIDS: the processor time of each.
all_used() {
  local pid
  for pid in $1; do
    cpu_us "$pid" 2>/dev/null || true
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

# forget_freed_memory: for a test that measures memory, before it starts its server.
# AddressSanitizer keeps up to 256 MB of freed memory in quarantine, which would count as the
# server's.
forget_freed_memory() {
  export ASAN_OPTIONS=${ASAN_OPTIONS:+$ASAN_OPTIONS:}
  ASAN_OPTIONS+=quarantine_size_mb=0:thread_local_quarantine_size_kb=0
}

# Processor time used so far, user and system, in ticks (getconf CLK_TCK a second).
cpu_ticks() {
  sed 's/.*) //' "/proc/$1/stat" | awk '{ print $12 + $13 }'
}

# cpu_us PID: microseconds of processor time that it has used. Linux counts them in nanoseconds for
# each thread; where it does not, in ticks (getconf CLK_TCK a second) for the process.
cpu_us() {
  local file ns sum=0 stat
  for file in "/proc/$1/task"/*/schedstat; do
    { read -r ns _ <"$file"; } 2>/dev/null || continue # that thread has ended
    sum=$((sum + ns))
  done
  if ((sum > 0)); then
    echo $((sum / 1000))
    return
  fi
  read -r stat <"/proc/$1/stat"
  read -ra stat <<<"${stat##*) }"
  echo $(((stat[11] + stat[12]) * 1000000 / $(getconf CLK_TCK)))
}

# assert_not_spinning [PID…]: the servers take less than 5 % of a core each while nothing can be
# done. What they had begun may take them a moment more: only the third time counts.
assert_not_spinning() {
  local pid try start used before
  for pid in "${@:-"$SERVER_PID"}"; do
    for try in 1 2 3; do
      before=$(cpu_us "$pid") start=${EPOCHREALTIME/[.,]/}
      moment 0.3
      used=$(($(cpu_us "$pid") - before))
      ((used * 20 >= ${EPOCHREALTIME/[.,]/} - start)) || continue 2
    done
    complain "the server took $used us of processor time in 0.3 s, for the ${try}rd time" || return
  done
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

# receives_at_once EXPECTED PEER_ARGUMENT…: the same, for a reply that takes no time.
receives_at_once() {
  local status=0 client
  printf %b "$1" >"$T/expected"
  shift
  NAME=receiver start_peer -t 3 "$PORT" "$@"
  client=$TOOL_PID
  wait_for_work 3 "$SERVER_PID $client" not running "$client" || kill_group "$client"
  wait "$client" 2>/dev/null || status=$?
  unset "TOOLS[receiver]"
  cat "$T/receiver.err" >&2
  same_bytes "$T/expected" "$T/receiver.out" && return "$status"
}

# ---- processes ----

# running PID: it is there, and not a zombie.
running() {
  local stat
  { read -r stat <"/proc/$1/stat"; } 2>/dev/null && [[ ${stat##*) } != Z* ]]
}

# handles SIGNAL PID: what `background` has started has a handler for that signal by now. (Before it
# becomes that program, in a session of its own, it is a bash, with the handlers of bats.)
handles() {
  local key mask=0 bits=$(($(kill -l "$1") - 1)) stat session
  read -r stat <"/proc/$2/stat"
  read -r _ _ _ session _ <<<"${stat##*) }"
  ((session == $2)) || return
  while read -r key mask && [[ $key != SigCgt: ]]; do :; done <"/proc/$2/status"
  ((16#$mask >> bits & 1))
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
  ! kill -0 -- "-$1" 2>/dev/null || [[ -z $(group_of "$1") ]]
}

# background NAME COMMAND…: in a process group of its own, with nothing inherited: bats waits for
# whoever holds its descriptors, and a leak must not count ours. Standard input stays silent.
# Output is appended, so that a test may empty a log: else it would begin with a hole of NUL bytes.
background() {
  local name=$1 fd
  shift
  [[ -p $SILENCE ]] || mkfifo "$SILENCE"
  : >"$T/$name.out" 2>"$T/$name.err"
  (
    trap - DEBUG ERR # of bats
    for fd in "/proc/$BASHPID/fd"/*; do
      fd=${fd##*/}
      ((fd < 3 || fd == 255)) || eval "exec $fd>&-"
    done
    cd "${BATS_CWD:-.}" || exit
    [[ -z ${LIMIT_FDS-} ]] || ulimit -n "$LIMIT_FDS"
    exec setsid "$@" <>"$SILENCE" >>"$T/$name.out" 2>>"$T/$name.err"
  ) &
}

# await_port NAME PID: until its `listening on` line is there; sets PORT (to 1 for a Unix socket,
# which has none).
await_port() {
  local line alive=yes end=$((${EPOCHREALTIME/[.,]/} + START_WITHIN * PATIENCE * 1000000))
  local pauses=(0.002 0.002 0.004)
  while [[ $alive ]] && ((${EPOCHREALTIME/[.,]/} < end)); do
    running "$2" || alive= # its last output may be there nevertheless
    while read -r line; do
      if [[ $line =~ ^listening\ on\ (unix:|.*:([0-9]+)$) ]]; then
        PORT=${BASH_REMATCH[2]:-1}
        return
      fi
    done <"$T/$1.out"
    moment "${pauses[0]-}"
    pauses=("${pauses[@]:1}")
  done
  if [[ $alive ]]; then
    complain "$1 did not print 'listening on ADDR:PORT' within $((START_WITHIN * PATIENCE)) s"
  else
    complain "$1 ended before it printed 'listening on ADDR:PORT'"
  fi || say_printed "$1" || say_if_busy "$1" "$2" || last_words "$1"
}

# say_printed NAME: what it printed, and what it should have printed. Returns 1.
say_printed() {
  echo "expected: listening on 127.0.0.1:PORT"
  echo "printed:  $([[ -s $T/$1.out ]] && head -n 3 "$T/$1.out" || echo '(nothing)')"
  return 1
} >&2

# never_waits PID: one of its threads wants the processor each time we look, in a tenth of a second.
never_waits() {
  local i state
  for i in {1..10}; do
    state=$(cat "/proc/$1/task"/*/stat 2>/dev/null | sed 's/.*) //') || true
    [[ $'\n'$state == *$'\n'R* ]] || return 1
    moment
  done
}

# say_if_busy NAME PID: once, if it is in an endless loop. Returns 1.
say_if_busy() {
  if [[ ! ${BUSY[$1]-} ]] && running "$2" && never_waits "$2"; then
    BUSY[$1]=yes
    echo "$1 ran without answering: it never waits for anything, as in an endless loop"
  fi
  return 1
} >&2

last_words() {
  echo "--- the end of its standard error, or what a sanitizer says:"
  { grep -Em 1 -A 39 'ERROR: [A-Za-z]*Sanitizer|runtime error:' "$T/$1.err" ||
    tail -n 20 "$T/$1.err"; }
  return 1
} >&2

# ---- the server under test ----

# split_faults: sets faults, one variable of FAULT_ENV in each. What they are set to may have spaces
# in it, as a path may.
split_faults() {
  local rest=${FAULT_ENV-} one
  while [[ $rest ]]; do
    rest=${rest#"${rest%%[! ]*}"}
    one=${rest%%' FAULT_'*}
    rest=${rest#"$one"}
    [[ ! $one ]] || faults+=("${one%"${one##*[! ]}"}")
  done
}

# know_localhost ARGUMENT…: adds to faults what a program needs that is given the name `localhost`,
# where nothing resolves it: a minimal system has no /etc/hosts.
know_localhost() {
  [[ " $* " == *' localhost '* && ${FAULT_ENV-} != *FAULT_HOST=* ]] || return 0
  getent ahosts localhost >/dev/null || faults+=('FAULT_HOST=localhost,127.0.0.1')
}

# start_server [OPTION…]: $SERVER -p 0 OPTION…; sets PORT and SERVER_PID. Before it:
# NAME=second, FAULT_ENV='FAULT_SHORT=7' (under the fault shim), LIMIT_FDS=24 (so many descriptors).
start_server() {
  local name=${NAME:-server} command faults=()
  [[ -z ${SERVERS[$name]-} ]] || complain "$name runs already" || return
  eval "command=($SERVER)"
  split_faults
  know_localhost "$@"
  ((${#faults[@]} == 0)) || command=("${SHIM_ENV[@]}" "${faults[@]}" "${command[@]}")
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
  if ! wait_for "$STOP_WITHIN" not running "$pid" 2>/dev/null; then
    trouble+="${trouble:+; }$name still ran $((STOP_WITHIN * PATIENCE)) s after the signal"
    say_if_busy "$name" "$pid" || true
  fi
  running "$pid" || group_is_empty "$pid" || wait_for 1 group_is_empty "$pid" 2>/dev/null ||
    left=$(group_of "$pid")
  [[ -z ${left-} ]] || trouble+="${trouble:+; }$name left behind: $left"
  kill_group "$pid"
  wait "$pid" 2>/dev/null || status=$?
  ENDED[$name]="exit status $status"
  ((status < 129)) || ENDED[$name]="ended by SIG$(kill -l "$status")"
  [[ " $* " == *" $status "* ]] || trouble+="${trouble:+; }$name: exit status $status, not $*"
  if [[ -s $T/$name.err ]] &&
    grep -Eq 'ERROR: AddressSanitizer|runtime error:|ThreadSanitizer|LeakSanitizer' \
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
    [[ ! ${STOP_FILE-} || ${BATS_TEST_COMPLETED-} ]] || say_if_busy "$name" "$pid" || true
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
  [[ ! ${PROGRAM_DIR-} || $PROGRAM_DIR == "$T" ]] || rm -rf "$PROGRAM_DIR"
  if ((bad)) && [[ ${BATS_TEST_COMPLETED-} ]]; then
    echo 'This was found when the programs were ended; every step of the test had passed.' >&2
    # Else bats would quote the last of these steps as the command that has failed.
    ! declare -F bats_debug_trap >/dev/null || bats_debug_trap "${BASH_SOURCE[0]}"
  fi
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
    echo "--- $name: ${ENDED[$name]}; its standard error:$([[ -s $T/$name.err ]] || echo ' empty')"
    tail -n 20 "$T/$name.err"
  done
} >&2

# serves_or_says: with 4 descriptors, and one more each time: the server says that there are too few
# and exits 1, until there are enough; then it serves at once.
serves_or_says() {
  local command limit name status
  [[ ! ${SAN-} ]] || skip 'a sanitizer needs descriptors of its own'
  eval "command=($SERVER)"
  for ((limit = 4; limit < 40; limit++)); do
    name=with-$limit
    # shellcheck disable=SC2016 # bash itself would need more
    start_tool "$name" sh -c 'ulimit -n "$0" && exec "$@"' "$limit" "${command[@]}" -p 0
    ! await_port "$name" "$TOOL_PID" 2>/dev/null || break
    status=0
    wait "$TOOL_PID" || status=$?
    unset "TOOLS[$name]"
    ((status == 1)) && grep -q '^server: .*Too many open files (EMFILE)$' "$T/$name.err" ||
      complain "with $limit descriptors: exit status $status" || last_words "$name" || return
  done
  "$PEER" -t 2 "$PORT" "$@" || complain "with $limit descriptors it listens, and does not serve"
}

# assert_alive: the server is the process that was started.
assert_alive() {
  local name=${NAME:-server}
  running "${SERVERS[$name]-0}" || complain "$name is dead" || last_words "$name"
}

# assert_serving [PEER OPTION…]: and a fresh client gets its answer within two seconds (one, and one
# for a machine that does other things, too); through sanitizers, within four.
assert_serving() {
  local reply within=2
  [[ ! ${SAN-} ]] || within=4
  assert_alive || return
  reply=$("$PEER" -t $within "$@" "$PORT" send:'probe\n' line) && [[ $reply == *probe ]] ||
    complain "a new client got no answer: '$reply'" || last_words "${NAME:-server}"
}

# ---- clients and tools ----

# client [OPTION…] [MESSAGE…]: $CLIENT -p $PORT …, for CLIENT_WITHIN at most; FAULT_ENV as above.
client() {
  talk_as "$CLIENT" "$@"
}

# generate_load [OPTION…]: $LOAD -p $PORT …, likewise.
generate_load() {
  talk_as "$LOAD" "$@"
}

# talk_as WORDS ARGUMENT…: runs the program that WORDS name, with -p $PORT and the arguments.
talk_as() {
  local command faults=()
  eval "command=($1)"
  shift
  split_faults
  know_localhost "$@"
  ((${#faults[@]} == 0)) || command=("${SHIM_ENV[@]}" "${faults[@]}" "${command[@]}")
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

# tool_ends NAME STATUS: what start_tool has started ends in time, with that exit status. (`run
# wait` would ask a subshell, which is not told how it ended, or says 255 while it still runs.)
tool_ends() {
  local pid=${TOOLS[$1]} status=0
  wait_for 10 not running "$pid" || return
  wait "$pid" || status=$?
  unset "TOOLS[$1]"
  ((status == $2)) || complain "$1: exit status $status, not $2" || last_words "$1"
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

# ---- what waits, side by side ----

# ahead CALL…: for setup_file. Each is a function's name, or that and an argument. These functions,
# which wait more than they work, begin now and go on beside the tests of the file, LANES of them at
# a time (6), each in a shell of its own. One of these then says
#
#   @test "…" {
#     seen FUNCTION ARGUMENT
#   }
#
# `seen` does itself what has not begun. Where not all tests of the file have been chosen, nothing
# is done ahead. Nor is it where the file has no such test: see `extract` in tests/bin/prove.
ahead() {
  local lane
  for ((lane = 0; lane < ${LANES:-6}; lane++)); do
    in_turn "$@"
  done
}

# in_turn CALL…: the same, one at a time, for functions that work more than they wait: with the last
# test of the file first, this and the tests themselves meet in the middle. The loop of exercises
# (tests/bin/side-by-side.sh) has tests side by side already.
in_turn() {
  [[ ! ${STOP_FILE-} ]] && all_are_chosen || return 0
  export BEGUN_AHEAD=yes
  do_in_turn "$@" </dev/null >/dev/null 2>&1 &
  AHEAD+=($!)
}

all_are_chosen() {
  local all
  all=$(grep -c '^@test ' "$BATS_TEST_FILENAME")
  [[ ! ${tests_to_run+set} ]] || ((${#tests_to_run[@]} == all)) # bats-exec-file's
}

has_test_of() {
  grep -q "^  [a-z_ ]* ${1##* }$" "$BATS_TEST_FILENAME"
}

directory_of() {
  echo "$BATS_FILE_TMPDIR/${1//[ \/]/-}"
}

do_in_turn() {
  local call dir pid='' stopped=''
  trap - DEBUG ERR
  set +eE
  close_what_bats_reads
  trap 'stopped=yes; [[ ! $pid ]] || kill -TERM "$pid"' TERM
  for call; do
    [[ ! $stopped ]] || return 0
    has_test_of "$call" || continue
    dir=$(directory_of "$call")
    mkdir "$dir" 2>/dev/null || continue # another lane or `seen` has begun it
    # shellcheck disable=SC2086 # words
    do_ahead "$dir" $call </dev/null >"$dir/output" 2>&1 &
    pid=$!
    while running "$pid"; do
      wait "$pid" # or a signal
    done
  done
}

# bats waits for whoever holds its descriptors.
close_what_bats_reads() {
  local fd
  for fd in {3..9}; do # those above are what bash itself keeps
    eval "exec $fd>&-"
  done
}

# do_ahead DIR FUNCTION…: what a test is for bats: a directory of its own, a teardown, a result.
do_ahead() {
  trap - DEBUG ERR TERM
  close_what_bats_reads
  T=$1 BATS_TEST_TMPDIR=$1
  shift
  echo "$BASHPID" >"$T/pid.new"
  mv "$T/pid.new" "$T/pid"
  SERVERS=() TOOLS=() ENDED=()
  skip() {
    echo "$*" >"$T/skipped"
    exit 0
  }
  trap 'done_ahead $?' EXIT
  setup
  trap - DEBUG
  trap 'echo "failed in line $LINENO: $BASH_COMMAND"' ERR
  set -eE
  "$@"
}

done_ahead() {
  local status=$1
  trap - ERR EXIT
  set +e
  # What ended how is said now; that no more tests are run is the matter of `seen`.
  BATS_TEST_COMPLETED=1 STOP_FILE=${STOP_FILE:+$T/stop}
  ((status == 0)) || BATS_TEST_COMPLETED=
  teardown || status=1
  echo "$status" >"$T/result"
  mv "$T/result" "$T/status"
}

ended_ahead() {
  [[ -e $1/status ]] || { [[ -e $1/pid ]] && not running "$(<"$1/pid")"; }
}

# seen FUNCTION…: what came of it, or it is done now. (Its limits are its own; this is a last one.)
# Where nothing was begun ahead, each test that is repeated does it again.
seen() {
  local dir
  dir=$(directory_of "$*")
  if [[ ! ${BEGUN_AHEAD-} ]] || mkdir "$dir" 2>/dev/null; then # nobody has begun it
    "$@"
    return
  fi
  wait_for 600 ended_ahead "$dir"
  cat "$dir/output"
  [[ ! -e $dir/skipped ]] || skip "$(<"$dir/skipped")"
  [[ -e $dir/status ]] || complain "$*: killed" || return
  (($(<"$dir/status") == 0))
}

# end_ahead: for teardown_file. When tests were interrupted, some functions are not done yet.
end_ahead() {
  local pid
  for pid in "${AHEAD[@]}"; do
    kill -TERM "$pid" 2>/dev/null || true # it has its teardown
  done
  for pid in "${AHEAD[@]}"; do
    wait_for 5 not running "$pid" || kill -KILL "$pid" || true
  done
}

teardown_file() {
  end_ahead
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

# own_network FUNCTION [ARGUMENT…]: as netns, or, where that cannot be, in everybody's network.
own_network() {
  for NETNS in -n -rn; do
    if unshare "$NETNS" ip link set lo up 2>/dev/null; then
      netns "$@"
      return
    fi
  done
  "$@"
}

# without_ipv6 FUNCTION: in a network without IPv6, with a /etc/hosts in which localhost is ::1 and
# then 127.0.0.1.
without_ipv6() {
  need_netns
  [[ -e /etc/hosts ]] || skip 'no /etc/hosts here, in whose place another one could be mounted'
  printf '::1 localhost\n127.0.0.1 localhost\n' >"$T/hosts"
  # shellcheck disable=SC2016
  local prepare='mount --bind "$1" /etc/hosts && ip link set lo up && shift &&
    for file in /proc/sys/net/ipv6/conf/*/disable_ipv6; do echo 1 >"$file"; done && exec "$@"'
  unshare "$NETNS" -m sh -c "$prepare" sh "$T/hosts" true 2>/dev/null ||
    skip 'no mount namespaces here, or no IPv6 that could be turned off'
  in_shell unshare "$NETNS" -m sh -c "$prepare" sh "$T/hosts" -- "$@"
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
    declare -p T QUIET SILENCE ROOT PEER RELAY BUILD UNIT GUEST SERVER CLIENT LOAD SOURCES \
      SHIM_ENV START_WITHIN STOP_WITHIN CLIENT_WITHIN
    echo 'declare -A SERVERS=() TOOLS=() ENDED=()'
    echo 'skip() { complain "skip before netns, not inside: $*"; exit 1; }'
    echo 'trap '\''echo "failed: $BASH_COMMAND"'\'' ERR'
    echo 'trap '\''status=$?; trap - ERR; BATS_TEST_COMPLETED=1; ((!status)) ||
      BATS_TEST_COMPLETED=; teardown || status=1; exit $status'\'' EXIT'
    echo 'set -eE; "$@"'
  } >"$T/in_shell.bash"
  "${through[@]}" bash "$T/in_shell.bash" "$@"
}
