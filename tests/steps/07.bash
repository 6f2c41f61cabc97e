# shellcheck shell=bash
# What hostile clients do to the programs of chapter 07. See common.bash, and helpers/chat.bash for
# the members: bash plays them.
# shellcheck source-path=SCRIPTDIR source=../helpers/chat.bash
source "$ROOT/tests/helpers/chat.bash"

# serve: starts the program. The chapter's server has its pace switched off.
serve() {
  if [[ $STEP == server ]]; then
    start_step -r 0
  else
    start_step
  fi || return
  trap '' PIPE # a member may say something to a program that has ended
}

# unread: how many bytes, and connections, wait for the program in the kernel (proc(5), net/tcp).
unread() {
  awk -v port="$(printf ':%04X$' "$PORT")" '
    $2 ~ port { split($5, queues, ":"); sum += ("0x" queues[2]) + (queues[2] !~ /^0*$/) }
    END { print sum + 0 }' /proc/net/tcp
}

all_is_read() {
  [[ $(unread) == 0 ]]
}

# settle: waits until the program has taken all connections and read all that has come.
settle() {
  wait_for 5 all_is_read
}

# cpu_time: of all threads, in nanoseconds (proc(5), schedstat).
cpu_time() {
  cat "/proc/$STEP_PID/task/"*/schedstat | awk '{ sum += $1 } END { print sum }'
}

# is_stuck: input waits, and for 0.3 s no thread has run at all.
is_stuck() {
  local before
  all_is_read && return 1
  before=$(cpu_time)
  moment 0.3
  [[ $(cpu_time) == "$before" ]] && ! all_is_read
}

# spins: a thread is ready to run in nearly all of many moments.
spins() {
  local i busy=0
  for ((i = 0; i < 30; i++)); do
    ! grep -q '^State:.R' "/proc/$STEP_PID/task/"*/status || busy=$((busy + 1))
    moment 0.005
  done
  ((busy >= 20))
}

# name_of NAME: what a member says first in this step, as a verb of peer and for printf %b.
name_of() {
  case $STEP in
    1-*) echo "$1" ;;
    2-*) ;;
    *) printf '%s\\n' "$1" ;;
  esac
}

# count_threads: sets THREADS.
count_threads() {
  local tasks=("/proc/$STEP_PID/task/"*)
  THREADS=${#tasks[@]}
}

more_threads_than() {
  count_threads
  ((THREADS > $1))
}

# enter NAME…: each of them is in the room, and has heard its welcome.
enter() {
  local name threads
  for name; do
    count_threads
    threads=$THREADS
    comes "$name" || return
    sends "$name" "$(name_of "$name")"
    settle || return
    case $STEP in
      1-*) ;;
      2-*) wait_for 5 more_threads_than "$threads" ;;
      *) next_line "$name" && [[ $HEARD == +welcome* ]] ;;
    esac || return
  done
}

# hears_text NAME: sets HEARD, the next line that is no notice of who has come or left.
hears_text() {
  next_line "$1" || return
  while [[ $HEARD == '* '*@(joined|left*) ]]; do
    next_line "$1" || return
  done
}

# said NAME TEXT: how others hear it in this step.
said() {
  case $STEP in
    2-*) echo "$2" ;;
    *) echo "$1: $2" ;;
  esac
}

behavior 'silent newcomer' 'A client connects and says nothing, while ann says a line to bob.'
on_silent_newcomer() {
  serve && enter ann bob || return
  comes mute && settle || return
  says ann hello
  if read -r -t 0.7 -u "${MEMBERS[bob]}" HEARD; then
    [[ $HEARD == "$(said ann hello)" ]] && echo ✓
    return
  fi
  leaves mute
  next_line bob && [[ $HEARD == "$(said ann hello)" ]] && echo 'the room waits'
}

behavior 'name and words' 'A name and a line come in one segment.'
on_name_and_words() {
  if [[ $STEP == 2-* ]]; then
    echo –
    return
  fi
  serve && enter bob || return
  NAME=ann ready_peer send:'ann\nhello\n' HERE until:"$T/go" || return
  settle || return
  touch "$T/go"
  hears_text bob || return
  case $HEARD in
    'ann: hello') echo ✓ ;;
    '* ann') next_line bob && [[ $HEARD == 'hello left' ]] && echo 'words join the name' ;;
  esac
}

behavior 'two lines' 'Two lines come in one segment.'
on_two_lines() {
  if [[ $STEP == 2-* ]]; then
    echo –
    return
  fi
  serve && enter bob || return
  NAME=ann ready_peer send:'ann\n' HERE until:"$T/go" send:'one\ntwo\n' until:"$T/never" || return
  settle || return
  touch "$T/go"
  hears_text bob && [[ $HEARD == 'ann: one' ]] || return
  next_line bob || return
  case $HEARD in
    'ann: two') echo ✓ ;;
    two) echo 'second has no name' ;;
  esac
}

