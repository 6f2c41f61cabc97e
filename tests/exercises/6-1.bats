# 6-1, the line service whose slow work is done by threads: "work 300" is answered after 300 ms.
# bats file_tags=6-1

CHAPTER=06-epoll
load ../helpers/common

# workers NAME N COUNT: COUNT clients in the background, each asks for work of N ms.
workers() {
  NAME=$1 start_peer -n "$3" "$PORT" send:"work $2\n" ready:"$T/$1.here" line
  wait_for 5 test -e "$T/$1.here"
}

# done_by NAME N: so many of them have their reply.
done_by() {
  (($(wc -l <"$T/$1.out") >= $2))
}

has_fds() {
  (($(fds "$SERVER_PID") <= $1))
}

# Four times: on a busy machine an early reply may come late, but not all of four.
@test "work 300 is answered after 300 ms, and not before" {
  local start work=(send:'work 300\n' line)
  start_server
  start=$(now_ms)
  receives '+work 300\n+work 300\n+work 300\n+work 300\n' "${work[@]}" "${work[@]}" "${work[@]}" \
    "${work[@]}"
  start=$(($(now_ms) - start))
  ((start >= 1200)) || complain "four replies came after $start ms"
}

@test "a line that only resembles a work request is a line like any other" {
  local nul
  start_server
  printf -v nul 'work 99\\0\\n%.0s' {1..50} # 5 s of work, if it were some
  receives "+${nul//0\\nw/0\\n+w}" send:"$nul" half-close within:2000:eof
  receives '+work\n+work \n+work 401\n+work 4x\n+work 0400\n+Work 400\n+work 0\n' \
    send:'work\nwork \nwork 401\nwork 4x\nwork 0400\nWork 400\nwork 0\n' half-close within:2000:eof
}

# 1.6 s of work for one thread: a loop that does the work itself serves nobody in that time.
# bats test_tags=kit
@test "while four jobs wait for one thread, other clients are answered, and the loop sleeps" {
  local ticks
  start_server -w 1
  workers four 400 4
  ticks=$(cpu_ticks "$SERVER_PID")
  receives '+hello\n' send:'hello\n' line
  not done_by four 4 || complain 'all of the work was done before a fresh line was answered'
  wait_for 5 done_by four 4
  ticks=$(($(cpu_ticks "$SERVER_PID") - ticks))
  ((ticks < 20)) || complain "the server has used $ticks ticks while it waited"
  NAME=four finish_peer
}

# bats test_tags=kit
@test "-w 4: eight jobs of 400 ms are done four at a time" {
  local start
  start_server -w 4
  start=$(now_ms)
  workers eight 400 8
  NAME=eight finish_peer
  start=$(($(now_ms) - start))
  ((start >= 800 && start < 2800)) || complain "it took $start ms, not 800 (one thread: 3200)"
}

@test "replies keep the order of the lines, and replies before a job do not wait for it" {
  start_server
  receives '+one\n+work 400\n+two\n+work 100\n+work 0\n+three\n' \
    send:'one\nwork 400\ntwo\nwork 100\nwork 0\nthree\n' line open:50 half-close eof
}

# Its descriptor may be another client's by then: close(2).
@test "clients that leave while their job is being done do no harm, and nothing of them is left" {
  local before
  start_server
  assert_serving
  before=$(fds "$SERVER_PID")
  "$PEER" -n 10 "$PORT" send:'work 300\n' reset
  "$PEER" -n 10 "$PORT" send:'work 100\nwork 100\nrest' close
  receives '+work 50\n' send:'work 50\n' line
  wait_for 5 has_fds "$before" || complain "$before descriptors before, now $(fds "$SERVER_PID")"
  assert_serving
}

# 40 s of work for one thread. A close would look like a half-close, after which replies are read.
# bats test_tags=kit
@test "100 clients ask for work, then reset: jobs that have not begun are dropped" {
  local before
  start_server -w 1
  assert_serving
  before=$(fds "$SERVER_PID")
  workers patient 100 1
  "$PEER" -n 100 "$PORT" send:'work 400\n' sleep:100 reset
  receives '+work 0\n' send:'work 0\n' within:2500:line ||
    complain 'the work of those who had left was in the way'
  NAME=patient finish_peer
  wait_for 1 has_fds "$before" || complain "$before descriptors before, now $(fds "$SERVER_PID")"
  "$PEER" -n 100 "$PORT" send:'work 400\n' reset
  stop_server
}

# bats test_tags=kit,slow
@test "a client that waits for its job is not idle; one that is idle after it is told so" {
  start_server -i 1 -w 1
  workers five 400 5
  NAME=five finish_peer
  receives '+work 1\n-idle for too long\n' send:'work 1\n' line line eof
}

# Threads and loop meet as often as they can: for ThreadSanitizer.
@test "50 clients, each with 40 jobs of 0 ms and 40 lines: all replies are there" {
  start_server
  printf 'work 0\nhello\n%.0s' {1..40} >"$T/sent"
  "$PEER" -n 50 "$PORT" file:"$T/sent" half-close eof >"$T/received"
  assert_equal "$(sort "$T/received" | uniq -c | xargs)" '2000 +hello 2000 +work 0'
}

# bats test_tags=kit,slow
@test "SIGTERM: running jobs are answered; 100 waiting jobs delay the exit by 2 s at most" {
  start_server -w 2
  start_peer -n 2 "$PORT" send:'one\nwork 400\n' line ready:"$T/here" line eof
  wait_for 5 test -e "$T/here"
  stop_server
  finish_peer
  assert_equal "$(sort "$T/peer.out" | xargs)" '+one +one +work 400 +work 400'
  NAME=second start_server -w 2
  workers hundred 400 100
  NAME=second stop_server
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
