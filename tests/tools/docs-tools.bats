#!/usr/bin/env bats
# shellcheck disable=SC1112,SC2016  # backticks in single quotes are Markdown's
# The tools that docs.bats relies on, each shown to pass what is right and to fail what is
# wrong. They find their repository from their own place, so a small one is made for each test.

# bats file_tags=docs

bats_require_minimum_version 1.5.0

setup() {
  bats_load_library bats-support
  bats_load_library bats-assert
  cd "$BATS_TEST_TMPDIR" || return 1
  mkdir -p tests/bin docs 01-echo
  cp "$BATS_TEST_DIRNAME"/../bin/doc-{snippets,console,links,terms,calls} tests/bin/
  cp "$BATS_TEST_DIRNAME"/../bin/{sessions,tools,tmpdir}.sh tests/bin/
  printf '%s\n' '#include <stdio.h>' '' 'int main(void)' '{' '    int a = 1.0;' \
    '    puts("x  y\n");' '    return 0;' '}' >01-echo/server.c
}

# Makes docs/a.md from standard input and checks it with the given tool.
check() {
  cat >docs/a.md
  run timeout -k 9 $((50 * ${PATIENCE:-1})) "tests/bin/doc-$1" docs/a.md
}

# A document with one console block, from standard input: console [WORD...]. Where the block has a
# directory, a block before it goes there.
console() {
  check console < <(
    [[ ! -d ${1-} ]] || printf '```console\n$ cd %s\n```\n' "$1"
    echo "\`\`\`console $*"
    cat
    echo '```'
  )
}

# --- doc-snippets

@test "snippets: lines from the beginning, the middle and the end of the file pass" {
  check snippets <<'END'
```c 01-echo/server.c
#include <stdio.h>

int main(void)
```
Text with ```c inside.
```c 01-echo/server.c
    return 0;
}
```
```python
free = True
```
````text
```c
in a longer fence this is no fence
```
````
END
  assert_success
  assert_output ''
}

@test "snippets: a changed line fails, with both places and both texts" {
  check snippets <<'END'
# Doc
```c 01-echo/server.c
int main(void)
{
    int a = 2;
```
END
  assert_failure 1
  assert_line 'docs/a.md:5: the code has changed:'
  assert_line '    here:     int a = 2;'
  assert_line '    01-echo/server.c:5:     int a = 1.0;'
}

@test "snippets: a change in white space alone fails" {
  check snippets <<'END'
```c 01-echo/server.c
    puts("x y\n");
```
END
  assert_failure 1
  assert_line 'docs/a.md:2: no such line in 01-echo/server.c:'
}

@test "snippets: an incomplete line fails" {
  check snippets <<'END'
```c 01-echo/server.c
    return 0
```
END
  assert_failure 1
}

@test "snippets: lines are compared as text, not as numbers" {
  echo '1.0' >01-echo/number.h
  check snippets <<'END'
```c 01-echo/number.h
1
```
END
  assert_failure 1
}

@test "snippets: a snippet that skips a line fails at the line after the gap" {
  check snippets <<'END'
```c 01-echo/server.c
int main(void)
    int a = 1.0;
```
END
  assert_failure 1
  assert_line 'docs/a.md:3: the code has changed:'
}

@test "snippets: lines beyond the end of the file fail" {
  check snippets <<'END'
```c 01-echo/server.c
}
}
```
END
  assert_failure 1
  assert_line --partial '01-echo/server.c:9: (end of the file)'
}

@test "snippets: no file, a missing, outside or empty file, or no code fails" {
  check snippets <<'END'
```c
int main(void)
```
```c 01-echo/client.c
int main(void)
```
```c ../01-echo/server.c
int main(void)
```
```c 01-echo/server.c

