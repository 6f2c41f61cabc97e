# Chapter 02: a server that echoes datagrams, and a client that gets every answer over a network
# which loses, doubles, delays and forges.
#
# Tests with the tag `kit` want options, messages or exit statuses that are this kit's own. A
# server of yours passes without: SERVER='python3 my.py' bats --filter-tags '!kit' tests/02-udp.bats

# The tests are subshells to shellcheck, and what they set for common.bash is unused. `run` sets
# stderr and stderr_lines.
# shellcheck disable=SC2030,SC2031,SC2034,SC2153,SC2154
CHAPTER=02-udp
load helpers/common

setup_file() {
  ahead failing_recv_does_not_spin client_survives_loss late_replies_are_none \
    client_survives_disorder next_message_is_sent floods_do_not_hold_it_up wait_doubles
  in_turn random_bytes_are_no_reply datagrams_leave_nothing receiving_may_fail sending_may_fail \
    all_is_lost_or_doubled forged_sender_starts_no_loop own_port_is_not_answered
}

# program WORDS ARGUMENT…: in the foreground; $SERVER and $CLIENT may be several words.
program() {
  local words=$1
  shift
  eval "timeout 20 $words \"\$@\""
}

# complains STATUS LINE PROGRAM ARGUMENT…: it ends with that status and says that line (a regular
# expression) on stderr, and after a usage error (2) the usage; nothing on stdout.
complains() {
  local want=$1 line=$2
  shift 2
  run "-$want" --separate-stderr program "$@"
  refute_output
  [[ ${stderr_lines[0]} =~ $line ]] || complain "not $line: ${stderr_lines[0]}"
  [[ $want/${stderr_lines[1]-} == @(1/|2/usage:*) ]] || complain "$stderr"
}

need_ipv6() {
  grep -q '^0*1 ' /proc/net/if_inet6 2>/dev/null || skip 'no IPv6 here'
}

need_root() {
  ((EUID == 0)) || skip 'only root may send such datagrams'
}

# echoes FILE…: a datagram with the bytes of each goes out and comes back the same.
echoes() {
  local file script=()
  for file; do
    script+=(file:"$file" recv)
  done
  "$PEER" -u "$PORT" "${script[@]}" >"$T/received"
  cat "$@" >"$T/expected"
  same_bytes "$T/expected" "$T/received"
}

# has_lines N FILE: what a server with -v has said of N datagrams.
has_lines() {
  (($(wc -l <"$2") == $1))
}

# all_answered N CLIENT_OPTION…: the client gets the answers to N messages, each once, in order.
all_answered() {
  seq "$1" >"$T/messages"
  client "${@:2}" <"$T/messages" >"$T/answers" 2>"$T/summary"
  same_bytes "$T/messages" "$T/answers"
  [[ $(<"$T/summary") == "$1 sent, $1 received, "*" retried, 0 lost"* ]] || cat "$T/summary"
}

# ---- the server: datagrams of every size ----

# recv(2): 0 is the end of a stream; over UDP it is a datagram without data (RFC 768: length 8).
@test "an empty datagram is answered with an empty one, and does not end the server" {
  start_server
  run -0 "$PEER" -u "$PORT" send: within:1000:recv:0 send: within:1000:recv:0 send:more recv
  assert_output more
  assert_serving -u
}

# hping3(8) and nmap(1): what a port scan sends.
@test "empty datagrams of hping3 and nmap do no harm" {
  need hping3 nmap
  need_root
  start_server
  run timeout 10 hping3 --udp -d 0 -c 3 -i u1000 -p "$PORT" 127.0.0.1
  run -0 timeout 20 nmap -n -Pn -sU --max-retries 1 -p "$PORT" 127.0.0.1
  assert_output --regexp "$PORT/udp +open"
  assert_serving -u
}

# udp(7): 65,507 bytes are what IPv4 (RFC 791: 65,535) and UDP (8) leave; more is EMSGSIZE.
@test "datagrams of 1 to 65,507 bytes come back byte for byte" {
  local size
  start_server
  for size in 1 2 511 1024 1025 1472 1473 4096 4097 8192 65506 65507; do
    head -c "$size" /dev/urandom >"$T/size.$size"
  done
  printf %b "$(printf '\\x%02x' {0..255})" >"$T/size.every-byte"
  printf '\0' >"$T/size.nul"
  echoes "$T"/size.*
}

# RFC 768: a datagram comes as it was sent or not at all; two never become one.
@test "boundaries are kept: each of three datagrams comes back on its own" {
  start_server
  run -0 "$PEER" -u "$PORT" send:one send:two send:three recv:3 recv:3 recv:5
  assert_output onetwothree
}

# bats test_tags=heavy
@test "a hundred datagrams of random bytes do no harm" {
  local i
  start_server
  for i in {1..100}; do
    head -c $((RANDOM + RANDOM % 32740 + 1)) /dev/urandom >"$T/random.$i"
  done
  echoes "$T"/random.*
  assert_serving -u
}

# ---- the server: senders that come and go ----

# ip(7): the answer to a socket that is gone brings an ICMP error, which is none of the server's.
@test "200 senders that vanish before their replies do no harm" {
  start_server
  "$PEER" -u -r 200 "$PORT" send:x close
  assert_serving -u
}

