# The fault shim bites: every other test that runs under it proves something only because of this.
# What it is to do is written at the top of tests/shim/fault.c.

bats_load_library bats-support
bats_load_library bats-assert
bats_require_minimum_version 1.5.0

ROOT=$(cd "$BATS_TEST_DIRNAME/../.." && pwd)
CHECK=$ROOT/build/helpers/shimcheck

# faulty VAR=VALUE… COMMAND…: run COMMAND under the shim; the shim is not in timeout nor in env.
# A path with a space would be several names in LD_PRELOAD.
faulty() {
  run timeout 10 env LD_LIBRARY_PATH="$ROOT/build" LD_PRELOAD=fault.so "$@"
}

# results LINE: the first line of the last run, and its success.
results() {
  assert_success
  assert_line --index 0 "$1 "
}

# expect VAR=VALUE… KIND CALL COUNT RESULTS
expect() {
  echo "# $*"
  faulty "${@:1:$#-4}" "$CHECK" "${@:$#-3:3}"
  results "${!#}"
}

# elapsed MICROSECONDS: the calls took so long at least. There is no upper bound: machines are busy.
elapsed() {
  local us=${lines[-1]#elapsed_us }
  ((us >= $1)) || fail "took $us microseconds, not $1"
}

# count CALL FIELD: what the report says.
count() {
  sed -n "s/^$1 .*\b$2=\([0-9]*\).*/\1/p" "$BATS_TEST_TMPDIR/report"
}

@test "without a variable the shim changes nothing" {
  expect tcp recv 3 'a b c'
  expect tcp send 2 '20 20'
  expect unix close 3 'ok ok ok'
}

# ---- FAULT_SHORT ----

@test "every kind of write to a stream socket is cut to 1 or 7 bytes, and the right bytes go out" {
  for kind in tcp unix; do
    for call in send sendmsg write writev; do
      expect FAULT_SHORT=1 $kind $call 3 '1 1 1'
      assert_line 'arrived aaa'
      expect FAULT_SHORT=7 $kind $call 2 '7 7'
      assert_line 'arrived abcdefgabcdefg'
    done
  done
  expect FAULT_SHORT=7 tcp sendto 2 '7 7'
  assert_line 'arrived abcdefgabcdefg'
}

@test "a list of buffers is cut inside a buffer and between two buffers" {
  for call in sendmsg writev; do
    expect FAULT_SHORT=3 tcp $call 1 3
    assert_line 'arrived abc'
    expect FAULT_SHORT=5 tcp $call 1 5
    assert_line 'arrived abcde'
    expect FAULT_SHORT=19 tcp $call 1 19
    assert_line 'arrived abcdefghijklmnopqrs'
  done
}

@test "a write within the limit is not cut" {
  for call in send sendto sendmsg write writev; do
    expect FAULT_SHORT=20 tcp $call 2 '20 20'
    assert_line 'arrived abcdefghijklmnopqrstabcdefghijklmnopqrst'
  done
}

@test "reads are not cut" {
  expect FAULT_SHORT=1 unix recv_all 1 16
}

@test "datagrams, files and pipes are not cut" {
  for call in send sendto sendmsg write writev; do
    expect FAULT_SHORT=1 udp $call 2 '20 20'
  done
  for kind in file pipe; do
    expect FAULT_SHORT=1 $kind write 2 '20 20'
    expect FAULT_SHORT=1 $kind writev 2 '20 20'
  done
}

# ---- FAULT_FAIL ----

@test "every third call fails, and no other: a failed call neither loses nor sends a byte" {
  for call in recv recvfrom recvmsg read readv; do
    expect FAULT_FAIL=recv:EINTR:3 tcp $call 7 'a b EINTR c d EINTR e'
  done
  for call in send sendto sendmsg write writev; do
    expect FAULT_FAIL=send:EAGAIN:3 tcp $call 3 '20 20 EAGAIN'
    assert_line 'arrived abcdefghijklmnopqrstabcdefghijklmnopqrst'
  done
}

@test "each name of a fault covers all of its calls" {
  while read -r name error kind calls; do
    for call in $calls; do
      expect "FAULT_FAIL=$name:$error:2" "$kind" "$call" 4 "ok $error ok $error"
    done
  done <<'END'
accept ECONNABORTED listener accept accept4
connect EINTR listener connect
socket EMFILE unix socket
close EINTR unix close
poll EINTR unix poll ppoll
select EINTR unix select pselect
epoll_wait EINTR unix epoll_wait epoll_pwait
epoll_ctl ENOMEM unix epoll_ctl
pthread_create EAGAIN unix pthread_create
malloc ENOMEM unix malloc calloc realloc
END
}

# shimcheck itself ends with exit 3 when a failed close leaves the descriptor open.
@test "a close that fails with EINTR has closed the descriptor" {
  expect FAULT_FAIL=close:EINTR:1 tcp close 3 'EINTR EINTR EINTR'
}

@test "the calls that -D_FORTIFY_SOURCE substitutes are covered too" {
  nm -D "$CHECK" | grep -q __recv_chk || skip "this compiler or libc makes no __recv_chk"
  for call in recv_chk recvfrom_chk read_chk; do
    expect FAULT_FAIL=recv:EINTR:3 tcp $call 4 'a b EINTR c'
  done
  for call in poll_chk ppoll_chk; do
    expect FAULT_FAIL=poll:EINTR:2 unix $call 4 'ok EINTR ok EINTR'
  done
}

@test "the calls that -D_FORTIFY_SOURCE substitutes still stop an overflow" {
  nm -D "$CHECK" | grep -q __recv_chk || skip "this compiler or libc makes no __recv_chk"
  faulty "$CHECK" tcp recv_too_much 1
  assert_failure 134 # SIGABRT
  assert_output --partial 'buffer overflow detected'
}

@test "each error can be asked for, by name or number" {
  for error in EINTR EAGAIN ECONNABORTED EMFILE ENFILE ENOMEM ENOBUFS ENETDOWN EPIPE ECONNRESET \
    EIO ECONNREFUSED ETIMEDOUT; do
    expect FAULT_FAIL=recv:$error:2 tcp recv 3 "a $error b"
  done
  expect FAULT_FAIL=recv:4:2 tcp recv 3 'a EINTR b'
  expect FAULT_FAIL=recv:3999:2 tcp recv 3 'a E3999 b'
}

@test "MAX limits the number of failures" {
  expect FAULT_FAIL=recv:EINTR:2:2 tcp recv 8 'a EINTR b EINTR c d e f'
  expect FAULT_FAIL=recv:EINTR:1:3 tcp recv 5 'EINTR EINTR EINTR a b'
}

@test "@K fails the Kth call once" {
  expect FAULT_FAIL=recv:EIO:@3 tcp recv 9 'a b EIO c d e f g h'
  expect FAULT_FAIL=accept:EMFILE:@1 listener accept 3 'EMFILE ok ok'
}

@test "FAULT_AFTER=listen: calls before listen, or without any listen, are not counted" {
  expect FAULT_AFTER=listen FAULT_FAIL=recv:EIO:@2 tcp recv 3 'a EIO b'
  expect FAULT_AFTER=listen FAULT_SHORT=7 FAULT_FAIL=send:EIO:1 unix send 2 '20 20'
  expect FAULT_AFTER=listen FAULT_FAIL=socket:EMFILE:1 tcp recv 1 a # all are made before it listens
}

@test "several entries work, for the same call and for different ones" {
  local faults=FAULT_FAIL=recv:EINTR:2,send:EIO:@30,recv:ECONNRESET:@3 # send: 26 letters, no more
  expect $faults tcp recv 5 'a EINTR ECONNRESET EINTR b'
  faults=FAULT_FAIL=recv:EINTR:@9,send:EIO:@2,send:EPIPE:@1
  expect $faults tcp send 3 'EPIPE EIO 20'
}

@test "calls on files and pipes are not affected" {
  for kind in file pipe; do
    expect FAULT_FAIL=recv:EIO:1,send:EIO:1 $kind read 3 'a b c'
    expect FAULT_FAIL=recv:EIO:1,send:EIO:1 $kind readv 3 'a b c'
    expect FAULT_FAIL=recv:EIO:1,send:EIO:1 $kind write 2 '20 20'
    expect FAULT_FAIL=recv:EIO:1,send:EIO:1 $kind writev 2 '20 20'
    expect FAULT_FAIL=close:EIO:1 $kind close 2 'ok ok'
  done
}

@test "a shell around the program is not affected" {
  faulty bash -c :
  [[ $output != *"loading shared libraries"* ]] ||
    skip "the shim is built for another libc than the shell"
  # shellcheck disable=SC2016
  faulty FAULT_SHORT=1 FAULT_FAIL=recv:EIO:1,send:EIO:1,close:EINTR:1,accept:EIO:1,connect:EIO:1 \
    bash -c 'read -r line <<<"from a file"; echo "$line" | cat; echo "$(echo deep)"; exit 3'
  assert_failure 3
  assert_output $'from a file\ndeep'
}

# Four threads, 50,000 calls each: a count that is not atomic loses some.
@test "the calls of all threads are counted together, to the last one" {
  faulty FAULT_FAIL=poll:EINTR:1 FAULT_REPORT="$BATS_TEST_TMPDIR/report" "$CHECK" unix threads 1
  results 200000
  assert_equal "$(count poll calls) $(count poll failed)" '200000 200000'
  expect FAULT_FAIL=poll:EINTR:1:150000 unix threads 1 150000
}

# ---- FAULT_DELAY ----

@test "a delay precedes each call" {
  while read -r name kind call; do
    echo "# $name $call"
    faulty "FAULT_DELAY=$name:20000" "$CHECK" "$kind" "$call" 3
    assert_success
    refute_output --partial E
    elapsed 60000
  done <<'END'
pthread_mutex_lock unix pthread_mutex_lock
pthread_cond_wait unix pthread_cond_wait
pthread_cond_signal unix pthread_cond_signal
pthread_create unix pthread_create
recv tcp recv
recv tcp read
send tcp send
send tcp writev
accept listener accept
connect listener connect
close unix close
poll unix poll
select unix select
epoll_wait unix epoll_wait
epoll_ctl unix epoll_ctl
malloc unix malloc
socket unix socket
END
}

@test "a delay and a failure can be asked for the same call" {
  faulty FAULT_DELAY=recv:20000,poll:1 FAULT_FAIL=recv:EINTR:2 "$CHECK" tcp recv 3
  results 'a EINTR b'
  elapsed 60000
}

@test "a delay of more than a second works" {
  faulty FAULT_DELAY=poll:1100000 "$CHECK" unix poll 1
  results ok
  elapsed 1100000
}

# ---- FAULT_SIGNAL ----

# shimcheck has no handlers, so the signal ends it: the calls before that have been made.
@test "a signal comes before the Kth call, by name or number" {
  for signal in SIGTERM 15; do
    expect "FAULT_SIGNAL=select:$signal:@2" unix select 1 ok
    faulty "FAULT_SIGNAL=select:$signal:@2" "$CHECK" unix select 2
    assert_failure 143
  done
  faulty FAULT_SIGNAL=poll:SIGUSR1:@9,select:SIGHUP:@1 "$CHECK" unix pselect 1
  assert_failure 129
}

@test "the call that a signal precedes is made, and can also fail" {
  # shellcheck disable=SC2016
  local ignoring=(bash -c 'trap "" TERM; exec "$@"' bash "$CHECK" unix select 3)
  faulty FAULT_SIGNAL=select:SIGTERM:@2 "${ignoring[@]}"
  results 'ok ok ok'
  faulty FAULT_SIGNAL=select:SIGTERM:@2 FAULT_FAIL=select:EINTR:2 "${ignoring[@]}"
  results 'ok EINTR ok'
}

# alarm(2) returns how many seconds were left.
@test "an alarm that fails is not set" {
  command -v python3 >/dev/null || skip 'python3 is missing: make setup installs it'
  local program='import signal; print(signal.alarm(100), signal.alarm(0))'
  faulty python3 -c "$program"
  assert_output '0 100'
  faulty FAULT_FAIL=alarm:EINVAL:@1 python3 -c "$program"
  assert_output '0 0'
}

# ---- FAULT_REPORT ----

@test "the report counts calls, failures and cut writes, and is appended to" {
  local report=$BATS_TEST_TMPDIR/report
  echo before >"$report"
  faulty FAULT_REPORT="$report" FAULT_SHORT=7 FAULT_FAIL=send:EINTR:3 "$CHECK" tcp send 7
  results '7 7 EINTR 7 7 EINTR 7'
  run cat "$report"
  assert_line --index 0 before
  assert_line 'send calls=7 failed=2 shortened=5'
  assert_line 'recv calls=2 failed=0 shortened=0' # shimcheck's own, to see what arrived
  assert_line 'accept calls=1 failed=0 shortened=0'
  assert_line 'pthread_cond_wait calls=0 failed=0 shortened=0'
  assert_equal "${#lines[@]}" 17 # before, and the sixteen names
  faulty FAULT_REPORT="$report" "$CHECK" tcp send 1
  assert_equal "$(count send calls | paste -sd+)" '7+1'
}

@test "the report uses no descriptor while the program runs" {
  faulty "$CHECK" unix next_fd 1
  assert_success
  local without=${lines[0]}
  faulty FAULT_REPORT="$BATS_TEST_TMPDIR/report" "$CHECK" unix next_fd 1
  results "${without% }"
}

# ---- what cannot be understood ----

@test "FAULT_HOST: a name has these addresses, in this order; other names are not affected" {
  command -v python3 >/dev/null || skip 'python3 is missing: make setup installs it'
  faulty FAULT_HOST=two.test,127.0.0.9,::1,127.0.0.1 python3 -c 'if True:
    import socket
    for name in "two.test", "127.0.0.5":
        print(*(a[4][0] for a in socket.getaddrinfo(name, 80, type=socket.SOCK_STREAM)))'
  assert_output $'127.0.0.9 ::1 127.0.0.1\n127.0.0.5'
}

@test "FAULT_SELF: an IPv4 socket is connected to itself" {
  command -v python3 >/dev/null || skip 'python3 is missing: make setup installs it'
  faulty FAULT_SELF=1 python3 -c 'if True:
    import socket
    s = socket.socket()
    s.bind(("127.0.0.1", 0))
    port = s.getsockname()[1]
    s.close()
    s = socket.create_connection(("127.0.0.1", port))
    print(s.getsockname() == s.getpeername())'
  assert_output True
}

@test "FAULT_USER: SO_PEERCRED reports another user" {
  command -v python3 >/dev/null || skip 'python3 is missing: make setup installs it'
  local program='import os, socket, struct
a, b = socket.socketpair()
pid, uid, gid = struct.unpack("3I", a.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
print(pid == os.getpid(), uid - os.getuid(), gid == os.getgid())'
  faulty python3 -c "$program"
  assert_output 'True 0 True'
  faulty FAULT_USER=1 python3 -c "$program"
  assert_output 'True 1 True'
}

# ---- FAULT_PORT ----

# Binds the port 9001, and says which port it got; connects to 9001; sends a datagram to 9002.
# usage: python3 -c "$ports"
ports='if True:
    import socket, sys
    stream = socket.socket()
    stream.bind(("127.0.0.1", 9001))
    stream.listen()
    port = stream.getsockname()[1]
    datagrams = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    datagrams.bind(("::1", 0))
    print(port, open(sys.argv[1]).read().strip())
    for target in 9001, 9008:
        client = socket.socket()
        print(client.connect_ex(("127.0.0.1", target)) == 0)
    stream.close()
    receiver = socket.socket(type=socket.SOCK_DGRAM)
    receiver.bind(("127.0.0.1", 9002))
    receiver.sendto(b"a datagram", ("127.0.0.1", 9002))
    receiver.settimeout(5)
    print(receiver.recv(100))
    try:
        receiver.sendto(b"another", ("127.0.0.1", 8999))
        print("sent")
    except OSError as e:
        print(e)'

@test "FAULT_PORT: bind, connect and sendto go to that port, and the file says which it is" {
  command -v python3 >/dev/null || skip 'no python3'
  local port file="$BATS_TEST_TMPDIR/a port, or two"
  port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0))
print(s.getsockname()[1])')
  faulty FAULT_PORT="$port,$file" python3 -c "$ports" "$file"
  assert_output "$port $port
True
True
b'a datagram'
sent"
}

