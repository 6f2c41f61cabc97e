# Chapter 07's client: in a pipe, against servers that do what it must stand, and on a terminal,
# which tmux plays: `types` presses keys, `sees` compares the whole screen.
#
# bats file_tags=chat,kit

# shellcheck disable=SC2154 # run --separate-stderr sets stderr and stderr_lines
CHAPTER=07-chat
load helpers/common

WELCOME='+welcome ann, here: ann, bob\n'
BYE='+bye\n'

setup_file() {
  ahead waits_for_a_server_that_does_not_read lines_beyond_the_burst_arrive \
    gives_up_waiting_for_goodbye
  in_turn refused_name_is_shown lines_are_edited four_clients_talk
}

setup() {
  trace_tests_only
  unset NO_COLOR
}

# end_terminal: and what runs on it. The hang-up of a terminal is a SIGCONT, too (setpgid(2)), which
# takes back the SIGSTOP of a LeakSanitizer at work, and that waits for it for ever.
end_terminal() {
  local pane
  if [[ ${SAN-} ]]; then
    for pane in $(tm list-panes -aF '#{pane_pid}' 2>/dev/null); do
      kill -KILL -- "-$pane" 2>/dev/null
    done
  fi
  tm kill-server 2>/dev/null
}

teardown() {
  exec 9>&-
  [[ ! -e $T/screen ]] || end_terminal || true
  common_teardown
}

# ---- in a pipe ----

# typing [OPTION…]: a client in the background, to whose standard input descriptor 9 leads.
typing() {
  mkfifo "$T/keyboard"
  start_tool client bash -c "exec timeout 20 $CLIENT -p $PORT \"\$@\" <\"\$0\"" "$T/keyboard" "$@"
  exec 9>"$T/keyboard"
}

# said LINE…: what the fake server has been sent, once it has ended.
said() {
  NAME=${NAME:-fake} finish_peer
  printf '%s\n' "$@" >"$T/want"
  tail -n +2 "$T/${NAME:-fake}.out" >"$T/said" # after `listening on`
  same_bytes "$T/want" "$T/said"
}

# gives_up WHY VERB…: a client with a line to say exits 1, and says why, when the server does this.
fakes=0
gives_up() {
  local why=$1
  shift
  NAME=fake$((++fakes)) start_fake -- "$@"
  run -1 --separate-stderr client -n ann hello </dev/null
  [[ $stderr =~ ^client:\ $why$ ]] || complain "not '$why': $stderr"
}

# bats test_tags=slow
@test "-h prints the usage on stdout; a bad option, port or name: one line and the usage, exit 2" {
  local bad PORT=9
  run -0 --separate-stderr client -h
  [[ $output == 'usage: client '* && ! $stderr ]]
  for bad in -x -p0 -p65536 -p9007x -n- -na:b -na,b '-na b' '-n*x' '-n(x)' -n+x -n/x -n \
    "-n$(printf %033d 0)" $'-na\nb' $'-na\e' $'-n\xff'; do
    run -2 --separate-stderr client "$bad" </dev/null
    [[ ${stderr_lines[0]} == *client:* && ${stderr_lines[1]} == 'usage: client '* ]] ||
      complain "$bad: $stderr"
    refute_output
  done
  run -2 --separate-stderr client -n ''
  assert_equal "${stderr_lines[0]}" 'client: -n: empty'
}

# connect(2), ECONNREFUSED.
@test "when nobody listens it says so and exits 1" {
  start_fake -- eof
  kill "$FAKE_PID"
  wait_for 5 not running "$FAKE_PID"
  run -1 --separate-stderr client -n ann hello
  assert_equal "$stderr" "client: connect 127.0.0.1:$PORT: Connection refused (ECONNREFUSED)"
}

# Not even what no terminal should be shown is changed: a pipe is for programs.
@test "in a pipe it prints exactly the server's lines; the end of the input means /quit, exit 0" {
  local text='(earlier) bob: \xff\x1b[31m\r\nbob: \0 NUL\n\n* bob left'
  start_fake -- line send:"$WELCOME$text\n" line line line send:"$BYE"'no newline' close
  printf 'one\n二' | client -n ann >"$T/out"
  printf '%b' "$WELCOME$text\n$BYE" 'no newline' >"$T/want"
  same_bytes "$T/want" "$T/out"
  said ann one 二 /quit
}

@test "each message given as an argument is sent, then /quit; replies are printed; exit 0" {
  start_fake -- line send:"$WELCOME" line line line line line send:"bob: hi\n$BYE" close
  run -0 --separate-stderr client -n ann one 'two words' $'three\nfour'
  assert_output $'+welcome ann, here: ann, bob\nbob: hi\n+bye'
  [[ ! $stderr ]]
  NAME=fake finish_peer
  assert_equal "$(tail -n +2 "$T/fake.out")" $'ann\none\ntwo words\nthree\nfour\n/quit'
}

