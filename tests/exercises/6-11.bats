# 6-11, a new version takes the listening socket over at -u PATH: no client notices.
# bats file_tags=6-11

CHAPTER=06-epoll
load ../helpers/common

setup_file() {
  ahead hangs hangs_at_the_end old_one_is_late no_descriptor clients_stay
}

# start_version NAME [OPTION…]: a server that is given the path (before it, SOCKET=…: another path);
# it must be on the same port as the one before.
start_version() {
  local port=${PORT-} name=$1
  shift
  NAME=$name start_server -u "${SOCKET:-$T/control}" "$@"
  [[ ! $port || $PORT == "$port" ]] || complain "$name is on port $PORT, not $port"
}

# begin_version NAME: as start_version, but does not wait until it listens.
begin_version() {
  local command
  eval "command=($SERVER)"
  background "$1" "${command[@]}" -p 0 -u "${SOCKET:-$T/control}"
  SERVERS[$1]=$!
}

# has_ended NAME: this version has been replaced, and ends by itself, with exit status 0.
has_ended() {
  NAME=$1 stop_server 0 0
}

# fails STATUS [VAR=VALUE] [OPTION…]: a new version that must fail with this exit status.
fails() {
  local command faults=() expected=$1
  eval "command=($SERVER)"
  shift
  while [[ ${1-} == FAULT_*=* ]]; do
    faults+=("$1")
    shift
  done
  ((${#faults[@]} == 0)) || command=("${SHIM_ENV[@]}" "${faults[@]}" "${command[@]}")
  run timeout $((20 * PATIENCE)) "${command[@]}" -p 0 -u "${SOCKET:-$T/control}" "$@"
  ((status == expected)) || complain "exit status $status, not $expected: $*" "$output"
  [[ $output != *'listening on'* ]] || complain "this version must not listen: $output"
}

has_fds() {
  (($(fds "$SERVER_PID") == $1))
}

# still_has N: the server has so many descriptors again.
still_has() {
  wait_for 3 has_fds "$1" || complain "$1 descriptors before, $(fds "$SERVER_PID") now"
}

# What speaks at the path: connect() returns a socket, take(s) the descriptors that it receives.
SPEAKER='
import socket, sys
def connect():
    try:
        s = socket.socket(socket.AF_UNIX)
        s.connect(sys.argv[1])
    except OSError: # EPROTOTYPE
        s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        s.connect(sys.argv[1])
    s.settimeout(10)
    return s
def take(s):
    return socket.recv_fds(s, 1, 10)[1]
def to_the_end(s):
    try:
        while s.recv(1000): pass
    except ConnectionError: pass
'

# talk PYTHON: does so with the server at the path.
talk() {
  need python3
  run -0 timeout 20 python3 -c "$SPEAKER$1" "$T/control"
}

@test "a new version on the same path takes the port over; the old one ends, exit 0" {
  start_version old
  start_version new
  has_ended old
  NAME=new assert_serving
}

# listen(2): connections that are complete wait in the backlog of the socket, whoever accepts them.
@test "clients keep the version that has accepted them; none of them notices" {
  start_version old
  NAME=early start_peer "$PORT" send:'hello\nhalf' line ready:"$T/early" until:"$T/go" \
    send:' a line\n' line half-close eof
  wait_for 5 test -e "$T/early"
  start_version new
  receives '+new\n' send:'new\n' half-close eof
  running "${SERVERS[old]}" || complain 'the old version has not waited for its client'
  touch "$T/go"
  NAME=early finish_peer
  assert_equal "$(<"$T/early.out")" $'+hello\n+half a line'
  has_ended old
}

# epoll(7), question 6: closing a descriptor that is open elsewhere removes it from no epoll set.
# The new version is stopped (SIGSTOP), so both sockets stay readable.
@test "after the hand-over the old version accepts nobody, and does not spin" {
  need python3
  start_version old
  start_peer "$PORT" send:'hello\n' line ready:"$T/here" until:"$T/go" send:'bye\n' line
  wait_for 5 test -e "$T/here"
  start_version new
  kill -STOP "$SERVER_PID"
  NAME=late start_peer "$PORT" send:'late\n' line
  start_tool next python3 -c "$SPEAKER"'
s = connect()
print("here", flush=True)
take(s)' "$T/control"
  wait_for 5 test -s "$T/next.out"
  assert_not_spinning "${SERVERS[old]}"
  [[ ! -s $T/late.out ]] || complain 'the old version has served a new client'
  touch "$T/go"
  finish_peer
  has_ended old
  kill -CONT "$SERVER_PID"
  NAME=late finish_peer
}

# short_connections FILE: in the background, ten at a time, at least 10,000, until FILE exists.
short_connections() {
  # shellcheck disable=SC2016
  start_tool clients bash -c '
    count=0
    until [[ -e $1 ]] && ((count >= 10000)); do
      "$2" -n 10 -r 50 "$3" send:"hello\n" line half-close eof || exit
      count=$((count + 500))
    done
    echo "$count clients"' bash "$1" "$PEER" "$PORT"
}

@test "ten hand-overs during 10,000 short connections: every client gets its reply" {
  local i
  start_version version-0
  short_connections "$T/enough"
  for i in {1..10}; do
    start_version "version-$i"
    has_ended "version-$((i - 1))"
  done
  touch "$T/enough"
  wait_for 60 not running "$TOOL_PID"
  assert_equal "$(tail -n 1 "$T/clients.out")" "$(grep -cx '+hello' "$T/clients.out") clients"
  NAME=version-10 assert_serving
}

# It takes 1 s, and what SIGTERM takes.
clients_stay() {
  start_version old -d 1
  start_peer -n 3 "$PORT" send:'hello\n' line ready:"$T/here" eof
  NAME=busy start_peer -t 0 "$PORT" flood:30
  wait_for 5 test -e "$T/here"
  start_version new
  finish_peer
  wait_for 3 not running "${SERVERS[old]}"
  has_ended old
  NAME=new assert_serving
}

@test "clients that never leave are closed when the time of -d is over; then the old one ends" {
  seen clients_stay
}

# A new version is killed at several moments of its start, or cannot start.
@test "a new version that does not start changes nothing: the old one serves, nothing is left" {
  local before fault
  start_version old
  start_peer "$PORT" send:'hello\n' line ready:"$T/here" until:"$T/go" send:'bye\n' line
  wait_for 5 test -e "$T/here"
  before=$(fds "$SERVER_PID")
  for fault in connect:SIGKILL:@1 recv:SIGKILL:@1 epoll_ctl:SIGKILL:@1 send:SIGKILL:@1; do
    fails 137 FAULT_SIGNAL=$fault
  done
  for fault in connect:EACCES:@1 recv:EIO:@1 epoll_ctl:ENOMEM:@1 send:EPIPE:@1; do
    fails 1 FAULT_FAIL=$fault
  done
  fails 2 -i none
  assert_alive_as old
  still_has "$before"
  touch "$T/go"
  finish_peer
  start_version new
  has_ended old
}

assert_alive_as() {
  NAME=$1 assert_serving
}

# unix(7), SCM_RIGHTS: descriptors for which there is no room are not received.
@test "a new version without descriptors says so, and changes nothing" {
  [[ ! ${SAN-} ]] || skip 'a sanitizer needs descriptors of its own'
  local command limit
  start_version old
  eval "command=($SERVER)"
  for ((limit = 4; limit < 40; limit++)); do
    start_tool "with-$limit" sh -c 'ulimit -n "$0" && exec "$@"' "$limit" "${command[@]}" \
      -p 0 -u "$T/control"
    await_port "with-$limit" "$TOOL_PID" 2>/dev/null && break
    tool_ends "with-$limit" 1
    grep -q '^server: .*(EMFILE)$' "$T/with-$limit.err" || complain "with $limit descriptors" ||
      last_words "with-$limit"
  done
  ((limit > 6)) || complain 'it has never had too few'
  has_ended old
  assert_equal "$("$PEER" "$PORT" send:'hello\n' line)" +hello
}

# freeze NAME CALL K: a new version that stops (SIGSTOP) just before that call. Returns 1 if it
# listens before it has made K of them.
freeze() {
  local command
  eval "command=($SERVER)"
  start_tool "$1" "${SHIM_ENV[@]}" "FAULT_SIGNAL=$2:SIGSTOP:@$3" "${command[@]}" -p 0 \
    -u "${SOCKET:-$T/control}"
  wait_for 10 stopped_or_listening "$1" || last_words "$1"
  [[ ! -s $T/$1.out ]]
}

stopped_or_listening() {
  [[ -s $T/$1.out ]] || stopped "${TOOLS[$1]}" || not running "${TOOLS[$1]}"
}

dies() {
  kill -KILL "${TOOLS[$1]}"
  tool_ends "$1" 137
}

# here NAME: a client of the old version that has got one reply, and will ask again. When that is
# answered, the old version has seen all that was said to it before.
here() {
  NAME=$1 start_peer "$PORT" send:'hello\n' line ready:"$T/$1.here" until:"$T/$1.go" send:'bye\n' \
    line half-close eof
  wait_for 5 test -e "$T/$1.here"
}

goes() {
  touch "$T/$1.go"
  NAME=$1 finish_peer
  assert_equal "$(<"$T/$1.out")" $'+hello\n+bye'
}

# Before each of its sends and receives, so also between any two messages of the conversation.
# Clients notice nothing: those of the old version are served on, new ones are served, at once or
# when the new version is dead.
killed_at_each() {
  local before k=1 call=$1 SOCKET=$T/$1
  unset PORT
  start_version "old-$call"
  here "first-$call"
  before=$(fds "$SERVER_PID")
  while here "client-$call-$k" && freeze "new-$call-$k" "$call" "$k"; do
    goes "client-$call-$k"
    NAME=late-$call-$k start_peer "$PORT" send:'late\n' line half-close eof
    dies "new-$call-$k"
    NAME=late-$call-$k finish_peer
    assert_equal "$(<"$T/late-$call-$k.out")" +late
    still_has "$before"
    k=$((k + 1))
  done
  ((k > 1)) || complain "a new version has never called $call"
  goes "client-$call-$k"
  goes "first-$call"
  has_ended "old-$call"
}

@test "a new version is killed at any moment before it takes over: no client is lost" {
  killed_at_each recv
  killed_at_each send
}

# From the moment at which it has taken over, it is the server, and is missed as any server is.
@test "a new version is killed when it has taken over: the old one still serves its clients" {
  local status=0
  start_version old
  here first
  freeze new epoll_wait 1 || wait_for 5 stopped "${TOOLS[new]}"
  [[ -s $T/new.out ]] || complain 'it waits before it has said that it listens'
  NAME=late start_peer "$PORT" send:'late\n' line half-close eof
  dies new
  goes first
  has_ended old
  wait_for 5 not running "${TOOLS[late]}" || complain 'a client waits for a server that is dead'
  wait "${TOOLS[late]}" || status=$?
  unset "TOOLS[late]"
  ((status == 0)) || grep -Eq 'ECONNRE(SET|FUSED)' "$T/late.err" || last_words late
}

# freeze_last NAME: before the last thing that it says, which says that it has taken over.
freeze_last() {
  start_version old
  freeze "$1" send 2 || {
    has_ended old
    skip 'a new version says one thing only'
  }
}

hangs_at_the_end() {
  freeze_last hanging
  NAME=late start_peer "$PORT" send:'late\n' line half-close eof # waits until the old one gives up
  NAME=late finish_peer
  kill -CONT "${TOOLS[hanging]}"
  tool_ends hanging 1
  [[ ! -s $T/hanging.out ]] || complain 'two versions listen'
  assert_alive_as old
  start_version new
  has_ended old
}

# bats test_tags=slow
@test "a new version that hangs before it takes over is given up, and does not take over later" {
  seen hangs_at_the_end
}

# shutdown(2), SHUT_RD: what was sent before it can still be received, and nothing more can be sent.
# So both know which came first. Here the old version's time is over when it looks again.
old_one_is_late() {
  freeze_last new
  kill -STOP "${SERVERS[old]}"
  sleep 3.5
  kill -CONT "${TOOLS[new]}"
  wait_for 5 test -s "$T/new.out"
  kill -CONT "${SERVERS[old]}"
  has_ended old
  assert_equal "$("$PEER" "$PORT" send:'hello\n' line)" +hello
}

# bats test_tags=slow
@test "the new version takes over while the old one gives up: both agree on which was first" {
  seen old_one_is_late
}

@test "SIGTERM when the new version has taken over, and the old one does not know: the file stays" {
  freeze_last new
  kill -STOP "${SERVERS[old]}"
  kill -CONT "${TOOLS[new]}"
  wait_for 5 test -s "$T/new.out"
  kill "${SERVERS[old]}"
  kill -CONT "${SERVERS[old]}"
  has_ended old
  [[ -S $T/control ]] || complain 'the old version has removed the file of the new one'
  assert_equal "$("$PEER" "$PORT" send:'hello\n' line)" +hello
}

hangs() {
  start_version old
  start_hanging
  assert_alive_as old
  start_version new
  kill -CONT "$TOOL_PID"
  tool_ends hanging 1
  has_ended old
  NAME=new assert_serving
}

# start_hanging: a new version that stops (SIGSTOP) just before it says anything.
start_hanging() {
  local command
  eval "command=($SERVER)"
  start_tool hanging "${SHIM_ENV[@]}" FAULT_SIGNAL=send:SIGSTOP:@1 "${command[@]}" \
    -p 0 -u "$T/control"
  wait_for 5 stopped "$TOOL_PID"
}

stopped() {
  [[ $(sed 's/.*) //' "/proc/$1/stat" 2>/dev/null) == T* ]]
}

@test "a new version that hangs is given up in time; the next one takes over" {
  seen hangs
}

@test "SIGTERM ends the old version while a new one starts; the new one gives up" {
  start_version old
  start_hanging
  NAME=old stop_server
  [[ ! -e $T/control ]] || complain 'the file is still there'
  kill -CONT "$TOOL_PID"
  tool_ends hanging 1
}

# accept(2), EMFILE: the socket at the path stays readable.
no_descriptor() {
  FAULT_ENV=FAULT_FAIL=accept:EMFILE:@1 start_version old
  begin_version new
  assert_not_spinning "${SERVERS[old]}"
  START_WITHIN=10 await_port new "${SERVERS[new]}"
  has_ended old
}

@test "no descriptor for the conversation: the old version does not spin, and tries again" {
  seen no_descriptor
}

# start_three: at the same time, and waits until each has said that it listens.
start_three() {
  local name
  for name in one two three; do
    begin_version "$name"
  done
  for name in one two three; do
    await_port "$name" "${SERVERS[$name]}"
  done
}

two_have_ended() {
  local name count=0
  for name in one two three; do
    running "${SERVERS[$name]}" || count=$((count + 1))
  done
  ((count == 2))
}

@test "three new versions at once: one takes over after the other, and the last one serves" {
  local name
  start_version old
  start_three
  has_ended old
  wait_for 5 two_have_ended || complain 'not exactly one of the three still runs'
  for name in one two three; do
    running "${SERVERS[$name]}" || has_ended "$name"
  done
  assert_equal "${#SERVERS[@]}" 1
  assert_equal "$("$PEER" "$PORT" send:'hello\n' line)" +hello
}

# bind(2), EADDRINUSE: the file outlives the server.
@test "the socket file of a server that was killed is replaced; any other file is left alone" {
  start_version killed
  kill -KILL "$SERVER_PID"
  NAME=killed stop_server 137 0
  [[ -S $T/control ]] || complain 'there is no socket file'
  unset PORT
  start_version next
  start_version new
  has_ended next
  NAME=new stop_server
  echo precious >"$T/control"
  fails 1
  assert_equal "$(<"$T/control")" precious
}

# unlink(2): a server that has been replaced must not remove the file of the next one.
@test "the file is there as long as a server is: SIGTERM removes it, a hand-over does not" {
  start_version old
  start_version new
  has_ended old
  [[ -S $T/control ]] || complain 'the old version has removed the file'
  [[ $(stat -c %a "$T/control") == 600 ]] || complain "its mode is $(stat -c %a "$T/control")"
  NAME=new stop_server
  [[ ! -e $T/control ]] || complain 'the file is still there'
  NAME=plain start_server
}

# unix(7), SO_PEERCRED. Only root can become another user, who need not be able to walk to the path.
OTHER_USER='
import os
os.chdir(os.path.dirname(sys.argv[1]))
sys.argv[1] = os.path.basename(sys.argv[1])
try:
    os.setuid(65534)
except OSError:
    sys.exit() # no such user in this namespace
if take(connect()):
    sys.exit("has got descriptors")
'

@test "a process of another user gets no socket, and none is taken from it" {
  start_version old
  fails 1 FAULT_USER=1
  if ((EUID == 0)) && command -v python3 >/dev/null; then
    chmod 755 "$T" && chmod 777 "$T/control"
    talk "$OTHER_USER"
  fi
  start_version new
  has_ended old
  unset PORT
  FAULT_ENV=FAULT_USER=1 SOCKET=$T/wary start_version wary
  SOCKET=$T/wary fails 1
  assert_alive_as wary
}

# recv(2) without room for descriptors closes them.
@test "whatever is said to the old version at its path, it serves, and keeps no descriptor" {
  local before
  start_version old
  before=$(fds "$SERVER_PID")
  talk 'take(connect())'
  talk 'for i in range(30): connect().close()'
  talk 'for size in range(1, 12):
    s = connect()
    s.send(b"x" * size)
    to_the_end(s)'
  talk 's = connect()
socket.send_fds(s, [b"x" * 1000], [0] * 100)
to_the_end(s)'
  assert_alive_as old
  still_has "$before"
}

# bats test_tags=kit
@test "-u or -d with anything else: usage, exit 2" {
  local bad
  for bad in '' "$(printf 'x%.0s' {1..108})"; do
    run -2 --separate-stderr timeout $((20 * PATIENCE)) bash -c "$SERVER -u \"\$1\"" server "$bad"
    [[ $stderr == "server: -u needs a path of 1 to 107 bytes"*usage:* ]] ||
      complain "not the expected message: $stderr"
  done
  for bad in 0 x 86401; do
    run -2 --separate-stderr timeout $((20 * PATIENCE)) bash -c "$SERVER -d \"\$1\"" server "$bad"
    [[ $stderr == "server: -d \"$bad\": not a number from 1 to 86400"*usage:* ]] ||
      complain "not the expected message: $stderr"
  done
}
