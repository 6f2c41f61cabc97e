# 3-2, frames: a length of four bytes, the highest first, and then so many bytes. The reply is a
# frame too: "+" and the bytes, or "-" and a reason.
# bats file_tags=3-2

# shellcheck disable=SC2154 # run --separate-stderr sets stderr
CHAPTER=03-long-conn
load ../helpers/common

# frame TEXT [SIGN]: as bytes, for peer and printf %b; a text of less than 256 bytes.
frame() {
  printf '\\x00\\x00\\x00\\x%02x%s%s' $((${#2} + ${#1})) "${2-}" "$1"
}

# network_order N: as the four bytes themselves.
network_order() {
  # shellcheck disable=SC2059 # the format is made of bytes
  printf "$(printf %08x "$1" | sed 's/../\\x&/g')"
}

# refuses VERB…: a client that does this gets one frame that begins with "-" and says why, and the
# end of file, and a fresh one is served.
refuses() {
  "$PEER" -t 3 "$PORT" "$@" eof >"$T/received" || complain "no end of file after: $*"
  (($(wc -c <"$T/received") > 6)) || complain "no reason came after: $*"
  [[ $(head -c 5 "$T/received" | od -An -tx1) =~ ^' 00 00 00 '(..)' 2d'$ &&
    $((0x${BASH_REMATCH[1]} + 4)) == $(wc -c <"$T/received") ]] ||
    complain "not one frame with -: $(od -An -c "$T/received" | head -n 3)"
  serves
}

serves() {
  receives "$(frame probe +)" send:"$(frame probe)" half-close eof
}

# RFC 1700, "Data Notations": network byte order.
@test "the reply to a frame is a frame of + and its bytes, whatever they are" {
  start_server
  receives "$(frame hello +)" send:"$(frame hello)" half-close eof
  receives '\x00\x00\x00\x06+\n\x00\xff\x80\r' send:'\x00\x00\x00\x05\n\x00\xff\x80\r' \
    half-close eof
}

@test "an empty frame is a frame; several frames in one segment are several frames" {
  start_server
  receives "$(frame '' +)" send:"$(frame '')" half-close eof
  receives "$(frame one +)$(frame '' +)$(frame three +)" \
    send:"$(frame one)$(frame '')$(frame three)" half-close eof
}

# recv(2) may bring a part of the length, too.
@test "a frame in segments of 1 byte, its length included, is one frame" {
  start_server
  receives "$(frame hello +)" dribble:20:'\x00\x00\x00\x05hell' open:50 send:o \
    half-close eof
}

@test "a frame of 70,000 bytes is answered, and so is one of 1,048,576, which is the limit" {
  local size
  start_server
  for size in 70000 1048576; do
    head -c "$size" /dev/urandom >"$T/bytes"
    { network_order "$size" && cat "$T/bytes"; } >"$T/sent"
    { network_order $((size + 1)) && printf + && cat "$T/bytes"; } >"$T/expected"
    "$PEER" -t 5 "$PORT" echo:"$T/sent" >"$T/received"
    same_bytes "$T/expected" "$T/received"
  done
}

# As a signed number the second and third are negative, and 4 or 5 more than the last is nothing.
@test "a longer frame, even of 2 GB or 4 GB, is refused as soon as its length has arrived" {
  start_server
  refuses send:'\x00\x10\x00\x01'
  refuses send:'\x80\x00\x00\x00'
  refuses send:'\xff\xff\xfc\x19'
  refuses send:'\x7f\xff\xff\xff'
  refuses send:'\xff\xff\xff\xff'
}

# getrlimit(2): there is no room for 2 GB, but that is no reason to end.
@test "the limit is checked before memory is allocated" {
  need prlimit
  local before peak
  start_server
  serves
  [[ ${SAN-} ]] || prlimit --pid "$SERVER_PID" --as=$((100 << 20))
  before=$(awk '/^VmPeak:/ { print $2 }' "/proc/$SERVER_PID/status")
  refuses send:'\x7f\xff\xff\xff'
  refuses send:'\x01\x00\x00\x00'
  peak=$(awk '/^VmPeak:/ { print $2 }' "/proc/$SERVER_PID/status")
  ((peak - before < 8192)) || complain "it has taken $((peak - before)) kB for what it refused"
}

# close(2) with unread input sends a reset, which destroys the reason: RFC 2525, 2.17.
@test "the refusal arrives even if the client has sent 1 MB after the length" {
  start_server
  refuses send:'\x7f\xff\xff\xff' fill:1000000
}

@test "-m 5 refuses a frame of 6 bytes but not one of 5; frames before it are answered" {
  start_server -m 5
  receives "$(frame hello +)" send:"$(frame hello)" half-close eof
  "$PEER" -t 3 "$PORT" send:"$(frame hello)$(frame 'hello!')$(frame more)" eof >"$T/received"
  printf %b- "$(frame hello +)" >"$T/expected"
  { head -c 10 "$T/received" && tail -c +15 "$T/received" | head -c 1; } >"$T/begin"
  same_bytes "$T/expected" "$T/begin"
  run grep -c more "$T/received"
  assert_output 0
}

# malloc(3) returns NULL when there is none. Here the sanitizer's says no to more than 1 MB.
@test "no memory for a frame within the limit: it is refused, and the server goes on" {
  ASAN_OPTIONS=allocator_may_return_null=1:max_allocation_size_mb=1 start_server -m 8000000
  head -c 4000000 /dev/zero | tr '\0' x >"$T/bytes"
  { printf '\x00\x3d\x09\x00' && cat "$T/bytes"; } >"$T/sent"
  "$PEER" -t 10 "$PORT" echo:"$T/sent" >"$T/received" || true
  [[ $(tail -c +5 "$T/received" | head -c 1) == [+-] ]] || complain 'neither answered nor refused'
  serves
}

@test "half a length, or half a frame, then a half-close: no reply, end of file" {
  start_server
  receives "$(frame one +)" send:"$(frame one)"'\x00\x00' half-close eof
  receives "$(frame one +)" send:"$(frame one)"'\x00\x00\x00\x05hell' half-close eof
  "$PEER" -r 20 "$PORT" send:'\x00\x10\x00\x00half' reset
  serves
}

@test "writes of 1 byte at a time, and EINTR: the reply is complete" {
  FAULT_ENV='FAULT_SHORT=1 FAULT_FAIL=accept:EINTR:2,recv:EINTR:2,send:EINTR:2' start_server
  receives "$(frame one +)$(frame two +)" send:"$(frame one)$(frame two)" half-close eof
}

# told WORDS VERB…: that is in the refusal with which the connection ends.
told() {
  "$PEER" -t 5 "$PORT" "${@:2}" >"$T/told" || complain "no refusal in time: ${*:2}"
  grep -qaF "$1" "$T/told" || complain "not told '$1', but: $(od -An -c "$T/told")"
}

# socket(7), SO_RCVTIMEO: it begins anew with every byte.
# bats test_tags=kit,slow
@test "-i 1: an idle client is told so, and so is one whose frame is not complete in time" {
  start_server -i 1
  refuses send:'\x00\x00'
  refuses send:'\x00\x00\x00\x05hell'
  told idle eof
  told idle send:"$(frame one)" recv:8 eof
  told 'in time' send:'\x00\x00' eof
  told 'in time' send:'\x00\x00' sleep:600 send:'\x00' sleep:300 send:'\x05' within:600:eof
  told 'in time' send:"$(frame one)"'\x00' recv:8 sleep:600 send:'\x00\x00\x09' sleep:300 \
    send:more within:600:eof
}

# bats test_tags=kit
@test "SIGTERM in the middle of a frame: exit 0 within 2 s" {
  start_server
  serves
  start_peer "$PORT" send:"$(frame one)"'\x00\x00\x00\x05hell' recv:8 ready:"$T/here" eof
  wait_for 5 test -e "$T/here"
  stop_server
  finish_peer
}

# ---- the client ----

# ask MESSAGE…: the client, for 3 s at most.
ask() {
  CLIENT="timeout 3 $CLIENT" run --separate-stderr client "$@"
}

@test "client: sends each message and each line of stdin as a frame, and prints the replies" {
  start_fake -n 1 -r 2 -- recv:5 send:"$(frame a +)" recv:4 send:"$(frame '' +)" recv:9 \
    dribble:5:"$(frame 'b c d' +)" eof
  ask a '' 'b c d'
  assert_output $'+a\n+\n+b c d'
  ((status == 0))
  ask < <(printf 'a\n\nb c d\nq\nmore\n')
  assert_output $'+a\n+\n+b c d'
  ((status == 0))
  NAME=fake finish_peer
  tail -n +2 "$T/fake.out" >"$T/received"
  printf %b "$(frame a)$(frame '')$(frame 'b c d')$(frame a)$(frame '')$(frame 'b c d')" \
    >"$T/expected"
  same_bytes "$T/expected" "$T/received"
}

# bats test_tags=kit
@test "client: a reply of 4 GB, a wrong one, a refusal, end of file: the reason, exit 1" {
  local reply
  for reply in 'longer than:\xff\xff\xff\xff+a' 'longer than:\x00\x10\x00\x02' \
    'does not fit:\x00\x00\x00\x02+b' 'does not fit:\x00\x00\x00\x00' \
    'no more:\x00\x00\x00\x08-no more' \
    'closed:\x00\x00\x00\x02+'; do
    NAME=fake${reply%%:*}${#reply} start_fake -- recv:5 send:"${reply#*:}" half-close drain
    ask a
    [[ $stderr == client:*"${reply%%:*}"* ]] || complain "not '${reply%%:*}': $stderr"
    ((status == 1))
  done
}

# send(2): EPIPE and ECONNRESET say only that the server takes no more. The reason may have come.
# bats test_tags=kit
@test "client: the server refuses a message that is still being sent: the client shows why" {
  head -c 9000000 /dev/zero | tr '\0' x >"$T/long"
  start_fake -- recv:4 send:'\x00\x00\x00\x08-no more' half-close sleep:300 reset
  run -1 --separate-stderr client -m 10000000 <"$T/long"
  [[ $stderr == *'no more'* && $stderr != *$'\n'* ]] || complain "not one line, no reason: $stderr"
}
