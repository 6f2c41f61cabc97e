# 7-3, a chat room whose history is in a file: -f FILE.
# bats file_tags=7-3

CHAPTER=07-chat
load ../helpers/common
load ../helpers/chat

teardown() {
  all_leave
  common_teardown
}

# earlier: what a newcomer is shown, a line each.
earlier() {
  "$PEER" "$PORT" send:'newcomer\n' half-close eof >"$T/newcomer" ||
    complain "a newcomer was not welcomed: $(<"$T/newcomer")" || return
  sed -n 's/^(earlier) //p' "$T/newcomer"
}

# is_shown LINE…: to a newcomer, these and nothing else.
is_shown() {
  printf '%s\n' "$@" >"$T/expected"
  earlier >"$T/shown" || return
  same_bytes "$T/expected" "$T/shown"
}

# restart OPTION…: after kill -9.
restart() {
  all_leave
  stop_server 137 KILL || return
  start_server "$@"
}

# logged N TEXT: so many lines with it are on standard error.
logged() {
  (($(grep -c -- "$2" "$T/server.err") == $1))
}

# refused FILE WORDS: the server ends with 1, and a line that says them.
refused() {
  run -1 --separate-stderr timeout 10 bash -c "$SERVER \"\$@\"" server -p 0 -f "$1"
  assert_equal "$output" ''
  [[ $stderr == *"$1"*"$2"* && $stderr != *$'\n'* ]] || complain "$stderr"
}

@test "after a restart who comes is shown what was said before it, and no private words" {
  start_server -f "$T/history"
  join ann bob
  says ann 'hello, bob'
  says ann '/me waves'
  says ann '/msg bob a secret'
  hears bob 'ann: hello, bob' '* ann: waves' 'ann (to you): a secret'
  all_leave
  stop_server
  start_server -f "$T/history"
  is_shown 'ann: hello, bob' '* ann: waves'
  not grep -q secret "$T/history"
}

# open(2): the mode of a new file is made smaller by the umask. Cleaning makes a text longer.
@test "the file has a line for each message, as it was heard, and mode 0600" {
  local long
  umask 0
  start_server -f "$T/history"
  printf -v long '%032d' 0
  join "$long" bob
  sends "$long" "$(printf '\\x01%.0s' {1..2000})\n/me is 张三\n"
  next_line bob
  next_line bob
  printf '%s: %s\n* %s: is 张三\n' "$long" "$(printf '\xef\xbf\xbd%.0s' {1..2000})" \
    "$long" >"$T/expected"
  same_bytes "$T/expected" "$T/history"
  assert_equal "$(stat -c %a "$T/history")" 600
  restart -f "$T/history"
  mapfile -t lines <"$T/expected"
  is_shown "${lines[@]}"
}

@test "-k 3: three are shown, over several restarts" {
  local i
  for i in 1 2 3; do
    start_server -k 3 -f "$T/history"
    join ann bob
    says ann "one $i"
    says ann "two $i"
    hears bob "ann: one $i" "ann: two $i"
    all_leave
    stop_server
  done
  start_server -k 3 -f "$T/history"
  is_shown 'ann: two 2' 'ann: one 3' 'ann: two 3'
}

# write(2): what it has taken is the kernel's, and outlives the process.
@test "kill -9 as soon as a line was heard: it is shown to who comes after the restart" {
  local said=() i
  start_server -f "$T/history"
  for i in {1..5}; do
    join ann bob
    says ann "line $i"
    hears bob "ann: line $i"
    said+=("ann: line $i")
    restart -f "$T/history"
    is_shown "${said[@]}"
  done
}

# flood FROM: somebody says numbers from there on, as fast as the room takes them, and two listen.
flood() {
  local name
  for name in first second; do
    NAME=$name$1 start_peer "$PORT" send:"$name\n" line ready:"$T/$name$1.here" eof
    wait_for 10 test -e "$T/$name$1.here"
  done
  seq -f %06.0f "$1" $(($1 + 59999)) >"$T/numbers"
  NAME=flood$1 start_peer "$PORT" send:'flood\n' file:"$T/numbers" eof
}

has_heard() {
  (($(grep -cx 'flood: [0-9]*' "$T/$1.out") >= 300))
}

@test "kill -9 in the midst of a flood, three times: all that was heard is shown, none is torn" {
  local from heard name
  start_server -r 0 -k 1000 -f "$T/history"
  for from in 100001 200001 300001; do
    flood $from
    wait_for 20 has_heard first$from
    wait_for 20 has_heard second$from
    restart -r 0 -k 1000 -f "$T/history"
    earlier >"$T/shown"
    run grep -vxE 'flood: [0-9]{6}' "$T/shown"
    assert_equal "$output" ''
    for name in first second; do # the last line may have been cut by the reset
      heard=$(sed -nE 's/^flood: ([0-9]{6})$/\1/p' "$T/$name$from.out" | tail -n 1)
      [[ $(tail -n 1 "$T/shown") > "flood: $((heard - 1))" ]] ||
        complain "$name heard $heard, and the last that is shown: $(tail -n 1 "$T/shown")"
    done
    awk '$2 != last + 1 && last && $2 % 100000 != 1 {
      print "after " last " comes " $2; bad = 1 } { last = $2 } END { exit bad || NR < 250 }' \
      "$T/shown"
  done
}