@test "what the server says is shown at once, although nobody types" {
  start_fake -- line send:"$WELCOME" until:"$T/go" send:'bob: hi\n' drain
  typing -n ann
  wait_for 5 grep -q welcome "$T/client.out"
  touch "$T/go"
  wait_for 5 grep -qx 'bob: hi' "$T/client.out"
}

# getlogin(3) asks who owns the terminal, getpwuid(3) who owns the process.
@test "without -n it uses the user's login name" {
  start_fake -- line send:"$WELCOME" line send:"$BYE" close
  run -0 client </dev/null
  NAME=fake finish_peer
  run -0 tail -n +2 "$T/fake.out"
  [[ ${lines[0]} == "$(id -un)" || ${lines[0]} == "$(logname 2>/dev/null)" ]]
}

@test "no line is sent before the name is accepted, or the line could become the name" {
  start_fake -- line open:300 send:"$WELCOME" line line send:"$BYE" close
  run -0 client -n ann hello
  said ann hello /quit
}

@test "a refused name: it shows the server's message, says nothing, and exits 1" {
  NAME=first start_fake -- line send:'-name ann: taken\n' eof
  run -1 --separate-stderr client -n ann hello
  assert_output '-name ann: taken'
  assert_equal "$stderr" 'client: the server refuses that name'
  NAME=first said ann
  start_fake -- send:'-the room is full (1)\n' close
  run -1 --separate-stderr client -n ann hello
  assert_output '-the room is full (1)'
}

@test "when the server closes, it prints what had arrived, says so, and exits 1" {
  gives_up 'the server closed the connection' line close
  gives_up 'the server closed the connection' line send:"$WELCOME" half-close drain
  gives_up 'the server closed the connection' line send:"$WELCOME" line line send:'bob: hi' close
  assert_output $'+welcome ann, here: ann, bob\nbob: hi'
  gives_up 'recv: Connection reset by peer \(ECONNRESET\)' line send:"$WELCOME" line line reset
}

@test "it notices at once that the server has closed, although nobody types" {
  start_fake -- line send:"$WELCOME"'* server is closing\n' close
  typing -n ann
  tool_ends client 1
  assert_equal "$(<"$T/client.out")" $'+welcome ann, here: ann, bob\n* server is closing'
  assert_equal "$(<"$T/client.err")" 'client: the server closed the connection'
}

@test "SIGTERM and SIGINT: it sends /quit, and exits 0 when the server has answered" {
  local signal
  for signal in TERM INT; do
    NAME=fake$signal start_fake -- line send:"$WELCOME" line send:"$BYE" close
    mkfifo "$T/silence$signal"
    start_tool "client$signal" bash -c "exec $CLIENT -p $PORT -n ann <>${T@Q}/silence$signal"
    wait_for 5 grep -q welcome "$T/client$signal.out"
    kill -s "$signal" "$TOOL_PID"
    NAME=client$signal finish_peer
    NAME=fake$signal said ann /quit
  done
}

gives_up_waiting_for_goodbye() {
  start_fake -- line send:"$WELCOME" silent
  typing -n ann
  wait_for 5 grep -q welcome "$T/client.out"
  kill "$TOOL_PID"
  tool_ends client 1
  grep -qx 'client: stopped before the server had answered /quit' "$T/client.err"
}

# bats test_tags=slow
@test "SIGTERM while the server does not answer: it ends all the same, and exits 1" {
  seen gives_up_waiting_for_goodbye
}

@test "a line of more than 2,000 bytes is not sent, and it says so; the others are; exit 1" {
  local longest
  longest=$(printf %02000d 0)
  start_fake -- line send:"$WELCOME" line line line line send:"$BYE" close
  { printf '%s\n' one "$longest" "${longest}1" && head -c 3000000 /dev/zero && echo && echo two; } \
    >"$T/lines"
  run -1 --separate-stderr client -n ann <"$T/lines"
  assert_equal "$stderr" "$(yes 'client: not sent: a line of more than 2000 bytes' | head -n 2)"
  said ann one "$longest" two /quit
}

# The kernel's buffers take a part of it, then the client has to wait and must lose nothing.
waits_for_a_server_that_does_not_read() {
  yes "$(printf %099d 0)" | head -n 50000 >"$T/lines"
  start_fake -- line send:"$WELCOME" sleep:700 recv:5000000 line send:"$BYE" close
  client -n ann <"$T/lines" >"$T/out"
  NAME=fake finish_peer
  tail -n +3 "$T/fake.out" | head -c 5000000 >"$T/said"
  same_bytes "$T/lines" "$T/said"
}

@test "a server that does not read for a while still gets all 5 MB of lines" {
  seen waits_for_a_server_that_does_not_read
}

@test "server lines of any length, split anywhere, are printed in full in bounded memory" {
  [[ ${SAN-} ]] || ulimit -v 100000
  start_fake -- line dribble:1:'+welcome ann, here: 张三\n你' fill:3000000:x dribble:1:'\n好\n' \
    line line send:"$BYE" close
  client -n ann hello >"$T/out"
  { echo '+welcome ann, here: 张三' && printf 你 && head -c 3000000 /dev/zero | tr '\0' x &&
    printf '\n好\n+bye\n'; } >"$T/want"
  same_bytes "$T/want" "$T/out"
}

