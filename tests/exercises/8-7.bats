# 8-7, seven bytes that stop the service.
# bats file_tags=8-7

CHAPTER=08-tls
load ../helpers/common

# RFC 8446, 5.1: the beginning of a record of 250 bytes, of which the rest does not come. A server
# that waits gives each such client 5 s: together, that is longer than the other client waits.
@test "while one client is in the middle of its ClientHello, another one is served" {
  start_server
  PEER_TLS='' start_peer -n "$PATIENCE" "$PORT" \
    send:'\x16\x03\x01\x00\xfa\x01\x00' ready:"$T/here" silent
  wait_for 5 test -e "$T/here"
  assert_serving -t 4
}
