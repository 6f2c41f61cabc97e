#!/bin/sh
# certs.sh [DIR]: makes these certificates in DIR (certs), unless they are there and usable:
#   ca.pem      an authority of our own, which the client trusts, and a server with -C ca.pem
#   server.pem  says that the owner of server.key is localhost; signed by the authority
#   client.pem  says that the owner of client.key is alice; signed by the authority
# Each has its private key beside it. A certificate is unusable if it is not valid now and for
# another week, is not signed by that authority, or does not fit its key. (The names in it are not
# checked.) To renew one: rm certs/server.pem, certs.sh, kill -HUP.
# An authority for real use keeps ca.key on a machine without a network: whoever has that key can
# make certificates for any name.
set -eu
dir=${1:-$(dirname "$0")/certs}
umask 077 # only its owner may read a private key
mkdir -p "$dir"
chmod go-w "$dir" # anyone who can write there could replace our keys with their own
cd "$dir"

# Two runs at the same time would mix their keys and certificates, so one waits for the other. The
# lock is on the directory, and ends with this process (flock(2)). Where the file system has no such
# lock, the next run repairs what was mixed up.
exec 9<.
flock 9 || :

# New files are made in a directory of their own. When they are complete, rename(2) puts them into
# place.
new=$(mktemp -d .new.XXXXXX)
trap 'rm -rf "$new"' EXIT
trap 'exit 1' HUP INT TERM

# good NAME PURPOSE: whether NAME.pem is valid now and for a week, is signed by the authority, and
# fits NAME.key. (An authority's key may be kept elsewhere.)
good() {
    [ -f "$1.pem" ] || return 1
    openssl verify -CAfile ca.pem -purpose "$2" "$1.pem" || return 1
    openssl x509 -in "$1.pem" -noout -checkend 604800 || return 1
    [ -f "$1.key" ] || [ "$1" != ca ] || return 0
    key=$(openssl pkey -in "$1.key" -passin pass: -pubout) || return 1
    [ "$key" = "$(openssl x509 -in "$1.pem" -noout -pubkey)" ]
}

# certificate NAME PURPOSE CN DAYS OPTION... <EXTENSIONS: unless NAME is good, makes a new key
# (elliptic curve P-256: small and quick) and a certificate that says that the key belongs to CN.
certificate() {
    name=$1 purpose=$2 cn=$3 days=$4
    shift 4
    ! good "$name" "$purpose" >"$new/log" 2>&1 || return 0
    printf '[req]\ndistinguished_name = subject\nx509_extensions = extensions\nprompt = no
[subject]\nCN = %s\n[extensions]\n' "$cn" >"$new/cnf"
    cat >>"$new/cnf"
    openssl req -config "$new/cnf" -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -noenc \
        -sha256 -days "$days" "$@" -keyout "$new/key" -out "$new/pem" 2>"$new/log" || {
        cat "$new/log" >&2
        exit 1
    }
    chmod a+r "$new/pem"
    mv "$new/key" "$name.key"
    mv "$new/pem" "$name.pem"
    echo "made $dir/$name.pem"
}

# The authority may sign certificates, and nothing else. (All extensions: RFC 5280, 4.2.1.)
certificate ca any 'Socket Stages CA' 3650 <<'END'
subjectKeyIdentifier = hash
basicConstraints = critical, CA:true
keyUsage = critical, keyCertSign, cRLSign
END

# A client looks for the server's name in subjectAltName. CN is for people; a client ignores it.
# crlDistributionPoints says where the list of revoked certificates is; nobody serves ours.
certificate server sslserver localhost 90 -CA ca.pem -CAkey ca.key <<'END'
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
basicConstraints = critical, CA:false
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth
subjectAltName = DNS:localhost, IP:127.0.0.1, IP:::1
crlDistributionPoints = URI:http://localhost/ca.crl
END

certificate client sslclient alice 90 -CA ca.pem -CAkey ca.key <<'END'
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
basicConstraints = critical, CA:false
keyUsage = critical, digitalSignature
extendedKeyUsage = clientAuth
crlDistributionPoints = URI:http://localhost/ca.crl
END
