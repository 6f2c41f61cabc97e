# 8-1, the chat room over TLS: members have names or certificates, and each end is marked.
# bats file_tags=8-1
#
# Members are openssl s_client, and bash talks to them: `join ann bob`, `says ann hello`,
# `hears bob 'ann: hello'`. A member that hears a line has heard no other before.

CHAPTER=08-tls
load ../helpers/common

CERTS=$ROOT/08-tls/certs
declare -gA SAYS=() HEARS=() # descriptors of each member

# visits NAME COMMAND…: a member, played by that command.
visits() {
  local name=$1 says hears
  mkfifo "$T/$name.says" "$T/$name.hears"
  # shellcheck disable=SC2016
  start_tool "$name" sh -c 'says=$1 hears=$2; shift 2; exec "$@" <"$says" >"$hears"' sh \
    "$T/$name.says" "$T/$name.hears" "${@:2}"
  exec {says}>"$T/$name.says" {hears}<"$T/$name.hears"
  SAYS[$name]=$says HEARS[$name]=$hears
}

# comes NAME [OPTION…]: of openssl s_client. It has said nothing yet.
comes() {
  visits "$1" openssl s_client -connect "127.0.0.1:$PORT" -CAfile "$CERTS/ca.pem" \
    -verify_return_error -quiet -no_ign_eof "${@:2}"
}

says() {
  printf '%s\n' "$2" >&"${SAYS[$1]}"
}

# hears NAME LINE…: these come next.
hears() {
  local line heard
  for line in "${@:2}"; do
    IFS= read -r -t 10 -u "${HEARS[$1]}" heard || complain "$1 was to hear: $line" \
      "but heard an end, or nothing for 10 s: $heard" "$(cat "$T/$1.err")" || return
    [[ $heard == "$line" ]] || complain "$1 was to hear: $line" "but heard:    $heard" || return
  done
}

# hears_the_end NAME: with close_notify, or the command would end with another status.
hears_the_end() {
  local heard status=0
  IFS= read -r -t 10 -u "${HEARS[$1]}" heard || status=$?
  ((status == 1)) && [[ ! $heard ]] || complain "no end, but: '$heard'" || return
  NAME=$1 finish_peer || complain "the end of $1 was not a clean one"
}

# join NAME…: each of them comes, gives its name, and is welcomed.
join() {
  local name here=''
  for name; do
    comes "$name"
    says "$name" "$name"
    hears "$name" "+welcome $name, here: $here$name" || return
    [[ ! $here ]] || hears "${here%%, *}" "* $name joined" || return
    here+="$name, "
  done
}

@test "the first line is the name; each line reaches everyone but its sender" {
  start_server
  join ann bob
  says bob 'hello, all'
  says bob ''
  says bob '//etc'
  hears ann 'bob: hello, all' 'bob: /etc'
  says ann '你好'
  hears bob 'ann: 你好'
  says ann /who
  hears ann '+here: ann, bob'
}

@test "a name that is taken, empty or invalid is refused; after the third the client is closed" {
  local why="has a character that is not a letter, a digit or one of - _ . '"
  start_server
  join ann
  receives '-name ann: taken\n+welcome bob, here: ann, bob\n' send:'ann\nbob\n' line line \
    half-close eof
  receives "-name ANN: taken\n-name : empty\n-name a�b: $why\n-too many tries\n" \
    send:'ANN\n\na\x1bb\nbob\n' eof
  hears ann '* bob joined' '* bob left'
  says ann /who
  hears ann '+here: ann'
}

@test "no control character in a message reaches the other members" {
  start_server
  join ann
  receives '+welcome bob, here: ann, bob\n' send:'bob\n' line \
    send:'hi\r\x1b[2J\x00\xff\xc2\x9bx\ty\n' half-close eof
  hears ann '* bob joined' 'bob: hi��[2J���x y' '* bob left'
}

# RFC 8446, 6.1: an end without close_notify may be an attacker's.
# bats test_tags=slow
@test "close_notify and /quit count as leaving; an end without them is a lost connection" {
  local bob='+welcome bob, here: ann, bob\n'
  start_server
  join ann
  receives "$bob" send:'bob\n' line half-close eof
  hears ann '* bob joined' '* bob left'
  receives "$bob+bye\n" send:'bob\n/quit good night\n' eof
  hears ann '* bob joined' '* bob left: good night'
  receives "$bob" send:'bob\n' line cut
  hears ann '* bob joined' '* bob left (connection lost)'
  receives "$bob" send:'bob\n' line reset
  hears ann '* bob joined' '* bob left (connection lost)'
}