# signal(7): EINTR; poll(2), BUGS: ready, and yet EAGAIN.
@test "EINTR and EAGAIN at every call, and short writes: every line is sent and shown" {
  seq 3000 >"$T/lines"
  start_fake -- line send:"$WELCOME" file:"$T/lines" recv:"$(wc -c <"$T/lines")" line \
    send:"$BYE" close
  FAULT_ENV="FAULT_SHORT=5 FAULT_FAIL=poll:EINTR:3,recv:EAGAIN:2,recv:EINTR:3,send:EAGAIN:2,\
send:EINTR:3" client -n ann <"$T/lines" >"$T/out"
  { printf '%b' "$WELCOME" && cat "$T/lines" && printf '%b' "$BYE"; } >"$T/want"
  same_bytes "$T/want" "$T/out"
  { echo ann && cat "$T/lines" && echo /quit; } >"$T/want"
  NAME=fake finish_peer
  tail -n +2 "$T/fake.out" >"$T/said"
  same_bytes "$T/want" "$T/said"
}

@test "a standard output that nobody reads ends it with exit 1, not by SIGPIPE" {
  start_fake -- line send:"$WELCOME" line line fill:300000 silent
  run -0 bash -c "{ $CLIENT -p $PORT -n ann hi 2>${T@Q}/err; echo \$? >${T@Q}/status; } | head -n 1"
  assert_equal "$(<"$T/status")" 1
  assert_equal "$(<"$T/err")" 'client: stdout: Broken pipe (EPIPE)'
}

# ---- with the server ----

# The Python client is like those that are often shown: its first send is the name.
four_clients_talk() {
  need nc python3
  start_server -r 0
  typing -n ann
  wait_for 5 grep -q '^+welcome' "$T/client.out"
  start_tool nc bash -c "{ echo bob; until [[ -e ${T@Q}/go ]]; do sleep 0.1; done; echo 'from nc'
    sleep 20; } | nc 127.0.0.1 $PORT"
  wait_for 5 grep -qx '\* bob joined' "$T/client.out"
  start_tool python python3 -u -c '
import socket, sys
s = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
s.send("张三\n".encode())
while True:
    text = s.recv(1024).decode()
    if not text:
        break
    print(text, end="")
    if "ann: hello" in text:
        s.send("你好\n".encode())' "$PORT"
  wait_for 5 grep -qx '\* 张三 joined' "$T/client.out"
  touch "$T/go"
  wait_for 5 grep -qx 'bob: from nc' "$T/python.out"
  start_tool second bash -c "echo 'the last one' |
    timeout 20 $CLIENT -p $PORT -n eve"
  wait_for 5 grep -qx '\* eve joined' "$T/client.out"
  wait_for 5 grep -qx 'eve: the last one' "$T/python.out"
  wait_for 5 grep -qx '\* eve left' "$T/client.out"
  echo hello >&9
  wait_for 5 grep -qx '张三: 你好' "$T/client.out"
  wait_for 5 grep -qx '张三: 你好' "$T/nc.out"
  exec 9>&-
  NAME=client finish_peer
  run -0 grep -v -e earlier -e welcome "$T/client.out"
  assert_output "* bob joined
* 张三 joined
bob: from nc
* eve joined
eve: the last one
* eve left
张三: 你好
+bye"
}

# bats test_tags=slow
@test "two of our clients, nc and a Python client talk in one room" {
  seen four_clients_talk
}

@test "when the server stops, it shows the notice, says that the server has closed, and exits 1" {
  start_server
  typing -n ann
  wait_for 5 grep -q welcome "$T/client.out"
  stop_server
  tool_ends client 1
  assert_equal "$(<"$T/client.out")" $'+welcome ann, here: ann\n* server is closing'
  grep -qx 'client: the server closed the connection' "$T/client.err"
}

lines_beyond_the_burst_arrive() {
  start_server -r 500
  typing -n ann
  wait_for 5 grep -q welcome "$T/client.out"
  seq 1500 | client -n bob >/dev/null
  wait_for 5 grep -q '^\* bob left' "$T/client.out"
  run -0 grep '^bob: ' "$T/client.out"
  assert_output "$(seq 1500 | sed 's/^/bob: /')"
}

# bats test_tags=slow
@test "1,500 lines at once, more than -r 500 accepts at once: none is lost" {
  seen lines_beyond_the_burst_arrive
}

# ---- on a terminal ----

SCREENS=0

tm() {
  TMUX_TMPDIR=$T tmux -u -L "$SCREEN" -f /dev/null "$@" 3>&-
}

