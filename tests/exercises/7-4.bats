# 7-4, servers that share a room over Redis: -R ADDR:PORT -n NAME.
# bats file_tags=7-4

CHAPTER=07-chat
load ../helpers/common
load ../helpers/chat

OTHER=0123456789abcdef # the ID of a server that is not there

teardown() {
  all_leave
  common_teardown
}

is_ready() {
  grep -q 'Ready to accept connections' "$T/$1.out" || not running "${TOOLS[$1]}"
}

# start_redis [PORT]: one of our own, which keeps nothing; sets REDIS, its port, and REDIS_PID. On
# Debian and Ubuntu the program comes with redis-tools too, and is told by its name what it is to
# be; the package redis-server would start a service.
start_redis() {
  local program name try
  need redis-server redis-cli
  program=$(command -v redis-server || command -v redis-check-rdb)
  ln -sf "$program" "$T/redis-server"
  for try in {1..20}; do
    REDIS=${1:-$((20000 + RANDOM % 10000))} # below the ports that the kernel gives out
    name=redis$REDIS.$RANDOM
    start_tool "$name" "$T/redis-server" --port "$REDIS" --bind 127.0.0.1 --save '' --dir "$T"
    REDIS_PID=$TOOL_PID
    wait_for 10 is_ready "$name"
    ! running "$REDIS_PID" || return 0
  done
  last_words "$name"
}

redis() {
  timeout $((10 * PATIENCE)) redis-cli -p "$REDIS" "$@"
}

# publish TEXT: its escapes are those of printf.
publish() {
  printf '%b' "$1" | redis -x PUBLISH room >/dev/null
}

# subscribers N: so many servers listen to the room.
subscribers() {
  [[ $(redis PUBSUB NUMSUB room | tail -n 1) == "$1" ]]
}

# start NAME [OPTION…]: a server of that name; its port goes to PORTS.
declare -gA PORTS=()
start() {
  NAME=$1 start_server -R "127.0.0.1:$REDIS" -n "$@" || return
  PORTS[$1]=$PORT
}

# at NAME COMMAND…: there.
at() {
  PORT=${PORTS[$1]}
  shift
  "$@"
}

# two_servers: west with ann and bob, east with eve.
two_servers() {
  start_redis && start west && start east && wait_for 10 subscribers 2 &&
    at west join ann bob && at east join eve
}

# listen NAME SERVER: somebody of that name is there; what they hear goes to $T/NAME.out at once.
listen() {
  start_tool "$1" bash -c 'exec 9<>"/dev/tcp/127.0.0.1/$2"; echo "$1" >&9; exec cat <&9' \
    bash "$1" "${PORTS[$2]}"
  wait_for 10 grep -q welcome "$T/$1.out"
}

# are_told TEXT: all three, next.
are_told() {
  local name
  for name in ann bob eve; do
    hears $name "$1" || return
  done
}

# What a server publishes comes back to it: it would be heard before what eve says after it.
@test "a message is heard on the other server, as from ann@west, and once on its own server" {
  two_servers
  says ann 'hello, 张三'
  hears bob 'ann: hello, 张三'
  hears eve 'ann@west: hello, 张三'
  says eve '/me waves'
  hears ann '* eve@east: waves'
  hears bob '* eve@east: waves'
  says bob '//slash'
  hears ann 'bob: /slash'
  hears eve 'bob@west: /slash'
  nobody_hears_more
}

@test "a message has the form that the README says: ID SERVER NAME : TEXT" {
  local id pattern='^[0-9a-f]{16} west ann (: hello  you|\* waves)$'
  start_redis
  start_tool listener redis-cli -p "$REDIS" SUBSCRIBE room
  wait_for 10 subscribers 1
  start west
  wait_for 10 subscribers 2
  at west join ann
  says ann 'hello  you'
  says ann '/me waves'
  wait_for 5 grep -q waves "$T/listener.out"
  run -0 grep ' ann ' "$T/listener.out"
  for id in 0 1; do
    [[ ${lines[id]} =~ $pattern ]] || complain "not of that form: ${lines[id]}"
  done
  [[ ${lines[0]%% *} == "${lines[1]%% *}" ]] || complain 'two IDs of one server'
}

