# 4-6, a full queue keeps clients waiting, and loses none of them.
# bats file_tags=4-6

CHAPTER=04-threadpool
load ../helpers/common

has_fds() {
  (($(fds "$SERVER_PID") == $1))
}

has_more_fds() {
  (($(fds "$SERVER_PID") > $1))
}

# Few descriptors, as after a day: getrlimit(2).
@test "clients that met a full queue are answered in the end, and no descriptor stays open" {
  local before
  LIMIT_FDS=10 start_server -w 1 -q 1
  before=$(fds "$SERVER_PID")
  NAME=silent start_peer "$PORT" ready:"$T/here" until:"$T/go"
  wait_for 3 test -e "$T/here"
  start_peer -n 5 "$PORT" send:'hello\n' half-close ready:"$T/sent" eof
  wait_for 3 test -e "$T/sent"
  # One client is with the worker, one in the queue, and the acceptor may hold a third.
  ! wait_for 1 has_more_fds $((before + 3)) 2>/dev/null ||
    complain "$(($(fds "$SERVER_PID") - before)) clients were accepted while the queue was full"
  touch "$T/go"
  wait_for 2 has_fds "$before" ||
    complain "$before descriptors before, $(fds "$SERVER_PID") long after the last answer"
  finish_peer
  assert_equal "$(grep -cx +hello "$T/peer.out")" 5
}
