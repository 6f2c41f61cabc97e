CHAPTER=04-threadpool
load ../../tests/helpers/common

# recv(2): bytes after the last newline are half a line, and end with their connection.
@test "what a client has left unfinished is not the beginning of the next one's line" {
  start_server
  "$PEER" -r 40 "$PORT" send:'half a line' close
  for _ in {1..10}; do
    receives '+hello\n' send:'hello\n' half-close eof
  done
}
