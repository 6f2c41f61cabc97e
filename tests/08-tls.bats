# What only 08 has: certificates, verification, a handshake that makes nobody wait, an end that
# nobody can fake. 08-line-service.bats tests the service itself through TLS. 08-tcp.bats tests what
# any TCP program must survive, and 08-many-clients.bats what any server for many clients must.

# shellcheck disable=SC2154 # run --separate-stderr sets stderr and stderr_lines
CHAPTER=08-tls
load helpers/common

HOSTILE=$ROOT/tests/helpers/hostile.py
TALK=() # see converse

# Makes the kit's certificates and all the wrong ones, new for each run: see wrong-certs.sh.
setup_file() {
  export WRONG=$BATS_FILE_TMPDIR/certs
  sh "$BATS_TEST_DIRNAME/helpers/wrong-certs.sh" "$WRONG"
  ahead waiting_handshake_does_not_spin key_updates_hold_up_nobody end_after_all_replies \
    end_before_the_last_line half_handshakes_are_closed silent_server_is_given_up \
    tickets_expire_too nmap_finds_strength_a sslscan_finds_no_more
  in_turn idle_connections_keep_no_buffers rejections_do_no_harm clients_need_certificates \
    certs_of_tomorrow_are_made certs_that_do_not_fit_are_made certs_by_four_at_once \
    certs_missing_are_made certs_are_for_what_they_do
}

# identity NAME: the options with which a program shows that certificate.
identity() {
  IDENTITY=(-c "$WRONG/$1.pem" -k "$WRONG/$1.key")
}

# start_ours [OPTION…]: the server with the certificate of this run.
start_ours() {
  identity server
  start_server "${IDENTITY[@]}" "$@"
  CA=$WRONG/ca.pem
  PEER_TLS=$CA
}

# hostile VERB…: see hostile.py.
hostile() {
  need python3
  run -0 timeout 60 python3 "$HOSTILE" "$PORT" "$CA" "$@"
}

# converse COMMAND…: says what stands in TALK, in pairs: a text, and a regular expression for what
# has to be in the output before the next text, or the end of the input, comes (8 s at most, times
# PATIENCE).
# What it prints is in $output, and $status is its own.
converse() {
  # shellcheck disable=SC2016
  run timeout $((20 * PATIENCE)) bash -c 'trap "" PIPE
    out=$1/converse count=$2 talk=("${@:3:$2}")
    shift $((count + 2))
    rm -f "$out"*
    mkfifo "$out.in"
    : >"$out"
    "$@" <"$out.in" >"$out" 2>&1 &
    exec 9>"$out.in"
    for ((i = 0; i < count; i += 2)); do
      printf "${talk[i]}" >&9
      for ((tries = 0; tries < 160 * PATIENCE; tries++)); do
        grep -aEq "${talk[i + 1]}" "$out" && break
        kill -0 $! 2>/dev/null || break
        sleep 0.05
      done
    done
    exec 9>&-
    wait $!
    status=$?
    cat "$out"
    exit "$status"' converse "$T" "${#TALK[@]}" "${TALK[@]}" "$@"
}

# s_client [OPTION…]: its input is said, its output is in $output, and $status is its own.
s_client() {
  converse openssl s_client -connect "127.0.0.1:$PORT" -CAfile "$CA" "$@"
}

# talks COMMAND…: it says two lines, and gets its replies.
talks() {
  local TALK=('hello\nworld\n' '\+world')
  converse "$@"
  assert_line --partial +hello
  assert_line --partial +world
}

# has_fds MIN [MAX]: so many descriptors of the server are open.
has_fds() {
  local n
  n=$(fds "$SERVER_PID")
  ((n >= $1 && n <= ${2:-n}))
}

# happened CALL FIELD: how often, by the report that the fault shim writes when a process ends.
happened() {
  sed -n "s/^$1 .*\b$2=\([0-9]*\).*/\1/p" "$T/report" | awk '{ sum += $1 } END { print sum + 0 }'
}

# logged REGEX [TIMES]: the server's log has so many such lines.
logged() {
  wait_for 5 has_logged "$@" || last_words server
}

has_logged() {
  local times
  times=$(grep -Ec "$1" "$T/server.err") || return # none
  ((times == ${2:-times}))
}

# program WORDS ARGUMENT…: in the foreground; $SERVER and $CLIENT may be several words.
program() {
  local words=$1
  shift
  eval "timeout 20 $words \"\$@\""
}

# complains STATUS LINE PROGRAM ARGUMENT…: it ends with that status, and says that on stderr.
complains() {
  local want=$1 line=$2
  shift 2
  run "-$want" --separate-stderr program "$@"
  refute_output
  [[ ${stderr_lines[0]} =~ $line ]] || complain "not $line: ${stderr_lines[0]}"
}

# ---- the certificates ----

names_of() {
  openssl x509 -in "$1" -noout -ext subjectAltName | sed -n '2s/^ *//p'
}

# RFC 5280, 4.2.1; RFC 9525, 6: names are the subjectAltName.
certs_are_for_what_they_do() {
  local name
  sh "$ROOT/08-tls/certs.sh" "$T/certs" >"$T/told"
  (($(grep -c ^made "$T/told") == 3))
  cd "$T/certs" || return
  for name in '-verify_hostname localhost' '-verify_ip 127.0.0.1' '-verify_ip ::1'; do
    # shellcheck disable=SC2086 # two words
    openssl verify -x509_strict -CAfile ca.pem -purpose sslserver $name server.pem
  done
  openssl verify -x509_strict -CAfile ca.pem -purpose sslclient client.pem
  run ! openssl verify -CAfile ca.pem -purpose sslclient server.pem
  run ! openssl verify -CAfile ca.pem -purpose sslserver client.pem
  assert_equal "$(names_of server.pem)" \
    'DNS:localhost, IP Address:127.0.0.1, IP Address:0:0:0:0:0:0:0:1'
  for name in ca server client; do
    assert_equal "$(stat -c %a "$name.key")" 600
    openssl x509 -in "$name.pem" -noout -text | grep -q 'NIST CURVE: P-256'
  done
  openssl x509 -in server.pem -noout -checkend $((80 * 86400))
  run ! openssl x509 -in server.pem -noout -checkend $((91 * 86400))
  assert_equal "$(echo .[!.]* *)" \
    '.[!.]* ca.key ca.pem client.key client.pem server.key server.pem'
}

# bats test_tags=kit,heavy
@test "certs.sh makes a CA, a server's and a client's certificate for their purposes; keys 0600" {
  seen certs_are_for_what_they_do
}

# lasts DAYS: puts a server certificate in the place of the kit's, and runs certs.sh.
lasts() {
  local certs=$T/certs
  openssl req -x509 -key "$certs/server.key" -subj /CN=localhost -days "$1" \
    -CA "$certs/ca.pem" -CAkey "$certs/ca.key" -out "$certs/server.pem" 2>"$T/warnings"
  sh "$ROOT/08-tls/certs.sh" "$certs"
}

