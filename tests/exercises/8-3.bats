# 8-3, sessions that are resumed, with keys for their tickets that are made anew and go.
# bats file_tags=8-3

# shellcheck disable=SC2154 # run --separate-stderr sets stderr
CHAPTER=08-tls
load ../helpers/common

CERTS=$ROOT/08-tls/certs

# visit [OPTION…]: openssl says hello, waits for the reply, and leaves. Sets HOW: New or Reused.
# What it has printed is in $T/said.
visit() {
  : >"$T/said"
  # shellcheck disable=SC2094 # it is read while it is written
  { echo hello && wait_for 8 grep -qF +hello "$T/said"; } |
    timeout 10 openssl s_client -connect "127.0.0.1:$PORT" -CAfile "$CERTS/ca.pem" "$@" \
      >"$T/said" 2>&1 || complain "$(tail -n 5 "$T/said")" || return
  HOW=$(sed -n 's/^\(New\|Reused\), TLSv1.*/\1/p;T;q' "$T/said")
}

# is HOW WHAT: the last visit was New or Reused.
is() {
  [[ $HOW == "$1" ]] || complain "$2: $HOW, not $1"
}

# ticket SESSION: the ticket in a file of -sess_out, as hexadecimal digits.
ticket() {
  openssl sess_id -in "$1" -noout -text |
    sed -n 's/^ *[0-9a-f]\{4\} - \([-0-9a-f ]\{47\}\).*/\1/p' | tr -d ' \n-'
}

# keys: how many new ones the log has. await_keys N: until there are so many.
keys() {
  grep -c '^server: a new ticket key$' "$T/server.err" || true
}
await_keys() {
  local i
  for ((i = 0; i < 200; i++)); do
    (($(keys) < $1)) || return 0
    sleep 0.1
  done
  complain "waited in vain for the ticket key $1" || last_words server
}

# logged REGEX TIMES
logged() {
  wait_for 5 has_logged "$@" || last_words server
}

has_logged() {
  (($(grep -Ec "$1" "$T/server.err") == $2))
}

# visitors: makes the module visitors for Python, two clients that come back with their newest
# session, VISITORS; its program has $PORT and the CA as arguments.
visitors() {
  cat >"$T/visitors.py" <<'PY'
import socket, ssl, sys, time


class Visitor:
    def __init__(self, version):
        self.context = ssl.create_default_context(cafile=sys.argv[2])
        self.context.minimum_version = self.context.maximum_version = version
        self.session = None

    def visit(self):
        s = socket.create_connection(("127.0.0.1", int(sys.argv[1])), timeout=10)
        with self.context.wrap_socket(s, server_hostname="localhost", session=self.session) as tls:
            tls.sendall(b"hello\n")
            assert tls.recv(100) == b"+hello\n"
            self.session, self.version = tls.session, tls.version()
            return tls.session_reused


VISITORS = [Visitor(v) for v in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3)]
PY
}

# RFC 8446, 4.6.1 and C.4: a client should use a ticket once, so each visit has to bring the next.
# bats test_tags=slow
@test "a session is resumed; in TLS 1.3 each resumption brings a new ticket" {
  local version
  start_server
  for version in -tls1_2 -tls1_3; do
    visit $version -sess_out "$T/one"
    is New 'the first visit'
    visit $version -sess_in "$T/one" -sess_out "$T/two"
    is Reused "$version, the second visit"
  done
  [[ -s $T/two ]] || complain 'no new ticket came with the resumed handshake'
  [[ $(ticket "$T/one") != "$(ticket "$T/two")" ]] || complain 'the same ticket again'
  visit -sess_in "$T/two"
  is Reused 'the third visit'
}

# bats test_tags=kit
@test "-v says that a session was resumed, and with -C by whom, in TLS 1.2 and 1.3" {
  local version alice=(-cert "$CERTS/client.pem" -key "$CERTS/client.key")
  start_server -v -C "$CERTS/ca.pem"
  for version in -tls1_2 -tls1_3; do
    visit $version "${alice[@]}" -sess_out "$T/session"
    logged "connected, TLSv${version:4:1}.${version: -1}, CN=alice\$" 1
    visit $version "${alice[@]}" -sess_in "$T/session"
    logged "connected, TLSv${version:4:1}.${version: -1}, CN=alice" 2
    has_logged "connected, TLSv${version:4:1}.${version: -1}, CN=alice, resumed\$" 1 ||
      last_words server
  done
  stop_server
  start_server -v
  visit
  visit -sess_in "$T/session" # another server's
  is New 'with a ticket of another server'
  logged 'connected, TLSv1.3$' 2
}