# on_terminal COLUMNS ROWS [COMMAND]: a client (or that command) on a screen of that size, by a tmux
# of its own: one that has been told to end may still be there. The client shows its exit status at
# its end; the terminal's settings before and after are in $T/before, $T/after.
on_terminal() {
  need tmux
  SCREEN=client-$$-$((++SCREENS))
  local command=${3:-$CLIENT -p $PORT -n ann}
  touch "$T/screen"
  cat >"$T/pane" <<END
cd "${BATS_CWD:-.}"
stty -a >"$T/before"
$command
status=\$?
stty -a >"$T/after"
echo "status \$status"
sleep 60
END
  LC_ALL=C.UTF-8 tm new-session -d -x "$1" -y "$2" bash "$T/pane"
}

types() {
  tm send-keys -l -- "$1"
}

presses() {
  tm send-keys "$@"
}

# The screen, without the blank rows below, and with one time for all.
screen() {
  local rows
  rows=$(tm capture-pane -p)
  while read -r; do
    printf '%s\n' "${REPLY/#[0-2][0-9]:[0-5][0-9] /12:34 }"
  done <<<"$rows"
}

screen_is() {
  [[ $(screen) == "$1" ]]
}

# sees ROW…: all that is on the screen, within 10 s.
sees() {
  local want
  want=$(printf '%s\n' "$@")
  wait_for 10 screen_is "$want" 2>/dev/null ||
    complain 'expected on the screen:' "$want" 'but it is:' "$(screen)"
}

# cursor_at COLUMN ROW: counted from 0; within the time that a key may take.
cursor_at() {
  wait_for 10 cursor_is "$1 $2" 2>/dev/null ||
    complain "the cursor is at $(cursor), not at $1 $2"
}

cursor() {
  tm display-message -p '#{cursor_x} #{cursor_y}'
}

cursor_is() {
  [[ $(cursor) == "$1" ]]
}

@test "terminal: a half-typed Chinese line stays while messages come, and is sent complete" {
  start_fake -- line send:"$WELCOME" until:"$T/1" send:'bob: one\n* eve joined\n' \
    until:"$T/2" send:'bob: 二\n' line send:'bob: three\n' silent
  on_terminal 50 10
  sees '12:34 +welcome ann, here: ann, bob' '>'
  types '你好,世'
  sees '12:34 +welcome ann, here: ann, bob' '> 你好,世'
  touch "$T/1"
  sees '12:34 +welcome ann, here: ann, bob' '12:34 bob: one' '12:34 * eve joined' '> 你好,世'
  cursor_at 9 3
  types 界
  touch "$T/2"
  sees '12:34 +welcome ann, here: ann, bob' '12:34 bob: one' '12:34 * eve joined' \
    '12:34 bob: 二' '> 你好,世界'
  presses Enter
  sees '12:34 +welcome ann, here: ann, bob' '12:34 bob: one' '12:34 * eve joined' \
    '12:34 bob: 二' '12:34 (you): 你好,世界' '12:34 bob: three' '>'
  tail -n +2 "$T/fake.out" >"$T/said"
  printf 'ann\n你好,世界\n' >"$T/want"
  same_bytes "$T/want" "$T/said"
}

# A character that is two columns wide is never cut at the end of a row, which stays one short.
# bats test_tags=slow
@test "terminal: a line of several rows with the cursor inside stays, as does one of a full row" {
  start_fake -- line send:"$WELCOME" until:"$T/1" send:'bob: one\n' until:"$T/2" \
    send:'bob: two\n' line line until:"$T/3" send:'bob: three\n' silent
  local first=('12:34 +welcome ann,' '      here: ann, bob')
  on_terminal 20 12
  sees "${first[@]}" '>'
  types '一二三四五六七八九a一二三四五六七'
  presses Left Left
  sees "${first[@]}" '> 一二三四五六七八九' 'a一二三四五六七'
  touch "$T/1"
  sees "${first[@]}" '12:34 bob: one' \
    '> 一二三四五六七八九' 'a一二三四五六七'
  cursor_at 11 4
  presses Home Right
  cursor_at 4 3
  touch "$T/2"
  sees "${first[@]}" '12:34 bob: one' '12:34 bob: two' \
    '> 一二三四五六七八九' 'a一二三四五六七'
  cursor_at 4 4
  presses Enter
  sees "${first[@]}" '12:34 bob: one' '12:34 bob: two' \
    '12:34 (you): 一二三' '      四五六七八九a' '      一二三四五六七' '>'
  presses C-l
  sees '>'
  types '345678901234567890' # with the prompt, 20
  presses Enter
  sees '12:34 (you): 3456789' '      01234567890' '>'
  types 'x345678901234567890'
  touch "$T/3"
  sees '12:34 (you): 3456789' '      01234567890' '12:34 bob: three' '> x34567890123456789' 0
}

