#!/usr/bin/env bats
# shellcheck disable=SC2016  # what is in single quotes is for the shell on the other side
# make play-NN, on a terminal that tmux plays, in a small kit with one page. Keys are pressed only
# when the screen shows that they are awaited.

load ../helpers/common

bats_require_minimum_version 1.5.0

setup() {
  cd "$T" || return 1
  mkdir -p tests/bin docs 01-echo
  cp "$ROOT"/tests/bin/{play,play-session.sh,sessions.sh,tools.sh,tmpdir.sh} tests/bin/
  unset NO_COLOR
  cat >docs/01-echo.md <<'PAGE'
# 01: an echo

A paragraph that is not shown.

## First try

Here **bold** words, a [link](x.md), and all the other words of a long paragraph that a narrow
screen cannot show in one line.

```console
$ cd 01-echo
```

Now a job, a variable, a here-document, and all that one needs in such sessions:

```console 01-echo
$ here='a word'
$ (echo $BASHPID >job; exec sleep 300) &
$ cat <<X
> two
> lines
> X
two
lines
$ false
$ echo "status $?"
status 1
$ kill %1
```

## Second try

```c 01-echo/server.c
int main(void) {
```

```console 01-echo needs=nosuchtool
$ nosuchtool
```

The last one:

```console 01-echo
$ pwd | sed 's,.*/,in ,'
in 01-echo
```
PAGE
}

teardown() {
  [[ ! ${SCREEN-} ]] || tm kill-server 2>/dev/null || true
  common_teardown
}

tm() {
  TMUX_TMPDIR=$T tmux -u -L "$SCREEN" -f /dev/null "$@" 3>&-
}

# plays [COLUMNS [COMMAND]]: play on a terminal. $T/status gets its exit status.
plays() {
  need tmux
  SCREEN=play-$$-$BATS_TEST_NUMBER
  printf '%s\n' "cd '$T'" 'stty -a >before' "${2:-tests/bin/play 01}" 'echo $? >status.new' \
    'stty -a >after' 'mv status.new status' 'sleep 60' >pane
  LC_ALL=C.UTF-8 tm new-session -d -x "${1:-80}" -y 60 bash "$T/pane"
}

screen_has() {
  [[ $(tm capture-pane -p) == *"$1"* ]]
}

sees() {
  wait_for 10 screen_has "$1" || complain "not on the screen: $1" "$(tm capture-pane -p)"
}

# Nothing is pressed before the cursor is behind a typed command or a question.
ready_for_keys() {
  local row line
  row=$(tm display -p '#{cursor_y}')
  line=$(tm capture-pane -p | sed -n "$((row + 1))p")
  [[ $line == "$1"* ]]
}

# presses KEY PROMPT…: the key each time when the cursor's line begins with the prompt. What is
# pressed while a command is typed is dropped, so it is pressed again.
presses() {
  local key=$1 prompt tries
  shift
  for prompt; do
    wait_for 10 ready_for_keys "$prompt" ||
      complain "not asked for a key after: $prompt" "$(tm capture-pane -p)"
    sleep 0.3
    for ((tries = 0; tries < 10; tries++)); do
      tm send-keys "$key"
      ! wait_for 4 moved_on "$prompt" 2>/dev/null || continue 2
    done
    complain "still there: $prompt" "$(tm capture-pane -p)"
  done
}

# repeats PROMPT: presses r until the session's first command is typed once more.
repeats() {
  local tries before
  wait_for 10 ready_for_keys "$1"
  before=$(prompts "$1")
  for ((tries = 0; tries < 10; tries++)); do
    sleep 0.3
    tm send-keys r
    ! wait_for 4 more_prompts "$before" "$1" 2>/dev/null || return 0
  done
  complain "not repeated: $1" "$(tm capture-pane -p)"
}

prompts() {
  tm capture-pane -p | grep -cF -e "$1"
}

more_prompts() {
  (($(prompts "$2") > $1))
}

moved_on() {
  ! ready_for_keys "$1"
}

ends_with_status() {
  wait_for 10 test -e status || complain 'it goes on' "$(tm capture-pane -p)"
  assert_equal "$(<status)" "$1"
  sed -i 's/rows [0-9]*; columns [0-9]*;//' before after
  run -0 diff before after # the terminal's settings
}

job_has_ended() {
  [[ -s 01-echo/job ]] && ! grep -qs 'State:.[^Z]' "/proc/$(<01-echo/job)/status"
}

goes_to_the_job() {
  presses Enter '$ cd 01-echo' '(end of this session' "\$ here='a word'" '$ (echo $BASHPID'
  sees '$ cat <<X'
  [[ -s 01-echo/job ]]
  run ! job_has_ended
}

