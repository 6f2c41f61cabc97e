# 5-8, a signal that comes just before the server waits ends the wait, without an alarm.
# bats file_tags=5-8

CHAPTER=05-select
load ../helpers/common

NO_ALARM=alarm:EINVAL:1 # none that the server sets will wake it

# ends_itself: the server ends, with exit status 0, by the signal that it has already had.
ends_itself() {
  wait_for 3 not running "${SERVERS[${NAME:-server}]}" 2>/dev/null ||
    complain "the signal came just before select, and ${NAME:-the server} still waits" || return
  stop_server 0 0
}

# happened CALL FIELD: how often, by the report that the fault shim writes when the server ends.
happened() {
  sed -n "s/^$1 .*\b$2=\([0-9]*\).*/\1/p" "$T/report" | awk '{ sum += $1 } END { print sum + 0 }'
}

# pselect(2): the mask is changed and the wait begins in one step.
@test "SIGTERM just before the server waits: it ends at once, though no alarm wakes it" {
  FAULT_ENV="FAULT_SIGNAL=select:SIGTERM:@1 FAULT_FAIL=$NO_ALARM" start_server
  ends_itself
}

@test "SIGINT and SIGHUP just before it waits: likewise" {
  FAULT_ENV="FAULT_SIGNAL=select:SIGINT:@1 FAULT_FAIL=$NO_ALARM" NAME=interrupted start_server
  FAULT_ENV="FAULT_SIGNAL=select:SIGHUP:@1 FAULT_FAIL=$NO_ALARM" NAME=hung-up start_server
  NAME=interrupted ends_itself
  NAME=hung-up ends_itself
}

# The first select returns when the client is there, the second one would wait for its line.
@test "SIGTERM just before it waits for a client: end of file for the client, then it ends" {
  FAULT_ENV="FAULT_SIGNAL=select:SIGTERM:@2 FAULT_FAIL=$NO_ALARM" start_server
  run "$PEER" -t 3 "$PORT" eof
  ((status == 0)) || complain "the client waits in vain: $output"
  ends_itself
}

# select(2): both calls return at once if a descriptor is ready. Here accept fails each time, so the
# listening socket always is. Linux delivers no signal then.
@test "SIGTERM while something is always ready: it ends, though it never has to wait" {
  FAULT_ENV="FAULT_FAIL=accept:EAGAIN:1,$NO_ALARM" start_server
  start_peer "$PORT" silent
  wait_for 3 busy
  kill -TERM "$SERVER_PID"
  wait_for 3 not running "$SERVER_PID" || complain 'it never notices the signal'
  stop_server 0 0
}

# busy: the server has taken 50 ms of processor time.
busy() {
  (($(cpu_us "$SERVER_PID") >= 50000))
}

# A wait of a few milliseconds, again and again, would find the signal, too.
@test "an idle server does not wake up to look whether a signal has come" {
  FAULT_ENV="FAULT_AFTER=listen FAULT_REPORT=$T/report" start_server
  moment 1
  stop_server
  local calls=$(($(happened select calls) + $(happened poll calls) + $(happened epoll_wait calls)))
  ((calls < 6)) || complain "it has called select $calls times in a second in which nothing came"
}

# law 6 of docs/design.md; write(2), EINTR. Root may open every terminal, unless it gives up that
# right.
# bats test_tags=slow
@test "the log is a terminal that nobody reads and that cannot be opened anew: it obeys SIGTERM" {
  local command server=$SERVER
  need python3
  ((EUID != 0)) || need setpriv
  ((EUID != 0)) || server="setpriv --inh-caps -all --bounding-set -all $SERVER"
  eval "command=($server)"
  run timeout $((30 * PATIENCE)) python3 "$ROOT/tests/helpers/stuck-log.py" "${command[@]}"
  ((status == 0)) || complain "$output"
}
