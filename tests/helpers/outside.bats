# What is outside the conversation must not stop a program: how it was started, and whether anyone
# reads what it prints. tests/NN-outside.bats are symbolic links to this one text, and NN says which
# chapter is judged. A log that nobody reads costs 04 to 08 log lines and nothing else; 01 to 03,
# which have no log of their own, may wait for its reader, but obey SIGTERM.
#
# bats file_tags=kit,slow

NN=${BATS_TEST_FILENAME##*/}
CHAPTER=$(cd "$BATS_TEST_DIRNAME/.." && echo "${NN%%-*}"-*)
load helpers/common
# shellcheck disable=SC2034
BATS_NO_PARALLELIZE_WITHIN_FILE=true

INHERIT=$ROOT/build/helpers/inherit
quote QUOTED_INHERIT "$INHERIT" # for SERVER and CLIENT, which are several words
STOP_WITHIN=2 # DESIGN: SIGTERM is obeyed within 2 s
[[ ! ${SAN-} ]] || STOP_WITHIN=3

setup_file() {
  ahead inherited_signals_do_not_keep_it_up log_in_a_full_pipe_costs_no_service \
    lost_lines_are_counted log_on_a_stopped_terminal_costs_no_service \
    stdout_in_a_full_pipe_costs_no_service
  in_turn sigterm_ends_the_client closed_descriptors_lead_nobody_astray
}

# What a client sends, and the whole reply.
case $CHAPTER in
  01-* | 02-*) PROBE='hello\n' ANSWER='hello\n' UDP=() ;;
  07-*) PROBE='ann\n/quit\n' ANSWER='' UDP=() ;;
  *) PROBE='hello\n' ANSWER='+hello\n' UDP=() ;;
esac
[[ $CHAPTER != 02-* ]] || UDP=(-u)

# served: a fresh client gets all of its reply, in time, and not a byte more.
served() {
  case $CHAPTER in
    02-*) [[ $("$PEER" -u -t 2 "$PORT" send:hello recv) == hello ]] ;;
    07-*)
      "$PEER" -t 2 "$PORT" send:"$PROBE" eof >"$T/received" &&
        ! grep -a '127\.0\.0\.1' "$T/received"
      ;;
    *) WITHIN=2 receives "$ANSWER" send:"$PROBE" half-close eof ;;
  esac || complain "not served: $(cat "$T/received" 2>/dev/null)" || last_words server
}

# speak: 04 to 08 have to serve although their log has no room. 01 to 03 are made to write to it,
# and may wait there.
speak() {
  if [[ $CHAPTER == 0[1-3]-* ]]; then
    "$PEER" "${UDP[@]}" "$PORT" send:hello sleep:100
  else
    served && served && served
  fi
}

