# shellcheck shell=bash disable=SC2154 # variables of those who source this
# The reader's loop, second part: `exercise watch`, which builds and tests a copy at every save.
# Sourced by tests/bin/exercise. On a terminal it takes single keys; elsewhere, only saves.

# watch [NAME]: that exercise or mystery, else what `next` says. Runs until q or Ctrl-C.
watch() {
    local tested='' now key
    enter "${1:-$(next_id)}"
    if on_terminal; then
        stty -echo -icanon
        trap 'stty "$terminal"; free_locks' EXIT
        trap 'draw' WINCH
    fi
    while :; do
        now=$(settled_hash)
        if [[ $now != "$tested" ]]; then
            tested=$now
            test_and_show
        fi
        key=$(read_key)
        on_key "$key" || return 0
    done
}

on_terminal() {
    [[ -t 0 && -t 1 ]] && terminal=$(stty -g)
}

# enter NAME: watches this exercise from now on, and starts it if it has not been started.
enter() {
    [[ $1 ]] || die 'all exercises are done'
    pick "$1"
    if [[ ! -d $copy ]]; then
        [[ $name != mystery-* ]] || die "not started: make $name"
        begin >/dev/null
    fi
}

# settled_hash: of the copy, when it has not changed for a tenth of a second: an editor may write
# several files, or one in pieces.
settled_hash() {
    local hash before=none
    hash=$(hash_of "$copy")
    while [[ $hash != "$before" ]]; do
        before=$hash
        sleep 0.1
        hash=$(hash_of "$copy")
    done
    echo "$hash"
}

# read_key: prints the key that is pressed within half a second. Without a terminal, it only waits.
read_key() {
    local key=
    if [[ ${terminal-} ]]; then
        read -rsn 1 -t 0.5 key || true
    else
        sleep 0.5
    fi
    echo "$key"
}

# test_and_show: the last result, which stays in $shown for `draw`.
test_and_show() {
    local file=$work/.shown-$name
    shown=
    draw
    [[ ${terminal-} ]] || printf '\n---- %(%H:%M:%S)T\n' -1
    # In a process of its own, so that its lock ends with it.
    ([[ ! ${terminal-} ]] || export PROGRESS=/dev/tty
        "$root/tests/bin/exercise" judge "$name" 2>&1 && touch "$file.passed") | tee "$file" || true
    shown=$(<"$file")
    if [[ -e $file.passed ]]; then
        shown+=$'\n\n'$(say_learned)
        say_learned
    fi
    rm -f "$file" "$file.passed"
    draw
}

say_learned() {
    printf '%s passed. You have seen: %s\n' "$name" "$(about learns)"
}

# draw: on a terminal, clears the screen and shows where one is: progress, the requirement, the last
# result, the keys.
draw() {
    [[ ${terminal-} ]] || return 0
    printf '\033[H\033[2J'
    progress_line
    printf '\n%s\n\n%s\n\n' "$(the_title)" "$(requirement)"
    if [[ $shown ]]; then
        printf '%s\n\n%s\n' "$shown" "$(keys)"
    fi
}

the_title() {
    if [[ $name == mystery-* ]]; then
        printf '%s: find the bug in %s' "$name" "${copy#"$root"/}"
    else
        printf '%s %s (%s): %s' "$id" "$title" "$kind" "${copy#"$root"/}"
    fi
}

# requirement: the first paragraph of the README's section.
requirement() {
    [[ $name == mystery-* ]] || awk '
        /^## / { on = $0 == "## Requirement"; next }
        on && NF { print; begun = 1 }
        on && begun && !NF { exit }' "$dir/README.md" | fold -s -w "$(columns)"
}

columns() {
    local size
    size=$(stty size 2>/dev/null) || size='24 80'
    size=${size#* }
    echo $((size > 20 ? size : 80))
}

# progress_line: a bar over all exercises, as wide as the terminal.
progress_line() {
    local each total=0 passed=0 width bar
    for each in $(all_ids); do
        recall "$each"
        total=$((total + 1))
        [[ $status != passed ]] || passed=$((passed + 1))
    done
    width=$(($(columns) - 30))
    ((width > 0)) || width=1
    ((width <= total)) || width=$total
    printf -v bar '%*s' "$((width * passed / total))" ''
    bar=${bar// /#}
    printf '[%-*s] %d of %d exercises\n' "$width" "$bar" "$passed" "$total"
}

keys() {
    local solution=
    recall "$name"
    [[ $status != passed ]] || solution='s solution   '
    echo "h hint   n next exercise   l list   ${solution}r run again   q quit"
}

# on_key KEY: returns 1 if watching ends.
on_key() {
    case $1 in
    h) answer hint ;;
    l) answer list ;;
    s) show_solution ;;
    r) tested= ;;
    n) go_on ;;
    q) return 1 ;;
    esac
}

# answer COMMAND: shows what it prints, in place of the last result.
answer() {
    shown=$("$@" 2>&1) || true
    draw
}

show_solution() {
    recall "$name"
    if [[ $status == passed ]]; then
        answer solution
    else
        answer echo "the solution is shown when $name has passed; a hint: h"
    fi
}

# go_on: to the next exercise that is not this one.
go_on() {
    local following
    following=$(next_id "$name")
    if [[ $following ]]; then
        enter "$following"
        tested=
    else
        answer echo 'all other exercises are done'
    fi
}
