# shellcheck shell=bash
# What a bad network and hostile peers do to the programs of chapter 02. See common.bash. A server
# is tried with the scripted peer, a client with the chapter's own server.

# start_echo [OPTION…]: the chapter's own server as the other side of a client; sets PORT. Before
# it: FAULT_ENV.
start_echo() {
  local faults=()
  split_faults
  start_tool other "${SHIM_ENV[@]}" "${faults[@]}" "$ROOT/$CHAPTER/server" -p 0 "$@" || return
  await_port other "$TOOL_PID"
}

# start_client [MESSAGE…]: the step's own client in the background.
start_client() {
  [[ $STEP != server ]] || set -- -p "$PORT" "$@"
  start_tool client "${SHIM_ENV[@]}" "FAULT_PORT=$PORT" "$PAIR" "$@"
}

# has_no_reply: true, with the cell, if this step's server never replies.
has_no_reply() {
  [[ $STEP == 1-print ]] && echo –
}

# start_verbose_step: with the datagrams on its output.
start_verbose_step() {
  local verbose=()
  [[ $STEP != server ]] || verbose=(-v)
  start_step "${verbose[@]}"
}

shows() {
  cat "$T/step.out" "$T/step.err" | grep -aq "$1"
}

# udp(7), recv(2): what does not fit into the buffer is thrown away.
behavior 'long datagram' 'A datagram of 2,000 bytes arrives.'
on_long_datagram() {
  local bytes
  start_step || return
  if [[ $STEP == 1-print ]]; then
    peer -u fill:2000 || return
    wait_for 3 shows ^from || return
    bytes=$(sed -n 's/^from [^ ]* //p' "$T/step.out" | tr -dc x | wc -c)
  else
    bytes=$(peer -u fill:2000 recv | wc -c)
  fi
  case $bytes in
    1024) echo 'cut short' ;;
    2000) echo ✓ ;;
  esac
}

# ECMA-48: ESC [ 2 J clears the screen.
behavior 'control bytes' 'A datagram holds a command to the terminal that shows it.'
on_control_bytes() {
  start_verbose_step || return
  peer -u send:'\x1b[2Jend' || return
  wait_for 3 shows 'end$' || return
  if shows $'\e'; then
    echo 'reach the terminal'
  else
    echo ✓
  fi
}

# send(2), ip(7): EPERM is what a firewall says.
behavior 'failed send' 'The first reply cannot be sent (EPERM).'
on_failed_send() {
  has_no_reply && return
  FAULT_ENV='FAULT_FAIL=send:EPERM:@1' start_step || return
  peer -u send:one || return
  if [[ $(peer -u send:two recv) == two ]]; then
    echo ✓
  else
    tell_end
  fi
}

# udp(7): ECONNREFUSED, on a connected socket.
behavior 'no server' 'The client sends to a port that nobody has.'
on_no_server() {
  start_echo && kill "${TOOLS[other]}" && NAME=other step_ends || return
  start_client hello || return
  if ! NAME=client step_ends 1000; then
    echo 'waits for ever'
  elif ((HOW == 0)); then
    echo 'not noticed'
  else
    grep -q 'Connection refused' "$T/client.err" && echo ✓
  fi
}

# udprelay -f: its first datagram comes from another port, and ends with "!".
behavior 'forged reply' 'Somebody else replies before the server does.'
on_forged_reply() {
  [[ $STEP != 1-print ]] || {
    echo –
    return
  }
  start_echo && start_relay -f || return
  case $(run_client hello) in
    hello) echo ✓ ;;
    hell!) echo believed ;;
  esac
}

behavior 'lost reply' 'The first reply of the server is lost on its way.'
on_lost_reply() {
  FAULT_ENV='FAULT_FAIL=send:EPERM:@1' start_echo || return
  start_client hello || return
  if ! NAME=client step_ends 1500; then
    echo 'waits for ever'
  elif [[ ! -s $T/client.out ]]; then
    echo 'not noticed'
  else
    ((HOW == 0)) && [[ $(<"$T/client.out") == hello ]] && echo ✓
  fi
}

behavior 'second copy' 'Each reply comes twice.'
on_second_copy() {
  has_no_reply && return
  start_echo -d 100 || return
  case $(run_client one two | tr '\n' ' ') in
    'one two ') echo ✓ ;;
    'one one ') echo 'taken for the next' ;;
  esac
}

# The source is what its sender says (RFC 768). An echo to an echo would never end: CERT CA-1996-01.
# Datagrams are answered in order: with the second reply, the first one would be there.
behavior 'own port' 'A datagram comes from another machine, from a port like its own.'
on_own_port() {
  has_no_reply && return
  start_step || return
  type -P python3 >/dev/null || unseen 'python3 is missing' || return
  timeout $((20 * PATIENCE)) python3 -c 'if True:
    import socket, sys
    port = int(sys.argv[1])
    s = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2)]
    for k in 0, 1:
        s[k].bind(("127.0.0.2", 0 if k else port))
        s[k].sendto(b"ping", ("127.0.0.1", port))
    s[1].recv(100)
    s[0].setblocking(False)
    try:
        s[0].recv(100)
        print("answered")
    except BlockingIOError:
        print("✓")' "$PORT"
}

# signal(7). A stopped program gets both at once.
behavior 'SIGTERM' 'SIGTERM arrives after a datagram that is not yet answered.'
on_sigterm() {
  start_step || return
  kill -STOP "$STEP_PID"
  start_peer -u "$PORT" send:two ready:"$T/sent" recv || return
  wait_for 5 test -e "$T/sent" || return
  kill -TERM "$STEP_PID"
  kill -CONT "$STEP_PID"
  step_ends || return
  case $HOW in
    SIGTERM) echo killed ;;
    0) peer_ends && ((HOW == 0)) && [[ $(<"$T/peer.out") == two ]] && echo ✓ ;;
  esac
}
