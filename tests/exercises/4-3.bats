# 4-3, every worker that is free takes somebody, also when many come at once.
# bats file_tags=4-3

CHAPTER=04-threadpool
load ../helpers/common

# The server sleeps (SIGSTOP) while they come, so that they all are there when it goes on.
@test "eight clients at once for eight workers: each is answered before any of them leaves" {
  local round
  start_server -w 8
  for round in {1..10}; do
    kill -STOP "$SERVER_PID"
    start_peer -n 8 "$PORT" send:'hello\n' ready:"$T/sent$round" \
      line ready:"$T/told$round" until:"$T/go$round"
    wait_for 3 test -e "$T/sent$round"
    kill -CONT "$SERVER_PID"
    wait_for_work 2 "$SERVER_PID $PEER_PID" test -e "$T/told$round" ||
      complain "burst $round: not all of the 8 were answered"
    touch "$T/go$round"
    finish_peer
  done
}
