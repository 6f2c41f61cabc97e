# shellcheck shell=bash disable=SC2016,SC2034 # make's variables; names for those who source this
# What tests/bin/exercise (the reader's loop) and tests/bin/prove (the proof) share. Sourced.
#
# An exercise N-M lives in NN-name/exercises/M-title/ (docs/exercises.md describes its files), and
# its tests, if it has its own, in tests/exercises/N-M.bats. Programs are built in a tree: a
# directory that looks like the kit, with one chapter in it, so that the Makefile's rules hold.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
# shellcheck source-path=SCRIPTDIR source=tools.sh
. "$root/tests/bin/tools.sh"
: "${SANITIZERS:=address,undefined}" # of every build, unless `san` says otherwise

# We may be run by make, and by a test: nothing of those is meant for the make and bats in here.
unset MAKEFLAGS MFLAGS MAKELEVEL MAKEOVERRIDES SAN TAGS FILTER STOP_FILE PROGRAMS SOURCES
PATH=${PATH//"${BATS_LIBEXEC:-/none}:"/}
BATS_LIB_PATH=$(bats_lib_path)
for name in "${!BATS_@}"; do
    [[ $name == BATS_LIB_PATH ]] || unset "$name"
done
export PATH BATS_LIB_PATH KIT_BUILT=yes # see tests/setup_suite.bash: here it is built once

die() {
    echo "${0##*/}: $*" >&2
    exit 2
}

# ---- what there is ----

# All ids, in order.
all_ids() {
    local path
    for path in "$root"/0[0-9]-*/exercises/*/; do
        [[ $path =~ /0([0-9])-[^/]*/exercises/([0-9]+)- ]] &&
            echo "${BASH_REMATCH[1]}-${BASH_REMATCH[2]}"
    done | sort -t - -k 1n -k 2n
}

