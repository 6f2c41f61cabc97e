CHAPTER=07-chat
load ../../tests/helpers/common
load ../../tests/helpers/chat

teardown() {
  all_leave
  common_teardown
}

# differ SAID TRUE: what bob heard when ann pretended, and when it was so.
differ() {
  [[ $1 != "$2" ]] || complain "bob cannot tell ann's words from a notice of the server: $1"
}

# docs/07-chat.md: nobody can write a line that looks like the server's. How a server words its
# notices is its own business. So ann pretends, then it is so, and bob must hear two lines.
@test "who says that he has another name now is heard in another way than who has one" {
  start_server
  join bob ann
  says ann '/me is now known as eve'
  next_line bob
  said=$HEARD
  says ann '/nick eve'
  next_line bob
  differ "$said" "$HEARD"
}

@test "who says that he has left is heard in another way than who has left" {
  start_server
  join bob ann
  says ann '/me left'
  next_line bob
  said=$HEARD
  leaves ann
  next_line bob
  differ "$said" "$HEARD"
}
