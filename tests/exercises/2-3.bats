# 2-3, a file over UDP: server -f FILE, client -f.
# bats file_tags=2-3

# shellcheck disable=SC2154 # run --separate-stderr sets stderr
CHAPTER=02-udp
load ../helpers/common

# file BYTES: $T/file, with so many.
file() {
  head -c "$1" /dev/urandom >"$T/file"
}

# request FILE NUMBER [BYTES]: a request for that chunk; it should have 1,032 bytes.
request() {
  local hex
  printf -v hex %08x "$2"
  { printf %b "run!\x${hex:0:2}\x${hex:2:2}\x${hex:4:2}\x${hex:6}" && head -c 70000 /dev/zero; } |
    head -c "${3:-1032}" >"$1"
}

# answered NUMBER [NUMBER…]: the answers to these requests are these chunks of $T/file.
answered() {
  local number script=()
  : >"$T/expected"
  for number; do
    request "$T/request.$number" "$number"
    script+=(file:"$T/request.$number" within:2000:recv)
    head -c 8 "$T/request.$number" >>"$T/expected"
    tail -c "+$((number * 1024 + 1))" "$T/file" | head -c 1024 >>"$T/expected"
  done
  "$PEER" -u "$PORT" "${script[@]}" >"$T/received" || true
  same_bytes "$T/expected" "$T/received"
}

# fetched CLIENT_OPTION…: the client gets $T/file as it is.
fetched() {
  client -f "$@" >"$T/fetched" 2>"$T/summary" || cat "$T/summary"
  same_bytes "$T/file" "$T/fetched"
}

# start_liar CODE [ARGUMENT…]: a server in Python that does this with each request. It can say
# right(number), the true answer, and send(data).
start_liar() {
  need python3
  start_tool liar timeout $((20 * PATIENCE)) python3 -c "
import socket, sys, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(('127.0.0.1', 0))
print('listening on 127.0.0.1:%d' % s.getsockname()[1], flush=True)
content = open(sys.argv[1], 'rb').read()
asked = []
def right(number):
    return run + number.to_bytes(4, 'big') + content[number * 1024:][:1024]
def send(data, socket=s):
    socket.sendto(data, client)
while True:
    data, client = s.recvfrom(70000)
    run, number = data[:4], int.from_bytes(data[4:8], 'big')
    asked.append(number)$1" "$T/file"
  await_port liar "$TOOL_PID"
}

# pread(2)
@test "a request is answered with its first 8 bytes and the 1,024 bytes of the file asked for" {
  file 5000
  start_server -f "$T/file"
  answered 0
  answered 3 1 1 0
}

@test "the last chunk is shorter; a chunk past the end of the file is empty" {
  file 2500
  start_server -f "$T/file"
  answered 2
  answered 3 4194304 4294967295 0
}

# RFC 9000, 8.1: until it is known who asks, an answer should not be much longer than its request.
@test "a datagram that does not have 1,032 bytes is not answered" {
  local size script=()
  file 3000
  start_server -f "$T/file"
  for size in 0 4 8 100 1031 1033 60000; do
    request "$T/size.$size" 1 "$size"
    script+=(file:"$T/size.$size")
  done
  "$PEER" -u "$PORT" "${script[@]}" open:200
  answered 1 0
}

# bats test_tags=kit
@test "a missing file, or something that is no file: the reason, exit 1" {
  run -1 --separate-stderr timeout $((20 * PATIENCE)) bash -c "exec $SERVER -p 0 -f ${T@Q}/none"
  assert_equal "$stderr" "server: $T/none: No such file or directory (ENOENT)"
  run -1 --separate-stderr timeout $((20 * PATIENCE)) bash -c "exec $SERVER -p 0 -f ${T@Q}"
  assert_equal "$stderr" "server: $T: Is a directory (EISDIR)"
}

