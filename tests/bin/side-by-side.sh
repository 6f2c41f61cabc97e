# shellcheck shell=bash disable=SC2154 # variables of those who source this
# The reader's loop, third part: runs the tests of an exercise, and then those of its chapter,
# several at a time, up to the first failure. Sourced by tests/bin/exercise.
#
# Tests are counted in the order of the report: first the exercise's own, in their order, then the
# chapter's. They are dealt out to units. Each unit is one bats, which runs its tests one after
# another. (`bats --jobs` looks for a free place only once a second.) Most tests wait more than they
# work, so there are more units at a time than processors. Nothing here depends on how long a test
# took: which tests are chosen, and which unit a test is in, follows from the files.

# Of each test: its file, its name, whether it is slow (it waits long, so it has a unit of its own,
# which begins early), and its result: ok, skip or not. The first own_total are the exercise's.
test_file=() test_name=() test_slow=() result=() own_total=0
# Of each unit: its tests (numbers), its process (none after its end), the descriptor from which its
# output is read, what was read, and the beginning of a line.
unit_tests=() unit_pid=() unit_log=() unit_tap=() unit_part=()
# Units of which no more results are wanted.
unit_stopped=()
next_unit=0 active=0 first_units=0
# The first test that failed, the name under which its unit reports it, and the unit. Once `told` is
# set, it has said why.
failed='' failed_name='' failed_unit='' told=''
# How many of the chapter's tests are left out: those that take long, and those of a program whose
# text is the chapter's.
left_long=0 left_same=0
# That program: client or server.
same=''

# ---- which tests ----

