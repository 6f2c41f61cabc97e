# 7-6, the guest who never listens.
# bats file_tags=7-6

CHAPTER=07-chat
load ../helpers/common

# 800 kB for a member that does not read: more than the kernel holds for it (tcp(7),
# TCP_NOTSENT_LOWAT), and more than the room queues. It does not matter when exactly it is dropped.
# bats test_tags=kit
@test "a member that does not read its private messages is dropped, and their sender is told" {
  start_server -r 0
  start_peer -b 4096 "$PORT" send:'mute\n' line ready:"$T/here" silent
  wait_for 5 test -e "$T/here"
  { echo ann && printf '/msg mute %01980d\n' {1..400} && echo /who; } >"$T/said"
  NAME=ann start_peer "$PORT" file:"$T/said" half-close eof
  NAME=ann finish_peer
  printf '%s\n' '+welcome ann, here: mute, ann' '+sent to mute' '* mute left (too slow)' \
    '-no mute here' '+here: ann' >"$T/expected"
  uniq "$T/ann.out" >"$T/heard"
  same_bytes "$T/expected" "$T/heard"
}
