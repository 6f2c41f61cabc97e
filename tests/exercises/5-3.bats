# 5-3, a number of descriptors that no fd_set can hold.
# bats file_tags=5-3

CHAPTER=05-select
load ../helpers/common

FD_SETSIZE=1024 # select(2)
SPARE=16        # of these, for clients that get a refusal

# lines_of NAME LINE: how many such lines that peer has received.
lines_of() {
  grep -cx -- "$2" "$T/$1.out" || true
}

# answered_or_dead NAME: all clients of that peer have an answer, or nobody will give one.
answered_or_dead() {
  [[ -e $T/$1.here ]] || not running "$SERVER_PID"
}

# select(2), BUGS: FD_SET of a descriptor that does not fit writes beyond the set. The server
# inherits nearly as many open files as fit, so that 60 clients reach the limit. Refused
# clients linger.
# bats test_tags=kit
@test "more descriptors than an fd_set holds: clients that fit are served, the others are told" {
  need_descriptors $((FD_SETSIZE + 1))
  local opened fit
  opened=$(printf 'exec %d</dev/null; ' {10..980})
  SERVER="bash -c '$opened exec \"\$@\"' bash $SERVER"
  start_server
  fit=$((FD_SETSIZE - SPARE - $(fds "$SERVER_PID")))
  start_peer -n 60 "$PORT" send:'hello\n' line ready:"$T/peer.here" silent
  wait_for 20 answered_or_dead peer
  assert_alive
  assert_equal "$(lines_of peer +hello), $(lines_of peer '-too many clients')" \
    "$fit, $((60 - fit))"
}
