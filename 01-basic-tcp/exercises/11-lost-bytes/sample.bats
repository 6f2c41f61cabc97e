CHAPTER=01-basic-tcp
load ../../tests/helpers/common

# What comes from recv(2) is bytes with a length, not a string.
@test "a NUL comes back like any other byte" {
  start_server
  receives 'one\0two' send:'one\0two' half-close eof
}
