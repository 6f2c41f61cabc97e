# The exercises for a class: a mystery for each name, grades, and the handout. On a kit of one small
# chapter; see docs/exercises.md, "In a class".

bats_require_minimum_version 1.5.0
export SANITIZERS=undefined CFLAGS=-O0 # built sooner

load small-kit

setup_file() {
  make_small_kit
  exercise 4 hunt bug 's/"hello\\n"/"hallo\\n"/'
  echo 'tests=a client is told hello' >>"$DIR/about"
}

setup() {
  load ../helpers/common
  need patch
  T=$BATS_TEST_TMPDIR
  cp -a "$KIT" "$T/kit"
  KIT=$T/kit
  cd "$KIT" || return
}

# hand_in STUDENT/COPY [SED]: the chapter, as a student would hand it in, after that change.
hand_in() {
  mkdir -p "students/$1"
  cp 01-hello/*.c util.h "students/$1/"
  sed -i "s,\.\./util,util,; ${2-}" "students/$1/server.c"
}

# bound_needs: what the bounds of memory and processes stand on.
bound_needs() {
  unshare --user --map-root-user --net --pid --mount-proc --fork --kill-child true 2>/dev/null ||
    skip 'no namespaces for users here (user_namespaces(7))'
}

@test "mystery SEED=: a name always gives the same bug, whatever has passed; names share all bugs" {
  local name all which
  all=$(for name in a b c d e f g h i j k l; do
    bash -c '. tests/bin/exercise.sh; seeded_hunt 1 "$1"' - "$name"
  done | sort -u | paste -s)
  assert_equal "$all" $'1-2\t1-4'
  run -2 kit_make mystery-1 SEED=anna
  which=$(base64 -d work/mystery-1/.which)
  refute_output --partial "$which"
  printf '%s passed mystery 0\n' "$which" >work/state
  rm -r work/mystery-1
  run -2 kit_make mystery-1 SEED=anna
  assert_equal "$(base64 -d work/mystery-1/.which)" "$which"
  # a copy with another bug is not taken for it
  for name in a b c d e f g h i j k l; do
    bash -c '. tests/bin/exercise.sh; seeded_hunt 1 "$1"' - "$name" | grep -qx "$which" || break
  done
  run -2 kit_make mystery-1 SEED="$name"
  assert_output --partial "work/mystery-1 has not the bug of SEED=$name"
  run -2 tests/bin/exercise mystery 9 3>&-
}

@test "grade: points for each requirement of a build, a hunt, a catch and a mystery, as CSV" {
  hand_in anna/1-1 's/"hello\\n", 6/"hello\\nbye\\n", 10/'
  hand_in anna/1-2
  hand_in 'b "e" n/1-2' 's/, 6,/, 5,/'
  mkdir -p students/anna/{1-3,notes,9-9} 'students/b "e" n/1-3'
  cp 01-hello/exercises/3-it/sample.bats students/anna/1-3/catch.bats
  printf '@test "any" {\n  true\n}\n' >'students/b "e" n/1-3/catch.bats'
  hand_in carla/mystery-1 's/, 6,/, 5,/'
  run -0 --separate-stderr kit_make -s grade DIR=students FORMAT=csv
  assert_output - <<'END'
student,exercise,requirement,points,of
"anna",1-1,"own test",1,1
"anna",1-1,"the chapter's other tests",1,1
"anna",1-2,"a client is told hello",1,1
"anna",1-2,"the chapter's other tests",1,1
"anna",1-3,"it passes with the chapter, and fails with the mutant",1,1
"b ""e"" n",1-2,"a client is told hello",0,1
"b ""e"" n",1-2,"the chapter's other tests",1,1
"b ""e"" n",1-3,"it passes with the chapter, and fails with the mutant",0,1
"carla",mystery-1,"a client is told hello",0,1
"carla",mystery-1,"the chapter's other tests",1,1
END
  [[ ! -e work ]]
}

@test "grade FORMAT=junit: a testsuite for a copy, well-formed whatever the student's name" {
  need python3
  hand_in 'a & <b>/1-2' 's/, 6,/, 5,/'
  tests/bin/grade 'students/a & <b>/1-2' junit >"$T/report.xml" 3>&-
  run -0 python3 -c '
import sys, xml.etree.ElementTree as tree
for suite in tree.parse(sys.argv[1]).getroot():
    print(suite.attrib)
    for case in suite:
        print(case.get("name"), [(part.tag, "they differ" in part.text) for part in case])
' "$T/report.xml"
  assert_output - <<'END'
{'name': 'a & <b> 1-2', 'tests': '2', 'failures': '1', 'skipped': '0'}
a client is told hello [('failure', True)]
the chapter's other tests []
END
}

@test "grade: no Makefile, link or odd name of a student's is followed or run" {
  hand_in eve/1-2
  cd students/eve/1-2
  local name
  for name in Makefile makefile GNUmakefile x.mk; do
    printf '$(shell touch "%s/ran-%s")\nall server client:\n\ttouch "%s/ran-%s"\n' "$T" "$name" \
      "$T" "$name" >"$name"
  done
  echo >'$(shell touch ran-shell).c'
  echo >';touch ran-semicolon;.c'
  echo >'`touch ran-quote`.c'
  echo >$'new\nline.c'
  echo >'-o x.c'
  mkfifo pipe.c
  ln -s /etc/passwd passwd.c
  ln -s / everything
  mkdir -p ../../mallory ../1-4
  ln -s "$KIT/01-hello" ../../mallory/1-2
  cp "$KIT/01-hello/server.c" "$T/server.c"
  rm server.c
  ln -s "$KIT/01-hello/server.c" ../1-4/server.c
  sed 's,\.\./util,util,' "$T/server.c" >server.c
  cd "$KIT"
  run -0 --separate-stderr kit_make -s grade DIR=students
  assert_output - <<'END'
student,exercise,requirement,points,of
"eve",1-2,"a client is told hello",1,1
"eve",1-2,"the chapter's other tests",1,1
"eve",1-4,"a client is told hello",0,1
"eve",1-4,"the chapter's other tests",0,1
END
  run find "$T" -name 'ran-*' ! -path '*/students/*'
  refute_output
  cmp "$T/server.c" 01-hello/server.c
}

# What each does happens before it listens, so no test of the chapter can end it first.
@test "grade: time, memory and the number of processes are bounded, and nothing stays behind" {
  bound_needs
  local at='s/int main(.*/&\n   '
  hand_in memory/1-2 "$at for (;;) memset(malloc(1 << 24), 1, 1 << 24);/"
  hand_in processes/1-2 "$at for (int i = 0; i < 400; i++) if (fork() == 0) for (;;) pause();/"
  run -0 env START_WITHIN=200 MEMORY=1500 PROCESSES=300 timeout 200 tests/bin/grade students 3>&-
  assert_line 'grade: memory 1-2 was ended: it took more than 1500 MB'
  assert_line 'grade: processes 1-2 was ended: it took more than 300 processes'
  assert_equal "$(grep -c ',0,1$' <<<"$output")" 4
  rm -r students
  hand_in time/1-2 "$at if (fork() == 0 \&\& setsid() > 0)\
    execlp(\"sleep\", \"sleep\", \"86423.5\", NULL); for (;;) pause();/"
  run -0 env START_WITHIN=200 TIME=8 timeout 100 tests/bin/grade students 3>&-
  assert_line 'grade: time 1-2 was ended: it took more than 8 seconds'
  assert_equal "$(grep -c ',0,1$' <<<"$output")" 2
  run -1 pgrep -f 'sleep 86423[.]5'
}

