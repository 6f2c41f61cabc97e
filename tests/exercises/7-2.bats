# 7-2, several rooms: /join, /part and /list. Everyone begins in the lobby.
# bats file_tags=7-2

CHAPTER=07-chat
load ../helpers/common
load ../helpers/chat

teardown() {
  all_leave
  common_teardown
}

# goes NAME ROOM PEOPLE [ROOM_NAME]: goes there, and hears who is there (himself as the last). The
# question is for where the history ends.
goes() {
  says "$1" "/join $2"
  hears "$1" "+joined ${4:-$2}" "+here: $3" || return
  says "$1" /who
  until next_line "$1" && [[ $HEARD != '(earlier) '* ]]; do :; done
  [[ $HEARD == "+here: $3" ]] || complain "$1 heard $HEARD"
}

# asks NAME COMMAND REPLY
asks() {
  says "$1" "$2"
  hears "$1" "$3"
}

# lists NAME LINE: that is what /list says now.
lists() {
  local line
  says "$1" /list
  IFS= read -r -t 5 -u "${MEMBERS[$1]}" line
  [[ $line == "$2" ]]
}

# The golden transcript.
@test "two members go from the lobby to tea: each hears who comes, goes and is in its room" {
  start_server
  comes ann
  asks ann ann '+welcome ann, here: ann'
  comes bob
  asks bob bob '+welcome bob, here: ann, bob'
  hears ann '* bob joined'
  asks ann '/list' '+rooms: lobby (2)'
  says ann '/join tea'
  hears ann '+joined tea' '+here: ann'
  hears bob '* ann left (for tea)'
  asks bob /list '+rooms: lobby (1), tea (1)'
  says ann 'is anybody there?'
  asks bob /who '+here: bob'
  asks ann /who '+here: ann'
  says bob '/join tea'
  hears bob '+joined tea' '+here: ann, bob' '(earlier) ann: is anybody there?'
  hears ann '* bob joined'
  asks ann /list '+rooms: lobby (0), tea (2)'
  says bob 'here I am'
  hears ann 'bob: here I am'
  nobody_hears_more
}

@test "messages, /me, a change of name and /who concern the member's own room only" {
  start_server
  join ann bob eve tom
  goes eve tea eve
  hears tom '* eve left (for tea)'
  goes tom tea 'eve, tom'
  hears eve '* tom joined'
  hears ann '* eve left (for tea)' '* tom left (for tea)'
  hears bob '* eve left (for tea)' '* tom left (for tea)'
  says ann 'in the lobby'
  says ann '/me waves'
  asks ann '/nick ANN' '* ann is now known as ANN'
  hears bob 'ann: in the lobby' '* ann: waves' '* ann is now known as ANN'
  says tom 'in the tea room'
  hears eve 'tom: in the tea room'
  asks tom /who '+here: eve, tom'
  asks bob /who '+here: ANN, bob'
  nobody_hears_more
}

@test "/part and /join lobby lead back to the lobby; a member who is there already is told so" {
  start_server
  join ann bob
  goes ann tea ann
  hears bob '* ann left (for tea)'
  says ann /part
  hears ann '+joined lobby' '+here: bob, ann'
  hears bob '* ann joined'
  asks ann /list '+rooms: lobby (2)'
  goes ann tea ann
  hears bob '* ann left (for tea)'
  goes ann Lobby 'bob, ann' lobby
  hears bob '* ann joined'
  says ann /part
  next_line ann
  [[ $HEARD == '-you are in lobby already' ]]
  nobody_hears_more
}

@test "a name belongs to one member in all rooms, and /msg reaches any room" {
  start_server
  join ann bob
  goes ann tea ann
  hears bob '* ann left (for tea)'
  asks bob '/msg ann where are you?' '+sent to ann'
  hears ann 'bob (to you): where are you?'
  comes twin
  says twin ANN
  next_line twin
  [[ $HEARD == '-name ANN: '* ]] || complain "twin heard $HEARD"
  says bob '/nick Ann'
  next_line bob
  [[ $HEARD == '-name Ann: '* ]] || complain "bob heard $HEARD"
  leaves twin
  nobody_hears_more
}