@test "play: shows the paragraph, types each command, and prints what it prints" {
  plays 85
  sees 'First try (1 of 4)'
  sees $'Here bold words, a link, and all the other words of a long paragraph that a narrow\nscreen'
  run ! screen_has 'not shown'
  goes_to_the_job
  sees 'Now a job, a variable, a here-document, and all that one needs in such sessions:'
  presses Enter '> X'
  sees $'> X\ntwo\nlines\n$ false'
  presses Enter '$ false' '$ echo "status $?"'
  sees $'status 1\n$ kill %1'
  presses Enter '$ kill %1' '(end of this session'
  sees $'Second try (3 of 4)\n\n    int main(void) {\n\nSkipped: nosuchtool is missing'
  presses Enter '$ pwd'
  sees $'\nin 01-echo\n(end'
  presses Enter '(end of this session'
  sees 'That was the last session of docs/01-echo.md.'
  ends_with_status 0
  job_has_ended
}

@test "play: n goes to the next session, r repeats one from its start, and both end its programs" {
  plays
  presses n '$ cd 01-echo'
  presses Enter "\$ here='a word'" '$ (echo $BASHPID'
  presses r '> X'
  wait_for 5 job_has_ended
  presses Enter "\$ here='a word'" '$ (echo $BASHPID'
  run ! job_has_ended
  presses n '> X'
  wait_for 5 job_has_ended
  repeats '$ pwd'
  presses n '$ pwd'
  ends_with_status 0
}

@test "play: s opens a shell with the session's directory and variables, and comes back" {
  plays
  goes_to_the_job
  presses s '> X'
  sees 'shell in 01-echo'
  tm send-keys -l 'echo "this is $here in ${PWD##*/}"; >made; read -r word; echo "<$word>"'
  tm send-keys Enter
  sees $'\nthis is a word in 01-echo'
  tm send-keys -l hidden
  sees $'\nhidden' # what is typed is echoed
  tm send-keys Enter
  sees $'\n<hidden>'
  tm send-keys -l exit
  tm send-keys Enter
  presses Enter '> X'
  sees $'\ntwo\nlines\n$ false'
  [[ -e 01-echo/made ]]
  presses q '$ false'
  ends_with_status 0
}

@test "play: q, Ctrl-C and a closed terminal end it, and all that it started" {
  plays
  goes_to_the_job
  presses q '> X'
  ends_with_status 0
  job_has_ended
  tm kill-server
  rm status 01-echo/job
  plays
  goes_to_the_job
  presses C-c '> X'
  ends_with_status 130
  job_has_ended
  tm kill-server
  rm status 01-echo/job
  plays
  goes_to_the_job
  tm kill-server
  wait_for 5 job_has_ended
}

@test "play: Ctrl-C while a command runs ends it too" {
  printf '```console\n$ echo $$ >01-echo/job; sleep 300; sleep 301\n```\n' >docs/01-echo.md
  plays
  presses Enter '$ echo'
  wait_for 5 test -s 01-echo/job
  tm send-keys C-c
  ends_with_status 130
  job_has_ended
}

@test "play: other keys explain the keys" {
  plays
  wait_for 10 ready_for_keys '$ cd 01-echo'
  sleep 0.5
  tm send-keys Up
  sleep 0.2
  run ! screen_has 'n: next session'
  tm send-keys h
  sees 'n: next session'
  sees $'quit\n$ cd 01-echo'
  presses Enter '$ cd 01-echo'
  presses q '(end'
  ends_with_status 0
}

@test "play: it survives a resize, and fills the new width" {
  plays 60
  sees $'Here bold words, a link, and all the other words of a long\nparagraph'
  tm resize-window -x 70 -y 30
  repeats '$ cd 01-echo'
  presses Enter '$ cd 01-echo' '(end'
  sees $'Now a job, a variable, a here-document, and all that one needs in such\nsessions:'
  presses q "\$ here='a word'"
  ends_with_status 0
}

@test "play: color on a terminal only, and not with NO_COLOR" {
  plays
  sees '$ cd 01-echo'
  tm capture-pane -ep | grep -q $'\e\\[1m'
  tm kill-server
  NO_COLOR=1 plays
  sees '$ cd 01-echo'
  run ! grep $'\e' <<<"$(tm capture-pane -ep)"
  tm kill-server
  plays 80 'tests/bin/play 01 | tee log'
  sees '$ cd 01-echo'
  run ! grep $'\e' log
}

@test "play: without a terminal, a page or sessions it says so" {
  run -1 --separate-stderr setsid -w tests/bin/play 01 </dev/null
  assert_equal "$stderr" "play: no terminal: the sessions of docs/01-echo.md wait for keys, so type\
 this in a terminal"
  run -2 --separate-stderr tests/bin/play 09
  assert_equal "$stderr" 'play: there is no page 09 in docs/: say `make play-01`, for example'
}
