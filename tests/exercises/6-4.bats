# 6-4, the line service with a loop on every core: -w LOOPS.
# bats file_tags=6-4

CHAPTER=06-epoll
load ../helpers/common

# Sockets that listen on $PORT: state 0A in /proc/net/tcp (proc_pid_net(5)).
listening() {
  awk -v port="$(printf ':%04X' "$PORT")" '$4 == "0A" && substr($2, 9) == port' \
    /proc/net/tcp | wc -l
}

# Threads of the server that have used 2 ms of a processor at least.
busy_threads() {
  awk '$1 > 2000000 { n++ } END { print n + 0 }' "/proc/$SERVER_PID/task"/*/schedstat
}

# socket(7), SO_REUSEPORT.
# bats test_tags=kit
@test "-w 4: four listening sockets on one port; -w 1: one" {
  start_server -w 4
  assert_equal "$(listening)" 4
  assert_serving
  NAME=second start_server -w 1
  assert_equal "$(listening)" 1
  NAME=second assert_serving
}

# The kernel distributes clients by a hash of addresses and ports. The probability that 64 clients
# leave out one of four loops is about 1 in 25,000,000: 4 * 0.75^64.
# bats test_tags=kit
@test "-w 4: with 64 active clients, all four loops have work" {
  start_server -w 4
  run "$PEER" -t 10 -n 64 -r 5 "$PORT" lines:1000 lines-back:1000 half-close eof
  ((status == 0)) || complain "$output"
  (($(busy_threads) >= 4)) || complain "so many threads have worked: $(busy_threads)"
}

# bind(2), EADDRINUSE: otherwise clients of one server would sometimes reach the other.
# bats test_tags=kit
@test "a second server on the port is refused, even though the first one's loops share it" {
  start_server -w 2
  run -1 --separate-stderr timeout $((20 * PATIENCE)) \
    bash -c "$SERVER \"\$@\"" server -p "$PORT" -w 2
  [[ $stderr == "server: bind 127.0.0.1:$PORT: "*" (EADDRINUSE)" ]] || complain "it said: $stderr"
  assert_serving
}

# decided NAME: the server has printed that it listens, or has ended.
decided() {
  [[ -s $T/$1.out ]] || ! running "${TOOLS[$1]}"
}

# two_servers PAUSE [VAR=VALUE…]: on $PORT, the second after so many seconds; one of them serves.
two_servers() {
  local pause=$1 command outcome
  shift
  eval "command=($SERVER)"
  [[ ! ${1-} ]] || command=("${SHIM_ENV[@]}" "$@" "${command[@]}")
  start_tool one "${command[@]}" -p "$PORT" -w 2
  sleep "$pause"
  start_tool two "${command[@]}" -p "$PORT" -w 2
  wait_for 10 decided one
  wait_for 10 decided two
  outcome=$(sort "$T/one.out" "$T/two.out" "$T/one.err" "$T/two.err" |
    sed -E 's/: [^:]* \(/: … (/; s/:[0-9]+/:PORT/')
  kill_group "${TOOLS[one]}"
  kill_group "${TOOLS[two]}"
  unset "TOOLS[one]" "TOOLS[two]"
  assert_equal "$outcome" 'listening on 127.0.0.1:PORT
server: bind 127.0.0.1:PORT: … (EADDRINUSE)'
}

# A port that was free a moment ago need not be free now.
# bats test_tags=kit,slow
@test "two servers start on one port at the same time: one serves, the other is refused" {
  start_server
  stop_server
  two_servers 0.15 FAULT_DELAY=socket:300000
  two_servers 0 FAULT_DELAY=socket:100000
  two_servers 0
  two_servers 0
}

# may_filter: an ordinary user, too, may have filters on most systems (socket(7), SO_ATTACH_FILTER).
may_filter() {
  python3 -c 'if True:
    import ctypes, socket, struct
    accept = ctypes.create_string_buffer(struct.pack("HBBI", 6, 0, 0, 0xffff))
    program = struct.pack("HL", 1, ctypes.addressof(accept))
    socket.socket().setsockopt(socket.SOL_SOCKET, 26, program)' 2>"$T/filter.err"
}

# A listening socket that is closed resets the connections that nobody has accepted: tcp(7).
# bats test_tags=kit
@test "clients that connect while the server starts are served, not reset" {
  local i command
  need python3
  may_filter || skip 'no socket filters for this user here'
  start_server
  stop_server
  eval "command=($SERVER)"
  start_tool early "${SHIM_ENV[@]}" FAULT_DELAY=close:500000 "${command[@]}" -p "$PORT" -w 2
  for i in {1..300}; do
    run "$PEER" -t 10 "$PORT" send:'hello\n' line
    [[ $output == *ECONNREFUSED* ]] && running "$TOOL_PID" || break
  done
  assert_output +hello
}

# bats test_tags=kit
@test "too few descriptors for all loops: the server says so and exits 1" {
  local limit
  # LeakSanitizer would need some of its own.
  export ASAN_OPTIONS=${ASAN_OPTIONS:+$ASAN_OPTIONS:}detect_leaks=0
  for limit in 10 40 100; do
    run -1 --separate-stderr timeout $((20 * PATIENCE)) \
      bash -c "ulimit -n $limit; $SERVER \"\$@\"" server -p 0 -w 64
    [[ $stderr == "server: "*" (EMFILE)" ]] || complain "with $limit it said: $stderr"
  done
}

@test "300 clients, however they leave: each gets its replies in order" {
  start_server
  run "$PEER" -t 10 -n 100 "$PORT" lines:100 lines-back:100 half-close eof
  ((status == 0)) || complain "$output"
  "$PEER" -n 100 "$PORT" lines:100 reset
  "$PEER" -n 100 "$PORT" lines:100 gone
  assert_serving
}

# Only one thread gets a signal.
# bats test_tags=kit
@test "-w 3: SIGTERM with 60 clients: each gets all its replies, and the exit status is 0" {
  start_server -w 3
  start_peer -n 60 "$PORT" lines:20 ready:"$T/here" lines-back:20 eof
  wait_for 5 test -e "$T/here"
  assert_serving
  stop_server
  finish_peer
}

# bats test_tags=kit
@test "-w with anything but a number from 1 to 64: usage, exit 2" {
  local bad
  for bad in 0 65 x ''; do
    run -2 --separate-stderr timeout $((20 * PATIENCE)) bash -c "$SERVER \"\$@\"" server -w "$bad"
    [[ $stderr == "server: -w \"$bad\": not a number from 1 to 64"*usage:* ]] ||
      complain "not the expected message: $stderr"
  done
}
