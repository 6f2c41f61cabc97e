# shellcheck shell=bash
# Runs once before all tests: builds what they drive, so that a plain `bats tests/` works.

setup_suite() {
  local root library
  root=$(cd "${BASH_SOURCE[0]%/*}/.." && pwd)
  # Where distributions that do not follow bats put its libraries.
  export BATS_LIB_PATH=$BATS_LIB_PATH:/usr/share/bats:/usr/lib:/usr/share
  for library in bats-support bats-assert; do
    if ! bats_load_library_safe "$library" 2>/dev/null; then
      echo "$library is missing: make setup installs it"
      return 1
    fi
  done
  [[ ! ${KIT_BUILT-} ]] || return 0 # by tests/bin/exercise
  # A make above us has a jobserver, which is not ours to wait for. Two suites that start at the
  # same time take turns to build.
  unset MAKEFLAGS MFLAGS MAKELEVEL
  mkdir -p "$root/build"
  if ! flock "$root/build/lock" make -s -C "$root" -j "$(nproc)" all helpers; then
    echo "the build failed; make doctor says what is missing"
    return 1
  fi
}
