# The charts, the stages, and the terminal of docs/pictures, and what draws them.

bats_require_minimum_version 1.5.0

setup() {
  load ../helpers/common
  need python3
  T=$BATS_TEST_TMPDIR
  cd "$ROOT" || return
}

# words PICTURE: its title and description, which are made from the same figures.
words() {
  sed -n '/<title id/,/<\/desc>/p' "$1"
}

# same_words DRAWING: what it draws says the same as the picture that is there.
same_words() {
  local name=$1
  shift
  python3 -B "$@" "$T/$name.svg"
  diff <(words "docs/pictures/$name.svg") <(words "$T/$name.svg") ||
    complain "docs/pictures/$name.svg is not up to date: make pictures"
}

@test "each chart says what its figures say" {
  local chart
  need gnuplot
  for chart in memory:06 queue:07 latency:06; do
    same_words "${chart#*:}-${chart%:*}" tests/pictures/charts.py "${chart%:*}" \
      "docs/pictures/${chart#*:}-${chart%:*}.csv"
  done
  for chart in cpu rate p99; do
    same_words "bench-$chart" tests/pictures/charts.py "bench-$chart" docs/pictures/bench.csv
  done
}

@test "the picture of the stages is that of its file" {
  need dot
  same_words stages tests/pictures/svg.py tests/pictures/stages.dot
}

@test "the picture of two terminals is that of its screens; wide characters take two columns" {
  same_words 07-terminal tests/pictures/terminal.py docs/pictures/07-terminal.txt
  printf '== ann 1 0\n\e[1m\e[31m中文\e[0m: ab\n' >"$T/screens"
  run -0 python3 -B tests/pictures/terminal.py "$T/screens" "$T/screens.svg"
  run -0 cat "$T/screens.svg"
  assert_output --partial 'font-weight="bold" x="12 28.8" y="49">中文<'
  assert_output --partial 'x="45.6" y="49" textLength="33.6"'
}

# 07-chat/queue.h has the bounds.
@test "in the measured queues, one member is dropped at the limit, and one lags and is kept" {
  run -0 awk -F, '
    /^#/ || /^ms/ { next }
    { last[$2] = $3; if ($3 > most[$2]) most[$2] = $3 }
    END {
      limit = 256 * 1024
      print "mute is dropped near it:", (most["mute"] > 0.9 * limit && most["mute"] <= limit)
      print "bob has lagged:", (most["bob"] > 64 * 1024 && most["bob"] <= limit)
      print "bob is owed nothing:", (last["bob"] == 0)
      print "carol has never lagged:", (most["carol"] <= 64 * 1024)
    }' docs/pictures/07-queue.csv
  ((${#lines[@]} == 4))
  refute_line --regexp '0$'
  grep -q 'QUEUE_LIMIT = 256 \* 1024' 07-chat/queue.h
  grep -q 'QUEUE_LAG = QUEUE_LIMIT / 4' 07-chat/queue.h
}

# A picture that is too small is refused: its text has 10 pixels where it is 360 pixels wide.
@test "each picture has a name, a description, the reader's fonts, and colors for the dark" {
  local picture part
  for picture in docs/pictures/{0?-states,06-latency,06-memory,07-queue,07-terminal}.svg \
    docs/pictures/{bench-cpu,bench-p99,bench-rate,stages}.svg; do
    run -0 cat "$picture"
    for part in ' role="img" ' '<title id="title">' '<desc id="description">' \
      'prefers-color-scheme: dark' 'sans-serif'; do
      assert_output --partial "$part"
    done
    python3 -c 'import sys, xml.dom.minidom; xml.dom.minidom.parse(sys.argv[1])' "$picture"
  done
  run -1 python3 -B - <<<"import sys; sys.path.insert(0, 'tests/pictures'); import svg
svg.picture(600, 10, 'wide', '', '<text font-size=\"14\">small</text>')"
  assert_output 'wide: 600 units wide, with text of 14'
}

@test "a chart of the benchmarks names a server with one value, and has a band for the spread" {
  need gnuplot
  printf '%s\n' figure,server,title,connections,median,low,high \
    cpu,06,06,1,40,39,41 cpu,06,06,10,20,19,22 'cpu,03,03 one client,1,45,,' >"$T/bench.csv"
  run -0 python3 -B tests/pictures/charts.py bench-cpu "$T/bench.csv" "$T/bench.svg"
  grep -q '03 one client' "$T/bench.svg"
  grep -q 'fill="#dddddd"' "$T/bench.svg" # the band of 06
}