lines_are_edited() {
  start_server
  NAME=eve start_peer "$PORT" send:'eve\n' line ready:"$T/in" line line line line \
    ready:"$T/heard" silent
  wait_for 5 test -e "$T/in"
  on_terminal 50 10
  sees '12:34 +welcome ann, here: eve, ann' '>'
  types '中文字'
  presses Left BSpace
  types 'X'
  presses Home
  types 'a'
  presses End
  types 'z'
  sees '12:34 +welcome ann, here: eve, ann' '> a中X字z'
  presses Enter
  sees '12:34 +welcome ann, here: eve, ann' '12:34 (you): a中X字z' '>'
  types second
  presses Enter Up Up
  sees '12:34 +welcome ann, here: eve, ann' '12:34 (you): a中X字z' '12:34 (you): second' '> a中X字z'
  presses C-a C-k
  types '//help'
  presses Enter
  sees '12:34 +welcome ann, here: eve, ann' '12:34 (you): a中X字z' '12:34 (you): second' \
    '12:34 (you): //help' '>'
  wait_for 5 test -e "$T/heard" # by eve: the server has all three
  comes_and_hears $'(earlier) ann: a中X字z\n(earlier) ann: second\n(earlier) ann: /help'
}

# bats test_tags=slow
@test "terminal: cursor keys, backspace over a wide character, delete and history work" {
  seen lines_are_edited
}

comes_and_hears() {
  run -0 "$PEER" "$PORT" send:'bob\n' line line line line
  assert_line --index 0 '+welcome bob, here: eve, ann, bob'
  [[ $output == *$'\n'"$1" ]]
}

# It begins a key's code, and which key is not known until the next one, after whatever time.
@test "terminal: after Esc messages still come, and the next key keeps its meaning" {
  start_fake -- line send:"$WELCOME" until:"$T/1" send:'bob: one\n' silent
  on_terminal 50 10
  sees '12:34 +welcome ann, here: ann, bob' '>'
  types 'one two'
  presses Escape
  touch "$T/1"
  sees '12:34 +welcome ann, here: ann, bob' '12:34 bob: one' '> one two'
  types b # back one word
  types X
  sees '12:34 +welcome ann, here: ann, bob' '12:34 bob: one' '> one Xtwo'
}

@test "terminal: tab completes names that have been seen" {
  start_fake -- line send:'+welcome ann, here: ann, bob, 张三, 张飞\n* eve joined\n' \
    line send:'* bob left (connection lost)\nzoe: hi\n' silent
  on_terminal 60 10
  sees '12:34 +welcome ann, here: ann, bob, 张三, 张飞' '12:34 * eve joined' '>'
  types '/msg b'
  presses Tab
  types 'e'
  presses Tab
  types '张'
  presses Tab Tab # two of them: nothing more
  types 三
  presses Tab Enter
  sees '12:34 +welcome ann, here: ann, bob, 张三, 张飞' '12:34 * eve joined' \
    '12:34 (you): /msg bob eve 张三' '12:34 * bob left (connection lost)' \
    '12:34 zoe: hi' '>'
  types 'z'
  presses Tab
  types '|'
  wait_for 5 eval '[[ $(screen) == *"> zoe |" ]]'
}

# The second row of a message begins with what its sender has put there.
@test "terminal: no row of a message looks like another message; an earlier message has no time" {
  local pad
  pad=$(printf '%034d' 0)
  start_fake -r 2 -- line send:"$WELCOME"'(earlier) bob: hi\n' \
    send:"bob: ${pad}12:34 eve: I owe bob 100\n" until:"$T/1" send:"$BYE" close
  on_terminal 45 12 "$CLIENT -p $PORT -n ann; true | $CLIENT -p $PORT -n ann"
  sees '12:34 +welcome ann, here: ann, bob' '--:-- (earlier) bob: hi' "12:34 bob: $pad" \
    '      12:34 eve: I owe bob 100' '>'
  touch "$T/1"
  sees '12:34 +welcome ann, here: ann, bob' '--:-- (earlier) bob: hi' "12:34 bob: $pad" \
    '      12:34 eve: I owe bob 100' '12:34 +bye' '+welcome ann, here: ann, bob' \
    '(earlier) bob: hi' "bob: ${pad}12:34" '      eve: I owe bob 100' '+bye' 'status 0'
}

# in_pty SCRIPT: Python, with a client of ours on a terminal: put(BYTES) types, sees(BYTES) waits
# until they have been shown, and ends(STATUS) waits for its end.
in_pty() {
  need python3
  NO_COLOR=1 TERM=xterm timeout $((60 * PATIENCE)) python3 - "$CLIENT -p $PORT -n ann" 3<&- <<END
import os, pty, select, signal, sys, time
pid, tty = pty.fork()
if pid == 0:
    os.execvp("bash", ["bash", "-c", "exec " + sys.argv[1]])
shown = b""

def put(data):
    os.write(tty, data)

def sees(what):
    global shown
    end = time.monotonic() + 10 * int(os.environ["PATIENCE"])
    while what not in shown:
        if time.monotonic() > end:
            sys.exit("shown, and not %r: %r" % (what, shown))
        if select.select([tty], [], [], 0.1)[0]:
            try:
                shown += os.read(tty, 4096)
            except OSError:
                sys.exit("it has ended; shown, and not %r: %r" % (what, shown))
    shown = shown[shown.index(what) + len(what):]

try:
    sees(b"welcome ann, here: ann, bob\\r\\n")
    sees(b"> ")
$1
finally:
    os.kill(pid, signal.SIGKILL)
END
}

