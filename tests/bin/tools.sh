# shellcheck shell=sh
# Every tool this kit uses, written once: setup installs from this table, doctor reports on it, and
# a test that is skipped for want of a tool says by it what to type.
# Sourced, never run. `each_tool FUNCTION` reads the table. POSIX sh: see setup.

# Not every user's PATH has these, but some of the tools are there: sysctl, nft.
case :$PATH: in
*:/usr/bin:*) PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin ;;
esac

# What a probe may call. A probe succeeds when the tool is there, and prints nothing of use.
has() { command -v "$1" >/dev/null 2>&1; }

# CC and CPPFLAGS are lists of words, as in the Makefile.
# shellcheck disable=SC2086
preprocess() { ${CC:-cc} ${CPPFLAGS:-} -E -P -; }

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

# node_has MODULE: also where Debian has it, for builds of node that do not look there.
node_has() { NODE_PATH=/usr/share/nodejs node -e 'require(process.argv[1])' "$1"; }

# helps COMMAND REGEX: what its -h or --help prints has such a line.
helps() {
    { "$1" -h </dev/null || "$1" --help </dev/null; } 2>&1 | grep -qE -e "$2"
}

# has_font LANGUAGE: fontconfig knows a font with its letters.
has_font() { fc-list ":lang=$1" | grep -q .; }

# Where distributions put the bats libraries. As in bats, a BATS_LIB_PATH that is set is all.
bats_lib_path() {
    printf '%s\n' "${BATS_LIB_PATH-/usr/lib/bats:/usr/share/bats:/usr/lib:/usr/share}"
}

bats_lib() {
    bats_lib_path | tr : '\n' | while read -r dir; do
        [ -e "$dir/$1/load.bash" ] && echo "$dir/$1"
    done | grep -m 1 .
}

# python_has MODULE: the system's packages belong to the system's Python, which another one may
# hide: docs/book/build.py looks there, too.
python_has() {
    has python3 && { python3 -c "import $1" || /usr/bin/python3 -c "import $1"; }
}

# npm_has PACKAGE: it is installed for all users.
npm_has() {
    [ -e "$(npm root --global)/$1/package.json" ]
}

# builds COMPILER [FLAG...]: it compiles and links a program. COMPILER may have several words, as
# above.
# shellcheck disable=SC2086
builds() (
    compiler=$1
    shift
    echo 'int main(void){return 0;}' | $compiler "$@" -x c - -o /dev/null
)

# san CC SANITIZERS: it compiles and links with them.
san() { builds "$1" "-fsanitize=$2"; }

# loopback_is_up: connects a UDP socket there, which sends nothing (bash(1), REDIRECTION).
loopback_is_up() {
    ! LC_ALL=C bash -c 'exec 3<>/dev/udp/127.0.0.1/9' 2>&1 | grep -q unreachable
}

# works PROBE: quietly, and whatever it does stays there.
works() { (eval "$1") >/dev/null 2>&1; }

# manager: the system's package manager, one of those that the table knows.
manager() {
    for candidate in apt-get dnf pacman apk; do
        if has "$candidate"; then
            echo "$candidate"
            return
        fi
    done
    return 1
}

# extra KIND: tools of this kind are installed only where SETUP_EXTRA, a list of words, has it.
extra() { [ "$1" = ci ] || [ "$1" = editor ]; }

# each_tool FUNCTION: calls it for every row of the table, with kind, name, probe, version, cost
# and packages set. packages are those of this system; empty where it has none.
each_tool() {
    tool_visitor=$1
    tool_manager=$(manager) || tool_manager=none
    all_tools
}

# shellcheck disable=SC2034 # the function that each_tool was given reads them
tool() {
    kind=$1 name=$2 probe=$3 version=$4 cost=$5
    case $tool_manager in
    apt-get) packages=$6 ;;
    dnf) packages=$7 ;;
    pacman) packages=$8 ;;
    apk) packages=$9 ;;
    *) packages=- ;;
    esac
    [ "$packages" != - ] || packages=
    "$tool_visitor"
}

