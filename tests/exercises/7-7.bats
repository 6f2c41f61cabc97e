# 7-7, the escape sequence inside a character.
# bats file_tags=7-7

CHAPTER=07-chat
load ../helpers/common

# RFC 3629, 4: each byte of a character but the first is 80 to BF, so ESC belongs to none. Unicode,
# 3.9: the beginning of an incomplete character is one U+FFFD, and so is each control character.
@test "an escape sequence inside an incomplete character does not reach a terminal" {
  local text
  start_server
  start_peer "$PORT" send:'bob\n' line ready:"$T/here" eof
  wait_for 5 test -e "$T/here"
  printf '* ann joined\n' >"$T/expected"
  for text in 'F[2JF[2J' 'FF[2J' 'FF[2J' 'FF]0;titleF.' 'FFann'; do
    echo "ann: ${text//F/$'\xef\xbf\xbd'}"
  done >>"$T/expected"
  printf '* ann left\n* server is closing\n' >>"$T/expected"
  "$PEER" "$PORT" send:'ann\n\x1b[2J\xe2[2J\n\xe2\x82\x1b[2J\n\xf0\x9f\x1b[2J\n' \
    send:'\xf0\x9f\x98\x1b]0;title\x07.\n\xf0\x9f\x98\rann\n' half-close eof
  stop_server
  finish_peer
  sed 1d "$T/peer.out" >"$T/heard"
  same_bytes "$T/expected" "$T/heard"
}

@test "a name with an escape character inside an incomplete character is refused" {
  start_server
  "$PEER" "$PORT" send:'ann\xe2\x82\x1b\n' line half-close eof >"$T/heard"
  grep '^-name' "$T/heard"
}