# heard_after_two_lines: the server has got what is in $T/want, after its own line and the name.
heard_after_two_lines() {
  tail -n +3 "$T/fake.out" >"$T/heard"
  cmp -s "$T/want" "$T/heard"
}

# RFC 3629: C3 begins a character of two bytes, E4 B8 one of three.
@test "terminal: an invalid byte is left out, and the bytes after it, also Enter, are not" {
  start_fake -- line send:"$WELCOME" line line send:'bob: heard\n' silent
  in_pty '
    put(b"ab\xc3\r")
    sees(b"(you): ab\r\n")
    put(b"c\xe4\xb8d\xffe\xc3\xc3\xa9\r")
    sees(b"(you): cde\xc3\xa9\r\n")
    sees(b"heard")'
  tail -n +3 "$T/fake.out" >"$T/said"
  printf 'ab\ncdeé\n' >"$T/want"
  wait_for 5 heard_after_two_lines
}

# ctlseqs, "Bracketed Paste Mode": CSI ? 2004 h asks for it.
@test "terminal: in pasted text a tab becomes a space, and Ctrl-C or Ctrl-Z is left out" {
  start_fake -- line send:"$WELCOME" line line line send:"$BYE" close
  in_pty '
    put(b"\033[200~b\tc\003\032d\033[31me\003\rsecond\033[201~")
    sees(b"(you): b cd31me\r\n")
    sees(b"second")
    put(b"\b\b b\t\r") # typed: tab completes
    sees(b"(you): seco bob \r\n")
    put(b"\003")
    sees(b"\033[?2004l")
    sees(b"+bye")'
  said ann 'b cd31me' 'seco bob ' /quit
}

# The end of a paste may be lost, on a line that breaks, or come late.
# bats test_tags=slow
@test "terminal: a paste whose end is lost is over after a pause" {
  start_fake -- line send:"$WELCOME" line line send:"$BYE" close
  in_pty '
    put(b"\033[200~abc")
    sees(b"abc")
    time.sleep(2.5)
    put(b"\x7fd\033[201~e\r")
    sees(b"(you): abde\r\n")
    put(b"\003")
    sees(b"+bye")'
  said ann abde /quit
}

refused_name_is_shown() {
  start_server
  start_peer "$PORT" send:'Ann\n' line ready:"$T/in" silent
  wait_for 5 test -e "$T/in"
  on_terminal 60 10
  wait_for 10 eval '[[ $(screen) == "12:34 -name ann: "*$'\''\nname>'\'' ]]'
  types '安 娜'
  presses Enter
  wait_for 10 eval '[[ $(screen) == *$'\''\n12:34 -name 安 娜: '\''*$'\''\nname>'\'' ]]'
  types '安娜'
  presses Enter
  wait_for 10 eval '[[ $(screen) == *"+welcome 安娜, here: Ann, 安娜"*$'\''\n>'\'' ]]'
}

@test "terminal: after a refused name it shows why, and asks for another" {
  seen refused_name_is_shown
}

@test "terminal: after a third refused name the server closes, and it exits 1" {
  start_fake -- line send:'-name ann: taken\n' line send:'-name b: taken\n' line \
    send:'-name c: taken\n-too many tries\n' close
  on_terminal 60 10
  sees '12:34 -name ann: taken' 'name>'
  types b
  presses Enter
  sees '12:34 -name ann: taken' '12:34 (you): b' '12:34 -name b: taken' 'name>'
  types c
  presses Enter
  sees '12:34 -name ann: taken' '12:34 (you): b' '12:34 -name b: taken' '12:34 (you): c' \
    '12:34 -name c: taken' '12:34 -too many tries' 'client: the server closed the connection' \
    'status 1'
}

@test "terminal: a line that is too long, or typed before the welcome, is not sent" {
  start_fake -- line until:"$T/1" send:"$WELCOME" line silent
  on_terminal 60 40
  sees '>'
  types 'too early'
  presses Enter
  sees '12:34 -not sent: the server has not let us in yet' '>'
  touch "$T/1"
  sees '12:34 -not sent: the server has not let us in yet' '12:34 +welcome ann, here: ann, bob' '>'
  types "$(printf %01998d 0)世"
  presses Enter
  sees '12:34 -not sent: the server has not let us in yet' '12:34 +welcome ann, here: ann, bob' \
    '12:34 -not sent: the line has more than 2000 bytes' '>'
}