@test "joins, departures and /msg stay on one server; both servers may have the same name" {
  start_redis
  start west
  start east
  wait_for 10 subscribers 2
  at west join ann bob
  at east join ANN
  says ann '/msg bob a secret'
  says ann '/nick anna'
  hears bob 'ann (to you): a secret' '* ann is now known as anna'
  says bob '/quit'
  hears bob '+bye'
  is_closed bob
  hears ann '+sent to bob' '* ann is now known as anna' '* bob left'
  says ann 'hello, ANN'
  hears ANN 'anna@west: hello, ANN'
  says ANN /who
  hears ANN '+here: ANN'
  at west comes guest
  says guest 'eve@east'
  next_line guest
  [[ $HEARD == -name* ]] || complain "a name of another server was accepted: $HEARD"
  at west comes late
  says late late
  hears late '+welcome late, here: anna, late' '(earlier) anna: hello, ANN'
  at east comes newcomer
  says newcomer newcomer
  hears newcomer '+welcome newcomer, here: ANN, newcomer' '(earlier) anna@west: hello, ANN'
}

all_heard() {
  (($(grep -c "^$2: " "$T/$1.out") >= $3))
}

# The library and the loop must cope with a call that is interrupted, would wait or does half of its
# work: the loop has to call it again.
@test "3,000 lines each way, with short writes, EINTR, EAGAIN: none lost, repeated or reordered" {
  local name
  start_redis
  FAULT_ENV='FAULT_SHORT=700 FAULT_FAIL=send:EINTR:5,send:EAGAIN:7,recv:EINTR:5,recv:EAGAIN:7' \
    start west -r 0
  start east -r 0
  wait_for 10 subscribers 2
  for name in west east; do
    listen l$name $name
    seq 3000 | awk -v name="$name" '{ printf "%s %060d\n", name, $1 }' >"$T/$name.lines"
  done
  for name in west east; do
    NAME=t$name start_peer -t 60 "${PORTS[$name]}" send:"t$name\n" line file:"$T/$name.lines" eof
  done
  wait_for 30 all_heard lwest teast@east 3000
  wait_for 30 all_heard least twest@west 3000
  sed -n 's/^teast@east: //p' "$T/lwest.out" >"$T/heard"
  same_bytes "$T/east.lines" "$T/heard"
  sed -n 's/^twest@west: //p' "$T/least.out" >"$T/heard"
  same_bytes "$T/west.lines" "$T/heard"
  sed -n 's/^twest: //p' "$T/lwest.out" >"$T/heard"
  same_bytes "$T/west.lines" "$T/heard"
}

@test "Redis dies, and comes back: members are told both times, and talk on in the meantime" {
  two_servers
  kill -KILL "$REDIS_PID"
  are_told '* no connection to the other servers'
  says ann 'can you hear me?'
  hears bob 'ann: can you hear me?'
  assert_not_spinning
  start_redis "$REDIS"
  are_told '* connected to the other servers again'
  says ann 'and now?'
  hears bob 'ann: and now?'
  hears eve 'ann@west: and now?'
  says eve 'now, yes'
  hears ann 'eve@east: now, yes'
  hears bob 'eve@east: now, yes'
  nobody_hears_more
  (($(wc -l <"$T/west.err") == 2)) || complain "more than two lines: $(<"$T/west.err")"
}

@test "no Redis at the start: the server serves nevertheless, and connects to it later" {
  start_redis
  kill -KILL "$REDIS_PID"
  wait_for 5 not running "$REDIS_PID"
  start west
  at west join ann bob
  says ann hello
  hears bob 'ann: hello'
  start_redis "$REDIS"
  hears ann '* connected to the other servers again'
  hears bob '* connected to the other servers again'
  publish "$OTHER north eve : hello"
  hears ann 'eve@north: hello'
}

# The connection is open, the kernel takes what is sent, and no one reads it: only time tells.
@test "Redis hangs: members are told within 5 s, and talk on; when it wakes up, it is used again" {
  two_servers
  kill -STOP "$REDIS_PID"
  says ann 'are you there?'
  hears bob 'ann: are you there?'
  hears ann '* no connection to the other servers'
  hears bob '* no connection to the other servers'
  says bob 'they are not'
  hears ann 'bob: they are not'
  kill -CONT "$REDIS_PID"
  hears ann '* connected to the other servers again'
  until says ann 'now?' && next_line eve && [[ $HEARD == 'ann@west: now?' ]]; do
    [[ $HEARD == *' the other servers'* || $HEARD == 'ann@west: are you there?' ]] ||
      complain "eve heard $HEARD"
  done
}

