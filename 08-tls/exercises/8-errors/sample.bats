CHAPTER=08-tls
load ../../tests/helpers/common

# SSL_get_error(3) looks at the thread's queue of errors, where another connection may have left
# some. The line is one record that arrives in six pieces: after the first one, SSL_read has to
# wait, and the server asks why. How the server ends the other connection does not matter here.
@test "a client that speaks no TLS ends its own connection, and no other" {
  start_server
  start_tool honest "${SHIM_ENV[@]}" FAULT_SHORT=1000 FAULT_DELAY=send:50000 "$PEER" "$PORT" \
    send:'one\n' line ready:"$T/here" until:"$T/go" lines:1:5000 lines-back:1:5000 print:'well\n'
  wait_for 5 test -e "$T/here"
  PEER_TLS='' "$PEER" -t 5 "$PORT" send:'GET / HTTP/1.0\r\n\r\n' eof >"$T/junk" || true
  touch "$T/go"
  wait "$TOOL_PID" || true # what it has received says more
  unset 'TOOLS[honest]'
  printf '+one\nwell\n' >"$T/expected"
  same_bytes "$T/expected" "$T/honest.out" || last_words honest
}
