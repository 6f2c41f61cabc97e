# What every TCP chapter has to withstand: clients that leave, reset, vanish, stay silent or never
# read, system calls that fail, few descriptors, signals. tests/NN-tcp.bats are symbolic links to
# this one text, and NN says which chapter is judged.
#
# 01 echoes bytes; the others answer each line with "+" and the line. A script that sends whole
# lines fits both: PLUS is what a reply has before its line.
#
# 01 and 03 serve one client at a time: the others wait, and none is lost. They are SERIAL.
#
# 08's clients send all this through TLS: `peer -h`. For handshakes, FEWER clients are enough.
#
# Tests with the tag `kit` need options, messages or exit statuses of this kit. A server of yours
# may leave them out: SERVER='python3 my.py' bats --filter-tags '!kit' tests/01-tcp.bats

# shellcheck disable=SC2154 # run --separate-stderr sets stderr and stderr_lines
NN=${BATS_TEST_FILENAME##*/}
CHAPTER=$(cd "$BATS_TEST_DIRNAME/.." && echo "${NN%%-*}"-*)
load helpers/common
# Files run side by side. Running these short tests in parallel too would cost more than it gains.
# shellcheck disable=SC2034
BATS_NO_PARALLELIZE_WITHIN_FILE=true

case $CHAPTER in
  01-*) PLUS='' SERIAL=yes ;;
  03-*) PLUS=+ SERIAL=yes ;;
  *) PLUS=+ SERIAL='' ;;
esac
FEWER=1
[[ $CHAPTER != 08-* ]] || FEWER=10

setup_file() {
  ahead accept_may_fail failing_accept_does_not_spin few_descriptors_serve_all \
    clients_wait_for_a_descriptor restarts_on_its_port slow_readers_do_not_hold_it_up \
    talkers_do_not_hold_it_up never_reading_costs_no_memory asked_again_and_again
  in_turn bad_ports_are_refused client_has_a_prompt late_words_meet_no_reset \
    stops_at_both_signals short_writes_and_eintr_lose_nothing short_writes_lose_nothing \
    eight_mb_are_answered short_connections_leave_nothing port_scan_does_no_harm
}

# make_lines BYTES: writes that many to $T/sent, as lines of 8, and their reply to $T/expected.
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
    wait_for 5 test -s "$T/second.out" # before the first one goes
  fi
  touch "$T/go"
  NAME=second finish_peer
  [[ $(<"$T/second.out") == "${PLUS}me too" ]]
}

has_fds() {
  (($(fds "$SERVER_PID") <= $1))
}

# leaves_nothing COMMAND…: after it there are no more descriptors, no child, not even a zombie.
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

has_ipv6() {
  grep -q '^0*1 ' /proc/net/if_inet6 2>/dev/null
}

