# 2-2, servers that are found by multicast: server -g GROUP, client -f ADDR.
# bats file_tags=2-2

# shellcheck disable=SC2154 # run --separate-stderr sets stderr
CHAPTER=02-udp
load ../helpers/common

# Everything goes over the loopback interface, and each test has a group of its own (RFC 2365).
new_group() {
  GROUP=239.255.$((RANDOM % 250 + 1)).$((RANDOM % 250 + 1))
}

setup_file() {
  new_group
  [[ $(python 'print(ask(query, reader=member())[1])') ]] ||
    skip 'no multicast over the loopback interface here'
}

setup() {
  trace_tests_only
  [[ ! ${STOP_FILE-} || ! -e $STOP_FILE ]] || skip 'an earlier test failed'
  new_group
}

# Functions that make a socket, and one that has joined the group; that get an answer and where it
# came from; and that ask.
PRELUDE="
import socket, sys
group, lo = (sys.argv[1], 9022), '127.0.0.1'
query = b'\\0\\1\\2 any\\xfffind'
def asker():
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(lo))
    s.bind((lo, 0))
    s.settimeout(2)
    return s
def member():
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind(group)
    s.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP,
                 socket.inet_aton(group[0]) + socket.inet_aton(lo))
    s.settimeout(2)
    return s
def answer(s):
    try:
        data, (host, port) = s.recvfrom(70000)
        return data, host, port
    except TimeoutError:
        return b'nothing', '', 0
def ask(data, to=group, reader=None):
    s = asker()
    s.sendto(data, to)
    return answer(reader or s)
"

# python CODE [ARGUMENT…]
python() {
  need python3
  timeout $((20 * PATIENCE)) python3 -c "${PRELUDE}if True:$1" "$GROUP" "${@:2}"
}

# start_liar CODE: a member of the group that does this with each query, its data and its client.
start_liar() {
  need python3
  start_tool liar timeout $((20 * PATIENCE)) python3 -c "${PRELUDE}
s = member()
s.settimeout(None)
print('listening on 127.0.0.1:1', flush=True)
while True:
    data, client = s.recvfrom(70000)
    $1" "$GROUP"
  await_port liar "$TOOL_PID"
}

# finds N CLIENT_OPTION…: the client lists the servers at these N ports, each once, in any order.
finds() {
  local ports=("${@:2:$1}")
  shift $(($1 + 1))
  printf '127.0.0.1:%s\n' "${ports[@]}" | sort >"$T/expected"
  client -f 127.0.0.1 -g "$GROUP" "$@" >"$T/found"
  sort -o "$T/found" "$T/found"
  same_bytes "$T/expected" "$T/found"
}

# ip(7), IP_ADD_MEMBERSHIP. The source address tells where the service is.
@test "a query to the group comes back unchanged, from the port of the service" {
  start_server -g "$GROUP"
  run -0 python 'print(ask(query) == (query, lo, int(sys.argv[2])))' "$PORT"
  assert_output True
  run -0 "$PEER" -u "$PORT" send:hello recv
  assert_output hello
}

# socket(7), SO_REUSEADDR: for a multicast address it is the right choice.
@test "three servers on one machine: all of them answer" {
  local NAME ports=()
  for NAME in first second third; do
    start_server -g "$GROUP"
    ports+=("$PORT")
  done
  run -0 python '
    s = asker()
    s.sendto(query, group)
    came = [answer(s), answer(s), answer(s)]
    print(all((query, lo, int(port)) in came for port in sys.argv[2:]))' "${ports[@]}"
  assert_output True
}

# RFC 8085, 3.1.2 and 4.1: a service that answers a group must not be an amplifier.
@test "only a query is answered through the group, and only if it was sent to the group" {
  start_server -g "$GROUP"
  run -0 python '
    s = asker()
    s.sendto(b"not this" + query[8:], (lo, group[1]))
    for data in b"", b"find", query[1:], query + b"x", query[:-4] + b"FIND", bytes(60000):
        s.sendto(data, group)
    s.sendto(b"but this" + query[8:], group)
    print(answer(s)[0])'
  assert_output "b'but thisfind'"
}

# service_in_a_group GROUP PRELUDE: in a network of our own, so that 0.0.0.0 joins over loopback.
service_in_a_group() {
  GROUP=$1 PRELUDE=$2
  ip route add 239.0.0.0/8 dev lo
  start_server -a 0.0.0.0 -g "$GROUP"
  python '
    s = asker()
    s.sendto(b"hello", (group[0], int(sys.argv[2])))
    s.sendto(query, group)
    print(answer(s)[0] == query)
    s.settimeout(0.3)
    print(answer(s)[0])' "$PORT" >"$T/answers"
  printf '%s\n' True "b'nothing'" | diff - "$T/answers"
}

