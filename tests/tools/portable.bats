# The chapters that need no library, built for another C library and another size of long and
# time_t: without a warning, and each client talks to its server.

load ../helpers/common

setup() {
  # What this run was asked for is not what the makes in here are asked for.
  unset MAKEFLAGS MFLAGS MAKELEVEL MAKEOVERRIDES SAN CC CFLAGS CPPFLAGS LDFLAGS LDLIBS
  own_programs
  TREE=$PROGRAM_DIR/tree
}

# can_build TOOL COMPILER [FLAG…]: skips the test unless a program that is built so runs here; TOOL
# is its name in the table of tools. What the processor cannot do, no package brings.
can_build() {
  local tool=$1 probe=$PROGRAM_DIR/probe why
  shift
  echo 'int main(void) { return 0; }' >"$probe.c"
  if ! why=$("$@" "$probe.c" -o "$probe" 2>&1); then
    [[ $why == *un@(recogniz|support)ed* ]] || need "$tool"
    skip "\`$*\` builds no program: ${why%%$'\n'*}"
  fi
  why=$("$probe" 2>&1) || skip "a program that \`$*\` has built does not run here: $why"
}

# copy_tree: chapters 01 to 07, as a reader has them before anything is built.
copy_tree() {
  local chapter
  mkdir "$TREE"
  ln -s "$ROOT/Makefile" "$ROOT/tests" "$ROOT/util.h" "$TREE/"
  for chapter in "$ROOT"/0[1-7]-*; do
    cp -r "$chapter" "$TREE/"
    rm -f "$TREE/${chapter##*/}"/{server,client,load}
  done
}

# build COMPILER: all but the client of 07, which needs libedit.
build() {
  copy_tree
  run -0 timeout 120 make --no-print-directory -j 2 -C "$TREE" CC="$1" WERROR=1 \
    01 02 03 04 05 06 07-chat/server 3>&-
  refute_output --partial warning
}

# greets CHAPTER: what its client prints when it says hello.
greets() {
  local reply=+hello
  [[ $1 != 0[12]-* ]] || reply=hello
  quote SERVER "$TREE/$1/server"
  quote CLIENT "$TREE/$1/client"
  start_server
  run -0 --separate-stderr client hello
  assert_equal "$1: $output" "$1: $reply"
  stop_server
}

# they_talk: each server with its client; the chat room with two scripted ones.
they_talk() {
  local chapter
  for chapter in "$TREE"/0[1-6]-*; do
    greets "${chapter##*/}"
  done
  quote SERVER "$TREE/07-chat/server"
  start_server
  run -0 "$PEER" -t 5 "$PORT" send:'ann\n' line half-close eof
  assert_output --partial ann
  stop_server
}

# refuses VALUE: the server of 02 does not take it for another number, which is what is left of it
# where long has 32 bits.
refuses() {
  run -2 timeout 5 "$TREE/02-udp/server" -p 0 -s "$1"
  assert_line --partial "-s \"$1\": not a number from 0 to 2147483647"
}

@test "musl: 01 to 06 and the server of 07 build without a warning, and work" {
  can_build musl-gcc musl-gcc
  build musl-gcc
  they_talk
}

@test "32 bits: 01 to 06 and the server of 07 build without a warning, and work" {
  can_build 'cc -m32' cc -m32
  build 'cc -m32'
  they_talk
  refuses 4294967297 # 2^32 + 1
  refuses 2147483648
}

# feature_test_macros(7): since glibc 2.34 programs of 32 bits can have a time_t of 64.
@test "32 bits with a 64-bit time_t: 01 to 06 and the server of 07 build and work too" {
  local wide=(-m32 -D_TIME_BITS=64 -D_FILE_OFFSET_BITS=64)
  can_build 'cc -m32' cc "${wide[@]}"
  build "cc ${wide[*]}"
  they_talk
}
