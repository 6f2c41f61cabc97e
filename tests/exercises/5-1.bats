# 5-1, the line service with poll: as many clients as there are descriptors.
# bats file_tags=5-1

CHAPTER=05-select
load ../helpers/common

FD_SETSIZE=1024 # select(2)

# start_high: a server that inherits so many open files that its own are above those of an fd_set.
start_high() {
  need_descriptors $((FD_SETSIZE + 100))
  local opened
  opened=$(printf 'exec %d</dev/null; ' $(seq 10 $((FD_SETSIZE + 10))))
  SERVER="bash -c 'ulimit -Sn $((FD_SETSIZE + 100)); exec 3</dev/null 4<&3 5<&3 6<&3 7<&3 8<&3 9<&3
    $opened exec \"\$@\"' bash $SERVER"
  ASAN_OPTIONS=detect_leaks=0 start_server # it would need a descriptor more
}

has_fds() {
  (($(fds "$SERVER_PID") == $1))
}

# happened CALL FIELD: how often, by the report that the fault shim writes when the server ends.
happened() {
  sed -n "s/^$1 .*\b$2=\([0-9]*\).*/\1/p" "$T/report" | awk '{ sum += $1 } END { print sum + 0 }'
}

# lines_of NAME LINE: how many such lines that peer has received.
lines_of() {
  grep -cx -- "$2" "$T/$1.out" || true
}

# poll(2): the array has as many members as nfds says.
@test "1,100 clients at once: each is served, and none is refused" {
  need_descriptors 1200
  start_server
  start_peer -n 1100 "$PORT" send:'hello\n' line ready:"$T/here" until:"$T/go" \
    send:'still here\n' line
  wait_for 10 test -e "$T/here"
  assert_equal "$(lines_of peer +hello) served" '1100 served'
  touch "$T/go"
  finish_peer
  assert_equal "$(lines_of peer '+still here') served" '1100 served'
}

@test "a listening socket whose descriptor is above 1,023 accepts clients" {
  start_high
  receives '+hello\n' send:'hello\n' half-close eof
}

# poll(2): POLLOUT. The rest of a reply waits until there is room.
@test "descriptors above 1,023: slow and fast readers get their replies byte for byte" {
  start_high
  seq 1000000 1199999 >"$T/sent" # 1.6 MB, at 4 MB a second
  sed 's/^/+/' "$T/sent" >"$T/expected"
  start_peer -b 4096 "$PORT" echo:"$T/sent":4000
  run "$PEER" -t 5 -n 20 "$PORT" lines:500 lines-back:500 half-close eof
  ((status == 0)) || complain "$output"
  finish_peer
  same_bytes "$T/expected" "$T/peer.out"
}

# poll(2): POLLERR and POLLHUP come unasked, and for ever as long as nothing is done about them.
@test "descriptors above 1,023: clients that close, reset or never read leave nothing behind" {
  local before
  start_high
  before=$(fds "$SERVER_PID")
  "$PEER" -r 20 -n 5 "$PORT" send:'hello\nhalf a line' reset
  "$PEER" -r 10 -n 5 "$PORT" lines:100 gone
  start_peer -b 4096 "$PORT" fill:20000000:'\n'
  sleep 0.2
  kill -KILL "$PEER_PID"
  assert_serving
  wait_for 3 has_fds "$before" || complain "$before descriptors before, $(fds "$SERVER_PID") now"
}

# bats test_tags=kit
@test "the server waits in poll, and answers every line in spite of EINTR and EAGAIN" {
  FAULT_ENV="FAULT_REPORT=$T/report FAULT_SHORT=50 FAULT_FAIL=poll:EINTR:3,accept:EAGAIN:2,\
accept:EINTR:3,recv:EAGAIN:2,recv:EINTR:3,send:EAGAIN:2,send:EINTR:3" start_server
  run "$PEER" -t 5 -n 20 "$PORT" lines:100 lines-back:100 half-close eof
  ((status == 0)) || complain "$output"
  stop_server
  (($(happened select calls) == 0)) || complain 'select has been called'
  (($(happened poll failed) > 15)) || complain "poll: EINTR only $(happened poll failed) times"
}