# With Python, which always has the newest session; with 1.2, s_client writes only the first.
# bats test_tags=kit,slow
@test "a ticket of the previous key is accepted and renewed; an older one: a full handshake" {
  need python3
  start_server -v -R 3
  visitors
  cat >"$T/keys.py" <<'PY'
from visitors import *


def keys():
    return open(sys.argv[3]).read().count("server: a new ticket key\n")


def next_key():
    end, n = time.monotonic() + 20, keys() + 1
    while keys() < n:
        assert time.monotonic() < end, "no new key in 20 s"
        time.sleep(0.05)


for attempt in range(6):
    n = keys() + 1
    next_key()
    for visitor in VISITORS:
        visitor.session = None
        visitor.visit()
        visitor.oldest = visitor.session
    said = []
    for i in "the previous key", "a renewed ticket":
        next_key()
        said += [(i, v.version, "resumed" if v.visit() else "not resumed") for v in VISITORS]
    if keys() == n + 2:
        break
else:
    sys.exit("too slow")
for visitor in VISITORS:
    visitor.session = visitor.oldest
    said += [("too old", visitor.version, "resumed" if visitor.visit() else "not resumed")]
    said += [("its new one", visitor.version, "resumed" if visitor.visit() else "not resumed")]
print(*(": ".join(words) for words in said), sep="\n")
sys.exit(keys() > n + 3)
PY
  run timeout 90 python3 "$T/keys.py" "$PORT" "$CERTS/ca.pem" "$T/server.err"
  ((status == 0)) || [[ $output == *Error* ]] ||
    skip 'this machine is too slow to be ahead of a new key every 3 s'
  assert_output "$(printf '%s\n' {'the previous key','a renewed ticket'}': TLSv1.'{2,3}': resumed' \
    'too old: TLSv1.2: not resumed' 'its new one: TLSv1.2: resumed' \
    'too old: TLSv1.3: not resumed' 'its new one: TLSv1.3: resumed')"
}

# A byte of its key's name, of the initialization vector, of the encrypted part, and of the
# authentication code (RFC 5077, 4).
# bats test_tags=slow
@test "a ticket that was tampered with costs a full handshake, and nothing else" {
  need python3
  local at version
  start_server
  for version in -tls1_2 -tls1_3; do
    visit $version -sess_out "$T/session"
    for at in 0 20 100 -1; do
      openssl sess_id -in "$T/session" -outform DER -out "$T/der"
      python3 -c 'import sys
ticket, at = bytes.fromhex(sys.argv[2]), int(sys.argv[3])
session = open(sys.argv[1], "rb").read()
assert session.count(ticket) == 1
changed = bytearray(ticket)
changed[at] ^= 1
open(sys.argv[1], "wb").write(session.replace(ticket, changed))' "$T/der" \
        "$(ticket "$T/session")" "$at"
      openssl sess_id -inform DER -in "$T/der" -out "$T/changed"
      visit $version -sess_in "$T/changed"
      is New "$version, byte $at changed"
    done
    visit $version -sess_in "$T/session"
    is Reused "$version, unchanged"
  done
  assert_serving
}

# RFC 8446, 4.6.1: limits on the total lifetime; 8: replay of early data.
# bats test_tags=kit
@test "clients are told the lifetime of a session, 4 keys long, and to send no early data" {
  start_server -R 10
  visit -tls1_3
  grep -q 'lifetime hint: 40 (seconds)' "$T/said" || complain "$(grep hint "$T/said")"
  grep -q 'Max Early Data: 0' "$T/said"
  visit -tls1_2
  grep -q 'lifetime hint: 40 (seconds)' "$T/said" || complain "$(grep hint "$T/said")"
}

# A client that comes back all the time, with the newest ticket. Whatever clock the server has, this
# ends after 4 s, and one more.
# bats test_tags=kit,slow
@test "however often it is resumed, a session ends 4 keys after its full handshake" {
  need python3
  start_server -R 1
  visitors
  cat >"$T/end.py" <<'PY'
from visitors import *

end = time.monotonic() + 7
for visitor in VISITORS:
    visitor.count, visitor.longest = 0, 0
while time.monotonic() < end:
    for visitor in VISITORS:
        before = time.monotonic()
        if not visitor.visit():
            visitor.began = time.monotonic()
        else:
            visitor.count += 1
            visitor.longest = max(visitor.longest, before - visitor.began)
    time.sleep(0.2)
for visitor in VISITORS:
    print("resumed" if visitor.count else "not resumed",
          "too long: %.1f s" % visitor.longest if visitor.longest > 5.2 else "and ended")
PY
  run -0 timeout 60 python3 "$T/end.py" "$PORT" "$CERTS/ca.pem"
  assert_output $'resumed and ended\nresumed and ended'
}

