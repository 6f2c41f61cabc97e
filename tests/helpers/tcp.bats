# What every TCP chapter has to stand: clients that leave, reset, vanish, stay silent or never read,
# system calls that fail, few descriptors, signals. tests/NN-tcp.bats are symbolic links to this
# one text, and NN says which chapter is judged.
#
# 01 echoes bytes; the others answer each line with "+" and the line. A script that sends whole
# lines fits both: PLUS is what a reply has more than its line.
#
# 01 and 03 serve one client at a time: the others wait, and none is lost. They are SERIAL.
#
# 08's clients say all this through TLS: `peer -h`. Where each does a handshake, FEWER are enough.
#
# Tests with the tag `kit` want options, messages or exit statuses that are this kit's own. A
# server of yours passes without: SERVER='python3 my.py' bats --filter-tags '!kit' tests/01-tcp.bats

# shellcheck disable=SC2154 # run --separate-stderr sets stderr and stderr_lines
NN=${BATS_TEST_FILENAME##*/}
CHAPTER=$(cd "$BATS_TEST_DIRNAME/.." && echo "${NN%%-*}"-*)
load helpers/common
# Files run side by side; to run these short tests so, too, would cost more than it gains.
# shellcheck disable=SC2034
BATS_NO_PARALLELIZE_WITHIN_FILE=true

case $CHAPTER in
  01-*) PLUS='' SERIAL=yes ;;
  03-*) PLUS=+ SERIAL=yes ;;
  *) PLUS=+ SERIAL='' ;;
esac
FEWER=1
[[ $CHAPTER != 08-* ]] || FEWER=10

# make_lines BYTES: so many in $T/sent, as lines of 8, and in $T/expected the reply to them.
make_lines() {
  seq 1000000 $((1000000 + $1 / 8 - 1)) >"$T/sent"
  sed "s/^/$PLUS/" "$T/sent" >"$T/expected"
}

# A client that sends $T/sent, half-closes, and reads to the end at the same time.
assert_answered() {
  "$PEER" "$PORT" echo:"$T/sent" >"$T/received"
  same_bytes "$T/expected" "$T/received"
}

# A second client is served at once; by a serial server, as soon as the first one has gone. The
# first one waits for the file $T/go.
serves_a_second_client() {
  NAME=second start_peer "$PORT" send:'me too\n' line
  if [[ $SERIAL ]]; then
    sleep 0.2
    [[ ! -s $T/second.out ]]
  else
    wait_for 1 test -s "$T/second.out"
  fi
  touch "$T/go"
  NAME=second finish_peer
  [[ $(<"$T/second.out") == "${PLUS}me too" ]]
}

# The server takes less than 5 % of a core while nothing can be done.
assert_not_spinning() {
  local ticks ms percent
  ticks=$(cpu_ticks "$SERVER_PID") ms=$(now_ms)
  sleep 1.1
  ticks=$(($(cpu_ticks "$SERVER_PID") - ticks)) ms=$(($(now_ms) - ms))
  percent=$((ticks * 100000 / $(getconf CLK_TCK) / ms))
  ((percent < 5)) || complain "the server takes $percent % of a core"
}

has_fds() {
  (($(fds "$SERVER_PID") <= $1))
}

# leaves_nothing COMMAND…: no more descriptors after it than before, no child, not even a zombie.
leaves_nothing() {
  local before
  assert_serving
  before=$(fds "$SERVER_PID")
  "$@"
  assert_serving
  wait_for 5 has_fds "$before"
  run pgrep -P "$SERVER_PID"
  refute_output
}

