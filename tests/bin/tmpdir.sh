# shellcheck shell=bash
# Where temporary files can be: $TMPDIR or /tmp, and where that will not do, somewhere else.
# bats, when it runs tests in parallel, splits its file names at spaces, and the documents' sessions
# say `>$log`; some tests and documents build a program there and run it. Sourced; root is the kit.

# unfit DIR: says why temporary files cannot be there; nothing if they can.
unfit() {
    local probe
    [[ $1 != *[[:space:]]* ]] || { echo 'its name has a space' && return; }
    probe=$(mktemp -p "$1" 2>/dev/null) || { echo 'no file can be made there' && return; }
    chmod +x "$probe"
    [[ -x $probe ]] || echo 'no program can be run there (noexec)'
    rm -f "$probe"
}

# choose_tmpdir: exports TMPDIR, and says on stderr when it is another one than was asked for.
# Without a directory that will do, it stays as it is.
choose_tmpdir() {
    local asked=${TMPDIR:-/tmp} why dir
    export TMPDIR=$asked
    why=$(unfit "$asked")
    [[ $why ]] || return 0
    # shellcheck disable=SC2154
    for dir in /tmp /var/tmp /dev/shm "$root/build"; do
        [[ ! $(unfit "$dir") ]] || continue
        TMPDIR=$dir
        echo "${0##*/}: temporary files are in $dir, not in $asked: $why" >&2
        return
    done
    echo "${0##*/}: tests may fail, as temporary files are in $asked: $why" >&2
}
