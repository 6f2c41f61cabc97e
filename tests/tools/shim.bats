# The fault shim bites: every other test that runs under it proves something only because of this.
# What it is to do is written at the top of tests/shim/fault.c.

bats_load_library bats-support
bats_load_library bats-assert
bats_require_minimum_version 1.5.0

ROOT=$(cd "$BATS_TEST_DIRNAME/../.." && pwd)
CHECK=$ROOT/build/helpers/shimcheck

# faulty VAR=VALUE… COMMAND…: run COMMAND under the shim; the shim is not in timeout nor in env.
faulty() {
  run timeout 10 env LD_PRELOAD="$ROOT/build/fault.so" "$@"
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

@test "without a variable nothing changes" {
  expect tcp recv 3 'a b c'
  expect tcp send 2 '20 20'
  expect unix close 3 'ok ok ok'
}

# ---- FAULT_SHORT ----

@test "each kind of write to a stream socket is cut at 1 and at 7 bytes; the right bytes go out" {
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

@test "a list of buffers is cut inside a buffer, and between two of them" {
  for call in sendmsg writev; do
    expect FAULT_SHORT=3 tcp $call 1 3
    assert_line 'arrived abc'
    expect FAULT_SHORT=5 tcp $call 1 5
    assert_line 'arrived abcde'
    expect FAULT_SHORT=19 tcp $call 1 19
    assert_line 'arrived abcdefghijklmnopqrs'
  done
}

@test "a write that is not over the limit goes out whole" {
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

@test "every third call fails, and only that: no byte is lost or sent by a call that failed" {
  for call in recv recvfrom recvmsg read readv; do
    expect FAULT_FAIL=recv:EINTR:3 tcp $call 7 'a b EINTR c d EINTR e'
  done
  for call in send sendto sendmsg write writev; do
    expect FAULT_FAIL=send:EAGAIN:3 tcp $call 3 '20 20 EAGAIN'
    assert_line 'arrived abcdefghijklmnopqrstabcdefghijklmnopqrst'
  done
}

@test "each name covers all of its calls" {
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
@test "a close that fails with EINTR has closed" {
  expect FAULT_FAIL=close:EINTR:1 tcp close 3 'EINTR EINTR EINTR'
}

@test "the calls that -D_FORTIFY_SOURCE makes are seen too" {
  nm -D "$CHECK" | grep -q __recv_chk || skip "this compiler or libc makes no __recv_chk"
  for call in recv_chk recvfrom_chk read_chk; do
    expect FAULT_FAIL=recv:EINTR:3 tcp $call 4 'a b EINTR c'
  done
  for call in poll_chk ppoll_chk; do
    expect FAULT_FAIL=poll:EINTR:2 unix $call 4 'ok EINTR ok EINTR'
  done
}

@test "and still stop an overflow" {
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

@test "MAX ends it" {
  expect FAULT_FAIL=recv:EINTR:2:2 tcp recv 8 'a EINTR b EINTR c d e f'
  expect FAULT_FAIL=recv:EINTR:1:3 tcp recv 5 'EINTR EINTR EINTR a b'
}

@test "@K fails the Kth call once" {
  expect FAULT_FAIL=recv:EIO:@3 tcp recv 9 'a b EIO c d e f g h'
  expect FAULT_FAIL=accept:EMFILE:@1 listener accept 3 'EMFILE ok ok'
}

@test "several entries, for one call and for others" {
  local faults=FAULT_FAIL=recv:EINTR:2,send:EIO:@30,recv:ECONNRESET:@3 # send: 26 letters, no more
  expect $faults tcp recv 5 'a EINTR ECONNRESET EINTR b'
  faults=FAULT_FAIL=recv:EINTR:@9,send:EIO:@2,send:EPIPE:@1
  expect $faults tcp send 3 'EPIPE EIO 20'
}

@test "calls on files and pipes are left alone" {
  for kind in file pipe; do
    expect FAULT_FAIL=recv:EIO:1,send:EIO:1 $kind read 3 'a b c'
    expect FAULT_FAIL=recv:EIO:1,send:EIO:1 $kind readv 3 'a b c'
    expect FAULT_FAIL=recv:EIO:1,send:EIO:1 $kind write 2 '20 20'
    expect FAULT_FAIL=recv:EIO:1,send:EIO:1 $kind writev 2 '20 20'
    expect FAULT_FAIL=close:EIO:1 $kind close 2 'ok ok'
  done
}

@test "a shell around the program does not notice" {
  [[ $(LD_PRELOAD=$ROOT/build/fault.so bash -c : 2>&1) != *"loading shared libraries"* ]] ||
    skip "the shim is built for another libc than the shell"
  # shellcheck disable=SC2016
  faulty FAULT_SHORT=1 FAULT_FAIL=recv:EIO:1,send:EIO:1,close:EINTR:1,accept:EIO:1,connect:EIO:1 \
    bash -c 'read -r line <<<"from a file"; echo "$line" | cat; echo "$(echo deep)"; exit 3'
  assert_failure 3
  assert_output $'from a file\ndeep'
}

# Four threads, 50,000 calls each: a count that is not atomic loses some.
@test "threads are counted together, to the last call" {
  faulty FAULT_FAIL=poll:EINTR:1 FAULT_REPORT="$BATS_TEST_TMPDIR/report" "$CHECK" unix threads 1
  results 200000
  assert_equal "$(count poll calls) $(count poll failed)" '200000 200000'
  expect FAULT_FAIL=poll:EINTR:1:150000 unix threads 1 150000
}

# ---- FAULT_DELAY ----

@test "a delay comes before each call" {
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

@test "a delay and a failure of the same call" {
  faulty FAULT_DELAY=recv:20000,poll:1 FAULT_FAIL=recv:EINTR:2 "$CHECK" tcp recv 3
  results 'a EINTR b'
  elapsed 60000
}

@test "a delay of more than a second is one" {
  faulty FAULT_DELAY=poll:1100000 "$CHECK" unix poll 1
  results ok
  elapsed 1100000
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
  assert_equal "${#lines[@]}" 16 # before, and the fifteen names
  faulty FAULT_REPORT="$report" "$CHECK" tcp send 1
  assert_equal "$(count send calls | paste -sd+)" '7+1'
}

@test "the report takes no descriptor while the program runs" {
  faulty "$CHECK" unix next_fd 1
  assert_success
  local without=${lines[0]}
  faulty FAULT_REPORT="$BATS_TEST_TMPDIR/report" "$CHECK" unix next_fd 1
  results "${without% }"
}

# ---- what cannot be understood ----

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

@test "works in a program built with AddressSanitizer" {
  sanitized address
  export ASAN_OPTIONS=verify_asan_link_order=0
  CHECK=$PROGRAM
  expect FAULT_SHORT=7 tcp send 2 '7 7'
  expect FAULT_FAIL=recv:EINTR:2 tcp recv 3 'a EINTR b'
  expect unix malloc 3 'ok ok ok'
}

# ThreadSanitizer must still see every lock and wait, or it reports what is none.
@test "works in a program built with ThreadSanitizer" {
  sanitized thread
  CHECK=$PROGRAM
  expect FAULT_SHORT=7 tcp send 2 '7 7'
  expect FAULT_DELAY=pthread_mutex_lock:1000 unix pthread_cond_wait 3 'ok ok ok'
}
