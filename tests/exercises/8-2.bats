# 8-2, a server with several names, which shows each client the certificate for the one it asks for.
# bats file_tags=8-2

# shellcheck disable=SC2154 # run --separate-stderr sets stderr
CHAPTER=08-tls
load ../helpers/common

# certificate NAME CN NAMES: $CERTS/NAME.pem and its key, signed by the kit's authority; new.
certificate() {
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -noenc -sha256 -days 30 \
    -CA "$CERTS/ca.pem" -CAkey "$CERTS/ca.key" -subj "/CN=$2" -addext "subjectAltName=$3" \
    -addext basicConstraints=critical,CA:false -addext keyUsage=critical,digitalSignature \
    -addext extendedKeyUsage=serverAuth -keyout "$CERTS/$1.key" -out "$CERTS/$1.pem"
}

# RFC 5280, 4.2.1.6: subjectAltName. The first serves also who asks for no name.
setup_file() {
  export CERTS=$BATS_FILE_TMPDIR
  {
    sh "$ROOT/08-tls/certs.sh" "$CERTS"
    certificate one 'the first' 'DNS:one.example, DNS:both.example, DNS:localhost, IP:127.0.0.1'
    certificate two 'the second' 'DNS:two.example, DNS:*.two.example'
    certificate three 'three.example' 'DNS:both.example, DNS:last.example'
  } >"$T/log" 2>&1 || complain "$(<"$T/log")"
}

# start_names [OPTION…]: the server with these three.
start_names() {
  local name pairs=()
  for name in one two three; do
    pairs+=(-c "$CERTS/$name.pem" -k "$CERTS/$name.key")
  done
  PEER_TLS=$CERTS/ca.pem
  start_server "${pairs[@]}" "$@"
}

# ask NAME [OPTION…]: what openssl says of a visit to that name; '': to none.
ask() {
  local name=(-servername "$1")
  [[ $1 ]] || name=(-noservername)
  timeout 10 openssl s_client -connect "127.0.0.1:$PORT" -CAfile "$CERTS/ca.pem" "${name[@]}" \
    -nameopt RFC2253 "${@:2}" </dev/null 2>&1
}

# shown NAME WANT [OPTION…]: who asks for NAME is shown the certificate of WANT.
shown() {
  local what
  what=$(ask "$1" "${@:3}" | sed -n 's/^subject=CN=//p')
  [[ $what == "$2" ]] || complain "who asks for '$1' is shown '$what', not '$2'"
}

# unknown NAME [OPTION…]: that name is refused, with the alert for it.
unknown() {
  local said
  said=$(ask "$@" || true)
  [[ $said == *'SSL alert number 112'* && $said != *'subject='* ]] ||
    complain "who asks for '$1' does not get the alert unrecognized_name:" "$said"
}

# logged REGEX TIMES
logged() {
  wait_for 5 has_logged "$@" || last_words server
}

has_logged() {
  (($(grep -Ec "$1" "$T/server.err") == $2))
}

# serial NAME: of the certificate that is shown now.
serial() {
  ask "$1" | openssl x509 -noout -serial
}

@test "a client that asks for a name gets the certificate for it, in TLS 1.2 and 1.3" {
  start_names
  shown one.example 'the first' -tls1_3
  shown two.example 'the second' -tls1_3
  shown two.example 'the second' -tls1_2
  shown one.example 'the first' -tls1_2
  shown last.example three.example
}

# RFC 6066, 3: an address is not a name. So the first certificate should have the address.
@test "a client that asks for no name gets the first certificate" {
  start_names
  shown '' 'the first' -tls1_2
  shown '' 'the first' -tls1_3
  assert_serving
}

# RFC 9525, 6.3; RFC 4343: case makes no difference.
@test "a wildcard is one whole label, case is ignored; of two that match, the first is used" {
  start_names
  shown a.two.example 'the second'
  shown TWO.example 'the second'
  shown A.Two.Example 'the second'
  shown both.example 'the first'
}