# SSL_pending(3): of what OpenSSL has read already, epoll_wait knows nothing.
# bats test_tags=slow
@test "lines in records of 1 byte, and ten lines in a record of 16,380 bytes: all are heard" {
  local long
  printf -v long '%01637d' 0
  start_server -r 0
  join ann
  printf '%s\n' "$long"{,,,,,,,,,} >"$T/long"
  start_peer "$PORT" dribble:1:'bob\nab\n' line file:"$T/long" silent
  hears ann '* bob joined' 'bob: ab' "bob: $long"{,,,,,,,,,}
  # A record that begins with the name, bytes that become three times as long, and a line after it.
  printf -v long '%01900d' 0
  printf '%s\n' eve {,,,}"${long//0/$'\xff'}" >"$T/eve"
  NAME=eve start_peer "$PORT" file:"$T/eve" send:'hello\n' half-close eof
  hears ann '* eve joined' {,,,}"eve: ${long//0/$'\xef\xbf\xbd'}" 'eve: hello' '* eve left'
}

# SSL_write(3): after WANT_WRITE it has to be given the same bytes again.
@test "short writes, EINTR and EAGAIN: three members get the same lines byte for byte" {
  local name script=()
  FAULT_ENV='FAULT_SHORT=50 FAULT_FAIL=send:EAGAIN:3,recv:EAGAIN:3,send:EINTR:7' start_server -r 0
  join ann
  for name in bob eve joe; do
    NAME=$name start_peer "$PORT" send:"$name\n" line ready:"$T/$name" eof
    wait_for 5 test -e "$T/$name"
    hears ann "* $name joined"
  done
  for name in {1..36}; do
    script+=(send:"$name: $(printf "%0$((name * 40))d" 0)\n")
    printf "zoe: $name: %0$((name * 40))d\n" 0 >>"$T/expected"
  done
  "$PEER" "$PORT" send:'zoe\n' line "${script[@]}" half-close drain
  stop_server
  printf '* %s\n' 'zoe left' 'server is closing' >>"$T/expected"
  for name in bob eve joe; do
    NAME=$name finish_peer
    sed '1,/^\* zoe joined/d' "$T/$name.out" >"$T/$name.heard"
    same_bytes "$T/expected" "$T/$name.heard"
  done
}

# Three members say 240 kB each, as a byte that is not UTF-8 becomes three. tcp(7),
# TCP_NOTSENT_LOWAT: without it, the kernel would take all of that.
@test "a member that does not read is dropped without close_notify; the others lose nothing" {
  local name
  start_server -r 0
  receives '+welcome ann, here: ann\n' send:'ann\n' line half-close
  head -c 80000 /dev/zero | tr '\0' '\377' | fold -b -w 2000 >"$T/flood"
  echo >>"$T/flood"
  NAME=slow start_peer -b 4096 "$PORT" send:'slow\n' line ready:"$T/slow" until:"$T/cut" drain
  NAME=quick start_peer "$PORT" send:'quick\n' line ready:"$T/quick" eof
  wait_for 5 test -e "$T/slow" -a -e "$T/quick"
  for name in m1 m2 m3; do
    "$PEER" "$PORT" send:"$name\n" line file:"$T/flood" half-close drain
  done
  touch "$T/cut"
  NAME=slow not finish_peer || complain 'it was told that this was all'
  grep -q ECONNRESET "$T/slow.err"
  stop_server
  NAME=quick finish_peer
  assert_equal "$(grep -c '^m[1-3]: ' "$T/quick.out")" 120
  assert_equal "$(grep -c '^\* slow left (too slow)$' "$T/quick.out")" 1
}

# RFC 8446, 6.1
@test "SIGTERM: all members are told, then close_notify follows; exit 0 within 2 s" {
  start_server
  join ann bob
  PEER_TLS='' NAME=silent start_peer "$PORT" ready:"$T/here" silent
  wait_for 5 test -e "$T/here"
  stop_server
  hears ann '* server is closing'
  hears_the_end ann
  hears bob '* server is closing'
  hears_the_end bob
}

