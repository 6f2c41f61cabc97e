# What is 03's own: a connection that lives long, and a client that keeps many lines under way and
# connects again. The service is judged by 03-line-service.bats, what any TCP client and server
# have to stand by 03-tcp.bats.

CHAPTER=03-long-conn
load helpers/common

setup_file() {
  ahead second_client_waits client_is_refused client_survives_sigpipe refused_before_it_has_sent \
    client_connects_for_each_reply closing_server_is_not_beset partition_is_noticed \
    served_after_a_restart waits_grow silent_address_is_given_up
  in_turn no_deadlock_with_a_slow_server client_gets_64_mib_back
}

# make_lines BYTES: so many (a multiple of 64) in $T/sent, random lines of 64; in $T/expected the
# replies to them.
make_lines() {
  head -c "$1" /dev/urandom | base64 -w 63 | head -c "$1" >"$T/sent"
  sed 's/^/+/' "$T/sent" >"$T/expected"
}

# start_client [OPTION…]: in the background, with the input $T/sent.
start_client() {
  start_tool "${NAME:-client}" \
    bash -c "exec timeout 30 $CLIENT \"\$@\" <\"\$0\"" "$T/sent" -p "$PORT" "$@"
}

# Its good end, with the output $T/expected.
finish_client() {
  NAME=client finish_peer
  same_bytes "$T/expected" "$T/client.out"
}

# sends_and_prints [OPTION…]: the same in the foreground, under the faults of FAULT_ENV.
sends_and_prints() {
  client "$@" <"$T/sent" >"$T/received"
  same_bytes "$T/expected" "$T/received"
}

# gives_up WHY VERB…: a client sends two lines to a server that does these verbs, and may not
# connect again. It exits 1, not 141 (death by SIGPIPE), and says why.
gives_up() {
  local why=$1
  shift
  NAME=fake$((++fakes)) start_fake -- "$@"
  run -1 --separate-stderr client -r 0 one two
  [[ $stderr =~ ^client:.*$why ]] || complain "not '$why': $stderr"
}

# need_partition: skips the test where packets cannot be dropped.
need_partition() {
  need_netns
  [[ $(type -P nft iptables) ]] || need nft
  unshare "$NETNS" nft add table ip t 2>/dev/null ||
    unshare "$NETNS" iptables -A INPUT -j DROP 2>/dev/null ||
    skip 'neither nft nor iptables works in a network namespace here'
}

# cut_cables PORT PORT: no packet of theirs arrives, on neither side, and no error either.
cut_cables() {
  printf '%s\n' 'table ip t {' 'chain i {' 'type filter hook input priority 0' \
    "tcp dport { $1, $2 } drop" "tcp sport { $1, $2 } drop" '}' '}' | nft -f - 2>/dev/null ||
    iptables -A INPUT -p tcp -m multiport --ports "$1,$2" -j DROP
}

# ---- the server: one client at a time ----

# listen(2): who is not accepted yet waits in the backlog, connected, and may send already.
second_client_waits() {
  local i
  start_server
  start_peer "$PORT" send:'hello\n' line ready:"$T/here" until:"$T/go"
  wait_for 5 test -e "$T/here"
  make_lines 6400
  start_client
  for i in {1..20}; do
    NAME=peer$i start_peer "$PORT" lines:"$i" ready:"$T/sent$i" lines-back:"$i" half-close eof
    wait_for 5 test -e "$T/sent$i"
  done
  sleep 0.2
  [[ ! -s $T/client.out ]]
  touch "$T/go"
  finish_client
  for i in {1..20}; do
    NAME=peer$i finish_peer
  done
}

@test "a second client waits for the first and is then served; of twenty, none is lost" {
  seen second_client_waits
}

# ---- the server: peers that vanish without a word ----

# noticed NAME: by that server; -k 1 promises 3 s of silence. (Otherwise: two hours or 15 minutes.)
noticed() {
  wait_for 10 grep -q 'timed out' "$T/$1.err"
  (($(now_ms) - start > 1000))
}