# No message is in flight, so no answer is missing.
@test "Redis hangs, and no one speaks: all members are told within 5 s" {
  two_servers
  kill -STOP "$REDIS_PID"
  sleep 1
  for name in ann bob eve; do
    within 4 hears $name '* no connection to the other servers'
  done
  kill -CONT "$REDIS_PID"
  are_told '* connected to the other servers again'
}

# within SECONDS COMMAND…
within() {
  local end=$(($(now_ms) + $1 * PATIENCE * 1000))
  shift
  "$@" || return
  (($(now_ms) <= end)) || complain "too late by $(($(now_ms) - end)) ms: $*"
}

# start_proxy: before Redis, for the servers that start from now on; sets REDIS. When $T/stall is
# there, it passes on nothing more of what goes to subscribers.
start_proxy() {
  cat >"$T/proxy.py" <<'PY'
import os, socket, sys, threading, time


def pass_on(a, b, subscriber, commands):
    while data := a.recv(65536):
        if commands and b"SUBSCRIBE" in data.upper():
            subscriber.set()
        while not commands and subscriber.is_set() and os.path.exists(sys.argv[2]):
            time.sleep(0.05)
        b.sendall(data)


listener = socket.create_server(("127.0.0.1", 0))
print("listening on 127.0.0.1:%d" % listener.getsockname()[1], flush=True)
while True:
    client, redis = listener.accept()[0], socket.create_connection(("127.0.0.1", int(sys.argv[1])))
    subscriber = threading.Event()
    for way in (client, redis, subscriber, True), (redis, client, subscriber, False):
        threading.Thread(target=pass_on, args=way, daemon=True).start()
PY
  start_tool proxy python3 "$T/proxy.py" "$REDIS" "$T/stall"
  await_port proxy "$TOOL_PID"
  REDIS=$PORT
}

# A firewall that has forgotten a connection stalls one direction and no other.
@test "Redis accepts messages, but its own data is stalled: members are told within 5 s" {
  local i
  need python3
  start_redis
  start_proxy
  start west
  at west join ann bob
  says ann hello
  hears bob 'ann: hello'
  touch "$T/stall"
  for i in {1..5}; do
    says ann "line $i"
    sleep 0.5
  done
  hears bob 'ann: line 1' 'ann: line 2'
  within 4 hears_it ann '* no connection to the other servers'
}

# bats test_tags=kit
@test "Redis asks for a password at the next connection: the log says so once" {
  two_servers
  printf '%s\n' 'CONFIG SET requirepass secret' 'AUTH secret' 'CLIENT KILL TYPE pubsub' \
    'CLIENT KILL TYPE normal SKIPME yes' | redis
  are_told '* no connection to the other servers'
  wait_for 5 grep -q NOAUTH "$T/west.err"
  sleep 1.2
  (($(grep -c NOAUTH "$T/west.err") == 1)) || complain "$(<"$T/west.err")"
  redis -a secret --no-auth-warning CONFIG SET requirepass ''
  are_told '* connected to the other servers again'
}

# start_lean NAME [OPTION…]: a server whose memory can be measured even under AddressSanitizer,
# which otherwise keeps freed memory.
start_lean() {
  forget_freed_memory
  start "$@"
}

# grew_less NAME BEFORE KB
grew_less() {
  local peak
  peak=$(peak_kb "${SERVERS[$1]}")
  ((peak - $2 < $3)) || complain "the memory of $1 grew from $2 to $peak kB"
}

@test "while Redis hangs, 9 MB are said on one server: all is heard there, memory is bounded" {
  local before
  start_redis
  start_lean west -r 0
  wait_for 10 subscribers 1
  listen listener west
  before=$(rss_kb "${SERVERS[west]}")
  kill -STOP "$REDIS_PID"
  seq 100000 | awk '{ printf "%090d\n", $1 }' >"$T/lines"
  "$PEER" -t 60 "$PORT" send:'ann\n' line file:"$T/lines" half-close drain
  wait_for 20 all_heard listener ann 100000
  sed -n 's/^ann: //p' "$T/listener.out" >"$T/heard"
  same_bytes "$T/lines" "$T/heard"
  grew_less west "$before" 16000
}

