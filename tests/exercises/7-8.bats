# 7-8, the name that nobody has any more.
# bats file_tags=7-8

CHAPTER=07-chat
load ../helpers/common

# AddressSanitizer ends the server at the first access to memory that was freed (gcc(1)); the end of
# each test shows its report.

# bats test_tags=kit
@test "who does not read is cut off by a private message: the server and its sender go on" {
  start_server -r 0
  start_peer -b 4096 "$PORT" send:'mute\n' line ready:"$T/here" silent
  wait_for 5 test -e "$T/here"
  { echo ann && printf '/msg mute %01980d\n' {1..400} && echo /who; } >"$T/said"
  "$PEER" "$PORT" file:"$T/said" half-close eof >"$T/heard" || true # no more if the server dies
  grep -qxF '* mute left (too slow)' "$T/heard"
  assert_equal "$(tail -n 1 "$T/heard")" '+here: ann'
}

# Everyone is told of a new name, he too: so that may be what cuts him off.
# bats test_tags=kit
@test "who does not read is cut off by the notice of his own new name: the server goes on" {
  start_server -r 0 -v
  { echo bob && yes "/nick $(printf '%032d' 1)" | head -n 400000; } >"$T/names"
  run -1 "$PEER" -b 4096 "$PORT" file:"$T/names" # more than the kernel takes for him: he is reset
  grep 'too slow' "$T/server.err"
}