# tests_of FILE…: prints a line for each test: file, tags and name, with tabs between them.
tests_of() {
    awk -v OFS='\t' '
        FNR == 1 { file_tags = tags = "" }
        sub(/^# bats file_tags=/, "") { file_tags = "," $0 }
        sub(/^# bats test_tags=/, "") { tags = "," $0 }
        sub(/^@test "/, "") {
            sub(/" \{.*$/, "")
            print FILENAME, tags file_tags ",", $0
            tags = ""
        }' "$@"
}

# add_test FILE TAGS NAME
add_test() {
    test_file+=("$1")
    if [[ $2 == *,slow,* ]]; then
        test_slow+=(yes)
    else
        test_slow+=('')
    fi
    test_name+=("$3")
    result+=('')
}

# is_own FILE NAME: of a build, each of its own tests; of a hunt, those that `about` names.
is_own() {
    if [[ $kind == build || $kind == first ]]; then
        [[ $1 == "$own_tests" ]]
    else
        is_one_of "$2" "$own_names"
    fi
}

# is_one_of LINE LINES
is_one_of() {
    [[ $'\n'$2$'\n' == *$'\n'"$1"$'\n'* ]]
}

# choose_tests: all that follow are about these.
choose_tests() {
    local files=() own_names kept line file tags name
    own_names=$(about tests)
    [[ $kind == first ]] || mapfile -t files < <(chapter_tests)
    line=$(tests_of ${own_tests:+"$own_tests"} "${files[@]}")
    while IFS=$'\t' read -r file tags name; do
        ! is_own "$file" "$name" || add_test "$file" "$tags" "$name"
    done <<<"$line"
    own_total=${#test_name[@]}
    [[ $kind != first && ! ${SERVER-}${CLIENT-} ]] || return 0
    kept=$(kept_tests "${files[@]}")
    choose_same
    while IFS=$'\t' read -r file tags name; do
        if [[ $file == "$own_tests" ]] || is_own "$file" "$name" ||
            ! is_one_of "$name" "$kept"; then
            continue
        elif [[ ${brief-} ]] && is_of_same "$file" "$name"; then
            left_same=$((left_same + 1))
        elif [[ ${brief-} && $tags =~ ,(heavy|slow), ]]; then
            left_long=$((left_long + 1))
        else
            add_test "$file" "$tags" "$name"
        fi
    done <<<"$line"
}

# is_of_same FILE NAME: this is a test of that program.
is_of_same() {
    local program=server
    [[ ! ($1 == *-client.bats || $2 =~ ^(client|load):\ ) ]] || program=client
    [[ $same == "$program" ]]
}

# choose_same: the program that the reader has left as it was, if there is one. If only parts have
# changed that both may have, the tests are those of the server.
choose_same() {
    local files
    # shellcheck disable=SC2016 # make's: 07 has parts that only its client has
    files=$(sed -n 's/^CLIENT *= *\$(wildcard \(.*\))$/\1/p' "$root/$chapter/Makefile")
    # shellcheck disable=SC2086 # words
    if ! differs client.c load.c $files; then
        same=client
    elif ! differs server.c; then
        same=server
    fi
}

# differs FILE…: one of the copy's is not the chapter's.
differs() {
    local file
    for file; do
        [[ -f $root/$chapter/$file || -f $copy/$file ]] || continue
        cmp -s <(with_own_util "$root/$chapter/$file") <(with_own_util "$copy/$file") || return 0
    done
    return 1
}

# with_own_util FILE: its text, as `detach` makes it.
with_own_util() {
    sed 's,#include "\.\./util\.h",#include "util.h",' "$1" 2>/dev/null
}

# ---- units ----

# deal FROM TO SIZE: the tests from that number on, up to the other, each file's in turn to units of
# so many tests at most; but not the slow ones.
deal() {
    local i n=0 first=0 units=0 file=
    local -A count=()
    for ((i = $1; i < $2; i++)); do
        [[ ${test_slow[i]} ]] || count[${test_file[i]}]=$((${count[${test_file[i]}]-0} + 1))
    done
    for ((i = $1; i < $2; i++)); do
        [[ ! ${test_slow[i]} ]] || continue
        if [[ ${test_file[i]} != "$file" ]]; then
            file=${test_file[i]} n=0 first=${#unit_tests[@]}
            units=$(((count[$file] + $3 - 1) / $3))
        fi
        unit_tests[first + n % units]+=" $i"
        n=$((n + 1))
    done
}

# extract U: prints the name of a file beside the one that the unit's tests are in, with nothing but
# these: each line costs bats time. unit.U.lines says which line of the whole file each one was.
extract() {
    local i names='' file=''
    for i in ${unit_tests[$1]}; do
        names+=${test_name[i]}$'\n' file=${test_file[i]}
    done
    NAMES=$names LINES_TO=$tree/unit.$1.lines awk '
        BEGIN { split(ENVIRON["NAMES"], names, "\n"); for (i in names) wanted[names[i]] }
        /^@test "/ {
            name = $0
            gsub(/^@test "|" \{.*$/, "", name)
            drop = !(name in wanted)
        }
        !drop { print; print FNR >ENVIRON["LINES_TO"] }
        /^}/ || /^@test .*}$/ { drop = 0 }' "$file" >"$file.$name.$1"
    echo "$file.$name.$1"
}

# whole_files U: in what a unit has said, names and lines of extracts become those of their files.
whole_files() {
    local file
    read -r file _ <<<"${unit_tests[$1]}"
    file=${test_file[file]##*/}
    FILE=$file SUFFIX=.$name.$1 awk -v map="$tree/unit.$1.lines" '
        BEGIN { while ((getline line <map) > 0) lines[++n] = line }
        {
            name = ENVIRON["FILE"] ENVIRON["SUFFIX"]
            while ((at = index($0, name)) > 0) {
                rest = substr($0, at + length(name))
                if (match(rest, /^, line [0-9]+/)) {
                    line = lines[substr(rest, 8, RLENGTH - 7) + 0]
                    rest = ", line " line substr(rest, RLENGTH + 1)
                }
                $0 = substr($0, 1, at - 1) ENVIRON["FILE"] rest
            }
            print
        }'
}

# deal_all: the exercise's own tests are dealt first, to as many units as may begin at once. The
# very first test is never slow.
deal_all() {
    local i
    test_slow[0]=
    deal 0 "$own_total" $(((own_total + jobs - 1) / jobs))
    first_units=${#unit_tests[@]}
    for i in "${!test_slow[@]}"; do
        [[ ! ${test_slow[i]} ]] || unit_tests+=("$i")
    done
    deal "$own_total" "${#test_name[@]}" 7
}

# start_unit U
start_unit() {
    local i file log command PATIENCE=${PATIENCE-}
    read -r i _ <<<"${unit_tests[$1]}"
    # With others beside it, a correct program may be late. (A reader waits for the first failure of
    # an own test, so those have to do without.)
    ((i < own_total)) || : "${PATIENCE:=2}"
    : "${PATIENCE:=1}"
    file=$(extract "$1")
    extracts+=("$file")
    bats_command 1 '' "$file"
    : >"$tree/unit.$1"
    rm -f "$tree/stop.$1"
    # In a session of its own: end_units ends all of it, and Ctrl-C is our matter.
    PATIENCE=$PATIENCE STOP_FILE=$tree/stop.$1 TMPDIR=$units_tmp \
        setsid "${wrapper[@]}" "${command[@]}" </dev/null >>"$tree/unit.$1" 2>&1 3>&- 4>&- &
    unit_pid[$1]=$! unit_tap[$1]='' unit_part[$1]=''
    exec {log}<"$tree/unit.$1"
    unit_log[$1]=$log
    active=$((active + 1))
}

# listen: to all units: what they have printed since the last time, and whether they have ended.
listen() {
    local u line ended
    for u in "${!unit_pid[@]}"; do
        ended=yes
        ! kill -0 "${unit_pid[u]}" 2>/dev/null || ended=
        while IFS= read -r -u "${unit_log[u]}" line; do
            take_line "$u" "${unit_part[u]}$line"
            unit_part[u]=
        done
        unit_part[u]+=$line
        [[ ! $ended ]] || end_of_unit "$u"
    done
}

# take_line U LINE: of TAP.
take_line() {
    local status=ok name i
    if [[ $2 =~ ^(not\ )?ok\ [0-9]+\ (.*) ]]; then
        name=${BASH_REMATCH[2]}
        [[ ! ${BASH_REMATCH[1]} ]] || status=not
        [[ $failed_unit != "$1" ]] || told=yes
        if [[ $name == *' # skip'* ]]; then
            name=${name%%' # skip'*} status=skip
        fi
        i=$(number_of "$1" "$name")
        [[ ${unit_stopped[$1]-} ]] || result[i]=$status
        [[ $status != not ]] || fails "$i" "$name" "$1"
    fi
    unit_tap[$1]+=$2$'\n'
}

# number_of U NAME: the unit's test of that name; for what is none, as setup_suite, its first.
number_of() {
    local i
    for i in ${unit_tests[$1]}; do
        [[ ${test_name[i]} != "$2" ]] || break
    done
    [[ ${test_name[i]} == "$2" ]] || read -r i _ <<<"${unit_tests[$1]}"
    echo "$i"
}

# fails TEST NAME U: it ends its unit (by the STOP_FILE), and those that have no earlier test.
fails() {
    local u first
    if [[ ! $failed || $1 -lt $failed ]]; then
        failed=$1 failed_name=$2 failed_unit=$3 told=
    fi
    unit_stopped[$3]=yes
    for u in "${!unit_pid[@]}"; do
        read -r first _ <<<"${unit_tests[u]}"
        if ((first > failed || first >= own_total)); then
            unit_stopped[u]=yes
            : >"$tree/stop.$u"
        fi
    done
}

# end_of_unit U: each of its tests has to have a result, but for those that were stopped. bats does
# not choose those that are not for a program of somebody else: they count as skipped.
end_of_unit() {
    local i log
    wait "${unit_pid[$1]}" || true
    log=${unit_log[$1]}
    exec {log}<&-
    unset "unit_pid[$1]"
    active=$((active - 1))
    [[ $failed_unit != "$1" ]] || told=yes
    [[ ! ${unit_stopped[$1]-} ]] || return 0
    for i in ${unit_tests[$1]}; do
        if [[ ${SERVER-}${CLIENT-} ]]; then
            result[i]=${result[i]:-skip}
        elif [[ ! ${result[i]} ]]; then
            result[i]=not
            fails "$i" '' "$1"
            [[ $failed_unit != "$1" ]] || told=yes
            return
        fi
    done
}

# end_units: those that still run are of no use any more. Their tests have teardown functions, which
# end what they have started; what these have not ended soon is killed.
end_units() {
    local u tries pids=''
    trap '' INT TERM HUP
    for u in "${!unit_pid[@]}"; do
        kill -TERM -- "-${unit_pid[u]}" 2>/dev/null || true
    done
    if ((${#unit_pid[@]})); then
        for ((tries = 0; tries < 20; tries++)); do
            pids=$(of_units)
            [[ $pids ]] || break
            sleep 0.1
        done
    fi
    while [[ $pids ]]; do
        # shellcheck disable=SC2086 # a list
        kill -KILL $pids 2>/dev/null || true
        pids=$(of_units)
    done
    rm -rf "$units_tmp" "${extracts[@]}"
}

# of_units: the processes that any unit has started, whatever session they are in.
of_units() {
    { grep -lszxF "TMPDIR=$units_tmp" /proc/[0-9]*/environ || true; } | cut -d / -f 3
}

# may_start: there is a next unit, and a place for it. After a failure, only an own test that comes
# before the one that failed is of interest.
may_start() {
    local first places=$jobs
    ((next_unit < ${#unit_tests[@]})) || return
    read -r first _ <<<"${unit_tests[next_unit]}"
    if [[ ! ${result[0]} ]] && ! is_over 0; then
        # The first test has the processors alone: most failures are its, and wanted soon.
        ((next_unit < first_units)) || return
        places=$((jobs / 2))
    elif [[ ${test_slow[first]} ]] || { [[ ${brief-} ]] && own_have_ended; }; then
        places=$((jobs * 2))
    elif [[ ${brief-} ]]; then
        places=$((jobs * 3 / 2))
    fi
    ((active < places)) || return
    [[ ! $failed ]] || ((first < failed && first < own_total))
}

is_over() {
    (($1 < next_unit)) && [[ ! ${unit_pid[$1]-} ]]
}

# is_decided: an own test has failed, and all that come before it have ended; or all own tests have
# ended, and one of the chapter has failed.
is_decided() {
    local i
    if [[ $failed ]]; then
        [[ $told ]] || return
        for ((i = 0; i < own_total && i < failed; i++)); do
            [[ ${result[i]} ]] || return
        done
        return 0
    fi
    own_have_ended && ! has_result ok 0 "$own_total"
}

own_have_ended() {
    local i
    for ((i = 0; i < own_total; i++)); do
        [[ ${result[i]} ]] || return
    done
}

# has_result STATUS FROM TO
has_result() {
    local i
    for ((i = $2; i < $3; i++)); do
        [[ ${result[i]} != "$1" ]] || return 0
    done
    return 1
}

# ---- what is told ----

# say_own: the own tests that have passed, each as soon as all before it have.
said=0
say_own() {
    while ((said < own_total)) && [[ ${result[said]} && ${result[said]} != not ]]; do
        if [[ ${result[said]} == ok ]]; then
            clear_progress
            echo "  ok: ${test_name[said]}"
        fi
        said=$((said + 1))
    done
}

# say_progress: a line for a person who waits, on a terminal.
say_progress() {
    local i done=0
    [[ ${PROGRESS-} ]] || return 0
    for i in "${!result[@]}"; do
        [[ ! ${result[i]} ]] || done=$((done + 1))
    done
    [[ "$done $said" != "${shown_progress-}" ]] || return 0
    shown_progress="$done $said"
    printf '\r  %d of %d tests\033[K' "$done" "${#result[@]}" >"$PROGRESS"
}

clear_progress() {
    [[ ! ${PROGRESS-} ]] || printf '\r\033[K' >"$PROGRESS"
    shown_progress=
}

count_results() {
    local i n=0
    for ((i = own_total; i < ${#result[@]}; i++)); do
        [[ ${result[i]} != "$1" ]] || n=$((n + 1))
    done
    echo "$n"
}

say_left() {
    [[ ${brief-} ]] || return 0
    ((left_long == 0)) ||
        echo "  left out: $left_long tests that take long; make check-$id runs them, too"
    ((left_same == 0)) ||
        echo "  left out: $left_same tests of the $same, which is the chapter's;" \
            "make check-$id runs them, too"
}

# say_verdict: returns 1 if the exercise has not passed.
say_verdict() {
    local u
    clear_progress
    if [[ $failed ]]; then
        printf '%s' "${unit_tap[failed_unit]}" | whole_files "$failed_unit" >"$tree/tap"
        ((failed < own_total)) || echo "  ok: $(count_results ok) tests of the chapter"
        tell "$tree/tap" "$failed_name"
        ((failed < own_total)) ||
            echo "This is a test of $chapter itself: what its programs do, yours have to do, too."
        return 1
    fi
    if ! has_result ok 0 "$own_total"; then
        for u in "${!unit_tap[@]}"; do
            printf '%s' "${unit_tap[u]}" | whole_files "$u"
        done >"$tree/tap"
        tell "$tree/tap" ''
        return 1
    fi
    if ((own_total < ${#result[@]})); then
        echo "  ok: $(count_results ok) tests of the chapter"
        say_left
    fi
}

# side_by_side: runs the tests of $copy, and says what came of them. A process of its own, so that
# whatever ends it ends the tests, too.
side_by_side() (
    local units_tmp wrapper extracts=() pause
    units_tmp=$(mktemp -d "${TMPDIR:-/tmp}/exercise.XXXXXX")
    trap end_units EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM HUP
    mkfifo "$units_tmp/pause"
    exec {pause}<>"$units_tmp/pause"
    choose_wrapper
    choose_tests
    deal_all
    while :; do
        while may_start; do
            start_unit "$next_unit"
            next_unit=$((next_unit + 1))
        done
        listen
        say_own
        say_progress
        ! is_decided || break
        ((active)) || may_start || break
        read -rt 0.04 -u "$pause" || true # sleep would be a process each time
    done
    say_verdict
)