need_ipv6() {
  has_ipv6 || skip 'no IPv6 here'
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
port_scan_does_no_harm() {
  need nmap
  start_server
  timeout 20 nmap -n -Pn -sT -p "$PORT" 127.0.0.1 | grep "^$PORT/tcp *open"
  ((EUID != 0)) || timeout 20 nmap -n -Pn -sS -p "$PORT" 127.0.0.1
  assert_serving
}

# bats test_tags=slow
@test "a port scan does no harm" {
  seen port_scan_does_no_harm
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
@test "a client that vanishes with replies pending does no harm: SIGPIPE does not end the server" {
  FAULT_ENV='FAULT_SHORT=1000 FAULT_DELAY=send:200' start_server
  "$PEER" -r 5 "$PORT" lines:10000 gone
  "$PEER" -r 5 "$PORT" lines:2000 half-close gone
  "$PEER" -t 5 "$PORT" send:'hello\n' line
  assert_serving
}

# listen(2): the backlog. With one of 10, most wait for the retransmission of their SYN.
# Through TLS only a tenth of them speak: a server limits the time of a handshake, and on a busy
# machine 1,000 handshakes take longer.
# bats test_tags=heavy
@test "1,000 clients at once are connected immediately, and each gets its reply" {
  local speak=$((1000 / FEWER))
  need_descriptors 1100
  start_server
  ((speak == 1000)) ||
    PEER_TLS='' NAME=silent start_peer -n $((1000 - speak)) "$PORT" ready:"$T/there" silent
  start_peer -n "$speak" "$PORT" ready:"$T/here" send:'hello\n' half-close eof
  wait_for 15 test -e "$T/here"
  ((speak == 1000)) || wait_for 15 test -e "$T/there"
  finish_peer
  (($(grep -cxF "${PLUS}hello" "$T/peer.out") == speak))
}

# bats test_tags=slow
@test "1,200 idle clients do no harm; when they have gone, a new client is served" {
  need_descriptors 1300
  start_server
  start_peer -n 1200 "$PORT" ready:"$T/here" until:"$T/go"
  wait_for 10 test -e "$T/here"
  assert_alive
  touch "$T/go"
  finish_peer
  assert_serving
}

# bats test_tags=slow
@test "1,000 resets leave no descriptor and no zombie behind" {
  need pgrep
  start_server
  leaves_nothing "$PEER" -t 60 -r 500 "$PORT" reset
  leaves_nothing "$PEER" -t 60 -r $((500 / FEWER)) "$PORT" send:'hello\nhalf a line' reset
}

short_connections_leave_nothing() {
  need pgrep
  start_server
  leaves_nothing "$PEER" -t 60 -r $((5000 / FEWER)) "$PORT" send:'hello\n' close
}

# bats test_tags=heavy
@test "5,000 times (over TLS: 500) connect, send, close: no descriptor or zombie is left" {
  seen short_connections_leave_nothing
}

@test "beside a silent client, others are served, or wait and are served after it" {
  start_server
  start_peer "$PORT" ready:"$T/here" until:"$T/go"
  wait_for 5 test -e "$T/here"
  serves_a_second_client
}

# tcp(7), flow control: a client that does not read fills the kernel's buffers on both sides, and
# then neither side sends any more. What a program queues beyond that is its own memory.
never_reading_costs_no_memory() {
  local before sent replies lines
  forget_freed_memory
  start_server
  assert_serving
  before=$(rss_kb "$SERVER_PID")
  start_peer "$PORT" flood:"$PATIENCE" ready:"$T/here" until:"$T/go" half-close drain
  wait_for 10 test -e "$T/here"
  [[ ${SAN-} == thread ]] || # which takes memory itself
    (($(rss_kb "$SERVER_PID") - before < 1024))
  serves_a_second_client
  finish_peer
  { read -r sent && read -r replies; } <"$T/peer.out"
  ((sent > 4000000))
  lines=$((sent / 16)) # of 16 bytes each; the last one may be cut off, which only an echo answers
  ((replies == (${#PLUS} ? lines * 17 : sent)))
}

# bats test_tags=heavy
@test "a client that sends without reading costs no memory, and gets every reply when it reads" {
  seen never_reading_costs_no_memory
}

# ---- every byte, in order ----

# shutdown(2): SHUT_WR says "no more from me", and the other direction goes on.
eight_mb_are_answered() {
  start_server
  make_lines 8000000
  assert_answered
}

# bats test_tags=heavy
@test "8 MB are answered byte for byte; after the client's half-close, end of file follows" {
  seen eight_mb_are_answered
}

# signal(7), "Interruption of system calls". The shim interrupts without a signal.
@test "every second blocking call fails with EINTR: no byte is lost or duplicated" {
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
short_writes_lose_nothing() {
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
@test "writes take only 1 byte, or 7, at a time: no byte is lost or duplicated" {
  seen short_writes_lose_nothing
}

short_writes_and_eintr_lose_nothing() {
  FAULT_ENV="FAULT_SHORT=999 FAULT_FAIL=send:EINTR:5,recv:EINTR:3" start_server
  make_lines 8000000
  assert_answered
}

# bats test_tags=heavy
@test "short writes and EINTR together: 8 MB are answered byte for byte" {
  seen short_writes_and_eintr_lose_nothing
}

# ---- what runs out, and what fails ----

# accept(2), ERRORS: each of these is about one connection, or passes quickly.
accept_may_fail() {
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

@test "accept fails with seven different errors in turn: the server keeps serving" {
  seen accept_may_fail
}

# getrlimit(2), RLIMIT_NOFILE. A client takes one, so a server with none left could never serve.
# bats test_tags=kit
@test "too few descriptors to serve even one client: the server says so and exits 1" {
  serves_or_says send:'hello\n' line >"$T/reply"
  assert_equal "$(<"$T/reply")" "${PLUS}hello"
}

# The connection that cannot be accepted stays in the queue: poll would say "ready" again at once.
failing_accept_does_not_spin() {
  FAULT_ENV='FAULT_FAIL=accept:EMFILE:4,accept:ENFILE:3,accept:ENOMEM:2,accept:ENOBUFS:1' \
    start_server
  start_peer "$PORT" send:'hello\n' silent
  assert_not_spinning
}

@test "while accept fails for lack of descriptors or memory, the server does not spin" {
  seen failing_accept_does_not_spin
}

# getrlimit(2), RLIMIT_NOFILE.
few_descriptors_serve_all() {
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

# bats test_tags=heavy
@test "24 descriptors, 60 clients: the server does not spin, and each is answered in the end" {
  seen few_descriptors_serve_all
}

# prlimit(1) takes the last descriptor away from a server that runs, and gives it back. A blocking
# accept has taken its descriptor before it waits, so that one client still gets in.
clients_wait_for_a_descriptor() {
  need prlimit
  start_server
  prlimit --pid "$SERVER_PID" --nofile="$(fds "$SERVER_PID"):"
  "$PEER" "$PORT" close
  start_peer "$PORT" send:'hello\n' line
  assert_not_spinning
  [[ ! -s $T/peer.out ]]
  prlimit --pid "$SERVER_PID" --nofile=24:
  wait_for 3 test -s "$T/peer.out"
  finish_peer
}

@test "no descriptor is left: clients wait, and are served as soon as one is free" {
  seen clients_wait_for_a_descriptor
}

# ---- the end ----

# SIGTERM, then 2 s; STOP_WITHIN, the limit of stop_server, is a second more. signal(7)
stops_at_both_signals() {
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

@test "SIGTERM and SIGINT: exit 0 within 2 s, idle or with a client, whose replies arrive" {
  seen stops_at_both_signals
}

# The second server's writes take 100 bytes each and 0.1 s, as for a client that reads slowly. Then
# send(2) is never interrupted without having sent something, so that EINTR is not what ends it.
# (OpenSSL does not return before a record is written, unless a write would wait: a slow reader.)
slow_readers_do_not_hold_it_up() {
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

# bats test_tags=heavy
@test "SIGTERM: exit 0 within 2 s even if a client reads its replies slowly, or not at all" {
  seen slow_readers_do_not_hold_it_up
}

ask_again() {
  kill -s TERM "$SERVER_PID" 2>/dev/null || true
  moment 0.3
  not running "$SERVER_PID"
}

# alarm(2): a second call would postpone the alarm that was set.
asked_again_and_again() {
  start_server
  start_peer "$PORT" flood:9
  moment 0.3
  wait_for 3 ask_again
  stop_server 0 0
}

# bats test_tags=heavy
@test "SIGTERM three times a second: exit 0 within 3 s even if a client reads nothing" {
  seen asked_again_and_again
}

# The delay makes the client the faster side, so that there is always something to read.
talkers_do_not_hold_it_up() {
  FAULT_ENV='FAULT_DELAY=recv:3000' start_server
  mkfifo "$T/talk"
  start_tool talker sh -c 'exec yes >"$1"' sh "$T/talk"
  start_peer "$PORT" echo:"$T/talk"
  wait_for 5 test -s "$T/peer.out"
  stop_server
}

# bats test_tags=heavy
@test "SIGTERM: exit 0 within 2 s even if a client never stops sending" {
  seen talkers_do_not_hold_it_up
}

# The server is stopped (SIGSTOP) while the input and the signal arrive, so both wait for it.
@test "SIGTERM: data that arrived before the signal is answered first" {
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

# RFC 2525, 2.17: close(2) with input unread, or input after it, is answered with a reset, which
# discards what has not been sent yet. So before it closes, a server reads on for a while.
# late_words REPLY: runs in a network of its own, where no other connection is reset.
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

late_words_meet_no_reset() {
  need nstat
  netns late_words "${PLUS}hello"
  FAULT_ENV='FAULT_FAIL=recv:EINTR:2' netns late_words "${PLUS}hello"
}

@test "data that a client sends after the server's FIN is read, not answered with a reset" {
  seen late_words_meet_no_reset
}

# socket(7), SO_REUSEADDR: bind fails without it while connections of the last run linger on.
restarts_on_its_port() {
  start_server
  start_peer "$PORT" send:'hello\n' line ready:"$T/here" silent
  wait_for 5 test -e "$T/here"
  stop_server
  start_server -p "$PORT"
  assert_serving
}

@test "the server restarts on the same port at once, even if a client is still connected" {
  seen restarts_on_its_port
}

# bats test_tags=kit
@test "the port is in use: the second server says so and exits 1; the first is unharmed" {
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

# getaddrinfo(3): a name may stand for several addresses, often ::1 and 127.0.0.1, also where there
# is no IPv6. A client tries them all.
# bats test_tags=kit
@test "-a localhost works for the server and for the client" {
  local address
  for address in localhost $(getent ahosts localhost | awk '$2 == "STREAM" { print $1 }'); do
    has_ipv6 || [[ $address != *:* ]] || continue
    NAME=$address start_server -a "$address"
    run -0 client -a localhost hello
    assert_output "${PLUS}hello"
  done
}

# localhost_without_ipv6 PLUS: with a network and an /etc/hosts of its own, and in another shell.
localhost_without_ipv6() {
  local PLUS=$1
  start_server -a localhost
  [[ $(<"$T/server.out") == "listening on 127.0.0.1:$PORT" ]]
  [[ $(client -a localhost hello) == "${PLUS}hello" ]]
}

# Containers often have no IPv6, but the line "::1 localhost" in /etc/hosts; bind(2): EADDRNOTAVAIL.
# bats test_tags=kit
@test "-a localhost listens on 127.0.0.1 if the name also means ::1 but there is no IPv6" {
  without_ipv6 localhost_without_ipv6 "$PLUS"
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
@test "client: sends each line of stdin, even a last one without a newline, with no prompt" {
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

# getline(3) fails with ENOMEM, and ferror(3) does not report it.
# bats test_tags=kit
@test "client: no memory for a line: it says so and exits 1" {
  [[ -z ${SAN-} ]] || skip 'a sanitizer takes more memory than this'
  no_memory() {
    ulimit -v 100000
    head -c 200000000 /dev/zero | client
  }
  start_server
  run -1 no_memory
  assert_output --partial 'client: '
}

# Some clients write messages to a file, to read them like stdin. setrlimit(2), RLIMIT_FSIZE.
# bats test_tags=kit
@test "client: where no file can be written, messages are sent, or it says why not" {
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
client_has_a_prompt() {
  need script
  start_server
  printf 'hello\nexit\n' >"$T/typed"
  timeout 20 script -qec "$CLIENT -p $PORT" /dev/null <"$T/typed" | tr -d '\r' >"$T/screen"
  grep -q '^> ' "$T/screen"
  grep -qF "${PLUS}hello" "$T/screen"
}

# bats test_tags=kit
@test "client: shows a prompt on a terminal" {
  seen client_has_a_prompt
}

# connect(2)
# bats test_tags=kit
@test "client: nobody listens: it says so and exits 1" {
  start_server
  stop_server
  complains 1 "^client: connect 127\.0\.0\.1:$PORT: Connection refused \(ECONNREFUSED\)$" \
    "$CLIENT" -p "$PORT" hello
}

# full(4): every write fails. A reply that cannot be written does not count.
# bats test_tags=kit
@test "client: its output cannot be written, in any mode: it says so and exits 1" {
  [[ -c /dev/full ]] || skip 'no /dev/full here'
  unheard() {
    client "$@" >/dev/full
  }
  # unheard_of WHAT ARGUMENT…
  unheard_of() {
    run -1 --separate-stderr unheard "${@:2}"
    [[ $stderr == *': stdout: No space left on device (ENOSPC)'* ]] || complain "$1: $stderr"
  }
  local long
  long=$(head -c 16383 /dev/zero | tr '\0' x)
  start_server
  unheard_of 'a message' hello
  unheard_of 'a long message' "$long"
  unheard_of 'a line of stdin' < <(echo hello)
  unheard_of 'a long line of stdin' < <(echo "$long")
  unheard_of 'a line of stdin that has no newline' < <(printf hello)
  case $CHAPTER in
    04-*)
      unheard_of 'several connections' -c 3 hello
      unheard_of 'several connections, a long message' -c 3 "$long"
      ;;
    06-*)
      CLIENT=$LOAD
      unheard_of 'load' -c 2 -n 10
      unheard_of 'load for a while' -c 2 -d 1
      ;;
  esac
}

# getaddrinfo(3): a name may stand for several addresses. The fault shim says which.
# bats test_tags=kit
@test "client: the first address of a name refuses, or does not answer: the next one is tried" {
  local fault
  start_server
  for fault in '' FAULT_FAIL=connect:ETIMEDOUT:@1 FAULT_FAIL=connect:EHOSTUNREACH:@1; do
    FAULT_ENV="FAULT_HOST=localhost,127.0.0.2,127.0.0.1 $fault" \
      run -0 --separate-stderr client -a localhost hello
    assert_output "${PLUS}hello"
    assert_equal "$stderr" ''
  done
}

# connect(2), EADDRNOTAVAIL: that this machine has no such address says nothing of the server.
# bats test_tags=kit
@test "client: no address of a name answers: it reports the first one that refused" {
  local hosts fault
  start_server
  stop_server
  while read -r hosts fault; do
    FAULT_ENV="FAULT_HOST=localhost,$hosts FAULT_FAIL=connect:$fault" \
      run -1 --separate-stderr client -a localhost hello
    refute_output
    assert_equal "${stderr_lines[0]}" \
      "client: connect 127.0.0.1:$PORT: Connection refused (ECONNREFUSED)"
  done <<'END'
127.0.0.1,127.0.0.2 EHOSTUNREACH:@2
127.0.0.1,127.0.0.2 EADDRNOTAVAIL:@2
127.0.0.2,127.0.0.1 EADDRNOTAVAIL:@1
END
}

# RFC 9293, 3.5: a simultaneous open with itself. The kernel chooses the port of a client, and
# where no one listens it may choose the very port that the client connects to.
# bats test_tags=kit
@test "client: connected to itself, it reports a refused connection and prints no reply" {
  start_server
  stop_server
  FAULT_ENV='FAULT_SELF=1' run -1 --separate-stderr client hello
  refute_output
  assert_equal "${stderr_lines[0]}" \
    "client: connect 127.0.0.1:$PORT: Connection refused (ECONNREFUSED)"
}

# Everything that the user wants has arrived. 08 has its own rules for ends: 08-tls.bats.
# bats test_tags=kit
@test "client: the connection is reset after the last reply: exit 0, with a note at most" {
  [[ $CHAPTER != 08-* ]] || skip 'see 08-tls.bats'
  start_fake -- recv:5 send:"${PLUS}hello" recv:1 send:"\n" eof reset
  run -0 --separate-stderr client hello
  assert_output "${PLUS}hello"
  [[ ! $stderr || $stderr =~ ^client:\ all\ is\ .*ECONNRESET ]] || complain "$stderr"
}

# ---- usage and errors at the start ----

bad_ports_are_refused() {
  local bad program
  for bad in 0x50 -1 65536 99999999999999999999 80x '' ' 80' +80; do
    for program in SERVER CLIENT; do
      complains 2 "^${program,,}: .*\"${bad/+/[+]}\"" "${!program}" -p "$bad"
    done
  done
}

# bats test_tags=kit,heavy
@test "a bad port: one line and the usage on stderr, nothing on stdout, exit 2" {
  seen bad_ports_are_refused
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
@test "-h prints the usage on stdout and exits 0" {
  run -0 --separate-stderr program "$SERVER" -h
  assert_output --regexp '^usage: server .*-a ADDR.*-p PORT'
  assert_equal "$stderr" ''
  run -0 --separate-stderr program "$CLIENT" -h
  assert_output --regexp '^usage: client .*-a ADDR.*-p PORT.*MESSAGE'
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

# ---- what it says ----

# bats test_tags=kit
@test "without -v the server prints nothing but where it listens" {
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
@test "-v: one line for each client that comes, one for each that goes, addresses in numbers" {
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
@test "when nobody reads its output any more, the server keeps serving" {
  echo "exec $SERVER \"\$@\" > >(exec head -n 1) 2>&1" >"$T/unheard"
  SERVER="bash ${T@Q}/unheard"
  start_server -v
  assert_serving
  assert_serving
}
