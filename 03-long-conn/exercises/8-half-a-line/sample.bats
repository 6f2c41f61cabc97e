CHAPTER=03-long-conn
load ../../tests/helpers/common

# What has no newline yet is no line, and never will be one.
@test "bytes after the last newline get no reply, only the end of file" {
  start_server
  receives '+one\n' send:'one\ntwo' half-close eof
  receives '' send:'half a line' half-close eof
}