# tcp(7), TCP_KEEPIDLE, TCP_KEEPINTVL, TCP_KEEPCNT; RFC 9293, 3.8.4. There are no probes while a
# reply waits for its acknowledgement, but retransmissions, for 15 minutes: TCP_USER_TIMEOUT; RFC
# 5482. That line arrives while its server sleeps (SIGSTOP), so that the reply comes too late.
partitioned() {
  local start name ports=()
  for name in uncut silent answering; do
    NAME=$name start_server -k 1 -v
    NAME=peer-$name start_peer "$PORT" send:'one\n' line ready:"$T/$name" until:"$T/go-$name" \
      send:'two\n' ready:"$T/sent" line
    wait_for 5 test -e "$T/$name"
    [[ $name == uncut ]] || ports+=("$PORT")
  done
  kill -STOP "$SERVER_PID"
  touch "$T/go-answering"
  wait_for 5 test -e "$T/sent"
  start=$(now_ms)
  cut_cables "${ports[@]}"
  kill -CONT "$SERVER_PID"
  noticed silent
  noticed answering
  touch "$T/go-uncut" # as silent, and as long, but its kernel answered the probes
  NAME=peer-uncut finish_peer
}

partition_is_noticed() {
  need_partition
  run -0 netns partitioned
}

# bats test_tags=kit,heavy
@test "a silent partition is noticed in time, even with a reply in flight; a silent peer is kept" {
  seen partition_is_noticed
}

# What the kernel was asked for: strace(1). What it does: ss(8), -o.
# bats test_tags=kit
@test "keep-alive is on and Nagle's algorithm is off on every accepted connection" {
  need strace ss
  local option
  start_server -k 7
  start_tool strace strace -f -p "$SERVER_PID" -e trace=setsockopt -o "$T/trace"
  wait_for 2 grep -q attached "$T/strace.err" || skip 'strace may not look into a process here'
  start_peer "$PORT" send:'hello\n' line ready:"$T/here" silent
  wait_for 5 test -e "$T/here"
  run -0 ss -Htno state established "( sport = :$PORT )"
  assert_output --regexp 'timer:\(keepalive,[67]'
  kill "$TOOL_PID" 2>/dev/null || true
  kill "${TOOLS[strace]}"
  wait_for 5 not running "${TOOLS[strace]}"
  for option in 'KEEPALIVE, \[1\]' 'TCP_KEEPIDLE, \[7\]' 'TCP_KEEPINTVL, \[7\]' \
    'TCP_USER_TIMEOUT, \[21000\]' 'TCP_NODELAY, \[1\]'; do
    grep -q "$option.*= 0" "$T/trace" || complain "no $option"
  done
}

# ---- the client: nobody answers ----

# start_deaf ADDRESS: there, at $PORT, is a listener whose queue is full, so that the kernel drops
# each SYN, as a firewall would: listen(2).
start_deaf() {
  need python3
  start_tool deaf python3 -c 'if True:
    import socket, sys, time
    server = socket.socket()
    server.bind((sys.argv[1], int(sys.argv[2])))
    server.listen(0)
    clients = [socket.socket() for _ in range(4)]
    for client in clients:
        client.setblocking(False)
        client.connect_ex(server.getsockname())
    time.sleep(0.2)
    print("deaf", flush=True)
    time.sleep(60)
  ' "$1" "$PORT"
  wait_for 5 grep -q deaf "$T/deaf.out"
}

# connect(2), EINPROGRESS; poll(2); socket(7), SO_ERROR. Every second poll is interrupted, which
# must neither end the wait nor make it longer. From here on all clients have it by connect_to.
silent_address_is_given_up() {
  local start took
  start_server
  start_deaf 127.0.0.2
  start_tool other env "${SHIM_ENV[@]:1}" FAULT_HOST=twins,127.0.0.2,127.0.0.1 \
    FAULT_FAIL=poll:EINTR:2 bash -c "exec $CLIENT -a twins -p $PORT hello"
  start=$(now_ms)
  run -1 --separate-stderr client -a 127.0.0.2 hello
  took=$(($(now_ms) - start))
  refute_output
  assert_equal "$stderr" "client: connect 127.0.0.2:$PORT: Connection timed out (ETIMEDOUT)"
  ((took >= 5000 && took < 6000 + 1000 * PATIENCE)) || complain "it took $took ms"
  wait_for 3 test -s "$T/other.out"
  assert_equal "$(<"$T/other.out")" +hello
}

