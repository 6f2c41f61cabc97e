# 7-1, the chat room with a thread for each client: what threads get wrong when they share a room.
# bats file_tags=7-1

CHAPTER=07-chat
load ../helpers/common
load ../helpers/chat

teardown() {
  all_leave
  common_teardown
}

threads() {
  set -- "/proc/$SERVER_PID/task"/*
  echo $#
}

at_most_threads() {
  (($(threads) <= $1))
}

# Lines of /proc/PID/maps: a stack that nobody takes back stays there; pthread_create(3), NOTES.
mappings() {
  wc -l <"/proc/$SERVER_PID/maps"
}

# somebody_came: the first client may leave something behind, such as a thread not joined yet.
somebody_came() {
  assert_serving
  sleep 0.2
}

# pthread_create(3)
@test "ten members have a thread each, and none of these is left when they have gone" {
  local before name
  start_server
  somebody_came
  before=$(threads)
  join m{1..10}
  (($(threads) >= before + 10)) ||
    complain "$before threads without a member, $(threads) with ten of them"
  says m1 hello
  hears m10 'm1: hello'
  for name in m{1..10}; do
    leaves "$name"
  done
  wait_for 5 at_most_threads "$before" || complain "$before threads before, $(threads) after"
}

# pthread_join(3), pthread_detach(3): an ended thread keeps its stack until somebody joins it.
@test "after 300 members came and went, no thread, no stack and no descriptor is left" {
  local fds threads maps
  start_server -r 0
  "$PEER" -n 20 "$PORT" send:'bob\n' line close
  somebody_came
  fds=$(fds "$SERVER_PID") threads=$(threads) maps=$(mappings)
  "$PEER" -r 100 "$PORT" send:'bob\nhello\n' line close
  "$PEER" -r 20 -n 5 "$PORT" send:'bob\nhello\nhalf a line' reset
  "$PEER" -r 100 "$PORT" close
  wait_for 5 has_fds "$fds"
  wait_for 5 at_most_threads "$threads"
  (($(mappings) < maps + 100)) || complain "$maps mappings before, $(mappings) after"
}

# Checking that a name is free and taking it must be one step. The delays expose a server that makes
# two steps of it.
@test "a name that forty clients ask for at the same time is given to only one of them" {
  local i
  FAULT_ENV='FAULT_DELAY=pthread_mutex_lock:300' start_server
  for i in {1..3}; do
    "$PEER" -n 40 "$PORT" send:"twin$i\n" line >"$T/heard"
    (($(grep -cx "+welcome twin$i, here: .*twin$i" "$T/heard") == 1 &&
      $(grep -c "^-name twin$i: " "$T/heard") == 39)) ||
      complain "of forty, these were the answers:" "$(sort "$T/heard" | uniq -c)"
  done
}

# bats test_tags=kit
@test "-m 10, and forty clients come at once: thirty are told that the room is full" {
  local i
  for i in 1 2; do
    NAME=server$i
    FAULT_ENV='FAULT_DELAY=pthread_mutex_lock:300' start_server -m 10
    "$PEER" -n 40 "$PORT" send:"twin\n" line >"$T/heard"
    (($(grep -cx -- '-the room is full (10)' "$T/heard") == 30)) ||
      complain "of forty, these were the answers:" "$(sort "$T/heard" | uniq -c)"
    stop_server
  done
}

# listens NAME: what it hears goes into $T/NAME, from now on.
listens() {
  timeout 20 cat <&"${MEMBERS[$1]}" >"$T/$1" 3>&- &
}

# Members that leave are in the list over which a speaker walks. The delays let them leave then.
@test "hundreds come and go while a member speaks: the others get every line in order" {
  local i
  FAULT_ENV='FAULT_DELAY=send:100' start_server -r 0
  join ann eve
  listens ann
  listens eve
  start_tool resets "$PEER" -r 1000 -n 9 "$PORT" send:'bob\nb2\nb3\nhello\nhalf a line' reset
  start_tool closes "$PEER" -r 1000 -n 9 "$PORT" send:'tom\nt2\nt3\nhello\n' line close
  for i in {1..25}; do
    says ann "line $i"
    sleep 0.03
  done
  wait_for 10 grep -qx 'ann: line 25' "$T/eve"
  grep '^ann: ' "$T/eve" >"$T/heard"
  printf 'ann: line %d\n' {1..25} >"$T/said"
  same_bytes "$T/said" "$T/heard"
  says ann /quit
  wait_for 10 grep -qx '\* ann left' "$T/eve"
}

# A thread that waits in send for that member waits for ever, unless it is woken: shutdown(2).
# bats test_tags=kit
@test "a member that does not read is dropped, its thread ends, and the others lose nothing" {
  local before
  start_server -r 0
  join ann bob
  before=$(threads)
  listens bob
  NAME=mute start_peer -t 120 -b 4096 "$PORT" send:'mute\n' line ready:"$T/here" silent
  wait_for 5 test -e "$T/here"
  printf 'ann: %02000d\n' {1..600} >"$T/said"
  sed 's/^ann: //' "$T/said" >"$T/lines"
  timeout 30 cat "$T/lines" >&"${MEMBERS[ann]}" 3>&- &
  wait_for 20 grep -qx '\* mute left (too slow)' "$T/bob"
  wait_for 5 at_most_threads "$before" ||
    complain "$before threads without it, $(threads) after it was dropped"
  wait "$!"
  says ann 'the end'
  wait_for 10 grep -qx 'ann: the end' "$T/bob"
  grep '^ann: 0' "$T/bob" >"$T/heard"
  same_bytes "$T/said" "$T/heard"
}

# signal(7), "Interruption of system calls"; send(2): it may take less than it was given.
# bats test_tags=kit
@test "EINTR at every call that waits, and short writes: no line is lost, duplicated or mixed" {
  local limit
  for limit in 1 7; do
    rm -f "$T/report"
    NAME=server$limit
    FAULT_ENV="FAULT_REPORT=$T/report FAULT_SHORT=$limit FAULT_FAIL=poll:EINTR:3,\
accept:ECONNABORTED:4,accept:EINTR:3,recv:EINTR:3,send:EINTR:3" \
      start_server -r 0
    "$CROWD" "$PORT" talk 5 8 $((limit * 30))
    "$CROWD" "$PORT" reset 20
    stop_server
    (($(happened recv failed) > 10 && $(happened send failed) > 10))
  done
}

# pthread_create(3), EAGAIN: this ends when others have left.
@test "a thread cannot be started: members notice nothing, and the next client waits" {
  FAULT_ENV="FAULT_REPORT=$T/report FAULT_FAIL=pthread_create:EAGAIN:3" start_server
  join ann
  run "$PEER" -t 10 -r 10 "$PORT" send:'bob\nhello\n' line half-close eof
  ((status == 0)) || complain "somebody was not served: $output"
  for _ in {1..10}; do
    hears ann '* bob joined' 'bob: hello' '* bob left'
  done
  stop_server
  grep -Eq '^pthread_create .*failed=[1-9]' "$T/report" || [[ $GUEST ]] ||
    complain 'pthread_create was not called, or it did not fail'
}

# Some wait in recv, some for a name, one in send, one because of its pace.
# bats test_tags=kit
@test "SIGTERM with 50 threads, whatever each waits for: all are joined, exit 0 within 2 s" {
  start_server
  join m{1..10}
  NAME=mute start_peer -b 4096 "$PORT" send:'mute\n' line ready:"$T/mute" silent
  hears m1 '* mute joined'
  start_tool talker "$PEER" "$PORT" send:'talker\n' line flood:20
  hears m1 '* talker joined'
  NAME=door start_peer -n 40 "$PORT" ready:"$T/door" silent
  wait_for 5 test -e "$T/door"
  kill "$SERVER_PID"
  while next_line m1 && [[ $HEARD != '* server is closing' ]]; do :; done
  is_closed m1
  stop_server 0 0
}

# ppoll(2) and accept(2) return at once, and let no signal in, while clients come without a pause.
# bats test_tags=kit
@test "SIGTERM while clients connect without a pause: exit 0 within 2 s" {
  FAULT_ENV='FAULT_DELAY=accept:1000' start_server
  NAME=first start_peer -r 10000 -n 9 "$PORT" send:'bob\n' close
  NAME=second start_peer -r 10000 -n 9 "$PORT" send:'eve\n' reset
  wait_for 5 eval 'running "${TOOLS[first]}" && (($(threads) > 2))' || true
  sleep 0.3
  stop_server
}