# bats test_tags=heavy
@test "ten clients at once: each gets its own replies" {
  local i pids=()
  start_server
  for i in {1..10}; do
    seq "${i}0000" 7 "${i}0999" >"$T/ask.$i"
    client <"$T/ask.$i" >"$T/got.$i" 2>/dev/null 3>&- &
    pids+=($!)
  done
  wait "${pids[@]}"
  for i in {1..10}; do
    same_bytes "$T/ask.$i" "$T/got.$i"
  done
}

# The source is what its sender says (RFC 768). An echo to an echo would never end: CERT CA-1996-01.
own_port_is_not_answered() {
  need python3
  start_server
  run -0 timeout $((10 * PATIENCE)) python3 -c 'if True:
    import socket, sys
    port = int(sys.argv[1])
    for source in port, 0:
        s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        s.settimeout(0.3 if source else 5)
        s.bind(("127.0.0.2", source))
        s.sendto(b"ping", ("127.0.0.1", port))
        try:
            print(s.recvfrom(100)[0])
        except TimeoutError:
            print("nothing")' "$PORT"
  assert_output "nothing
b'ping'"
}

# bats test_tags=kit
@test "a datagram from a port like the server's own is not answered; others are" {
  seen own_port_is_not_answered
}

forged_sender_starts_no_loop() {
  need hping3
  need_root
  start_server -v
  run timeout 10 hping3 --udp -a 127.0.0.1 -s "$PORT" -k -p "$PORT" -d 9 -c 3 -i u1000 127.0.0.1
  assert_serving -u
  assert_equal "$(grep -c "^ignored: .* 127\.0\.0\.1:$PORT" "$T/server.err")" 3
  assert_not_spinning "${SERVERS[@]}"
}

# bats test_tags=kit
@test "a forged datagram from the server's own address does not make it talk to itself" {
  seen forged_sender_starts_no_loop
}

# ---- the server: losing and doubling on purpose ----

# history SERVER_OPTION…: what becomes of 200 datagrams, without their senders, in $T/history. (They
# are few enough for the socket's buffer, so that no other is lost.)
history() {
  start_server -v "$@"
  "$PEER" -u "$PORT" send:{1..200}
  stop_server
  sed 's/ [^ ]*:[0-9]*,.*//' "$T/server.err" >"$T/history"
}

# random(3): the same seed throws the same dice.
# bats test_tags=kit
@test "-s: the same seed loses and duplicates the same datagrams; another seed, others" {
  history -x 30 -d 20 -s 7
  mv "$T/history" "$T/first"
  history -x 30 -d 20 -s 7
  same_bytes "$T/first" "$T/history"
  history -x 30 -d 20 -s 8
  run -1 cmp -s "$T/first" "$T/history"
}

# The bounds are four standard deviations wide; as the seed is always 1, this is no game of luck.
# bats test_tags=kit
@test "-x 30 loses about 30 % of the datagrams and of the replies; -d 20 duplicates about 20 %" {
  local there came back sent
  history -x 30
  there=$(grep -c '^lost on its way from' "$T/history")
  came=$(grep -c '^from' "$T/history")
  back=$(grep -c '^lost on its way to' "$T/history")
  ((there + came == 200))
  ((there > 34 && there < 86)) || complain "$there of 200 lost there"
  ((back * 100 > came * 14 && back * 100 < came * 46)) || complain "$back of $came lost back"
  FAULT_ENV="FAULT_REPORT=$T/report" history -d 20
  sent=$(sed -n 's/^send calls=\([0-9]*\).*/\1/p' "$T/report")
  ((sent > 217 && sent < 263)) || complain "$sent for 200"
}

all_is_lost_or_doubled() {
  start_server -x 100
  "$PEER" -u "$PORT" send:x open:100 send:y open:100
  NAME=second start_server -d 100
  run -0 "$PEER" -u "$PORT" send:one recv:3 within:1000:recv:3 open:100 send: recv:0 recv:0 open:100
  assert_output oneone
}

# bats test_tags=kit
@test "-x 100: no replies; -d 100: each reply is sent twice, not three times" {
  seen all_is_lost_or_doubled
}

# ---- the server: what it says ----

# bats test_tags=kit
@test "without -v the server prints nothing but where it listens" {
  FAULT_ENV='FAULT_FAIL=recv:ENOMEM:9,send:ENETUNREACH:9' start_server -x 10 -d 10
  "$PEER" -u -r 20 "$PORT" send: send:'hello\n' send:'\x1b[2J' close
  stop_server
  assert_equal "$(<"$T/server.out")" "listening on 127.0.0.1:$PORT"
  assert_equal "$(<"$T/server.err")" ''
}

