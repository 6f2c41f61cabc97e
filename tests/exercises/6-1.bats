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

@test "work 300 is answered after 300 ms, and not before" {
  local start
  start_server
  start=$(now_ms)
  receives '+work 300\n' send:'work 300\n' line
  start=$(($(now_ms) - start))
  ((start >= 300)) || complain "the reply came after $start ms"
}

@test "what only looks like work is a line like any other" {
  start_server
  receives '+work\n+work \n+work 401\n+work 4x\n+work 0400\n+Work 400\n+work 0\n' \
    send:'work\nwork \nwork 401\nwork 4x\nwork 0400\nWork 400\nwork 0\n' half-close within:2000:eof
}

# 1.6 s of work for one thread: a loop that does the work itself serves nobody in that time.
# bats test_tags=kit
@test "while four pieces of work wait for one thread, others are answered, and the loop sleeps" {
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
@test "-w 4: eight pieces of 400 ms are done four at a time" {
  local start
  start_server -w 4
  start=$(now_ms)
  workers eight 400 8
  NAME=eight finish_peer
  start=$(($(now_ms) - start))
  ((start >= 800 && start < 2800)) || complain "it took $start ms, not 800 (one thread: 3200)"
}

@test "replies keep the order of the lines, and those before the work do not wait for it" {
  start_server
  receives '+one\n+work 400\n+two\n+work 100\n+work 0\n+three\n' \
    send:'one\nwork 400\ntwo\nwork 100\nwork 0\nthree\n' line open:50 half-close eof
}

# Its descriptor may be another client's by then: close(2).
@test "clients that leave while their work is being done do no harm, and nothing is left of them" {
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

# bats test_tags=kit
@test "who waits for work is not idle; who is idle after it is told" {
  start_server -i 1 -w 1
  workers five 400 5
  NAME=five finish_peer
  receives '+work 1\n-idle for too long\n' send:'work 1\n' line line eof
}

# Threads and loop meet as often as they can: for ThreadSanitizer.
@test "50 clients, each with 40 pieces of no work and 40 lines: all in order" {
  start_server
  printf 'work 0\nhello\n%.0s' {1..40} >"$T/sent"
  "$PEER" -n 50 "$PORT" file:"$T/sent" half-close eof >"$T/received"
  assert_equal "$(sort "$T/received" | uniq -c | xargs)" '2000 +hello 2000 +work 0'
}

# bats test_tags=kit
@test "SIGTERM: what is being done is answered; 100 that wait keep nobody longer than 2 s" {
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
@test "-w with something that is no number from 1 to 64: usage, exit 2" {
  local bad
  for bad in 0 65 x ''; do
    run -2 --separate-stderr timeout 5 bash -c "$SERVER \"\$@\"" server -w "$bad"
    [[ $stderr == "server: -w \"$bad\": not a number from 1 to 64"*usage:* ]] ||
      complain "not what was to be said: $stderr"
  done
}