```
```C 01-echo
int main(void)
```
END
  assert_failure 1
  assert_line 'docs/a.md:1: a C snippet must name its file: ```c DIR/FILE'
  assert_line 'docs/a.md:4: no such file: 01-echo/client.c'
  assert_line 'docs/a.md:7: not a file name inside the repository: ../01-echo/server.c'
  assert_line 'docs/a.md:10: the snippet is empty'
  assert_line 'docs/a.md:13: no such file: 01-echo'
}

@test "snippets: a fence that is indented, quoted, made of tildes or never closed fails" {
  check snippets <<'END'
- a list
  ```c 01-echo/server.c
  ```
> ```c
~~~c
~~~
```c 01-echo/server.c
int main(void)
END
  assert_failure 1
  assert_line 'docs/a.md:2: write a fence with backticks that start the line'
  assert_line --partial 'docs/a.md:4: '
  assert_line --partial 'docs/a.md:5: '
  assert_line 'docs/a.md:7: this fence is never closed'
}

@test "snippets: among several documents, the failing one is named" {
  echo 'fine' >docs/b.md
  printf '```c\n```\n' >docs/c.md
  run tests/bin/doc-snippets docs/b.md docs/c.md docs/b.md
  assert_failure 1
  assert_output --partial 'docs/c.md:1: '
  run tests/bin/doc-snippets docs/missing.md
  assert_failure
}

# --- doc-console

@test "console: the output of commands, on stdout and stderr, in order, in one shell, passes" {
  console 01-echo <<'END'
$ ls
server.c
$ a=1; echo out; echo err >&2; echo out
out
err
out
$ echo $a && false
1
$ echo $?
1
$ printf 'no newline'
no newline
$ cat
$ nosuchcommand
bash: nosuchcommand: command not found
END
  assert_success
  assert_output 'docs/a.md: 2 sessions: 2 as shown, 0 not, 0 skipped'
}

@test "console: a command may continue after a backslash, in a quote and in a here-document" {
  console <<'END'
$ echo a \
> b
a b
$ cat <<X
> one
>
> two
> X
one

two
$ echo 'c
> d'
c
d
$ echo '> output, not a part of the command'
> output, not a part of the command
END
  assert_success
}

@test "console: a wrong, an extra and a missing line of output each fail, with their place" {
  console <<<$'$ echo one; echo two\none\nthree'
  assert_failure 1
  assert_line 'docs/a.md:1: the output is not what the document shows'
  assert_line '  differs at line 4:'
  assert_line '  ! three'
  assert_line '  ! two'
  console <<<$'$ echo one; echo two\none'
  assert_failure 1
  assert_line '  ! (nothing more)'
  assert_line '  ! two'
  console <<<$'$ echo one\none\ntwo'
  assert_failure 1
  assert_line '  ! two'
  assert_line '  ! (nothing more)'
}

@test "console: lines are compared as text: a difference in white space or zeros fails" {
  console <<<$'$ echo "a  b"\na b'
  assert_failure 1
  console <<<$'$ echo 1.0\n1'
  assert_failure 1
  console <<<$'$ echo " a"\na'
  assert_failure 1
}

@test "console: blanks at the end of a line are ignored" {
  console <<<$'$ echo "a  "; echo b\na\nb '
  assert_success
}

@test "console: … stands for any text within a line, and for nothing else" {
  console <<<$'$ echo port 1234 open, 5 ms\nport … open, … ms\n$ echo "a*b [c]"\na*b […]'
  assert_success
  console <<<$'$ echo port 1234 open\nport … closed'
  assert_failure 1
  console <<<$'$ echo port open\nport…port open'
  assert_failure 1
  console <<<$'$ echo aXb\na*b'
  assert_failure 1
}

@test "console: a line of … stands for any number of lines, even none, of one command's output" {
  console <<<$'$ seq 9\n1\n…\n5\n…\n9\n$ echo x\n…\nx\n…\n$ seq 3\n…'
  assert_success
  console <<<$'$ seq 9\n1\n…\n9\n10'
  assert_failure 1
  console <<<$'$ seq 3\n…\n7'
  assert_failure 1
  console <<<$'$ echo a\n…\nb\n$ echo b\nb'
  assert_failure 1
}