# ECMA-48: ESC and the bytes from 0x80 to 0x9f can order a terminal about.
# bats test_tags=kit
@test "-v shows each datagram, but no byte of it that a terminal would obey" {
  local from='^from 127\.0\.0\.1:[0-9]+'
  start_server -v
  printf %b "$(printf '\\x%02x' {0..31} {127..255})" >"$T/unprintable"
  "$PEER" -u "$PORT" send:'a~ \x1b[31m\n\0z' recv send: recv file:"$T/unprintable" recv fill:99 recv
  stop_server
  run -0 cat "$T/server.err"
  assert_equal "${#lines[@]}" 4
  [[ ${lines[0]} =~ $from,\ 11\ bytes:\ 'a~ .[31m..z'$ ]]
  [[ ${lines[1]} =~ $from,\ 0\ bytes:\ ?$ ]]
  [[ ${lines[2]} =~ $from,\ 161\ bytes:\ \.+\ \.\.\.$ ]]
  [[ ${lines[3]} =~ $from,\ 99\ bytes:\ x+\ \.\.\.$ ]]
  run -1 env LC_ALL=C grep -c $'[^ -~]' "$T/server.err"
  assert_output 0
}

# RFC 3629 (UTF-8): an overlong form, a surrogate, a value beyond U+10FFFF and a truncated character
# are shown as a dot for each byte. So are C1 controls (ECMA-48), and characters that change the
# direction of text (UAX 9). The log shows 60 bytes, and completes the last character.
# bats test_tags=kit
@test "-v shows UTF-8 text as text, and each byte of anything else as a dot" {
  start_server -v
  "$PEER" -u "$PORT" send:'\xe4\xbd\xa0\xe5\xa5\xbd \xc3\xa9\xf0\x9f\x98\x80' recv \
    send:'a\xc2\x9bb\xc0\x80c\xed\xa0\x80d\xf4\x90\x80\x80e\xe4\xbd' recv \
    send:'a\xe2\x80\xaeb\xe2\x81\xa6c\xe0\x9f\xbfd\xf0\x8f\xbf\xbfe' recv \
    send:'a\xf8\x90\x80\x80b\xff\x90\x80\x80c\xc1\xbf' recv \
    send:"$(printf 'x%.0s' {1..59})\\xe4\\xbd\\xa0yz" recv >/dev/null
  stop_server
  run -0 sed 's/^from [^ ]* //' "$T/server.err"
  assert_line --index 0 '13 bytes: 你好 é😀'
  assert_line --index 1 '18 bytes: a..b..c...d....e..'
  assert_line --index 2 '18 bytes: a...b...c...d....e'
  assert_line --index 3 '13 bytes: a....b....c..'
  assert_line --index 4 "64 bytes: $(printf 'x%.0s' {1..59})你 ..."
}

# The shape of a tutorial in Python: sendto, recvfrom; the server prints what comes.
# bats test_tags=kit,slow
@test "a Python client with sendto and recvfrom gets its replies; -v shows the text" {
  need python3
  start_server -v
  run -0 timeout $((10 * PATIENCE)) python3 -c 'if True:
    import socket, sys
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.settimeout(5)
    for text in "Hello, Server!", "bye":
        s.sendto(text.encode(), ("127.0.0.1", int(sys.argv[1])))
        print(s.recvfrom(1024)[0].decode())' "$PORT"
  assert_output $'Hello, Server!\nbye'
  stop_server
  run -0 cat "$T/server.err"
  assert_line --index 0 --regexp '^from 127\.0\.0\.1:[0-9]+, 14 bytes: Hello, Server!$'
  assert_line --index 1 --regexp '^from 127\.0\.0\.1:[0-9]+, 3 bytes: bye$'
}

# ---- the server: the end, and a new start ----

# signal(7): recvfrom fails with EINTR. SO_REUSEADDR is not needed: UDP knows no TIME_WAIT.
# bats test_tags=heavy
@test "SIGTERM and SIGINT: exit 0; another server can start at once on the same port" {
  local signal port
  start_server
  port=$PORT
  for signal in TERM INT TERM INT TERM INT; do
    assert_serving -u
    stop_server 0 "$signal"
    start_server -p "$port"
  done
}

floods_do_not_hold_it_up() {
  FAULT_ENV='FAULT_DELAY=recv:2000' start_server -v
  start_tool flood "$PEER" -u -t 0 -r 1000000 "$PORT" send:x close
  sleep 0.2
  stop_server
  kill_group "$TOOL_PID"

  FAULT_ENV='FAULT_DELAY=recv:50000' NAME=second start_server -v
  "$PEER" -u "$PORT" send:{1..9}
  NAME=second stop_server
  assert_equal "$(grep -o ': [1-9]$' "$T/second.err" | tr -d ': \n')" 123456789
}

# bats test_tags=kit,heavy
@test "SIGTERM: exit 0 within 2 s even under a flood; datagrams that had arrived are answered" {
  seen floods_do_not_hold_it_up
}

# bind(2): EADDRINUSE. With SO_REUSEADDR Linux would let both have it, and share out the datagrams.
# bats test_tags=kit
@test "the port is in use: the second server says so and exits 1; the first is unharmed" {
  start_server
  complains 1 "^server: bind 127\.0\.0\.1:$PORT: Address already in use \(EADDRINUSE\)$" \
    "$SERVER" -p "$PORT"
  assert_serving -u
}

# ---- the server: system calls that fail ----

# recv(2), send(2), signal(7)
@test "every second call fails with EINTR: every datagram is answered" {
  local i script=()
  FAULT_ENV='FAULT_FAIL=recv:EINTR:2,send:EINTR:2' start_server
  for i in {1..50}; do
    script+=(send:"$i," within:1000:recv)
  done
  run -0 "$PEER" -u "$PORT" "${script[@]}"
  assert_output "$(printf '%s,' {1..50})"
}