# find_port: sets PORT, from the kernel's tables (proc(5)), for a server that could not print it.
find_port() {
  local inode kind=tcp hex=
  [[ $CHAPTER != 02-* ]] || kind=udp
  for inode in "/proc/$SERVER_PID/fd"/*; do
    inode=$(readlink "$inode") || continue
    [[ $inode == socket:* ]] || continue
    inode=${inode//[!0-9]/}
    hex=$(awk -v inode="$inode" '$10 == inode && ($4 == "0A" || $4 == "07") {
      sub(/.*:/, "", $2); print $2; exit }' "/proc/net/$kind")
    [[ ! $hex ]] || break
  done
  [[ $hex ]] && PORT=$((16#$hex))
}

# start_unheard WORDS…: starts the server by these words, without waiting for its line; sets PORT.
start_unheard() {
  local command
  eval "command=($SERVER)"
  background server "$@" "${command[@]}" -p 0 -v
  SERVERS[server]=$! SERVER_PID=$!
  wait_for "$START_WITHIN" find_port || last_words server
}

# full_pipe NAME: a pipe $T/NAME whose reader never reads, without room for a byte. Descriptor 8 of
# this shell is the reader.
full_pipe() {
  local filler
  mkfifo "$T/$1"
  exec 8<>"$T/$1"
  cat /dev/zero >&8 &
  filler=$!
  wait_for 5 sleeps "$filler"
  kill "$filler"
  wait "$filler" || true
}

# sleeps PID: in a system call, for lack of room or of input. A process that has just
# been started may sleep, too, until its program is read: so it must do so three times in a row.
sleeps() {
  local time
  for time in 1 2 3; do
    ((time == 1)) || sleep 0.02
    grep -q '^State:.S' "/proc/$1/status" || return
  done
}

# into DESCRIPTOR FILE: prints words that start a program with FILE as its output or log.
into() {
  # shellcheck disable=SC2016
  echo bash -c '"exec \"\${@:2}\" '"$1"'<>\"\$1\""' bash "$2"
}

# ---- who started it ----

# execve(2): the signal mask and ignored signals are inherited; so is a timer that runs (alarm(2)).
inherited_signals_do_not_keep_it_up() {
  local server=$SERVER signal
  for signal in TERM INT; do
    SERVER="$QUOTED_INHERIT block:2 block:15 block:14 block:10 alarm:1 raise:14 raise:10 -- $server"
    start_server # with two signals pending that were meant for somebody else
    served
    stop_server 0 "$signal"
    SERVER="$QUOTED_INHERIT ignore:2 ignore:15 ignore:14 ignore:10 -- $server"
    start_server
    served
    stop_server 0 "$signal"
  done
  SERVER="$QUOTED_INHERIT block:15 alarm:1 -- $server"
  start_server
  sleep 1.2
  served # the alarm was not for us
  stop_server
}

@test "SIGTERM and SIGINT end the server even if they were blocked or ignored at its start" {
  seen inherited_signals_do_not_keep_it_up
}

# open(2) returns the lowest free descriptor: the next socket's.
closed_descriptors_lead_nobody_astray() {
  local words
  for words in close:0 'close:0 close:2' 'close:1 close:2' 'close:0 close:1 close:2'; do
    # shellcheck disable=SC2086
    start_unheard "$INHERIT" $words --
    served
    served
    stop_server
  done
}

@test "descriptor 0, 1 or 2 is closed at the start: no client is sent log lines or stdout text" {
  seen closed_descriptors_lead_nobody_astray
}

@test "client: descriptor 0, 1 or 2 is closed: no reply is lost silently or written elsewhere" {
  start_server
  case $CHAPTER in 07-*) skip 'its tests are in 07-client.bats' ;; esac
  CLIENT="$QUOTED_INHERIT close:1 -- $CLIENT" run -1 --separate-stderr client hello
  [[ $stderr == *'Bad file descriptor'* ]] || complain "$stderr"
  CLIENT="$QUOTED_INHERIT close:0 -- $CLIENT" run -1 --separate-stderr client
  [[ $stderr == *'Bad file descriptor'* ]] || complain "$stderr"
  CLIENT="$QUOTED_INHERIT close:0 close:2 -- $CLIENT" run -0 client hello
  assert_output --partial hello
  served
}

sigterm_ends_the_client() {
  local words command
  start_server
  eval "command=($CLIENT)"
  for words in block:15 ignore:15; do
    start_tool client "$INHERIT" "$words" -- "${command[@]}" -p "$PORT"
    sleep 0.2
    running "$TOOL_PID"
    kill -TERM "$TOOL_PID"
    wait_for 2 not running "$TOOL_PID"
    unset 'TOOLS[client]'
  done
}

@test "client: SIGTERM ends it, even if the signal was blocked or ignored at its start" {
  seen sigterm_ends_the_client
}

# signal(7). A terminal that is closed sends SIGHUP; nohup(1) makes a program ignore it.
@test "SIGHUP: 01 to 07 stop cleanly, unless it was ignored at the start; 08 reloads its files" {
  local server=$SERVER
  start_server
  if [[ $CHAPTER == 08-* ]]; then
    kill -HUP "$SERVER_PID"
    wait_for 2 grep -q 'loaded the certificate' "$T/server.err"
    served
    return
  fi
  stop_server 0 HUP
  SERVER="$QUOTED_INHERIT ignore:1 -- $server"
  start_server
  kill -HUP "$SERVER_PID"
  sleep 0.1
  served
}

# alarm(2): 01, 02, 03 and 05 use it while they stop, and only then. The others leave SIGALRM alone.
@test "SIGALRM from another process does not stop a server that uses alarms" {
  start_server
  case $CHAPTER in
    04-* | 06-* | 07-* | 08-*)
      stop_server $((128 + 14)) ALRM
      return
      ;;
  esac
  kill -ALRM "$SERVER_PID"
  kill -ALRM "$SERVER_PID"
  sleep 0.1
  served
}

# ---- who reads what it prints ----

# pipe(7): a write to a full pipe waits. poll(2) shows this; a stop signal interrupts it.
log_in_a_full_pipe_costs_no_service() {
  full_pipe log
  SERVER="$(into 2 "$T/log") $SERVER"
  start_server -v
  speak
  stop_server
}

@test "the log is a full pipe that nobody reads: 04 to 08 keep serving; all obey SIGTERM" {
  seen log_in_a_full_pipe_costs_no_service
}

lost_lines_are_counted() {
  full_pipe log
  SERVER="$(into 2 "$T/log") $SERVER"
  start_server -v
  speak
  start_tool reader cat "$T/log"
  wait_for 5 test -s "$T/reader.out"
  wait_for 5 sleeps "$TOOL_PID" # it has read all that was in the pipe, so there is room for a line
  served
  exec 8>&-
  stop_server
  [[ $CHAPTER != 0[1-3]-* ]] || return 0
  wait_for 5 grep -aq 'log lines lost' "$T/reader.out"
  tr -d '\0' <"$T/reader.out" >"$T/log.txt"
  run -0 head -n 1 "$T/log.txt"
  assert_output --regexp '^server: [1-9][0-9]* log lines lost$'
  run -0 sed -n 2p "$T/log.txt"
  assert_output --regexp '^127\.0\.0\.1:[0-9]+ '
}

@test "the log is read again: 04 to 08 say how many lines were lost, 01 to 03 continue" {
  seen lost_lines_are_counted
}

# tty(4), termios(3): Ctrl-S stops it. One that is not read fills up, and poll(2) reports it as
# ready while there is room for a part of a line.
log_on_a_stopped_terminal_costs_no_service() {
  local how server=$SERVER
  need python3
  for how in stopped unread; do
    start_tool "$how" python3 -c 'if True:
      import pty, os, sys, termios, time
      master, slave = pty.openpty()
      if sys.argv[1] == "stopped":
          termios.tcflow(slave, termios.TCOOFF)
      else:
          os.set_blocking(slave, False)
          try:
              while True: os.write(slave, b"x" * 7)
          except BlockingIOError: pass
          os.read(master, 20) # room for a part of a line
      print(os.ttyname(slave), flush=True)
      time.sleep(1000)' "$how"
    wait_for 5 test -s "$T/$how.out"
    SERVER="$(into 2 "$(<"$T/$how.out")") $server"
    NAME=$how.server start_server -v
    NAME=$how.server speak
    NAME=$how.server stop_server
  done
}

@test "the log is a stopped or unread terminal: 04 to 08 keep serving; all obey SIGTERM" {
  seen log_on_a_stopped_terminal_costs_no_service
}

stdout_in_a_full_pipe_costs_no_service() {
  full_pipe out
  # shellcheck disable=SC2046
  eval "set -- $(into 1 "$T/out")"
  start_unheard "$@"
  [[ $CHAPTER == 01-* ]] || served
  stop_server
}

@test "stdout is a full pipe: all servers obey SIGTERM, and 02 to 08 keep serving" {
  seen stdout_in_a_full_pipe_costs_no_service
}

# /dev/full: each write fails with ENOSPC (full(4)).
@test "stdout and the log are on a full disk: the server keeps serving" {
  # shellcheck disable=SC2016
  start_unheard bash -c 'exec "$@" >/dev/full 2>&1' bash
  served
  served
  stop_server
}

# setrlimit(2), RLIMIT_FSIZE: a write past the limit sends SIGXFSZ, which ends a program by default.
@test "stdout and the log are at the file size limit (ulimit -f): the server keeps serving" {
  [[ ${SAN-} != *thread* ]] || skip 'ThreadSanitizer writes a file before the program begins'
  # shellcheck disable=SC2016
  start_unheard bash -c 'ulimit -f 0; exec "$@"' bash
  served
  served
  stop_server
}

@test "client: its output is at the file size limit (ulimit -f): it says so and exits 1" {
  local command
  [[ ${SAN-} != *thread* ]] || skip 'ThreadSanitizer writes a file before the program begins'
  start_server
  case $CHAPTER in 07-*) set -- -n ann ;; esac
  eval "command=($CLIENT)"
  # shellcheck disable=SC2016
  run -1 bash -c 'printf "hello\n" | (ulimit -f 0; exec "${@:2}" 2>&1 >"$1") | cat
    exit "${PIPESTATUS[1]}"' bash "$T/replies" \
    timeout "$((CLIENT_WITHIN * PATIENCE))" "${command[@]}" -p "$PORT" "$@"
  assert_output --regexp '^client: stdout: .*EFBIG'
}

# pipe(7): writing to a pipe that nobody reads raises SIGPIPE, whose default is to end the program.
# bats test_tags=kit
@test "client: nobody reads its output any more: it exits 1, and says so" {
  local command
  start_server
  case $CHAPTER in 07-*) set -- -n ann ;; esac
  eval "command=($CLIENT)"
  mkfifo "$T/replies"
  # The only reader leaves before the client begins: <> opens the pipe without waiting for a writer.
  # shellcheck disable=SC2016
  run -1 bash -c 'exec 8<>"$1" 9>"$1" 8<&-
    printf "hello\n" | exec "${@:2}" 2>&1 >&9 9>&-' bash "$T/replies" \
    timeout "$((CLIENT_WITHIN * PATIENCE))" "${command[@]}" -p "$PORT" "$@"
  assert_output --regexp '^client: stdout: .*EPIPE'
}