# Anyone who can reach Redis may publish.
@test "a message that no server would publish is dropped and logged, without flooding the log" {
  local bad long
  start_redis
  start west
  wait_for 10 subscribers 1
  at west join ann
  printf -v long '%06001d' 0
  for bad in '' ' ' 'hello' '+welcome ann, here: ann' '* ann left' "$OTHER north eve :" \
    "$OTHER north eve : " "$OTHER north eve - hello" "$OTHER north  : hello" \
    "$OTHER  eve : hello" "$OTHER NORTH eve : hello" "$OTHER north * : hello" \
    "$OTHER north +ok : hello" "$OTHER north a: : hello" "$OTHER north a\\x07 : hello" \
    "$OTHER north eve@east : hello" "$OTHER north \\xff : hello" "$OTHER north eve :: hello" \
    "${OTHER^^} north eve : hello" "0$OTHER north eve : hello" "${OTHER:1} north eve : hello" \
    "$OTHER northnorthnorthno eve : hello" "$OTHER north $long : hello" \
    "$OTHER north eve : $long" "$OTHER\\0 north eve : hello"; do
    publish "$bad"
  done
  publish "$OTHER north eve : hello"
  hears ann 'eve@north: hello'
  run -0 grep -c malformed "$T/west.err"
  ((output < 20)) || complain "$output lines in the log"
  is_clean "$(<"$T/west.err")"
}

@test "text from other servers is cleaned, and never becomes a line of the server's own" {
  local f=$'\xef\xbf\xbd' long
  start_redis
  start west
  wait_for 10 subscribers 1
  at west join ann
  publish "$OTHER north eve : \\x1b[2J\\x9b\\n* ann left\\r\\n"
  hears ann "eve@north: ${f}[2J$f$f* ann left$f$f"
  publish "$OTHER north eve * \\0 \\xe2\\x80\\xae"
  hears ann "* eve@north: $f $f"
  printf -v long '%06000d' 0
  publish "$OTHER north eve : $long"
  hears ann "eve@north: $long"
  nobody_hears_more
}

# hears_it NAME LINE: perhaps after notices.
hears_it() {
  until next_line "$1" && [[ $HEARD == "$2" ]]; do
    [[ $HEARD == '* '* ]] || complain "$1 heard $(printf %q "$HEARD")" || return
  done
}

# is_heard NAME: it hears what is published now, or was published before.
is_heard() {
  local heard=''
  publish "$OTHER north eve : after it"
  says "$1" /who
  until next_line "$1" && [[ $HEARD == +here* ]]; do
    [[ $HEARD != 'eve@north: after it' ]] || heard=yes
  done
  [[ $heard ]]
}

@test "a message of 20 MB: members talk on, hear later ones, and it is never held in memory" {
  local before
  start_redis
  start_lean west
  wait_for 10 subscribers 1
  at west join ann bob
  before=$(rss_kb "${SERVERS[west]}")
  head -c 20000000 /dev/zero | redis -x PUBLISH room >/dev/null
  says ann hello
  hears_it bob 'ann: hello'
  wait_for 10 is_heard bob
  grew_less west "$before" 16000
}

# bats test_tags=kit
@test "-R without -n, or an -R or -n that cannot be understood: usage, exit status 2" {
  local words
  for words in '-R 127.0.0.1:6379' '-n west' '-R 127.0.0.1 -n west' '-R localhost:6379 -n west' \
    '-R 127.0.0.1:0 -n west' '-R 127.0.0.1:6379 -n West' '-R 127.0.0.1:6379 -n a@b' \
    '-R 127.0.0.1:6379 -n northnorthnorthno'; do
    run -2 --separate-stderr timeout $((20 * PATIENCE)) bash -c "$SERVER -p 0 $words"
    [[ $stderr == server:*usage:* && ! $output ]] || complain "$words: $stderr"
  done
}