# udp(7), ip(7): an answer that cannot be sent now is lost like any other; the next one is not.
sending_may_fail() {
  FAULT_ENV=FAULT_FAIL=send:ENOBUFS:9,send:EAGAIN:8,send:ENOMEM:7,send:EPERM:6
  FAULT_ENV+=,send:ENETUNREACH:5,send:EMSGSIZE:11
  start_server
  unset FAULT_ENV
  all_answered 40 -t 2 -r 20
  assert_alive
}

@test "sending fails with six different errors: the client retries, the server keeps serving" {
  seen sending_may_fail
}

# recv(2). Linux has no EAGAIN for a blocking socket without time limit, but others may.
receiving_may_fail() {
  FAULT_ENV=FAULT_FAIL=recv:ENOMEM:@2,recv:ENOBUFS:@4,recv:EAGAIN:@6
  FAULT_ENV+=,recv:ECONNREFUSED:@8,recv:EIO:@10
  start_server
  run -0 "$PEER" -u "$PORT" send:{1..9} recv recv recv recv recv recv recv recv recv
  assert_output 123456789
  assert_serving -u
}

@test "receiving fails with five different errors: nothing is lost, the server keeps serving" {
  seen receiving_may_fail
}

failing_recv_does_not_spin() {
  local error
  for error in ENOMEM ENOBUFS EAGAIN; do
    NAME=$error FAULT_ENV="FAULT_FAIL=recv:$error:1" start_server
  done
  assert_not_spinning "${SERVERS[@]}"
  for error in ENOMEM ENOBUFS EAGAIN; do
    NAME=$error stop_server
  done
}

@test "while every recv fails, the server uses no CPU time, and SIGTERM still ends it" {
  seen failing_recv_does_not_spin
}

# socket(2): EMFILE
# bats test_tags=kit
@test "no socket can be had: both programs say why, exit 1" {
  local fault="${SHIM_ENV[*]@Q} FAULT_FAIL=socket:EMFILE:1"
  complains 1 '^server: .*: Too many open files \(EMFILE\)$' "$fault $SERVER" -p 0
  complains 1 '^client: .*: Too many open files \(EMFILE\)$' "$fault $CLIENT" -p 9 hello
}

# ---- the server: memory ----

datagrams_leave_nothing() {
  local fds rss script=() _
  start_server
  for _ in {1..100}; do
    script+=(send:x recv send: recv fill:3000 recv fill:100 recv)
  done
  "$PEER" -u "$PORT" fill:65507 recv >/dev/null
  "$PEER" -u "$PORT" "${script[@]}" >/dev/null
  fds=$(fds "$SERVER_PID") rss=$(rss_kb "$SERVER_PID")
  "$PEER" -t 60 -u -r 50 "$PORT" "${script[@]}" >/dev/null
  assert_equal "$(fds "$SERVER_PID")" "$fds"
  (($(rss_kb "$SERVER_PID") - rss < 256)) || complain "from $rss to $(rss_kb "$SERVER_PID") kB"
}

# bats test_tags=heavy
@test "20,000 datagrams leave no memory and no descriptor behind" {
  seen datagrams_leave_nothing
}

# pipe(7): a pipe that nobody reads any more raises SIGPIPE. Here head(1) leaves after one line.
# bats test_tags=kit
@test "when nobody reads its output any more, the server keeps serving" {
  echo "exec $SERVER \"\$@\" > >(exec head -n 1) 2>&1" >"$T/unheard"
  SERVER="bash ${T@Q}/unheard"
  start_server -v
  assert_serving -u
  assert_serving -u
}

# ---- addresses ----

# ipv6(7); RFC 5952, 6; IPV6_V6ONLY: without it, IPv4 clients come as ::ffff:127.0.0.1.
# bats test_tags=kit,heavy
@test "IPv4, IPv6, localhost, and :: for both families" {
  local NAME
  start_server
  run -0 client -a localhost hello
  assert_line hello
  NAME=named start_server -a localhost
  run -0 client -a localhost hello
  assert_line hello
  need_ipv6
  NAME=six start_server -a ::1
  assert_equal "$(<"$T/six.out")" "listening on [::1]:$PORT"
  run -0 client -a ::1 hello
  assert_line hello
  NAME=both start_server -v -a ::
  assert_equal "$(<"$T/both.out")" "listening on [::]:$PORT"
  run -0 client -a ::1 hello
  run -0 client -a 127.0.0.1 hello
  assert_line hello
  run -0 cat "$T/both.err"
  assert_line --regexp '^from \[::1\]:[0-9]+, 13 bytes: '
  assert_line --regexp '^from \[::ffff:127\.0\.0\.1\]:[0-9]+, 13 bytes: '
}

# localhost_is_two: in a network and a /etc/hosts of its own, where ::1 comes first.
localhost_is_two() {
  start_server -a 127.0.0.1
  [[ $(getent ahosts localhost | head -n 1) == ::1\ * ]]
  assert_equal "$(client -t 5000 -a localhost one two)" $'one\ntwo'
  stop_server
  run client -t 5000 -a localhost one
  [[ $status == 1 && $output == *ECONNREFUSED* ]]
}