# happened CALL FIELD: how often, by the report that the fault shim writes when the server ends.
# (A server in a script has earlier reports, of other programs of the script.)
happened() {
  sed -n "s/^$1 .*\b$2=\([0-9]*\).*/\1/p" "$T/report" | tail -n 1
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

# ---- clients that come and go ----

# accept(2): a client may be gone before it is accepted. recv(2): 0 and ECONNRESET are ordinary.
@test "five clients that connect and close, and five that connect and reset, do no harm" {
  start_server
  "$PEER" -r 5 "$PORT" close
  "$PEER" -r 5 "$PORT" reset
  assert_serving
}

# nmap(1): -sT connects and closes; -sS, where root may do it, resets before it is connected.
@test "a port scan does no harm" {
  need nmap
  start_server
  timeout 20 nmap -n -Pn -sT -p "$PORT" 127.0.0.1 | grep "^$PORT/tcp *open"
  ((EUID != 0)) || timeout 20 nmap -n -Pn -sS -p "$PORT" 127.0.0.1
  assert_serving
}

# RFC 9293, 3.10.7.4: a reset ends the connection at once, what was queued is thrown away.
@test "a client that sends 60 kB and resets does no harm" {
  start_server
  "$PEER" -r 10 "$PORT" lines:3750 reset
  "$PEER" -r 10 "$PORT" fill:60000 reset
  assert_serving
}

# send(2), EPIPE: to write to a peer that has ended and then reset raises SIGPIPE, unless
# MSG_NOSIGNAL is given. Small and slow writes make sure that some are left.
@test "a client that vanishes with replies pending does no harm: no death by SIGPIPE" {
  FAULT_ENV='FAULT_SHORT=1000 FAULT_DELAY=send:200' start_server
  "$PEER" -r 5 "$PORT" lines:10000 gone
  "$PEER" -r 5 "$PORT" lines:2000 half-close gone
  "$PEER" -t 5 "$PORT" send:'hello\n' line
  assert_serving
}

# listen(2): the backlog. One of 10 makes most of them wait for the retransmission of their SYN.
# bats test_tags=heavy
@test "1,000 clients at once are connected at once, and each gets its answer" {
  start_server
  start_peer -n 1000 "$PORT" ready:"$T/here" send:'hello\n' half-close eof
  wait_for 5 test -e "$T/here"
  finish_peer
  (($(grep -cxF "${PLUS}hello" "$T/peer.out") == 1000))
}

@test "1,200 idle clients do no harm; when they are gone, a fresh one is served" {
  start_server
  start_peer -n 1200 "$PORT" ready:"$T/here" until:"$T/go"
  wait_for 10 test -e "$T/here"
  assert_alive
  touch "$T/go"
  finish_peer
  assert_serving
}

@test "1,000 resets leave no descriptor and no zombie behind" {
  need pgrep
  start_server
  leaves_nothing "$PEER" -r 500 "$PORT" reset
  leaves_nothing "$PEER" -r $((500 / FEWER)) "$PORT" send:'hello\nhalf a line' reset
}

# bats test_tags=heavy
@test "5,000 times (through TLS: 500) connect, send, close leave no descriptor, no zombie" {
  need pgrep
  start_server
  leaves_nothing "$PEER" -r $((5000 / FEWER)) "$PORT" send:'hello\n' close
}

@test "beside a silent client others are served, or wait and are served after it" {
  start_server
  start_peer "$PORT" ready:"$T/here" until:"$T/go"
  wait_for 5 test -e "$T/here"
  serves_a_second_client
}

# tcp(7), flow control: who does not read fills the kernel's buffers on both sides, and then nobody
# sends any more. What a program queues beyond that is its own memory.
# bats test_tags=heavy
@test "a client that sends without reading costs no memory, and gets every reply when it reads" {
  local before sent replies lines
  start_server
  assert_serving
  before=$(rss_kb "$SERVER_PID")
  start_peer "$PORT" flood:"$PATIENCE" ready:"$T/here" until:"$T/go" half-close drain
  wait_for 10 test -e "$T/here"
  # ThreadSanitizer takes memory itself; AddressSanitizer keeps what OpenSSL frees at each record.
  [[ ${SAN-} == thread || (${SAN-} && ${PEER_TLS-}) ]] ||
    (($(rss_kb "$SERVER_PID") - before < 1024))
  serves_a_second_client
  finish_peer
  { read -r sent && read -r replies; } <"$T/peer.out"
  ((sent > 4000000))
  lines=$((sent / 16)) # of 16 bytes each; the last one may be cut off, which only an echo answers
  ((replies == (${#PLUS} ? lines * 17 : sent)))
}

# ---- every byte, in order ----

# shutdown(2): SHUT_WR says "no more from me", and the other direction goes on.
# bats test_tags=heavy
@test "8 MB are answered byte for byte; after the client's half-close comes end of file" {
  start_server
  make_lines 8000000
  assert_answered
}

# signal(7), "Interruption of system calls". The shim interrupts without a signal.
@test "every second blocking call fails with EINTR: no byte is lost or doubled" {
  local faults='' call
  for call in accept recv send poll select epoll_wait; do
    faults+=,$call:EINTR:2
  done
  FAULT_ENV="FAULT_REPORT=$T/report FAULT_FAIL=${faults#,}" start_server
  make_lines 1000000
  assert_answered
  assert_answered
  stop_server
  (($(happened accept failed) > 0 && $(happened recv failed) > 5 && $(happened send failed) > 5))
}

# send(2): returns how many bytes it took, which may be less than it was given.
# bats test_tags=heavy
@test "writes that take 1 byte, or 7, at a time: no byte is lost or doubled" {
  local limit
  for limit in 1 7; do
    rm -f "$T/report"
    FAULT_ENV="FAULT_SHORT=$limit FAULT_REPORT=$T/report" start_server
    make_lines $((limit * 40000))
    assert_answered
    stop_server
    (($(happened send shortened) > 30000))
  done
}

# bats test_tags=heavy
@test "short writes and EINTR together: 8 MB are answered byte for byte" {
  FAULT_ENV="FAULT_SHORT=999 FAULT_FAIL=send:EINTR:5,recv:EINTR:3" start_server
  make_lines 8000000
  assert_answered
}

# ---- what runs out, and what fails ----

# accept(2), ERRORS: each of these is about one connection, or is over in a moment.
@test "accept fails with seven errors, one after the other: the server goes on" {
  local faults='' error k=0
  for error in ECONNABORTED EMFILE ENFILE EINTR ENETDOWN ENOMEM ENOBUFS; do
    faults+=,accept:$error:@$((++k))
  done
  FAULT_ENV="FAULT_REPORT=$T/report FAULT_FAIL=${faults#,}" start_server
  "$PEER" "$PORT" send:'hello\n' line
  assert_serving
  stop_server
  (($(happened accept failed) == 7))
}

# The connection that cannot be accepted stays in the queue: poll would say "ready" again at once.
@test "while accept fails for want of descriptors or memory, the server does not spin" {
  FAULT_ENV='FAULT_FAIL=accept:EMFILE:4,accept:ENFILE:3,accept:ENOMEM:2,accept:ENOBUFS:1' \
    start_server
  start_peer "$PORT" send:'hello\n' silent
  assert_not_spinning
}

# getrlimit(2), RLIMIT_NOFILE.
# bats test_tags=heavy
@test "24 descriptors, 60 clients: alive, not spinning, and each is answered in the end" {
  local NAME=peer i speak=(send:'hello\n' half-close eof) clients=60
  LIMIT_FDS=24 NAME=server start_server
  if [[ ${PEER_TLS-} ]]; then # a handshake waits for its turn: each is a peer of its own
    PEER_TLS='' start_peer -n 50 "$PORT" ready:"$T/here" until:"$T/go"
    clients=10
  else
    start_peer -n 60 "$PORT" ready:"$T/here" until:"$T/go" "${speak[@]}"
  fi
  wait_for 5 test -e "$T/here"
  for ((i = 60; i > 60 - clients && clients < 60; i--)); do
    NAME=peer$i start_peer "$PORT" "${speak[@]}"
  done
  NAME=server assert_not_spinning
  NAME=server assert_alive
  touch "$T/go"
  for NAME in "${!TOOLS[@]}"; do
    finish_peer
  done
  (($(cat "$T"/peer*.out | grep -cxF "${PLUS}hello") == clients))
  NAME=server assert_serving
}

# prlimit(1) takes the last descriptor away from a server that runs, and gives it back. A blocking
# accept has taken its descriptor before it waits, so that one client still gets in.
@test "no descriptor left: clients wait, and are served as soon as there is one" {
  need prlimit
  start_server
  prlimit --pid "$SERVER_PID" --nofile="$(fds "$SERVER_PID"):"
  "$PEER" "$PORT" close
  start_peer "$PORT" send:'hello\n' line
  assert_not_spinning
  [[ ! -s $T/peer.out ]]
  prlimit --pid "$SERVER_PID" --nofile=24:
  wait_for 1 test -s "$T/peer.out"
  finish_peer
}

# ---- the end ----

# SIGTERM, then 2 s; STOP_WITHIN, the limit of stop_server, is a second more. signal(7)
@test "SIGTERM and SIGINT: exit 0 within 2 s, idle or with a client, and its replies arrive" {
  local signal words
  for signal in TERM INT; do
    start_server
    stop_server 0 "$signal"
    for words in 'hello\n' 'hello\nhalf a line'; do
      start_server
      start_peer "$PORT" send:"$words" line ready:"$T/here" eof
      wait_for 5 test -e "$T/here"
      stop_server 0 "$signal"
      finish_peer # it fails if there was a reset
      [[ $(head -n 1 "$T/peer.out") == "${PLUS}hello" ]]
      rm "$T/here"
    done
  done
}

# The second server's writes take 100 bytes each and 0.1 s, as for a client that reads slowly. Then
# send(2) is never interrupted without having sent something, so that EINTR is not what ends it.
# (OpenSSL does not return before a record is written, unless a write would wait: a slow reader.)
# bats test_tags=heavy
@test "SIGTERM: exit 0 within 2 s though a client reads its replies slowly, or not at all" {
  start_server
  start_peer "$PORT" flood:9
  if [[ ${PEER_TLS-} ]]; then
    NAME=second start_server
    make_lines 2000000
    NAME=slow start_peer -b 4096 "$PORT" echo:"$T/sent":1
    wait_for 5 test -s "$T/slow.out"
  else
    FAULT_ENV='FAULT_SHORT=100 FAULT_DELAY=send:100000' NAME=second start_server
    NAME=slow start_peer "$PORT" lines:1000 recv:100 ready:"$T/here" eof
    wait_for 5 test -e "$T/here"
  fi
  kill "${SERVERS[@]}"
  stop_server 0 0
  NAME=second stop_server 0 0
}

# The delay lets the client be the faster one, so that there is always something to read.
# bats test_tags=heavy
@test "SIGTERM: exit 0 within 2 s though a client never stops talking" {
  FAULT_ENV='FAULT_DELAY=recv:3000' start_server
  mkfifo "$T/talk"
  start_tool talker sh -c 'exec yes >"$1"' sh "$T/talk"
  start_peer "$PORT" echo:"$T/talk"
  wait_for 5 test -s "$T/peer.out"
  stop_server
}

# The server is asleep (SIGSTOP) while the input and the signal arrive, so both wait for it.
@test "SIGTERM: what had arrived before it is answered first" {
  start_server
  make_lines 60000
  start_peer "$PORT" send:'hello\n' line ready:"$T/here" until:"$T/go" file:"$T/sent" \
    ready:"$T/all" eof
  wait_for 5 test -e "$T/here"
  kill -STOP "$SERVER_PID"
  touch "$T/go"
  wait_for 5 test -e "$T/all"
  kill -TERM "$SERVER_PID"
  kill -CONT "$SERVER_PID"
  stop_server 0 0
  finish_peer
  tail -n +2 "$T/peer.out" >"$T/received"
  same_bytes "$T/expected" "$T/received"
}

# RFC 2525, 2.17: close(2) with input unread, or input after it, is answered with a reset, and that
# destroys a reply on its way. So the last thing a server does is to read on for a while.
# late_words REPLY: runs in a network of its own, where nobody else is reset.
late_words() {
  local before
  rm -f "$T/here"
  start_server
  start_peer "$PORT" send:'hello\n' ready:"$T/here" eof send:'late words\n' close
  wait_for 5 test -e "$T/here"
  before=$(nstat -asz TcpOutRsts)
  stop_server
  finish_peer
  [[ $(<"$T/peer.out") == "$1" ]]
  assert_equal "$(nstat -asz TcpOutRsts)" "$before"
}

@test "what a client says after the server's FIN is read, not answered with a reset" {
  need nstat
  netns late_words "${PLUS}hello"
  FAULT_ENV='FAULT_FAIL=recv:EINTR:2' netns late_words "${PLUS}hello"
}

# socket(7), SO_REUSEADDR: bind fails without it while connections of the last run linger on.
@test "restart on the same port at once, though a client is still connected" {
  start_server
  start_peer "$PORT" send:'hello\n' line ready:"$T/here" silent
  wait_for 5 test -e "$T/here"
  stop_server
  start_server -p "$PORT"
  assert_serving
}

# bats test_tags=kit
@test "a port that is taken: the second server says so and exits 1, the first is unharmed" {
  start_server
  complains 1 "^server: bind 127\.0\.0\.1:$PORT: Address (already )?in use \(EADDRINUSE\)$" \
    "$SERVER" -p "$PORT"
  assert_serving
}

# ---- addresses ----

# ipv6(7); RFC 5952, 6: an address in brackets, then the port.
# bats test_tags=kit
@test "-a ::1 serves IPv6" {
  need_ipv6
  start_server -a ::1
  assert_equal "$(<"$T/server.out")" "listening on [::1]:$PORT"
  assert_serving -a ::1
  run -0 client -a ::1 hello
  assert_output "${PLUS}hello"
}

# ipv6(7), IPV6_V6ONLY: without it, IPv4 clients come as ::ffff:127.0.0.1.
# bats test_tags=kit
@test "-a :: serves both families" {
  need_ipv6
  start_server -a ::
  assert_equal "$(<"$T/server.out")" "listening on [::]:$PORT"
  assert_serving -a ::1
  assert_serving -a 127.0.0.1
  run -0 client -a ::1 hello
  run -0 client -a 127.0.0.1 hello
  assert_output "${PLUS}hello"
}

# getaddrinfo(3): a name may stand for several addresses, often ::1 and 127.0.0.1. A client tries
# them all.
# bats test_tags=kit
@test "-a localhost, of the server and of the client" {
  local address
  for address in localhost $(getent ahosts localhost | awk '$2 == "STREAM" { print $1 }'); do
    NAME=$address start_server -a "$address"
    run -0 client -a localhost hello
    assert_output "${PLUS}hello"
  done
}

# ---- the client ----

# bats test_tags=kit
@test "client: sends each message, prints each reply" {
  start_server
  run -0 --separate-stderr client hello 'two words' '' bye
  assert_output "${PLUS}hello
${PLUS}two words
${PLUS}
${PLUS}bye"
  assert_equal "$stderr" ''
}

# bats test_tags=kit
@test "client: sends the lines of stdin, the last one without newline too, with no prompt" {
  start_server
  run -0 client < <(printf 'one\n\ntwo')
  [[ $output == "${PLUS}one"$'\n'"$PLUS"$'\n'"${PLUS}two" ]]
  run -0 client </dev/null
  refute_output
}

# bats test_tags=kit
@test "client: exit and q end it, and are not sent" {
  local word
  start_server
  for word in exit q; do
    run -0 client < <(printf 'exits\n%s\nmore\n' "$word")
    assert_output "${PLUS}exits"
    run -0 client < <(printf 'exits\n%s' "$word") # as a last line without its newline, too
    assert_output "${PLUS}exits"
  done
}

# getline(3) fails with ENOMEM, and ferror(3) does not tell.
# bats test_tags=kit
@test "client: a line for which there is no memory: it says so and exits 1" {
  [[ -z ${SAN-} ]] || skip 'a sanitizer takes more memory than this'
  no_memory() {
    ulimit -v 100000
    head -c 200000000 /dev/zero | client
  }
  start_server
  run -1 no_memory
  assert_output --partial 'client: '
}

# Some write the messages to a file, to read them like standard input. setrlimit(2), RLIMIT_FSIZE.
# bats test_tags=kit
@test "client: messages are sent, or it says why not, though no file can be written" {
  full_disk() {
    trap '' XFSZ
    ulimit -f 0
    client hello
  }
  start_server
  run full_disk
  [[ $status == 0 && $output == "${PLUS}hello" ]] ||
    [[ $status == 1 && $output == client:*'File too large (EFBIG)'* ]] ||
    complain "$status: $output"
}

# script(1) gives it a terminal.
# bats test_tags=kit
@test "client: has a prompt on a terminal" {
  need script
  start_server
  printf 'hello\nexit\n' >"$T/typed"
  timeout 20 script -qec "$CLIENT -p $PORT" /dev/null <"$T/typed" | tr -d '\r' >"$T/screen"
  grep -q '^> ' "$T/screen"
  grep -qF "${PLUS}hello" "$T/screen"
}

# connect(2)
# bats test_tags=kit
@test "client: nobody listens: the reason, exit 1" {
  start_server
  stop_server
  complains 1 "^client: connect 127\.0\.0\.1:$PORT: Connection refused \(ECONNREFUSED\)$" \
    "$CLIENT" -p "$PORT" hello
}

# ---- usage and errors at the start ----

# bats test_tags=kit,heavy
@test "a bad port: one line and the usage on stderr, nothing on stdout, exit 2" {
  local bad program
  for bad in 0x50 -1 65536 99999999999999999999 80x '' ' 80' +80; do
    for program in SERVER CLIENT; do
      complains 2 "^${program,,}: .*\"${bad/+/[+]}\"" "${!program}" -p "$bad"
    done
  done
}

# bats test_tags=kit
@test "an unknown option, an option without its value, an extra argument: usage, exit 2" {
  complains 2 "server: .*'Z'" "$SERVER" -Z
  complains 2 "client: .*'Z'" "$CLIENT" -Z
  complains 2 "server: .*'p'" "$SERVER" -p
  complains 2 "client: .*'p'" "$CLIENT" -p
  complains 2 '^server: ' "$SERVER" extra
}

# bats test_tags=kit
@test "-h prints the usage on stdout, exit 0" {
  run -0 --separate-stderr program "$SERVER" -h
  assert_output --regexp '^usage: server .*-a ADDR.*-p PORT'
  assert_equal "$stderr" ''
  run -0 --separate-stderr program "$CLIENT" -h
  assert_output --regexp '^usage: client .*-a ADDR.*-p PORT.*MESSAGE'
  assert_equal "$stderr" ''
}

# RFC 6761, 6.4: names below .invalid do not exist. RFC 5737: 192.0.2.1 is nobody's.
# bats test_tags=kit
@test "an unknown host, an address that is not of this machine: the reason, exit 1" {
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

# ---- what it says ----

# bats test_tags=kit
@test "without -v it says nothing but where it listens" {
  start_server
  assert_serving
  "$PEER" "$PORT" lines:10000 gone
  "$PEER" "$PORT" send:'half a line' reset
  assert_serving
  stop_server
  assert_equal "$(<"$T/server.out")" "listening on 127.0.0.1:$PORT"
  assert_equal "$(<"$T/server.err")" ''
}

# bats test_tags=kit
@test "-v: one line for each that comes, one for each that goes, addresses in numbers" {
  start_server -v
  "$PEER" "$PORT" send:'hello\n' line
  "$PEER" "$PORT" send:'half a line' reset
  assert_serving
  stop_server
  run -0 cat "$T/server.err"
  assert_equal "${#lines[@]}" 6
  for line in "${lines[@]}"; do
    [[ $line =~ ^127\.0\.0\.1:[0-9]+\  ]]
  done
  assert_equal "$(cut -d ' ' -f 1 "$T/server.err" | sort | uniq -c | awk '{ print $1 }')" $'2\n2\n2'
}

# pipe(7): a pipe that nobody reads any more raises SIGPIPE. Here head(1) leaves after one line.
# bats test_tags=kit
@test "when nobody reads its output any more, the server goes on" {
  echo "exec $SERVER \"\$@\" > >(exec head -n 1) 2>&1" >"$T/unheard"
  SERVER="bash $T/unheard"
  start_server -v
  assert_serving
  assert_serving
}
