# 2-0, a warm-up on step 2-echo of the chapter: its program has the step's fixed port, which
# the fault shim moves.
# bats file_tags=2-0

# shellcheck disable=SC2034 # for steps/common
CHAPTER=02-udp
load ../helpers/common
load ../steps/common
STEP=2-echo
PROGRAM=${PROGRAMS:+$PROGRAMS/server}
PROGRAM=${PROGRAM:-$ROOT/$CHAPTER/steps/$STEP-server}

# answers MESSAGE: with the same bytes, in one datagram.
answers() {
  printf %b "$1" >"$T/expected"
  peer -u send:"$1" recv >"$T/received"
  same_bytes "$T/expected" "$T/received"
}

# udp(7): each sendto is one datagram.
@test "the reply is as long as the message" {
  start_step
  answers hello
}

@test "short, long and binary messages come back whole" {
  start_step
  answers a
  answers 'a\0\n\xff and more'
}