# RFC 6066, 3 and RFC 8446, 6.2. The CN of a certificate does not count.
@test "a name in none of the certificates: the alert unrecognized_name ends that connection only" {
  local name
  start_names
  for name in four.example example a.b.two.example a_b.two.example wo.example three.example \
    127.0.0.1 one.example.; do
    unknown "$name"
  done
  unknown four.example -tls1_2
  shown two.example 'the second'
  assert_serving
}

# bats test_tags=kit
@test "an unknown name is logged as unrecognized name with -v, and not at all without it" {
  start_names -v
  unknown four.example -tls1_2
  unknown four.example -tls1_3
  logged '^127\.0\.0\.1:[0-9]* handshake: .*unrecognized name$' 2
  stop_server
  start_names
  unknown four.example
  assert_serving
  stop_server
  [[ ! -s $T/server.err ]] || last_words server
}

# RFC 6066, 3: "SHALL include an extension of type server_name", an empty one.
@test "the server acknowledges the name that it has used" {
  local version
  start_names
  for version in -tls1_2 -tls1_3; do
    run ask two.example $version -tlsextdebug
    assert_output --partial 'TLS server extension "server name" (id=0), len=0'
  done
}

# bats test_tags=kit,slow
@test "our client, gnutls-cli and Python's ssl verify the name they ask for, and no other" {
  start_names
  run -0 client -C "$CERTS/ca.pem" -n two.example hello
  assert_output +hello
  run -0 client -C "$CERTS/ca.pem" hello
  assert_output +hello
  run -1 --separate-stderr client -C "$CERTS/ca.pem" -n four.example hello
  [[ $stderr == client:\ *'unrecognized name' ]] || complain "not the alert: $stderr"
  need gnutls-cli python3
  run -0 timeout 10 gnutls-cli --x509cafile "$CERTS/ca.pem" --sni-hostname a.two.example \
    --verify-hostname a.two.example --port "$PORT" 127.0.0.1 </dev/null
  run -0 timeout "$((40 * PATIENCE))" python3 -c 'if True:
    import socket, ssl, sys
    context = ssl.create_default_context(cafile=sys.argv[2])
    for name in "one.example", "b.two.example", "last.example", "127.0.0.1":
        s = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
        with context.wrap_socket(s, server_hostname=name) as tls:
            tls.sendall(b"hello\n")
            print(tls.recv(100).decode(), end="")' "$PORT" "$CERTS/ca.pem"
  assert_output $'+hello\n+hello\n+hello\n+hello'
}

# The same ClientHello each time, but for its server_name extension. In the kit's own server a wrong
# size would make AddressSanitizer speak.
@test "an empty name, one with NUL, one that begins with a dot, wrong sizes: an alert, no crash" {
  need python3
  start_names
  cat >"$T/odd.py" <<'PY'
import socket, ssl, struct, sys

context, out = ssl.create_default_context(), ssl.MemoryBIO()
tls = context.wrap_bio(ssl.MemoryBIO(), out, server_hostname="one.example")
try:
    tls.do_handshake()
except ssl.SSLWantReadError:
    hello = out.read()[9:]  # without the heads of record and message
at = 34 + 1 + hello[34]  # version, random, session
at += 2 + struct.unpack("!H", hello[at:at + 2])[0]  # cipher suites
at += 1 + hello[at]  # compression
extensions = hello[at + 2:]


def entry(name, size=None, kind=0):
    return struct.pack("!BH", kind, len(name) if size is None else size) + name


def visit(what, sni, size=None):
    sni = struct.pack("!H", len(sni) if size is None else size) + sni
    good = struct.pack("!H", len(entry(b"one.example"))) + entry(b"one.example")
    old, new = (struct.pack("!HH", 0, len(e)) + e for e in (good, sni))
    assert old in extensions
    changed = extensions.replace(old, new)
    body = hello[:at] + struct.pack("!H", len(changed)) + changed
    body = b"\1" + struct.pack("!I", len(body))[1:] + body
    s = socket.create_connection(("127.0.0.1", int(sys.argv[1])), timeout=8)
    s.sendall(b"\x16\3\1" + struct.pack("!H", len(body)) + body)
    answer = s.recv(65536)
    print(what, {b"\x15": "alert", b"\x16": "hello"}.get(answer[:1], "the end"))


visit("as it was", entry(b"one.example"))
visit("empty name", entry(b""))
visit("an asterisk", entry(b"*.two.example"))
visit("NUL", entry(b"\0"))
visit("NUL inside", entry(b"one.example\0.four.example"))
visit("NUL at the end", entry(b"one.example\0"))
visit("a dot", entry(b"."))
visit("dot at the begin", entry(b".two.example"))
visit("300 bytes", entry(b"a" * 300))
visit("no list", b"", 0)
visit("kind 1", entry(b"one.example", kind=1))
visit("name longer than list", entry(b"one.example", 12))
visit("name shorter than list", entry(b"one.example", 10))
visit("name of 65535", entry(b"one.example", 65535))
visit("list of 65535", entry(b"one.example"), 65535)
PY
  run -0 timeout 60 python3 "$T/odd.py" "$PORT"
  assert_line --index 0 'as it was hello'
  assert_equal "$(grep -c ' alert$' <<<"$output")" 14
  assert_serving
}