# lacking TOOL...: why one of them cannot be used, and what to type, for a test or a doc session
# that is skipped. Prints nothing and fails where all are usable. A tool is a name in the table, or
# any other command.
# shellcheck disable=SC2317 # each_tool calls visit
lacking() (
    visit() {
        [ "$name" = "$wanted" ] || return 0
        listed=yes
        ! works "$probe" || return 0
        reason="$wanted is missing"
        ! has "$wanted" || reason="this $wanted is not the one that is needed"
        how='make setup'
        ! extra "$kind" || how="SETUP_EXTRA=$kind make setup"
        case $tool_manager-$packages in
        none-*) how="; $how tells what to install" ;;
        *-) how=', and this system has no package of it' ;;
        *) how=": $how installs it" ;;
        esac
        echo "$reason$how"
    }
    for wanted; do
        listed=
        each_tool visit
        [ "$listed" ] || has "$wanted" || echo "$wanted is missing"
    done | grep -m 1 .
)

# tool KIND NAME PROBE VERSION COST        the last: what a missing one costs
#      APT DNF PACMAN APK                  packages; - where there is none
# KIND: required; optional (chapters, tests and docs use it); ci (what .ci/run needs, and what few
# tests and doc sessions use); editor (to read and debug in an editor). NAME is the command, where
# a test or a doc session `needs` it.
# shellcheck disable=SC2016 # probe and version are evaluated later
all_tools() {
    tool required cc 'header stdio.h' '${CC:-cc} --version' 'nothing can be built' \
        'gcc libc6-dev' 'gcc glibc-devel' gcc 'gcc musl-dev linux-headers'
    tool required make 'has make' 'make --version' 'nothing can be built' \
        make make make make
    tool required bash 'bash -c "((BASH_VERSINFO[0] >= 5))"' 'bash --version' \
        'no test or script can run: bash 5 is needed' \
        bash bash bash bash
    tool required 'OpenSSL 3 headers' \
        'header openssl/ssl.h && header openssl/opensslv.h "OPENSSL_VERSION_MAJOR >= 3"' \
        'macro openssl/opensslv.h OPENSSL_VERSION_STR' 'chapter 08 cannot be built' \
        libssl-dev openssl-devel openssl openssl-dev
    tool required 'libedit headers' 'header histedit.h' \
        'macro histedit.h LIBEDIT_MAJOR LIBEDIT_MINOR' 'chapter 07 cannot be built' \
        libedit-dev libedit-devel libedit libedit-dev
    tool required openssl 'has openssl' 'openssl version' \
        'chapter 08 cannot make its certificates' \
        openssl openssl openssl openssl
    tool required 'CUnit headers' 'header CUnit/Basic.h' 'macro CUnit/Basic.h CU_VERSION' \
        'the unit tests cannot be built' \
        libcunit1-dev CUnit-devel cunit cunit-dev
    tool required 'bats 1.8' bats_with_tags 'bats --version' 'no test can run' \
        bats bats bats bats
    tool required bats-support 'bats_lib bats-support' - \
        'no test can run (by hand: clone github.com/bats-core/bats-support into /usr/lib/bats)' \
        bats-support bats-support bats-support bats-support
    tool required bats-assert 'bats_lib bats-assert' - \
        'no test can run (by hand: clone github.com/bats-core/bats-assert into /usr/lib/bats)' \
        bats-assert bats-assert bats-assert bats-assert
    tool required setsid 'has setsid' 'setsid --version' 'no test can run' \
        util-linux util-linux util-linux util-linux
    tool required flock 'has flock' 'flock --version' 'no test can run' \
        util-linux util-linux util-linux util-linux

    # Images of containers may lack even these.
    tool required awk 'has awk' 'awk --version || awk -W version' 'no test can run' \
        mawk gawk gawk gawk
    tool required cmp 'has cmp' 'cmp --version' \
        'no test can run, and what has been built is built again' \
        diffutils diffutils diffutils diffutils
    tool required xargs 'has xargs' 'xargs --version' 'no test can run' \
        findutils findutils findutils findutils

    tool optional patch 'patch --fuzz=0 --version' 'patch --version' \
        'the exercises cannot be started: GNU patch is needed' \
        patch patch patch patch
    tool optional strace 'has strace' 'strace -V' 'tests and doc sessions with strace are skipped' \
        strace strace strace strace
    tool optional tcpdump 'has tcpdump' 'tcpdump --version' \
        'make trace shows no segments, and doc sessions with tcpdump are skipped' \
        tcpdump tcpdump tcpdump tcpdump
    tool optional python3 'has python3' 'python3 --version' 'tests with Python peers are skipped' \
        python3 python3 python python3
    tool optional markdown-it 'python_has markdown_it' - 'make book fails' \
        python3-markdown-it python3-markdown-it-py python-markdown-it-py py3-markdown-it-py
    tool optional pygments 'python_has pygments' - 'make book fails' \
        python3-pygments python3-pygments python-pygments py3-pygments
    tool optional jinja2 'python_has jinja2' - 'make book fails' \
        python3-jinja2 python3-jinja2 python-jinja py3-jinja2
    tool optional 'GNU parallel' gnu_parallel 'parallel --version' 'tests run one at a time' \
        parallel parallel parallel parallel
    tool optional gnuplot 'has gnuplot' 'gnuplot --version' 'benchmarks draw no pictures' \
        gnuplot-nox gnuplot gnuplot gnuplot
    tool optional dot 'has dot' 'dot -V' 'pictures of states are not drawn anew' \
        graphviz graphviz graphviz graphviz
    tool optional redis-benchmark 'has redis-benchmark' 'redis-benchmark --version' \
        'tests with load from redis-benchmark are skipped' \
        redis-tools valkey-compat-redis valkey redis
    tool optional redis-cli 'has redis-cli' 'redis-cli --version' 'exercise 7-4 is not tested' \
        redis-tools valkey-compat-redis valkey redis
    # Debian's package redis-server would start a service; its program is in redis-tools as well.
    tool optional redis-server 'has redis-server || has redis-check-rdb' \
        'redis-server --version || redis-check-rdb --version' 'exercise 7-4 is not tested' \
        redis-tools valkey-compat-redis valkey redis
    tool optional 'hiredis headers' 'header hiredis/async.h' \
        'macro hiredis/hiredis.h HIREDIS_MAJOR HIREDIS_MINOR HIREDIS_PATCH' \
        'exercise 7-4 cannot be built' \
        libhiredis-dev hiredis-devel hiredis hiredis-dev
    tool optional 'liburing headers' \
        'header liburing.h "defined IORING_SETUP_DEFER_TASKRUN"' \
        'pkg-config --modversion liburing' \
        'exercise 6-10 cannot be built, and benchmarks do not measure it: liburing 2.3 is needed' \
        liburing-dev liburing-devel liburing liburing-dev
    tool optional 'libuv headers' 'header uv.h' \
        'macro uv.h UV_VERSION_MAJOR UV_VERSION_MINOR UV_VERSION_PATCH' \
        'benchmarks do not compare with libuv' \
        libuv1-dev libuv-devel libuv libuv-dev
    tool optional 'libevent headers' 'header event2/event.h' \
        'macro event2/event.h EVENT__VERSION' 'benchmarks do not compare with libevent' \
        libevent-dev libevent-devel libevent libevent-dev
    tool optional tmux 'has tmux' 'tmux -V' 'tests on a terminal are skipped' \
        tmux tmux tmux tmux
    # There are several; only OpenBSD's sends FIN at the end of its input.
    tool optional nc 'helps nc "-N.*[Ss]hutdown"' 'nc -h' \
        'tests and doc sessions with nc are skipped: OpenBSD'\''s nc is needed' \
        netcat-openbsd netcat openbsd-netcat netcat-openbsd
    tool optional ip 'has ip' 'ip -V' 'tests in network namespaces are skipped' \
        iproute2 iproute iproute2 iproute2
    tool optional ss 'has ss' 'ss -V' 'tests and doc sessions with ss are skipped' \
        iproute2 iproute iproute2 iproute2
    tool optional nstat 'has nstat' 'nstat -V' 'tests that count segments are skipped' \
        iproute2 iproute iproute2 iproute2
    tool optional unshare 'has unshare' 'unshare --version' \
        'tests in network namespaces are skipped' \
        util-linux util-linux util-linux util-linux
    tool optional mount 'has mount' 'mount --version' 'tests with mounted files are skipped' \
        mount util-linux util-linux util-linux
    tool optional prlimit 'has prlimit' 'prlimit --version' 'tests with limits are skipped' \
        util-linux util-linux util-linux util-linux
    tool optional setpriv 'helps setpriv bounding-set' 'setpriv --version' \
        'tests as root without its rights are skipped: util-linux has the one that is needed' \
        util-linux util-linux util-linux setpriv
    tool optional script 'has script' 'script --version' 'tests on a terminal are skipped' \
        bsdutils /usr/bin/script util-linux util-linux
    tool optional ps 'has ps' 'ps --version' 'doc sessions with ps are skipped' \
        procps procps-ng procps-ng procps-ng
    tool optional pgrep 'has pgrep' 'pgrep --version' 'tests that watch processes are skipped' \
        procps procps-ng procps-ng procps-ng
    tool optional sysctl 'has sysctl' 'sysctl --version' \
        'tests with other settings of the kernel are skipped' \
        procps procps-ng procps-ng procps-ng
    tool optional lsof 'has lsof' 'lsof -v' 'a doc session with lsof is skipped' \
        lsof lsof lsof lsof
    tool optional iconv 'has iconv' 'iconv --version' \
        'a test of the chat room in UTF-8 is skipped' \
        libc-bin glibc-common glibc musl-utils
    tool optional od 'has od' 'od --version' 'a doc session with od is skipped' \
        coreutils coreutils coreutils coreutils
    tool optional git 'has git' 'git --version' 'a test of what belongs to the kit is skipped' \
        git git git git

    tool ci clang 'has clang' 'clang --version' 'the build with clang fails' \
        clang clang clang clang
    tool ci 'gcc sanitizers' 'san gcc address,undefined && san gcc thread' - \
        'make SAN=... fails with gcc' \
        gcc 'libasan libubsan libtsan' gcc -
    tool ci 'clang sanitizers' 'san clang address,undefined && san clang thread' - \
        'make SAN=... CC=clang fails' \
        libclang-rt-dev compiler-rt compiler-rt compiler-rt
    tool ci musl-gcc 'builds musl-gcc' 'musl-gcc --version' \
        'a test of the build with another C library is skipped' \
        musl-tools musl-gcc musl -
    tool ci 'cc -m32' 'builds cc -m32' - 'tests of the build for 32 bits are skipped' \
        gcc-multilib 'glibc-devel.i686 libgcc.i686' 'lib32-glibc lib32-gcc-libs' -
    tool ci gcovr 'has gcovr' 'gcovr --version' 'make coverage fails' \
        gcovr gcovr - -
    tool ci shellcheck 'has shellcheck' 'shellcheck --version' 'make lint leaves out the scripts' \
        shellcheck ShellCheck shellcheck shellcheck
    tool ci clang-format 'has clang-format' 'clang-format --version' \
        'make lint leaves out the layout of C' \
        clang-format clang-tools-extra clang clang-extra-tools
    tool ci cppcheck 'has cppcheck' 'cppcheck --version' 'make lint leaves out cppcheck' \
        cppcheck cppcheck cppcheck cppcheck
    tool ci clang-tidy 'has clang-tidy' 'clang-tidy --version' 'make lint leaves out clang-tidy' \
        clang-tidy clang-tools-extra clang clang-extra-tools
    tool ci clang-query 'has clang-query' 'clang-query --version' \
        'make lint leaves out rules of the code' \
        clang-tools clang-tools-extra clang clang-extra-tools
    tool ci pmccabe 'has pmccabe' 'pmccabe -V' 'make lint leaves out the measures of functions' \
        pmccabe pmccabe - -
    tool ci yamllint 'has yamllint' 'yamllint --version' 'make lint leaves out YAML files' \
        yamllint yamllint yamllint yamllint
    tool ci mmdebstrap 'has mmdebstrap' 'mmdebstrap --version' \
        'make fresh needs debootstrap, and root' \
        mmdebstrap mmdebstrap - -
    tool ci chromium 'has chromium || has chromium-browser || has google-chrome' \
        'chromium --version || chromium-browser --version' \
        'make book-pdf fails, and the tests of the book and one of 7-10 are skipped' \
        chromium chromium chromium chromium
    tool ci 'a Chinese font' 'has_font zh' - \
        'in the PDF of the book, Chinese text is a row of boxes' \
        fonts-droid-fallback google-droid-sans-fallback-fonts noto-fonts-cjk font-noto-cjk
    tool ci chromedriver 'has chromedriver' 'chromedriver --version' \
        'the tests of the book are skipped' \
        chromium-driver chromedriver chromium chromium-chromedriver
    tool ci selenium 'python_has selenium' - 'the tests of the book are skipped' \
        python3-selenium python3-selenium python-selenium -
    # No package of these systems: setup asks npm for it, where that is.
    tool ci axe-core 'npm_has axe-core' - \
        'a test that people with disabilities can read the book is skipped' \
        - - - -
    tool ci busybox 'busybox true' 'busybox --help' 'a test of the tools is skipped' \
        busybox busybox busybox busybox
    tool ci valgrind 'has valgrind' 'valgrind --version' 'tests with valgrind are skipped' \
        valgrind valgrind valgrind valgrind
    tool ci ncat 'has ncat' 'ncat --version' 'tests with ncat are skipped' \
        ncat nmap-ncat nmap nmap-ncat
    tool ci socat 'has socat' 'socat -V' 'tests with socat are skipped' \
        socat socat socat socat
    tool ci nmap 'has nmap' 'nmap --version' 'tests with nmap are skipped' \
        nmap nmap nmap nmap
    tool ci gnutls-cli 'has gnutls-cli' 'gnutls-cli --version' 'tests with gnutls-cli are skipped' \
        gnutls-bin gnutls-utils gnutls gnutls-utils
    tool ci sslscan 'has sslscan' 'sslscan --version' 'tests with sslscan are skipped' \
        sslscan sslscan sslscan sslscan
    tool ci testssl.sh 'has testssl || has testssl.sh' - 'the test with testssl.sh is skipped' \
        testssl.sh testssl testssl.sh testssl.sh
    tool ci hping3 'has hping3' 'hping3 -v' 'tests with hping3 are skipped' \
        hping3 hping3 hping -
    tool ci nft 'has nft' 'nft --version' 'tests with lost packets are skipped' \
        nftables nftables nftables nftables
    tool ci iptables 'has iptables' 'iptables --version' 'tests with lost packets may be skipped' \
        iptables iptables-nft iptables iptables
    tool ci fiu-run 'has fiu-run' - 'tests with random libc errors are skipped' \
        fiu-utils libfiu - -
    tool ci zzuf 'has zzuf' 'zzuf -V' 'tests with fuzzed input are skipped' \
        zzuf zzuf - -
    tool ci tshark 'has tshark' 'tshark --version' 'doc sessions with tshark are skipped' \
        tshark wireshark-cli wireshark-cli tshark
    tool ci wrk 'has wrk' 'wrk --version' 'a test of exercise 6-3 is skipped' \
        wrk - wrk wrk
    tool ci curl 'has curl' 'curl --version' 'tests and doc sessions with curl are skipped' \
        curl curl curl curl
    tool ci ws 'node_has ws' \
        'node --version' 'a test of exercise 7-10 is skipped' \
        node-ws - - -

    tool ci go 'has go' 'go version' 'benchmarks do not compare with Go' \
        golang-go golang go go

    tool editor gdb 'has gdb' 'gdb --version' 'an editor cannot debug the programs' \
        gdb gdb gdb gdb
    tool editor clangd 'has clangd' 'clangd --version' \
        'an editor cannot find where a name comes from' \
        clangd clang-tools-extra clang clang-extra-tools
}