# bats test_tags=kit,heavy
@test "client: an address that does not answer is given up after 5 s, and the next one is tried" {
  seen silent_address_is_given_up
}

# ---- the client: many lines under way ----

# A client that sends all before it reads stops for ever as soon as the buffers of both kernels are
# full of what nobody reads. ulimit(1): it has no room for the whole file either.
client_gets_64_mib_back() {
  start_server
  make_lines $((64 * 1024 * 1024))
  ([[ ${SAN-} ]] || ulimit -v 60000; sends_and_prints)
}

# bats test_tags=heavy
@test "client: 64 MiB through stdin come back byte for byte, with little memory" {
  seen client_gets_64_mib_back
}

# tcp(7), tcp_rmem and tcp_wmem: how much the kernel keeps for a connection, in each direction.
small_buffers() {
  ip link set lo mtu 1500
  echo 4096 4096 4096 >/proc/sys/net/ipv4/tcp_rmem
  echo 4096 4096 4096 >/proc/sys/net/ipv4/tcp_wmem
  start_server
  make_lines 640000
  sends_and_prints
}

@test "client: no deadlock when the kernel's buffers are tiny" {
  need_netns
  unshare "$NETNS" sh -c 'echo 4096 4096 4096 >/proc/sys/net/ipv4/tcp_wmem' 2>/dev/null ||
    skip 'the size of buffers cannot be changed here'
  run -0 netns small_buffers
}

no_deadlock_with_a_slow_server() {
  FAULT_ENV=FAULT_DELAY=recv:5000 start_server
  make_lines 8000000
  sends_and_prints
}

@test "client: no deadlock with a server that reads slowly" {
  seen no_deadlock_with_a_slow_server
}

@test "client: no deadlock with a server that replies byte by byte" {
  FAULT_ENV=FAULT_SHORT=1 start_server
  make_lines 96000
  sends_and_prints
}

@test "client: a reply that arrives in pieces, and two in one segment, are printed" {
  start_fake -- line line dribble:20:'+one\n+t' send:'wo\n+three\n' eof
  run -0 client one two three
  assert_output $'+one\n+two\n+three'
}

@test "client: lines of 65,536 bytes among short and empty ones are answered" {
  start_server
  for _ in {1..40}; do
    head -c 50000 /dev/urandom | base64 -w 0 | head -c 65535
    printf '\n\n\nshort\n'
  done >"$T/sent"
  sed 's/^/+/' "$T/sent" >"$T/expected"
  sends_and_prints
}

@test "client: exit and q are messages when given as arguments" {
  start_server
  run -0 client one exit q two
  assert_output $'+one\n+exit\n+q\n+two'
}

# pipe(7): it must neither wait for the end of its input, nor keep a reply in a buffer of stdio.
@test "client: prints a reply before the next line is typed; a line is sent when it is complete" {
  start_server
  mkfifo "$T/sent"
  start_client
  exec 9<>"$T/sent"
  printf 'hello\nwor' >&9
  wait_for 5 grep -qx +hello "$T/client.out"
  printf 'ld\nexit\n' >&9
  NAME=client finish_peer # though its input is still open
  exec 9>&-
  assert_equal "$(<"$T/client.out")" $'+hello\n+world'
}

