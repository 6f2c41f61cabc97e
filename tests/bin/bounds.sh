# shellcheck shell=bash
# Bounds of time, memory and processes for programs that strangers wrote: `grade` has them, and
# `exercise check` and `exercise stress` of a DIR. Sourced, after exercise.sh.
: "${TIME:=600}" "${MEMORY:=4096}" "${PROCESSES:=1000}" # seconds, MB
namespaces=()

# require_bounds: says what is wrong with them, and ends.
require_bounds() {
    [[ "$TIME $MEMORY $PROCESSES" =~ ^[1-9][0-9]*\ [1-9][0-9]*\ [1-9][0-9]*$ ]] ||
        die 'TIME, MEMORY and PROCESSES are numbers above 0'
}

# choose_namespaces: each copy has its own processes and its own network, so that nothing goes on
# after it, and ports do not meet. Users other than root have to be root of a namespace for that.
choose_namespaces() {
    namespaces=(unshare --net --pid --mount-proc --fork --kill-child=KILL)
    ((EUID == 0)) || namespaces+=(--user --map-root-user)
    if ! "${namespaces[@]}" ip link set lo up 2>/dev/null ||
        [[ ! $(ps -o pidns= -p $$ 2>/dev/null) ]]; then
        namespaces=()
        echo "${0##*/}: there are no namespaces here (unshare, ip, ps), so memory has no bound," \
            "and what a student's program leaves running goes on" >&2
    fi
}

# bounded FILE COMMAND…: runs it within the bounds, and returns its status. FILE says which bound it
# has exceeded, if any: "600 seconds". A command that needs the loopback interface calls
# own_network first.
bounded() {
    local ended=$1 mine=0 status=0
    shift
    rm -f "$ended"
    ((EUID == 0)) || mine=$(ps -u "$EUID" -L -o pid= | wc -l)
    (
        ulimit -c 0 -f 262144 # no core dumps, and no file above 256 MB
        ulimit -u $((mine + PROCESSES)) 2>/dev/null || true
        exec env "OWN_NETWORK=${namespaces[*]:+yes}" setsid timeout -k 5 "$TIME" \
            "${namespaces[@]}" "$@" </dev/null
    ) &
    bounded_pid=$!
    ((!${#namespaces[@]})) || watch_over "$bounded_pid" "$ended" &
    wait "$bounded_pid" 2>/dev/null || status=$?
    wait
    bounded_pid=
    if [[ ! -s $ended ]] && ((status == 124 || status == 137)); then
        echo "$TIME seconds" >"$ended"
    fi
    return "$status"
}

# end_bounded: for who ends before the command does.
end_bounded() {
    [[ ! ${bounded_pid-} ]] || kill -TERM "$bounded_pid" 2>/dev/null || true
}

# watch_over PID FILE: when a command and all that it started take too much, kills the first process
# of their namespace, and the kernel kills the others. (ulimit -v would not let sanitizers start,
# and ulimit -u does not hold for root.)
watch_over() {
    local first=
    while kill -0 "$1" 2>/dev/null; do
        sleep 0.2
        [[ $first ]] || first=$(first_inside "$1")
        [[ $first ]] || continue
        ps -e -o pidns=,rss= | awk -v inside="${first#* }" -v most="$PROCESSES" -v mb="$MEMORY" '
            $1 == inside { n++; kb += $2 }
            END {
                if (n > most) print most " processes"
                else if (kb > mb * 1024) print mb " MB"
            }' >"$2"
        [[ -s $2 ]] || continue
        kill -KILL "${first% *}" 2>/dev/null || true
        return
    done
}

# first_inside PID: the first process of the namespace that a command has made, and the namespace.
first_inside() {
    ps -e -o pid=,ppid=,pidns= | awk -v top="$1" '
        { parent[$1] = $2; inside[$1] = $3 }
        END {
            for (pid in parent) # PID is timeout, its child is unshare; "-": it is ending
                if (parent[parent[pid]] == top && inside[pid] !~ "^(-|" inside[top] ")$")
                    print pid, inside[pid]
        }'
}

# own_network: in a command that `bounded` has started. The loopback interface of a new network is
# down.
own_network() {
    [[ ! ${OWN_NETWORK-} ]] || ip link set lo up
}
