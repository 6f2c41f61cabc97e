# 7-5, the member that hears itself.
# bats file_tags=7-5

CHAPTER=07-chat
load ../helpers/common

# A stream has no messages: one segment may bring the name and all that is said (chapter 03).
@test "lines sent in one segment with a name, or with a new name, do not come back" {
  start_server
  receives '+welcome bob, here: bob\n* bob is now known as eve\n+here: eve\n' \
    send:'bob\nhello\n/nick eve\nhello again\n/me waves\n/who\n' half-close eof
}
