# shellcheck shell=bash
# What hostile clients do to the programs of chapter 04. See common.bash.

export GREETING='欢迎访问服务器!'

# set_up [FAULT…]: starts the program. server.c gets the steps' number of workers, and a short
# timeout, which is longer only because we look later, too.
set_up() {
  local options=()
  [[ $STEP != server ]] || options=(-w 5 -q 16 -i "$PATIENCE")
  FAULT_ENV=$* start_step "${options[@]}"
}

# hello: sets HELLO, the verbs of a peer that gets this step's answer.
hello() {
  HELLO=(send:'hello\n' half-close line)
  [[ $STEP != 2-pool ]] || HELLO=(line)
}

is_answer() {
  [[ $1 == +hello || $1 == "$GREETING" ]]
}

# answered N FILE: it has so many answers and nothing else.
answered() {
  (($(wc -l <"$2") == $1)) && is_answer "$(sort -u "$2")"
}

# served: a fresh client gets its answer.
served() {
  local answer
  hello
  answer=$(peer "${HELLO[@]}") || return
  is_answer "$answer"
}

# crowd N VERB…: so many clients, which are all connected when this returns.
crowd() {
  local count=$1
  shift
  NAME=crowd start_peer -n "$count" "$PORT" ready:"$T/here" "$@" || return
  wait_for 5 test -e "$T/here"
}

has_fds() {
  (($(fds "$STEP_PID") >= $1))
}

threads() {
  set -- "/proc/$STEP_PID/task"/*
  echo $#
}

behavior '5 silent clients' 'Five clients connect and stay silent; then a sixth one speaks.'
on_5_silent_clients() {
  local within=2000
  set_up && hello || return
  crowd 5 until:"$T/go" close || return
  NAME=sixth start_peer "$PORT" "${HELLO[@]}" || return
  # The server lets a silent client go after 1 s (times PATIENCE, as below).
  [[ $STEP != server ]] || within=500
  if NAME=sixth step_ends "$within"; then
    ((HOW == 0)) && echo ✓
    return
  fi
  [[ $STEP == server ]] || touch "$T/go" # it does not wait for them to go
  NAME=sixth peer_ends && ((HOW == 0)) || return
  if [[ -e $T/go ]]; then
    echo 'sixth waits'
  else
    echo 'waits for a timeout'
  fi
}

# With five workers, sixteen in the queue and one in the acceptor's hand, a bounded server has taken
# 22, and leaves the others in the backlog.
behavior '200 clients' '200 clients connect and speak, while each answer takes 3 s.'
on_200_clients() {
  local before
  (($(ulimit -n) >= 300)) || ulimit -Sn 300 || unseen '300 descriptors are needed' || return
  set_up FAULT_DELAY=send:3000000 || return
  before=$(fds "$STEP_PID")
  crowd 200 send:'hello\n' until:"$T/go" || return
  wait_for 5 has_fds $((before + 22)) || return
  moment 0.3
  if ((before + 22 == $(fds "$STEP_PID"))); then
    echo ✓
    return
  fi
  wait_for 5 has_fds $((before + 200)) || return
  if (($(threads) > 200)); then
    echo '200 threads'
  else
    echo '200 descriptors'
  fi
}

# accept(2): EMFILE
behavior 'accept fails' 'When the second client comes, no descriptor is free.'
on_accept_fails() {
  set_up FAULT_FAIL=accept:EMFILE:@2 || return
  served # a program that ends at the second accept may end before it answers the first client
  if served; then
    echo ✓
  else
    tell_end
  fi
}

# pthread_create(3): EAGAIN
behavior 'no threads' 'The system refuses the fourth thread.'
on_no_threads() {
  if ! set_up FAULT_FAIL=pthread_create:EAGAIN:@4 2>"$T/start"; then
    step_ends && ((HOW == 1)) && echo 'does not start'
    return
  fi
  for _ in 1 2 3; do
    served || return
  done
  if served; then
    echo ✓
  else
    tell_end
  fi
}

behavior 'SIGTERM, silent client' 'SIGTERM comes while a client is connected and silent.'
on_sigterm__silent_client() {
  local first=(send:'hello\n' line)
  [[ $STEP != 2-pool ]] || first=()
  set_up || return
  NAME=silent ready_peer "${first[@]}" HERE until:"$T/go" close || return
  kill -TERM "$STEP_PID"
  if step_ends 2500; then
    case $HOW in
      0) echo ✓ ;;
      SIGTERM) echo killed ;;
    esac
    return
  fi
  touch "$T/go"
  step_ends && ((HOW == 0)) && echo 'waits for it'
}

# twelve_accepted BEFORE: so many more descriptors are open; or this machine is so slow that some
# clients have their answers already.
twelve_accepted() {
  has_fds $(($1 + 12)) || [[ -s $T/crowd.out ]]
}

behavior 'SIGTERM, replies due' 'SIGTERM comes when 12 clients have spoken; an answer takes 0.1 s.'
on_sigterm__replies_due() {
  local before talk=(send:'hello\n' half-close HERE line eof)
  [[ $STEP != 2-pool ]] || talk=(HERE line eof)
  set_up FAULT_DELAY=send:100000 || return
  before=$(fds "$STEP_PID")
  NAME=crowd start_peer -n 12 "$PORT" "${talk[@]/#HERE/ready:$T/spoken}" || return
  wait_for 5 test -e "$T/spoken" && wait_for 5 twelve_accepted "$before" || return
  kill -TERM "$STEP_PID"
  step_ends || return
  case $HOW in
    SIGTERM) echo killed ;;
    0)
      NAME=crowd peer_ends && ((HOW == 0)) || return
      answered 12 "$T/crowd.out" && echo ✓
      ;;
  esac
}

# watch_threads: from now on, set_up starts the program with ThreadSanitizer.
watch_threads() {
  if [[ $STEP != server ]]; then
    instrument thread
    return
  fi
  [[ ! ${GUEST-} ]] || unseen 'this server is not built here' || return
  flock "$ROOT/build/lock" make -s -C "$ROOT" SAN=thread 04 >&2 ||
    unseen 'the server cannot be built with ThreadSanitizer' || return
  quote SERVER "$ROOT/build/thread/$CHAPTER/server"
}

# A race is undefined behavior, C11 5.1.2.4, and shows rarely; so the sanitizer has to look.
behavior 'data race' 'Ten clients come at once; ThreadSanitizer watches.'
on_data_race() {
  watch_threads || return
  hello
  set_up || unseen 'ThreadSanitizer does not run here' || return
  peer -n 10 "${HELLO[@]}" >"$T/replies" || return
  stop_step || return
  if grep -q 'ThreadSanitizer: data race' "$T/step.err"; then
    echo 'data race'
  elif [[ ! -s $T/step.err ]]; then
    echo ✓
  fi
}
