#!/bin/sh
# wrong-certs.sh DIR: chapter 08's certificates in DIR (certs.sh), and beside them those that a
# client or a server has to refuse, and unusual ones that it has to accept:
#   expired not-yet other-name self-signed other-ca client-only rsa1024 sha1 cn-only no-ip
#   no-intermediate leaf-as-ca        server certificates; other-ca is signed by other-root.pem
#   intermediate only-ip rsa          good: with its intermediate; for 127.0.0.1 only; RSA
#   no-usage wildcard                 good: it does not say for what; for *.two.example
#   client-expired client-other client-server      client certificates; the last is for servers
# NAME.pem is what a server sends: the certificate, then what its chain needs. NAME.key is its key.
# wrong-certs.sh DIR SECONDS: only client-short there, a client certificate that is good so long.
set -eu
"$(dirname "$0")/../../08-tls/certs.sh" "$1" >/dev/null
cd "$1"
umask 077

cat >wrong.cnf <<'END'
[ca]
default_ca = any
[any]
database = index
new_certs_dir = .
rand_serial = yes
unique_subject = no
policy = subject
[subject]
commonName = supplied
[req]
distinguished_name = subject
END
: >index

# wrong NAME CN ISSUER EXTENSIONS [key=…] [from=…] [to=…] [digest=…]: ISSUER NAME: self-signed.
wrong() {
    name=$1 cn=$2 issuer=$3
    printf '%s\n' "$4" 'authorityKeyIdentifier = keyid' 'subjectKeyIdentifier = hash' >extensions
    shift 4
    key='ec -pkeyopt ec_paramgen_curve:P-256' digest=sha256 by="-cert $issuer.pem"
    from=20200101000000Z to=20490101000000Z
    for setting; do
        eval "$setting"
    done
    [ "$name" != "$issuer" ] || by=-selfsign
    # shellcheck disable=SC2086 # several words
    openssl req -config wrong.cnf -newkey $key -noenc -subj "/CN=$cn" -keyout "$name.key" \
        -out request
    # shellcheck disable=SC2086
    openssl ca -config wrong.cnf -batch -notext -in request -extfile extensions $by \
        -keyfile "$issuer.key" -startdate "$from" -enddate "$to" -md "$digest" -out "$name.pem"
}

# What is in all of them unless it is what is wrong.
leaf='basicConstraints = critical, CA:false
keyUsage = critical, digitalSignature'
server="$leaf
extendedKeyUsage = serverAuth"
names='subjectAltName = DNS:localhost, IP:127.0.0.1, IP:::1'
good="$server
$names"
client="$leaf
extendedKeyUsage = clientAuth"
authority='basicConstraints = critical, CA:true
keyUsage = critical, keyCertSign, cRLSign'

make_them() {
    wrong expired localhost ca "$good" to=20200201000000Z
    wrong not-yet localhost ca "$good" from=20480101000000Z
    wrong other-name other.example ca "$server
subjectAltName = DNS:other.example, IP:192.0.2.1"
    wrong self-signed localhost self-signed "$good"
    wrong other-root 'Another CA' other-root "$authority"
    wrong other-ca localhost other-root "$good"
    wrong client-only localhost ca "$client
$names"
    wrong rsa1024 localhost ca "$good" key=rsa:1024
    wrong sha1 localhost ca "$good" digest=sha1
    wrong cn-only localhost ca "$server"
    wrong no-ip localhost ca "$server
subjectAltName = DNS:localhost"
    wrong only-ip 'any name' ca "$server
subjectAltName = IP:127.0.0.1"
    wrong rsa localhost ca "$good" key=rsa:2048
    wrong no-usage localhost ca "$leaf
$names"
    wrong wildcard 'any name' ca "$server
subjectAltName = DNS:*.two.example"
    wrong middle 'An intermediate CA' ca "$authority"
    wrong no-intermediate localhost middle "$good"
    cat no-intermediate.pem middle.pem >intermediate.pem
    cp no-intermediate.key intermediate.key
    wrong leaf-as-ca localhost server "$good"
    cat server.pem >>leaf-as-ca.pem
    wrong client-expired bob ca "$client" to=20200201000000Z
    wrong client-other mallory other-root "$client"
    wrong client-server carol ca "$good"
}
make_short() {
    wrong client-short dave ca "$client" to="$(date -u -d "@$(($(date +%s) + $2))" +%Y%m%d%H%M%SZ)"
}
make=make_them
[ $# = 1 ] || make=make_short
$make "$@" >wrong.log 2>&1 || {
    cat wrong.log >&2
    exit 1
}
rm -f wrong.cnf wrong.log index* extensions request [0-9A-F]*.pem