@test "terminal: a stopped server delays no key, and a hundred pasted lines are all sent" {
  seq 100 | sed 's/.*/pasted line &, 中文/' >"$T/paste"
  start_fake -- line send:"$WELCOME" until:"$T/1" send:'bob: still here\n' \
    recv:"$(wc -c <"$T/paste")" line silent
  on_terminal 60 6
  sees '12:34 +welcome ann, here: ann, bob' '>'
  kill -STOP "$FAKE_PID"
  tm load-buffer "$T/paste" \; paste-buffer
  sees '12:34 (you): pasted line 96, 中文' '12:34 (you): pasted line 97, 中文' \
    '12:34 (you): pasted line 98, 中文' '12:34 (you): pasted line 99, 中文' \
    '12:34 (you): pasted line 100, 中文' '>'
  touch "$T/1"
  kill -CONT "$FAKE_PID"
  sees '12:34 (you): pasted line 97, 中文' '12:34 (you): pasted line 98, 中文' \
    '12:34 (you): pasted line 99, 中文' '12:34 (you): pasted line 100, 中文' \
    '12:34 bob: still here' '>'
  types end
  presses Enter
  wait_for 5 grep -qx end "$T/fake.out"
  tail -n +3 "$T/fake.out" | head -n 100 >"$T/said"
  same_bytes "$T/paste" "$T/said"
}

# ECMA-48: ESC ]2; … BEL sets the title, CSI (also as the one byte 0x9b) 2J clears the screen.
@test "terminal: control characters of a hostile server have no effect" {
  local evil='\x1b]2;owned\x07\x1b[2J\xc2\x9b2J\x9b2Jtext\rann: forged\x08\x00\xe2\x80\xae.\n'
  local shown='bob: �]2;owned��[2J�2J�2Jtext�ann: forged���.'
  start_fake -r 2 -- line send:"${WELCOME}bob: $evil" until:"$T/1" send:"$BYE" close
  on_terminal 70 12 "$CLIENT -p $PORT -n ann; true | $CLIENT -p $PORT -n ann"
  sees '12:34 +welcome ann, here: ann, bob' "12:34 $shown" '>'
  [[ $(tm display-message -p '#{pane_title}') != owned ]]
  touch "$T/1"
  sees '12:34 +welcome ann, here: ann, bob' "12:34 $shown" '12:34 +bye' \
    '+welcome ann, here: ann, bob' "$shown" '+bye' 'status 0'
  [[ $(tm display-message -p '#{pane_title}') != owned ]]
}

# no-color.org; TERM=dumb is a terminal that knows no sequences.
@test "terminal: names are colored, unless NO_COLOR is set; with TERM=dumb all is plain" {
  local talk=(line send:"${WELCOME}bob: hi\n" drain)
  start_fake -- "${talk[@]}"
  on_terminal 50 10
  sees '12:34 +welcome ann, here: ann, bob' '12:34 bob: hi' '>'
  run -0 tm capture-pane -e -p
  [[ $output == *$'\e[1m\e[3'[1-6]mbob$'\e['*': hi'* ]] || complain "$(cat -v <<<"$output")"
  tm kill-server # after which the client says goodbye, and waits for an answer
  NAME=second start_fake -- "${talk[@]}"
  NO_COLOR=1 on_terminal 50 10
  sees '12:34 +welcome ann, here: ann, bob' '12:34 bob: hi' '>'
  run -0 tm capture-pane -e -p
  [[ $output != *$'\e'* ]]
  tm kill-server
  NAME=third start_fake -- "${talk[@]}"
  on_terminal 50 10 "TERM=dumb $CLIENT -p $PORT -n ann"
  sees '+welcome ann, here: ann, bob' 'bob: hi'
}

# ended ROW…: so the screen looks, and the terminal's settings are what they were (termios(3)).
ended() {
  sees "$@"
  same_bytes "$T/before" "$T/after"
}

# bats test_tags=slow
@test "terminal: its settings are restored however the client ends" {
  local welcome='12:34 +welcome ann, here: ann, bob'
  start_fake -r 9 -- line send:"$WELCOME" line send:"$BYE" close
  on_terminal 50 10
  sees "$welcome" '>'
  run cmp -s "$T/before" <(stty -a -F "$(tm display-message -p '#{pane_tty}')")
  assert_failure # as long as it runs
  types 'half a line'
  presses C-c
  ended "$welcome" '12:34 +bye' 'status 0'
  tm kill-server
  on_terminal 50 10
  sees "$welcome" '>'
  presses C-d
  ended "$welcome" '12:34 +bye' 'status 0'
  tm kill-server
  # Not `client & fg`: after the client's end `fg` puts back what it found, perhaps the client's.
  on_terminal 50 10 "(echo \$BASHPID >${T@Q}/pid; exec $CLIENT -p $PORT -n ann)"
  sees "$welcome" '>'
  kill "$(<"$T/pid")"
  ended "$welcome" '12:34 +bye' 'status 0'
}

@test "terminal: when the server closes while a line is half typed, it says so and clears it" {
  start_fake -- line send:"$WELCOME" until:"$T/1" reset
  on_terminal 80 10
  sees '12:34 +welcome ann, here: ann, bob' '>'
  types 'half a line'
  sees '12:34 +welcome ann, here: ann, bob' '> half a line'
  touch "$T/1"
  ended '12:34 +welcome ann, here: ann, bob' \
    'client: recv: Connection reset by peer (ECONNRESET)' 'status 1'
}