# A server that knows its clients by their certificates, whatever name they ask for.
# bats test_tags=kit
@test "-C applies to each name" {
  local name
  start_names -C "$CERTS/ca.pem" -v
  for name in one.example two.example last.example; do
    run ask "$name" -tls1_2
    assert_output --partial 'alert handshake failure'
    run ask "$name" -tls1_2 -cert "$CERTS/client.pem" -key "$CERTS/client.key"
    assert_output --partial 'CN=Socket Stages CA'
  done
  logged 'handshake: .*did not return a certificate' 3
  logged 'connected, TLSv1.2, CN=alice$' 3
}

# RFC 6066, 3: "MUST NOT accept the request to resume the session if the server_name extension
# contains a different name", also one that the same certificate has. (For 1.3, RFC 8446, 4.2.11
# leaves it to the server.) Without tickets none is resumed, which is right too.
# bats test_tags=slow
@test "a session that began with one name is not resumed with another name" {
  need python3
  start_names
  cat >"$T/sessions.py" <<'PY'
import socket, ssl, sys


def visit(context, name, session=None):
    s = socket.create_connection(("127.0.0.1", int(sys.argv[1])), timeout=8)
    with context.wrap_socket(s, server_hostname=name, session=session) as tls:
        tls.sendall(b"hello\n")
        reply = tls.recv(100)
        return tls.session, [reply == b"+hello\n", tls.session_reused]


for version in ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3:
    for first, second in (
        ("one.example", "two.example"), ("two.example", "one.example"),
        ("one.example", "both.example"), ("b.two.example", "a.two.example"),
    ):
        context = ssl.create_default_context(cafile=sys.argv[2])
        context.minimum_version = context.maximum_version = version
        session, _ = visit(context, first)
        print(version.name, first, second, *visit(context, second, session)[1])
        session, _ = visit(context, first)
        print(version.name, first, "again", visit(context, first, session)[1][0])
PY
  run -0 timeout 30 python3 "$T/sessions.py" "$PORT" "$CERTS/ca.pem"
  assert_equal "$(grep -c 'again True$' <<<"$output")" 8
  assert_equal "$(grep -v again <<<"$output" | sort)" \
    "$(printf '%s True False\n' TLSv1_{2,3}\ {one.example\ {both,two},two.example\ one}.example \
      TLSv1_{2,3}\ b.two.example\ a.two.example | sort)"
}

