# shellcheck shell=bash disable=SC2016 # code for another shell
# A kit of one small chapter, for the tests of the exercises' tools. Loaded by exercise-tools.bats
# and class.bats.

unset WERROR # what a learner or a test writes may have warnings

# The chapter says hello to each client. Its exercises are all about that.
# make_small_kit: in KIT; for setup_file.
make_small_kit() {
  load ../helpers/common
  KIT=$BATS_FILE_TMPDIR/kit
  export KIT
  mkdir -p "$KIT"/{01-hello,tests/{exercises,bench,pictures,trace,helpers,bin},build}
  cd "$KIT" || return
  cp "$ROOT"/{Makefile,util.h} .
  cp "$ROOT"/tests/bin/{exercise,exercise.sh,watch.sh,prove,tools.sh,tmpdir.sh} tests/bin/
  cp "$ROOT"/tests/bin/{side-by-side.sh,cc-objects} tests/bin/
  cp "$ROOT"/tests/bin/{grade,bounds.sh,handout,doc-links,lint,code-rules,code.query} tests/bin/
  cp "$ROOT/tests/setup_suite.bash" tests/
  cp "$ROOT/tests/helpers/common.bash" tests/helpers/
  cp "$ROOT/tests/exercises/exercises.mk" tests/exercises/
  touch tests/{bench/bench,pictures/pictures,trace/trace}.mk
  mkdir -p tests/shim
  cp "$ROOT"/tests/helpers/{peer.c,tls.c,tls.h} tests/helpers/
  cp "$ROOT/tests/shim/fault.c" tests/shim/
  cp -r "$ROOT"/build/{helpers,fault.so} build/ # newer than their sources
  touch build/helpers/* build/fault.so
  cp "$ROOT/.clang-format" .
  cp "$ROOT/01-basic-tcp/Makefile" 01-hello/
  program >01-hello/server.c
  echo 'int main(void) { return 0; }' >01-hello/client.c
  chapter_tests >tests/01-hello.bats
  echo >tests/exercises.bats
  exercise 1 build solution 's/"hello\\n"/"hello\\nbye\\n"/; s/, 6,/, 10,/'
  mkdir 02-more
  echo '/* words */' >02-more/words.h
  printf '%s\n' 'changes=a client is told hello.*' 'with=02-more/words.h' >>"$DIR/about"
  own_test 1 "receives 'hello\nbye\n' eof"
  exercise 2 hunt bug 's/, 6,/, 5,/'
  echo 'tests=a client is told hello' >>"$DIR/about"
  exercise 3 catch bug 's/, 6,/, 5,/'
  sample 'receives "hello\n" eof'
  kit_make -s all helpers
  kit_make -s all helpers SAN="$SANITIZERS"
}

# program: the chapter's server.
program() {
  cat <<'END'
#include "../util.h"

static volatile sig_atomic_t stopping;

static void on_stop_signal(int signal_number) {
    (void)signal_number;
    stopping = 1;
}

/* Tells the client. */
static void serve(int client) {
    size_t sent = 0;
    send_all(client, "hello\n", 6, &sent, 1000);
    linger_close(client);
}

int main(int argc, char **argv) {
    const struct sigaction action = {.sa_handler = on_stop_signal};
    char why[WHY_TEXT];
    int fd = listen_on("127.0.0.1", argc == 3 ? argv[2] : "0", why);
    sigaction(SIGTERM, &action, NULL);
    if (fd < 0)
        die(why, errno);
    announce(fd);
    while (!stopping) {
        int client = accept(fd, NULL, NULL);
        if (client >= 0)
            serve(client);
    }
    close(fd);
    return 0;
}
END
}

# In files of tests that are made here a test begins with %test, or bats would take it for its own.
chapter_tests() {
  sed 's/^%test/@test/' <<'END'
CHAPTER=01-hello
load helpers/common
%test "a client is told hello" {
  start_server
  receives 'hello\n' eof
}
%test "SIGTERM ends it" {
  start_server
  stop_server
}
END
}

# exercise N KIND PATCH SED: a good one, whose patch is what SED does to the server.
exercise() {
  local n=$1 name
  DIR=$KIT/01-hello/exercises/$n-it
  mkdir -p "$DIR"
  printf '%s\n' "kind=$2" 'title=A word' 'minutes=5' 'learns=how' >"$DIR/about"
  [[ $2 == build ]] || echo 'oracle=plain' >>"$DIR/about"
  echo "# 1-$n A word" >"$DIR/README.md"
  for name in Story 'Why it matters' Requirement 'How it is tested' 'What to read'; do
    printf '\n## %s\n\nText.\n' "$name" >>"$DIR/README.md"
  done
  for name in 1 2 3; do
    echo "this is hint $name" >"$DIR/hint-$name"
  done
  sed "$4" "$KIT/01-hello/server.c" |
    diff -u --label a/server.c --label b/server.c "$KIT/01-hello/server.c" - >"$DIR/$3.patch" ||
    (($? == 1))
  printf '# bats test_tags=1-%s\n%%test "1-%s: A word" {\n  verify 1-%s\n}\n' "$n" "$n" "$n" |
    sed 's/^%test/@test/' >>"$KIT/tests/exercises.bats"
}

# own_test N COMMAND: its file of tests, with one.
own_test() {
  printf '%s\n' "# bats file_tags=1-$1" 'CHAPTER=01-hello' 'load ../helpers/common' \
    "%test \"own test\" {" '  start_server' "  $2" '}' | sed 's/^%test/@test/' \
    >"$KIT/tests/exercises/1-$1.bats"
  echo 'tests=own test' >>"$DIR/about"
}

sample() {
  printf '%s\n' 'CHAPTER=01-hello' 'load ../../tests/helpers/common' "%test \"sample\" {" \
    '  start_server' "  $1" '}' | sed 's/^%test/@test/' >"$DIR/sample.bats"
}

# A make from outside and a bats around us are none of its business; a terminal there is not.
kit_make() {
  env -u MAKEFLAGS -u MAKELEVEL -u MFLAGS timeout 120 make --no-print-directory "$@" 3>&-
}
