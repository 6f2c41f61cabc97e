# shellcheck shell=sh
# Every tool this kit uses, written once: setup installs from this list, doctor reports on it.
# Sourced, never run. The reader defines `tool` and calls `all_tools`. POSIX sh: see setup.

# What a probe may call. A probe succeeds when the tool is there, and prints nothing of use.
has() { command -v "$1" >/dev/null 2>&1; }

# Homebrew keeps headers and libraries in a place of its own, outside the compiler's path.
brew_prefix() { has brew && brew --prefix 2>/dev/null; }

preprocess() {
    brew=$(brew_prefix) && set -- "-I$brew/include" "-I$brew/opt/openssl@3/include"
    # CC and CPPFLAGS are lists of words, as in the Makefile.
    # shellcheck disable=SC2086
    ${CC:-cc} ${CPPFLAGS:-} "$@" -E -P -
}

# header FILE [CONDITION]: the compiler finds FILE, and the preprocessor's CONDITION holds there.
header() {
    printf '#include <%s>\n#if !(%s)\n#error\n#endif\n' "$1" "${2:-1}" | preprocess
}

# macro FILE NAME...: what the macros of a header stand for, joined by points.
macro() {
    file=$1
    shift
    { printf '#include <%s>\n' "$file" && printf '@%s\n' "$@"; } | preprocess |
        sed -n 's/^@ *//p' | tr -d '" ' | paste -s -d . -
}

# bats learnt about tags in 1.8.
bats_with_tags() { bats --version 2>/dev/null | grep -qE '^Bats (1\.([89]|[1-9][0-9])|[2-9])'; }

# moreutils has a `parallel` too, which bats cannot use.
gnu_parallel() { parallel --version </dev/null 2>/dev/null | grep -q '^GNU'; }

# Where distributions put the bats libraries. As in bats, a BATS_LIB_PATH that is set is all.
bats_lib_path() {
    printf '%s\n' "${BATS_LIB_PATH-/usr/lib/bats:/usr/share/bats:/usr/lib:/usr/share$(
        brew=$(brew_prefix) && printf ':%s/lib' "$brew"
    )}"
}

bats_lib() {
    bats_lib_path | tr : '\n' | while read -r dir; do
        [ -e "$dir/$1/load.bash" ] && echo "$dir/$1"
    done | grep -m 1 .
}

# san CC SANITIZERS: it compiles and links with them. CC may have several words, as above.
# shellcheck disable=SC2086
san() { echo 'int main(void){return 0;}' | $1 "-fsanitize=$2" -x c - -o /dev/null; }

