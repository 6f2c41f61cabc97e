CHAPTER=05-select
load ../../tests/helpers/common

# send(2) takes a part, then a part of the rest, and so on. No two pieces of this reply are alike.
@test "a reply that is sent in many pieces arrives unchanged" {
  FAULT_ENV='FAULT_SHORT=5' start_server
  receives '+abcdefghijklmnopqrstuvwxyz\n' send:'abcdefghijklmnopqrstuvwxyz\n' half-close eof
}
