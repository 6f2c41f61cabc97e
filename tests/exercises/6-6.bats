# 6-6, the crash of one in a million closes.
# bats file_tags=6-6

CHAPTER=06-epoll
load ../helpers/common

# epoll(7), "If using an event cache". The clients do not read, so that the end of their time ends
# the connections at once. The server sleeps (SIGSTOP) until their time is over and they have gone
# too: its timer came first, and one batch has both.
# bats test_tags=kit
@test "10 clients are reset in the moment in which their time is over: the server goes on" {
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