# The ClientHello comes after SIGHUP, the connection before it. A session is worth no more than the
# certificate that its client has shown, to an authority that has just been replaced.
# bats test_tags=kit
@test "after SIGHUP no earlier session is resumed, not even on a connection opened before it" {
  need python3
  cp "$CERTS/ca.pem" "$T/clients.pem"
  start_names -C "$T/clients.pem"
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -noenc -days 30 -subj /CN=other \
    -keyout "$T/other.key" -out "$T/other.pem" 2>"$T/log"
  cat >"$T/early.py" <<'PY'
import os, socket, ssl, sys, time

port, certs, go = int(sys.argv[1]), sys.argv[2], sys.argv[3]


def reach():
    return socket.create_connection(("127.0.0.1", port), timeout=8)


def visit(s, context, session=None):
    with context.wrap_socket(s, server_hostname="two.example", session=session) as tls:
        tls.sendall(b"hello\n")
        assert tls.recv(100) == b"+hello\n"
        return tls.session, tls.session_reused


visitors = []
for version in ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3:
    context = ssl.create_default_context(cafile=certs + "/ca.pem")
    context.load_cert_chain(certs + "/client.pem", certs + "/client.key")
    context.minimum_version = context.maximum_version = version
    session, _ = visit(reach(), context)
    visitors.append((version, context, session, reach()))
print("ready", flush=True)
while not os.path.exists(go):
    time.sleep(0.02)
for version, context, session, s in visitors:
    try:
        print(version.name, "served", visit(s, context, session)[1])
    except ssl.SSLError:
        print(version.name, "refused")
PY
  start_tool early timeout $((30 * PATIENCE)) python3 "$T/early.py" "$PORT" "$CERTS" "$T/go"
  wait_for 15 grep -q ready "$T/early.out"
  cp "$T/other.pem" "$T/clients.pem"
  kill -HUP "$SERVER_PID"
  logged '^server: loaded ' 1
  touch "$T/go"
  wait_for 15 grep -q '^TLSv1_3 [rs]e' "$T/early.out"
  run -0 grep TLS "$T/early.out"
  assert_output $'TLSv1_2 refused\nTLSv1_3 refused'
}

# bats test_tags=kit,slow
@test "SIGHUP renews all certificates or none, and an existing connection goes on" {
  local first second
  cp "$CERTS"/{one,two,three}.{pem,key} "$T"
  CERTS=$T start_names
  PEER_TLS=$CERTS/ca.pem
  first=$(serial one.example) && second=$(serial two.example)
  start_peer "$PORT" send:'one\n' line ready:"$T/here" until:"$T/go" send:'two\n' line \
    half-close eof
  wait_for 5 test -e "$T/here"
  # The first file is a new certificate, the last one is none.
  install -m 600 "$CERTS/server.key" "$T/one.key"
  install -m 644 "$CERTS/server.pem" "$T/one.pem"
  echo oops >"$T/three.pem"
  kill -HUP "$SERVER_PID"
  logged "^server: .*/three.pem: " 1
  assert_equal "$(serial one.example) $(serial two.example)" "$first $second"
  cp "$CERTS/three.pem" "$T/three.pem"
  kill -HUP "$SERVER_PID"
  logged '^server: loaded ' 1
  shown localhost localhost
  unknown one.example
  assert_equal "$(serial two.example)" "$second"
  touch "$T/go"
  finish_peer
  assert_equal "$(<"$T/peer.out")" $'+one\n+two'
}

# ends STATUS LINE OPTION…: a server with these options ends so, and says this.
ends() {
  run "-$1" --separate-stderr timeout $((20 * PATIENCE)) \
    bash -c "$SERVER \"\$@\"" server -p 0 "${@:3}"
  [[ $stderr == "server: "$2* ]] || complain "not 'server: $2': $stderr"
}

# bats test_tags=kit
@test "-c and -k not in pairs, or 65 pairs: usage, exit 2; a bad file: exit 1" {
  local i one=(-c "$CERTS/one.pem" -k "$CERTS/one.key") many=()
  ends 2 '*usage:' "${one[@]}" -c "$CERTS/two.pem"
  ends 2 '*usage:' "${one[@]}" -k "$CERTS/two.key"
  for ((i = 0; i < 65; i++)); do
    many+=("${one[@]}")
  done
  ends 2 '*usage:' "${many[@]}"
  ends 1 "certificate $T/none" "${one[@]}" -c "$T/none" -k "$CERTS/two.key"
  ends 1 "key $CERTS/two.key: " "${one[@]}" -c "$CERTS/three.pem" -k "$CERTS/two.key"
  start_server "${many[@]:4}"
}