@test "FAULT_PORT=0: each bind gets a free port, which the file says; connect is as it was" {
  command -v python3 >/dev/null || skip 'no python3'
  faulty FAULT_PORT="0,$BATS_TEST_TMPDIR/port" python3 -c 'if True:
    import socket, sys
    found = set()
    for family, host in (socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1"):
        s = socket.socket(family)
        try:
            s.bind((host, 9001))
        except OSError:
            continue # no IPv6 here
        s.listen()
        port = s.getsockname()[1]
        print(port != 9001 and port not in found, port == int(open(sys.argv[1]).read()),
              socket.create_connection((host, port)) and "connected")
        found.add(port)' "$BATS_TEST_TMPDIR/port"
  assert_line --index 0 'True True connected'
  refute_output --partial False
}

@test "a variable that cannot be understood ends the program at its start" {
  while read -r variable; do
    faulty "$variable" "$CHECK" tcp recv 1
    echo "# $variable"
    assert_failure 2
    assert_output --partial "fault: $variable: "
    assert_equal "${#lines[@]}" 1 # the program itself did not run
  done <<END
FAULT_SHORT=
FAULT_SHORT=0
FAULT_SHORT=-1
FAULT_SHORT=+1
FAULT_SHORT=7x
FAULT_SHORT=0x7
FAULT_SHORT=99999999999999999999
FAULT_FAIL=
FAULT_FAIL=recv
FAULT_FAIL=recv:EINTR
FAULT_FAIL=recv:EINTR:
FAULT_FAIL=recv::1
FAULT_FAIL=:EINTR:1
FAULT_FAIL=recv:EINTR:0
FAULT_FAIL=recv:EINTR:-1
FAULT_FAIL=recv:EINTR:2:
FAULT_FAIL=recv:EINTR:2:0
FAULT_FAIL=recv:EINTR:2:3:4
FAULT_FAIL=recv:EINTR:@
FAULT_FAIL=recv:EINTR:@0
FAULT_FAIL=recv:EINTR:@2:3
FAULT_FAIL=recv:EINTR:2,
FAULT_AFTER=
FAULT_AFTER=bind
FAULT_FAIL=,recv:EINTR:2
FAULT_FAIL=recv:EINTR:2;send:EINTR:2
FAULT_FAIL=recv:EWHAT:1
FAULT_FAIL=recv:eintr:1
FAULT_FAIL=recv:0:1
FAULT_FAIL=recv:4096:1
FAULT_FAIL=receive:EINTR:1
FAULT_FAIL=malloc:EINTR:1
FAULT_FAIL=pthread_mutex_lock:EINTR:1
FAULT_FAIL=$(printf 'recv:EINTR:1,%.0s' {1..32})recv:EINTR:1
FAULT_FAIL=$(printf '0%.0s' {1..2000})
FAULT_DELAY=
FAULT_DELAY=recv
FAULT_DELAY=recv:
FAULT_DELAY=recv:0
FAULT_DELAY=recv:5ms
FAULT_DELAY=recv:5:6
FAULT_DELAY=recv:5,recv:6
FAULT_DELAY=receive:5
FAULT_SIGNAL=
FAULT_SIGNAL=select:SIGTERM
FAULT_SIGNAL=select:SIGTERM:1
FAULT_SIGNAL=select:SIGTERM:@0
FAULT_SIGNAL=select:TERM:@1
FAULT_SIGNAL=select:0:@1
FAULT_SIGNAL=select:999:@1
FAULT_SIGNAL=selected:SIGTERM:@1
FAULT_SIGNAL=$(printf 'poll:SIGHUP:@1,%.0s' {1..8})poll:SIGHUP:@1
FAULT_HOST=
FAULT_HOST=name
FAULT_HOST=name,1,2,3,4,5
FAULT_PORT=
FAULT_PORT=x
FAULT_PORT=65536
FAULT_PORT=1234567890,file
FAULT_REPORT=
FAULT_REPORT=/nonexistent/directory/file
END
}

# ---- beside a sanitizer ----

# sanitized KIND: builds $PROGRAM with -fsanitize=KIND, or skips the test.
sanitized() {
  PROGRAM=$BATS_TEST_TMPDIR/check
  if ! "${CC:-cc}" -std=c11 -g "-fsanitize=$1" "$ROOT/tests/helpers/shimcheck.c" -o "$PROGRAM" \
    -pthread || ! "$PROGRAM" tcp recv 1; then
    skip "${CC:-cc} -fsanitize=$1 does not work here"
  fi
}

@test "the shim works in a program built with AddressSanitizer" {
  sanitized address
  export ASAN_OPTIONS=verify_asan_link_order=0
  CHECK=$PROGRAM
  expect FAULT_SHORT=7 tcp send 2 '7 7'
  expect FAULT_FAIL=recv:EINTR:2 tcp recv 3 'a EINTR b'
  expect unix malloc 3 'ok ok ok'
}

# ThreadSanitizer must still see every lock and wait, or it reports what is none.
@test "the shim works in a program built with ThreadSanitizer" {
  sanitized thread
  CHECK=$PROGRAM
  expect FAULT_SHORT=7 tcp send 2 '7 7'
  expect FAULT_DELAY=pthread_mutex_lock:1000 unix pthread_cond_wait 3 'ok ok ok'
}