# signal(7), recv(2), send(2): EAGAIN is what a call says that may not wait.
# bats test_tags=heavy
@test "client: short writes, EINTR and EAGAIN in every call: no byte is lost or duplicated" {
  local faults=FAULT_FAIL=connect:EINTR:@1,poll:EINTR:2,recv:EINTR:3,recv:EAGAIN:4
  local CLIENT_WITHIN=60
  start_server
  make_lines 200000
  FAULT_ENV=FAULT_SHORT=1 sends_and_prints
  FAULT_ENV="FAULT_SHORT=7 $faults,send:EINTR:3,send:EAGAIN:4 FAULT_REPORT=$T/report" \
    sends_and_prints
  grep -q '^send .*failed=[0-9]\{4\}.* shortened=[0-9]\{5\}' "$T/report"
  grep -q '^connect calls=2 failed=1' "$T/report"
}

# ---- the client: it does not take for an answer what is none ----

client_is_refused() {
  gives_up 'no more today' line line send:'+one\n-no more today\n' drain
  assert_output +one
  start_server -i 1
  { echo one && head -c 65537 /dev/zero | tr '\0' x && echo; } >"$T/sent"
  run -1 --separate-stderr client <"$T/sent"
  assert_output +one
  [[ $stderr == client:*65536* ]]
  head -c 1000000 /dev/zero >"$T/sent"
  run -1 --separate-stderr client <"$T/sent"
  [[ $stderr == client:*65536* ]]
  run -1 --separate-stderr client <>"$SILENCE" # nobody types
  [[ $stderr == client:*idle* ]]
}

# bats test_tags=kit
@test "client: refused: prints the replies so far, the server's reason on stderr, exit 1" {
  seen client_is_refused
}

# bats test_tags=kit
@test "client: a reply that does not match its line, or one reply too many: exit 1" {
  local reply
  for reply in '+other\n' '+on\n' '+one more\n' 'one\n' '\n' '+two\n+one\n' '+one\n+two\n+two\n'; do
    gives_up 'does not fit' line line send:"$reply" drain
  done
  # An older copy of the client says the second of these.
  gives_up '(longer than any line|without an end)' line line fill:70000 drain
}

# bats test_tags=kit
@test "client: the server closes or resets before every line is answered: exit 1 and the reason" {
  gives_up closed line line close
  gives_up closed line line send:'+one\n+tw' close
  assert_output +one
  gives_up ECONNRESET line line reset
  make_lines 8000000
  NAME=last start_fake -- recv:100000 reset
  run -1 --separate-stderr client -r 0 <"$T/sent"
  [[ $stderr =~ (ECONNRESET|EPIPE) ]]
}

# A write to a connection of which both ends are closed raises SIGPIPE, unless MSG_NOSIGNAL is set:
# send(2). The server closes and resets while the client is about to send.
client_survives_sigpipe() {
  FAULT_ENV=FAULT_DELAY=send:$((1000000 * PATIENCE)) gives_up EPIPE \
    sleep:$((300 * PATIENCE)) half-close sleep:50 reset
}

# bats test_tags=kit
@test "client: SIGPIPE does not kill it" {
  seen client_survives_sigpipe
}

# The refusal, and a reset behind it, arrive while the client is about to send.
refused_before_it_has_sent() {
  FAULT_ENV=FAULT_DELAY=send:$((600000 * PATIENCE)) gives_up 'no more today' \
    send:'-no more today\n' sleep:$((200 * PATIENCE)) reset
}

# bats test_tags=kit
@test "client: refused and reset before it has sent anything: the server's reason, exit 1" {
  seen refused_before_it_has_sent
}

# ---- the client: it connects again ----

# While nobody listens there, another program could get the port: these have a network of their own.
killed_and_started_again() {
  FAULT_ENV='FAULT_SHORT=1000 FAULT_DELAY=send:2000' start_server
  make_lines 4000000
  start_client
  wait_for 5 test -s "$T/client.out"
  stop_server 137 KILL
  sleep 2
  (($(wc -c <"$T/client.out") < 4000000))
  start_server -p "$PORT"
  finish_client
}

served_after_a_restart() {
  own_network killed_and_started_again
}

@test "client: the server is restarted after 2 s: each line is answered once, in order" {
  seen served_after_a_restart
}

