# What takes too long for `make test`, or needs tools that only few readers have: chapter 02 under
# valgrind, and with random errors. `make soak` runs it.

CHAPTER=02-udp
load ../helpers/common

# fiu-run(1) lets one in twenty of all network calls fail, each time with another error.
@test "random errors of network calls lose datagrams, never the server" {
  need fiu-run
  [[ -z ${SAN-} ]] || skip "fiu's preload library crashes what a sanitizer has instrumented"
  local NAME
  SERVER="fiu-run -x -c 'enable_random name=posix/io/net/*,probability=0.05' $SERVER"
  for NAME in first second third fourth fifth; do
    start_server 2>/dev/null && break
    stop_server 1 0 # at its start it may give up, and then it says so
  done
  seq 100 >"$T/messages"
  client -t 5 -r 20 <"$T/messages" >"$T/answers"
  same_bytes "$T/messages" "$T/answers"
  stop_server
}

# valgrind(1)
@test "valgrind finds nothing: no bad access, no leak, no descriptor left open" {
  local valgrind='valgrind -q --leak-check=full --show-leak-kinds=all --track-fds=yes'
  need_valgrind
  START_WITHIN=20 STOP_WITHIN=20 SERVER="$valgrind --error-exitcode=99 $SERVER"
  start_server -v -x 10 -d 10
  head -c 65507 /dev/urandom >"$T/large"
  "$PEER" -u "$PORT" send: file:"$T/large" send:'hello\n' close
  eval "start_tool client $valgrind $CLIENT -r 20 -p $PORT hello '' bye"
  NAME=client finish_peer
  stop_server
  grep -h '^==' "$T"/{server,client}.err |
    sed -E '/^==[0-9]+== *$/d; /FILE DESCRIPTORS: 3 open/d' >"$T/found"
  assert_equal "$(<"$T/found")" ''
}