# getaddrinfo(3): a name may stand for several addresses; RFC 6724: IPv6 first.
# bats test_tags=kit
@test "client: -a localhost goes on to 127.0.0.1 when ::1 refuses" {
  need_ipv6
  need_netns
  printf '::1 localhost\n127.0.0.1 localhost\n' >"$T/hosts"
  # shellcheck disable=SC2016
  local mount='mount --bind "$1" /etc/hosts && ip link set lo up && shift && exec "$@"'
  unshare "$NETNS" -m sh -c "$mount" sh "$T/hosts" true || skip 'no mount namespaces here'
  in_shell unshare "$NETNS" -m sh -c "$mount" sh "$T/hosts" -- localhost_is_two
}

# getaddrinfo(3), as above; here nobody refuses, and nobody answers. Both are tried for as long.
# bats test_tags=kit
@test "client: the next address is tried when the first has not answered any of the -r tries" {
  start_server
  start_tool silent "$PEER" -a 127.0.0.2 -u -l "$PORT" recv silent
  await_port silent "$TOOL_PID"
  FAULT_ENV=FAULT_HOST=two,127.0.0.2,127.0.0.1 \
    run -0 --separate-stderr client -a two -t $((400 * PATIENCE)) -r 2 one two
  assert_output $'one\ntwo'
  [[ $stderr == '2 sent, 2 received, 1 retried, 0 lost; '* ]] || complain "$stderr"
}

# As connect_to does from 01 on: the first address that failed says most. That this machine has no
# such address says nothing of the server (connect(2), EADDRNOTAVAIL).
# bats test_tags=kit
@test "client: no address answers: it reports the first one that refused, and the message is lost" {
  local PORT hosts fault
  start_server
  stop_server
  while read -r hosts fault; do
    FAULT_ENV="FAULT_HOST=many,$hosts ${fault:+FAULT_FAIL=$fault}" \
      run -1 --separate-stderr client -t 200 -r 1 -a many hello
    refute_output
    assert_equal "$stderr" "1 sent, 0 received, 0 retried, 1 lost
client: 127.0.0.2:$PORT: Connection refused (ECONNREFUSED)"
  done <<'END'
127.0.0.2,127.0.0.3
127.0.0.2,127.0.0.3 connect:EADDRNOTAVAIL:@2
127.0.0.2,127.0.0.3,127.0.0.4 connect:EHOSTUNREACH:@3
127.0.0.1,127.0.0.2,127.0.0.3 connect:EADDRNOTAVAIL:@1
END
}

# No reply is no error: the address may be a good one, and messages be lost on their way.
# bats test_tags=kit
@test "client: the first address is silent, and there is no socket for the next: it goes on" {
  start_tool silent "$PEER" -u -l 0 recv silent
  await_port silent "$TOOL_PID"
  FAULT_ENV='FAULT_HOST=two,127.0.0.1,127.0.0.2 FAULT_FAIL=connect:EADDRNOTAVAIL:@2' \
    run -1 --separate-stderr client -t 50 -r 1 -a two one two
  refute_output
  assert_equal "$stderr" '2 sent, 0 received, 0 retried, 2 lost'
}

# bind(2), connect(2): where nobody listens, the kernel may choose that very port for the client.
# bats test_tags=kit
@test "client: connected to itself: refused, and its own datagrams are not taken for replies" {
  start_server
  stop_server
  FAULT_ENV=FAULT_SELF=1 run -1 --separate-stderr client -t 200 -r 2 hello
  refute_output
  assert_equal "$stderr" "client: 127.0.0.1:$PORT: Connection refused (ECONNREFUSED)"
}

# localhost_without_ipv6: in a network and a /etc/hosts of its own.
localhost_without_ipv6() {
  start_server -a localhost
  [[ $(<"$T/server.out") == "listening on 127.0.0.1:$PORT" ]]
  [[ $(client -a localhost hello) == hello ]]
}

# bats test_tags=kit
@test "-a localhost listens on 127.0.0.1 if the name also means ::1 but there is no IPv6" {
  without_ipv6 localhost_without_ipv6
}

# ---- the client: text, whole, in both directions ----

# bats test_tags=kit
@test "client: sends each message, prints each reply; the summary goes to stderr" {
  start_server
  run -0 --separate-stderr client hello 'two words' '' exit bye
  assert_output $'hello\ntwo words\n\nexit\nbye'
  assert_equal "${#stderr_lines[@]}" 1
  [[ $stderr == '5 sent, 5 received, '*' retried, 0 lost; round trip min/avg/max '*' ms' ]]
}

# bats test_tags=kit
@test "client: sends each line of stdin, even a last one without a newline, with no prompt" {
  start_server
  run -0 --separate-stderr --keep-empty-lines client < <(printf 'one\n\ntwo')
  assert_output $'one\n\ntwo\n'
  run -0 --separate-stderr client </dev/null
  refute_output
  assert_equal "$stderr" '0 sent, 0 received, 0 retried, 0 lost'
}

# bats test_tags=kit
@test "client: exit and q end it, and are not sent" {
  local word
  start_server
  for word in exit q; do
    run -0 --separate-stderr client < <(printf 'exits\nquit\n%s\nmore\n' "$word")
    assert_output $'exits\nquit'
    run -0 --separate-stderr client < <(printf 'exits\n%s' "$word")
    assert_output exits
  done
}