@test "console: a background program's output is waited for before the next command" {
  console <<'END'
$ (sleep 1; echo listening; sleep 60) &
listening
$ echo next
next
$ kill %1
END
  assert_success
  console <<<$'$ (sleep 60) &\nlistening\n$ kill %1'
  assert_failure 1
  assert_line 'docs/a.md:1: the output is not what the document shows'
}

@test "console: everything that a session leaves running is ended, and fails the session" {
  console 01-echo <<'END'
$ sleep 61 & echo $! >plain
$ timeout 62 sleep 62 & echo $! >wrapped
$ (trap '' TERM; for i in {1..20}; do sleep 1; done) & echo $! >stubborn
$ (trap 'sleep 0.3; echo bye >last-word; exit' TERM; : >ready
> for i in {1..999}; do sleep 0.1; done) & echo $! >polite
$ setsid sleep 63 & echo $! >session
$ until [ -e ready ]; do sleep 0.05; done
END
  assert_failure 1
  assert_line 'docs/a.md:4: the session leaves running (end it, as with `kill %1`):'
  assert_line '    sleep 61'
  assert_line '    sleep 63'
  assert_line 'docs/a.md: 2 sessions: 1 as shown, 1 not, 0 skipped'
  for name in plain wrapped stubborn polite session; do
    # A zombie has ended too: not every container's first process collects them.
    run ! grep -s 'State:.[^Z]' "/proc/$(<01-echo/$name)/status"
  done
  assert_equal "$(<01-echo/last-word)" bye
}

@test "console: a session that ends what it started passes, and no job notice is shown" {
  console <<'END'
$ sleep 64 &
$ kill -9 $!
$ wait $!
$ sleep 65 & sleep 66 &
$ kill %1 %2
$ (sleep 67; echo later) &
$ kill %1
$ sleep 1 &
END
  assert_success
}

# As in an interactive shell: bash(1), JOB CONTROL.
@test "console: kill %1 ends all processes of a job, and then its number is free" {
  console <<'END'
$ (sleep 61; sleep 62) | cat &
$ kill %1
$ sleep 63 &
$ kill %1
$ kill %1
bash: kill: %1: no such job
END
  assert_success
}

@test "console: a session begins in the directory where the sessions above it lead a reader" {
  mkdir -p 01-echo/steps 02-next
  check console <<'END'
```console
$ echo first
first
$ cd 01-echo; pwd | sed 's,.*/,,'
01-echo
```
```console 01-echo
$ (cd ..; ls -d tests)
tests
$ cd steps && ls
$ cd -
…
```
Here the fence names the directory that the session itself goes to.
```console 02-next
$ cd ../02-next
$ ls
```
```console 02-next
$ cd ..
$ ls -d docs
docs
```
```console
$ cd 01-echo/./steps/..
```
```console 01-echo
$ ls *.c
server.c
```
END
  assert_success
}

@test "console: a session in a directory that no cd above it has shown fails" {
  mkdir 02-next
  check console <<'END'
```console 01-echo
$ ls
server.c
```
```console
$ cd 01-echo
```
```console 02-next
$ ls
```
```console
$ ls -d docs
docs
```
```console 01-echo
$ (cd ../02-next)
$ dir=$(mktemp -d)
$ cd $dir
```
```console 01-echo
$ ls
server.c
```
END
  assert_failure 1
  assert_line 'docs/a.md:1: the session runs in 01-echo, but a reader who typed the sessions above'
  assert_line --partial "  is in the kit's directory: show the \`cd\`"
  assert_line 'docs/a.md:8: the session runs in 02-next, but a reader who typed the sessions above'
  assert_line --partial '  is in 01-echo: show'
  assert_line 'docs/a.md:11: the session runs in ., but a reader who typed the sessions above'
  assert_line --partial '  is outside the kit, or'
  assert_line 'docs/a.md: 6 sessions: 2 as shown, 4 not, 0 skipped'
}

