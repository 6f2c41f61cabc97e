# shellcheck shell=bash
# What hostile clients do to the programs of chapter 01. See common.bash.

export GREETING='欢迎访问服务器!'

# hello: sets HELLO, the verbs of a peer that gets the answer of this step to its first message.
hello() {
  HELLO=(send:hello recv:5)
  [[ $STEP != 1-greet ]] || HELLO=(eof)
}

# served [PEER OPTION…]: a fresh client gets its answer.
served() {
  local answer
  hello
  answer=$(peer "$@" "${HELLO[@]}") || return
  [[ $answer == hello || $answer == "$GREETING" ]]
}

# still_served: ✓ if a fresh client is served now; else how the program has ended.
still_served() {
  if served; then
    echo ✓
  else
    tell_end
  fi
}

# while_stopped PEER_ARGUMENT…: what this client does has arrived before the program sees any of it.
while_stopped() {
  kill -STOP "$STEP_PID"
  peer "$@"
  kill -CONT "$STEP_PID"
}

# start_at ADDRESS: steps that take one have it as an argument; the others listen on 127.0.0.1.
start_at() {
  case $STEP in
    server) start_step -a "$1" ;;
    *) start_step "$1" ;;
  esac
}

behavior 'two at once' 'A second client speaks while the first one is connected and silent.'
on_two_at_once() {
  start_step && hello || return
  NAME=first ready_peer HERE until:"$T/go" half-close drain || return
  NAME=second start_peer "$PORT" "${HELLO[@]}" || return
  if NAME=second step_ends 2000; then
    ((HOW == 0)) && echo ✓
    return
  fi
  touch "$T/go"
  NAME=second peer_ends || return
  case $HOW in
    0) echo 'second waits' ;;
    *) step_ends && echo 'second is reset' ;;
  esac
}

behavior 'next client' 'A client comes after another one has left.'
on_next_client() {
  start_step && hello || return
  peer "${HELLO[@]}" half-close eof >"$T/first" || return
  if served; then
    echo ✓
  else
    step_ends && ((HOW == 0)) && echo 'it has ended'
  fi
}

behavior 'two pieces' 'A message comes in two pieces, the second after the echo of the first.'
on_two_pieces() {
  local answer
  start_step || return
  if [[ $STEP == 1-greet ]]; then
    echo –
    return
  fi
  answer=$(peer send:one recv:3 send:two recv:3)
  case $answer in
    onetwo) echo ✓ ;;
    one) echo 'first only' ;;
  esac
}

# send(2): the number of bytes that it took.
behavior 'short write' 'The kernel takes at most 3 bytes from each send.'
on_short_write() {
  local answer
  FAULT_ENV='FAULT_SHORT=3' start_step || return
  if [[ $STEP == 1-greet ]]; then
    answer=$(peer eof)
  else
    answer=$(peer send:hello half-close eof)
  fi
  case $answer in
    hello | "$GREETING") echo ✓ ;;
    hel | 欢) echo 'rest is lost' ;;
  esac
}

# signal(7)
behavior 'EINTR' 'A signal interrupts every second accept, recv and send.'
on_eintr() {
  local calls=accept:EINTR:2,recv:EINTR:2,send:EINTR:2
  FAULT_ENV="FAULT_AFTER=listen FAULT_FAIL=$calls" start_step || return
  [[ $STEP == 1-greet ]] || peer send:one recv:3 send:two recv:3 >"$T/first"
  served
  still_served
}

# recv(2), send(2): ECONNRESET
behavior 'reset' 'A client connects, says hello and resets the connection.'
on_reset() {
  start_step || return
  while_stopped send:hello reset || return
  still_served
}

# send(2): EPIPE; signal(7): SIGPIPE. The first send to a client that has closed is answered with a
# reset, the second one fails.
behavior 'SIGPIPE' 'A client sends 60,000 bytes and closes without reading.'
on_sigpipe() {
  start_step || return
  while_stopped fill:60000 close || return
  still_served
}

# accept(2)
behavior 'accept fails' 'A connection is gone before accept, then no descriptor is free.'
on_accept_fails() {
  FAULT_ENV='FAULT_FAIL=accept:ECONNABORTED:@1,accept:EMFILE:@2' start_step || return
  still_served
}

# The side that closes first keeps the port in TIME_WAIT: socket(7), SO_REUSEADDR.
behavior 'restart' 'It is stopped while a client is connected, and started again at once.'
on_restart() {
  start_step && hello || return
  ready_peer "${HELLO[@]}" HERE eof || return
  stop_step || return
  peer_ends || return
  if STEP_PORT=$PORT NAME=again start_step 2>"$T/start"; then
    served && echo ✓
  else
    grep -qE '^[^:]*: ?bind.*: Address (already )?in use|^bind: Address' "$T/again.err" &&
      echo 'port is taken'
  fi
}

# ipv6(7). A machine without IPv6 may still have it in a new network.
behavior 'IPv6' 'It is asked to listen on every address (::), and a client comes to ::1.'
on_ipv6() {
  if has_ipv6; then
    speaks_ipv6
  else
    in_own_network speaks_ipv6
  fi
}

has_ipv6() {
  grep -q '^0*1 ' /proc/net/if_inet6 2>/dev/null
}

speaks_ipv6() {
  has_ipv6 || unseen 'no IPv6 here, nor in a new network' || return
  start_at :: || return
  if served -a ::1; then
    served && echo ✓
  else
    grep -q 'Connection refused' "$T/peer.err" && echo refused
  fi
}

# A stopped program gets all at once: the bytes have arrived when the signal comes.
behavior 'SIGTERM' 'SIGTERM comes after bytes that are not yet answered.'
on_sigterm() {
  local first=(send:one recv:3)
  start_step || return
  [[ $STEP != 1-greet ]] || first=(eof)
  ready_peer "${first[@]}" HERE until:"$T/go" send:two ready:"$T/sent" eof || return
  kill -STOP "$STEP_PID"
  touch "$T/go"
  wait_for 5 test -e "$T/sent" || return
  kill -TERM "$STEP_PID"
  kill -CONT "$STEP_PID"
  step_ends || return
  case $HOW in
    SIGTERM) echo killed ;;
    0) peer_ends && ((HOW == 0)) && [[ $(<"$T/peer.out") == onetwo ]] && echo ✓ ;;
  esac
}

# RFC 2525, 2.17. What is said to a closed socket is answered with a reset, and the next send fails.
# A server that reads on does so for 300 ms, which this machine may need for something else: so one
# time of three is enough.
behavior 'late words' 'It closes, by itself or after SIGTERM, and its client still sends.'
on_late_words() {
  local try
  hello
  for try in 1 2 3; do
    NAME=step-$try start_step || return
    NAME=peer-$try ready_peer "${HELLO[@]}" HERE eof send:late sleep:30 send:words || return
    kill -TERM "$STEP_PID"
    NAME=peer-$try peer_ends || return
    ((HOW)) || {
      echo ✓
      return
    }
  done
  grep -qE 'Broken pipe|reset' "$T"/peer-*.err && echo reset
}