# script(1) gives it a terminal.
# bats test_tags=kit
@test "client: shows a prompt on a terminal" {
  need script
  start_server
  printf 'hello\nexit\n' >"$T/typed"
  timeout 20 script -qec "$CLIENT -p $PORT" /dev/null <"$T/typed" | tr -d '\r' >"$T/screen"
  grep -q '^> ' "$T/screen"
  grep -qF hello "$T/screen"
}

# 65,507 bytes of a datagram less 8 for the number. udp(7): EMSGSIZE
# bats test_tags=kit
@test "client: 65,499 bytes of any value arrive whole in both directions; one more is too long" {
  start_server
  printf %b "$(printf '\\x%02x' {0..9} {11..255})" >"$T/bytes"
  tr '\n' '\0' </dev/urandom | head -c $((65499 - 255)) >>"$T/bytes"
  (($(wc -c <"$T/bytes") == 65499))
  client <"$T/bytes" >"$T/answer"
  printf '\n' | cat "$T/bytes" - >"$T/expected"
  same_bytes "$T/expected" "$T/answer"
  NAME=listener start_fake -u -- recv
  client -r 1 -t 100 <"$T/bytes" || true
  NAME=listener finish_peer
  tail -n +2 "$T/listener.out" | tail -c +9 >"$T/came" # what follows the number
  printf x | cat "$T/bytes" - >"$T/longer"
  same_bytes "$T/bytes" "$T/came"
  run -1 --separate-stderr client <"$T/longer"
  refute_output
  assert_equal "${stderr_lines[1]}" "client: 127.0.0.1:$PORT: Message too long (EMSGSIZE)"
}

# RFC 1700, "Data Notations": network byte order, the largest byte first.
# bats test_tags=kit
@test "client: numbers its datagrams in network byte order; each run has its own random number" {
  start_fake -u -- recv recv recv
  run -1 client -t 20 -r 1 a bc def
  NAME=fake finish_peer
  tail -n +2 "$T/fake.out" >"$T/came"
  head -c 4 "$T/came" >"$T/run"
  {
    cat "$T/run" && printf '\0\0\0\001a'
    cat "$T/run" && printf '\0\0\0\002bc'
    cat "$T/run" && printf '\0\0\0\003def'
  } >"$T/expected"
  same_bytes "$T/expected" "$T/came"

  NAME=other start_fake -u -- recv
  run -1 client -t 20 -r 1 a
  NAME=other finish_peer
  run -1 cmp -s "$T/run" <(tail -n +2 "$T/other.out" | head -c 4)
}

# ---- the client: a bad network ----

# Half of all exchanges fail: of 20 tries in a row, one in 700,000. Ten in a row are one in a
# thousand, and take 2 s: not with these seeds, unless the machine is busy.
client_survives_loss() {
  local seed
  for seed in 1 2 6 9; do
    NAME=seed$seed start_server -x 30 -s "$seed"
    all_answered 25 -t 2 -r 20
  done
}

# bats test_tags=kit,heavy
@test "client: 30 % are lost in each direction: every message is answered once, in order" {
  seen client_survives_loss
}

# bats test_tags=kit
@test "client: every reply arrives twice: each counts once" {
  start_server -d 100
  all_answered 200
}

# A reply that takes longer than the first wait finds the next message being waited for.
late_replies_are_none() {
  start_server
  start_relay -d 30
  all_answered 10 -t 40 -r 20
}

# bats test_tags=kit
@test "client: a late reply to the message before is not taken for a reply to this one" {
  seen late_replies_are_none
}

client_survives_disorder() {
  start_server
  start_relay -d 2 -j 20 -s 2 -D 3 -x 5 -L 60:4
  all_answered 30 -t 10 -r 20
}

# bats test_tags=kit
@test "client: datagrams are lost, duplicated, late and out of order: every message is answered" {
  seen client_survives_disorder
}

# connect(2) on a datagram socket: only datagrams of that peer are received.
@test "client: a forged reply from another port is ignored" {
  start_server
  start_relay -f
  run -0 --separate-stderr client -t 1000 hello world
  assert_output $'hello\nworld'
}

# Each answer comes after six that are no answer: empty, cut, the wrong number, the wrong run, ….
# bats test_tags=kit
@test "client: wrong replies from the right port are ignored, the right one is not" {
  need python3
  cat >"$T/liar.py" <<'END'
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("127.0.0.1", 0))
print("listening on 127.0.0.1:%d" % s.getsockname()[1], flush=True)
last = b"none yet"
while True:
    data, client = s.recvfrom(65536)
    number = bytes([data[7] ^ 1])
    for lie in (b"", data[:-1], data + b"x", data[:-1] + b"!", last,
                data[:7] + number + data[8:], b"run?" + data[4:], b"\0" * 65507):
        s.sendto(lie, client)
    s.sendto(data, client)
    last = data
END
  start_tool liar python3 "$T/liar.py"
  await_port liar "$TOOL_PID"
  all_answered 20 -t 5000
}