# The first server answers two lines and a part of the third; a second one gets the rest.
@test "client: only lines without a complete reply are sent again" {
  seq 4 >"$T/sent"
  sed 's/^/+/' "$T/sent" >"$T/expected"
  start_fake -- line line line line send:'+1\n+2\n+3' close
  start_client
  NAME=fake finish_peer
  start_tool second "$PEER" -l "$PORT" line line send:'+3\n+4\n' eof
  finish_client
  NAME=second finish_peer
  assert_equal "$(tail -n +2 "$T/second.out")" $'3\n4'
}

# As the next one, but it may go on for as long as there is progress: -r 1 is enough for six times.
client_connects_for_each_reply() {
  local i
  for i in {1..6}; do echo x; done >"$T/sent"
  sed 's/^/+/' "$T/sent" >"$T/expected"
  start_fake -r 6 -- line send:'+x\n' half-close drain
  sends_and_prints -r 1
}

@test "client: a server that closes after each reply: all lines are answered" {
  seen client_connects_for_each_reply
}

closing_server_is_not_beset() {
  local start
  start_fake -r 99 -- print:x close
  start=$(now_ms)
  run -1 --separate-stderr client -r 3 hello
  (($(now_ms) - start >= 350))
  assert_equal "$(tail -n +2 "$T/fake.out")" xxxx
}

@test "client: with -r 3 it connects to a server that closes at once three more times, slowly" {
  seen closing_server_is_not_beset
}

# Doubling, with a random part so that clients do not come in step, a longest wait and a last try:
# RFC 8415, 15, says it for DHCP.
refused_for_ever() {
  local name ms sum last start status waits
  echo hello >"$T/sent"
  start_fake -n 3 -- line close
  start=$(now_ms)
  for name in first second third; do
    NAME=$name start_client -r 6
  done
  for name in first second third; do
    status=0
    wait "${TOOLS[$name]}" || status=$?
    unset "TOOLS[$name]"
    ((status == 1))
    tail -n 1 "$T/$name.err" | grep -q ECONNREFUSED
    mapfile -t waits < <(sed -n 's/.* in \([0-9]*\) ms$/\1/p' "$T/$name.err")
    echo "${waits[*]}" | tee -a "$T/waits"
    ((${#waits[@]} == 6))
    sum=0 last=0
    for ms in "${waits[@]}"; do
      ((ms > last || ms >= 1000))
      ((ms <= 2000 && ms >= 50))
      sum=$((sum + ms)) last=$ms
    done
    (($(now_ms) - start >= sum)) # it has waited, not only said so
  done
  (($(sort -u "$T/waits" | wc -l) == 3))
}

waits_grow() {
  own_network refused_for_ever
}

# bats test_tags=kit
@test "client: its waits grow, vary and are bounded; after -r tries it gives up, exit 1" {
  seen waits_grow
}

# ---- other clients ----

# The long connection of the Python articles: a message, its answer, until the user types `exit`.
# (There, the newline is missing, and one recv is taken for one message.)
# bats test_tags=slow
@test "a Python client that sends what is typed and prints the reply, until exit, is served" {
  need python3
  start_server
  run -0 timeout "$((40 * PATIENCE))" python3 -c 'if True:
    import socket, sys
    client = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
    while (message := sys.stdin.readline().strip()) != "exit":
        client.send((message + "\n").encode())
        print(client.recv(1024).decode(), end="")
    client.close()
  ' "$PORT" < <(printf '%s\n' 'Hello, Server!' 你好 exit)
  assert_output $'+Hello, Server!\n+你好'
}

# ---- usage ----

# bats test_tags=kit,slow
@test "an option that is not a number, or out of range: usage on stderr, exit 2" {
  local bad
  PORT=9
  for bad in 0 86401 x '' -1; do
    run -2 timeout 5 bash -c "$SERVER \"\$@\"" server -i "$bad"
    assert_output --partial 'usage: server'
  done
  for bad in 0 32768 1s; do
    run -2 timeout 5 bash -c "$SERVER \"\$@\"" server -k "$bad"
  done
  for bad in -1 1001 many; do
    run -2 client -r "$bad" hello
    assert_output --partial 'usage: client'
  done
}
