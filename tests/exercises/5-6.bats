# 5-6, a crash that nobody can repeat.
# bats file_tags=5-6

CHAPTER=05-select
load ../helpers/common

# send(2), EPIPE and ECONNRESET. The shim says first that there is no room, so that the reply has to
# wait, and then that the client has gone.
@test "a client that leaves while its reply is pending ends only its own connection" {
  FAULT_ENV='FAULT_FAIL=send:EAGAIN:@1,send:ECONNRESET:@2' start_server
  "$PEER" "$PORT" send:'hello\n' closed:2000 >"$T/closed_after" || true
  assert_serving || complain "$(sed -n '/ERROR/,/^previously/p' "$T/server.err")"
}