# Every 32 bytes in memory could be the key that signs tickets: with the right one a ticket's last
# 32 bytes come out (RFC 5077, 4). While the key is valid, the test must find it, or it proves
# nothing.
# bats test_tags=kit,slow
@test "a key that is no longer valid is nowhere in the server's memory" {
  need python3
  local n
  cat >"$T/find.py" <<'PY'
import hashlib, hmac, re, struct, sys

PAGE = 4096
pid, ticket = sys.argv[1], bytes.fromhex(sys.argv[2])
message, code = ticket[:-32], ticket[-32:]
try:
    memory = open("/proc/%s/mem" % pid, "rb", 0)
    present = open("/proc/%s/pagemap" % pid, "rb", 0)
except PermissionError:
    sys.exit(3)


def pages():
    """The memory that can be written and is there, page by page, with what follows each."""
    for line in open("/proc/%s/maps" % pid):
        start, end = (int(n, 16) for n in line.split()[0].split("-"))
        if line.split()[1][:2] != "rw" or end - start > 1 << 36:
            continue  # of a sanitizer: its notes
        step = 1 << 28
        for at in range(start, end, step):
            present.seek(at // PAGE * 8)
            marks = present.read(min(step, end - at) // PAGE * 8)
            for i, (mark,) in enumerate(struct.iter_unpack("=Q", marks)):
                if mark >> 62:
                    memory.seek(at + i * PAGE)
                    try:
                        yield memory.read(PAGE + 32)
                    except OSError:
                        pass


for page in pages():
    if not page.strip(b"\0"):
        continue
    for at in range(0, len(page) - 31, 8):
        key = page[at:at + 32]
        if key.count(0) < 5 and hmac.digest(key, message, hashlib.sha256) == code:
            print("there")
            sys.exit()
print("nowhere")
PY
  start_server -v -R 2
  visit -sess_out "$T/session"
  n=$(keys)
  run timeout 60 python3 "$T/find.py" "$SERVER_PID" "$(ticket "$T/session")"
  ((status != 3)) || skip 'we may not look into the memory of processes here'
  [[ $output == there ]] || (($(keys) >= n + 2)) ||
    skip "a key that is not stored as 32 bytes, for HMAC with SHA-256: $output"
  await_keys $((n + 2))
  run -0 timeout 60 python3 "$T/find.py" "$SERVER_PID" "$(ticket "$T/session")"
  assert_output nowhere
}

# bats test_tags=kit
@test "SIGHUP ends all sessions if the files could be loaded; new ones can be resumed" {
  local version
  cp "$CERTS/ca.pem" "$T/ca.pem"
  start_server -C "$T/ca.pem"
  set -- -cert "$CERTS/client.pem" -key "$CERTS/client.key"
  for version in -tls1_2 -tls1_3; do
    visit "$@" $version -sess_out "$T/session$version"
  done
  echo oops >"$T/ca.pem"
  kill -HUP "$SERVER_PID"
  logged "^server: CA $T/ca.pem: " 1
  visit "$@" -tls1_3 -sess_in "$T/session-tls1_3" -sess_out "$T/session-tls1_3"
  is Reused 'after a SIGHUP that failed'
  cp "$CERTS/ca.pem" "$T/ca.pem"
  kill -HUP "$SERVER_PID"
  logged '^server: loaded ' 1
  for version in -tls1_2 -tls1_3; do
    visit "$@" $version -sess_in "$T/session$version" -sess_out "$T/new"
    is New "$version, after SIGHUP"
    visit "$@" $version -sess_in "$T/new"
    is Reused "$version, a session since SIGHUP"
  done
}

# The connection is accepted before SIGHUP, and sends its ClientHello after it: the new CA counts.
# bats test_tags=kit
@test "SIGHUP also ends all sessions for a connection that was opened before it" {
  need python3
  cp "$CERTS/ca.pem" "$T/ca.pem"
  start_server -C "$T/ca.pem"
  visitors
  cat >"$T/hup.py" <<'PY'
import os, shutil, signal
from visitors import *

port, ca, certs, used, pid, log = sys.argv[1:]


def reload(source):
    before = open(log).read().count("loaded")
    shutil.copy(source, used)
    os.kill(int(pid), signal.SIGHUP)
    while open(log).read().count("loaded") == before:
        time.sleep(0.02)


for visitor in VISITORS:
    visitor.context.load_cert_chain(certs + "/client.pem", certs + "/client.key")
    for source in certs + "/ca.pem", certs + "/server.pem":
        visitor.visit()
        s = socket.create_connection(("127.0.0.1", int(port)), timeout=10)
        visitor.visit()  # it is accepted after the other one
        reload(source)
        try:
            with visitor.context.wrap_socket(
                s, server_hostname="localhost", session=visitor.session
            ) as tls:
                tls.sendall(b"hello\n")
                reply = tls.recv(100).decode().strip()
                print(visitor.version, reply, "resumed" if tls.session_reused else "new")
        except ssl.SSLError:
            print(visitor.version, "refused")
        visitor.session = None
        reload(certs + "/ca.pem")
PY
  run -0 timeout 60 python3 "$T/hup.py" "$PORT" "$CERTS/ca.pem" "$CERTS" "$T/ca.pem" \
    "$SERVER_PID" "$T/server.err"
  assert_output "$(printf 'TLSv1.%s +hello new\nTLSv1.%s refused\n' 2 2 3 3)"
}

@test "gnutls-cli resumes its session" {
  need gnutls-cli
  start_server
  run -0 timeout 20 gnutls-cli -r --x509cafile "$CERTS/ca.pem" --port "$PORT" localhost </dev/null
  assert_output --partial 'This is a resumed session'
}

# RFC 8446, 4.6.1: the ticket comes after the handshake; with 1.2 (RFC 5077, 3.1) within it.
# bats test_tags=slow
@test "client: -r 2 reconnects twice, resumes its session, and sends the same messages" {
  start_server
  run -0 --separate-stderr client -C "$CERTS/ca.pem" -i -r 2 hello world
  assert_output $'+hello\n+world\n+hello\n+world\n+hello\n+world'
  assert_equal "$(grep '^session' <<<"$stderr")" \
    $'session   new\nsession   resumed\nsession   resumed'
  run -0 --separate-stderr client -C "$CERTS/ca.pem" -i hello
  assert_equal "$(grep '^session' <<<"$stderr")" 'session   new'
  printf '%s\n' 'openssl_conf = all' '[all]' 'ssl_conf = ssl' '[ssl]' 'system_default = old' \
    '[old]' 'MaxProtocol = TLSv1.2' >"$T/conf"
  OPENSSL_CONF=$T/conf run -0 --separate-stderr client -C "$CERTS/ca.pem" -i -r 2 hello
  assert_equal "$(grep -e '^session' -e '^protocol' <<<"$stderr" | sort)" \
    "$(printf '%s\n' 'protocol  TLSv1.2'{,,} 'session   new' 'session   resumed'{,})"
}

# SSL_CONF_cmd(3): with this its tickets are of no use, and with 1.2 there are none.
# bats test_tags=kit
@test "client: a server that resumes no session is still talked to" {
  printf '%s\n' 'openssl_conf = all' '[all]' 'ssl_conf = ssl' '[ssl]' 'system_default = no' \
    '[no]' 'Options = -SessionTicket' >"$T/conf"
  OPENSSL_CONF=$T/conf start_server
  run -0 --separate-stderr client -C "$CERTS/ca.pem" -i -r 2 hello
  assert_output $'+hello\n+hello\n+hello'
  assert_equal "$(grep -c '^session   new$' <<<"$stderr")" 3
}

# usage_of PROGRAM ARGUMENT…: it says so, and exits with 2.
usage_of() {
  run -2 --separate-stderr timeout $((20 * PATIENCE)) bash -c "$1 \"\$@\"" program "${@:2}"
  [[ $stderr == *usage:* ]] || complain "no usage: $stderr"
}

# bats test_tags=kit
@test "-R or -r without a number in range, or -r without a message: usage, exit 2" {
  local bad
  for bad in 0 86401 x ''; do
    usage_of "$SERVER" -R "$bad"
    [[ $stderr == "server: -R \"$bad\": not a number from 1 to 86400"* ]] || complain "$stderr"
  done
  usage_of "$CLIENT" -r 1001 hello
  [[ $stderr == 'client: -r "1001": not a number from 0 to 1000'* ]] || complain "$stderr"
  usage_of "$CLIENT" -r 1
}
