# 5-4, a server that never rests.
# bats file_tags=5-4

CHAPTER=05-select
load ../helpers/common

# happened CALL FIELD: how often, by the report that the fault shim writes when the server ends.
happened() {
  sed -n "s/^$1 .*\b$2=\([0-9]*\).*/\1/p" "$T/report"
}

# select(2): writable is who has room in his send buffer, so nearly everybody. The shim says once
# that there is none. What select may cost is measured in calls: a busy machine has no say in it.
@test "a client whose replies had to wait once, and who is silent now, wakes nobody" {
  FAULT_ENV="FAULT_REPORT=$T/report FAULT_FAIL=send:EAGAIN:@1" start_server
  start_peer "$PORT" lines:100 lines-back:100 ready:"$T/here" silent
  wait_for 5 test -e "$T/here"
  sleep 0.3
  stop_server
  (($(happened send failed) == 1))
  (($(happened select calls) < 500)) ||
    complain "select has returned $(happened select calls) times for a client that sent 100 lines"
}
