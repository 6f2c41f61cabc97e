# shellcheck shell=bash
# What hostile clients do to the programs of chapter 03. See common.bash.

# queue_is_empty FIELD: what has arrived on each connection of $PORT has been read. FIELD is where
# the port is in /proc/net/tcp: 2 for the server's ends, 3 for the clients' (proc(5)).
queue_is_empty() {
  awk -v port=":$(printf %04X "$PORT")$" -v field="$1" '
    $field ~ port && $4 == "01" { n++; if ($5 !~ /:00000000$/) unread = 1 }
    END { exit !n || unread }' /proc/net/tcp
}

# served: a fresh client gets its reply.
served() {
  local answer
  answer=$(peer send:'hello\n' line) && [[ $answer == +hello ]]
}

# start_impatient_step: its limits are 2 s; those of the chapter's server are set to 1 s.
start_impatient_step() {
  local options=()
  [[ $STEP != server ]] || options=(-i 1)
  start_step "${options[@]}"
}

behavior 'two lines' 'Two lines arrive in one segment.'
on_two_lines() {
  start_step || return
  case $(peer send:'one\ntwo\n' half-close eof | tr '\n' ' ') in
    '+one +two ') echo ✓ ;;
    '+one two ') echo 'one reply' ;;
  esac
}

behavior 'torn line' 'A line arrives in two pieces, the second when the first has been read.'
on_torn_line() {
  start_step || return
  ready_peer send:on HERE until:"$T/go" send:'e\n' half-close eof || return
  wait_for 5 queue_is_empty 2 || return
  touch "$T/go"
  peer_ends || return
  case $(<"$T/peer.out") in
    +one) echo ✓ ;;
    +on+e) echo 'a reply to each piece' ;;
  esac
}

behavior 'long line' 'A line has 5,000 bytes.'
on_long_line() {
  local answer
  start_step || return
  answer=$(peer fill:5000 send:'\n' half-close eof | tr -d 'x\n')
  case $answer in
    +) echo ✓ ;;
    +++++*) echo 'many replies' ;;
  esac
}

# send(2): the number of bytes that it took.
behavior 'short write' 'The kernel takes at most 3 bytes from each send.'
on_short_write() {
  FAULT_ENV='FAULT_SHORT=3' start_step || return
  case $(peer send:'hello\n' half-close eof) in
    +hello) echo ✓ ;;
    +he) echo 'rest is lost' ;;
  esac
}

# The peer of a server that closes with unread input gets a reset, or the end if that was read.
behavior 'too long' 'A line has more than 65,536 bytes.'
on_too_long() {
  local answer
  start_step || return
  answer=$(peer fill:70000 half-close eof | tr -d x)
  case $answer in
    '-line of more than 65536 bytes') echo ✓ ;;
    +++++*) echo 'many replies' ;;
    '') served && echo 'closed in silence' ;;
  esac
}

# Here it has time to spare: the steps' limit is 2 s.
behavior 'silence' 'A client connects, and says nothing for 3 s.'
on_silence() {
  local answer
  start_impatient_step || return
  answer=$("$PEER" -t 3 "$PORT" line 2>"$T/peer.err")
  case $?/$answer in
    3/) echo 'kept for ever' ;;
    0/'-idle for too long') served && echo ✓ ;;
  esac
}

# First it goes on for longer than any limit. If it is cut off, a second client looks why: when its
# line is late, it is not sending any more.
behavior 'slow line' 'A client sends a byte now and then, and no newline.'
on_slow_line() {
  local answer i pause=700 bytes=()
  [[ $STEP != server ]] || pause=350
  for ((i = 0; i < 6 * PATIENCE; i++)); do
    bytes+=(send:a "sleep:$pause")
  done
  start_impatient_step || return
  if "$PEER" "$PORT" "${bytes[@]}" send:a 2>"$T/peer.err"; then
    echo 'kept for ever'
    return
  fi
  answer=$(peer "${bytes[@]::6}" line) || return
  [[ $answer == '-line not complete in time' ]] && served && echo ✓
}

behavior 'torn reply' 'The reply comes to the client in two pieces.'
on_torn_reply() {
  local options=()
  [[ -x $PAIR ]] || {
    echo –
    return
  }
  start_fake -- recv:3 send:+o ready:"$T/sent" until:"$T/go" send:'ne\n' eof || return
  [[ $STEP != server ]] || options=(-p "$PORT")
  mkfifo "$T/typed" && exec 9<>"$T/typed" || return
  echo one >&9
  start_tool client "${SHIM_ENV[@]}" "FAULT_PORT=$PORT" \
    bash -c 'exec "$@" <"$0"' "$T/typed" "$PAIR" "${options[@]}" || return
  wait_for 5 test -e "$T/sent" || return
  wait_for 5 queue_is_empty 3 || return
  touch "$T/go"
  echo exit >&9
  NAME=client step_ends || return
  case $(tr -d '\n> ' <"$T/client.out") in
    +one) echo ✓ ;;
    +o) echo 'half is printed' ;;
  esac
}

behavior 'accept fails' 'No descriptor is free for a new client.'
on_accept_fails() {
  FAULT_ENV='FAULT_FAIL=accept:EMFILE:@1' start_step || return
  if served; then
    echo ✓
  else
    tell_end
  fi
}

# A stopped program gets both at once: the line has arrived when the signal comes.
behavior 'SIGTERM' 'SIGTERM arrives after a line that is not yet answered.'
on_sigterm() {
  start_step || return
  ready_peer send:'one\n' recv:5 HERE until:"$T/go" send:'two\n' ready:"$T/sent" eof || return
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

behavior 'two at once' 'A second client speaks while the first one is connected and silent.'
on_two_at_once() {
  start_step || return
  NAME=first ready_peer HERE until:"$T/go" half-close drain || return
  NAME=second start_peer "$PORT" send:'hello\n' line || return
  if NAME=second step_ends 500; then
    ((HOW == 0)) && echo ✓
    return
  fi
  touch "$T/go"
  NAME=second peer_ends || return
  ((HOW == 0)) && echo 'second waits'
}