# tool KIND NAME PROBE VERSION COST        the last: what a missing one costs
#      APT DNF PACMAN APK BREW             packages; - where there is none
# KIND: required; optional (chapters, tests and docs use it); ci (only .ci/run needs it).
# shellcheck disable=SC2016 # probe and version are evaluated later
all_tools() {
    tool required 'C compiler' 'header stdio.h' '${CC:-cc} --version' 'nothing can be built' \
        'gcc libc6-dev' 'gcc glibc-devel' gcc 'gcc musl-dev linux-headers' gcc
    tool required make 'has make' 'make --version' 'nothing can be built' \
        make make make make make
    tool required 'bash 5' 'bash -c "((BASH_VERSINFO[0] >= 5))"' 'bash --version' \
        'no test or script can run' \
        bash bash bash bash bash
    tool required 'OpenSSL 3 headers' \
        'header openssl/ssl.h && header openssl/opensslv.h "OPENSSL_VERSION_MAJOR >= 3"' \
        'macro openssl/opensslv.h OPENSSL_VERSION_STR' 'chapter 08 cannot be built' \
        libssl-dev openssl-devel openssl openssl-dev openssl@3
    tool required 'libedit headers' 'header histedit.h' \
        'macro histedit.h LIBEDIT_MAJOR LIBEDIT_MINOR' 'chapter 07 cannot be built' \
        libedit-dev libedit-devel libedit libedit-dev libedit
    tool required openssl 'has openssl' 'openssl version' 'chapter 08 has no certificates' \
        openssl openssl openssl openssl openssl@3
    tool required 'CUnit headers' 'header CUnit/Basic.h' 'macro CUnit/Basic.h CU_VERSION' \
        'the unit tests cannot be built' \
        libcunit1-dev CUnit-devel cunit cunit-dev cunit
    tool required 'bats 1.8' bats_with_tags 'bats --version' 'no test can run' \
        bats bats bats bats bats-core
    tool required bats-support 'bats_lib bats-support' - \
        'no test can run (by hand: clone github.com/bats-core/bats-support into /usr/lib/bats)' \
        bats-support bats-support bats-support bats-support bats-core/bats-core/bats-support
    tool required bats-assert 'bats_lib bats-assert' - \
        'no test can run (by hand: clone github.com/bats-core/bats-assert into /usr/lib/bats)' \
        bats-assert bats-assert bats-assert bats-assert bats-core/bats-core/bats-assert
    tool required util-linux 'has setsid && has flock' 'flock --version' 'no test can run' \
        util-linux util-linux util-linux util-linux util-linux

    tool optional patch 'has patch' 'patch --version' 'the exercises cannot be started' \
        patch patch patch patch gpatch
    tool optional strace 'has strace' 'strace -V' 'tests and doc sessions with strace are skipped' \
        strace strace strace strace strace
    tool optional python3 'has python3' 'python3 --version' 'tests with Python peers are skipped' \
        python3 python3 python python3 python
    tool optional 'GNU parallel' gnu_parallel 'parallel --version' 'tests run one at a time' \
        parallel parallel parallel parallel parallel
    tool optional gnuplot 'has gnuplot' 'gnuplot --version' 'benchmarks draw no pictures' \
        gnuplot-nox gnuplot gnuplot gnuplot gnuplot
    tool optional redis-benchmark 'has redis-benchmark' 'redis-benchmark --version' \
        'no load from redis-benchmark' \
        redis-tools valkey-compat-redis valkey redis redis
    # Debian's package redis-server would start a service; its program is in redis-tools as well.
    tool optional redis-server 'has redis-server || has redis-check-rdb' 'redis-cli --version' \
        'exercise 7-4 is not tested' \
        redis-tools valkey-compat-redis valkey redis redis
    tool optional 'hiredis headers' 'header hiredis/async.h' \
        'macro hiredis/hiredis.h HIREDIS_MAJOR HIREDIS_MINOR HIREDIS_PATCH' \
        'exercise 7-4 cannot be built' \
        libhiredis-dev hiredis-devel hiredis hiredis-dev hiredis
    tool optional 'libuv headers' 'header uv.h' \
        'macro uv.h UV_VERSION_MAJOR UV_VERSION_MINOR UV_VERSION_PATCH' \
        'no comparison with libuv' \
        libuv1-dev libuv-devel libuv libuv-dev libuv
    tool optional 'libevent headers' 'header event2/event.h' \
        'macro event2/event.h EVENT__VERSION' 'no comparison with libevent' \
        libevent-dev libevent-devel libevent libevent-dev libevent
    tool optional tmux 'has tmux' 'tmux -V' 'tests on a terminal are skipped' \
        tmux tmux tmux tmux tmux
    tool optional nc 'has nc' 'nc -h' 'tests and doc sessions with nc are skipped' \
        netcat-openbsd netcat openbsd-netcat netcat-openbsd netcat

    tool ci clang 'has clang' 'clang --version' 'the build with clang fails' \
        clang clang clang clang llvm
    tool ci 'gcc sanitizers' 'san gcc address,undefined && san gcc thread' - \
        'make SAN=... fails with gcc' \
        gcc 'libasan libubsan libtsan' gcc - gcc
    tool ci 'clang sanitizers' 'san clang address,undefined && san clang thread' - \
        'make SAN=... CC=clang fails' \
        libclang-rt-dev compiler-rt compiler-rt compiler-rt llvm
    tool ci shellcheck 'has shellcheck' 'shellcheck --version' 'make lint leaves out the scripts' \
        shellcheck ShellCheck shellcheck shellcheck shellcheck
    tool ci clang-format 'has clang-format' 'clang-format --version' \
        'make lint leaves out the layout of C' \
        clang-format clang-tools-extra clang clang-extra-tools clang-format
    tool ci cppcheck 'has cppcheck' 'cppcheck --version' 'make lint leaves out cppcheck' \
        cppcheck cppcheck cppcheck cppcheck cppcheck
    tool ci valgrind 'has valgrind' 'valgrind --version' 'tests with valgrind are skipped' \
        valgrind valgrind valgrind valgrind valgrind
    tool ci ncat 'has ncat' 'ncat --version' 'tests with ncat are skipped' \
        ncat nmap-ncat nmap nmap-ncat nmap
    tool ci socat 'has socat' 'socat -V' 'tests with socat are skipped' \
        socat socat socat socat socat
    tool ci nmap 'has nmap' 'nmap --version' 'tests with nmap are skipped' \
        nmap nmap nmap nmap nmap
    tool ci gnutls-cli 'has gnutls-cli' 'gnutls-cli --version' 'tests with gnutls-cli are skipped' \
        gnutls-bin gnutls-utils gnutls gnutls-utils gnutls
    tool ci sslscan 'has sslscan' 'sslscan --version' 'tests with sslscan are skipped' \
        sslscan sslscan sslscan sslscan sslscan
    tool ci testssl.sh 'has testssl || has testssl.sh' - 'the test with testssl.sh is skipped' \
        testssl.sh testssl testssl.sh testssl.sh testssl
    tool ci hping3 'has hping3' 'hping3 -v' 'tests with hping3 are skipped' \
        hping3 hping3 hping - -
    tool ci nftables 'has nft' 'nft --version' 'tests with lost packets are skipped' \
        nftables nftables nftables nftables -
    tool ci iptables 'has iptables' 'iptables --version' 'tests with lost packets may be skipped' \
        iptables iptables-nft iptables iptables -
    tool ci iproute2 'has ip && has ss' 'ip -V' 'tests in network namespaces are skipped' \
        iproute2 iproute iproute2 iproute2 -
    tool ci fiu-utils 'has fiu-run' - 'tests with random libc errors are skipped' \
        fiu-utils libfiu - - -
    tool ci zzuf 'has zzuf' 'zzuf -V' 'tests with fuzzed input are skipped' \
        zzuf zzuf - - zzuf
    tool ci tcpdump 'has tcpdump' 'tcpdump --version' 'doc sessions with tcpdump are skipped' \
        tcpdump tcpdump tcpdump tcpdump tcpdump
    tool ci tshark 'has tshark' 'tshark --version' 'doc sessions with tshark are skipped' \
        tshark wireshark-cli wireshark-cli tshark wireshark
    tool ci wrk 'has wrk' 'wrk --version' 'a test of exercise 6-3 is skipped' \
        wrk - wrk wrk wrk
    tool ci curl 'has curl' 'curl --version' 'doc sessions with curl are skipped' \
        curl curl curl curl curl
    tool ci procps 'has ps && has pkill' 'ps --version' 'tests that watch processes are skipped' \
        procps procps-ng procps-ng procps-ng -
    tool ci 'prlimit, unshare' 'has prlimit && has unshare' 'prlimit --version' \
        'tests with limits or namespaces are skipped' \
        util-linux util-linux util-linux util-linux -
}