@test "a last line without its newline is left out, and the next one begins a line of its own" {
  printf 'ann: whole\nann: cut o' >"$T/history"
  start_server -f "$T/history"
  is_shown 'ann: whole'
  join bob eve
  says bob 'new'
  hears eve 'bob: new'
  restart -f "$T/history"
  is_shown 'ann: whole' 'bob: new'
}

# What a terminal obeys, as in the chapter's own tests; and lines that nobody can have said.
@test "what somebody has put into the file is made fit to be shown, as what people send" {
  local f=$'\xef\xbf\xbd'
  { printf 'ann: \x1b[2J\n\neve\x9b: x\r\xff\nbob: a\tb\nnul: \0\n'
    printf 'long: %07000d\nann: \xe2\x80\xae\n' 0; } >"$T/history"
  start_server -f "$T/history"
  is_shown "ann: ${f}[2J" "eve$f: x$f$f" 'bob: a b' "nul: $f" "ann: $f"
}

@test "of a file of 1 GiB the end is shown; it is not read into memory" {
  truncate -s 1G "$T/history"
  printf '\nann: the end\n' >>"$T/history"
  START_WITHIN=20 start_server -f "$T/history"
  is_shown 'ann: the end'
  (($(peak_kb "$SERVER_PID") < 300000)) || complain "$(peak_kb "$SERVER_PID") kB"
}

# flock(2): a lock is on a file, not on a name. Which file has the name after a while?
@test "1.4 MB are said: the file stays below 1 MiB, and is still this server's alone" {
  local before
  start_server -r 0 -f "$T/history"
  join ann
  before=$(fds "$SERVER_PID")
  all_leave
  "$CROWD" -t 60 "$PORT" talk 1 700 2001 >/dev/null
  (($(stat -c %s "$T/history") <= 1048576)) || complain "$(stat -c %s "$T/history") bytes"
  join ann
  wait_for 5 has_fds "$before"
  says ann 'the last one'
  says ann /who
  next_line ann
  refused "$T/history" 'another server has it'
  assert_equal "$(earlier | tail -n 1)" 'ann: the last one'
  restart -r 0 -f "$T/history"
  assert_equal "$(earlier | tail -n 1)" 'ann: the last one'
}

# setrlimit(2), RLIMIT_FSIZE: a file that would become larger is refused with EFBIG, as a full disk
# refuses it with ENOSPC, and what still fits is written. It comes with a signal, SIGXFSZ.
# bats test_tags=kit
@test "a disk that is full is told once, people talk on; later the file is whole again" {
  need prlimit
  local i=0 said=()
  SERVER="prlimit --fsize=3000: $SERVER" start_server -r 0 -k 1000 -f "$T/history"
  join ann bob
  for i in {1..100}; do
    says ann "line $i, and some words to make it longer"
    said+=("ann: line $i, and some words to make it longer")
  done
  hears bob "${said[@]}"
  assert_equal "$(<"$T/server.err")" \
    "server: $T/history: File too large: the history is not kept"
  prlimit --pid "$SERVER_PID" --fsize=unlimited:
  until logged 1 'again'; do
    says ann "line $((++i))"
    hears bob "ann: line $i"
    said+=("ann: line $i")
    ((i < 300)) || complain 'the file was not tried again'
    sleep 0.1
  done
  assert_equal "$(tail -n 1 "$T/server.err")" "server: $T/history: the history is kept again"
  restart -k 1000 -f "$T/history"
  is_shown "${said[@]}"
}

# A power cut cannot be had here, so the calls are looked at. rename(2), fsync(2); strace(1), -y.
# bats test_tags=kit
@test "a message is written before it is sent; a new file is on the disk before it has the name" {
  need strace
  local trace="env ASAN_OPTIONS=detect_leaks=0 strace -D -f -y -s 60 -o $T/trace"
  trace+=' -e trace=fsync,fdatasync,rename,renameat,renameat2,write,writev,pwrite64,send,sendto'
  SERVER="$trace,sendmsg $SERVER" START_WITHIN=20 start_server -r 0 -f "$T/history" ||
    skip 'strace may not look into a process here'
  join ann bob
  says ann 'the first'
  hears bob 'ann: the first'
  all_leave
  "$CROWD" -t 60 "$PORT" talk 1 700 2001 >/dev/null
  stop_server
  run -0 grep -m 1 '"ann: the first' "$T/trace"
  [[ $output =~ \ p?writev?(64)?\(.*$T/history ]] || complain "not written first, but: $output"
  awk 'function base(path) { sub(/.*\//, "", path); return path }
    { path = $0; sub(/^[^<]*</, "", path); sub(/>.*/, "", path); path = base(path) }
    / p?write/ { synced[path] = 0 }
    / f(data)?sync\(/ && / = 0$/ { synced[path] = 1 }
    / rename/ && / = 0$/ && split($0, part, "\"") && base(part[4]) == "history" {
      renames++
      bad += !synced[base(part[2])]
    }
    END { exit bad || !renames }' "$T/trace" || complain "$(grep -E 'sync\(|rename' "$T/trace")"
}

# bats test_tags=kit
@test "a FILE that cannot be one: a line with its name and the reason, exit status 1" {
  mkdir "$T/directory"
  refused "$T/directory" ': '
  refused "$T/none/history" ': No such file or directory'
  mkfifo "$T/pipe"
  refused "$T/pipe" ': '
  start_server -f "$T/history"
  refused "$T/history" ': another server has it'
}
