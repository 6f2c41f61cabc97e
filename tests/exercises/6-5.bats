# 6-5, the listener that answers sixty-four.
# bats file_tags=6-5

CHAPTER=06-epoll
load ../helpers/common

answered() {
  (($(grep -cx +hello "$T/peer.out") == $1))
}

# epoll(7), "Level-triggered and edge-triggered". The server is stopped (SIGSTOP) while they
# connect, so that it finds them all together.
@test "100 clients that connect at the same moment are all answered, even if none follows" {
  start_server
  kill -STOP "$SERVER_PID"
  start_peer -n 100 "$PORT" send:'hello\n' ready:"$T/here" line
  wait_for 5 test -e "$T/here"
  kill -CONT "$SERVER_PID"
  wait_for_work 3 "$SERVER_PID $PEER_PID" answered 100 ||
    complain "of 100 clients that came together, so many are answered: $(wc -l <"$T/peer.out")"
}
