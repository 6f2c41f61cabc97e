# 5-5, a connection that ends in mid-sentence.
# bats file_tags=5-5

CHAPTER=05-select
load ../helpers/common

# select(2), BUGS: a socket may be reported as ready though there is nothing to read.
@test "select reports data that is not there: the client is served once data arrives" {
  FAULT_ENV='FAULT_FAIL=recv:EAGAIN:2' start_server
  receives '+one\n+two\n+three\n' send:'one\n' line send:'two\n' line send:'thr' sleep:20 \
    send:'ee\n' line
}
