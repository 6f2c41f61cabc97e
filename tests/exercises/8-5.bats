# 8-5, the log that went quiet.
# bats file_tags=8-5

CHAPTER=08-tls
load ../helpers/common

# logged N: the log has that many lines.
logged() {
  (($(wc -l <"$T/server.err") == $1))
}

# RFC 8446, 6.1. The peer's verb `cut` is a FIN without close_notify.
# bats test_tags=kit
@test "the server logs an end without close_notify as truncated" {
  start_server -v
  "$PEER" "$PORT" send:'hello\n' line half-close eof >"$T/polite"
  wait_for 4 logged 2 # one when it came, one when it went
  "$PEER" "$PORT" send:'hello\nhalf' line cut >"$T/cut"
  wait_for 4 logged 4
  [[ $(sed -n '2s/.* //p; 4s/.*\(truncated\).*/\1/p' "$T/server.err") == $'closed\ntruncated' ]] ||
    last_words server
}

# bats test_tags=kit
@test "client: reports an end without close_notify as truncated, and exits 1" {
  cat "$ROOT"/08-tls/certs/server.{pem,key} >"$T/identity"
  PEER_TLS=$T/identity start_fake -- line send:'+hello\n' line send:'+wo' cut drain
  run -1 --separate-stderr client hello world
  assert_output +hello
  [[ $stderr =~ ^client:\ .*truncated ]] || complain "$stderr"
}
