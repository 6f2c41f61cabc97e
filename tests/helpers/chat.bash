# shellcheck shell=bash
# What the test files of chapter 07 need beside common.bash: members played by bash itself.
#
#   join ann bob              # both are in; what they heard on the way is forgotten
#   says ann hello            # a line
#   hears bob 'ann: hello'    # and bob has heard nothing else before it
#
# A member is one connection. HEARD is the last line that was read, without its newline. All of this
# is for bytes, not characters: LC_ALL is C. (NUL bytes do not fit into a variable of bash.)

export LC_ALL=C
CROWD=$ROOT/build/helpers/crowd
declare -gA MEMBERS=() # the descriptor of each

# comes NAME: connects, and says nothing.
comes() {
  local fd
  exec {fd}<>"/dev/tcp/127.0.0.1/$PORT" || return
  MEMBERS[$1]=$fd
}

# leaves NAME: closes.
leaves() {
  local fd=${MEMBERS[$1]-}
  [[ $fd ]] || return 0
  unset "MEMBERS[$1]"
  exec {fd}>&-
}

all_leave() {
  local name
  for name in "${!MEMBERS[@]}"; do
    leaves "$name"
  done
}

# says NAME TEXT, sends NAME ESCAPED: with a newline; with nothing but what it says.
says() {
  printf '%s\n' "$2" >&"${MEMBERS[$1]}"
}

sends() {
  printf '%b' "$2" >&"${MEMBERS[$1]}"
}

# next_line NAME: sets HEARD.
next_line() {
  local status=0
  IFS= read -r -t $((10 * PATIENCE)) -u "${MEMBERS[$1]}" HEARD || status=$?
  ((status <= 128)) || complain "$1 heard nothing for 10 s" || return
  ((status == 0)) || complain "$1 was cut off${HEARD:+ after '$HEARD'}"
}

# hears NAME LINE…: these come next.
hears() {
  local name=$1 line
  shift
  for line; do
    next_line "$name" || complain "  and not '$line'" || return
    [[ $HEARD == "$line" ]] ||
      complain "$name heard $(printf %q "$HEARD")" "   and not $(printf %q "$line")" || return
  done
}

# is_closed NAME: next comes end of file. After that NAME is no member.
is_closed() {
  local status=0
  IFS= read -r -t $((10 * PATIENCE)) -u "${MEMBERS[$1]}" HEARD || status=$?
  leaves "$1"
  [[ $status/$HEARD == 1/ ]] || complain "$1 was not closed, but heard '$HEARD'"
}

# join NAME…: each of them comes, and is welcomed. (The question is for where the history ends.)
join() {
  local name other here
  for name; do
    comes "$name"
    says "$name" "$name"
    next_line "$name"
    [[ $HEARD == "+welcome $name, here: "*"$name" ]] || complain "no welcome: $HEARD" || return
    says "$name" /who
    until [[ $HEARD == '+here: '* ]]; do
      next_line "$name" || return
    done
    for other in "${here[@]}"; do
      hears "$other" "* $name joined" || return
    done
    here+=("$name")
  done
}

# nobody_hears_more: a question of each, and its answer comes next.
nobody_hears_more() {
  local name
  for name in "${!MEMBERS[@]}"; do
    says "$name" /who
    next_line "$name" || return
    [[ $HEARD == '+here: '* ]] || complain "$name heard $(printf %q "$HEARD")" || return
  done
}

# What a terminal takes for a command, or what changes the order of what it shows: bytes, so it is
# for LC_ALL=C.
NOT_CLEAN=$'[\x01-\x09\x0b-\x1f\x7f]|\xc2[\x80-\x9f]|\xe2\x80[\xa8-\xae]|\xe2\x81[\xa6-\xa9]'

# is_clean TEXT: valid UTF-8, and nothing of that in it.
is_clean() {
  local status=0
  iconv -f utf-8 -t utf-8 <<<"$1" >/dev/null || return
  LC_ALL=C grep -aqE "$NOT_CLEAN" <<<"$1" || status=$?
  ((status == 1)) # 2: grep could not look
}

has_fds() {
  (($(fds "$SERVER_PID") <= $1))
}

peak_kb() {
  awk '/^VmHWM:/ { print $2 }' "/proc/$1/status"
}

# happened CALL FIELD: how often, by the report that the fault shim writes when the server ends.
happened() {
  sed -n "s/^$1 .*\b$2=\([0-9]*\).*/\1/p" "$T/report" | awk '{ sum += $1 } END { print sum + 0 }'
}

# hostile_set: a bit of everything, for a server under valgrind or a sanitizer.
hostile_set() {
  "$PEER" -r 5 "$PORT" close
  "$PEER" -r 5 "$PORT" reset
  "$PEER" "$PORT" send:'bob\n' line lines:200 gone
  "$PEER" "$PORT" send:'bob\nhalf a line' reset
  "$PEER" "$PORT" send:'half a name' reset
  "$PEER" "$PORT" send:'*\n+\na b\n' eof
  "$PEER" "$PORT" send:'bob\n' line fill:3000 eof
  "$PEER" "$PORT" fill:3000 eof
  "$PEER" "$PORT" send:'bob\n/me \x1b[2J\xff\n/msg bob x\n/msg\n/nick a\n/nick *\n/who\n/help\n' \
    send:'/foo\n//\n/quit \xed\xa0\x80\n' eof
  "$PEER" -n 10 "$PORT" send:'twin\nTwin\ntwiN\n' half-close eof
} >"$T/hostile"

