# 7-8, the name that nobody has any more.
# bats file_tags=7-8

CHAPTER=07-chat
load ../helpers/common

# AddressSanitizer ends the server at the first access to memory that was freed (gcc(1)); the end of
# each test shows its report.

# bats test_tags=kit
@test "a private message drops a member that does not read: the server and its sender go on" {
  start_server -r 0
  start_peer -b 4096 "$PORT" send:'mute\n' line ready:"$T/here" silent
  wait_for 5 test -e "$T/here"
  { echo ann && printf '/msg mute %01980d\n' {1..400} && echo /who; } >"$T/said"
  "$PEER" "$PORT" file:"$T/said" half-close eof >"$T/heard" || true # no more if the server dies
  grep -qxF '* mute left (too slow)' "$T/heard"
  assert_equal "$(tail -n 1 "$T/heard")" '+here: ann'
}
