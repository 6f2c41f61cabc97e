# What only 04 has: a pool of workers with a bounded queue, and a client with many connections.
# 04-line-service.bats tests the service; 04-tcp.bats and 04-many-clients.bats test what every TCP
# program, and every server with many clients, has to withstand.

# shellcheck disable=SC2154 # run --separate-stderr sets stderr and stderr_lines
CHAPTER=04-threadpool
load helpers/common

setup_file() {
  ahead one_more_waits_for_a_worker client_survives_sigpipe silent_only_for_the_idle_time \
    silent_queue_does_not_hold_it_up queue_gets_its_replies says_why_it_is_refused \
    says_that_it_was_idle
  in_turn no_memory_at_the_start full_queue_is_answered_at_sigterm full_queue_costs_no_memory \
    thread_sanitizer_finds_nothing
}

threads() {
  set -- "/proc/$SERVER_PID/task"/*
  echo $#
}

has_threads() {
  (($(threads) == $1))
}

# has_fds MIN [MAX]: whether the server has from MIN to MAX open descriptors.
has_fds() {
  local n
  n=$(fds "$SERVER_PID")
  ((n >= $1 && n <= ${2:-n}))
}

# replies NAME: how often that peer has received "+hello".
replies() {
  grep -cx +hello "$T/$1.out" || true
}

# occupy N: starts N clients that stay silent until the file $T/go exists.
occupy() {
  NAME=silent start_peer -t 60 -n "$1" "$PORT" ready:"$T/here" until:"$T/go"
  wait_for 5 test -e "$T/here"
}

# start_fails STATUS LINE: the server ends before it serves, and prints LINE (a regular expression).
start_fails() {
  local status=0
  PORT=0 timeout 10 bash -c "exec $SERVER -p 0" >"$T/fails.out" 2>"$T/fails.err" || status=$?
  ((status == $1)) || complain "exit status $status"
  [[ $(<"$T/fails.err") =~ ^$2$ ]] || complain "not $2: $(<"$T/fails.err")"
  [[ ! -s $T/fails.out ]]
}

# burst N: N times, ten clients come at once, and each sends ten lines.
burst() {
  "$PEER" -t 60 -r "$1" -n 10 "$PORT" lines:10 half-close lines-back:10 eof
}

# ---- workers ----

# bats test_tags=kit
@test "-w N starts N workers, one thread that accepts, and one that waits for signals" {
  local n
  for n in 1 3 20; do
    NAME=server$n start_server -w "$n"
    [[ ${SAN-} == *thread* ]] || has_threads $((n + 2)) || complain "$n: $(threads) threads"
    NAME=server$n assert_serving
  done
}

one_more_waits_for_a_worker() {
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
@test "N silent clients occupy N workers; one more client waits, and is served once one leaves" {
  seen one_more_waits_for_a_worker
}

silent_only_for_the_idle_time() {
  start_server -w 2 -i 1
  occupy 2
  NAME=waiting start_peer "$PORT" send:'hello\n' line closed:3000
  NAME=waiting finish_peer
  (($(replies waiting) == 1))
}

# bats test_tags=kit,slow
@test "a silent client keeps its worker for the idle timeout and no longer" {
  seen silent_only_for_the_idle_time
}

# Nobody notices a worker that ends because it was woken in vain, until none is left:
# pthread_cond_wait(3p). The delays make several workers wake up for one client.
@test "bursts of ten clients on four workers: all are answered, and no worker is lost" {
  FAULT_ENV='FAULT_DELAY=pthread_mutex_lock:100,pthread_cond_wait:300' start_server -w 4 -q 2
  burst 40
  [[ ${SAN-} == *thread* ]] || has_threads 6
  assert_serving
}

# The test builds the programs with ThreadSanitizer: nothing else sees a race that has not gone
# wrong yet. On some kernels it runs only at fixed addresses: setarch(8).
thread_sanitizer_finds_nothing() {
  [[ -z ${SAN-} && -z $GUEST ]] || skip 'another build is being tested'
  local name fixed=(setarch "$(uname -m)" -R) flags=(-std=c11 -O1 -g -fsanitize=thread -pthread)
  local parts=()
  own_programs
  echo 'int main(void) { return 0; }' >"$PROGRAM_DIR/none.c"
  "${CC:-cc}" "${flags[@]}" "$PROGRAM_DIR/none.c" -o "$PROGRAM_DIR/none" ||
    skip 'the compiler has no ThreadSanitizer'
  "${fixed[@]}" true || fixed=()
  "${fixed[@]}" "$PROGRAM_DIR/none" || skip 'ThreadSanitizer does not run on this system'
  for name in "$SOURCES"/*.c; do
    [[ $name == */@(server|client).c ]] || parts+=("$name")
  done
  for name in server client; do
    "${CC:-cc}" "${flags[@]}" "$SOURCES/$name.c" "${parts[@]}" -o "$PROGRAM_DIR/$name"
  done
  START_WITHIN=10 STOP_WITHIN=10 SERVER="${fixed[*]} ${PROGRAM_DIR@Q}/server"
  CLIENT="${fixed[*]} ${PROGRAM_DIR@Q}/client"
  start_server -w 4 -q 2
  burst 20
  run -0 --separate-stderr client -c 20 hello 'two words'
  assert_equal "$stderr" '20 connections, 40 replies, 0 failures'
  start_tool load "$PEER" -t 60 -r 10000 -n 10 "$PORT" lines:10 half-close lines-back:10 eof
  sleep 0.3
  stop_server
  assert_equal "$(<"$T/server.err")" ''
}

