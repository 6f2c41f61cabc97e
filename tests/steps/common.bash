# shellcheck shell=bash
# What tests/steps.bats (a test for each row of the docs' tables of steps) and tests/bin/step (one
# row, for a reader) share. helpers/common.bash is read before it.
#
# tests/steps/NN.bash has one behavior of hostile clients for each column of the chapter's table:
#
#   behavior 'short write' 'Each send of the server takes 3 bytes at most.'
#   on_short_write() {
#     FAULT_ENV='FAULT_SHORT=3' start_step || return
#     …
#     echo ✓
#   }
#
# The function's name follows from the heading. It drives the program of this row, and prints what
# it has observed: exactly a cell's text. STEP is the row's step (`1-greet`; `server` in the last
# row), PAIR the step's client, if it has one. If the function sees something that it does not know,
# it says so on stderr and fails (`complain`); where it can observe nothing, it calls `unseen`. It
# must not look at the table. `set -e` does not hold in it, so it has to ask (`|| return`).
# It has a directory $T of its own, and what it starts with start_step, start_tool or start_peer is
# ended after it.

declare -ga BEHAVIORS=()  # headings, in order
declare -gA CLIENT_DOES=() # what the client does, for each heading
UNSEEN=77                 # the status of a function that could observe nothing

# behavior HEADING SENTENCE
behavior() {
  BEHAVIORS+=("$1")
  CLIENT_DOES[$1]=$2
}