# peer, for one, says how long it has waited. What a command prints late is waited for, though.
@test "console: PATIENCE is not for what a page shows, but for the limits of a session" {
  PATIENCE=3 console <<'END'
$ echo "${PATIENCE-none}"
none
$ (sleep 4; echo late) &
late
$ echo the next
the next
END
  assert_success
}

@test "console: programs inherit no open descriptor but the first three" {
  exec 7</dev/null
  console <<<$'$ ls /proc/self/fd  # 3 is the directory that ls reads\n0\n1\n2\n3'
  exec 7<&-
  assert_success
}

@test "console: a block that does not end fails at its time limit" {
  sed -i 's/^limit=.*/limit=1/' tests/bin/doc-console
  console <<<$'$ echo a; sleep 60\na'
  assert_failure 1
  assert_line 'docs/a.md:1: the session did not end within 1 s'
}

@test "console: a block that needs something missing is skipped and says so" {
  console needs=bash,nosuchtool <<<$'$ echo a\nb'
  assert_success
  assert_line 'docs/a.md:1: skipped: nosuchtool is missing'
  assert_line 'docs/a.md: all of its sessions were skipped'
  check console <<<$'```console needs=nosuchtool\n$ a\n```\n```console\n$ echo a\nb\n```'
  assert_failure 1
  assert_line 'docs/a.md: 2 sessions: 0 as shown, 1 not, 1 skipped'
}

@test "console: a block without a command, in a missing directory, or ended early fails" {
  console <<<'just output'
  assert_failure 1
  assert_line 'docs/a.md:1: the session has no command'
  console nosuchdir <<<$'$ echo a\na'
  assert_failure 1
  assert_line 'docs/a.md:1: no such directory: nosuchdir'
  console <<<$'$ exit 0\n$ echo a\na'
  assert_failure 1
}

@test "console: a skipped block says how to install the missing tool, by the table of tools" {
  printf '#!/bin/sh\necho "usage: nc [-l] HOST PORT"\n' >nc # as BusyBox's
  chmod +x nc
  PATH=$PWD:$PATH console needs=nc <<<$'$ echo a\na'
  assert_success
  assert_line --partial 'skipped: this nc is not the one that is needed'
}

@test "console: two blocks can use the same port at the same time, in namespaces of their own" {
  unshare -n ip link set lo up 2>/dev/null || unshare -rn ip link set lo up 2>/dev/null ||
    skip 'no network namespaces here'
  ! why=$(source tests/bin/tools.sh && lacking nc) || skip "$why"
  printf '```console needs=netns\n$ %s\nhi\n```\n' >docs/a.md \
    'nc -l 127.0.0.1 9001 & sleep 1; echo hi | nc -N 127.0.0.1 9001'
  timeout 20 tests/bin/doc-console docs/a.md >one 2>&1 3>&- &
  run timeout 20 tests/bin/doc-console docs/a.md
  assert_success
  assert_output --partial '1 as shown'
  wait $!
}

@test "console: without network namespaces a block runs plainly, unless a default port is taken" {
  without_namespaces
  check console <<<$'```console\n$ echo a\na\n```\n```console needs=netns\n$ echo b\n```'
  assert_line 'docs/a.md:5: skipped: a network namespace is needed'
  if [[ ${lines[*]} != *'is in use'* ]]; then
    assert_success
    assert_line 'docs/a.md: 2 sessions: 1 as shown, 0 not, 1 skipped'
  fi
}

# As an ordinary user in a container, or where only root may make namespaces.
without_namespaces() {
  mkdir bin
  printf '#!/bin/sh\nexit 1\n' >bin/unshare
  chmod +x bin/unshare
  PATH=$PWD/bin:$PATH
}

