# Each chapter stands alone: its directory and util.h, copied elsewhere, build with the Makefile in
# there and talk.
# bats file_tags=kit

load helpers/common

setup() {
  trace_tests_only
  # What this run was asked for is not what the makes in here are asked for.
  unset MAKEFLAGS MFLAGS MAKELEVEL MAKEOVERRIDES SAN CHECKS OUT CERTS
}

# builds_elsewhere CHAPTER: as a reader would, in a place with an odd name. SERVER and CLIENT are
# then the programs there.
builds_elsewhere() {
  local there="$T/else where, it's"
  mkdir "$there"
  cp -r "$ROOT/$1" "$ROOT/util.h" "$there/"
  run -0 make -C "$there/$1" clean
  run -0 timeout $((120 * PATIENCE)) make -j 2 -C "$there/$1" WERROR=1
  run -0 make -q -C "$there/$1" server client
  run -2 make -C "$there/$1" test
  assert_line 'make test needs the whole kit'
  quote SERVER "$there/$1/server"
  quote CLIENT "$there/$1/client"
}

# talks EXPECTED OPTION…
talks() {
  start_server
  run -0 client "${@:2}" hello
  assert_line --partial "$1"
  stop_server
}

@test "01-basic-tcp builds with its own Makefile, and talks" {
  builds_elsewhere 01-basic-tcp
  talks hello
}

@test "02-udp builds with its own Makefile, and talks" {
  builds_elsewhere 02-udp
  talks hello
}

@test "03-long-conn builds with its own Makefile, and talks" {
  builds_elsewhere 03-long-conn
  talks +hello
}

@test "04-threadpool builds with its own Makefile, and talks" {
  builds_elsewhere 04-threadpool
  talks +hello
}

@test "05-select builds with its own Makefile, and talks" {
  builds_elsewhere 05-select
  talks +hello
}

@test "06-epoll builds with its own Makefile, and talks" {
  builds_elsewhere 06-epoll
  talks +hello
}

@test "07-chat builds with its own Makefile, and talks" {
  builds_elsewhere 07-chat
  talks '+welcome ann' -n ann
}

@test "08-tls builds with its own Makefile, makes its own certificates, and talks" {
  builds_elsewhere 08-tls
  [[ -s $T/else\ where,\ it\'s/08-tls/certs/server.pem ]]
  talks +hello
}

@test "no chapter is left out of this file" {
  local chapter
  for chapter in "$ROOT"/0*/; do
    chapter=$(basename "$chapter")
    grep -qx "  builds_elsewhere $chapter" "$BATS_TEST_FILENAME" || complain "$chapter is missing"
  done
}
