# Chapter 07's client: in a pipe, against servers that do what it must stand, and on a terminal,
# which tmux plays: `types` presses keys, `sees` compares the whole screen.
#
# bats file_tags=chat,kit

# shellcheck disable=SC2154 # run --separate-stderr sets stderr and stderr_lines
CHAPTER=07-chat
load helpers/common

WELCOME='+welcome ann, here: ann, bob\n'
BYE='+bye\n'

setup() {
  trace_tests_only
  unset NO_COLOR
}

teardown() {
  exec 9>&-
  [[ ! -e $T/screen ]] || tm kill-server 2>/dev/null || true
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

@test "-h: the usage on stdout; a bad option, port or name: one line and the usage, status 2" {
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
@test "nobody listens: it says so, status 1" {
  start_fake -- eof
  kill "$FAKE_PID"
  wait_for 5 not running "$FAKE_PID"
  run -1 --separate-stderr client -n ann hello
  assert_equal "$stderr" "client: connect 127.0.0.1:$PORT: Connection refused (ECONNREFUSED)"
}

# Not even what no terminal should be shown is changed: a pipe is for programs.
@test "plain lines in, and exactly the server's lines out; the end of input is /quit, status 0" {
  local text='(earlier) bob: \xff\x1b[31m\r\nbob: \0 NUL\n\n* bob left'
  start_fake -- line send:"$WELCOME$text\n" line line line send:"$BYE"'no newline' close
  printf 'one\n二' | client -n ann >"$T/out"
  printf '%b' "$WELCOME$text\n$BYE" 'no newline' >"$T/want"
  same_bytes "$T/want" "$T/out"
  said ann one 二 /quit
}

@test "messages as arguments: each is sent, then /quit; what comes is printed; status 0" {
  start_fake -- line send:"$WELCOME" line line line line line send:"bob: hi\n$BYE" close
  run -0 --separate-stderr client -n ann one 'two words' $'three\nfour'
  assert_output $'+welcome ann, here: ann, bob\nbob: hi\n+bye'
  [[ ! $stderr ]]
  NAME=fake finish_peer
  assert_equal "$(tail -n +2 "$T/fake.out")" $'ann\none\ntwo words\nthree\nfour\n/quit'
}

@test "what the server says is shown at once, though nobody types" {
  start_fake -- line send:"$WELCOME" until:"$T/go" send:'bob: hi\n' drain
  typing -n ann
  wait_for 5 grep -q welcome "$T/client.out"
  touch "$T/go"
  wait_for 5 grep -qx 'bob: hi' "$T/client.out"
}

# getlogin(3) asks who owns the terminal, getpwuid(3) who owns the process.
@test "without -n the name is that of the user" {
  start_fake -- line send:"$WELCOME" line send:"$BYE" close
  run -0 client </dev/null
  NAME=fake finish_peer
  run -0 tail -n +2 "$T/fake.out"
  [[ ${lines[0]} == "$(id -un)" || ${lines[0]} == "$(logname 2>/dev/null)" ]]
}

@test "no line is sent before the name was taken, or it could become the name" {
  start_fake -- line open:300 send:"$WELCOME" line line send:"$BYE" close
  run -0 client -n ann hello
  said ann hello /quit
}

@test "a name that is refused: the server's words, status 1, and nothing was said" {
  NAME=first start_fake -- line send:'-name ann: taken\n' eof
  run -1 --separate-stderr client -n ann hello
  assert_output '-name ann: taken'
  assert_equal "$stderr" 'client: the server refuses that name'
  NAME=first said ann
  start_fake -- send:'-the room is full (1)\n' close
  run -1 --separate-stderr client -n ann hello
  assert_output '-the room is full (1)'
}

@test "a server that goes: it says so, prints what came before, status 1" {
  gives_up 'the server closed the connection' line close
  gives_up 'the server closed the connection' line send:"$WELCOME" half-close drain
  gives_up 'the server closed the connection' line send:"$WELCOME" line line send:'bob: hi' close
  assert_output $'+welcome ann, here: ann, bob\nbob: hi'
  gives_up 'recv: Connection reset by peer \(ECONNRESET\)' line send:"$WELCOME" line line reset
}

@test "that the server goes is noticed at once, though nobody types" {
  start_fake -- line send:"$WELCOME"'* server is closing\n' close
  typing -n ann
  wait_for 5 not running "$TOOL_PID"
  run -1 wait "$TOOL_PID"
  assert_equal "$(<"$T/client.out")" $'+welcome ann, here: ann, bob\n* server is closing'
  assert_equal "$(<"$T/client.err")" 'client: the server closed the connection'
}

@test "SIGTERM and SIGINT: /quit, and status 0 when the server has answered it" {
  local signal
  for signal in TERM INT; do
    NAME=fake$signal start_fake -- line send:"$WELCOME" line send:"$BYE" close
    mkfifo "$T/silence$signal"
    start_tool "client$signal" bash -c "exec $CLIENT -p $PORT -n ann <>$T/silence$signal"
    wait_for 5 grep -q welcome "$T/client$signal.out"
    kill -s "$signal" "$TOOL_PID"
    NAME=client$signal finish_peer
    NAME=fake$signal said ann /quit
  done
}

@test "SIGTERM, and a server that does not answer: an end all the same, status 1" {
  start_fake -- line send:"$WELCOME" silent
  typing -n ann
  wait_for 5 grep -q welcome "$T/client.out"
  kill "$TOOL_PID"
  wait_for 5 not running "$TOOL_PID"
  grep -qx 'client: stopped before the server had said goodbye' "$T/client.err"
}

@test "2,000 bytes are sent; a line of more is not, which it says; the others are; status 1" {
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
@test "a server that does not read for a while: 5 MB of lines arrive, none is lost" {
  yes "$(printf %099d 0)" | head -n 50000 >"$T/lines"
  start_fake -- line send:"$WELCOME" sleep:700 recv:5000000 line send:"$BYE" close
  client -n ann <"$T/lines" >"$T/out"
  NAME=fake finish_peer
  tail -n +3 "$T/fake.out" | head -c 5000000 >"$T/said"
  same_bytes "$T/lines" "$T/said"
}

@test "the server's lines of any length, cut anywhere: all of it is printed, in bounded memory" {
  [[ ${SAN-} ]] || ulimit -v 100000
  start_fake -- line dribble:1:'+welcome ann, here: 张三\n你' fill:3000000:x dribble:1:'\n好\n' \
    line line send:"$BYE" close
  client -n ann hello >"$T/out"
  { echo '+welcome ann, here: 张三' && printf 你 && head -c 3000000 /dev/zero | tr '\0' x &&
    printf '\n好\n+bye\n'; } >"$T/want"
  same_bytes "$T/want" "$T/out"
}

# signal(7): EINTR; poll(2), BUGS: ready, and yet EAGAIN.
@test "EINTR, and EAGAIN from ready sockets, at every call; short writes: all is said and heard" {
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

@test "a standard output that nobody reads ends it: status 1, and no SIGPIPE" {
  start_fake -- line send:"$WELCOME" line line fill:300000 silent
  run -0 bash -c "{ $CLIENT -p $PORT -n ann hi 2>$T/err; echo \$? >$T/status; } | head -n 1"
  assert_equal "$(<"$T/status")" 1
  assert_equal "$(<"$T/err")" 'client: stdout: Broken pipe (EPIPE)'
}

# ---- with the server ----

# The Python client is like those that are often shown: its first send is the name.
@test "two clients of ours, nc and one in Python talk in one room" {
  need nc python3
  start_server -r 0
  typing -n ann
  wait_for 5 grep -q '^+welcome' "$T/client.out"
  start_tool nc bash -c "{ echo bob; until [[ -e $T/go ]]; do sleep 0.1; done; echo 'from nc'
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
  start_tool second bash -c "{ sleep 0.3; echo 'the last one'; } |
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

@test "the room closes: who is in it is told, then that the server has gone; status 1" {
  start_server
  typing -n ann
  wait_for 5 grep -q welcome "$T/client.out"
  stop_server
  wait_for 5 not running "$TOOL_PID"
  run -1 wait "$TOOL_PID"
  assert_equal "$(<"$T/client.out")" $'+welcome ann, here: ann\n* server is closing'
  grep -qx 'client: the server closed the connection' "$T/client.err"
}

@test "1,500 lines at once, beyond the burst of -r 500: none is lost on the way" {
  start_server -r 500
  typing -n ann
  wait_for 5 grep -q welcome "$T/client.out"
  seq 1500 | client -n bob >/dev/null
  wait_for 5 grep -q '^\* bob left' "$T/client.out"
  run -0 grep '^bob: ' "$T/client.out"
  assert_output "$(seq -f 'bob: %g' 1500)"
}

# ---- on a terminal ----

tm() {
  TMUX_TMPDIR=$T tmux -u -L "client-$$" -f /dev/null "$@" 3>&-
}

# on_terminal COLUMNS ROWS [COMMAND]: a client (or that command) on a screen of that size. It shows
# its exit status at its end; the terminal's settings before and after are in $T/before, $T/after.
on_terminal() {
  need tmux
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
  tm capture-pane -p | sed -e 's/^[0-2][0-9]:[0-5][0-9] /12:34 /' |
    sed -e :a -e '/^\n*$/{$d;N;ba' -e '}'
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

# cursor_at COLUMN ROW: counted from 0.
cursor_at() {
  local at
  at=$(tm display-message -p '#{cursor_x} #{cursor_y}')
  [[ $at == "$1 $2" ]] || complain "the cursor is at $at, not at $1 $2"
}

@test "terminal: a half-typed Chinese line stays while messages come, and is sent whole" {
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
@test "terminal: a line of several rows, the cursor inside it, stays too; so does one just full" {
  start_fake -- line send:"$WELCOME" until:"$T/1" send:'bob: one\n' until:"$T/2" \
    send:'bob: two\n' line line until:"$T/3" send:'bob: three\n' silent
  on_terminal 20 12
  sees '12:34 +welcome ann,' 'here: ann, bob' '>'
  types '一二三四五六七八九a一二三四五六七'
  presses Left Left
  sees '12:34 +welcome ann,' 'here: ann, bob' '> 一二三四五六七八九' 'a一二三四五六七'
  touch "$T/1"
  sees '12:34 +welcome ann,' 'here: ann, bob' '12:34 bob: one' \
    '> 一二三四五六七八九' 'a一二三四五六七'
  cursor_at 11 4
  presses Home Right
  cursor_at 4 3
  touch "$T/2"
  sees '12:34 +welcome ann,' 'here: ann, bob' '12:34 bob: one' '12:34 bob: two' \
    '> 一二三四五六七八九' 'a一二三四五六七'
  cursor_at 4 4
  presses Enter
  sees '12:34 +welcome ann,' 'here: ann, bob' '12:34 bob: one' '12:34 bob: two' \
    '12:34 (you): 一二三' '四五六七八九a一二三' '四五六七' '>'
  presses C-l
  sees '>'
  types '345678901234567890' # with the prompt, 20
  presses Enter
  sees '12:34 (you): 3456789' '01234567890' '>'
  types 'x345678901234567890'
  touch "$T/3"
  sees '12:34 (you): 3456789' '01234567890' '12:34 bob: three' '> x34567890123456789' 0
}

@test "terminal: left, backspace over a wide character, begin and end, delete, and history" {
  start_server
  on_terminal 50 10
  sees '12:34 +welcome ann, here: ann' '>'
  types '中文字'
  presses Left BSpace
  types 'X'
  presses Home
  types 'a'
  presses End
  types 'z'
  sees '12:34 +welcome ann, here: ann' '> a中X字z'
  presses Enter
  sees '12:34 +welcome ann, here: ann' '12:34 (you): a中X字z' '>'
  types second
  presses Enter Up Up
  sees '12:34 +welcome ann, here: ann' '12:34 (you): a中X字z' '12:34 (you): second' '> a中X字z'
  presses C-a C-k
  types '//help'
  presses Enter
  sees '12:34 +welcome ann, here: ann' '12:34 (you): a中X字z' '12:34 (you): second' \
    '12:34 (you): //help' '>'
  comes_and_hears $'(earlier) ann: a中X字z\n(earlier) ann: second\n(earlier) ann: /help'
}

comes_and_hears() {
  run -0 "$PEER" "$PORT" send:'bob\n' line line line line
  assert_line --index 0 '+welcome bob, here: ann, bob'
  [[ $output == *$'\n'"$1" ]]
}

# It begins a key's code, and which key is not known until the next one, after whatever time.
@test "terminal: after Esc messages go on to come, and the next key means what it should" {
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

@test "terminal: tab completes the names of those who are there" {
  start_fake -- line send:'+welcome ann, here: ann, bob, 张三, 张飞\n* eve joined\n' \
    line send:'* bob left (connection lost)\n* eve is now known as zoe\n' silent
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
    '12:34 * eve is now known as zoe' '>'
  types b
  presses Tab
  types ' e'
  presses Tab
  types ' z'
  presses Tab
  types '|'
  wait_for 5 eval '[[ $(screen) == *"> b e zoe |" ]]'
}

@test "terminal: a name that is refused is shown, and another one is asked for" {
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

@test "terminal: a third name that is refused is the last: the server closes, status 1" {
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

@test "terminal: too long a line is refused here, and so is one before the welcome" {
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
    '12:34 -not sent: it has more than 2000 bytes' '>'
}

@test "terminal: a server that has stopped delays no key; a hundred pasted lines are all sent" {
  seq -f 'pasted line %g, 中文' 100 >"$T/paste"
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
@test "terminal: control characters of a hostile server are not obeyed, nor in a pipe to a screen" {
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
@test "terminal: names are in colour, but not with NO_COLOR; with TERM=dumb all is plain" {
  start_fake -r 3 -- line send:"${WELCOME}bob: hi\n" drain
  on_terminal 50 10
  sees '12:34 +welcome ann, here: ann, bob' '12:34 bob: hi' '>'
  run -0 tm capture-pane -e -p
  [[ $output == *$'\e[1m\e[3'[1-6]mbob$'\e['*': hi'* ]] || complain "$(cat -v <<<"$output")"
  tm kill-server
  NO_COLOR=1 on_terminal 50 10
  sees '12:34 +welcome ann, here: ann, bob' '12:34 bob: hi' '>'
  run -0 tm capture-pane -e -p
  [[ $output != *$'\e'* ]]
  tm kill-server
  on_terminal 50 10 "TERM=dumb $CLIENT -p $PORT -n ann"
  sees '+welcome ann, here: ann, bob' 'bob: hi'
}

# ended ROW…: so the screen looks, and the terminal's settings are what they were (termios(3)).
ended() {
  sees "$@"
  same_bytes "$T/before" "$T/after"
}

@test "terminal: its settings are again what they were, whatever ends the client" {
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
  on_terminal 50 10 "set -m; $CLIENT -p $PORT -n ann & echo \$! >$T/pid; fg >/dev/null"
  sees "$welcome" '>'
  kill "$(<"$T/pid")"
  ended "$welcome" '12:34 +bye' 'status 0'
}

@test "terminal: the server goes while a line is half typed: it says so, and the line is gone" {
  start_fake -- line send:"$WELCOME" until:"$T/1" reset
  on_terminal 80 10
  sees '12:34 +welcome ann, here: ann, bob' '>'
  types 'half a line'
  sees '12:34 +welcome ann, here: ann, bob' '> half a line'
  touch "$T/1"
  ended '12:34 +welcome ann, here: ann, bob' \
    'client: recv: Connection reset by peer (ECONNRESET)' 'status 1'
}

@test "terminal: Ctrl-Z gives the shell its terminal; fg brings back what was half typed" {
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
  types "clear; stty -a >$T/after; fg >/dev/null"
  presses Enter
  sees '12:34 bob: one' '> 你好'
  grep -q ' icanon' "$T/after" && grep -q ' echo ' "$T/after"
  types '!'
  presses Enter
  sees '12:34 bob: one' '12:34 (you): 你好!' '>'
}

# A client that is its session's only process has nobody who could continue it: the kernel does not
# let Ctrl-Z stop it, and it must not stop itself (setpgid(2), termios(3): orphaned process groups).
@test "terminal: Ctrl-Z where no shell could continue it: it goes on" {
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
            if time.monotonic() > end or os.waitid(os.P_PID, pid, seen):
                sys.exit("it has stopped, or ended; shown, and not %r: %r" % (what, shown))
            if select.select([tty], [], [], 0.1)[0]:
                shown += os.read(tty, 4096)

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

# Else a tab or a newline could stand in the line, and the count of its rows would be wrong.
@test "terminal: Ctrl-V quotes nothing: Ctrl-J after it ends the line, and tab completes a name" {
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
@test "terminal: when the window becomes narrower, messages go on to come in order" {
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