# The article's way: a default context, our CA, server_hostname.
@test "a member in Python gets the earlier messages, and its own reach the others" {
  need python3
  start_server
  join ann
  says ann 'is anybody here?'
  says ann /who
  hears ann '+here: ann'
  run -0 timeout "$((40 * PATIENCE))" python3 -c 'if True:
    import socket, ssl, sys
    context = ssl.create_default_context(cafile=sys.argv[2])
    with socket.create_connection(("127.0.0.1", int(sys.argv[1]))) as s:
        with context.wrap_socket(s, server_hostname="localhost") as tls:
            tls.sendall("张三\nhello\n/quit\n".encode())
            sys.stdout.buffer.write(tls.makefile("rb").read())
            tls.unwrap().close() # waits for close_notify
  ' "$PORT" "$CERTS/ca.pem"
  assert_output $'+welcome 张三, here: ann, 张三\n(earlier) ann: is anybody here?\n+bye'
  hears ann '* 张三 joined' '张三: hello' '* 张三 left'
}

# identity NAME SUBJECT: the options of s_client for a certificate that the authority has signed.
identity() {
  openssl req -x509 -CA "$CERTS/ca.pem" -CAkey "$CERTS/ca.key" -newkey ec -pkeyopt \
    ec_paramgen_curve:P-256 -noenc -subj "$2" -days 1 -addext extendedKeyUsage=clientAuth \
    -addext basicConstraints=critical,CA:false -keyout "$T/$1.key" -out "$T/$1.pem" 2>"$T/$1.log"
  IDENTITY=(-cert "$T/$1.pem" -key "$T/$1.key")
}
ALICE=(-cert "$CERTS/client.pem" -key "$CERTS/client.key")

# RFC 5280, 4.1.2.6; X509_NAME_get_index_by_NID(3)
# bats test_tags=kit
@test "-C: a member's name is the common name of its certificate, and cannot be changed" {
  start_server -C "$CERTS/ca.pem"
  comes alice "${ALICE[@]}"
  hears alice '+welcome alice, here: alice'
  identity bob '/O=Example/CN=bob'
  comes bob "${IDENTITY[@]}"
  hears bob '+welcome bob, here: alice, bob'
  says bob alice
  says bob '/nick eve'
  hears bob '-name eve: yours is that of your certificate'
  says bob /who
  hears bob '+here: alice, bob'
  hears alice '* bob joined' 'bob: alice'
}

# bats test_tags=kit
@test "-C: no certificate, a name in use, an invalid name: refused, with the reason" {
  start_server -C "$CERTS/ca.pem"
  comes alice "${ALICE[@]}"
  hears alice '+welcome alice, here: alice'
  run ! "$PEER" "$PORT" send:'eve\n' line
  refute_output --partial welcome
  comes twin "${ALICE[@]}"
  hears twin '-name alice: taken'
  hears_the_end twin
  identity nobody /O=Example
  comes nobody "${IDENTITY[@]}"
  hears nobody '-name : empty'
  hears_the_end nobody
  identity forger $'/CN=* bob left\e[K'
  comes forger "${IDENTITY[@]}"
  hears forger '-name * bob left�[K: does not begin with a letter or a digit'
  hears_the_end forger
  says alice /who
  hears alice '+here: alice'
}

# RFC 8446, 2.2: a session that is resumed shows no certificate.
# bats test_tags=kit
@test "-C: a resumed session keeps the name of its first connection, in TLS 1.2 and 1.3" {
  local version
  start_server -C "$CERTS/ca.pem"
  for version in -tls1_2 -tls1_3; do
    comes "a$version" "${ALICE[@]}" $version -sess_out "$T/session"
    hears "a$version" '+welcome alice, here: alice'
    says "a$version" /quit
    hears "a$version" +bye
    hears_the_end "a$version"
    comes "b$version" $version -sess_in "$T/session"
    hears "b$version" '+welcome alice, here: alice'
    says "b$version" /quit
    hears "b$version" +bye
    hears_the_end "b$version"
  done
}

# come_and_go NAME: the owner of that certificate joins, says 40 lines, leaves, and joins again, for
# three seconds.
come_and_go() {
  timeout $((30 * PATIENCE)) python3 - "$PORT" "$CERTS/ca.pem" "$T/$1.pem" "$T/$1.key" <<'END'
import socket, ssl, sys, time
port, ca, cert, key = int(sys.argv[1]), *sys.argv[2:]
context = ssl.create_default_context(cafile=ca)
context.load_cert_chain(cert, key)
end = time.monotonic() + 3
while time.monotonic() < end:
    with socket.create_connection(("127.0.0.1", port)) as s:
        s.settimeout(5)
        with context.wrap_socket(s, server_hostname="localhost") as tls:
            tls.sendall(b"hello\n" * 40 + b"/quit\n")
            try:
                while time.monotonic() < end and tls.recv(4096):
                    pass
            except OSError:
                pass
END
}

