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

# The kernel deals them out by a hash of addresses and ports: that 64 would leave out one of four is
# as likely as 1 to 30,000,000.
# bats test_tags=kit
@test "-w 4: all four loops work when 64 clients do" {
  start_server -w 4
  run "$PEER" -t 10 -n 64 -r 5 "$PORT" lines:1000 lines-back:1000 half-close eof
  ((status == 0)) || complain "$output"
  (($(busy_threads) >= 4)) || complain "so many threads have worked: $(busy_threads)"
}

# bind(2), EADDRINUSE: or the clients of one would now and then land at the other.
# bats test_tags=kit
@test "a second server on the port is refused, though the first one shares it with itself" {
  start_server -w 2
  run -1 --separate-stderr timeout 5 bash -c "$SERVER \"\$@\"" server -p "$PORT" -w 2
  [[ $stderr == "server: bind 127.0.0.1:$PORT: "*" (EADDRINUSE)" ]] || complain "it said: $stderr"
  assert_serving
}

@test "300 clients: each gets its replies in order, and they may leave in any way" {
  start_server
  run "$PEER" -t 10 -n 100 "$PORT" lines:100 lines-back:100 half-close eof
  ((status == 0)) || complain "$output"
  "$PEER" -n 100 "$PORT" lines:100 reset
  "$PEER" -n 100 "$PORT" lines:100 gone
  assert_serving
}

# Of a signal only one thread is told.
# bats test_tags=kit
@test "-w 3: SIGTERM with 60 clients: each has the reply to all it has sent, and exit status 0" {
  start_server -w 3
  start_peer -n 60 "$PORT" lines:20 ready:"$T/here" lines-back:20 eof
  wait_for 5 test -e "$T/here"
  assert_serving
  stop_server
  finish_peer
}

# bats test_tags=kit
@test "-w with something that is no number from 1 to 64: usage, exit 2" {
  local bad
  for bad in 0 65 x ''; do
    run -2 --separate-stderr timeout 5 bash -c "$SERVER \"\$@\"" server -w "$bad"
    [[ $stderr == "server: -w \"$bad\": not a number from 1 to 64"*usage:* ]] ||
      complain "not what was to be said: $stderr"
  done
}