# choose ID: sets id (4.2 is 4-2), chapter (04-threadpool), dir, kind, title, own_tests (or "").
choose() {
    local found
    id=${1/./-}
    [[ $id =~ ^[1-9]-[1-9][0-9]*$ ]] || die "'$1' is no exercise: make exercises lists them"
    shopt -s nullglob
    found=("$root/0${id%-*}"-*/exercises/"${id#*-}"-*/)
    shopt -u nullglob
    ((${#found[@]} == 1)) || die "there is no exercise $id: make exercises lists them"
    dir=${found[0]%/}
    chapter=${dir%/exercises/*}
    chapter=${chapter##*/}
    kind=$(about kind)
    title=$(about title)
    own_tests=$root/tests/exercises/$id.bats
    [[ -f $own_tests ]] || own_tests=
}

# about KEY: the values it has in the file about, one a line.
about() {
    sed -n "s/^$1=//p" "$dir/about"
}

the_patch() {
    [[ $kind == build ]] && echo "$dir/solution.patch" || echo "$dir/bug.patch"
}

chapter_tests() {
    ls "$root/tests/${chapter%%-*}"-*.bats
}

# The sanitizers of its builds: a race is seen by ThreadSanitizer only.
san_of() {
    [[ $SANITIZERS && $kind != build && $(about san) ]] && about san || echo "$SANITIZERS"
}

# ---- programs ----

# copy_chapter TO: its sources, without what was built there and without the exercises; and what
# the exercise begins `with` of other chapters.
copy_chapter() {
    local file
    mkdir -p "$1"
    tar -C "$root/$chapter" --exclude=./server --exclude=./client --exclude=./exercises \
        --exclude=./certs -cf - . | tar -C "$1" -xf -
    about with | while read -r file; do
        cp "$root/$file" "$1/"
    done
}

# apply PATCH TO: not a line may have changed around what it changes.
apply() {
    patch -s -f -p1 --fuzz=0 --no-backup-if-mismatch -r - -d "$2" -i "$1"
}

# plant TREE: a fresh tree with a copy of the chapter.
plant() {
    rm -rf "$1"
    mkdir -p "$1"
    ln -s "$root/Makefile" "$root/tests" "$root/util.h" "$1/"
    copy_chapter "$1/$chapter"
}

# build TREE SANITIZERS: both programs; what the compiler says is printed. One whose sources are
# the chapter's own has been built already.
build() {
    local differ targets=() program to
    to=$(programs "$1" "$2")
    differ=$(diff -rq -x server -x client -x exercises -x certs \
        "$root/$chapter" "$1/$chapter/" 2>&1)
    mkdir -p "$to"
    for program in server client; do
        if grep -vE "/$([[ $program == server ]] && echo client || echo server)\.c differ$" \
            <<<"$differ" | grep . >/dev/null; then
            targets+=("${to#"$1"/}/$program")
        else
            cp "$(programs "$root" "$2")/$program" "$to/"
        fi
    done
    ((!${#targets[@]})) ||
        LDLIBS="${LDLIBS-} $(about libs)" make -s -C "$1" SAN="$2" "${targets[@]}" 2>&1
}

# programs TREE SANITIZERS: where they are.
programs() {
    echo "$1${2:+/build/${2//,/-}}/$chapter"
}

# The kit's own programs, plain and instrumented, and the helpers; those who wait find them done.
build_kit() {
    mkdir -p "$root/build"
    flock "$root/build/lock" make -s -C "$root" -j "$(getconf _NPROCESSORS_ONLN)" SAN="$1" \
        all helpers >&2
}

# ---- tests ----

# filter_of: names, one a line, become a regular expression for bats; none: one that fits nothing.
filter_of() {
    sed 's/[][\.*^$+?(){}|]/\\&/g' | paste -s -d '|' | sed 's/.*/^(&)$/'
}

# names_in FILE…
names_in() {
    sed -n 's/^@test "\(.*\)" {.*$/\1/p' "$@"
}

# kept_tests FILE…: those of the chapter's tests that have to hold in a build too: all but those
# that it changes by design (`changes`, regular expressions), and those that fit `keeps` anyway.
kept_tests() {
    local changes keeps
    changes=$(about changes | sed 's/.*/^(&)$/')
    keeps=$(about keeps | sed 's/.*/^(&)$/')
    names_in "$@" | CHANGES=${changes//$'\n'/|} KEEPS=${keeps//$'\n'/|} awk '
        BEGIN { changes = ENVIRON["CHANGES"]; keeps = ENVIRON["KEEPS"] }
        changes == "" || $0 !~ changes || (keeps != "" && $0 ~ keeps)'
}

# guests_part FILTER FILE…: for a server of somebody else, the tests but those that begin with
# "client: "; for a client, those.
guests_part() {
    local option=-v
    [[ ${SERVER-} ]] || option=-e
    names_in "${@:2}" | grep -E "$1" | grep $option '^client: ' | sort -u | filter_of
}

# run_bats JOBS FILTER FILE…: prints TAP. PROGRAMS, SOURCES and SAN, or SERVER and CLIENT, say what
# is tested. Sanitizers of older compilers fail where some kernels put things at random.
run_bats() {
    local options=(--formatter tap --print-output-on-failure) fixed=()
    options+=(--setup-suite-file "$root/tests/setup_suite.bash")
    gnu_parallel && (($1 > 1)) && options+=(--jobs "$1")
    [[ -z ${SERVER-}${CLIENT-} ]] || options+=(--filter-tags '!kit')
    if [[ ${SERVER-} && ! ${CLIENT-} ]] || [[ ${CLIENT-} && ! ${SERVER-} ]]; then
        options+=(--filter "$(guests_part "${@:2}")")
    elif [[ $2 ]]; then
        options+=(--filter "$2")
    fi
    [[ -z ${SAN-} ]] || ! setarch "$(uname -m)" -R true 2>/dev/null ||
        fixed=(setarch "$(uname -m)" -R)
    shift 2
    timeout --foreground 600 "${fixed[@]}" bats "${options[@]}" "$@" </dev/null 2>&1 3>&- 4>&- ||
        return
}

# results TAP: "ok", "not" or "skip", a tab, the name; for each test.
results() {
    awk '/^(not )?ok [0-9]+ / {
        status = /^not/ ? "not" : / # skip/ ? "skip" : "ok"
        sub(/^(not )?ok [0-9]+ /, "")
        sub(/ # skip.*/, "")
        print status "\t" $0
    }' "$1"
}

# names STATUS TAP: of the tests with that result, each once.
names() {
    results "$2" | sed -n "s/^$1\t//p" | awk '!seen[$0]++'
}

# diagnostics TAP NAME: what a failed test said.
diagnostics() {
    NAME=$2 awk '/^(not )?ok [0-9]+ / {
        wanted = /^not/ && substr($0, length($0) - length(ENVIRON["NAME"])) == " " ENVIRON["NAME"]
        next
    }
    wanted { sub(/^# ?/, ""); print }' "$1"
}

# ---- the reader's copy ----

# What a chapter includes from above stands beside it in a copy, so that updating the kit never
# changes what a reader works on.
detach() {
    cp "$root/util.h" "$1/"
    find "$1" -name '*.[ch]' -exec sed -i 's,#include "\.\./util\.h",#include "util.h",' {} +
}

# make_start TO: what a reader begins with.
make_start() {
    local file
    mkdir -p "$1"
    if [[ $kind == catch ]]; then
        printf '%s\n' "CHAPTER=$chapter" 'load ../../tests/helpers/common' '' \
            "# What has to hold, and which man page or RFC says so: ${dir#"$root"/}/README.md" \
            '@test "say here in words what has to hold" {' '  start_server' '  assert_serving' '}' \
            >"$1/catch.bats"
        return
    fi
    copy_chapter "$1"
    if [[ $kind == hunt ]]; then
        apply "$dir/bug.patch" "$1" >&2 || die "$chapter was changed: git diff $chapter"
        sed -n 's,^+++ b/\([^[:space:]]*\).*,\1,p' "$dir/bug.patch" | while read -r file; do
            sed -i "1i /* Broken on purpose: exercise $id, ${dir#"$root"/}/README.md */" "$1/$file"
        done
    fi
    own_makefile "$1" "exercise-$id"
    detach "$1"
}

own_makefile() {
    printf '%s\n' '# `make` here is the same as in the directory of the kit.' '.PHONY: all' \
        "all: ; @\$(MAKE) --no-print-directory -C ../.. $2" >"$1/Makefile"
}

# make_reference TO: how it should end.
make_reference() {
    copy_chapter "$1"
    if [[ $kind == build ]]; then
        apply "$dir/solution.patch" "$1" || return
    fi
    detach "$1"
}

# adopt TREE DIRECTORY: a tree whose chapter is that directory.
adopt() {
    mkdir -p "$1"
    ln -sfn "$root/Makefile" "$1/Makefile"
    ln -sfn "$root/tests" "$1/tests"
    ln -sfn "$2/util.h" "$1/util.h"
    ln -sfn "$2" "$1/$chapter"
}

# variant ALT TREE: builds what is odd but correct; sets `variant`, the variables for run_bats.
# A patch goes on top of the solution (of a build) or of the chapter; anything else is a program.
variant() {
    case $1 in
    *.patch)
        plant "$2"
        [[ $kind != build ]] || apply "$dir/solution.patch" "$2/$chapter" || return
        apply "$1" "$2/$chapter" && build "$2" "$SANITIZERS" || return
        variant=("PROGRAMS=$(programs "$2" "$SANITIZERS")" "SOURCES=$2/$chapter"
            "SAN=$SANITIZERS")
        ;;
    */client*) variant=("CLIENT=$(printf %q "$1")") ;;
    *) variant=("SERVER=$(printf %q "$1")") ;;
    esac
}

# under VAR=VALUE… -- COMMAND…
under() (
    while [[ $1 != -- ]]; do
        export "${1?}"
        shift
    done
    shift
    "$@"
)

# catch_verdict TESTS TREE: a line for each program that the tests have to tell apart, indented; a
# wrong one begins with "!". Returns 1 if there is one.
catch_verdict() {
    local tests=$1 tree=$2 tap=$2.tap alt bad=0
    mkdir -p "$tree"
    if ! under SAN="$SANITIZERS" -- run_bats 1 '' "$tests" >"$tap" ||
        [[ ! $(names ok "$tap") ]]; then
        say_failed 'the chapter itself has to pass' "$tap"
        return 1
    fi
    echo '  the chapter passes'
    shopt -s nullglob
    for alt in "$dir"/alt/*; do
        if ! variant "$alt" "$tree" ||
            ! under "${variant[@]}" -- run_bats 1 '' "$tests" >"$tap"; then
            say_failed "alt/${alt##*/} has to pass: it is odd, but correct" "$tap"
            bad=1
        else
            echo "  alt/${alt##*/} passes"
        fi
    done
    shopt -u nullglob
    make_mutant "$tree" "$(san_of)" || return
    under "${variant[@]}" -- run_bats 1 '' "$tests" >"$tap" || true
    if [[ $(names not "$tap") ]]; then
        echo '  the mutant is caught'
    else
        say_failed 'the mutant is not caught' "$tap"
        bad=1
    fi
    return "$bad"
}

say_failed() {
    local name
    echo "! $1"
    names not "$2" | while read -r name; do
        printf '%s\n' "    $name"
        diagnostics "$2" "$name" | sed 's/^/      /'
    done
    [[ $(results "$2") ]] || sed 's/^/      /' "$2"
}

# make_mutant TREE SANITIZERS: the chapter with the bug; sets variant.
make_mutant() {
    plant "$1"
    apply "$dir/bug.patch" "$1/$chapter" && build "$1" "$2" || return
    variant=("PROGRAMS=$(programs "$1" "$2")" "SOURCES=$1/$chapter" "SAN=$2")
}
