# 5-4, a server that never rests.
# bats file_tags=5-4

CHAPTER=05-select
load ../helpers/common

# happened CALL FIELD: how often, by the report that the fault shim writes when the server ends.
happened() {
  sed -n "s/^$1 .*\b$2=\([0-9]*\).*/\1/p" "$T/report"
}

# select(2): a socket with room in its send buffer is writable, so nearly all are. The shim says
# once that there is no room. The test counts calls of select: a busy machine does not change them.
@test "a client whose replies once had to wait, and that is silent now, wakes no one" {
  FAULT_ENV="FAULT_REPORT=$T/report FAULT_FAIL=send:EAGAIN:@1" start_server
  start_peer "$PORT" lines:100 lines-back:100 ready:"$T/here" silent
  wait_for 5 test -e "$T/here"
  sleep 0.3
  stop_server
  (($(happened send failed) == 1))
  (($(happened select calls) < 500)) ||
    complain "select has returned $(happened select calls) times for a client that sent 100 lines"
}
