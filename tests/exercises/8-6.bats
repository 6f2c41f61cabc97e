# 8-6, the handshake in which both sides wait.
# bats file_tags=8-6

CHAPTER=08-tls
load ../helpers/common

# SSL_get_error(3), SSL_ERROR_WANT_WRITE: the socket has taken a part of the server's certificate
# and of what belongs to it. The client sends nothing before it has the rest.
@test "the handshake goes on as soon as there is room for the rest of the server's messages" {
  FAULT_ENV='FAULT_SHORT=300 FAULT_FAIL=send:EAGAIN:2' start_server
  receives_at_once '+hello\n' send:'hello\n' line
}

# RFC 5246, 7.3: in 1.2 the last message is the server's, its second send: the client waits for it.
@test "TLS 1.2: the last message of the handshake is sent as soon as there is room for it" {
  printf '%s\n' 'openssl_conf = all' '[all]' 'ssl_conf = tls' '[tls]' 'system_default = old' \
    '[old]' 'MaxProtocol = TLSv1.2' >"$T/cnf"
  FAULT_ENV='FAULT_FAIL=send:EAGAIN:@2' start_server
  OPENSSL_CONF=$T/cnf receives_at_once '+hello\n' send:'hello\n' line
}
