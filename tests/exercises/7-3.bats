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

@test "after a restart, a new member is shown what was said before it, but no private messages" {
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
# bats test_tags=slow
@test "the file has one line for each message, as members heard it, and mode 0600" {
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

@test "-k 3: the last three messages are shown, over several restarts" {
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

# write(2): what it has taken belongs to the kernel, and survives the process.
@test "kill -9 as soon as a line was heard: after the restart, new members are shown it" {
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

# flood FROM: a member says numbers from there on, as fast as the room takes them; two others hear.
flood() {
  local name
  for name in first second; do
    NAME=$name$1 start_peer "$PORT" send:"$name\n" line ready:"$T/$name$1.here" eof
    wait_for 10 test -e "$T/$name$1.here"
  done
  seq "$1" $(($1 + 59999)) | awk '{ printf "%06d\n", $1 }' >"$T/numbers"
  NAME=flood$1 start_peer "$PORT" send:'flood\n' file:"$T/numbers" eof
}

has_heard() {
  (($(grep -cx 'flood: [0-9]*' "$T/$1.out") >= 300))
}

@test "kill -9 three times during a flood: every line that was heard is shown, and none is torn" {
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

@test "a last line without its newline is left out, and the next message starts a new line" {
  printf 'ann: whole\nann: cut o' >"$T/history"
  start_server -f "$T/history"
  is_shown 'ann: whole'
  join bob eve
  says bob 'new'
  hears eve 'bob: new'
  restart -f "$T/history"
  is_shown 'ann: whole' 'bob: new'
}

# Control characters, as in the chapter's own tests; and lines that no member can have said.
@test "text that someone has put into the file is cleaned as members' messages are" {
  local f=$'\xef\xbf\xbd'
  { printf 'ann: \x1b[2J\n\neve\x9b: x\r\xff\nbob: a\tb\nnul: \0\n'
    printf 'long: %07000d\nann: \xe2\x80\xae\n' 0; } >"$T/history"
  start_server -f "$T/history"
  is_shown "ann: ${f}[2J" "eve$f: x$f$f" 'bob: a b' "nul: $f" "ann: $f"
}

# Some editors end lines with CR LF; and -k limits what is shown, not what is kept.
@test "lines may end with CR and LF; at a start, -k 20 does not shorten the file" {
  printf 'ann: %04d\r\n' {1..1000} >"$T/history"
  start_server -f "$T/history"
  join bob eve
  says bob new
  hears eve 'bob: new'
  restart -k 500 -f "$T/history"
  earlier >"$T/shown"
  { printf 'ann: %04d\n' {502..1000} && echo 'bob: new'; } >"$T/expected"
  same_bytes "$T/expected" "$T/shown"
  (($(wc -l <"$T/history") == 1001)) || complain "$(wc -l <"$T/history") lines are left"
}

# bats test_tags=kit
@test "the file gets mode 0600, even if the umask forbids it or others could read it before" {
  (umask 0277 && exec bash -c "exec $SERVER -p 0 -f $T/history") >"$T/started" 3>&- &
  wait_for 5 grep -q listening "$T/started"
  kill $!
  wait $! || true
  assert_equal "$(stat -c %a "$T/history")" 600
  echo 'ann: hello' >"$T/history"
  chmod 644 "$T/history"
  start_server -f "$T/history"
  is_shown 'ann: hello'
  assert_equal "$(stat -c %a "$T/history")" 600
}

# loses_nothing COMMAND…: after it has been done to FILE, what is said is in FILE again.
loses_nothing() {
  rm -f "$T/history"
  start_server -f "$T/history"
  join ann bob
  says ann before
  hears bob 'ann: before'
  "$@"
  says ann after
  hears bob 'ann: after'
  assert_equal "$(<"$T/history")" $'ann: before\nann: after'
  logged 1 "^server: $T/history: somebody has changed it: it is written anew$"
  restart -f "$T/history"
  is_shown 'ann: before' 'ann: after'
  stop_server
}

# A descriptor leads to a file, whatever has its name meanwhile: open(2), rename(2), unlink(2).
# bats test_tags=kit
@test "FILE is removed, moved or edited while a server runs: it says so, and no message is lost" {
  loses_nothing rm "$T/history"
  loses_nothing mv "$T/history" "$T/moved"
  loses_nothing sed -i s/before/edited/ "$T/history"
  loses_nothing truncate -s 0 "$T/history"
}

# bats test_tags=kit
@test "neither a link to FILE nor a removed lock file lets a second server use FILE" {
  ln -s history "$T/link"
  start_server -f "$T/link"
  refused "$T/history" 'another server has it'
  refused "$T/link" 'another server has it'
  find "$T" -name '*lock*' -delete
  refused "$T/history" 'another server has it'
  [[ -L $T/link ]] || complain 'the link is none any more'
  stop_server
  start_server -f "$T/history"
  join ann bob
  refused "$T/link" 'another server has it'
  rm "$T/history" # now the first server that starts gets it
  NAME=second start_server -f "$T/history"
  says ann hello
  hears bob 'ann: hello'
  logged 1 "^server: $T/history: another server has it: the history is not kept$"
  [[ ! -s $T/history ]] || complain "both write: $(<"$T/history")"
}

# bats test_tags=kit
@test "the disk is full at the start: the messages in FILE are shown, and stderr says so" {
  need prlimit
  printf 'ann: line %03d, and some words\n' {1..20} >"$T/history"
  cp "$T/history" "$T/expected"
  SERVER="prlimit --fsize=400: $SERVER" start_server -f "$T/history"
  earlier >"$T/shown"
  same_bytes "$T/expected" "$T/shown"
  join bob eve
  says bob hello
  hears eve 'bob: hello'
  logged 1 "^server: $T/history: File too large: the history is not kept$"
  stop_server
  truncate -s 1200000 "$T/history" # so long that it has to be written anew
  { echo && cat "$T/expected"; } >>"$T/history"
  SERVER="prlimit --fsize=400: $SERVER" start_server -f "$T/history"
  earlier >"$T/shown"
  same_bytes "$T/expected" "$T/shown"
  logged 1 "^server: $T/history: File too large: the history is not kept$"
}

@test "the end of a file of 1 GiB is shown, and the file is not read into memory" {
  truncate -s 1G "$T/history"
  printf '\nann: the end\n' >>"$T/history"
  START_WITHIN=20 start_server -f "$T/history"
  is_shown 'ann: the end'
  (($(peak_kb "$SERVER_PID") < 300000)) || complain "$(peak_kb "$SERVER_PID") kB"
}

# flock(2): a lock is on a file, not on a name. Which file has the name after a while?
# bats test_tags=slow
@test "after messages of 1.4 MB the file is below 1 MiB, and no other server can use it" {
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
@test "a full disk is reported once, and members talk on; later the file is complete again" {
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

# The test cannot cut the power, so it looks at the calls. rename(2), fsync(2); strace(1), -y.
# bats test_tags=kit
@test "a message is written before it is sent; a new file is on disk before it gets its name" {
  need strace
  local trace="env ASAN_OPTIONS=detect_leaks=0 strace -D -f -y -s 60 -o ${T@Q}/trace"
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
@test "an unusable FILE: one line with its name and the reason, exit status 1" {
  mkdir "$T/directory"
  refused "$T/directory" ': '
  refused "$T/none/history" ': No such file or directory'
  mkfifo "$T/pipe"
  refused "$T/pipe" ': '
  start_server -f "$T/history"
  refused "$T/history" ': another server has it'
}