# openssl-x509(1), -checkend
certs_missing_are_made() {
  local certs=$T/certs
  run -0 sh "$ROOT/08-tls/certs.sh" "$certs"
  run -0 sh "$ROOT/08-tls/certs.sh" "$certs"
  refute_output
  run -0 lasts 30
  refute_output
  run -0 lasts 5
  assert_output --regexp '^made .*/server.pem$'
  openssl verify -CAfile "$certs/ca.pem" "$certs/server.pem"
  rm "$certs/server.key" # without which the certificate is of no use
  run -0 sh "$ROOT/08-tls/certs.sh" "$certs"
  assert_output --regexp '^made .*/server.pem$'
  assert_equal "$(openssl pkey -in "$certs/server.key" -pubout)" \
    "$(openssl x509 -in "$certs/server.pem" -noout -pubkey)"
  mv "$certs/ca.key" "$T" # to where it is safer: no reason for another authority
  run -0 sh "$ROOT/08-tls/certs.sh" "$certs"
  refute_output
  mv "$T/ca.key" "$certs"
  rm "$certs/ca.pem" # and nothing is worth anything without it
  run -0 sh "$ROOT/08-tls/certs.sh" "$certs"
  assert_equal "${#lines[@]}" 3
  openssl verify -CAfile "$certs/ca.pem" "$certs/server.pem" "$certs/client.pem"
}

# bats test_tags=kit,heavy
@test "certs.sh makes what is missing or about to expire, and leaves everything else as it is" {
  seen certs_missing_are_made
}

# pairs_fit DIR: each certificate there is about the key beside it, and signed by the authority.
pairs_fit() {
  local name
  for name in ca server client; do
    assert_equal "$(openssl pkey -in "$1/$name.key" -pubout)" \
      "$(openssl x509 -in "$1/$name.pem" -noout -pubkey)"
    openssl verify -CAfile "$1/ca.pem" "$1/$name.pem"
  done
}

# flock(2), rename(2)
certs_by_four_at_once() {
  local pids=() pid
  for pid in 1 2 3 4; do
    sh "$ROOT/08-tls/certs.sh" "$T/certs" >>"$T/told" 3>&- &
    pids+=($!)
  done
  for pid in "${pids[@]}"; do
    wait "$pid"
  done
  pairs_fit "$T/certs"
  assert_equal "$(sort "$T/told" | sed 's|.*/||')" $'ca.pem\nclient.pem\nserver.pem'
  cd "$T/certs" || return
  assert_equal "$(echo .[!.]* *)" \
    '.[!.]* ca.key ca.pem client.key client.pem server.key server.pem'
}

# bats test_tags=kit,heavy
@test "certs.sh, run four times at once, leaves keys and certificates that fit, and nothing else" {
  seen certs_by_four_at_once
}

certs_that_do_not_fit_are_made() {
  local certs=$T/certs what
  # anew NAME…: these are made, no others, and then all is well.
  anew() {
    run -0 sh "$ROOT/08-tls/certs.sh" "$certs"
    assert_equal "$output" "$(printf "made $certs/%s.pem\n" "$@")"
    pairs_fit "$certs"
  }
  sh "$ROOT/08-tls/certs.sh" "$certs"
  cp "$certs/client.key" "$certs/server.key" # the key of another
  anew server
  : >"$certs/client.key"
  anew client
  cp "$WRONG/server.pem" "$WRONG/server.key" "$certs" # a good pair, of another authority
  anew server
  what=$(cat "$certs/ca.key")
  rm "$certs/ca.key" # not here: no reason for another one
  run -0 sh "$ROOT/08-tls/certs.sh" "$certs"
  refute_output
  rm "$certs/server.pem" # which cannot be signed without it
  run -1 sh "$ROOT/08-tls/certs.sh" "$certs"
  assert_output --partial ca.key
  echo "$what" >"$certs/ca.key"
  anew server
  cp "$WRONG/ca.key" "$certs/ca.key"
  anew ca server client
}

# bats test_tags=kit,heavy
@test "certs.sh replaces a certificate that does not fit its key or is not signed by the CA" {
  seen certs_that_do_not_fit_are_made
}

# openssl-verify(1): it knows the beginning, too, where -checkend of openssl-x509(1) does not.
certs_of_tomorrow_are_made() {
  local certs=$T/certs
  sh "$ROOT/08-tls/certs.sh" "$certs"
  sh "$BATS_TEST_DIRNAME/helpers/wrong-certs.sh" "$certs" >/dev/null # has one from 2048 on
  cp "$certs/not-yet.pem" "$certs/server.pem"
  cp "$certs/not-yet.key" "$certs/server.key"
  run -0 sh "$ROOT/08-tls/certs.sh" "$certs"
  assert_output --regexp '^made .*/server.pem$'
  pairs_fit "$certs"
}

# bats test_tags=kit,heavy
@test "certs.sh replaces a certificate that is valid only from tomorrow on" {
  seen certs_of_tomorrow_are_made
}

# umask(2): what others may write, they may put keys of their own into.
# bats test_tags=kit,heavy
@test "certs.sh: even with umask 000, only the owner may enter or change the directory" {
  open_to_all() {
    umask 000
    sh "$ROOT/08-tls/certs.sh" "$1"
  }
  open_to_all "$T/new"
  assert_equal "$(stat -c %a "$T/new")" 700
  (umask 000 && mkdir "$T/old")
  open_to_all "$T/old"
  assert_equal "$(stat -c %a "$T/old")" 755
  assert_equal "$(stat -c %a "$T/old"/*.key)" $'600\n600\n600'
}

# bats test_tags=kit
@test "git ignores the keys, so they are not in the repository" {
  need git
  cd "$ROOT"
  git rev-parse 2>/dev/null || skip 'no repository here'
  git check-ignore 08-tls/certs/ca.key
  git check-ignore 08-tls/certs/server.key
  run -0 git ls-files '*.key' '*.pem'
  refute_output
}

# ---- other people's clients ----

@test "the server serves openssl s_client, with TLS 1.2 and 1.3" {
  local version
  start_ours
  for version in -tls1_2 -tls1_3; do
    talks openssl s_client -connect "127.0.0.1:$PORT" -CAfile "$CA" -verify_return_error \
      -verify_ip 127.0.0.1 -quiet -no_ign_eof $version
    assert_success
  done
}

# bats test_tags=slow
@test "the server serves gnutls-cli" {
  need gnutls-cli
  start_ours
  talks gnutls-cli --x509cafile "$CA" --port "$PORT" localhost
  assert_line --partial 'The certificate is trusted'
}

# bats test_tags=slow
@test "the server serves socat and ncat" {
  need socat ncat
  start_ours
  talks socat -t 5 - "OPENSSL:127.0.0.1:$PORT,cafile=$CA,commonname=localhost"
  assert_success
  talks ncat --ssl-verify --ssl-trustfile "$CA" localhost "$PORT"
}

# The fifth article's: a default context, our CA, server_hostname.
# bats test_tags=slow
@test "the server serves Python's ssl module" {
  need python3
  start_ours
  run -0 timeout "$((40 * PATIENCE))" python3 -c 'if True:
    import socket, ssl, sys
    context = ssl.create_default_context(cafile=sys.argv[2])
    with socket.create_connection(("127.0.0.1", int(sys.argv[1]))) as s:
        with context.wrap_socket(s, server_hostname="localhost") as tls:
            tls.sendall(b"Hello, secure world!\n")
            print(tls.recv(1024).decode(), end="")
            print(tls.version())
            tls.unwrap().close() # waits for close_notify
  ' "$PORT" "$CA"
  assert_output $'+Hello, secure world!\nTLSv1.3'
}

