# What is 04's own: a pool of workers, a bounded queue before it, a client with many connections.
# The service is judged by 04-line-service.bats; what any TCP program, and any server of many, has
# to stand by 04-tcp.bats and 04-many-clients.bats.

# shellcheck disable=SC2154 # run --separate-stderr sets stderr and stderr_lines
CHAPTER=04-threadpool
load helpers/common

threads() {
  set -- "/proc/$SERVER_PID/task"/*
  echo $#
}

has_threads() {
  (($(threads) == $1))
}

# has_fds MIN [MAX]: so many descriptors of the server are open.
has_fds() {
  local n
  n=$(fds "$SERVER_PID")
  ((n >= $1 && n <= ${2:-n}))
}

# replies NAME: how often that peer was told "+hello".
replies() {
  grep -cx +hello "$T/$1.out" || true
}

# occupy N: so many clients that say nothing, until the file $T/go is there.
occupy() {
  NAME=silent start_peer -t 60 -n "$1" "$PORT" ready:"$T/here" until:"$T/go"
  wait_for 5 test -e "$T/here"
}

# start_fails STATUS LINE: it ends before it serves, and says that line (a regular expression).
start_fails() {
  local status=0
  PORT=0 timeout 10 bash -c "exec $SERVER -p 0" >"$T/fails.out" 2>"$T/fails.err" || status=$?
  ((status == $1)) || complain "exit status $status"
  [[ $(<"$T/fails.err") =~ ^$2$ ]] || complain "not $2: $(<"$T/fails.err")"
  [[ ! -s $T/fails.out ]]
}

# burst N: N times ten clients at once, each with ten lines.
burst() {
  "$PEER" -t 60 -r "$1" -n 10 "$PORT" lines:10 half-close lines-back:10 eof
}

# ---- workers ----

# bats test_tags=kit
@test "-w N starts N workers, and one thread more that accepts, and one for signals" {
  local n
  for n in 1 3 20; do
    NAME=server$n start_server -w "$n"
    [[ ${SAN-} == *thread* ]] || has_threads $((n + 2)) || complain "$n: $(threads) threads"
    NAME=server$n assert_serving
  done
}

# bats test_tags=kit
@test "N silent clients take N workers; one more waits, and is served as soon as one has gone" {
  start_server -w 3
  start_peer "$PORT" ready:"$T/first" until:"$T/gone"
  wait_for 5 test -e "$T/first"
  occupy 2
  NAME=waiting start_peer "$PORT" send:'hello\n' line
  sleep 0.3
  (($(replies waiting) == 0))
  touch "$T/gone"
  wait_for 2 test -s "$T/waiting.out"
  NAME=waiting finish_peer
  (($(replies waiting) == 1))
}

# bats test_tags=kit
@test "a silent client has its worker only for the idle time" {
  start_server -w 2 -i 1
  occupy 2
  NAME=waiting start_peer "$PORT" send:'hello\n' line closed:3000
  NAME=waiting finish_peer
  (($(replies waiting) == 1))
}

# A worker that leaves because it was woken in vain is missed by nobody until there is none:
# pthread_cond_wait(3p). The delays let several wake up for one client.
@test "bursts of ten clients on four workers: all are answered, and no worker is lost" {
  FAULT_ENV='FAULT_DELAY=pthread_mutex_lock:100,pthread_cond_wait:300' start_server -w 4 -q 2
  burst 40
  [[ ${SAN-} == *thread* ]] || has_threads 6
  assert_serving
}

# Built with ThreadSanitizer here, which some kernels let run only at fixed addresses: setarch(8).
# Nobody else sees a race that has not gone wrong yet.
# bats test_tags=heavy
@test "ThreadSanitizer finds nothing: bursts, a full queue, SIGTERM under load; nor in the client" {
  [[ -z ${SAN-} && -z $GUEST ]] || skip 'another build is being tested'
  local name fixed=(setarch "$(uname -m)" -R) flags=(-std=c11 -O1 -g -fsanitize=thread -pthread)
  echo 'int main(void) { return 0; }' >"$T/none.c"
  "${CC:-cc}" "${flags[@]}" "$T/none.c" -o "$T/none" || skip 'the compiler has no ThreadSanitizer'
  "${fixed[@]}" true || fixed=()
  "${fixed[@]}" "$T/none" || skip 'ThreadSanitizer does not run on this system'
  for name in server client; do
    "${CC:-cc}" "${flags[@]}" "$SOURCES/$name.c" -o "$T/$name"
  done
  START_WITHIN=10 STOP_WITHIN=10 SERVER="${fixed[*]} $T/server" CLIENT="${fixed[*]} $T/client"
  start_server -w 4 -q 2
  burst 20
  run -0 --separate-stderr client -c 20 hello 'two words'
  assert_equal "$stderr" '20 connections, 40 replies, 0 failures'
  start_tool load "$PEER" -t 60 -r 10000 -n 10 "$PORT" lines:10 half-close lines-back:10 eof
  sleep 0.3
  stop_server
  assert_equal "$(<"$T/server.err")" ''
}

# ---- the queue ----

# listen(2): who is not accepted waits in the kernel's backlog. Seven descriptors: five clients in
# the queue, one in the acceptor's hands, one that a worker serves.
# bats test_tags=kit
@test "the queue is full: 500 clients wait, none is refused, and no memory is taken for them" {
  local before memory
  start_server -w 1 -q 5
  before=$(fds "$SERVER_PID")
  occupy 1
  wait_for 5 has_fds $((before + 1))
  memory=$(rss_kb "$SERVER_PID")
  NAME=waiting start_peer -n 500 "$PORT" send:'hello\n' half-close ready:"$T/sent" eof
  wait_for 5 test -e "$T/sent"
  wait_for 5 has_fds $((before + 7))
  sleep 0.3
  has_fds 0 $((before + 7)) || complain "it accepts though its queue is full"
  (($(rss_kb "$SERVER_PID") - memory < 300))
  [[ ! -s $T/waiting.out ]]
  touch "$T/go"
  NAME=waiting finish_peer
  (($(replies waiting) == 500))
  assert_serving
}

# The acceptor waits for a place in the queue while the signal comes.
# bats test_tags=kit
@test "SIGTERM while the queue is full: who was accepted is answered; exit 0 within 2 s" {
  local before name
  start_server -w 2 -q 3
  before=$(fds "$SERVER_PID")
  occupy 2
  for name in 1 2 3 4; do
    NAME=queued$name start_peer "$PORT" send:'hello\n' ready:"$T/$name" eof
    wait_for 5 test -e "$T/$name"
  done
  wait_for 5 has_fds $((before + 6))
  NAME=outside start_peer -n 20 "$PORT" send:'hello\n' ready:"$T/sent" silent
  wait_for 5 test -e "$T/sent"
  stop_server
  for name in 1 2 3 4; do
    NAME=queued$name finish_peer
    (($(replies "queued$name") == 1))
  done
}

# Their workers wait in vain for more from them, each for a while, and the time to stop is short.
# bats test_tags=kit
@test "SIGTERM: the many that are in the queue get their replies, though none of them leaves" {
  local before
  start_server -w 2
  before=$(fds "$SERVER_PID")
  start_peer -n 18 "$PORT" send:'hello\n' ready:"$T/here" eof
  wait_for 5 test -e "$T/here"
  wait_for 5 has_fds $((before + 18))
  stop_server
  finish_peer
  (($(replies peer) == 18)) || complain "$(replies peer) of 18"
}

# getrlimit(2): the soft limit, which is often 1,024, may be raised to the hard one.
# bats test_tags=kit
@test "more workers than the soft limit of descriptors has clients: it is raised" {
  (($(ulimit -Hn) >= 400)) || skip 'this user may not have so many descriptors'
  ulimit -Sn 100
  start_server -w 300
  "$PEER" -n 200 "$PORT" send:'hello\n' line >"$T/replies"
  (($(grep -cx +hello "$T/replies") == 200))
}

# bats test_tags=kit
@test "SIGTERM: silent workers' clients and a long queue of silent clients do not hold it up" {
  start_server -w 2 -q 100
  start_peer -n 80 "$PORT" ready:"$T/here" silent
  wait_for 5 test -e "$T/here"
  wait_for 5 has_fds 80
  stop_server
}

# ---- threads and memory run out ----

# pthread_create(3), EAGAIN: "the system-imposed limit on the number of threads". getrlimit(2),
# RLIMIT_NPROC: it counts a user's processes and threads, but not root's; so root becomes somebody
# of whom there is nobody yet, and keeps the right to read this directory (capabilities(7)).
# bats test_tags=kit
@test "a limit of threads: the server says how many workers it has, and serves with them" {
  need prlimit setpriv
  ((EUID == 0)) || skip 'only root can become a user of whom no process runs'
  [[ -z ${SAN-} ]] || skip 'a sanitizer has threads of its own'
  local user=$((60000 + BASHPID % 5000)) as
  as="setpriv --reuid=$user --inh-caps=-all,+dac_read_search --ambient-caps=-all,+dac_read_search"
  $as true 2>/dev/null || skip 'setpriv cannot keep a capability here'
  local kit=$SERVER
  SERVER="$as prlimit --nproc=6 $kit"
  start_server
  grep -qx 'server: only [1-5] of 8 workers: Resource temporarily unavailable' "$T/server.err"
  burst 3
  assert_serving
  stop_server
  SERVER="$as prlimit --nproc=1 $kit"
  start_fails 1 'server: cannot start (a worker|the acceptor): .* \(EAGAIN\)'
}

# bats test_tags=kit
@test "pthread_create fails: with fewer workers, or with none not at all" {
  [[ ${SAN-} != *thread* ]] || skip 'ThreadSanitizer starts a thread of its own'
  local kit=$SERVER
  FAULT_ENV='FAULT_FAIL=pthread_create:EAGAIN:@5' start_server
  assert_equal "$(<"$T/server.err")" \
    'server: only 3 of 8 workers: Resource temporarily unavailable'
  has_threads 5
  burst 3
  assert_serving
  SERVER="${SHIM_ENV[*]} FAULT_FAIL=pthread_create:EAGAIN:@1 $kit"
  start_fails 1 'server: cannot start the acceptor: .* \(EAGAIN\)'
  SERVER="${SHIM_ENV[*]} FAULT_FAIL=pthread_create:EAGAIN:@2 $kit"
  start_fails 1 'server: cannot start a worker: .* \(EAGAIN\)'
}

# Each allocation in turn, until there was no further one: it says so and gives up, or it serves.
# bats test_tags=kit,heavy
@test "no memory at the start: it says so, and gives up or serves with fewer workers" {
  [[ -z ${SAN-} ]] || skip 'a sanitizer allocates, too'
  local k served=0 few=0
  for k in {1..60}; do
    rm -f "$T/report"
    if NAME=server$k FAULT_ENV="FAULT_REPORT=$T/report FAULT_FAIL=malloc:ENOMEM:@$k" \
      start_server -w 3 2>/dev/null; then
      NAME=server$k assert_serving
      served=$((served + 1))
      few=$((few + $(grep -c 'only [12] of 3 workers' "$T/server$k.err" || true)))
      NAME=server$k stop_server
      grep -q '^malloc .*failed=1' "$T/report" || break
    else
      grep -q '^server: ' "$T/server$k.err" || complain "$k: not a word"
      NAME=server$k stop_server 1 0
    fi
  done
  ((served > 0 && few >= 2 && k < 60))
}

# ---- the client ----

# gives_up WHY VERB…: two connections of a client each send a line to a server that does these
# verbs. It exits 1, not 141 (death by SIGPIPE), and says why.
gives_up() {
  local why=$1
  shift
  NAME=fake$((++fakes)) start_fake -n 2 -- "$@"
  run -1 --separate-stderr client -c 2 hello bye
  [[ $stderr =~ ^client:.*$why ]] || complain "not '$why': $stderr"
}

# bats test_tags=kit
@test "client: -c N sends each message over each of N connections, and counts" {
  start_server
  run -0 --separate-stderr client -c 30 hello 'two words'
  assert_equal "$stderr" '30 connections, 60 replies, 0 failures'
  assert_equal "$(sort <<<"$output" | uniq -c | awk '{ print $1, $2, $3 }')" \
    $'30 +hello \n30 +two words'
}

# pthread_barrier_wait(3p): they begin when all are connected. Nobody serves the second one before
# the first has had its turn.
# bats test_tags=kit
@test "client: its connections are open at the same time" {
  start_fake -n 20 -- line send:'+hello\n' drain
  run -0 --separate-stderr client -c 20 hello
  assert_equal "${#lines[@]}" 20
}

# bats test_tags=kit
@test "client: a message with newlines is as many lines, each with its reply" {
  start_server
  run -0 --separate-stderr client -c 2 $'one\ntwo\n'
  assert_equal "$stderr" '2 connections, 6 replies, 0 failures'
}

# bats test_tags=kit
@test "client: a reply that does not fit its line, or is one too many: exit 1" {
  local reply
  for reply in '+other\n' '+hell\n' '+hello more\n' 'hello\n' '\n' '+\n'; do
    gives_up 'does not fit' line send:"$reply" drain
  done
  gives_up 'more than one reply' line send:'+hello\n+bye\n' drain
  gives_up 'more than one reply' line fill:70000 drain
}

# bats test_tags=kit
@test "client: refused: the server's words, exit 1" {
  gives_up 'no more today' line send:'+hello\n' line send:'-no more today\n' drain
  (($(grep -cx +hello <<<"$output") == 2))
  gives_up 'no more today' send:'-no more today\n' close
  start_server -i 1
  run -1 --separate-stderr client < <(echo one && sleep 1.5 && echo two) # typed too late
  assert_output +one
  [[ $stderr == client:*idle* ]]
}

# bats test_tags=kit
@test "client: the server closes or resets too early: exit 1 and the reason; the others go on" {
  gives_up 'closed without a reply' line close
  gives_up 'closed without a reply' line send:'+hel' close
  gives_up ECONNRESET line reset
  assert_equal "${stderr_lines[-1]}" '2 connections, 0 replies, 2 failures'
}

# send(2), EPIPE: it writes after the server's FIN and reset. Exit status 141 would be that death.
# bats test_tags=kit
@test "client: it does not die by SIGPIPE" {
  FAULT_ENV=FAULT_DELAY=send:400000 gives_up closed sleep:100 half-close sleep:50 reset
}

# getrlimit(2): descriptors run out at the twentieth connection or so; the others are served.
# bats test_tags=kit
@test "client: connections that cannot be opened are said and counted, the others go on" {
  need prlimit
  start_server
  CLIENT="prlimit --nofile=24 $CLIENT"
  run -1 --separate-stderr client -c 40 hello
  [[ ${stderr_lines[0]} == client:*EMFILE* ]]
  [[ ${stderr_lines[-1]} =~ ^40\ connections,\ ([0-9]+)\ replies,\ ([0-9]+)\ failures$ ]]
  ((BASH_REMATCH[1] > 10 && BASH_REMATCH[2] > 10 && BASH_REMATCH[1] + BASH_REMATCH[2] == 40))
}

@test "client: short writes and EINTR in every call: each reply is the right one" {
  start_server
  FAULT_ENV="FAULT_SHORT=3 FAULT_REPORT=$T/report \
    FAULT_FAIL=connect:EINTR:2,send:EINTR:2,recv:EINTR:2,poll:EINTR:2" \
    run -0 --separate-stderr client -c 8 hello 'a longer message' bye
  assert_equal "$stderr" '8 connections, 24 replies, 0 failures'
  grep -q '^send .*failed=[1-9].* shortened=[1-9]' "$T/report"
  grep -q '^connect .*failed=[1-9]' "$T/report"
}

# ---- other clients ----

# Of the Python articles: a pool of five threads, five long connections, and Ctrl-C, which ends the
# server in order.
@test "five clients in Python talk to a pool of five; Ctrl-C ends it in order" {
  need python3
  start_server -w 5
  run -0 timeout 10 python3 -c 'if True:
    import socket, sys, threading
    here = threading.Barrier(5)
    def talk(name):
        with socket.create_connection(("127.0.0.1", int(sys.argv[1]))) as client:
            here.wait()
            for word in ("hello", "how are you?", "bye"):
                client.sendall(f"{name}: {word}\n".encode())
                print(client.recv(1024).decode(), end="", flush=True)
            here.wait()
    threads = [threading.Thread(target=talk, args=(f"client {i}",)) for i in range(5)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
  ' "$PORT"
  assert_equal "${#lines[@]}" 15
  assert_line '+client 4: how are you?'
  stop_server 0 INT
}

# ---- usage ----

# bats test_tags=kit
@test "a number that is none, or out of range: usage, exit 2" {
  local bad option
  PORT=9
  for option in w q i; do
    for bad in 0 x '' -1 99999999; do
      run -2 timeout 5 bash -c "$SERVER \"\$@\"" server -$option "$bad"
      assert_output --partial 'usage: server'
    done
  done
  for bad in 0 -1 10001 many; do
    run -2 client -c "$bad" hello
    assert_output --partial 'usage: client'
  done
  run -2 client -c 2
  assert_output --partial 'needs a MESSAGE'
}