# Each of the three costs a compilation, so they run at the same time.
@test "check and stress of a DIR have the same bounds, and nothing stays behind" {
  bound_needs
  local at='s/int main(.*/&\n   ' job
  hand_in memory/1-2 "$at for (int i = 0; i < 64; i++) memset(malloc(1 << 24), 1, 1 << 24);\
    for (;;) pause();/"
  hand_in processes/1-4 "$at for (int i = 0; i < 400; i++) if (fork() == 0) for (;;) pause();/"
  hand_in time/1-2 "$at if (fork() == 0 \&\& setsid() > 0)\
    execlp(\"sleep\", \"sleep\", \"86424.5\", NULL); for (;;) pause();/"
  bounded_run memory 1-2 check MEMORY=500
  bounded_run processes 1-4 check PROCESSES=300
  bounded_run time 1-2 stress TIME=8
  wait
  for job in 'memory 500 MB' 'processes 300 processes' 'time 8 seconds'; do
    run -0 cat "$T/${job%% *}"
    assert_line --regexp "^exercise: 1-[24] was ended: it took more than ${job#* }$"
    refute_line --partial ': passed'
    assert_line 'status 1'
  done
  run -1 pgrep -f 'sleep 86424[.]5'
  run -2 env DIR=students/time/1-2 TIME=soon tests/bin/exercise check 1-2 3>&-
  assert_output 'exercise: TIME, MEMORY and PROCESSES are numbers above 0'
}

