# The pictures of docs/pictures that tests/trace draws from real runs, and what draws them.

load ../helpers/common

TRACE=$ROOT/tests/trace/trace.py

# need_trace: what a scene is recorded with.
need_trace() {
  local shown
  need python3 strace tcpdump nft unshare
  shown=$(timeout 60 "$TRACE" 01 2>&1) || skip "no program can be traced here: $shown"
  [[ $shown != *'left out: '* ]] || skip "not all can be recorded here: ${shown##*left out: }"
}

# play_scenes NAME…: writes their pictures and text forms to $T.
play_scenes() {
  printf '%s\n' "$@" |
    xargs -P 4 -I NAME timeout 120 "$TRACE" --into "$T" --pictures NAME >"$T/log" 2>&1 ||
    cat "$T/log"
}

@test "each picture shows what its scene does today: the text form of a new run is the same" {
  local name names
  need_trace
  mapfile -t names < <("$TRACE" --names)
  ((${#names[@]} > 0))
  play_scenes "${names[@]}"
  for name in "${names[@]}"; do
    [[ -s $ROOT/docs/pictures/$name.svg ]] || fail "no docs/pictures/$name.svg: make pictures"
    diff -u "$ROOT/docs/pictures/$name.txt" "$T/$name.txt" ||
      fail "docs/pictures/$name.svg is no longer true. If the change is meant: make pictures"
  done
}

@test "what reads strace and tcpdump, and what draws, does so as its unit tests say" {
  need python3
  cd "$ROOT/tests/trace"
  run -0 timeout 60 python3 -B -m unittest -q unit
}

# The echo of the first article: a server and a client, each of a few lines.
@test "make trace shows two Python programs of a reader's own" {
  need_trace
  cat >"$T/my server.py" <<'PYTHON'
import socket
s = socket.socket()
s.bind(("127.0.0.1", 12345))
s.listen(5)
c, address = s.accept()
c.send(c.recv(1024))
c.close()
PYTHON
  run -0 timeout 60 make -s -C "$ROOT" trace \
    SERVER="python3 '$T/my server.py'" \
    CLIENT="python3 '$ROOT/tests/helpers/articles.py' A1 12345" 3>&-
  assert_line --regexp 'send\(3, "Hello, '
  assert_line --regexp 'recv(\(4\))? = 14 "Hello, Server!"'
  assert_line --regexp ' SYN ACK '
  assert_line 'client prints: works'
}

# trace SERVER CLIENT
trace() {
  timeout $((60 * PATIENCE)) "$TRACE" --server "$1" --client "$2" 3>&-
}

@test "make trace says why there is nothing to show" {
  need python3 strace
  run -1 trace 'no-such-server -x' true
  assert_output "trace: server: 'no-such-server' is not a program that a shell could run"
  run -1 trace "$ROOT/01-basic-tcp/server -p 0" no-such-client
  assert_output --partial "trace: client: 'no-such-client' is not a program that a shell could run"
  run -1 trace "sh -c 'echo no luck; exit 3'" true
  assert_output 'trace: server has ended. server printed: no luck'
  run -1 trace "$ROOT/01-basic-tcp/server -p 0" ' '
  assert_output --partial "trace: client: '' is not a program"
  run -1 trace "sh -c 'no end" true
  assert_output --partial 'trace: No closing quotation: sh -c'
  PATIENCE=0.1 run -1 "$TRACE" --server "sh -c 'echo wait; sleep 60'" --client true 3>&-
  assert_output 'trace: server does not listen after 2 s. server printed: wait'
  # shellcheck disable=SC2016 # Python
  run -1 trace "python3 -c 'import socket as s; u = s.socket(s.AF_UNIX); u.bind(b\"\0trace$$\")
u.listen(); u.accept()'" true
  assert_output 'trace: server listens, but not on TCP. Only TCP and UDP can be shown'
}

# The C library asks for localhost with sockets of its own, which are neither.
@test "make trace knows when a server of UDP is ready, and shows a client that speaks TCP to it" {
  need python3 strace
  cat >"$T/server.py" <<'PYTHON'
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
socket.socket(socket.AF_UNIX, socket.SOCK_STREAM).close()
s.bind(("localhost", 12345))
s.recvfrom(10)
PYTHON
  run -0 trace "python3 $T/server.py" \
    "python3 -c 'import socket; socket.create_connection((\"127.0.0.1\", 12345))'"
  assert_line --partial 'connect ECONNREFUSED'
  assert_line --partial 'client prints: ConnectionRefusedError'
}

# Half of the usual time is enough for these.
@test "make trace ends, and shows what it has, where a client does not end or says too much" {
  local limit=$((10 * PATIENCE))
  need python3 strace
  PATIENCE=$(python3 -c "print($PATIENCE / 2)") run -0 \
    timeout $((6 * limit)) "$TRACE" --server "$ROOT/01-basic-tcp/server -p 0" \
    --client "sh -c 'echo begun; sleep 98765'" 3>&-
  assert_line --partial 'listen(3)'
  assert_line "left out: the rest: client has not ended after $limit s"
  assert_line 'client prints: begun'
  run -0 trace "$ROOT/01-basic-tcp/server -p 0" yes
  assert_line --partial 'left out: the rest: '
  assert_line --regexp '^client prints [0-9]+ lines more$'
  ((${#lines[@]} < 1000))
  run ! pgrep -x -f 'sleep 98765'
}

# The server is a daemon: it leaves its session, where no signal for the group would find it.
@test "make trace ends what it has started, whatever ends it" {
  local pid status=0
  need python3 strace
  mkdir "$T/tmp"
  TMPDIR=$T/tmp "$TRACE" --server "sh -c 'setsid sleep 98764 & wait'" --client true \
    >"$T/said" 2>&1 3>&- &
  pid=$!
  wait_for 10 pgrep -x -f 'sleep 98764'
  kill "$pid"
  wait "$pid" || status=$?
  ((status == 143))
  run ! pgrep -x -f 'sleep 98764'
  run -0 ls "$T/tmp"
  refute_output
}

@test "make trace may be read in part, and by terminals with few letters" {
  need python3 strace
  run -0 bash -c "set -o pipefail; '$TRACE' 01 | true" # which has ended when there is something
  refute_output
  run -0 env PYTHONIOENCODING=ascii COLUMNS=40 "$TRACE" 01
  assert_line --regexp '\| socket\(\) = 3'
  assert_line --regexp 'send\(3, "hello"\)\? \|' # instead of an ellipsis
}

@test "make trace says what it leaves out where it may not capture" {
  local python
  need python3 strace
  mkdir "$T/bin"
  ln -s "$(command -v strace)" "$T/bin/"
  python=$(python3 -c 'import sys; print(sys.executable)')
  run -0 timeout 60 env "PATH=$T/bin" TRACE_NETWORK= "$python" "$TRACE" \
    --server "$ROOT/01-basic-tcp/server -p 0" --client "$ROOT/build/helpers/peer -h"
  assert_line --partial 'left out: the segments: tcpdump is missing'
  ln -s "$(command -v id)" "$T/bin/tcpdump" # it ends at once, with a complaint
  run -0 timeout 60 env "PATH=$T/bin" TRACE_NETWORK= "$python" "$TRACE" \
    --server "$ROOT/01-basic-tcp/server -p 0" --client "$ROOT/build/helpers/peer -h"
  assert_line --partial 'left out: the segments: tcpdump may not capture: '
  rm "$T/bin/strace"
  run -1 env "PATH=$T/bin" "$python" "$TRACE" 01
  assert_output 'trace: strace is missing (make setup installs it)'
}

@test "make trace lists the scenes, and says which there are where one is unknown" {
  need python3
  run -0 make -s -C "$ROOT" trace
  assert_line --regexp 'make trace-01 SCENE=hello +A message, its echo'
  run -2 make -s -C "$ROOT" trace-01 SCENE=none
  assert_output --partial 'chapter 01 has no scene none: make trace lists all'
}

@test "make trace shows a step, with the chapter's client or with its own" {
  need_trace
  run -0 timeout 60 make -s -C "$ROOT" trace-01 STEP=2 3>&-
  assert_line --partial 'Step 2 of chapter 01: 2-echo'
  assert_line --regexp 'send\(3, "hello"\)'
  run -0 timeout 60 make -s -C "$ROOT" trace-02 STEP=1 3>&-
  assert_line --partial 'Step 1 of chapter 02: 1-print-server'
  run -2 timeout 60 make -s -C "$ROOT" trace-01 STEP=77 3>&-
  assert_output --partial 'chapter 01 has no step 77'
}

@test "each picture of a scene is on a page, has a description, and follows light and dark" {
  local name wide
  need python3
  cd "$ROOT"
  for name in $("$TRACE" --names); do
    grep -qF "](pictures/$name.svg)" docs/*.md || fail "docs/pictures/$name.svg is on no page"
    grep -q 'role="img" aria-labelledby="title desc"' "docs/pictures/$name.svg"
    grep -q '<desc id="desc">[A-Za-z]' "docs/pictures/$name.svg"
    grep -q 'prefers-color-scheme: dark' "docs/pictures/$name.svg"
    run ! grep -E 'href|url\(|<script' "docs/pictures/$name.svg"
    # Its letters, 13 units high, have 10 pixels where it is 360 pixels wide.
    wide=$(sed -n 's/^<svg .* width="\([0-9]*\)" height.*/\1/p' "docs/pictures/$name.svg")
    ((wide && wide <= 468)) || complain "docs/pictures/$name.svg is not of 1 to 468 units: '$wide'"
  done
}