# RFC 8446, 2.2: a session that is resumed needs no certificate.
# bats test_tags=slow
@test "a client can resume its session, with TLS 1.2 and 1.3, even if it has a certificate" {
  local version TALK=('hello\n' '^\+hello')
  start_ours -C "$WRONG/ca.pem"
  for version in -tls1_2 -tls1_3; do
    s_client -cert "$WRONG/client.pem" -key "$WRONG/client.key" $version -sess_out "$T/session" \
      -quiet -no_ign_eof
    assert_line +hello
    s_client -cert "$WRONG/client.pem" -key "$WRONG/client.key" $version -sess_in "$T/session"
    assert_line --partial 'Reused, TLSv1'
    assert_line +hello
  done
}

# ---- which servers the client trusts ----

# s_server NAME OPTION…: openssl's, with that certificate (none: no options); sets PORT.
s_server() {
  local certificate=(-cert "$WRONG/$1.pem" -key "$WRONG/$1.key" -cert_chain "$WRONG/$1.pem")
  [[ $1 != anonymous ]] || certificate=(-nocert)
  start_tool "$1" openssl s_server -accept 127.0.0.1:0 "${certificate[@]}" "${@:2}"
  wait_for 5 grep -q ^ACCEPT "$T/$1.out"
  PORT=$(sed -n 's/^ACCEPT .*://p' "$T/$1.out")
}