random_bytes_are_no_reply() {
  local i script=()
  for i in {1..30}; do
    head -c $((RANDOM * 2 % 65507)) /dev/urandom >"$T/random.$i"
    script+=(file:"$T/random.$i")
  done
  start_fake -u -- recv "${script[@]}" recv
  run -1 --separate-stderr client -t 100 -r 2 hello
  refute_output
  assert_equal "$stderr" '1 sent, 0 received, 1 retried, 1 lost'
}

# bats test_tags=kit
@test "client: random bytes instead of replies: the message is lost, nothing is printed" {
  seen random_bytes_are_no_reply
}

# The network loses and doubles in a namespace of its own: nft(8), statements `numgen` and `dup`;
# or iptables-extensions(8), `statistic`.
lossy_network() {
  start_server
  if ! bad_network "$PORT"; then
    iptables -A INPUT -p udp -m statistic --mode random --probability 0.2 -j DROP
  fi
  all_answered 60 -t 2 -r 20
  [[ $(<"$T/summary") != *' 0 retried'* ]]
}

bad_network() {
  nft -f - 2>/dev/null <<END
table ip t {
  chain i {
    type filter hook input priority 0
    udp dport $1 numgen random mod 100 < 20 drop
    udp sport $1 numgen random mod 100 < 20 drop
  }
  chain o {
    type filter hook output priority 0
    udp dport $1 numgen random mod 100 < 10 dup to 127.0.0.1 device lo
    udp sport $1 numgen random mod 100 < 10 dup to 127.0.0.1 device lo
  }
}
END
}

# bats test_tags=kit
@test "client: the network loses 20 % and duplicates 10 %: every message is answered once" {
  need_netns
  [[ $(type -P nft iptables) ]] || need nft
  netns bad_network 9 || netns iptables -A INPUT -p udp -m statistic --mode random \
    --probability 0.2 -j DROP || skip 'neither nft nor iptables can lose datagrams here'
  netns lossy_network
}

# ---- the client: no answer ----

# udp(7): the ICMP message "port unreachable" ends a connected socket's wait with ECONNREFUSED.
# bats test_tags=kit
@test "client: no server: it says so at once, long before its first time limit, exit 1" {
  local start
  start_server
  stop_server
  start=$(now_ms)
  run -1 --separate-stderr client -t 10000 one two
  (($(now_ms) - start < 5000 * PATIENCE))
  refute_output
  assert_equal "${stderr_lines[0]}" '1 sent, 0 received, 0 retried, 1 lost'
  assert_equal "${stderr_lines[1]}" "client: 127.0.0.1:$PORT: Connection refused (ECONNREFUSED)"
}

# 50 + 100 + 200 + 400 + 800: RFC 8085, 3.1.1, wants a wait that grows.
wait_doubles() {
  local start
  start_fake -u -- recv recv recv recv recv open:200
  start=$(now_ms)
  run -1 --separate-stderr client -t 50 -r 5 hello
  (($(now_ms) - start >= 1540))
  refute_output
  assert_equal "$stderr" '1 sent, 0 received, 4 retried, 1 lost'
  NAME=fake finish_peer # five, and no sixth
}

# bats test_tags=kit
@test "client: no reply: the wait doubles; with -r 5 a message is lost after five tries, exit 1" {
  seen wait_doubles
}

next_message_is_sent() {
  start_server
  start_relay -x 2 # there: a, not b, c, not d, e; back: a, not c, e
  run -1 --separate-stderr client -t 250 -r 1 a b c d e
  assert_output $'a\ne'
  [[ $stderr == '5 sent, 2 received, 0 retried, 3 lost; round trip '* ]]
}

# bats test_tags=kit
@test "client: after a lost message, the next one is sent" {
  seen next_message_is_sent
}