@test "each room has its own history; it ends with the room, but that of the lobby stays" {
  start_server
  join ann bob
  says ann 'said in the lobby'
  hears bob 'ann: said in the lobby'
  goes ann tea ann
  hears bob '* ann left (for tea)'
  says ann 'said at tea'
  asks ann /who '+here: ann'
  says bob '/join tea'
  hears bob '+joined tea' '+here: ann, bob' '(earlier) ann: said at tea'
  hears ann '* bob joined'
  goes ann cake ann
  hears bob '* ann left (for cake)'
  says bob '/part'
  hears bob '+joined lobby' '+here: bob' '(earlier) ann: said in the lobby'
  asks bob /list '+rooms: lobby (1), cake (1)'
  says bob '/join tea'
  hears bob '+joined tea' '+here: bob'
  asks bob /list '+rooms: lobby (0), cake (1), tea (1)'
  nobody_hears_more
}

@test "room names follow the rules for members' names; Tea and tea are the same room" {
  local bad
  start_server
  join ann bob
  for bad in 'a b' '*' '-tea' '+tea' '/tea' '(tea)' 'a:b' 'a,b' 'a\x1b[2J' 'a\xff' 'a\xc2\xa0b' \
    "$(printf %033d 0)"; do
    sends ann "/join $bad\n"
    next_line ann
    [[ $HEARD =~ ^-room.*[a-z]{3} ]] || complain "room $bad: $HEARD"
    is_clean "$HEARD" || complain "room $bad: what is not for a terminal in $(printf %q "$HEARD")"
  done
  for bad in /join '/join '; do
    asks ann "$bad" '-usage: /join ROOM'
  done
  goes ann "$(printf %032d 0)" ann
  goes ann 茶 ann
  goes ann Tea ann
  hears bob "* ann left (for $(printf %032d 0))"
  goes bob tEA 'ann, bob' Tea
  hears ann '* bob joined'
  asks ann '/join TEA' '-you are in Tea already'
  asks ann /list '+rooms: lobby (0), Tea (2)'
  nobody_hears_more
}

@test "64 rooms at most; when the last member leaves a room, another one can be opened" {
  local i
  start_server -r 0
  join bob
  for i in {1..63}; do
    comes "m$i"
    asks "m$i" "m$i" "+welcome m$i, here: bob, m$i"
    says "m$i" "/join room$i"
    hears "m$i" "+joined room$i" "+here: m$i"
    hears bob "* m$i joined" "* m$i left (for room$i)"
  done
  for _ in 1 2; do
    says bob '/join one-more'
    next_line bob
    [[ $HEARD == '-room one-more: '* ]] || complain "bob heard $HEARD"
  done
  says bob /list
  next_line bob
  [[ $HEARD == '+rooms: lobby (1), room1 (1), '*', room63 (1)' ]] || complain "bob heard $HEARD"
  goes bob room7 'm7, bob'
  leaves m9
  says m8 '/join room7'
  hears m8 '+joined room7' '+here: m7, bob, m8'
  hears bob '* m8 joined'
  says bob '/join one-more'
  hears bob '+joined one-more' '+here: bob'
}

@test "however a member leaves, those in the same room are told, and no one else" {
  start_server
  join ann bob
  goes bob tea bob
  hears ann '* bob left (for tea)'
  "$PEER" "$PORT" send:'eve\n/join tea\n' line line line send:'/quit good night\n' eof >"$T/eve"
  hears ann '* eve joined' '* eve left (for tea)'
  hears bob '* eve joined' '* eve left: good night'
  "$PEER" "$PORT" send:'eve\n/join tea\n' line line line half-close eof >"$T/eve"
  hears ann '* eve joined' '* eve left (for tea)'
  hears bob '* eve joined' '* eve left'
  "$PEER" "$PORT" send:'eve\n/join tea\n' line line line reset >"$T/eve"
  hears ann '* eve joined' '* eve left (for tea)'
  hears bob '* eve joined' '* eve left (connection lost)'
  "$PEER" "$PORT" send:'eve\n/join cake\n' line line line reset >"$T/eve"
  hears ann '* eve joined' '* eve left (for cake)'
  wait_for 5 lists ann '+rooms: lobby (1), tea (1)' # the server may not have seen the reset yet
  nobody_hears_more
}

@test "/help names /join, /part and /list" {
  local word commands=''
  start_server
  join ann
  says ann /help
  says ann /who
  until next_line ann && [[ $HEARD == +here:* ]]; do
    commands+=" $HEARD"
  done
  for word in /join /part /list; do
    [[ $commands == *$word* ]] || complain "/help does not name $word: $commands"
  done
}

# hears_to_file NAME: to the end of file, all at once; what follows here reads from there. (From a
# socket, bash reads one byte at a time.)
hears_to_file() {
  local fd
  timeout $((10 * PATIENCE)) cat <&"${MEMBERS[$1]}" >"$T/heard" ||
    complain 'no end of file' || return
  leaves "$1"
  exec {fd}<"$T/heard"
  MEMBERS[$1]=$fd
}

