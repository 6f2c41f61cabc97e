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

@test "make trace says what it leaves out where it may not capture" {
  local python
  need python3 strace
  mkdir "$T/bin"
  ln -s "$(command -v strace)" "$T/bin/"
  python=$(python3 -c 'import sys; print(sys.executable)')
  run -0 timeout 60 env "PATH=$T/bin" TRACE_NETWORK= "$python" "$TRACE" \
    --server "$ROOT/01-basic-tcp/server -p 0" --client "$ROOT/build/helpers/peer -h"
  assert_line --partial 'left out: the segments: tcpdump is missing'
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
