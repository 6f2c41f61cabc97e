#!/bin/sh
# certs.sh [DIR]: makes what is missing in DIR (certs), or is going to expire within a week:
#   ca.pem      an authority of our own: what the client trusts, and a server with -C ca.pem
#   server.pem  says that the owner of server.key is localhost; signed by the authority
#   client.pem  says that the owner of client.key is alice; signed by the authority
# Each has its private key beside it. To renew one: rm certs/server.pem, certs.sh, kill -HUP.
# An authority for real use keeps ca.key on a machine without a network: who has it, is everybody.
set -eu
dir=${1:-$(dirname "$0")/certs}
mkdir -p "$dir"
cd "$dir"
umask 077 # a private key is its owner's only
trap 'rm -f new.*' EXIT

# certificate NAME CN DAYS OPTION... <EXTENSIONS: unless both are there and good, a new key
# (elliptic curve P-256: small and quick), and a certificate which says that it belongs to CN.
certificate() {
    name=$1 cn=$2 days=$3
    shift 3
    if [ -f "$name.key" ] || [ "$name" = ca ]; then # (an authority's may be elsewhere)
        ! openssl x509 -in "$name.pem" -noout -checkend 604800 >/dev/null 2>&1 || return 0
    fi
    printf '[req]\ndistinguished_name = subject\nx509_extensions = extensions\nprompt = no
[subject]\nCN = %s\n[extensions]\n' "$cn" >new.cnf
    cat >>new.cnf
    openssl req -config new.cnf -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -noenc -sha256 \
        -days "$days" "$@" -keyout new.key -out new.pem 2>new.log || { cat new.log >&2 && exit 1; }
    chmod a+r new.pem
    mv new.key "$name.key"
    mv new.pem "$name.pem"
    [ "$name" != ca ] || rm -f server.pem client.pem # the old authority's
    echo "made $dir/$name.pem"
}

# May sign certificates, and nothing else. (All extensions: RFC 5280, 4.2.1.)
certificate ca 'Socket Stages CA' 3650 <<'END'
subjectKeyIdentifier = hash
basicConstraints = critical, CA:true
keyUsage = critical, keyCertSign, cRLSign
END

# The names a client may look for are the subjectAltName. CN is for people: a client ignores it.
# The list of what was revoked stands at an address; ours is one that nobody serves.
certificate server localhost 90 -CA ca.pem -CAkey ca.key <<'END'
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
basicConstraints = critical, CA:false
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth
subjectAltName = DNS:localhost, IP:127.0.0.1, IP:::1
crlDistributionPoints = URI:http://localhost/ca.crl
END

certificate client alice 90 -CA ca.pem -CAkey ca.key <<'END'
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
basicConstraints = critical, CA:false
keyUsage = critical, digitalSignature
extendedKeyUsage = clientAuth
crlDistributionPoints = URI:http://localhost/ca.crl
END