# refuses NAME ADDRESS REASON [OPTION…]: our client leaves that server with that reason, and the
# server has received none of its input.
refuses() {
  local name=$1 address=$2 reason=$3
  shift 3
  s_server "$name" "$@"
  run -1 --separate-stderr client -a "$address" -C "$WRONG/ca.pem" secret words
  refute_output
  [[ $stderr =~ ^client:\ .*$reason ]] || complain "$name: not '$reason': $stderr"
  [[ ${#stderr_lines[@]} == 1 ]] || complain "$name: more than a line: $stderr"
  run ! grep -a -e secret -e words "$T/$name.out"
}

# accepts CERTIFICATE NAME
accepts() {
  s_server "$1"
  start_tool "client-$1" bash -c "exec $CLIENT -n $2 -p $PORT -C ${WRONG@Q}/ca.pem secret"
  wait_for 5 grep -aq secret "$T/$1.out" || last_words "client-$1"
}

# Numbers: openssl-verification-options(1), and openssl/x509_vfy.h.
# bats test_tags=kit,slow
@test "client: refuses a certificate for another name or address, or with the name in the CN only" {
  refuses other-name localhost 'CN=other.example: .*ostname mismatch'
  refuses cn-only localhost 'CN=localhost: .*ostname mismatch'
  refuses no-ip 127.0.0.1 'CN=localhost: .*IP address mismatch'
}

# bats test_tags=kit,slow
@test "client: refuses a certificate: expired, not yet valid, self-signed, or of an unknown CA" {
  refuses expired localhost 'CN=localhost: .*has expired'
  refuses not-yet localhost 'CN=localhost: .*not yet valid'
  refuses self-signed localhost 'CN=localhost: .*self-signed certificate'
  refuses other-ca localhost 'CN=localhost: .*unable to get local issuer'
}

# bats test_tags=kit,slow
@test "client: refuses a client's certificate, weak keys, weak signatures and broken chains" {
  local weak=(-cipher 'DEFAULT:@SECLEVEL=0')
  refuses client-only localhost 'CN=localhost: .*purpose'
  refuses rsa1024 localhost 'CN=localhost: .*key too weak' "${weak[@]}"
  refuses sha1 localhost 'CN=localhost: .*digest .*too weak' "${weak[@]}"
  refuses no-intermediate localhost 'CN=localhost: .*unable to get local issuer'
  refuses leaf-as-ca localhost 'CN=localhost: .*invalid CA'
}

# bats test_tags=kit,slow
@test "client: refuses TLS 1.1, ciphers without a certificate, and a server without TLS" {
  refuses server localhost '(protocol version|unsupported protocol)' -tls1_1 \
    -cipher 'DEFAULT:@SECLEVEL=0'
  refuses anonymous localhost 'handshake failure' -tls1_2 -cipher 'aNULL:@SECLEVEL=0'
  PEER_TLS='' NAME=plain start_fake -- sleep:100 send:'+welcome\n' drain
  run -1 --separate-stderr client -C "$WRONG/ca.pem" secret
  refute_output
  [[ $stderr =~ ^client:\ .*(wrong version number|packet length) ]] || complain "$stderr"
  run ! grep -a secret "$T/plain.out"
}

# A server that takes everything down as it came: no byte of the message, in no encoding.
# bats test_tags=kit
@test "client: sends nothing of the user's input before the handshake is done" {
  PEER_TLS='' NAME=plain start_fake -- recv:1 sleep:300 half-close eof
  run -1 --separate-stderr client -C "$WRONG/ca.pem" secret words
  refute_output
  assert_equal "$stderr" 'client: handshake: closed without sending anything'
  PEER_TLS='' NAME=plain finish_peer
  run ! grep -a secret "$T/plain.out"
  tail -n +2 "$T/plain.out" >"$T/said" # the first line is the fake's own
  is_a_client_hello "$T/said"
}

# is_a_client_hello FILE: one record (RFC 8446, 5.1) with a message of that type (4), and at most an
# alert after it. However many bytes that are: they depend on the version of OpenSSL.
is_a_client_hello() {
  local bytes end
  read -r -d '' -a bytes < <(od -An -v -tu1 "$1") || true
  [[ ${bytes[0]} == 22 && ${bytes[5]} == 1 ]]
  end=$((5 + 256 * bytes[3] + bytes[4]))
  [[ ${bytes[end]-21} == 21 ]]
  ((${#bytes[@]} == end || ${#bytes[@]} == end + 7)) || complain "${#bytes[@]} bytes, hello: $end"
}

# bats test_tags=kit,slow
@test "client: accepts a good chain, with an intermediate certificate or with an address too" {
  local name
  for name in server:localhost server:127.0.0.1 intermediate:localhost only-ip:127.0.0.1 \
    rsa:localhost; do
    accepts_our_server "${name%%:*}" "${name#*:}"
  done
}

# RFC 9525, 6.3: a wildcard is one whole label, the leftmost. RFC 5280, 4.2.1.12: without the
# extension a certificate may be for anything.
# bats test_tags=kit,slow
@test "client: accepts a wildcard for one label, and a certificate without an extended key usage" {
  local name
  accepts_our_server no-usage localhost
  identity wildcard
  start_server "${IDENTITY[@]}"
  run -0 client -C "$WRONG/ca.pem" -n one.two.example hello
  assert_output +hello
  for name in two.example none.one.two.example; do
    complains 1 'mismatch' "$CLIENT" -p "$PORT" -C "$WRONG/ca.pem" -n $name hello
  done
}

# accepts_our_server NAME ADDRESS: with that certificate.
accepts_our_server() {
  identity "$1"
  NAME=$1-$2 start_server "${IDENTITY[@]}"
  run -0 --separate-stderr client -a "$2" -C "$WRONG/ca.pem" hello
  assert_output +hello
  assert_equal "$stderr" ''
}

# bats test_tags=kit,slow
@test "client: works with openssl s_server" {
  s_server server -rev # which says each line backwards: no answer of the line service
  run -1 --separate-stderr client -C "$WRONG/ca.pem" hello
  [[ $stderr == *'does not fit'* ]]
  accepts intermediate localhost
}

# bats test_tags=kit,slow
@test "client: -n NAME sets the name that it looks for in the certificate and sends as SNI" {
  identity other-name
  start_server "${IDENTITY[@]}"
  complains 1 'CN=other.example: .*mismatch' "$CLIENT" -p "$PORT" -C "$WRONG/ca.pem" hello
  run -0 client -C "$WRONG/ca.pem" -n other.example hello
  assert_output +hello
  run -0 client -C "$WRONG/ca.pem" -n 192.0.2.1 hello
  complains 1 'mismatch' "$CLIENT" -p "$PORT" -C "$WRONG/ca.pem" -n 192.0.2.2 hello
  complains 1 'mismatch' "$CLIENT" -p "$PORT" -C "$WRONG/ca.pem" -n example hello
  s_server server -servername other.example -cert2 "$WRONG/other-name.pem" \
    -key2 "$WRONG/other-name.key"
  start_tool sni bash -c "exec $CLIENT -p $PORT -C ${WRONG@Q}/ca.pem -n other.example secret"
  wait_for 5 grep -aq secret "$T/server.out" || last_words sni
}

# RFC 6066, 3: an address is no name for SNI.
# bats test_tags=kit
@test "client: sends a name as SNI, but never an address" {
  PEER_TLS='' start_fake -- recv:200 sleep:100 close
  run -1 client -a localhost -C "$WRONG/ca.pem" hello
  PEER_TLS='' NAME=second start_fake -- recv:200 sleep:100 close
  run -1 client -a 127.0.0.1 -C "$WRONG/ca.pem" hello
  grep -aq localhost "$T/fake.out"
  run ! grep -aq '127\.0\.0\.1.' <(tail -n +2 "$T/second.out")
}

# bats test_tags=kit
@test "client: without a usable CA file it says why and exits with 1" {
  local file
  start_ours
  echo garbage >"$T/garbage"
  for file in "$T/none" "$T/garbage" "$T" /dev/null; do
    complains 1 "^client: .*$file" "$CLIENT" -p "$PORT" -C "$file" hello
  done
}

silent_server_is_given_up() {
  local ms
  PEER_TLS='' start_fake -- silent
  ms=$(now_ms)
  run -1 --separate-stderr client -C "$WRONG/ca.pem" secret
  ms=$(($(now_ms) - ms))
  ((ms > 4000 && ms < 8000)) || complain "$ms ms"
  [[ $stderr =~ ^client:\ .*too\ long ]] || complain "$stderr"
}

# bats test_tags=kit,slow
@test "client: gives up a server that accepts and then says nothing, after 5 s" {
  seen silent_server_is_given_up
}

# bats test_tags=kit
@test "client: a certificate without a key, or an impossible name: a usage error, exit 2" {
  complains 2 '^client: .*-c and -k' "$CLIENT" -c "$WRONG/client.pem" hello
  complains 2 '^client: .*-c and -k' "$CLIENT" -k "$WRONG/client.key" hello
  complains 2 '^client: .*not a name' "$CLIENT" -n '' hello
  complains 2 '^client: .*not a name' "$CLIENT" -n .example hello # any name that ends so
}

# bats test_tags=kit
@test "client: -i shows protocol, cipher, the server's name, who has signed it, and until when" {
  start_ours
  run -0 --separate-stderr client -C "$CA" -i hello
  assert_output --partial +hello
  output+=$'\n'$stderr
  assert_output --regexp 'TLSv?1\.3'
  assert_output --partial TLS_AES_
  assert_output --partial CN=localhost
  assert_output --partial 'CN=Socket Stages CA'
  assert_output --partial "$(openssl x509 -in "$WRONG/server.pem" -noout -enddate |
    sed 's/.*=\([A-Z][a-z]*  *[0-9]*\) .*/\1/')"
}

# ---- what the server refuses ----

# RFC 8996 (1.0 and 1.1), RFC 7568 (SSLv3); of SSLv2's hello nothing is understood. Which alert
# says so in these two depends on the version of OpenSSL.
# bats test_tags=slow
@test "SSLv2, SSLv3, TLS 1.0 and 1.1 are refused with an alert" {
  local version alert
  start_ours
  hostile old-versions
  alert='(handshake_failure|protocol_version)'
  assert_output --regexp "^($alert |)end $alert end( protocol_version end){2}$"
  for version in -tls1 -tls1_1; do
    s_client $version -cipher 'DEFAULT:@SECLEVEL=0'
    assert_failure
    assert_output --partial 'alert protocol version'
  done
  assert_serving
}

# RFC 9325, 4.1 and 4.2
# bats test_tags=slow
@test "NULL, anonymous, export, RC4, 3DES, CBC and RSA key exchange are refused with an alert" {
  start_ours
  hostile suites
  assert_equal "${#lines[@]}" 7
  assert_equal "$(grep -c 'handshake_failure end$' <<<"$output")" 6
  assert_line --regexp '^good: hello c02[bc]'
  assert_serving
  identity rsa # with an EC key there is nothing to exchange by RSA, nor a CBC with an RSA signature
  NAME=rsa start_server "${IDENTITY[@]}"
  hostile suites
  assert_line 'rsa-key-exchange: handshake_failure end'
  assert_equal "$(grep -c ': handshake_failure end$' <<<"$output")" 7 # the good ones are for EC
}

# RFC 3749, CRIME
# bats test_tags=slow
@test "the server never chooses compression" {
  start_ours
  hostile compression
  assert_output --partial 'compression 0'
}

# RFC 5746. It would cost the server a handshake for each record of the client.
@test "the server refuses renegotiation, which costs the client only its own connection" {
  start_ours
  TALK=('hello\n' '^\+hello' 'R\n' 'no renegotiation')
  s_client -tls1_2
  assert_output --partial +hello
  assert_output --partial ':no renegotiation:'
  assert_serving
}

# sslscan(1); RFC 9325
sslscan_finds_no_more() {
  need sslscan
  start_ours
  run -0 timeout 60 sslscan --no-colour --show-certificate "127.0.0.1:$PORT"
  assert_equal "$(awk '$2 == "enabled" { print $1 }' <<<"$output" | tr '\n' ' ')" 'TLSv1.2 TLSv1.3 '
  assert_output --regexp 'Compression disabled|does not support compression'
  assert_output --partial 'Session renegotiation not supported'
  (($(grep -Ec '^(Preferred|Accepted) ' <<<"$output") >= 4))
  run ! grep -Ev 'ECDHE.*(GCM|CHACHA20|POLY1305)|TLS_(AES|CHACHA20)' \
    <(grep -E '^(Preferred|Accepted) ' <<<"$output")
}

# bats test_tags=heavy
@test "sslscan finds only TLS 1.2 and 1.3, and only cipher suites with ECDHE and AEAD" {
  seen sslscan_finds_no_more
}

nmap_finds_strength_a() {
  need nmap
  start_ours
  run -0 timeout 60 nmap -n -Pn -p "$PORT" --script ssl-enum-ciphers 127.0.0.1
  assert_output --partial 'least strength: A'
  assert_equal "$(grep -o 'TLSv[0-9.]*:' <<<"$output" | tr '\n' ' ')" 'TLSv1.2: TLSv1.3: '
  refute_output --partial _CBC_
  refute_output --partial warnings
}

# bats test_tags=heavy
@test "nmap's ssl-enum-ciphers rates the weakest cipher as A" {
  seen nmap_finds_strength_a
}

# ---- mutual TLS ----

# SSL_CTX_set_verify(3). Of 1.3 a client's handshake is over before the server has seen its
# certificate: what it hears is an alert in the place of the reply.
clients_need_certificates() {
  local name version TALK=('hello\n' 'alert|^\+hello')
  start_ours -C "$WRONG/ca.pem" -v
  for version in -tls1_2 -tls1_3; do
    for name in none client-other client-expired client-server; do
      local certificate=(-cert "$WRONG/$name.pem" -key "$WRONG/$name.key")
      [[ $name != none ]] || certificate=()
      s_client "${certificate[@]}" $version
      refute_output --partial +hello
      assert_output --regexp 'alert (certificate|handshake|unknown|unsupported|bad)'
    done
  done
  logged 'did not return a certificate' 2
  logged 'CN=mallory.*issuer' 2
  logged 'CN=bob.*expired' 2
  logged 'CN=carol.*purpose' 2
  s_client -cert "$WRONG/client.pem" -key "$WRONG/client.key" -quiet -no_ign_eof
  assert_line +hello
  logged CN=alice 1
}

@test "-C: a client whose certificate is missing, foreign, expired or wrong gets only an alert" {
  seen clients_need_certificates
}

# short_lived SECONDS: visits with 1.2 and 1.3, with a certificate that lives so long. The sessions
# are in $T/session-tls1_[23] then. 1: it had ended before that.
short_lived() {
  local version
  sh "$BATS_TEST_DIRNAME/helpers/wrong-certs.sh" "$T/certs" "$1"
  for version in -tls1_2 -tls1_3; do
    s_client -cert "$T/certs/client-short.pem" -key "$T/certs/client-short.key" $version \
      -sess_out "$T/session$version" -quiet -no_ign_eof
    [[ $output == *+hello* ]] || return
  done
}

expired() {
  ! openssl x509 -in "$1" -noout -checkend 0 >/dev/null
}

# RFC 8446, 4.6.1: to resume a session says nothing of whether the certificate is still valid.
tickets_expire_too() {
  local seconds version TALK=('hello\n' 'alert|^\+hello')
  cp -r "$WRONG" "$T/certs"
  start_ours -C "$WRONG/ca.pem"
  for seconds in 4 8 16 32 64; do
    ! short_lived "$seconds" || break
  done
  wait_for 70 expired "$T/certs/client-short.pem"
  for version in -tls1_2 -tls1_3; do
    [[ -s $T/session$version ]]
    s_client -cert "$T/certs/client-short.pem" -key "$T/certs/client-short.key" $version \
      -sess_in "$T/session$version"
    refute_output --partial +hello
    assert_output --partial 'alert certificate expired'
    s_client -cert "$WRONG/client.pem" -key "$WRONG/client.key" $version \
      -sess_in "$T/session$version" # renewed
    assert_line --partial 'New, TLSv1'
    assert_line +hello
  done
}

# bats test_tags=slow
@test "-C: a ticket does not let in a client whose certificate has expired, with 1.2 and 1.3" {
  seen tickets_expire_too
}

# A name is text from the other side, so it may contain anything, and no terminal must obey it.
# bats test_tags=kit,slow
@test "control characters in a certificate's name reach neither the log nor a terminal" {
  local subject=$'/CN=evil\e[2J\nserver: all is well' TALK=('hello\n' 'alert|^\+hello')
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -noenc -subj "$subject" \
    -keyout "$T/evil.key" -out "$T/evil.pem" 2>"$T/log"
  start_ours -C "$WRONG/ca.pem" -v
  s_client -cert "$T/evil.pem" -key "$T/evil.key"
  logged 'CN=evil.*self-signed' 1
  run ! grep -aq -e $'\e' -e '^server' "$T/server.err"
  NAME=evil start_server -c "$T/evil.pem" -k "$T/evil.key"
  complains 1 '^client: .*CN=evil.*self-signed' "$CLIENT" -p "$PORT" -C "$WRONG/ca.pem" hello
  [[ $stderr != *$'\e'* && ${#stderr_lines[@]} == 1 ]]
}

# bats test_tags=kit,slow
@test "client: -c and -k show a certificate; if it is refused, the client says why, exit 1" {
  local name
  start_ours -C "$WRONG/ca.pem"
  identity client
  run -0 --separate-stderr client -C "$CA" "${IDENTITY[@]}" hello
  assert_output +hello
  complains 1 '^client: .*certificate required' "$CLIENT" -p "$PORT" -C "$CA" hello
  for name in client-other client-expired client-server; do
    identity "$name"
    complains 1 '^client: .*(unknown ca|expired|unsupported certificate|certificate)' "$CLIENT" \
      -p "$PORT" -C "$CA" "${IDENTITY[@]}" hello
  done
  assert_alive
}

# ---- clients that do not complete the handshake ----

half_hello() {
  need python3
  timeout 40 python3 "$HOSTILE" "$PORT" "$CA" hello-file >"$T/hello"
  head -c $(($(wc -c <"$T/hello") / 2)) "$T/hello" >"$T/half"
}

# closed_after NAME MIN MAX COUNT: all of that peer's, in so many ms.
closed_after() {
  NAME=$1 finish_peer
  awk -v min="$2" -v max="$3" -v count="$4" '$1 >= min && $1 <= max { n++ }
    END { if (n != count) exit 1 }' "$T/$1.out" || complain "$(tr '\n' ' ' <"$T/$1.out")"
}

# BIO_number_read(3)
# bats test_tags=kit,slow
@test "-v: the log tells a client that said nothing, as in a port scan, from one that was cut off" {
  start_ours -v
  half_hello # connects, and says nothing
  PEER_TLS='' "$PEER" -r 3 "$PORT" half-close eof
  PEER_TLS='' "$PEER" -r 2 "$PORT" file:"$T/half" half-close eof
  logged 'handshake: truncated' 2
  logged 'handshake: closed without sending anything$' 4
}

# Each honest client gets its answers within a second, the server takes no processor time.
half_handshakes_are_closed() {
  local bytes=() i before
  start_ours -v
  before=$(fds "$SERVER_PID")
  half_hello
  for i in {1..4}; do
    bytes+=("file:$T/byte$i" sleep:1000)
    tail -c "+$i" "$T/hello" | head -c 1 >"$T/byte$i"
  done
  PEER_TLS='' NAME=silent start_peer -n 100 "$PORT" ready:"$T/1" closed:8000
  PEER_TLS='' NAME=half start_peer -n 80 "$PORT" file:"$T/half" ready:"$T/2" closed:8000
  PEER_TLS='' NAME=slow start_peer -n 20 "$PORT" "${bytes[@]:0:2}" ready:"$T/3" "${bytes[@]:2}" \
    closed:5000
  wait_for 5 has_fds $((before + 200))
  "$PEER" -t 5 -n 20 "$PORT" lines:10 lines-back:10 half-close eof
  for i in {1..5}; do
    assert_serving
    "$PEER" "$PORT" within:1500:send:'hello\n' within:1500:line
  done
  closed_after silent 4000 7000 100
  closed_after half 4000 7000 80
  closed_after slow 0 3000 20
  wait_for 2 has_fds "$before" "$before"
  logged 'handshake.*time' 200
  assert_serving
}

# bats test_tags=heavy
@test "200 peers that never complete a handshake are gone after 5 s, and others are served" {
  seen half_handshakes_are_closed
}

waiting_handshake_does_not_spin() {
  start_ours
  half_hello
  PEER_TLS='' start_peer -n 20 "$PORT" file:"$T/half" ready:"$T/here" silent
  wait_for 5 test -e "$T/here"
  assert_not_spinning
}

# bats test_tags=slow
@test "a client that stops in the middle of the handshake does not make the server spin" {
  seen waiting_handshake_does_not_spin
}

# RFC 8446, 6: a fatal alert, then the end.
# bats test_tags=slow
@test "plain text and invalid records get an alert or an end, and one line in the log each" {
  start_ours -v
  hostile junk
  assert_equal "$(grep -Ecx '([a-z_]+ )?end' <<<"$output")" 8 # never a reset
  assert_equal "$(grep -c _ <<<"$output")" 6
  assert_serving
  logged 'handshake.*(http request|wrong version)'
  logged handshake 8
}

# bats test_tags=slow
@test "random bytes get an alert or an end" {
  start_ours
  hostile noise
  run ! grep -Eo '(still open|reset)' <<<"$output"
  assert_serving
}

# RFC 8446, 4.6.3. OpenSSL answers a KeyUpdate by itself, and reads on: it need never come back.
key_updates_hold_up_nobody() {
  local name before
  start_ours
  before=$(rss_kb "$SERVER_PID")
  for name in first second; do
    start_tool $name sh -c 'yes K | exec openssl s_client -connect "127.0.0.1:$1"' sh "$PORT"
  done
  wait_for 5 grep -q KEYUPDATE "$T/second.err" "$T/second.out"
  for _ in {1..5}; do
    assert_serving
    sleep 0.1
  done
  [[ ${SAN-} ]] || (($(rss_kb "$SERVER_PID") - before < 2000))
}

# bats test_tags=heavy
@test "clients that send KeyUpdate without end neither keep others waiting nor cost memory" {
  seen key_updates_hold_up_nobody
}

# RFC 8446, 5.1 and 5.2: lengths. OpenSSL answers with the alert for each.
# bats test_tags=slow
@test "invalid records in mid-conversation, from 0 to 18,000 bytes, get an alert, never a reset" {
  start_ours
  hostile records
  assert_equal "${#lines[@]}" 10
  run ! grep -Ev 'alert.* end$' <<<"$output"
  assert_serving
}

@test "clients that reset or stop at any stage of the handshake do no harm, with 1.2 and 1.3" {
  local before
  start_ours
  assert_serving
  before=$(fds "$SERVER_PID") # that visit may still linger
  hostile resets
  assert_output '32 visits'
  assert_serving
  wait_for 7 has_fds 1 "$before"
}

# SIGPIPE: OpenSSL writes with write(2). The client rejects our certificate, or is gone.
rejections_do_no_harm() {
  start_ours -v
  PEER_TLS=$WRONG/other-root.pem run -1 "$PEER" -n 5 "$PORT" send:'hello\n'
  logged 'handshake.*unknown ca' 1
  "$PEER" -n 50 -r 4 "$PORT" lines:100 reset
  FAULT_ENV='FAULT_SHORT=50 FAULT_DELAY=send:300' NAME=slow start_ours
  "$PEER" -n 20 "$PORT" lines:1000 gone
  NAME=slow assert_serving
}

# bats test_tags=heavy
@test "200 clients that reject the certificate or reset after the handshake do no harm" {
  seen rejections_do_no_harm
}

# ---- the end ----

# RFC 8446, 6.1: close_notify. What comes after it is ignored.
@test "data after close_notify is not answered, and does no harm" {
  start_ours
  hostile more-after-close-notify
  assert_output --regexp '^(alert |)+end$'
  assert_serving
}

@test "a client's close_notify is answered with ours; an end without it is logged as truncation" {
  start_ours -v
  "$PEER" "$PORT" send:'hello\n' line half-close eof
  "$PEER" "$PORT" send:'hello\nhalf' line cut
  logged truncated 1
  logged ' closed$' 1
  assert_serving
}

# fake_tls VERB…: peer as a TLS server with the good certificate.
fake_tls() {
  cat "$WRONG/server.pem" "$WRONG/server.key" >"$T/identity"
  PEER_TLS=$T/identity start_fake "$@"
}

# bats test_tags=kit
@test "client: after an end without close_notify it prints what came, then an error, exit 1" {
  fake_tls -- line send:'+hello\n' line send:'+wo' cut drain
  run -1 --separate-stderr client -C "$WRONG/ca.pem" hello world
  assert_line --index 0 +hello
  [[ $stderr =~ ^client:\ .*(truncated|close_notify) ]] || complain "$stderr"
  NAME=clean fake_tls -- line send:'+hello\n' half-close drain
  run -1 --separate-stderr client -C "$WRONG/ca.pem" hello world
  assert_output +hello
  [[ $stderr =~ ^client:\ .*closed ]] || complain "$stderr"
  NAME=reset fake_tls -- line send:'+hello\n' line reset
  run -1 --separate-stderr client -C "$WRONG/ca.pem" hello world
  assert_output +hello
  [[ $stderr == *ECONNRESET* ]] || complain "$stderr"
}

# The server says close_notify in the very segment that brings the last reply.
# bats test_tags=kit
@test "client: a clean end that arrives together with the last reply is no error: exit 0" {
  need python3
  cat "$WRONG/server.pem" "$WRONG/server.key" >"$T/identity"
  start_tool python python3 -c 'if True:
    import socket, ssl, sys
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(sys.argv[1])
    listener = socket.create_server(("127.0.0.1", 0))
    print("listening on 127.0.0.1:%d" % listener.getsockname()[1], flush=True)
    s, _ = listener.accept()
    received, out = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(received, out, server_side=True)

    def complete(call):
        while True:
            try:
                return call()
            except ssl.SSLWantReadError:
                s.sendall(out.read())
                received.write(s.recv(65536))

    complete(tls.do_handshake)
    tls.write(b"+" + complete(lambda: tls.read(100)))
    try:
        tls.unwrap()
    except ssl.SSLWantReadError:
        pass # which is about its answer
    s.sendall(out.read())
    while s.recv(65536):
        pass
  ' "$T/identity"
  await_port python "$TOOL_PID"
  run -0 --separate-stderr client -C "$WRONG/ca.pem" hello
  assert_output +hello
  assert_equal "$stderr" ''
}

# start_python_server: a server as many people write it in Python. `with` closes the socket without
# close_notify, which only unwrap() sends. It answers two lines of each connection.
start_python_server() {
  need python3
  cat "$WRONG/server.pem" "$WRONG/server.key" >"$T/identity"
  start_tool python python3 -c 'if True:
    import socket, ssl, sys
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(sys.argv[1])
    listener = socket.create_server(("127.0.0.1", 0))
    print("listening on 127.0.0.1:%d" % listener.getsockname()[1], flush=True)
    while True:
        s, _ = listener.accept()
        with context.wrap_socket(s, server_side=True) as conn:
            received = b""
            while received.count(b"\n") < 2:
                received += conn.recv(65536)
            conn.sendall(b"".join(b"+" + line for line in received.splitlines(True)))
  ' "$T/identity"
  await_port python "$TOOL_PID"
}

# RFC 8446, 6.1: anyone may have caused an end without close_notify. But no reply was missing.
end_after_all_replies() {
  local note='^client: all is answered, but the connection ended badly: '
  start_python_server
  run -0 --separate-stderr client -C "$WRONG/ca.pem" hello world
  assert_output $'+hello\n+world'
  [[ $stderr =~ $note(truncated|Connection reset) ]] || complain "$stderr"
  run -0 --separate-stderr client -C "$WRONG/ca.pem" < <(printf 'hello\nworld\n' && sleep 0.5)
  assert_output $'+hello\n+world'
  [[ $stderr =~ $note(truncated|Connection reset) ]] || complain "$stderr"
  NAME='cut' fake_tls -- line send:'+hello\n' cut drain
  run -0 --separate-stderr client -C "$WRONG/ca.pem" < <(printf 'hello\n' && sleep 0.5)
  [[ $stderr =~ ${note}truncated ]] || complain "$stderr"
  NAME=reset fake_tls -- line send:'+hello\n' sleep:200 reset
  run -0 --separate-stderr client -C "$WRONG/ca.pem" < <(printf 'hello\n' && sleep 0.5)
  [[ $stderr =~ ${note}.*ECONNRESET ]] || complain "$stderr"
  NAME=clean fake_tls -- line send:'+hello\n' half-close eof
  run -0 --separate-stderr client -C "$WRONG/ca.pem" < <(printf 'hello\n' && sleep 0.5)
  assert_equal "$stderr" ''
}

# bats test_tags=kit,slow
@test "client: a bad end after the last reply is only mentioned on stderr: exit 0" {
  seen end_after_all_replies
}

# A line that comes after the end gets no reply, and neither does a partial line.
end_before_the_last_line() {
  local more
  for more in 'world\n' 'world'; do
    NAME=fake-$more fake_tls -- line send:'+hello\n' cut drain
    run -1 --separate-stderr client -C "$WRONG/ca.pem" < <(printf 'hello\n' && sleep 0.5 &&
      printf %b "$more")
    assert_output +hello
    [[ $stderr =~ ^client:\ the\ connection:\ truncated ]] || complain "$stderr"
  done
}

# bats test_tags=kit
@test "client: a line that comes after an end without close_notify is lost: an error, exit 1" {
  seen end_before_the_last_line
}

# bats test_tags=kit
@test "client: an alert is an error even if every line has its reply: exit 1" {
  start_ours -C "$WRONG/ca.pem" # who comes without a certificate is told so by an alert
  run -1 --separate-stderr client -C "$CA" < <(sleep 0.5)
  [[ $stderr == client:*'certificate required'* ]] || complain "$stderr"
}

# setrlimit(2), RLIMIT_FSIZE: as if the disk were full. Standard error has to be a pipe here.
without_disk() {
  trap '' XFSZ
  ulimit -f 0
  "$@"
}

# bats test_tags=kit
@test "client: if it cannot store a message until it is sent, it says why and exits with 1" {
  start_ours
  run -1 without_disk client -C "$CA" hello
  assert_output --regexp '^client: tmpfile: File too large'
  run -1 without_disk client -C "$CA" "$(head -c 20000 /dev/zero | tr '\0' x)" hello
  assert_output --regexp '^client: tmpfile: File too large'
}

shows() {
  [[ $(tr -d '\r' <"$T/screen.out") == "$1" ]]
}

# bats test_tags=kit
@test "client: on a terminal it shows a prompt after each reply" {
  need script
  start_ours
  mkfifo "$T/typed"
  # shellcheck disable=SC2016
  start_tool screen sh -c 'exec script -qec "$1" /dev/null <>"$2"' sh \
    "$CLIENT -p $PORT -C $CA" "$T/typed"
  wait_for 5 shows '> '
  echo one >"$T/typed"
  wait_for 5 shows $'> one\n+one\n> '
  echo two >"$T/typed"
  wait_for 5 shows $'> one\n+one\n> two\n+two\n> '
}

# bats test_tags=kit
@test "client: sends close_notify at its own end" {
  fake_tls -- line send:'+hello\n' eof half-close
  run -0 --separate-stderr client -C "$WRONG/ca.pem" hello
  assert_output +hello
  finish_fake
}

finish_fake() {
  NAME=fake finish_peer
}

# RFC 2525, 2.17: a close with input unread sends a reset, which destroys the alert on its way.
alerts_arrive() {
  local before
  start_server -c "$WRONG/server.pem" -k "$WRONG/server.key"
  before=$(nstat -asz TcpOutRsts)
  head -c 100000 /dev/zero >"$T/zeros"
  PEER_TLS='' "$PEER" -t 5 -r 50 "$PORT" send:'\x16\x03\x01\x46\x50' file:"$T/zeros" eof \
    >"$T/alerts"
  (($(wc -c <"$T/alerts") == 350))
  PEER_TLS=$WRONG/ca.pem "$PEER" -t 5 -r 20 "$PORT" fill:200000 line eof >"$T/words"
  (($(grep -c ^- "$T/words") == 20))
  assert_equal "$(nstat -asz TcpOutRsts)" "$before"
}

@test "the last alert or reply always arrives: 70 of 70 times, and without a reset" {
  need nstat
  run -0 netns alerts_arrive
}

# ---- below OpenSSL ----

# BIO_s_socket(7) makes of EINTR and EAGAIN "retry", of which the program has to take care.
@test "the server copes with EINTR, EAGAIN and short writes in every call, even in the handshake" {
  local call
  FAULT_ENV="FAULT_REPORT=$T/report FAULT_SHORT=50 FAULT_FAIL=epoll_wait:EINTR:3,accept:EAGAIN:2,\
accept:EINTR:3,recv:EAGAIN:2,recv:EINTR:3,send:EAGAIN:2,send:EINTR:3" start_ours
  "$PEER" -n 20 "$PORT" lines:200 lines-back:200 half-close eof
  "$PEER" -n 5 "$PORT" dribble:1:'one\n' lines:10 line lines-back:10 >"$T/ones"
  seq 1000000 1050000 >"$T/sent"
  sed 's/^/+/' "$T/sent" >"$T/expected"
  "$PEER" "$PORT" echo:"$T/sent" >"$T/received"
  same_bytes "$T/expected" "$T/received"
  stop_server
  for call in epoll_wait accept recv send; do
    (($(happened "$call" failed) > 15)) || complain "$call: $(happened "$call" failed)"
  done
  (($(happened send shortened) > 1000))
}

@test "a handshake works if every write takes only one byte, in both directions" {
  FAULT_ENV='FAULT_SHORT=1' start_ours
  FAULT_ENV='FAULT_SHORT=1' run -0 client -C "$CA" hello world
  assert_output $'+hello\n+world'
}

# A blocking call on a blocking socket fails with EINTR too: SSL_get_error(3).
# bats test_tags=kit
@test "client: gets every reply in spite of short writes and EINTR in every second call" {
  start_ours
  seq 1 300 >"$T/sent"
  FAULT_ENV="FAULT_REPORT=$T/report FAULT_SHORT=3 FAULT_FAIL=connect:EINTR:@1,recv:EINTR:2,\
send:EINTR:2,poll:EINTR:2" run -0 --separate-stderr client -C "$CA" <"$T/sent"
  assert_equal "$stderr" ''
  assert_equal "$output" "$(sed 's/^/+/' "$T/sent")"
  (($(happened recv failed) > 100 && $(happened send failed) > 100))
}

# Each of the some hundred allocations of a handshake fails for some client.
# bats test_tags=kit,heavy
@test "if every 1,501st malloc fails, only the connection that needed it ends" {
  [[ ${SAN-} != *address* ]] || skip 'a sanitizer has a malloc of its own'
  local i good=0 NAME
  FAULT_ENV="FAULT_AFTER=listen FAULT_FAIL=malloc:ENOMEM:1501" start_ours
  for i in {1..40}; do
    run "$PEER" -t 5 "$PORT" send:'hello\n' line half-close eof
    ((status)) || good=$((good + 1))
  done
  ((good > 0 && good < 40)) || complain "$good of 40"
  stop_server
}

# ---- a renewed certificate ----

serial() {
  openssl s_client -connect "127.0.0.1:$PORT" -CAfile "$WRONG/ca.pem" </dev/null 2>/dev/null |
    openssl x509 -noout -serial
}

serial_is() {
  [[ $(serial) == "$1" ]]
}

copy_identity() {
  install -m 600 "$WRONG/$1.key" "$T/now.key"
  install -m 644 "$WRONG/$1.pem" "$T/now.pem"
}

# bats test_tags=kit,slow
@test "SIGHUP: new connections get the renewed certificate, and open ones go on undisturbed" {
  local old new i
  copy_identity server
  PEER_TLS=$WRONG/ca.pem
  start_server -c "$T/now.pem" -k "$T/now.key"
  old=$(serial)
  start_peer "$PORT" send:'one\n' line ready:"$T/here" until:"$T/go" send:'two\n' line \
    half-close eof
  wait_for 5 test -e "$T/here"
  copy_identity rsa
  serial_is "$old" # until it is told
  kill -HUP "$SERVER_PID"
  new=$(openssl x509 -in "$WRONG/rsa.pem" -noout -serial)
  wait_for 2 serial_is "$new"
  touch "$T/go"
  finish_peer
  assert_equal "$(<"$T/peer.out")" $'+one\n+two'
  for i in {1..10}; do
    kill -HUP "$SERVER_PID"
    assert_serving
  done
  stop_server
  run ! grep -v '^server: loaded ' "$T/server.err"
}

# bats test_tags=kit,slow
@test "SIGHUP with unusable files: the server says so on stderr and keeps the old certificate" {
  local good
  copy_identity server
  PEER_TLS=$WRONG/ca.pem
  start_server -c "$T/now.pem" -k "$T/now.key"
  good=$(serial)
  # bad WORDS: after a SIGHUP it complains so, and all is as before.
  bad() {
    : >"$T/server.err"
    kill -HUP "$SERVER_PID"
    logged "^server: .*$1" 1
    serial_is "$good"
    assert_serving
    copy_identity server
  }
  head -c 300 "$WRONG/server.pem" >"$T/now.pem"
  bad 'now.pem'
  rm "$T/now.pem"
  bad 'now.pem.*No such file'
  cp "$WRONG/rsa.pem" "$T/now.pem"
  bad 'now.key.*mismatch'
  chmod 644 "$T/now.key"
  bad 'now.key.*others'
  kill -HUP "$SERVER_PID"
  assert_serving
}

# ---- unusable files at the start ----

# bats test_tags=kit,slow
@test "if a certificate or key is missing, garbage or of another pair, the server says so, exit 1" {
  local k=$WRONG/server.key c=$WRONG/server.pem
  echo garbage >"$T/garbage"
  chmod 600 "$T/garbage"
  complains 1 "^server: .*$T/none.*No such file" "$SERVER" -p 0 -c "$T/none" -k "$k"
  complains 1 "^server: .*$T/none.*No such file" "$SERVER" -p 0 -c "$c" -k "$T/none"
  complains 1 "^server: .*$T/garbage" "$SERVER" -p 0 -c "$T/garbage" -k "$k"
  complains 1 "^server: .*$T/garbage" "$SERVER" -p 0 -c "$c" -k "$T/garbage"
  complains 1 "^server: .*$T/garbage" "$SERVER" -p 0 -c "$c" -k "$k" -C "$T/garbage"
  complains 1 "^server: .*$T/none.*" "$SERVER" -p 0 -c "$c" -k "$k" -C "$T/none"
  complains 1 "^server: .*client.key.*mismatch" "$SERVER" -p 0 -c "$c" -k "$WRONG/client.key"
  complains 1 "^server: .*rsa.key.*mismatch" "$SERVER" -p 0 -c "$c" -k "$WRONG/rsa.key"
  complains 1 "^server: .*$WRONG/sha1.pem: .*weak" "$SERVER" -p 0 \
    -c "$WRONG/sha1.pem" -k "$WRONG/sha1.key"
  complains 1 "^server: .*$WRONG/rsa1024.pem: .*too small" "$SERVER" -p 0 \
    -c "$WRONG/rsa1024.pem" -k "$WRONG/rsa1024.key"
}

# bats test_tags=kit,slow
@test "the server refuses a key that others may use, that it may not read, or with a password" {
  local mode
  for mode in 400 440 600 640; do
    install -m $mode "$WRONG/server.key" "$T/key"
    NAME=mode$mode start_server -c "$WRONG/server.pem" -k "$T/key"
  done
  for mode in 644 604 660 620 602 601; do
    install -m $mode "$WRONG/server.key" "$T/key"
    complains 1 "^server: .*$T/key: others" "$SERVER" -p 0 -c "$WRONG/server.pem" -k "$T/key"
  done
  openssl ec -in "$WRONG/server.key" -aes128 -passout pass:secret -out "$T/locked" 2>/dev/null
  chmod 600 "$T/locked"
  complains 1 "^server: .*$T/locked" "$SERVER" -p 0 -c "$WRONG/server.pem" -k "$T/locked"
  ((EUID != 0)) || need setpriv
  install -m 000 "$WRONG/server.key" "$T/key"
  ((EUID != 0)) || SERVER="setpriv --inh-caps -all --bounding-set -all $SERVER"
  complains 1 "^server: .*$T/key: Permission denied" "$SERVER" -p 0 \
    -c "$WRONG/server.pem" -k "$T/key"
}

# ---- memory ----

idle_connections_keep_no_buffers() {
  need_descriptors 400
  local before bytes
  [[ ! ${SAN-} ]] || skip 'a sanitizer needs memory of its own'
  start_ours
  assert_serving
  before=$(rss_kb "$SERVER_PID")
  start_peer -n 300 "$PORT" lines:1000:40 lines-back:1000:40 ready:"$T/here" silent
  wait_for 20 test -e "$T/here"
  bytes=$((($(rss_kb "$SERVER_PID") - before) * 1024 / 300))
  ((bytes < 60000)) || complain "$bytes bytes for each connection"
}

# bats test_tags=kit,heavy
@test "300 idle connections that have sent 40 kB each keep none of OpenSSL's 34 kB buffers" {
  seen idle_connections_keep_no_buffers
}
