# 3-0, a warm-up on step 2-lines of the chapter: its program has the step's fixed port, which
# the fault shim moves.
# bats file_tags=3-0

# shellcheck disable=SC2034 # for steps/common
CHAPTER=03-long-conn
load ../helpers/common
load ../steps/common
STEP=2-lines
PROGRAM=${PROGRAMS:+$PROGRAMS/server}
PROGRAM=${PROGRAM:-$ROOT/$CHAPTER/steps/$STEP-server}

# tcp(7): a stream has no messages. The line service: "+" and the line.
@test "each line is answered with + and the line" {
  start_step
  receives '+hello\n' send:'hello\n' half-close eof
}

@test "two lines in one segment, and a line in pieces, are answered in order" {
  start_step
  receives '+one\n+two\n+a word\n' send:'one\ntwo\na w' sleep:50 send:'ord\n' half-close eof
}
