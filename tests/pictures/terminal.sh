#!/usr/bin/env bash
# Two people talk in the chat room of chapter 07, each on a terminal of their own, which tmux plays.
# Prints both screens as they are at the end: a line "== NAME X Y", where X and Y are the column and
# row of the cursor, and what `tmux capture-pane -e` prints, with escape sequences for colors.
# terminal.py draws the picture. Usage: terminal.sh SERVER CLIENT
set -eu
server=$1 client=$2
columns=44 rows=7
dir=$(mktemp -d)
names=(张三 李四)
export LC_ALL=C.UTF-8 TMUX_TMPDIR=$dir
unset TMUX NO_COLOR

screens() { tmux -u -L pictures -f /dev/null "$@"; }

end() {
    screens kill-server 2>/dev/null || true
    [[ ! ${pid-} ]] || kill "$pid" 2>/dev/null || true
    rm -rf "$dir"
}
trap end EXIT

# await COMPLAINT COMMAND…: until it succeeds, for 10 seconds.
await() {
    local complaint=$1 tries
    shift
    for ((tries = 0; tries < 200; tries++)); do
        ! "$@" || return 0
        sleep 0.05
    done
    echo "terminal.sh: $complaint" >&2
    exit 1
}

is_on() { screens capture-pane -p -t "$1" | grep -qF -- "$2"; }

# shows PANE TEXT: waits until it is on the screen.
shows() { await "$1 does not show: $2" is_on "$@"; }

# says PANE LINE: it types the line, and everyone sees it.
says() {
    local name
    screens send-keys -t "$1" -l -- "$2"
    screens send-keys -t "$1" Enter
    for name in "${names[@]}"; do
        shows "$name" "$2"
    done
}

"$server" -p 0 >"$dir/said" 2>/dev/null &
pid=$!
await "$server does not listen" grep -q : "$dir/said"
port=$(sed 's/.*://' "$dir/said")
for name in "${names[@]}"; do
    screens new-session -d -s "$name" -x "$columns" -y "$rows" "'$client' -p $port -n $name"
    shows "$name" "+welcome $name"
done
shows 张三 '李四 joined'
says 张三 '你好, 李四! Is the server up?'
says 李四 '你好! 服务器正常, 一共两个人。'
says 张三 'Nice. 中文 and English line up.'
screens send-keys -t 李四 -l '还没写完的一行'
shows 李四 '还没写完的一行'
for name in "${names[@]}"; do
    printf '== %s %s\n' "$name" "$(screens display-message -p -t "$name" '#{cursor_x} #{cursor_y}')"
    screens capture-pane -p -e -t "$name"
done
