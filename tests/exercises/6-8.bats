# 6-8, the server that works hardest when nobody is there.
# bats file_tags=6-8

CHAPTER=06-epoll
load ../helpers/common

# timerfd_create(2), "Operating on a timer file descriptor": it is readable until it is read.
# bats test_tags=kit
@test "when the last connection has timed out, the server uses no CPU time" {
  local ticks
  start_server -i 1
  receives '+hello\n-idle for too long\n' send:'hello\n' line line eof
  sleep 0.5 # it is closed, at the latest 300 ms after it was told
  ticks=$(cpu_ticks "$SERVER_PID")
  sleep 0.5
  ticks=$(($(cpu_ticks "$SERVER_PID") - ticks))
  ((ticks < 10)) || complain "nobody is connected, and the server has used $ticks of 50 ticks"
}