# bounded_run STUDENT N-M COMMAND BOUND: in the background, into the file STUDENT.
bounded_run() {
  { env DIR="students/$1/$2" START_WITHIN=200 N=3 "$4" timeout 250 tests/bin/exercise "$3" "$2" \
    2>&1 3>&- &&
    echo 'status 0' || echo 'status 1'; } >"$T/$1" 3>&- &
}

@test "grade: called wrongly, it says so, and exits with 2" {
  mkdir students
  run -2 tests/bin/grade none csv 3>&-
  assert_output "grade: DIR: there is no directory 'none'; make grade DIR=students FORMAT=csv"
  run -2 tests/bin/grade students pdf 3>&-
  assert_output "grade: FORMAT: 'pdf' is neither csv nor junit"
  run -2 env TIME=soon tests/bin/grade students csv 3>&-
  assert_output 'grade: TIME, MEMORY and PROCESSES are numbers above 0'
}

@test "handout: each exercise starts there, and is judged, without a patch or a second hint" {
  need git
  git init -q
  printf '/build/\n/work/\nserver\nclient\n' >.gitignore
  git add -A
  git -c user.name=t -c user.email=t@example.org commit -qm kit
  mkdir students "$T/out"
  echo secret >students/points.csv # not the kit's
  run -0 kit_make -s handout TO="$T/out/handout.tar.gz"
  tar -xzf "$T/out/handout.tar.gz" -C "$T/out"
  cp -r build "$T/out/socket-stages/" # only to save compiling
  cd "$T/out/socket-stages"
  touch build/helpers/* build/fault.so
  run find . \( -name '*.patch' -o -name alt -o -name 'sample.bats' -o -name 'hint-[23]' -o \
    -name students -o -name .git \) ! -path './build/*'
  refute_output
  run -2 kit_make exercise-1-1
  assert_line 'FAILED: own test'
  run -2 kit_make exercise-1-2
  assert_line 'FAILED: a client is told hello'
  assert_line --partial 'received 5'
  sed -i 's/, 5,/, 6,/' work/1-2/server.c
  run -0 kit_make exercise-1-2
  run -2 kit_make solution-1-2
  assert_line 'exercise: a handout has no solutions: ask your teacher'
  kit_make hint-1-1
  run -0 kit_make hint-1-1
  assert_line 'this is hint 1'
  run -2 kit_make mystery-1 SEED=anna
  assert_line 'work/mystery-1 has a bug. Find it.'
  mkdir work/1-3
  cp "$KIT/01-hello/exercises/3-it/sample.bats" work/1-3/catch.bats
  run -0 kit_make exercise-1-3
  assert_line '  the mutant is caught'
  sed -i 's/receives.*/true/' work/1-3/catch.bats
  run -2 kit_make exercise-1-3
  assert_line '! the mutant is not caught'
}

# starts KIT TO: of every hunt, warm-up and mutant there.
starts() {
  bash -c '. "$1/tests/bin/exercise.sh"
    for each in $(all_ids); do
      choose "$each"
      [[ $kind != build ]] || continue
      mkdir -p "$2/$id"
      copy_chapter "$2/$id"
      put_bug "$2/$id"
    done' - "$1" "$2"
}

@test "handout of the whole kit: each start and each mutant is the kit's to the byte" {
  need git
  git -C "$ROOT" rev-parse HEAD || skip 'the kit is not in git here'
  "$ROOT/tests/bin/handout" "$T/handout.tar.gz"
  tar -xzf "$T/handout.tar.gz" -C "$T"
  run find "$T/socket-stages/" \( -name '*.patch' -o -name 'sample.bats' -o -name 'hint-[23]' \
    -o -path '*/exercises/*/alt' \)
  refute_output
  starts "$ROOT" "$T/ours"
  starts "$T/socket-stages" "$T/theirs"
  (($(find "$T/ours" -maxdepth 1 -name '*-*' | wc -l) >= 40))
  diff -r "$T/ours" "$T/theirs"
}
