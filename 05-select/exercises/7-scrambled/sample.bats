CHAPTER=05-select
load ../../tests/helpers/common

# send(2) takes a part, then a part of the rest, and so on. No piece of this reply is like another.
@test "a reply that is sent in many pieces arrives as it was meant" {
  FAULT_ENV='FAULT_SHORT=5' start_server
  receives '+abcdefghijklmnopqrstuvwxyz\n' send:'abcdefghijklmnopqrstuvwxyz\n' half-close eof
}
