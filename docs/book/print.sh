#!/bin/sh
# The whole book as one PDF, printed by a browser without a window.
# usage: print.sh FILE.pdf
set -u
[ $# = 1 ] || { echo 'usage: print.sh FILE.pdf' >&2; exit 2; }
here=$(dirname "$0")
page=build/book-print

browser=
for name in chromium chromium-browser google-chrome; do
    ! command -v "$name" >/dev/null || { browser=$name; break; }
done
[ "$browser" ] || {
    echo 'book: chromium is missing; SETUP_EXTRA=ci make setup installs it' >&2
    exit 1
}
"$here/build.py" "$page" --print || exit

work=$(mktemp -d) || exit
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
# Its sandbox does not work for root.
sandbox=
[ "$(id -u)" != 0 ] || sandbox=--no-sandbox
# The rest of the switches: it must neither ask nor fetch anything. It writes much to stderr.
timeout 900 "$browser" --headless $sandbox --disable-gpu --no-first-run \
    --disable-background-networking --disable-component-update --disable-sync \
    --user-data-dir="$work/profile" --no-pdf-header-footer --generate-pdf-document-outline \
    --print-to-pdf="$work/book.pdf" "file://$(realpath "$page")/index.html" >"$work/log" 2>&1
[ -s "$work/book.pdf" ] || {
    tail -n 5 "$work/log" >&2
    echo "book: $browser has printed nothing" >&2
    exit 1
}
mv "$work/book.pdf" "$1" && echo "book: $1"