# fifo(7): open(2) waits for a writer; at a socket it fails with ENXIO. A number of 32 bits reaches
# chunks of up to 4 TiB.
# bats test_tags=kit
@test "a FIFO, a socket, or a file of 4 TiB: the reason, exit 1, at once" {
  local kind
  need python3
  mkfifo "$T/fifo"
  python3 -c 'import socket, sys; socket.socket(socket.AF_UNIX).bind(sys.argv[1])' "$T/s"
  for kind in fifo s; do
    run -1 --separate-stderr timeout $((20 * PATIENCE)) bash -c "exec $SERVER -p 0 -f ${T@Q}/$kind"
    assert_equal "$stderr" "server: $T/$kind: Invalid argument (EINVAL)"
  done
  truncate -s 4T "$T/large" || skip 'no file of 4 TiB here, not even an empty one'
  run -1 --separate-stderr timeout $((20 * PATIENCE)) bash -c "exec $SERVER -p 0 -f ${T@Q}/large"
  assert_equal "$stderr" "server: $T/large: File too large (EFBIG)"
}

# ---- the client ----

# bats test_tags=kit
@test "client: files of 0, 1, 1,023, 1,024, 1,025 and 1.5 million bytes arrive complete" {
  local size
  for size in 0 1 1023 1024 1025 1500000; do
    file "$size"
    NAME=with$size start_server -f "$T/file"
    fetched -t 1000
  done
  [[ $(<"$T/summary") == '1500000 bytes, '* ]]
}

# bats test_tags=kit
@test "client: 20 % are lost on the way there, 20 % on the way back, and 20 % arrive twice" {
  file 150000
  start_server -f "$T/file" -x 20 -d 20
  fetched -t 4
}

# bats test_tags=kit
@test "client: replies arrive late, twice, in the wrong order or not at all: the file is right" {
  file 100000
  start_server -f "$T/file"
  start_relay -d 2 -j 20 -s 2 -D 3 -x 5 -L 60:4
  fetched -t 20
}

# RFC 9293, 3.8: a window; stop and wait would never come to the second.
# bats test_tags=kit
@test "client: asks for 8 chunks before the first has come, and never for one 64 ahead" {
  file 200000
  start_liar '
    if len(set(asked)) == 8:
        for each in set(asked):
            send(right(each))
    elif len(set(asked)) > 8 and (number != 50 or asked.count(50) == 3):
        send(right(number))
    if asked.count(50) in (1, 2) and number >= 50 + 64:
        print("too far: %d" % number, flush=True)'
  fetched -t 20
  run ! grep '^too far' "$T/liar.out"
}

# connect(2) on a datagram socket. The number is in network byte order.
# bats test_tags=kit
@test "client: a reply that it did not ask for, or that is too long, is dropped" {
  file 60000
  start_liar '
    lie = right(number)[:8] + b"?" * 1024
    send(lie, socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    for wrong in (b"", lie[:7], lie + b"x", b"run?" + lie[4:], run + b"\xff" * 4 + lie[8:],
                  run + (number + 64).to_bytes(4, "big") + lie[8:],
                  run + max(number - 64, 0).to_bytes(4, "big") + lie[8:] if number > 64 else b""):
        send(wrong)
    send(right(number))
    send(lie)'
  fetched -t 50
}

# send(2), recv(2), poll(2)
# bats test_tags=kit
@test "client: every second call fails with EINTR, or a send finds no room: the file is right" {
  file 50000
  start_server -f "$T/file"
  FAULT_ENV='FAULT_FAIL=recv:EINTR:2,poll:EINTR:2,send:EINTR:3' fetched -t 10
  FAULT_ENV='FAULT_FAIL=send:ENOBUFS:3,recv:EAGAIN:2' fetched -t 10
}

# bats test_tags=kit
@test "client: no answer to a chunk, or no server: 20 requests, then it says which, exit 1" {
  local start status=0
  file 60000
  start_liar '
    if number != 7:
        send(right(number))
    elif asked.count(7) < 21:
        print("asked", flush=True)'
  start=$(now_ms)
  client -f -t 5 >"$T/fetched" 2>"$T/why" || status=$?
  (($(now_ms) - start >= 5 + 10 + 20 + 17 * 40)) || complain 'it does not wait as it should'
  assert_equal "$status $(<"$T/why")" '1 client: chunk 7 of the file has not come'
  status=$(grep -cx asked "$T/liar.out") # a slow machine may lose some itself
  ((status > 14 && status < 21)) || complain "it asked $status times"
  start_server
  stop_server
  run -1 --separate-stderr client -f
  assert_equal "$output|$stderr" "|client: 127.0.0.1:$PORT: Connection refused (ECONNREFUSED)"
}