behavior 'torn line' 'A line comes in two pieces, and another member speaks between them.'
on_torn_line() {
  local first
  serve && enter ann bob cleo || return
  sends ann hel
  case $STEP in
    [12]-*)
      first=$(said ann hel)
      IFS= read -r -t 5 -N ${#first} -u "${MEMBERS[cleo]}" HEARD && [[ $HEARD == "$first" ]] ||
        return
      ;;
  esac
  settle || return
  says bob hi
  next_line cleo && [[ $HEARD == "$(said bob hi)" ]] || return
  says ann lo
  next_line cleo || return
  if [[ $HEARD == "$(said ann hello)" ]]; then
    echo ✓
  elif [[ $HEARD == "$(said ann lo)" ]]; then
    echo 'it is cut in two'
  fi
}

# recv(2): 0 is the end.
behavior 'one leaves' 'A member closes its connection.'
on_one_leaves() {
  serve && enter ann bob || return
  leaves ann
  if [[ $STEP != 2-* ]]; then
    next_line bob && [[ $HEARD == '* ann left'* ]] || return
  fi
  if spins; then
    echo 'a thread spins'
  else
    echo ✓
  fi
}

# send(2): EPIPE; signal(7): SIGPIPE. The first send to a client that has closed is answered with a
# reset, the second one fails.
behavior 'leaves meanwhile' 'A member closes while two others say something to it.'
on_leaves_meanwhile() {
  local i HOW=
  serve && enter ann cleo bob || return
  kill -STOP "$STEP_PID"
  leaves ann
  says bob one
  says cleo two
  kill -CONT "$STEP_PID"
  for ((i = 0; i < 60; i++)); do
    ! step_ends 20 || break
    says bob more 2>/dev/null
  done
  if running "$STEP_PID"; then
    hears_text cleo && [[ $HEARD == "$(said bob one)" ]] && echo ✓
  else
    [[ $HOW == SIG* ]] && echo "killed by $HOW"
  fi
}

# send(2): the number of bytes that it took.
behavior 'short write' 'The kernel takes at most 3 bytes from each send.'
on_short_write() {
  local all
  FAULT_ENV='FAULT_SHORT=3' serve && enter ann bob || return
  says ann hello
  if read -r -t 0.7 -u "${MEMBERS[bob]}" HEARD; then
    [[ $HEARD == "$(said ann hello)" ]] && echo ✓
    return
  fi
  all=$(said ann hello)
  { stop_step KILL; } 2>/dev/null || return
  [[ $HEARD$(timeout 5 cat <&"${MEMBERS[bob]}") == "${all::3}" ]] && echo 'rest is lost'
}

# heard_by_bob: how many of ann's lines.
heard_by_bob() {
  grep -c 'xxx$' "$T/heard"
}

# talk_on ROUNDS: ann says the lines of $T/lines so often. She waits while bob is more than a round
# behind, since a room may drop bob, too, if he gets too little processor time.
talk_on() {
  local round size
  size=$(wc -l <"$T/lines")
  for ((round = 0; round < $1; round++)); do
    cat "$T/lines" || return
    until (($(heard_by_bob) >= (round - 1) * size)); do
      running "$STEP_PID" || return
      moment 0.02
    done
  done 1>&"${MEMBERS[ann]}" 2>>"$T/talk.err"
  touch "$T/told"
}

# tcp(7): the kernel's buffers hold up to tcp_wmem bytes for a member that does not read.
behavior 'never reads' 'A member never reads, ann says some megabytes, and bob listens.'
on_never_reads() {
  local line most rounds end
  read -r _ _ most </proc/sys/net/ipv4/tcp_wmem
  printf -v line '%1900s' ''
  yes "${line// /x}" | head -n 200 >"$T/lines"
  rounds=$((1 + (1500 + most / 1900) / 200))
  serve || return
  start_tool mute "$PEER" -b 4096 "$PORT" send:"$(name_of mute)" until:"$T/never" || return
  settle && enter bob ann || return
  timeout 20 cat <&"${MEMBERS[bob]}" >"$T/heard" &
  talk_on "$rounds" &
  end=$(($(now_ms) + 15000 * PATIENCE))
  until [[ -e $T/told ]] && all_is_read; do
    if is_stuck; then
      echo 'the room waits'
      return
    fi
    (($(now_ms) < end)) || complain "bob has heard $(heard_by_bob) lines" || return
    moment 0.02
  done
  wait_for 5 all_is_heard "$((rounds * 200))" && echo ✓
}

all_is_heard() {
  (($(heard_by_bob) >= $1))
}

# ThreadSanitizer finds a race although nothing goes wrong.
behavior 'one comes' 'A client comes, just when another one has said a line.'
on_one_comes() {
  if [[ $STEP != 2-* ]]; then
    echo –
    return
  fi
  instrument thread || return
  serve && enter ann || return
  says ann hello
  settle && enter bob || return
  wait_for 5 grep -q 'ThreadSanitizer: data race' "$T/step.err" && echo 'a data race'
}

behavior 'SIGTERM' 'SIGTERM comes while a member is in the room.'
on_sigterm() {
  serve && enter ann || return
  stop_step || return
  if IFS= read -r -t 5 -u "${MEMBERS[ann]}" HEARD; then
    [[ $HOW == 0 && $HEARD == '* server is closing' ]] && echo ✓
  else
    [[ $HOW == SIGTERM ]] && echo 'no one is told'
  fi
}
