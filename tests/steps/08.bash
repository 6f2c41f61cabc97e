# shellcheck shell=bash
# What hostile clients, and hostile servers, do to the programs of chapter 08. See common.bash.

export CERTS=$ROOT/08-tls/certs

# begin: as start_step. The steps look for their certificate in ../certs.
begin() {
  BATS_CWD=$ROOT/$CHAPTER/steps start_step
}

# secure VERB…: a client that speaks TLS and trusts the kit's CA.
secure() {
  PEER_TLS=$CERTS/ca.pem peer "$@"
}

# served: a fresh client gets its answer.
served() {
  local answer
  answer=$(secure send:'hello\n' line) || return
  [[ $answer == hello || $answer == +hello ]]
}

still_served() {
  if served; then
    echo ✓
  else
    tell_end
  fi
}

# has_client: the step has a client; else the column does not apply.
has_client() {
  [[ $PAIR ]] || {
    echo –
    return 1
  }
}

# certify NAMES OPTION…: a certificate for NAMES (`DNS:localhost,IP:127.0.0.1`), with its key, in
# $T/identity.
certify() {
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -noenc -subj /CN=someone \
    -addext "subjectAltName=$1" -keyout "$T/key" -out "$T/cert" "${@:2}" 2>"$T/openssl" &&
    cat "$T/cert" "$T/key" >"$T/identity"
}

# client_meets VERB…: the step's client meets a server with $T/identity that does this. Its output
# is in $T/client.out, its exit status in HOW.
client_meets() {
  cd "$ROOT/$CHAPTER/steps" || return
  PEER_TLS=$T/identity start_fake -- "$@" || return
  HOW=0
  if [[ $STEP == server ]]; then
    run_client 'my password is rabbit' || HOW=$?
  else
    run_client || HOW=$?
  fi >"$T/client.out" 2>"$T/client.err"
}

# tells_password: what the server with this certificate has heard.
tells_password() {
  client_meets line send:'+my password is rabbit\n' eof || return
  if grep -q rabbit "$T/fake.out"; then
    echo 'hears the password'
  elif ((HOW == 1)) && grep -q "$1" "$T/client.err"; then
    echo ✓
  fi
}

behavior 'eavesdropper' 'Someone records every byte between a client and the server.'
on_eavesdropper() {
  command -v python3 >/dev/null || unseen 'python3 is needed' || return
  begin || return
  start_tool relay python3 "$ROOT/tests/steps/record.py" "$PORT" "$T/record" || return
  await_port relay "$TOOL_PID" || return
  [[ $(secure send:'my password is rabbit\n' line) == *rabbit ]] || return
  (($(wc -c <"$T/record") > 1000)) || return
  if grep -aq rabbit "$T/record"; then
    echo 'reads everything'
  else
    echo ✓
  fi
}

# RFC 9525: the certificate has to lead to an authority that the client trusts.
behavior 'false server' 'The server has a certificate that it has signed itself.'
on_false_server() {
  has_client || return 0
  certify DNS:localhost,IP:127.0.0.1 || return
  tells_password self-signed
}

# RFC 9525, 6: and it has to be for the name that the client wants.
behavior 'wrong name' "The server's certificate is from the right authority, for another name."
on_wrong_name() {
  has_client || return 0
  certify DNS:other.example -CA "$CERTS/ca.pem" -CAkey "$CERTS/ca.key" || return
  tells_password mismatch
}

# RFC 8446, 6.1
behavior 'half a reply' 'The connection ends in the middle of a reply, without close_notify.'
on_half_a_reply() {
  has_client || return 0
  cat "$CERTS/server.pem" "$CERTS/server.key" >"$T/identity"
  client_meets line send:'+my pass' cut eof || return
  case $HOW in
    0) grep -q 'my pass$' "$T/client.out" && echo 'is taken for all' ;;
    1) grep -q truncated "$T/client.err" && echo ✓ ;;
  esac
}

behavior 'not TLS' 'A client sends a line without TLS.'
on_not_tls() {
  begin || return
  peer send:'hello\n' half-close drain >"$T/drained"
  still_served
}

# signal(7), SIGPIPE. The server's sends are delayed, so that the client has left before them.
behavior 'SIGPIPE' 'A client sends two lines and leaves without reading.'
on_sigpipe() {
  FAULT_ENV='FAULT_DELAY=send:50000' begin || return
  secure send:'one\n' send:'two\n' close || return
  still_served
}

behavior 'silent client' 'A client connects and says nothing, then another one comes.'
on_silent_client() {
  begin || return
  NAME=first ready_peer HERE until:"$T/go" || return
  PEER_TLS=$CERTS/ca.pem NAME=second start_peer "$PORT" send:'hello\n' line || return
  if NAME=second step_ends 1500; then
    ((HOW == 0)) && echo ✓
    return
  fi
  touch "$T/go"
  NAME=second peer_ends || return
  if ((HOW == 0)); then
    echo 'others wait'
  elif step_ends && ((HOW == 1)); then
    echo 'others wait, then it ends'
  fi
}

# RFC 8446, 6.1
behavior 'close_notify' 'A client says close_notify and waits for that of the server.'
on_close_notify() {
  begin || return
  if secure send:'hello\n' line half-close eof >"$T/answer"; then
    echo ✓
  else
    grep -q 'unexpected eof' "$T/peer.err" && echo missing
  fi
}

# RFC 2525, 2.17. A record of 18,000 bytes is answered with an alert; there is more to come.
behavior 'last alert' 'A client sends 100,000 bytes that are no record, and waits for the alert.'
on_last_alert() {
  head -c 100000 /dev/zero >"$T/zeros"
  begin || return
  kill -STOP "$STEP_PID"
  ready_peer send:'\x16\x03\x01\x46\x50' file:"$T/zeros" HERE eof || return
  kill -CONT "$STEP_PID"
  peer_ends || return
  if ((HOW)); then
    grep -q 'reset' "$T/peer.err" && echo 'lost in a reset'
  else
    (($(wc -c <"$T/peer.out") == 7)) && echo ✓
  fi
}

behavior 'SIGHUP' 'The certificate has been renewed, and SIGHUP says so.'
on_sighup() {
  begin || return
  kill -HUP "$STEP_PID"
  if [[ $STEP != server ]]; then
    tell_end
  elif wait_for 5 grep -q 'loaded the certificate again' "$T/step.err"; then
    still_served
  fi
}