# python_talk kuhn | random LINES: one member says these lines, another one has to hear what Python
# makes of them: it too replaces maximal subparts.
python_talk() {
  need python3
  timeout $((60 * PATIENCE)) python3 -c 'if True:
    import random, re, socket, sys
    CONTROLS = re.compile("[\0-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")

    def cleaned(data):
        data = data[:-1] if data.endswith(b"\r") else data
        return CONTROLS.sub("\ufffd", data.decode("utf-8", "replace").replace("\t", " "))

    def kuhn():
        high = bytes(range(0x80, 0xc0))
        yield from (high[:n] for n in range(1, 8))
        yield high
        for first, last in (0xc0, 0xe0), (0xe0, 0xf0), (0xf0, 0xf8), (0xf8, 0xfc), (0xfc, 0xfe):
            yield b"".join(bytes([b, 0x20]) for b in range(first, last))
        cut = [b"\xc0", b"\xe0\x80", b"\xf0\x80\x80", b"\xf8\x80\x80\x80", b"\xfc\x80\x80\x80\x80",
               b"\xdf", b"\xef\xbf", b"\xf7\xbf\xbf", b"\xfb\xbf\xbf\xbf", b"\xfd\xbf\xbf\xbf\xbf"]
        yield from cut
        yield b"".join(cut)
        yield from (b"\xfe", b"\xff", b"\xfe\xfe\xff\xff")
        yield from (b"\xc0\xaf", b"\xe0\x80\xaf", b"\xf0\x80\x80\xaf", b"\xf8\x80\x80\x80\xaf",
                    b"\xfc\x80\x80\x80\x80\xaf", b"\xc1\xbf", b"\xe0\x9f\xbf", b"\xf0\x8f\xbf\xbf")
        yield from (b"\xf8\x87\xbf\xbf\xbf", b"\xfc\x83\xbf\xbf\xbf\xbf", b"\xc0\x80",
                    b"\xe0\x80\x80", b"\xf0\x80\x80\x80")
        for unit in 0xd800, 0xdb7f, 0xdb80, 0xdbff, 0xdc00, 0xdf80, 0xdfff:
            yield chr(unit).encode("utf-8", "surrogatepass")
        yield b"\xed\xa0\x80\xed\xb0\x80" + b"\xed\xaf\xbf\xed\xbf\xbf"
        yield from (b"\xf4\x90\x80\x80", b"\xf4\x8f\xbf\xbf", b"\xef\xbf\xbe", b"\xef\xbf\xbf")
        yield from (chr(c).encode() for c in (0x7e, 0xa0, 0x7ff, 0x800, 0xd7ff, 0xe000, 0xfffd,
                                              0x10000, 0x10ffff, 0x2027, 0x202f, 0x2065, 0x206a))
        yield from (chr(c).encode() for c in (*range(1, 10), *range(11, 32), *range(0x7f, 0xa0),
                                              *range(0x2028, 0x202f), *range(0x2066, 0x206a)))
        yield "κόσμε, 你好, 🙂 e\u0301".encode()

    def by_chance(lines):
        seed = random.randrange(1 << 32)
        print("seed", seed)
        chance = random.Random(seed)
        pieces = [b"\xe2\x80", b"\xed\xa0\x80", b"\xf0\x9f\x99\x82", b"\x1b[2J", "张".encode(),
                  b"\xc2", b"\xf4\x90", b"\r", b"\0"]
        for _ in range(lines):
            yield b"".join(chance.choice(pieces) if chance.random() < 0.3 else
                           bytes([chance.randrange(chance.choice((0, 128)), 256)])
                           for _ in range(chance.randrange(40))).replace(b"\n", b"")

    texts = kuhn() if sys.argv[2] == "kuhn" else by_chance(int(sys.argv[3]))
    texts = [b"x" + text + b"x\r" if i % 7 == 0 else b"x" + text for i, text in enumerate(texts)]
    speaker, listener = (socket.create_connection(("127.0.0.1", int(sys.argv[1]))) for _ in "12")
    heard = listener.makefile("rb")
    listener.sendall(b"listener\n")
    print(heard.readline()) # the welcome
    speaker.sendall(b"speaker\n")
    while heard.readline() != b"* speaker joined\n": # before it, what was said earlier
        pass
    for start in range(0, len(texts), 50):
        part = texts[start:start + 50]
        speaker.sendall(b"".join(text + b"\n" for text in part))
        for text in part:
            line = heard.readline().decode("utf-8")
            if line != "speaker: " + cleaned(text) + "\n":
                sys.exit("said %r\nheard %r\nand not %r" % (text, line, cleaned(text)))
    speaker.sendall(b"/quit\n")
    if heard.readline() != b"* speaker left\n":
        sys.exit("more lines were heard than said")
  ' "$PORT" "$@"
}
