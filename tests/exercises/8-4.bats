# 8-4, the client that trusts the wrong server.
# bats file_tags=8-4

CHAPTER=08-tls
load ../helpers/common

# start_genuine NAMES: a server with a certificate of the kit's authority for these names; it waits
# for a line, and takes down what it gets.
start_genuine() {
  local certs=$ROOT/08-tls/certs
  need openssl
  printf '[req]\ndistinguished_name = none\n[none]\n' >"$T/cnf"
  openssl req -config "$T/cnf" -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -noenc \
    -subj /CN=localhost -addext "subjectAltName=$1" -CA "$certs/ca.pem" -CAkey "$certs/ca.key" \
    -keyout "$T/key" -out "$T/cert" 2>"$T/log"
  cat "$T/cert" "$T/key" >"$T/identity"
  PEER_TLS=$T/identity start_fake -- line send:'+secret\n' drain
}

# tells_nothing CLIENT_OPTION…: it leaves, and that server has got nothing.
tells_nothing() {
  run -1 --separate-stderr client "$@" secret
  refute_output
  [[ $stderr =~ ^client:\ .*mismatch ]] || complain "$stderr"
  run ! grep secret "$T/fake.out"
}

# RFC 9525, 6.3; SSL_set1_host(3)
# bats test_tags=kit
@test "client: a genuine certificate for another name: it sends nothing and exits 1" {
  start_genuine DNS:other.example,DNS:example.org,IP:127.0.0.1
  tells_nothing -a localhost
}

# RFC 9525, 6.5; X509_VERIFY_PARAM_set1_ip_asc(3)
# bats test_tags=kit
@test "client: a genuine certificate for another address: it sends nothing and exits 1" {
  start_genuine DNS:localhost,IP:192.0.2.1
  tells_nothing -a 127.0.0.1
}

# bats test_tags=kit
@test "client: a certificate is accepted if one of its several names matches" {
  start_genuine DNS:other.example,DNS:example.org
  run -0 client -n example.org secret
  assert_output +secret
}