@test "terminal: Ctrl-Z gives the terminal back to the shell; fg restores the half-typed line" {
  start_fake -- line send:"$WELCOME" until:"$T/1" send:'bob: one\n' line silent
  on_terminal 50 12 "exec bash --norc --noprofile -i"
  wait_for 5 eval '[[ $(screen) == *[\#\$] || $(screen) == *[\#\$]" " ]]'
  types "PS1='$ '; clear; $CLIENT -p $PORT -n ann"
  presses Enter
  sees "12:34 +welcome ann, here: ann, bob" '>'
  types '你好'
  presses C-z
  wait_for 5 eval '[[ $(screen) == *Stopped* ]]'
  touch "$T/1"
  types "clear; stty -a >${T@Q}/after; fg >/dev/null"
  presses Enter
  sees '12:34 bob: one' '> 你好'
  grep -q ' icanon' "$T/after" && grep -q ' echo ' "$T/after"
  types '!'
  presses Enter
  sees '12:34 bob: one' '12:34 (you): 你好!' '>'
}

# A client that is its session's only process has nobody who could continue it: the kernel does not
# let Ctrl-Z stop it, and it must not stop itself (setpgid(2), termios(3): orphaned process groups).
@test "terminal: Ctrl-Z is ignored where no shell could continue it" {
  need python3
  start_fake -- line send:"$WELCOME" line line send:"$BYE" close
  NO_COLOR=1 TERM=xterm timeout $((60 * PATIENCE)) python3 -c 'if True:
    import os, pty, select, signal, sys, time
    pid, tty = pty.fork()
    if pid == 0:
        os.execvp("bash", ["bash", "-c", "exec " + sys.argv[1]])
    shown, seen = b"", os.WEXITED | os.WSTOPPED | os.WNOHANG | os.WNOWAIT

    def sees(what, times=1):
        global shown
        end = time.monotonic() + 10 * int(os.environ["PATIENCE"])
        while shown.count(what) < times:
            if select.select([tty], [], [], 0.1)[0]:  # first, as it may have ended since
                shown += os.read(tty, 4096)
            elif time.monotonic() > end or os.waitid(os.P_PID, pid, seen):
                sys.exit("it has stopped, or ended; shown, and not %r: %r" % (what, shown))

    try:
        sees(b"welcome ann, here: ann, bob\r\n")
        cleared = shown.count(b"\033[J")
        os.write(tty, b"\032")
        sees(b"\033[J", cleared + 1)  # for the shell
        os.write(tty, b"hello\r")
        sees(b"(you): hello")
        os.write(tty, b"\003")
        sees(b"+bye")
    finally:
        os.kill(pid, signal.SIGKILL)' "$CLIENT -p $PORT -n ann"
  said ann hello /quit
}

# The client waits in write(2) then, which SIGWINCH must not end: signal(7).
# bats test_tags=slow
@test "terminal: Ctrl-S stops the screen and Ctrl-Q continues it, even if the window is resized" {
  start_fake -- line send:"$WELCOME" until:"$T/1" lines:200:100 until:"$T/2" line send:"$BYE" close
  T=$T in_pty '
    import fcntl, struct, termios
    put(b"\023")
    time.sleep(0.2)
    open(os.environ["T"] + "/1", "w").close()
    for columns in range(70, 80):
        time.sleep(0.05)
        fcntl.ioctl(tty, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    put(b"\021")
    sees(b"00000199")
    open(os.environ["T"] + "/2", "w").close()
    put(b"\003")
    sees(b"+bye")'
}

# Else a tab or a newline could stand in the line, and the count of its rows would be wrong.
@test "terminal: Ctrl-V has no effect: Ctrl-J after it ends the line, and tab completes a name" {
  start_fake -- line send:"$WELCOME" until:"$T/1" send:'bob: one\n' silent
  on_terminal 50 10
  sees '12:34 +welcome ann, here: ann, bob' '>'
  types 'hello'
  presses C-v C-j
  types 'b'
  presses C-v Tab
  types '|'
  sees '12:34 +welcome ann, here: ann, bob' '12:34 (you): hello' '> bob |'
  touch "$T/1"
  sees '12:34 +welcome ann, here: ann, bob' '12:34 (you): hello' '12:34 bob: one' '> bob |'
}

# SIGWINCH: signal(7).
@test "terminal: when the window becomes narrower, messages still come in order" {
  start_fake -- line send:"$WELCOME" until:"$T/1" send:'bob: one\n' line silent
  on_terminal 60 12
  sees '12:34 +welcome ann, here: ann, bob' '>'
  types '一二三四五六七八九十一二三四五六七八九十'
  sees '12:34 +welcome ann, here: ann, bob' '> 一二三四五六七八九十一二三四五六七八九十'
  tm resize-window -x 40 -y 12
  touch "$T/1"
  wait_for 10 eval '[[ $(screen) == *"12:34 bob: one
> 一二三四五六七八九十一二三四五六七八九
十" ]]' # the rows above may have been scrolled away
  presses Enter
  wait_for 5 grep -qx '一二三四五六七八九十一二三四五六七八九十' "$T/fake.out"
}
