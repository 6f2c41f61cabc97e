# shellcheck shell=bash
# What hostile clients do to the programs of chapter 05. See common.bash.

# served: a fresh client gets its answer. The first steps echo, the others put a plus in front.
served() {
  local answer
  answer=$(peer send:'hello\n' line) || return
  [[ $answer == hello || $answer == +hello ]]
}

# still_served: ✓ if a fresh client is served now; else how the program has ended.
still_served() {
  if served; then
    echo ✓
  else
    tell_end
  fi
}

# while_stopped COMMAND…: what it does has arrived before the program sees any of it.
while_stopped() {
  local status=0
  kill -STOP "$STEP_PID"
  "$@" || status=$?
  kill -CONT "$STEP_PID"
  return "$status"
}

# crowd N VERB…: so many clients, which are all connected when this returns.
crowd() {
  local count=$1
  shift
  NAME=crowd start_peer -n "$count" "$PORT" ready:"$T/here" "$@" || return
  wait_for 5 test -e "$T/here"
}

# raise_descriptors N: lets this machine's programs have so many.
raise_descriptors() {
  (($(ulimit -n) >= $1)) || ulimit -Sn "$1" 2>/dev/null || unseen "$1 descriptors are needed"
}

behavior '500 silent clients' '500 clients connect and stay silent; then one more speaks.'
on_500_silent_clients() {
  raise_descriptors 600 && start_step || return
  crowd 500 until:"$T/go" || return
  still_served
}

# recv(2): ECONNRESET
behavior 'reset' 'A client connects and resets the connection.'
on_reset() {
  start_step || return
  while_stopped peer reset || return
  still_served
}

# select(2), BUGS: a socket may be reported as ready, and nothing is there.
behavior 'false alarm' 'select says that a socket is readable, and recv says EAGAIN.'
on_false_alarm() {
  FAULT_ENV='FAULT_FAIL=recv:EAGAIN:@1' start_step || return
  still_served
}

# send(2): the number of bytes that it took.
behavior 'short write' 'The kernel takes at most 3 bytes from each send.'
on_short_write() {
  local answer
  FAULT_ENV='FAULT_SHORT=3' start_step || return
  answer=$(peer send:'hello\n' recv:3 half-close eof)
  case $answer in
    hello | +hello) echo ✓ ;;
    hel) echo 'rest is lost' ;;
  esac
}

behavior 'half-close' 'A line has come, and FIN after it, before the server looks.'
on_half_close() {
  local answer
  start_step || return
  while_stopped ready_peer send:'hello\n' half-close HERE eof || return
  peer_ends || return
  answer=$(<"$T/peer.out")
  case $answer in
    hello | +hello) echo ✓ ;;
    '') ((HOW == 0)) && echo 'reply is lost' ;;
  esac
}

memory_kb() {
  echo $(($(rss_kb "$STEP_PID") - MEMORY_BEFORE))
}

state_of() {
  local stat
  read -r stat <"/proc/$1/stat" && stat=${stat##*) }
  echo "${stat%% *}"
}

# all_asleep PID…: none of them has anything to do, which is seen several times.
all_asleep() {
  local pid
  for _ in 1 2 3 4 5 6; do
    for pid; do
      [[ $(state_of "$pid") == S ]] || return
    done
    moment 0.03
  done
}

# It sends more than the buffers of both kernels hold. If the server stops reading, then in the end
# both sleep.
behavior 'never reads' 'A client sends 30 MB of lines and reads nothing meanwhile.'
on_never_reads() {
  local flood
  start_step && served || return
  MEMORY_BEFORE=$(rss_kb "$STEP_PID")
  NAME=flood start_peer "$PORT" lines:500:60000 ready:"$T/sent" until:"$T/go" half-close drain ||
    return
  flood=$TOOL_PID
  wait_for 5 flood_is_over "$flood" || return
  if (($(memory_kb) > 20000)); then
    echo '30 MB of memory'
  elif [[ -e $T/sent ]]; then
    touch "$T/go"
    NAME=flood peer_ends || return
    (($(<"$T/flood.out") < 30000000)) && echo 'replies are lost'
  else
    served && (($(memory_kb) < 2000)) && echo ✓
  fi
}

# The client has sent all, or cannot send any more.
flood_is_over() {
  [[ -e $T/sent ]] || all_asleep "$STEP_PID" "$1"
}

# select(2): FD_SETSIZE. glibc notices it in fortified programs and aborts; elsewhere, anything may
# happen.
behavior '1,030 clients' '1,030 clients are connected when one more comes.'
on_1_030_clients() {
  local answer
  [[ $STEP == @(3-state|server) ]] || getconf GNU_LIBC_VERSION >"$T/libc" 2>&1 ||
    unseen 'this C library does not check FD_SET' || return
  raise_descriptors 1300 && start_step || return
  if ! crowd 1030 until:"$T/go"; then # it may end before all of them have arrived
    tell_end
    return
  fi
  answer=$(peer eof)
  case $answer in
    '-too many clients') echo ✓ ;;
    '')
      if step_ends 300; then
        [[ $HOW == SIG* ]] && echo "killed by $HOW"
      else
        echo 'closed silently'
      fi
      ;;
  esac
}

behavior 'SIGTERM' 'SIGTERM comes after a line that is not yet answered.'
on_sigterm() {
  start_step || return
  ready_peer send:'one\n' line HERE until:"$T/go" send:'two\n' ready:"$T/sent" eof || return
  kill -STOP "$STEP_PID"
  touch "$T/go"
  wait_for 5 test -e "$T/sent" || return
  kill -TERM "$STEP_PID"
  kill -CONT "$STEP_PID"
  step_ends || return
  case $HOW in
    SIGTERM) echo killed ;;
    0) peer_ends && ((HOW == 0)) && [[ $(<"$T/peer.out") == $'+one\n+two' ]] && echo ✓ ;;
  esac
}