# function_of HEADING: sets FUNCTION, the name of its function.
function_of() {
  local name=${1,,}
  FUNCTION=on_${name//[^a-z0-9]/_}
}

# unseen REASON: this machine cannot show this behavior.
unseen() {
  echo "$1" >"$T/unseen"
  return "$UNSEEN"
}

# ---- the program of a row ----

# choose_step NN/STEP: sets STEP, CHAPTER, PROGRAM, PAIR and, unless it is a guest's, SERVER; reads
# the chapter's behaviors.
choose_step() {
  local dir
  dir=("$ROOT/${1%%/*}"-*/)
  CHAPTER=$(basename "${dir[0]}")
  STEP=${1#*/}
  [[ -d $ROOT/$CHAPTER ]] || complain "no chapter ${1%%/*}" || return
  PROGRAM=$ROOT/$CHAPTER/steps/$STEP PAIR=
  [[ ! -e $PROGRAM-client.c ]] || PAIR=$PROGRAM-client
  [[ ! -e $PROGRAM-server.c ]] || PROGRAM=$PROGRAM-server
  if [[ $STEP == server ]]; then
    PROGRAM=$ROOT/$CHAPTER/server
    PAIR=$ROOT/$CHAPTER/client
    [[ ${GUEST-} ]] || quote SERVER "$PROGRAM"
  fi
  BEHAVIORS=()
  # shellcheck source=/dev/null
  source "$ROOT/tests/steps/${1%%/*}.bash"
}

# start_step [ARGUMENT…]: starts the program and waits until it listens; sets PORT and STEP_PID.
# A step's port is moved by the fault shim. Before it: FAULT_ENV='FAULT_SHORT=3', LIMIT_FDS=24,
# STEP_PORT=N (a port of your choice), NAME=second (`step`; then its output is in $T/second.out).
start_step() {
  local name=${NAME:-step} command faults=()
  split_faults
  if [[ $STEP == server ]]; then
    eval "command=($SERVER -p ${STEP_PORT:-0})"
    ((${#faults[@]} == 0)) || command=("${SHIM_ENV[@]}" "${faults[@]}" "${command[@]}")
  else
    [[ ! -e $T/$name.port ]] || rm "$T/$name.port"
    command=("${SHIM_ENV[@]}" "FAULT_PORT=${STEP_PORT:-0},$T/$name.port" "${faults[@]}" "$PROGRAM")
  fi
  start_tool "$name" "${command[@]}" "$@" || return
  STEP_PID=$TOOL_PID
  await_port "$name" "$STEP_PID" || return
  [[ $STEP == server ]] || read -r PORT <"$T/$name.port"
}

# run_client [ARGUMENT…]: the step's own client against $PORT, for CLIENT_WITHIN seconds at most.
run_client() {
  local faults=()
  split_faults
  [[ $STEP != server ]] || set -- -p "$PORT" "$@"
  timeout "$((CLIENT_WITHIN * PATIENCE))" \
    "${SHIM_ENV[@]}" "FAULT_PORT=$PORT" "${faults[@]}" "$PAIR" "$@"
}

# instrument KIND: from now on start_step starts the step as `make SAN=KIND` builds it.
instrument() {
  local kind=$1
  flock "$ROOT/build/lock" make -s -C "$ROOT" SAN="$kind" "$CHAPTER/steps" >&2 ||
    unseen "$CHAPTER's steps cannot be built with -fsanitize=$kind" || return
  PROGRAM=$ROOT/build/${kind//,/-}/${PROGRAM#"$ROOT"/}
}

# step_ends [MILLISECONDS]: whether the program ends within that time (2 s); then HOW is its exit
# status, or the signal's name, SIGPIPE.
step_ends() {
  local name=${NAME:-step} pid status=0
  local end=$((${EPOCHREALTIME/[.,]/} + ${1:-2000} * PATIENCE * 1000))
  pid=${TOOLS[$name]}
  while running "$pid"; do
    ((${EPOCHREALTIME/[.,]/} < end)) || return
    moment 0.005
  done
  wait "$pid" || status=$?
  unset "TOOLS[$name]"
  HOW=$status
  ((status <= 128)) || HOW=SIG$(kill -l "$status")
}

# stop_step [SIGNAL]: sends it (TERM) and waits for the end; HOW as above.
stop_step() {
  kill -s "${1:-TERM}" "${TOOLS[${NAME:-step}]}" || complain "it had ended before" || return
  step_ends "${STOP_WITHIN}000" || complain "it does not end at SIG${1:-TERM}"
}

# peer_ends: the same of what ready_peer has started, within 5 s; 0 says that all went as scripted.
peer_ends() {
  NAME=${NAME:-peer} step_ends 5000 || complain "${NAME:-peer} does not end"
}

# tell_end: prints how the program has failed, in a cell's words; fails itself if the program still
# runs after 2 s, or has ended with status 0.
tell_end() {
  step_ends || complain "it neither ends nor answers" || return
  case $HOW in
    0) complain 'it ended with exit status 0' ;;
    SIG*) echo "killed by $HOW" ;;
    *) echo 'it ends' ;;
  esac
}

# peer [OPTION…] VERB…: a scripted client of this program, which gives up after 3 s.
peer() {
  local options=()
  while [[ $1 == -* ]]; do
    options+=("$1")
    shift
    [[ ${options[-1]} == -u || $1 == -* ]] || {
      options+=("$1")
      shift
    }
  done
  "$PEER" -t 3 "${options[@]}" "$PORT" "$@" 2>>"$T/peer.err"
}

# ready_peer ARGUMENT…: the same in the background; returns when its script has come to HERE, which
# stands for a verb. Its output is in $T/NAME.out; `finish_peer` waits for its end.
ready_peer() {
  local name=${NAME:-peer}
  [[ ! -e $T/$name.here ]] || rm "$T/$name.here"
  start_peer "$PORT" "${@/#HERE/ready:"$T/$name.here"}" || return
  wait_for 5 test -e "$T/$name.here"
}

# in_own_network FUNCTION: the function in a network of its own, which has IPv6 in most cases.
in_own_network() {
  for NETNS in -n -rn; do
    unshare "$NETNS" ip link set lo up 2>/dev/null || continue
    export STEP CHAPTER PROGRAM PAIR
    in_shell unshare "$NETNS" sh -c 'ip link set lo up && exec "$@"' sh -- "$@"
    return
  done
  unseen "there are no network namespaces here: they need root, or user namespaces"
}

end_tools() {
  local pid
  for pid in "${TOOLS[@]}"; do
    kill_group "$pid"
    wait "$pid"
  done 2>/dev/null
}

# observe HEADING: prints what came of that behavior, and ends what was started for it. Fails if
# nothing was observed: with the status UNSEEN if nothing can be, here.
observe() (
  trap - DEBUG ERR
  set +eE
  function_of "$1"
  T=$T/$FUNCTION
  [[ ! -e $T ]] || rm -rf "$T"
  mkdir "$T"
  (
    TOOLS=() SERVERS=()
    trap end_tools EXIT # an error in arithmetic ends this shell
    "$FUNCTION"
  ) >"$T/outcome" 2>"$T/said"
  status=$?
  outcome=$(<"$T/outcome")
  if ((status == 0)) && [[ $outcome && $outcome != *$'\n'* ]]; then
    echo "$outcome"
    return
  fi
  ((status != UNSEEN)) || cat "$T/unseen"
  ((status == UNSEEN)) || {
    echo "$STEP, \"$1\": it did something that is not known here (status $status): $outcome"
    cat "$T/said"
    [[ ! -s $T/peer.err ]] || cat "$T/peer.err"
    [[ ! -e $T/step.err ]] || last_words step
  } >&2
  return $((status ? status : 1))
)

# ---- the tables in the docs ----

# cells LINE: sets CELLS, the texts between the bars; without what Markdown adds to them, but for
# links in the first.
cells() {
  local i link='\[([^]]*)\]\([^)]*\)'
  IFS='|' read -ra CELLS <<<"${1#|}"
  for i in "${!CELLS[@]}"; do
    [[ ${CELLS[i]} =~ ^[[:space:]]*(.*[^[:space:]]|)[[:space:]]*$ ]]
    CELLS[i]=${BASH_REMATCH[1]//\`/}
    while ((i > 0)) && [[ ${CELLS[i]} =~ $link ]]; do
      CELLS[i]=${CELLS[i]/"${BASH_REMATCH[0]}"/"${BASH_REMATCH[1]}"}
    done
  done
}

# step_of CELL: sets step, to the step that the first cell of a row links to.
step_of() {
  [[ $1 =~ \]\(([^\)]*/)?([^\)/]*)\.c\) ]] || complain "no link to a program: $1" || return
  step=${BASH_REMATCH[2]}
  [[ $step == server ]] || step=${step%-server}
  step=${step%-client}
}

# read_table NN: the table of steps in that chapter's doc. Sets DOC, HEADINGS, STEPS (in order) and
# ROWS, where ROWS[step] is the line.
read_table() {
  local line step inside='' tables=0
  local docs=("$ROOT/docs/$1"-*.md)
  DOC=docs/${docs[0]##*/}
  HEADINGS=() STEPS=()
  declare -gA ROWS=()
  while IFS= read -r line; do
    if [[ $line =~ ^\|\ *step\ *\| ]]; then
      tables=$((tables + 1)) inside=yes
      cells "$line"
      HEADINGS=("${CELLS[@]:1}")
    elif [[ $line != \|* ]]; then
      inside=
    elif [[ $inside && $line != *---* ]]; then
      cells "$line"
      step_of "${CELLS[0]}" || return
      ((${#CELLS[@]} == ${#HEADINGS[@]} + 1)) ||
        complain "$DOC: the row of $step has ${#CELLS[@]} cells, not $((${#HEADINGS[@]} + 1))" ||
        return
      STEPS+=("$step")
      ROWS[$step]=$line
    fi
  done <"$ROOT/$DOC"
  ((tables == 1)) || complain "$DOC: $tables tables of steps, not one"
}

# row NN/STEP: each cell of that row of the table is what can be observed.
row() {
  local i cell outcome status bad=0 unseen=''
  choose_step "$1" || return
  read_table "${1%%/*}" || return
  [[ ${ROWS[$STEP]-} ]] || complain "$DOC: the table has no row for $STEP" || return
  for i in "${!HEADINGS[@]}"; do
    [[ ${CLIENT_DOES[${HEADINGS[i]}]-} ]] ||
      complain "tests/steps/${1%%/*}.bash: no behavior \"${HEADINGS[i]}\"" || return
    status=0
    outcome=$(observe "${HEADINGS[i]}") || status=$?
    if ((status == UNSEEN)); then
      unseen+="${unseen:+; }${HEADINGS[i]}: $outcome"
      continue
    fi
    cells "${ROWS[$STEP]}"
    cell=${CELLS[i + 1]}
    [[ $status == 0 && $outcome == "$cell" ]] || bad=1
    ((status)) || [[ $outcome == "$cell" ]] ||
      complain "$DOC, $STEP, \"${HEADINGS[i]}\": \"$cell\" in the table, \"$outcome\" observed" ||
      true
  done
  [[ ! $unseen ]] || ((bad)) || skip "$unseen"
  return "$bad"
}

# table_is_complete NN BATS_FILE: every program below steps/ is in a row, every row is a program's
# and has its test in that file, every column has its behavior and the other way round; the
# chapter's own server has the last row.
table_is_complete() {
  local nn=$1 tests=$2 source step heading bad=0
  choose_step "$nn/server" || return
  read_table "$nn" || return
  for source in "$ROOT/$CHAPTER"/steps/*.c; do
    source=${source#"$ROOT"/}
    [[ "${ROWS[*]}" == *"](../$source)"* ]] || complain "$DOC: no row links to $source" || bad=1
  done
  for step in "${STEPS[@]}"; do
    choose_step "$nn/$step"
    [[ -e $PROGRAM.c ]] || complain "$DOC: the row of $step is no program's" || bad=1
    grep -qx "  seen row $nn/$step" "$tests" || complain "no test of $nn/$step in $tests" || bad=1
  done
  [[ ${STEPS[-1]} == server ]] || complain "$DOC: the last row is not server.c's" || bad=1
  [[ "${HEADINGS[*]}" == "${BEHAVIORS[*]}" ]] ||
    complain "$DOC has the columns ${HEADINGS[*]}" "tests/steps/$nn.bash has ${BEHAVIORS[*]}" ||
    bad=1
  while read -r step; do
    [[ ${ROWS[$step]-} ]] || complain "$DOC: no row for $step, which $tests tests" || bad=1
  done < <(sed -n "s,^  seen row $nn/,,p" "$tests")
  return "$bad"
}