# bats test_tags=heavy
@test "ThreadSanitizer finds nothing in bursts, a full queue, SIGTERM under load, or the client" {
  seen thread_sanitizer_finds_nothing
}

# ---- the queue ----

# listen(2): clients that are not accepted wait in the kernel's backlog. Seven descriptors: five
# clients in the queue, one that the acceptor holds, and one that a worker serves.
full_queue_costs_no_memory() {
  need_descriptors 600
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

# bats test_tags=kit
@test "the queue is full: 500 clients wait, none is refused, and the server's memory stays small" {
  seen full_queue_costs_no_memory
}

# The acceptor waits for a place in the queue when the signal comes.
full_queue_is_answered_at_sigterm() {
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

# bats test_tags=kit
@test "SIGTERM while the queue is full: accepted clients are answered; exit 0 within 2 s" {
  seen full_queue_is_answered_at_sigterm
}

# A worker could wait in vain for more from each of them, and the time to stop is short.
queue_gets_its_replies() {
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

# bats test_tags=kit
@test "SIGTERM: many clients in the queue get their replies, though none of them leaves" {
  seen queue_gets_its_replies
}

# getrlimit(2): the soft limit, which is often 1,024, may be raised to the hard one.
# bats test_tags=kit
@test "more workers than the soft limit allows descriptors: the server raises the limit" {
  need_descriptors 400
  ulimit -Sn 100
  start_server -w 300
  "$PEER" -n 200 "$PORT" send:'hello\n' line >"$T/replies"
  (($(grep -cx +hello "$T/replies") == 200))
}

silent_queue_does_not_hold_it_up() {
  start_server -w 2 -q 100
  start_peer -n 80 "$PORT" ready:"$T/here" silent
  wait_for 5 test -e "$T/here"
  wait_for 5 has_fds 80
  stop_server
}

# bats test_tags=kit
@test "SIGTERM: silent clients, served or in a long queue, do not delay the exit" {
  seen silent_queue_does_not_hold_it_up
}

# ---- threads and memory run out ----

# pthread_create(3), EAGAIN: "the system-imposed limit on the number of threads". getrlimit(2),
# RLIMIT_NPROC: it counts a user's processes and threads, but not root's. So root becomes a user
# without processes, and keeps the right to read this directory (capabilities(7)).
# bats test_tags=kit
@test "a limit of threads: the server reports how many workers it has, and serves with these" {
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
@test "pthread_create fails: the server starts with fewer workers, or exits if it has none" {
  [[ ${SAN-} != *thread* ]] || skip 'ThreadSanitizer starts a thread of its own'
  local kit=$SERVER
  FAULT_ENV='FAULT_FAIL=pthread_create:EAGAIN:@5' start_server
  assert_equal "$(<"$T/server.err")" \
    'server: only 3 of 8 workers: Resource temporarily unavailable'
  has_threads 5
  burst 3
  assert_serving
  SERVER="${SHIM_ENV[*]@Q} FAULT_FAIL=pthread_create:EAGAIN:@1 $kit"
  start_fails 1 'server: cannot start the acceptor: .* \(EAGAIN\)'
  SERVER="${SHIM_ENV[*]@Q} FAULT_FAIL=pthread_create:EAGAIN:@2 $kit"
  start_fails 1 'server: cannot start a worker: .* \(EAGAIN\)'
}

# Each allocation fails in turn, up to the last one: the server says so and exits, or it serves.
no_memory_at_the_start() {
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

# bats test_tags=kit,heavy
@test "no memory at the start: the server says so, and exits or serves with fewer workers" {
  seen no_memory_at_the_start
}

# ---- the client ----

# gives_up WHY VERB…: two connections of a client each send a line to a server that does these
# verbs. The client exits 1, not 141 (ended by SIGPIPE), and says why.
gives_up() {
  local why=$1
  shift
  NAME=fake$((++fakes)) start_fake -n 2 -- "$@"
  run -1 --separate-stderr client -c 2 hello bye
  [[ $stderr =~ ^client:.*$why ]] || complain "not '$why': $stderr"
}

# bats test_tags=kit
@test "client: -c N sends each message over each of N connections, and prints the totals" {
  start_server
  run -0 --separate-stderr client -c 30 hello 'two words'
  assert_equal "$stderr" '30 connections, 60 replies, 0 failures'
  assert_equal "$(sort <<<"$output" | uniq -c | awk '{ print $1, $2, $3 }')" \
    $'30 +hello \n30 +two words'
}

# pthread_barrier_wait(3p): they begin when all are connected. The fake server serves no second one
# before the first one's line has come.
# bats test_tags=kit
@test "client: all of its connections are open at the same time" {
  start_fake -n 20 -- line send:'+hello\n' drain
  run -0 --separate-stderr client -c 20 hello
  assert_equal "${#lines[@]}" 20
}

# bats test_tags=kit
@test "client: a message with newlines is several lines, and each gets its reply" {
  start_server
  run -0 --separate-stderr client -c 2 $'one\ntwo\n'
  assert_equal "$stderr" '2 connections, 6 replies, 0 failures'
}

# bats test_tags=kit,slow
@test "client: a reply that does not match its line, or one reply too many: exit 1" {
  local reply
  for reply in '+other\n' '+hell\n' '+hello more\n' 'hello\n' '\n' '+\n'; do
    gives_up 'does not fit' line send:"$reply" drain
  done
  gives_up 'more than one reply' line send:'+hello\n+bye\n' drain
  gives_up 'more than one reply' line fill:70000 drain
}

says_why_it_is_refused() {
  gives_up 'no more today' line send:'+hello\n' line send:'-no more today\n' drain
  (($(grep -cx +hello <<<"$output") == 2))
  gives_up 'no more today' send:'-no more today\n' close
}

# The second line is typed when the server has already given up waiting for it.
says_that_it_was_idle() {
  start_server -v -i $((2 * PATIENCE))
  mkfifo "$T/keyboard"
  start_tool client bash -c "exec timeout 20 $CLIENT -p $PORT <\"\$0\"" "$T/keyboard"
  exec 9>"$T/keyboard"
  echo one >&9
  wait_for 5 grep -q idle "$T/server.err"
  echo two >&9
  tool_ends client 1
  assert_equal "$(<"$T/client.out")" +one
  grep -q '^client: .*idle' "$T/client.err"
}

# bats test_tags=kit
@test "client: refused: it shows the server's message and exits 1" {
  seen says_why_it_is_refused
}

# bats test_tags=kit,slow
@test "client: closed for being idle: it shows the server's message and exits 1" {
  seen says_that_it_was_idle
}

# bats test_tags=kit
@test "client: the server closes or resets too early: the reason, exit 1; the others continue" {
  gives_up 'closed without a reply' line close
  gives_up 'closed without a reply' line send:'+hel' close
  gives_up ECONNRESET line reset
  assert_equal "${stderr_lines[-1]}" '2 connections, 0 replies, 2 failures'
}

# send(2), EPIPE: it writes after the server's FIN and reset. Exit status 141 would be SIGPIPE.
client_survives_sigpipe() {
  FAULT_ENV=FAULT_DELAY=send:$((1000000 * PATIENCE)) gives_up closed \
    sleep:$((300 * PATIENCE)) half-close sleep:50 reset
}

# bats test_tags=kit
@test "client: SIGPIPE does not end it" {
  seen client_survives_sigpipe
}

# getrlimit(2): descriptors run out at the twentieth connection or so; the others are served.
# bats test_tags=kit
@test "client: connections that cannot be opened are reported and counted; the others continue" {
  need prlimit
  start_server
  CLIENT="prlimit --nofile=24 $CLIENT"
  run -1 --separate-stderr client -c 40 hello
  [[ ${stderr_lines[0]} == client:*EMFILE* ]]
  [[ ${stderr_lines[-1]} =~ ^40\ connections,\ ([0-9]+)\ replies,\ ([0-9]+)\ failures$ ]]
  ((BASH_REMATCH[1] > 10 && BASH_REMATCH[2] > 10 && BASH_REMATCH[1] + BASH_REMATCH[2] == 40))
}

@test "client: short writes and EINTR in every call: each line gets its own reply" {
  start_server
  FAULT_ENV="FAULT_SHORT=3 FAULT_REPORT=$T/report \
    FAULT_FAIL=connect:EINTR:2,send:EINTR:2,recv:EINTR:2,poll:EINTR:2" \
    run -0 --separate-stderr client -c 8 hello 'a longer message' bye
  assert_equal "$stderr" '8 connections, 24 replies, 0 failures'
  grep -q '^send .*failed=[1-9].* shortened=[1-9]' "$T/report"
  grep -q '^connect .*failed=[1-9]' "$T/report"
}

# ---- other clients ----

# From the articles on Python: a pool of five threads, five long connections, and Ctrl-C, which ends
# the server cleanly.
# bats test_tags=slow
@test "five Python clients talk to a pool of five workers; Ctrl-C ends it cleanly" {
  need python3
  start_server -w 5
  run -0 timeout "$((40 * PATIENCE))" python3 -c 'if True:
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

# bats test_tags=kit,slow
@test "an option that is not a number, or out of range: usage on stderr, exit 2" {
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
