# 6-6, the crash in one of a million closes.
# bats file_tags=6-6

CHAPTER=06-epoll
load ../helpers/common

# epoll(7), "If using an event cache". The clients do not read, so their connections are
# closed at once when their idle time expires. The server is stopped (SIGSTOP) until then, and until
# they have reset: one batch has the event of the timer first, and then theirs.
# bats test_tags=kit
@test "10 clients reset at the moment their idle time expires: the server keeps serving" {
  start_server -i 2
  start_peer -n 10 -b 4096 "$PORT" flood:1 ready:"$T/here" until:"$T/go" reset
  wait_for 5 test -e "$T/here"
  kill -STOP "$SERVER_PID"
  sleep 1.5
  touch "$T/go"
  finish_peer
  kill -CONT "$SERVER_PID"
  assert_serving -t 5 || complain "$(grep -h 'ERROR: AddressSanitizer' "$T/server.err")"
}