# ip(7), IP_MULTICAST_ALL: by default, a socket bound to 0.0.0.0 also gets what is sent to groups
# that others have joined.
# bats test_tags=kit
@test "a datagram to the group at the port of the service is not answered" {
  need python3
  netns service_in_a_group "$GROUP" "$PRELUDE"
}

@test "a server of another group, or without a group, is not found" {
  local group=$GROUP
  NAME=none start_server
  run -0 "$PEER" -u "$PORT" send:hello recv
  assert_output hello
  NAME=first start_server -g "$GROUP"
  while [[ $GROUP == "$group" ]]; do
    new_group
  done
  NAME=second start_server -g "$GROUP"
  run -0 python '
    s = asker()
    s.sendto(query, group)
    print(answer(s)[2] == int(sys.argv[2]))
    s.settimeout(0.3)
    print(answer(s)[0])' "$PORT"
  assert_output $'True\nb\'nothing\''
}

# signal(7), poll(2)
@test "EINTR at every second call: queries and datagrams are still answered" {
  FAULT_ENV='FAULT_FAIL=recv:EINTR:2,poll:EINTR:2,send:EINTR:2' start_server -g "$GROUP"
  run -0 python '
    echo = lo, int(sys.argv[2])
    print(all(ask(query)[1:] == echo == ask(b"hello", echo)[1:] for i in range(10)))' "$PORT"
  assert_output True
}

# bats test_tags=kit
@test "a bad group or address: usage, exit 2; an address that is not here: exit 1" {
  local bad wrong='-g wants an IPv4 multicast address, 224.0.0.0 to 239.255.255.255'
  for bad in 10.0.0.1 239.255.1 localhost ff02::1 ''; do
    run -2 --separate-stderr bash -c "exec $SERVER -p 0 -g '$bad'"
    assert_equal "${stderr_lines[0]}" "server: $wrong"
    run -2 --separate-stderr bash -c "exec $CLIENT -f 127.0.0.1 -g '$bad'"
    assert_equal "${stderr_lines[0]}" "client: $wrong"
  done
  run -2 --separate-stderr bash -c "exec $CLIENT -f localhost"
  assert_equal "${stderr_lines[0]}" 'client: -f wants an IPv4 address of this machine'
  run -1 --separate-stderr bash -c "exec $CLIENT -f 192.0.2.1"
  assert_equal "$stderr" 'client: 192.0.2.1: Cannot assign requested address (EADDRNOTAVAIL)'
}

# ---- the client ----

# bats test_tags=kit
@test "client: lists each server once, however often it answers, and can send it a message" {
  local NAME first
  NAME=first start_server -g "$GROUP" -d 100
  first=$PORT
  NAME=second start_server -g "$GROUP"
  finds 2 "$first" "$PORT" -t 100 -r 3
  PORT=$(sed 's/.*://;q' "$T/found")
  run -0 --separate-stderr client hello
  assert_output hello
}

# bats test_tags=kit
@test "client: half of all datagrams are lost: it retries, and finds the server" {
  start_server -g "$GROUP" -x 50 -s 2
  finds 1 "$PORT" -t 20 -r 20
}

# bats test_tags=kit
@test "client: no server: it asks -r times, waits -t ms each time, says so and exits 1" {
  local start
  start_liar 'print("asked", flush=True)'
  start=$(now_ms)
  run -1 --separate-stderr client -f 127.0.0.1 -g "$GROUP" -t 100 -r 3
  refute_output
  assert_equal "$stderr" 'client: nobody has answered'
  (($(now_ms) - start >= 300))
  assert_equal "$(grep -cx asked "$T/liar.out")" 3
}

# Anyone who sees the query can answer it. A datagram without the query is no answer to it.
# bats test_tags=kit
@test "client: an answer that differs from the query in any byte is ignored" {
  start_liar '
    for lie in b"", data[:-1], data + b"x", data[:-1] + b"D", b"run?" + data[4:], b"\0" * 60000:
        asker().sendto(lie, client)
    asker().sendto(data, client)'
  client -f 127.0.0.1 -g "$GROUP" -t 500 -r 1 >"$T/found"
  assert_equal "$(wc -l <"$T/found")" 1
}

# bats test_tags=kit
@test "client: 300 answers to each query, each from another port: it keeps 64, in time" {
  start_liar '
    for i in range(300):
        asker().sendto(data, client)'
  run -0 --separate-stderr client -f 127.0.0.1 -g "$GROUP" -t 300 -r 2
  assert_equal "${#lines[@]}" 64
  assert_equal "$(printf '%s\n' "${lines[@]}" | sort -u | wc -l)" 64
  assert_equal "$stderr" 'client: more than 64 have answered, the others are left out'
}
