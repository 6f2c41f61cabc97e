CHAPTER=07-chat
load ../../tests/helpers/common
load ../../tests/helpers/chat

teardown() {
  all_leave
  common_teardown
}

# differ SAID TRUE: what bob heard when ann pretended, and when it was true.
differ() {
  [[ $1 != "$2" ]] || complain "bob cannot tell ann's words from a notice of the server: $1"
}

# docs/07-chat.md: no member can write a line that looks like the server's. How a server words its
# notices is its own choice. So ann pretends, then it is true, and bob must hear different lines.
@test "a member that says that it has a new name is not heard like one that has it" {
  start_server
  join bob ann
  says ann '/me is now known as eve'
  next_line bob
  said=$HEARD
  says ann '/nick eve'
  next_line bob
  differ "$said" "$HEARD"
}

@test "a member that says that it has left is not heard like one that has left" {
  start_server
  join bob ann
  says ann '/me left'
  next_line bob
  said=$HEARD
  leaves ann
  next_line bob
  differ "$said" "$HEARD"
}