# 64 KiB of history in each room: more than four of them do not fit into a member's queue.
# bats test_tags=kit,slow
@test "a member that joins five rooms with a full history in one segment is not dropped" {
  local i words
  start_server -r 0 -k 1000
  join eve
  for i in 1 2 3 4 5; do
    comes "m$i"
    says "m$i" "m$i"
    says "m$i" "/join room$i"
    hears "m$i" "+welcome m$i, here: eve, m$i" "+joined room$i" "+here: m$i"
    for words in {1..40}; do
      says "m$i" "$(printf '%02000d' "$words")"
    done
    asks "m$i" /who "+here: m$i"
    hears eve "* m$i joined" "* m$i left (for room$i)"
  done
  printf '/join room%d\n' {1..5} >"$T/joins"
  printf '/who\n/quit\n' >>"$T/joins"
  cat "$T/joins" >&"${MEMBERS[eve]}" # printf of bash would write each line by itself
  hears_to_file eve
  hears eve '+joined room1'
  for i in 1 2 3 4 5; do
    hears eve "+here: m$i, eve"
    while next_line eve && [[ $HEARD == "(earlier) m$i: "* ]]; do
      words=${HEARD##*: }
    done
    [[ $words == "$(printf '%02000d' 40)" ]] || complain "the last of room$i: ${words:0:50}"
    [[ $HEARD == "+joined room$((i + 1))" || $i/$HEARD == '5/+here: m5, eve' ]] ||
      complain "eve heard $HEARD"
  done
}

# More than fits into eve's queue. She reads all of it, only later than it is sent.
# bats test_tags=kit
@test "a member that pastes 40 joins, to and fro between two full rooms, is not dropped" {
  local i words
  start_server -r 0 -k 1000
  join eve
  for i in 1 2; do
    comes "m$i"
    says "m$i" "m$i"
    says "m$i" "/join room$i"
    hears "m$i" "+welcome m$i, here: eve, m$i" "+joined room$i" "+here: m$i"
    for words in {1..40}; do
      says "m$i" "$(printf '%02000d' "$words")"
    done
    asks "m$i" /who "+here: m$i"
    hears eve "* m$i joined" "* m$i left (for room$i)"
  done
  { printf '/join room1\n/join room2\n%.0s' {1..20} && echo '/quit'; } >"$T/joins"
  cat "$T/joins" >&"${MEMBERS[eve]}"
  sleep 1
  hears_to_file eve
  i=$(grep -c '^+joined ' "$T/heard")
  ((i == 40)) || complain "eve went to $i rooms"
  assert_equal "$(tail -n 1 "$T/heard")" +bye
}

# For the sanitizers: a room that vanishes while others go to it, or are told of it.
# bats test_tags=kit
@test "thirty members go from room to room and talk: none is lost, and no empty room is left" {
  local i pids=()
  FAULT_ENV='FAULT_SHORT=500' start_server -r 0
  join ann
  printf '/join r%d\nhello\n/list\n/join r%d\n/part\n' {1..20} {4..1} {9..2} {1..8} >"$T/walk"
  for i in {1..30}; do
    "$PEER" "$PORT" send:"m$i\n" file:"$T/walk" send:'/quit\n' eof >"$T/m$i" &
    pids+=($!)
  done
  timeout 20 cat <&"${MEMBERS[ann]}" >"$T/ann" 3>&- &
  for i in {1..30}; do
    wait "${pids[i - 1]}" || complain "m$i came to a bad end"
    assert_equal "$(tail -n 1 "$T/m$i")" +bye
    (($(grep -c '^+joined ' "$T/m$i") == 60)) ||
      complain "m$i has joined $(grep -c '^+joined ' "$T/m$i") times, not 60"
  done
  says ann /list
  wait_for 5 grep -qx '+rooms: lobby (1)' "$T/ann"
}

# bats test_tags=kit
@test "SIGTERM: members in all rooms are told, then end of file follows; exit 0 within 2 s" {
  local name
  start_server
  join ann bob eve
  goes bob tea bob
  hears eve '* bob left (for tea)'
  goes eve cake eve
  hears ann '* bob left (for tea)' '* eve left (for cake)'
  kill "$SERVER_PID"
  for name in ann bob eve; do
    hears "$name" '* server is closing'
    is_closed "$name"
  done
  stop_server 0 0
}
