# 3-1, the line service with a process for each client: -c CLIENTS of them at most.
# bats file_tags=3-1

CHAPTER=03-long-conn
load ../helpers/common

# hold NAME [VERB…]: a client in the background that has got an answer, and keeps its connection
# until the file $T/go exists.
hold() {
  local name=$1
  shift
  NAME=$name start_peer "$PORT" send:"$name\n" line ready:"$T/$name.here" until:"$T/go" "$@"
  wait_for 3 test -e "$T/$name.here" || complain "$name got no answer within 3 s"
}

# let_go NAME…: they go on, and have to come to a good end.
let_go() {
  local NAME
  touch "$T/go"
  for NAME; do finish_peer; done
}

# Prints its child processes, including zombies.
children() {
  pgrep -P "$SERVER_PID" || true
}

has_children() {
  (($(children | wc -l) == $1))
}

# fork(2)
@test "a second client is answered while the first one is silent" {
  start_server
  hold first
  receives '+hello\n' send:'hello\n' half-close eof
  let_go first
}

# fork(2): the parent's copy of the descriptor is one more, and the connection ends with the last.
# bats test_tags=slow
@test "a connection ends when its process closes it: the parent keeps no descriptor of it" {
  local before
  start_server
  receives '+one\n' send:'one\n' half-close within:2000:eof
  before=$(fds "$SERVER_PID")
  hold first
  hold second
  (($(fds "$SERVER_PID") == before)) ||
    complain "$before descriptors before, $(fds "$SERVER_PID") with two clients"
  let_go first second
}

@test "20 clients at once: each gets its 1,000 replies" {
  start_server
  run "$PEER" -t 6 -n 20 "$PORT" lines:1000 lines-back:1000 half-close eof
  ((status == 0)) || complain "$output"
}

# bats test_tags=slow
@test "when a child process is killed, its own client is disconnected and no other" {
  need pgrep
  local victim
  start_server
  hold victim closed:2000
  victim=$(children)
  [[ $victim ]] || complain 'the server has no child process for its client'
  hold other send:'still here\n' line
  kill -KILL "$victim"
  assert_serving
  let_go victim other
  assert_equal "$(<"$T/other.out")" $'+other\n+still here'
}

# wait(2), NOTES: a child that has ended and is not waited for stays as a zombie.
@test "after 100 clients no process is left, not even a zombie, even if no client follows" {
  need pgrep
  start_server
  hold last
  has_children 1 || complain "not one child for one client: $(children)"
  "$PEER" -r 50 "$PORT" send:'hello\n' line close
  "$PEER" -r 50 "$PORT" send:'half a line' reset
  let_go last
  wait_for 3 has_children 0 || complain "left: $(ps -o pid,stat,args --ppid "$SERVER_PID")"
}

# bats test_tags=slow
@test "-c 2: a third client waits, at no cost, and is served when one of the two has gone" {
  need pgrep
  local ticks
  start_server -c 2
  hold first
  hold second
  NAME=third start_peer "$PORT" send:'third\n' line
  ticks=$(cpu_ticks "$SERVER_PID")
  sleep 0.5
  [[ ! -s $T/third.out ]] || complain 'a third one is served'
  has_children 2 || complain "not two children: $(children)"
  ticks=$(($(cpu_ticks "$SERVER_PID") - ticks))
  ((ticks < 10)) || complain "the server has used $ticks of 50 ticks for waiting"
  let_go first second third
  assert_equal "$(<"$T/third.out")" +third
}

# signal(7): the end of a process interrupts those calls of its parent that wait.
@test "EINTR in every call that waits: all clients are served, and nothing is left" {
  need pgrep
  FAULT_ENV='FAULT_FAIL=accept:EINTR:2,poll:EINTR:2,select:EINTR:2,recv:EINTR:2,send:EINTR:2' \
    start_server -c 3
  run "$PEER" -t 5 -n 3 -r 5 "$PORT" lines:100 lines-back:100 half-close eof
  ((status == 0)) || complain "$output"
  wait_for 3 has_children 0
}

# accept(2): ENFILE, EMFILE and ENOMEM pass quickly.
@test "accept fails: connected clients are still served, and the next one a little later" {
  FAULT_ENV='FAULT_FAIL=accept:EMFILE:@2,accept:ENOMEM:@3,accept:ECONNABORTED:@4' start_server -c 3
  hold first send:'again\n' line
  receives '+hello\n' send:'hello\n' line
  let_go first
  assert_equal "$(<"$T/first.out")" $'+first\n+again'
}

# kill(2) signals one process, which has to tell the others.
# bats test_tags=kit
@test "SIGTERM with three clients: all processes end within 2 s, with exit status 0" {
  start_server
  hold first eof
  hold second eof
  hold third send:'half a line' eof
  stop_server
  let_go first second third
}

# signal(7): a stopped process takes SIGTERM only after SIGCONT. stop_server waits 3 s.
# bats test_tags=kit
@test "SIGTERM while one process is stopped: all end within 2 s, with exit status 0" {
  need pgrep
  start_server
  hold first closed:2500
  kill -STOP "$(children)"
  hold second closed:2500
  stop_server
  let_go first second
}

# prctl(2), PR_SET_PDEATHSIG. A process that stays would go on serving with the old program.
# bats test_tags=kit,slow
@test "kill -9 of the parent ends all processes and frees the port" {
  start_server
  hold first closed:2000
  hold second closed:2000
  stop_server 137 KILL
  let_go first second
  start_server -p "$PORT"
  assert_serving
}

# bats test_tags=kit
@test "-c with anything but a number from 1 to 1000: usage, exit 2" {
  local bad
  for bad in 0 1001 x ''; do
    run -2 --separate-stderr timeout $((20 * PATIENCE)) bash -c "$SERVER \"\$@\"" server -c "$bad"
    [[ $stderr == "server: -c \"$bad\": not a number from 1 to 1000"*usage:* ]] ||
      complain "not the expected message: $stderr"
  done
}
