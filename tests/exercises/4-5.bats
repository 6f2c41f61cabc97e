# 4-5, what a worker works on is its own.
# bats file_tags=4-5

CHAPTER=04-threadpool
load ../helpers/common

# The delay lies between an answer and its way out, as when a thread has to wait for a processor.
@test "two clients at once: each gets its own lines back" {
  FAULT_ENV='FAULT_DELAY=send:2000' start_server -w 2
  NAME=other start_peer -r 50 "$PORT" send:'nobody but bob\n' line close
  run "$PEER" -r 50 "$PORT" send:'only for alice\n' line close
  NAME=other finish_peer
  assert_equal "$(sort -u <<<"$output")" '+only for alice'
  assert_equal "$(sort -u "$T/other.out")" '+nobody but bob'
}