# bats test_tags=kit,slow
@test "-C: a member that reconnects again and again is still held to the pace of the room" {
  need python3
  local heard=0
  start_server -C "$CERTS/ca.pem"
  comes alice "${ALICE[@]}"
  hears alice '+welcome alice, here: alice'
  identity bob /CN=bob
  come_and_go bob
  says alice /who
  while IFS= read -r -t 10 -u "${HEARS[alice]}" && [[ $REPLY != '+here:'* ]]; do
    heard=$((heard + 1))
  done
  echo "$heard lines and notices"
  ((heard > 10 && heard < 110))
}

# ss(8) prints 9.236 s as 9.236ms.
asked_within_ten_seconds() {
  timer=$(ss -tnoH state established "sport = :$PORT")
  [[ $timer =~ timer:\(keepalive,([0-9]+ms|([0-9](\.[0-9]+)?|10)(ms|sec)?), ]]
}

# tcp(7), TCP_KEEPIDLE; chapter 07: a member whose machine has vanished is gone after 30 s.
# bats test_tags=kit
@test "a silent member is probed by keep-alive within ten seconds" {
  need ss
  local timer
  start_server
  join ann
  wait_for 1 asked_within_ten_seconds || complain "ss says: $timer"
}

# ---- the client ----

@test "client: sends its messages, shows what it hears, and exits 0 after the room's answer" {
  start_server
  join ann
  run -0 --separate-stderr client bob 'good morning' /who
  assert_output $'+welcome bob, here: ann, bob\n+here: ann, bob'
  assert_equal "$stderr" ''
  hears ann '* bob joined' 'bob: good morning' '* bob left'
}

@test "client: shows messages of others at once, even if the user types nothing; exit ends it" {
  start_server
  join ann
  visits bob bash -c "exec $CLIENT -p $PORT"
  says bob bob
  hears bob '+welcome bob, here: ann, bob'
  hears ann '* bob joined'
  says ann hello
  hears bob 'ann: hello'
  says bob hi
  says bob exit
  hears ann 'bob: hi' '* bob left'
  hears_the_end bob
}

# fake_room VERB…: peer as a TLS server with the good certificate.
fake_room() {
  cat "$CERTS/server.pem" "$CERTS/server.key" >"$T/identity"
  PEER_TLS=$T/identity start_fake -- "$@"
}

@test "client: no control character from a dishonest room, even in a long line, is shown" {
  printf '* %065000d\x1b[2Jx\n' 0 >"$T/long"
  fake_room line send:'* ann\x1b[2J\r\x00\xff left\n' file:"$T/long" eof half-close
  run -0 client bob
  assert_line --index 0 '* ann�[2J��� left'
  assert_line --index 1 "$(printf '* %065000d' 0)�[2Jx"
}

# SSL_read(3): close_notify says that the stream is complete, so this text is the room's, too.
@test "client: a last line without a newline is shown" {
  fake_room line send:'+welcome bob, here: bob\nlast words' eof half-close
  run -0 --separate-stderr client bob
  assert_output $'+welcome bob, here: bob\nlast words'
  NAME=second fake_room line send:'+welcome bob, here: bob\nlast wor' cut drain
  run -1 --separate-stderr client bob
  assert_output $'+welcome bob, here: bob\nlast wor'
}

# bats test_tags=kit
@test "client: the room is cut off, or closes first: what arrived is shown, exit 1" {
  fake_room line send:'+welcome bob, here: bob\n' cut drain
  run -1 --separate-stderr client bob
  assert_output '+welcome bob, here: bob'
  [[ $stderr == 'client: the connection: truncated'* ]] || complain "$stderr"
  NAME=leaver fake_room line send:'* server is closing\n' half-close drain
  visits bob bash -c "exec $CLIENT -p $PORT"
  says bob bob
  hears bob '* server is closing'
  wait_for 5 test -s "$T/bob.err"
  assert_equal "$(<"$T/bob.err")" 'client: the connection: closed'
}
