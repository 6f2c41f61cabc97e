# 1-0, a warm-up on step 2-echo of the chapter: its program has the step's fixed port, which
# the fault shim moves.
# bats file_tags=1-0

# shellcheck disable=SC2034 # for steps/common
CHAPTER=01-basic-tcp
load ../helpers/common
load ../steps/common
STEP=2-echo
PROGRAM=${PROGRAMS:+$PROGRAMS/server}
PROGRAM=${PROGRAM:-$ROOT/$CHAPTER/steps/$STEP}

# send(2), recv(2): 0 from recv is the end of file, after which the server closes.
@test "what the client sends comes back" {
  start_step
  receives 'hello\n' send:'hello\n' half-close eof
}

@test "bytes of any kind come back, in the order in which they were sent" {
  start_step
  receives 'a\0b\n\xffc' send:'a\0b\n' send:'\xffc' half-close eof
}
