CHAPTER=06-epoll
load ../../tests/helpers/common

# shutdown(2), SHUT_WR: a client that sends no more may still read. The server is stopped (SIGSTOP)
# while the line and the end arrive, so that it finds both together.
@test "a line that arrives together with the end of file is answered" {
  start_server
  kill -STOP "$SERVER_PID"
  start_peer "$PORT" send:'one\ntwo\n' half-close ready:"$T/sent" eof
  wait_for 5 test -e "$T/sent"
  kill -CONT "$SERVER_PID"
  wait "$PEER_PID" || true # if it was reset, the missing replies show it
  unset 'TOOLS[peer]'
  printf '+one\n+two\n' >"$T/expected"
  same_bytes "$T/expected" "$T/peer.out"
}
