# shellcheck shell=bash
# Runs once before all tests: builds what they drive, so that a plain `bats tests/` works.

setup_suite() {
  local root library
  root=$(cd "${BASH_SOURCE[0]%/*}/.." && pwd)
  PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin # not every user has them there
  # Where distributions that do not follow bats put its libraries.
  export BATS_LIB_PATH=$BATS_LIB_PATH:/usr/share/bats:/usr/lib:/usr/share
  for library in bats-support bats-assert; do
    if ! bats_load_library_safe "$library" 2>/dev/null; then
      echo "$library is missing: make setup installs it"
      return 1
    fi
  done
  # With -j, files are side by side already: each has fewer lanes then (tests/helpers/common.bash).
  # shellcheck disable=SC2154 # bats-exec-suite's
  ((${num_jobs:-1} == 1)) || export LANES=${LANES:-2}
  # A UDP socket that connects sends nothing, but needs a way there.
  if [[ $(LC_ALL=C bash -c 'exec 3<>/dev/udp/127.0.0.1/9' 2>&1) == *unreachable* ]]; then
    echo 'the loopback interface is down, and every test needs it: ip link set lo up'
    return 1
  fi
  [[ ! ${KIT_BUILT-} ]] || return 0 # by tests/bin/exercise
  # A make above us has a jobserver, which is not ours to wait for. Two suites that start at the
  # same time take turns to build.
  unset MAKEFLAGS MFLAGS MAKELEVEL
  mkdir -p "$root/build"
  if ! flock "$root/build/lock" make -s -C "$root" -j "$(nproc)" all helpers steps; then
    echo "the build failed; make doctor says what is missing"
    return 1
  fi
}
