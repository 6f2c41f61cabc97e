# shellcheck shell=bash
# The terminal sessions of the documents, for the tests (doc-console) and for a reader (play): one
# reader of documents, and one way to run and to end a session, so that both do the same.
#
#   ```console [DIR] [needs=tool,root,netns,N-descriptors,fresh-port,above]
#   $ ./server &
#   listening on 127.0.0.1:9001
#   $ ./client hello
#   hello
#   $ kill %1
#   ```
#
# "$ " starts a command, "> " continues it, and the rest is its output. A session runs in one bash
# in DIR (default: the repository's root), in a network namespace of its own where the machine
# allows it, so that the default ports are free. "above" in needs: it uses files that earlier
# sessions of the page have made. "fresh-port": it starts a server without SO_REUSEADDR, so no
# closed connection may reserve the port.
#
# Sourced. The script that sources this file sets root (the kit), doc (the document) and tmp.
# shellcheck disable=SC2034,SC2154 # what one of the two files sets, the other one uses

export LC_ALL=C.UTF-8
export HOME=${HOME:-/} SHELL=${SHELL:-/bin/sh} # where unset, libc asks for them: strace shows it
unset PS1 BASH_ENV ENV CDPATH

# ---- the reader ----

# each_session VISITOR: reads $doc and calls the function for each session, until one call fails,
# with these variables set:
#   begin          the number of its first line, the fence
#   dir, needs     what the fence says
#   commands       an array of its commands
#   prompts        the same as the document shows them, with "$ " and "> "
#   answers        what the document shows as the output of each, each line with a newline
#   strays         the lines before the first command, likewise
#   heading        the heading above it
#   story          an array: the last paragraph above it, and the code shown since
#   place          the directory in which a reader is who has typed the sessions above, relative to
#                  the root; "?" if that cannot be told
#   continues      yes if the session works there: it begins in that directory, or with a `cd`
# shellcheck disable=SC2034 # these are for the visitor
each_session() {
    local visitor=$1 ticks n=0 block begin dir needs word heading='' place=. previous=. continues
    local -a text info story=() commands prompts answers
    local strays paragraph=no
    mapfile -t text <"$doc"
    for ((n = 0; n < ${#text[@]}; n++)); do
        if [[ ! ${text[n]} =~ ^(\`\`\`+)([^\`]*)$ ]]; then
            read_prose "${text[n]}"
            continue
        fi
        ticks=${BASH_REMATCH[1]}
        read -ra info <<<"${BASH_REMATCH[2]}"
        begin=$((n + 1))
        paragraph=no
        while ((++n < ${#text[@]})) && [[ ! ${text[n]} =~ ^$ticks\`*\ *$ ]]; do :; done
        if [[ ${info[0]-} != console ]]; then
            story+=("${text[@]:begin-1:n-begin+2}")
            continue
        fi
        dir=. needs=
        for word in "${info[@]:1}"; do
            if [[ $word == needs=* ]]; then needs=${word#needs=}; else dir=$word; fi
        done
        split_block "${text[@]:begin:n-begin}"
        find_continues
        "$visitor" || return
        for word in "${commands[@]}"; do
            follow "$word"
        done
        story=()
    done
}

# read_prose LINE: keeps the heading and the paragraph that a session may follow. A table belongs to
# the paragraph above it, as code does.
read_prose() {
    case $1 in
    '#'*)
        heading=${1#"${1%%[!#]*}"}
        heading=${heading# }
        story=()
        paragraph=no
        ;;
    *[![:space:]]*)
        [[ $paragraph == yes || $1 == '|'* ]] || story=()
        story+=("$1")
        paragraph=yes
        ;;
    *)
        story+=('')
        paragraph=no
        ;;
    esac
}

# split_block LINE…: sets commands, prompts, answers and strays.
split_block() {
    local -a lines=("$@")
    local k last=-1
    commands=() prompts=() answers=() strays=''
    for ((k = 0; k < ${#lines[@]}; k++)); do
        if [[ ${lines[k]} == '$ '* ]]; then
            ((++last))
            commands[last]=${lines[k]:2}
            prompts[last]=${lines[k]}
            answers[last]=''
            # A command goes on where bash would ask for more: after "\", in a quote or a
            # here-document.
            while [[ ${lines[k + 1]-} == '>' || ${lines[k + 1]-} == '> '* ]] &&
                [[ ${commands[last]} == *\\ || -n $(bash -n -c "${commands[last]}" 2>&1) ]]; do
                prompts[last]+=$'\n'${lines[++k]}
                commands[last]+=$'\n'${lines[k]:2}
            done
        elif ((last < 0)); then
            strays+=${lines[k]}$'\n'
        else
            answers[last]+=${lines[k]}$'\n'
        fi
    done
}

# ---- where a reader is ----

# resolve FROM TO: prints the directory, relative to the root, to which `cd TO` leads from there;
# "?" if that is outside the kit or cannot be told.
resolve() {
    local part
    local -a parts path=()
    # Absolute, or with anything that the shell would replace.
    [[ $1 != '?' && $2 =~ ^[[:alnum:]._-][[:alnum:]./_-]*$ ]] || { echo '?' && return; }
    IFS=/ read -ra parts <<<"$1/$2"
    for part in "${parts[@]}"; do
        case $part in
        '' | .) ;;
        ..)
            ((${#path[@]})) || { echo '?' && return; }
            unset 'path[-1]'
            ;;
        *) path+=("$part") ;;
        esac
    done
    if ((${#path[@]})); then
        (IFS=/ && echo "${path[*]}")
    else
        echo .
    fi
}

# cd_target COMMAND: sets target to where its first word `cd` leads; fails if it begins otherwise.
cd_target() {
    [[ $1 =~ ^[[:space:]]*cd[[:space:]]+([^[:space:];\&|]+)[[:space:]]*($|;|\&\&) ]] || return
    target=${BASH_REMATCH[1]}
}

# follow COMMAND: moves place as each `cd` of the command does, but not one in a subshell, in quotes
# or in a pipe.
follow() {
    local special="[('\"\`|{<]" target to rest
    # shellcheck disable=SC2295 # a pattern
    rest=${1%%$special*}
    [[ $rest == "$1" ]] || rest=${rest%"${rest##*[;&]}"}
    while [[ $rest ]]; do
        if cd_target "$rest"; then
            to=$previous
            [[ $target == - ]] || to=$(resolve "$place" "$target")
            previous=$place place=$to
        fi
        [[ $rest == *[\;\&]* ]] || break
        rest=${rest#*[;&]}
        rest=${rest#&}
    done
}

# find_continues: sets continues. (A session that begins with `cd ../03-long-conn` has the fence
# 03-long-conn: that works alone, and after the session above it.)
find_continues() {
    local target to
    continues=no
    if [[ $place == "$dir" ]]; then
        continues=yes
    elif cd_target "${commands[0]-}"; then
        to=$(resolve "$place" "$target")
        [[ $to == '?' || $to != "$(resolve "$dir" "$target")" ]] || continues=yes
    fi
}

# ---- running a session ----

# Every process of a session has its directory in its environment, DOC_BLOCK=$tmp/LINE/, even one
# that left its terminal.
members() {
    grep -Fzls "DOC_BLOCK=$tmp/" /proc/[0-9]*/environ | tr -dc '0-9\n'
}

# TERM to all, KILL after 3 s (times PATIENCE), at 25 ms a round; 1 when even that did not end them.
end_all() {
    local pids tries polite=$((120 * ${PATIENCE:-1}))
    for ((tries = 0; tries < polite + 80; tries++)); do
        pids=$(members)
        [[ -n $pids ]] || return 0
        # This script has no such mark. If it is listed, the search is wrong: end nothing.
        if grep -qx $$ <<<"$pids"; then
            echo "$doc: the session's processes cannot be told from others, so none is ended"
            return 1
        fi
        # shellcheck disable=SC2086  # several ids
        if ((tries == 0)); then
            kill -TERM $pids
        elif ((tries >= polite)); then
            kill -KILL $pids
        fi 2>/dev/null
        sleep 0.02
    done
    echo "$doc: these processes cannot be ended: ${pids//$'\n'/ }"
    return 1
}

# find_netns: sets netns to the command that gives a session a network of its own, if there is one.
find_netns() {
    local flag
    netns=()
    for flag in -n -rn; do
        if unshare "$flag" ip link set lo up 2>/dev/null; then
            # shellcheck disable=SC2016
            netns=(unshare "$flag" sh -c 'ip link set lo up && exec "$@"' sh)
            break
        fi
    done
}

# obstacle NEEDS: why a session with these needs cannot run here; nothing when it can.
obstacle() {
    local need
    for need in ${1//,/ }; do
        case $need in
            root) ((EUID == 0)) || { echo "root is needed"; return; } ;;
            *-descriptors)
                need=${need%-descriptors}
                [[ $(ulimit -Hn) == unlimited ]] || (($(ulimit -Hn) >= need)) ||
                    { echo "$need descriptors are needed (ulimit -Hn)"; return; }
                ;;
            above) ;;
            fresh-port)
                if ((${#netns[@]} == 0)) && sockets '[0-9A-F]+:[0-9A-F]+ 06'; then
                    echo "a closed connection reserves a port of 9001 to 9008 (TIME_WAIT)"
                    return
                fi
                ;;
            netns) ((${#netns[@]})) || { echo "a network namespace is needed"; return; } ;;
            *) ! lacking "$need" || return ;;
        esac
    done
    # Without a namespace of its own a session needs the kit's default ports, 9001 to 9008.
    if ((${#netns[@]} == 0)) && sockets '0+:0000 0[A7]'; then
        echo "a port of 9001 to 9008 is in use"
    fi
}

# sockets PEER-AND-STATE: is there a socket with one of the kit's default ports, 9001 to 9008, whose
# other end and state (proc_pid_net(5)) match?
sockets() {
    cat /proc/net/{tcp,udp}{,6} 2>/dev/null | grep -qE ":23(29|2[A-F]|30) $1"
}

# What every session's bash begins with. A command that ends with "&" runs with set -m, and `jobs`
# comes after each command, so that jobs are as in a terminal: `kill %1` reaches all processes of a
# job, and the number of a job that has ended is free again. (With set -m all the time, bash would
# say `Done` between two commands.) A command's output is complete when as many lines came as the
# document shows (for at most 3 s times PATIENCE) and then nothing more for about 130 ms.
# shellcheck disable=SC2016
prelude="__tries=$((120 * ${PATIENCE:-1}))"'
__lines=0 __rc=0
__quiet() {
    set +m
    __settle "$1" 2>/dev/null # what bash says of jobs that end
}
__settle() {
    local -a now
    local last= same=0 tries=0
    while ((same < 6)); do
        read -rt 0.02 __nothing <>"$DOC_BLOCK/never" # sleep(1) would be a process each time
        mapfile -t now <"$DOC_BLOCK/out"
        if [[ ${now[*]} == "$last" ]] && ((${#now[@]} >= __lines + $1 || ++tries > __tries)); then
            ((++same))
        else
            same=0
        fi
        last=${now[*]}
    done
    __lines=${#now[@]}
    (($(tail -c 1 "$DOC_BLOCK/out" | wc -l))) || echo
    jobs >/dev/null
}
'

# session_script: sets script to what runs the session's commands after the prelude. The function
# __prompt is called before each with the lines that the document shows, and returns $__rc.
session_script() {
    local k shown
    local -a lines
    script=
    for ((k = 0; k < ${#commands[@]}; k++)); do
        mapfile -t lines <<<"${prompts[k]}"
        shown=$(grep -vcx … <<<"${answers[k]}x")
        script+="__prompt ${lines[*]@Q}"$'\n'
        [[ ! ${commands[k]} =~ [^\&]\&[[:space:]]*(#.*)?$ ]] || script+=$'set -m\n'
        script+="eval ${commands[k]@Q}"$'\n__rc=$?\n'
        script+="__quiet $((${#lines[@]} + shown - 1))"$'\n'
    done
}

# prepare_session: makes the session's own directory, which is $tmp.
prepare_session() {
    mkdir -p "$tmp/files" && mkfifo "$tmp/never" && : >"$tmp/out" # nobody writes into never
}

# enter_session: goes where the session begins; exec is what comes next.
enter_session() {
    local fd
    cd "$root/$dir" || exit
    export DOC_BLOCK=$tmp/ TMPDIR=$tmp/files
    unset PATIENCE # a page shows the limits that its reader meets
    # As in a fresh terminal: descriptor 3 is the first free one.
    for fd in /proc/"$BASHPID"/fd/*; do
        ((${fd##*/} < 3 || ${fd##*/} == 255)) || eval "exec ${fd##*/}>&-"
    done
}