# in_new_network COMMAND…: with a real unshare, so that the ports are free before the test.
in_new_network() {
  unshare -n ip link set lo up 2>/dev/null || unshare -rn ip link set lo up 2>/dev/null ||
    skip 'no network namespaces here'
  local flag=-rn
  ((EUID)) || flag=-n
  run timeout 60 unshare "$flag" \
    sh -c 'ip link set lo up && PATH=$PWD/bin:$PATH && exec "$@"' sh "$@"
}

@test "console: without network namespaces a block waits for the end of the one before it" {
  without_namespaces
  PATH=${PATH#*:}
  ! why=$(source tests/bin/tools.sh && lacking nc) || skip "$why"
  printf '```console\n$ %s\n```\n' 'nc -l 127.0.0.1 9001 & sleep 0.9; kill $!' 'true' >docs/a.md
  # It looks at the ports late.
  printf '#!/bin/sh\nsleep 0.3\nexec %s "$@"\n' "$(type -P cat)" >bin/cat
  chmod +x bin/cat
  in_new_network tests/bin/doc-console docs/a.md
  assert_success
  assert_line 'docs/a.md: 2 sessions: 2 as shown, 0 not, 0 skipped'
}

@test "console: without network namespaces a block that needs a fresh port gets no used one" {
  without_namespaces
  PATH=${PATH#*:}
  local talk='import socket as s; l = s.create_server(("127.0.0.1", 9001)); '
  talk+='c = s.create_connection(("127.0.0.1", 9001)); l.accept()[0].close(); c.close()'
  printf '```console needs=fresh-port\n$ %s\n```\n' "python3 -c '$talk'" true >docs/a.md
  in_new_network tests/bin/doc-console docs/a.md
  assert_success
  assert_output --partial 'skipped: a closed connection reserves a port of 9001 to 9008 (TIME_WAIT)'
  assert_line 'docs/a.md: 2 sessions: 1 as shown, 0 not, 1 skipped'
}

# --- doc-links

@test "links: links to files, directories, headings, images and the web pass" {
  printf '%s\n' '# One: `recv(2)` — a [link](x)!' '```sh' '# no heading' '```' '## Same' '## Same' \
    >docs/b.md
  check links <<'END'
# Top
[a](b.md) and ![b](../01-echo/server.c "title"), [c](../01-echo/), [d](#top),
[e](b.md#one-recv2--a-link), [f](b.md#same-1), [g](https://example.org/x#y), <https://example.org>
[over the line
end](b.md#same), [h][ref], `[not](a-link)` and `over the
line [not](a-link)` ``a ` [not](a-link)``
[ref]: b.md "title"
<a href="b.md"><img src="../01-echo/server.c"></a>
```text
[not](a-link)
```
END
  assert_success
  assert_output ''
}

@test "links: each kind of broken link fails, with its line" {
  printf '# One\n```sh\n# no heading\n```\n' >docs/b.md
  check links <<'END'
[a](missing.md)
[b](b.md#two) [b](b.md#no-heading)
![c](missing.png)
[d](#nowhere)
[e](http://example.org) <http://example.com>

[f]: missing-too.md
[g][nowhere]
[h](../01-echo/server.c#L3)
[i](/docs/b.md)
[![j](b.md)](gone.md)
<img src="gone.png">
`code` [k](gone-too.md) `code`
[l](../../)
END
  assert_failure 1
  assert_line 'docs/a.md:1: missing.md: no such file'
  assert_line 'docs/a.md:2: b.md#two: no such heading'
  assert_line 'docs/a.md:2: b.md#no-heading: no such heading'
  assert_line 'docs/a.md:3: missing.png: no such file'
  assert_line 'docs/a.md:4: #nowhere: no such heading'
  assert_line 'docs/a.md:5: http://example.org: use https'
  assert_line 'docs/a.md:5: http://example.com: use https'
  assert_line 'docs/a.md:7: missing-too.md: no such file'
  assert_line 'docs/a.md:8: [nowhere]: no such link definition'
  assert_line --partial 'docs/a.md:9: ../01-echo/server.c#L3: only a heading'
  assert_line 'docs/a.md:10: /docs/b.md: a link inside the repository must be relative'
  assert_line 'docs/a.md:11: gone.md: no such file'
  assert_line 'docs/a.md:12: gone.png: no such file'
  assert_line 'docs/a.md:13: gone-too.md: no such file'
  assert_line 'docs/a.md:14: ../../: outside the repository'
  assert_equal "${#lines[@]}" 15
}

# --- doc-terms

# A glossary of four terms.
glossary() {
  cat >docs/glossary.md <<'END'
# Glossary

### half-close

Ending one direction. Also: this is no list.

Also: half-closed, one-sided close.

### FIN

A packet.

### TLS record

A piece.

### TLS

A layer.
END
}

@test "terms: a first use that is a link, in bold, or in a section about the term passes" {
  glossary
  check terms <<'END'
# A half-close

A [half-close](glossary.md#half-close) sends **a FIN packet**. A half-close, a FIN.

## One TLS record

A TLS record may be long. It belongs to [the
layer](../docs/glossary.md#tls) TLS.
END
  assert_success
  assert_output ''
}

@test "terms: a first use without any of them fails, with its line, also across a line end" {
  glossary
  check terms <<'END'
# A half-close

A server sends FINs and a TLS
record. Then a [half-close](glossary.md#half-close), FIN.
END
  assert_failure 1
  assert_line --partial 'docs/a.md:3: FIN: link the first use to glossary.md#fin,'
  assert_line --partial 'docs/a.md:3: TLS record: link the first use to glossary.md#tls-record,'
  assert_equal "${#lines[@]}" 2
}

@test "terms: a link, bold text or a section that comes after the first use does not help" {
  glossary
  check terms <<'END'
To half-close is to send **some** FIN. That [half-close](glossary.md#half-close) is a **FIN**.

## FIN

Text.
END
  assert_failure 1
  assert_equal "${#lines[@]}" 2
}

@test "terms: a link to another page, or to another term, does not help" {
  glossary
  check terms <<'END'
See [half-close](other.md#half-close). A half-close ends [FIN](glossary.md#tls) with FIN and TLS.
END
  assert_failure 1
  assert_line --partial 'docs/a.md:1: half-close:'
  assert_line --partial 'docs/a.md:1: FIN:'
  assert_equal "${#lines[@]}" 2
}

@test "terms: other forms, plurals, possessives and a blank in place of a hyphen are uses" {
  local text
  glossary
  for text in 'half-closed' 'Half close' "the half-close's end" 'half-closes' 'a one-sided
close' 'a FIN’s bits' '| x | y |
| --- | --- |
| a | FIN |' '- FIN' '> *FIN*'; do
    check terms <<<"$text"
    assert_failure 1
    assert_equal "${#lines[@]}" 1
  done
}

@test "terms: code, headings, links, comments, heads of tables and tables of steps are no uses" {
  glossary
  check terms <<'END'
## FIN

`FIN` and ``FIN ` FIN``, [FIN](x.md), [`FIN` FIN][1], <!-- FIN --> fin, half, close, half. Close

```console
TLS
```

| TLS | FIN |
| --- | --- |
| a | b |

| step | TLS |
| --- | --- |
| a | half-close |

# TLS
END
  assert_success
}

@test "terms: a form that stands for two terms fails" {
  glossary
  printf '\nAlso: FIN.\n' >>docs/glossary.md
  check terms <<<'Text.'
  assert_failure 1
  assert_output --partial '"FIN" stands for two terms, FIN and TLS'
}

@test "terms: the glossary itself is not checked, and a missing document is an error" {
  glossary
  run tests/bin/doc-terms docs/glossary.md
  assert_success
  run tests/bin/doc-terms docs/none.md
  assert_failure 2
}

# --- doc-calls

# Makes a chapter, whose server's text is standard input, and checks it.
calls() {
  cat >01-echo/server.c
  touch util.h docs/00-a.md docs/01-echo.md
  run timeout -k 9 50 tests/bin/doc-calls 01-echo
}

@test "calls: a call, a flag, a type and a word that no page names fail, with their places" {
  local name
  calls <<'END'
#define _GNU_SOURCE
static volatile sig_atomic_t stopped;
int main(void) {
    struct pollfd p = {.events = POLLIN};
    return recv(0, 0, 0, MSG_PEEK) + optind;
}
END
  assert_failure 1
  for name in '_GNU_SOURCE (01-echo/server.c:1)' 'volatile (01-echo/server.c:2)' \
    'sig_atomic_t (01-echo/server.c:2)' 'pollfd (01-echo/server.c:4)' \
    'POLLIN (01-echo/server.c:4)' 'recv (01-echo/server.c:5)' 'MSG_PEEK (01-echo/server.c:5)' \
    'optind (01-echo/server.c:5)'; do
    assert_line "docs/01-echo.md: $name: no page up to here names it"
  done
  assert_equal "${#lines[@]}" 8
}

@test "calls: code in text or a table names a call; a fence, plain text or a later page does not" {
  echo 'The call `recv(fd, …)`.' >docs/00-a.md
  printf '%s\n' '| ``MSG_PEEK`` | `poll(` |' '' '```c' '`fflush`' '```' '' 'Text fflush' \
    >docs/01-echo.md
  echo '`fflush`' >docs/02-later.md
  calls <<'END'
void f(void) { recv(0, 0, 0, MSG_PEEK); poll(0, 0, 0); }
void g(void) { fflush(0); }
END
  assert_failure 1
  assert_output 'docs/01-echo.md: fflush (01-echo/server.c:2): no page up to here names it'
}

@test "calls: what the chapter defines, members, comments, strings and plain C are left out" {
  calls <<'END'
#include <sys/socket.h>
enum { LIMIT = 1, A_LIMIT, B_LIMIT };
#define MACRO(x) x
struct conn { int fd; size_t n; };
/* calls recv(MSG_PEEK) */
static int helper(struct conn *c, int (*way)(int)) {
    char quote = '"'; // send()
    if (LIMIT + A_LIMIT + B_LIMIT)
        return MACRO(way(c->fd)) + c->on_event(1) + printf("%d \" send()\n", quote);
    return sizeof(struct conn);
}
int main(void) { return helper(NULL, 0); }
END
  assert_success
  assert_output ''
}

@test "calls: steps count, and so do those functions of util.h that are called" {
  local told='no page up to here names it'
  mkdir -p 01-echo/steps
  echo 'int main(void) { return setvbuf(0, 0, _IONBF, 0); }' >01-echo/steps/1-greet.c
  printf '%s\n' 'static inline int a(void) {' '    return recv(0, 0, 0, 0);' '}' \
    'static inline int b(void) {' '    return a();' '}' \
    'static inline int c(void) {' '    return send(0, 0, 0, 0);' '}' >util.h
  calls <<<'int main(void) { return b(); }'
  assert_failure 1
  assert_line "docs/01-echo.md: setvbuf (01-echo/steps/1-greet.c:1): $told"
  assert_line "docs/01-echo.md: recv (01-echo/server.c:1, in util.h:5, in util.h:2): $told"
  refute_output --partial send
  calls <<<'static int b(void) { return 0; } int main(void) { return b(); }'
  refute_output --partial recv
}

@test "calls: what an earlier chapter uses is not listed again, and a missing chapter is an error" {
  mkdir 02-later
  echo 'int main(void) { return recv(0, 0, 0, 0) + fflush(0); }' >02-later/server.c
  : >docs/02-later.md
  calls <<<'int main(void) { return recv(0, 0, 0, 0); }'
  run tests/bin/doc-calls 02-later
  assert_failure 1
  assert_output 'docs/02-later.md: fflush (02-later/server.c:1): no page up to here names it'
  run tests/bin/doc-calls 03-none
  assert_failure 2
}
