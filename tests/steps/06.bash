# shellcheck shell=bash
# What hostile clients do to the programs of chapter 06. See common.bash.

# serve: starts the program; an idle connection is closed after 1 s, as in the steps.
serve() {
  if [[ $STEP == server ]]; then
    start_step -i 1
  else
    start_step
  fi
}

# served: a fresh client gets its answer.
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

# state_of: sets STATE: S while the program waits (proc(5)).
state_of() {
  local stat
  read -r stat <"/proc/$STEP_PID/stat" || return
  stat=${stat##*) }
  STATE=${stat%% *}
}

# waits: whether it waits in epoll_wait now.
waits() {
  state_of && [[ $STATE == S ]]
}

# spins: whether it is ready to run in nearly all of many moments; fails if it waits in nearly all.
spins() {
  local i busy=0
  for ((i = 0; i < 40; i++)); do
    state_of || return
    [[ $STATE == S ]] || busy=$((busy + 1))
    moment 0.005
  done
  ((busy >= 20))
}

behavior 'one is silent' 'A client is connected and silent; another one says a line.'
on_one_is_silent() {
  serve || return
  ready_peer HERE until:"$T/never" || return
  still_served
}

# send(2): the number of bytes that it took.
behavior 'short write' 'The kernel takes at most 3 bytes from each send.'
on_short_write() {
  local answer
  FAULT_ENV='FAULT_SHORT=3' serve || return
  answer=$(peer send:'hello\n' half-close eof)
  case $answer in
    hello | +hello) echo ✓ ;;
    hel) echo 'rest is lost' ;;
  esac
}

# send(2): EAGAIN
behavior 'no room' 'A client does not read, and its buffers are full when the server sends.'
on_no_room() {
  FAULT_ENV='FAULT_FAIL=send:EAGAIN:@1' serve || return
  still_served
}

# recv(2), send(2): ECONNRESET. What the client does has arrived before the program sees any of it.
behavior 'reset' 'A client connects, says a line and resets the connection.'
on_reset() {
  serve || return
  kill -STOP "$STEP_PID"
  peer send:'hello\n' reset
  kill -CONT "$STEP_PID"
  still_served
}

behavior 'idle' 'A client connects and never says anything.'
on_idle() {
  serve || return
  NAME=idle start_peer "$PORT" eof || return
  if NAME=idle step_ends 2000; then
    ((HOW == 0)) && echo ✓
  else
    served && echo 'it stays'
  fi
}

# Freed memory is filled by glibc, so a pointer that is read there leads nowhere (mallopt(3),
# M_PERTURB). The program is stopped while it waits; so the timer is the first event to be reported.
behavior 'one batch' 'A connection times out, and a line comes on it, at the same moment.'
on_one_batch() {
  local fd
  getconf GNU_LIBC_VERSION >/dev/null 2>&1 ||
    unseen "this C library leaves freed memory as it is" || return
  case $STEP in
    1-* | 2-*)
      echo –
      return
      ;;
  esac
  MALLOC_PERTURB_=85 serve || return
  trap '' PIPE
  exec {fd}<>"/dev/tcp/127.0.0.1/$PORT" || return
  echo first >&"$fd"
  read -r -t 5 -u "$fd" || return
  wait_for 5 waits || return
  kill -STOP "$STEP_PID"
  moment 1.3
  echo second >&"$fd" || return
  kill -CONT "$STEP_PID"
  if served; then
    echo ✓
  else
    step_ends && [[ $HOW == SIGSEGV ]] && echo 'freed memory is used'
  fi
}

# accept(2): EMFILE. A connection of steps 3 and 4 has two descriptors, of 20.
behavior 'no descriptors' 'It may have 25 descriptors, and 60 clients come and stay.'
on_no_descriptors() {
  LIMIT_FDS=25 serve || return
  NAME=many start_peer -n 60 "$PORT" until:"$T/go" || return
  wait_for 5 full_or_gone || return
  if ! running "$STEP_PID"; then
    tell_end
  elif spins; then
    echo 'it spins'
  else
    touch "$T/go"
    still_served
  fi
}

full_or_gone() {
  local fds=("/proc/$STEP_PID/fd/"*)
  ((${#fds[@]} >= 25)) || ! running "$STEP_PID"
}