# What the server saw is what was sent and sent again. Karn's rule (RFC 6298, 3): only what was
# answered at the first try is timed.
# bats test_tags=kit
@test "client: the counts and times in the summary are right" {
  local sent received retried lost min avg max
  start_server -v -x 40 -s 3
  run client -t 3 -r 3 {1..30}
  stop_server
  # shellcheck disable=SC2086 # its numbers
  read -r sent received retried lost min avg max < <(echo ${lines[-1]//[!0-9. \/]/ } | tr / ' ')
  ((sent == 30 && received + lost == 30 && received == ${#lines[@]} - 1))
  ((sent + retried == $(grep -Ec '^(lost on its way )?from ' "$T/server.err")))
  ((status == (lost > 0)))
  awk "BEGIN { exit !(0 < $min && $min < $avg && $avg < $max) }"

  NAME=second start_server
  run -0 --separate-stderr client -t 5000 hello
  [[ $stderr =~ \ ([0-9.]+)/([0-9.]+)/([0-9.]+)\ ms$ ]]
  assert_equal "${BASH_REMATCH[1]} ${BASH_REMATCH[2]}" "${BASH_REMATCH[2]} ${BASH_REMATCH[3]}"
}

# signal(7). While it waits for an answer, and while it waits for a line.
# bats test_tags=kit
@test "client: SIGINT ends it with the summary, exit 1" {
  start_fake -u -- recv ready:"$T/here" silent
  eval "start_tool waiting $CLIENT -t 10000 -p $PORT hello"
  wait_for 5 test -e "$T/here"
  kill -INT "$TOOL_PID"
  tool_ends waiting 1
  assert_equal "$(head -n 1 "$T/waiting.err")" '1 sent, 0 received, 0 retried, 1 lost'

  eval "start_tool reading $CLIENT -p $PORT"
  wait_for 5 handles INT "$TOOL_PID"
  kill -INT "$TOOL_PID"
  tool_ends reading 1
  assert_equal "$(<"$T/reading.err")" '0 sent, 0 received, 0 retried, 0 lost'
}

# send(2), recv(2), poll(2): what was not sent is sent again, what was not received is waited for.
# bats test_tags=kit
@test "client: every second call fails with EINTR, or a send finds no room: the file is right" {
  start_server
  FAULT_ENV='FAULT_FAIL=recv:EINTR:2,poll:EINTR:2,send:EINTR:3' all_answered 40 -t 5 -r 20
  FAULT_ENV='FAULT_FAIL=send:ENOBUFS:3,recv:EAGAIN:2' all_answered 40 -t 5 -r 20
}

# ip(7), IP_MTU_DISCOVER: a router drops what is too long for the next link, and says so. The kernel
# reports that once, by the next call with the socket, and cuts up what is sent from then on.
# bats test_tags=kit
@test "client: a datagram that is reported late as too long for the path is sent again" {
  start_server
  FAULT_ENV='FAULT_FAIL=recv:EMSGSIZE:@1,send:EMSGSIZE:@3' \
    run -0 --separate-stderr client -t 5000 one two
  assert_output $'one\ntwo'
  [[ $stderr == '2 sent, 2 received, 1 retried, 0 lost; '* ]] || complain "$stderr"
}

# write(2): ENOSPC
# bats test_tags=kit
@test "client: its output cannot be written: it says so and exits 1" {
  [[ -c /dev/full ]] || skip 'no /dev/full here'
  start_server
  client hello >/dev/full 2>"$T/why" || assert_equal $? 1
  grep -q '^client: stdout: ' "$T/why"
}

# ---- usage and errors at the start ----

# bats test_tags=kit,heavy
@test "an option that is not a number, or out of range: usage on stderr, exit 2" {
  local bad option program
  for bad in 0x50 -1 65536 99999999999999999999 80x '' ' 80' +80; do
    for program in SERVER CLIENT; do
      complains 2 "^${program,,}: .*\"${bad/+/[+]}\"" "${!program}" -p "$bad"
    done
  done
  for option in '-x 101' '-x -1' '-d 101' '-d x' '-s -1' '-s 2147483648'; do
    complains 2 "^server: ${option% *} \"${option#* }\"" "$SERVER" "${option% *}" "${option#* }"
  done
  for option in '-p 0' '-t 0' '-t 10001' '-t 1s' '-r 0' '-r 1001' '-r -1'; do
    complains 2 "^client: ${option% *} \"${option#* }\"" "$CLIENT" "${option% *}" "${option#* }"
  done
}

# bats test_tags=kit
@test "an unknown option, an option without its value, an extra argument: usage, exit 2" {
  complains 2 "server: .*'Z'" "$SERVER" -Z
  complains 2 "client: .*'Z'" "$CLIENT" -Z
  complains 2 "server: .*'x'" "$SERVER" -x
  complains 2 "client: .*'t'" "$CLIENT" -t
  complains 2 '^server: ' "$SERVER" extra
}

# bats test_tags=kit
@test "-h prints the usage on stdout and exits 0" {
  run -0 --separate-stderr program "$SERVER" -h
  assert_output --regexp '^usage: server .*-a ADDR.*-p PORT.*-x PERCENT.*-d PERCENT.*-s SEED.*-v'
  assert_equal "$stderr" ''
  run -0 --separate-stderr program "$CLIENT" -h
  assert_output --regexp '^usage: client .*-a ADDR.*-p PORT.*-t MS.*-r TRIES.*MESSAGE'
  assert_equal "$stderr" ''
}

# RFC 6761, 6.4: names below .invalid do not exist. RFC 5737: 192.0.2.1 is nobody's.
# bats test_tags=kit
@test "an unknown host, or an address of another machine: the reason, exit 1" {
  complains 1 '^server: resolve no\.such\.host\.invalid: .' "$SERVER" -a no.such.host.invalid
  complains 1 '^client: resolve no\.such\.host\.invalid: .' "$CLIENT" -a no.such.host.invalid x
  complains 1 '^server: bind 192\.0\.2\.1:[0-9]+: .* \(EADDRNOTAVAIL\)$' "$SERVER" -a 192.0.2.1
}

# ip(7), ip_unprivileged_port_start; capabilities(7), CAP_NET_BIND_SERVICE, which root gives up.
# bats test_tags=kit
@test "a privileged port: Permission denied, exit 1" {
  local first
  first=$(</proc/sys/net/ipv4/ip_unprivileged_port_start)
  ((first > 80)) || skip "here everybody may use port 80"
  ((EUID != 0)) || need setpriv
  ((EUID != 0)) || SERVER="setpriv --inh-caps -all --bounding-set -all $SERVER"
  complains 1 '^server: bind 127\.0\.0\.1:80: Permission denied \(EACCES\)$' "$SERVER" -p 80
}
