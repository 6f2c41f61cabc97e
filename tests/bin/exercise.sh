# shellcheck shell=bash disable=SC2016,SC2034 # make's variables; names for those who source this
# What tests/bin/exercise (the reader's loop) and tests/bin/prove (the proof) share. Sourced.
#
# An exercise N-M lives in NN-name/exercises/M-title/ (docs/exercises.md describes its files), and
# its tests, if it has its own, in tests/exercises/N-M.bats. Programs are built in a tree: a
# directory that looks like the kit, with one chapter in it, so that the Makefile's rules hold.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
# shellcheck source-path=SCRIPTDIR source=tools.sh
. "$root/tests/bin/tools.sh"
# shellcheck source-path=SCRIPTDIR source=tmpdir.sh
. "$root/tests/bin/tmpdir.sh"
choose_tmpdir
: "${SANITIZERS:=address,undefined}" # of every build, unless `san` says otherwise

# We may be run by make, and by a test: nothing of those is meant for the make and bats in here.
unset MAKEFLAGS MFLAGS MAKELEVEL MAKEOVERRIDES SAN TAGS FILTER STOP_FILE PROGRAMS SOURCES
unset BEGUN_AHEAD # of the helpers' `seen`
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

# replace FROM TO [FROM TO…]: in what comes on standard input; paths, whatever is in their names.
replace() {
    local line i
    while IFS= read -r line || [[ $line ]]; do
        for ((i = 1; i < $#; i += 2)); do
            line=${line//"${!i}"/"${@:i+1:1}"}
        done
        printf '%s\n' "$line"
    done
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

# hunts_of CHAPTER: the ids of its hunts, in order.
hunts_of() {
    local each
    for each in $(all_ids | grep "^$1-"); do
        (choose "$each" && [[ $kind != hunt ]]) || echo "$each"
    done
}

# seeded_hunt CHAPTER NAME: the same hunt of the chapter for the same name, each time, everywhere.
seeded_hunt() {
    local hunts sum
    mapfile -t hunts < <(hunts_of "$1")
    ((${#hunts[@]})) || die "chapter $1 has no hunts"
    sum=$(printf %s "$2" | cksum)
    echo "${hunts[${sum%% *} % ${#hunts[@]}]}"
}

# choose ID: sets id (4.2 is 4-2), chapter (04-threadpool), dir, kind, title, own_tests (or "").
choose() {
    local found
    id=${1/./-}
    [[ $id =~ ^[1-9]-(0|[1-9][0-9]*)$ ]] || die "'$1' is no exercise: make exercises lists them"
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

# kits_text: where the chapter is, as the kit has it. A reader who tries things out changes the
# chapter, and an exercise must not begin with that. Where there is no git, nobody can tell.
kits_text() {
    local own=$root/build/exercises/kits-text changes
    changes=$(git -C "$root" status --porcelain -uno -- "$chapter" 2>/dev/null) || changes=
    if [[ ! $changes ]]; then
        echo "$root/$chapter"
        return
    fi
    rm -rf "$own"
    mkdir -p "$own"
    git -C "$root" archive HEAD "$chapter" | tar -x -C "$own" || return
    echo "$chapter differs from the kit's (git diff $chapter); the kit's own text is used here" >&2
    echo "$own/$chapter"
}

# copy_step FROM TO: a step of the chapter, as server.c (and client.c, if the step is a pair).
copy_step() {
    local step
    step=$1/steps/$(about step)
    cp "$1/Makefile" "$2/"
    if [[ -f $step.c ]]; then
        cp "$step.c" "$2/server.c"
    else
        cp "$step-server.c" "$2/server.c"
        cp "$step-client.c" "$2/client.c"
    fi
}

# copy_chapter TO: its sources, without what was built there, the steps and the exercises; and what
# the exercise begins `with` of other chapters. Of a warm-up, its step only. KITS_TEXT: not what a
# reader has changed.
copy_chapter() {
    local file from=$root/$chapter
    [[ ! ${KITS_TEXT-} ]] || from=$(kits_text)
    mkdir -p "$1"
    if [[ $kind == first ]]; then
        copy_step "$from" "$1"
        return
    fi
    for file in "$from"/*; do
        [[ ${file##*/} =~ ^(server|client|load|steps|exercises|certs)$ ]] || cp -pR "$file" "$1/"
    done
    about with | while read -r file; do
        cp "$root/$file" "$1/"
    done
}

# apply PATCH TO: not a line may have changed around what it changes.
apply() {
    local reason
    ! reason=$(lacking patch) || die "$reason"
    patch -s -f -p1 --fuzz=0 --no-backup-if-mismatch -r - -d "$2" -i "$1"
}

# put_bug TO: makes the chapter that is there the start of a hunt or warm-up, or a catch's mutant. A
# handout (tests/bin/handout) has no patches, but the changed files: start/, or encoded in mutant.
put_bug() {
    if [[ -d $dir/start ]]; then
        cp "$dir/start/"* "$1/"
    elif [[ -f $dir/mutant ]]; then
        base64 -d "$dir/mutant" | tar -xz -C "$1"
    else
        apply "$dir/bug.patch" "$1"
    fi
}

# changed_by_bug: names of files.
changed_by_bug() {
    if [[ -d $dir/start ]]; then
        ls "$dir/start"
    else
        sed -n 's,^+++ b/\([^[:space:]]*\).*,\1,p' "$dir/bug.patch"
    fi
}

# in_handout: this exercise has no solution here, and only its first hint.
in_handout() {
    [[ ! -e $dir/hint-2 ]]
}

# plant TREE: a fresh tree with a copy of the chapter.
plant() {
    rm -rf "$1"
    mkdir -p "$1"
    ln -s "$root/Makefile" "$root/tests" "$root/util.h" "$1/"
    copy_chapter "$1/$chapter"
}

# build TREE SANITIZERS: its programs; what the compiler says is printed. One whose sources are the
# chapter's own has been built already. If `objects` is set, a directory in which objects are kept,
# only what has changed is compiled.
build() {
    local differ targets=() source program to cc=()
    to=$(programs "$1" "$2")
    differ=$(diff -rq "$root/$chapter" "$1/$chapter/" 2>&1 |
        grep -vE '(: (server|client|load|steps|exercises|certs)|/(server|client|load) differ)$') ||
        true
    mkdir -p "$to"
    for source in "$1/$chapter"/{server,client,load}.c; do
        [[ -f $source ]] || continue
        program=$(basename "$source" .c)
        # What differs, but for the other programs' own sources.
        if sed -E "/\/$program\.c differ$/b; /\/(server|client|load)\.c differ$/d" \
            <<<"$differ" | grep . >/dev/null; then
            targets+=("${to#"$1"/}/$program")
        else
            cp "$(programs "$root" "$2")/$program" "$to/"
        fi
    done
    ((${#targets[@]})) || return 0
    if [[ ${objects-} ]]; then
        rm -rf "$objects/done"
        # make splits words at spaces, so the compiler's name alone has to do.
        cc=("COMPILER=${CC:-cc}" CC=cc-objects "OBJECTS=$objects" "DONE=$objects/done"
            "PATH=$root/tests/bin:$PATH")
    fi
    under "LDLIBS=${LDLIBS-} $(about libs)" "${cc[@]}" -- \
        make -s -C "$1" SAN="$2" "${targets[@]}" 2>&1 || return
    [[ ! ${objects-} ]] || forget_objects
}

# forget_objects: all but the fifty that were used last.
forget_objects() {
    rm -rf "$objects/done"
    # shellcheck disable=SC2012 # names that cc-objects has made
    (cd "$objects" && ls -t | tail -n +51 | xargs -r rm -f --)
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

# build_chapter SANITIZERS: the same, but only what the tests of this chapter need: sooner.
build_chapter() {
    local targets=("$chapter" tools)
    [[ $chapter != 06-* ]] || targets+=(04-threadpool) # it is compared with that
    [[ -x $root/${1:+build/${1//,/-}/}$chapter/server && -x $root/build/helpers/peer ]] ||
        echo "building $chapter${1:+ with sanitizers} and the tools of the tests ..." >&2
    mkdir -p "$root/build"
    flock "$root/build/lock" make -s -C "$root" -j "$(getconf _NPROCESSORS_ONLN)" SAN="$1" \
        "${targets[@]}" >&2
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
# "client: " or "load: "; for a client, those of the client.
guests_part() {
    local others=(-vE '^(client|load): ')
    [[ ${SERVER-} ]] || others=('^client: ')
    names_in "${@:2}" | grep -E "$1" | grep "${others[@]}" | sort -u | filter_of
}

# choose_wrapper: sets wrapper, a command that runs another for ten minutes at most. Sanitizers of
# older compilers fail where some kernels put things at random.
choose_wrapper() {
    # In the foreground, to hear of Ctrl-C. BusyBox's timeout has no such option and needs none.
    wrapper=(timeout --foreground 600)
    "${wrapper[@]}" true 2>/dev/null || wrapper=(timeout 600)
    [[ -z ${SAN-} ]] || ! setarch "$(uname -m)" -R true 2>/dev/null ||
        wrapper+=(setarch "$(uname -m)" -R)
}

# bats_command JOBS FILTER FILE…: sets command, which prints TAP. PROGRAMS, SOURCES and SAN, or
# SERVER and CLIENT, say what is tested.
bats_command() {
    local options=(--formatter tap --print-output-on-failure) tags=''
    options+=(--setup-suite-file "$root/tests/setup_suite.bash")
    (($1 == 1)) || ! gnu_parallel || options+=(--jobs "$1")
    [[ -z ${SERVER-}${CLIENT-} ]] || tags='!kit'
    [[ ! $tags ]] || options+=(--filter-tags "$tags")
    if [[ ${SERVER-} && ! ${CLIENT-} ]] || [[ ${CLIENT-} && ! ${SERVER-} ]]; then
        options+=(--filter "$(guests_part "${@:2}")")
    elif [[ $2 ]]; then
        options+=(--filter "$2")
    fi
    command=(bats "${options[@]}" "${@:3}")
}

# run_bats JOBS FILTER FILE…: prints TAP.
run_bats() {
    local command wrapper
    bats_command "$@"
    choose_wrapper
    "${wrapper[@]}" "${command[@]}" </dev/null 2>&1 3>&- 4>&-
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
    if [[ $kind == hunt || $kind == first ]]; then
        put_bug "$1" >&2 || die "$chapter was changed: git diff $chapter"
    fi
    if [[ $kind == hunt ]]; then
        changed_by_bug | while read -r file; do
            sed -i "1i /* Broken on purpose: exercise $id, ${dir#"$root"/}/README.md */" "$1/$file"
        done
    fi
    own_makefile "$1" "exercise-$id"
    detach "$1"
}

# own_makefile TO TARGET: `make` here, and `make hint` and its like, are the kit's commands.
own_makefile() {
    local name=${2#exercise-}
    cat >"$1/Makefile" <<END
# These commands are the same as in the kit's directory: make $2, make hint-$name ...
.PHONY: all hint watch solution reset
all: ; @\$(MAKE) --no-print-directory -C ../.. $2
hint watch solution reset: ; @\$(MAKE) --no-print-directory -C ../.. \$@-$name
END
}

# make_reference TO: how it should end.
make_reference() {
    copy_chapter "$1"
    if [[ $kind == build ]]; then
        apply "$dir/solution.patch" "$1" || return
    fi
    detach "$1"
}

# adopt TREE DIRECTORY: a tree whose chapter has a link to each file of that directory. So a file
# of the reader's may include "util.h" as the copies do, or "../util.h" as the chapter does. Names
# that make or a shell could take for commands are left out, and so are other makefiles.
adopt() {
    rm -rf "${1:?}/$chapter" "$1/build" # objects may be newer, and of another copy
    mkdir -p "$1/$chapter"
    ln -sfn "$root/Makefile" "$1/Makefile"
    ln -sfn "$root/tests" "$1/tests"
    ln -sfn "$2/util.h" "$1/util.h"
    cp -rs "$2/." "$1/$chapter/"
    rm -f "$1/$chapter/"{server,client,load} # of an earlier build
    rm -f "$1/$chapter/"{GNUmakefile,makefile}
    find "$1/$chapter" -mindepth 1 -name '*[!A-Za-z0-9._-]*' -prune -exec rm -rf {} +
    ln -sf "$root/$chapter/Makefile" "$1/$chapter/" # the copy's own calls us
}

# variant ALT TREE: builds what is odd but correct; sets `variant`, the variables for run_bats.
# A patch goes on top of the solution (of a build) or of the chapter; anything else is a program.
variant() {
    build_variant "$@" && set_variant "$@"
}

build_variant() {
    [[ $1 == *.patch ]] || return 0
    plant "$2"
    [[ $kind != build ]] || apply "$dir/solution.patch" "$2/$chapter" || return
    apply "$1" "$2/$chapter" && build "$2" "$SANITIZERS"
}

set_variant() {
    case ${1##*/} in
    *.patch)
        variant=("PROGRAMS=$(programs "$2" "$SANITIZERS")" "SOURCES=$2/$chapter"
            "SAN=$SANITIZERS")
        ;;
    client*) variant=("CLIENT=$(printf %q "$1")") ;;
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
# wrong one begins with "!". Returns 1 if there is one. While the chapter is tested, the others are
# built, each in a tree of its own.
catch_verdict() {
    local tests=$1 tree=$2 tap=$2.tap alts alt i bad=0 builders=()
    mkdir -p "$tree"
    shopt -s nullglob
    alts=("$dir"/alt/*)
    shopt -u nullglob
    for i in "${!alts[@]}"; do
        beside "$tree.$i" build_variant "${alts[i]}" "$tree.$i"
    done
    beside "$tree" make_mutant "$tree" "$(san_of)"
    if ! under SAN="$SANITIZERS" -- run_bats 1 '' "$tests" >"$tap" ||
        [[ ! $(names ok "$tap") ]]; then
        say_failed 'the chapter itself has to pass' "$tap"
        wait "${builders[@]}" || true
        return 1
    fi
    echo '  the chapter passes'
    for i in "${!alts[@]}"; do
        alt=${alts[i]}
        if ! built "$i" "$tree.$i" || ! set_variant "$alt" "$tree.$i" ||
            ! under "${variant[@]}" -- run_bats 1 '' "$tests" >"$tap"; then
            say_failed "alt/${alt##*/} has to pass: it is odd, but correct" "$tap"
            bad=1
        else
            echo "  alt/${alt##*/} passes"
        fi
    done
    built "${#alts[@]}" "$tree" || return
    set_mutant "$tree" "$(san_of)"
    under "${variant[@]}" -- run_bats 1 '' "$tests" >"$tap" || true
    if [[ $(names not "$tap") ]]; then
        echo '  the mutant is caught'
    else
        say_failed 'the mutant is not caught' "$tap"
        bad=1
    fi
    return "$bad"
}

# beside TREE COMMAND…: builds in the background, with objects of its own if there are any; `built`
# says what came of it.
beside() {
    (
        objects=${objects:+$1.objects}
        "${@:2}"
    ) >"$1.built" 2>&1 &
    builders+=($!)
}

# built N TREE: waits for that builder. Returns 1 if it failed, and says why.
built() {
    wait "${builders[$1]}" || { cat "$2.built" && return 1; }
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

# make_mutant TREE SANITIZERS: builds the chapter with the bug; sets variant.
make_mutant() {
    plant "$1"
    put_bug "$1/$chapter" && build "$1" "$2" && set_mutant "$@"
}

set_mutant() {
    variant=("PROGRAMS=$(programs "$1" "$2")" "SOURCES=$1/$chapter" "SAN=$2")
}
