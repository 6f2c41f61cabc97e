#!/usr/bin/env bats
# shellcheck disable=SC2016  # backticks in single quotes are Markdown's
# The three tools that docs.bats relies on, each shown to pass what is right and to fail what is
# wrong. They find their repository from their own place, so a small one is made for each test.

# bats file_tags=docs

bats_require_minimum_version 1.5.0

setup() {
  bats_load_library bats-support
  bats_load_library bats-assert
  cd "$BATS_TEST_TMPDIR" || return 1
  mkdir -p tests/bin docs 01-echo
  cp "$BATS_TEST_DIRNAME"/../bin/doc-{snippets,console,links} tests/bin/
  printf '%s\n' '#include <stdio.h>' '' 'int main(void)' '{' '    int a = 1.0;' \
    '    puts("x  y\n");' '    return 0;' '}' >01-echo/server.c
}

# Makes docs/a.md from standard input and checks it with the given tool.
check() {
  cat >docs/a.md
  run timeout -k 9 50 "tests/bin/doc-$1" docs/a.md
}

# A document with one console block, from standard input: console [WORD...]
console() {
  check console < <(echo "\`\`\`console $*"; cat; echo '```')
}

# --- doc-snippets

@test "snippets: lines that stand in the file, first, middle and last, pass" {
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

@test "snippets: a change of white space only fails" {
  check snippets <<'END'
```c 01-echo/server.c
    puts("x y\n");
```
END
  assert_failure 1
  assert_line 'docs/a.md:2: no such line in 01-echo/server.c:'
}

@test "snippets: a part of a line fails" {
  check snippets <<'END'
```c 01-echo/server.c
    return 0
```
END
  assert_failure 1
}

@test "snippets: lines that look like equal numbers are not equal" {
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

@test "snippets: one without a file, with a missing, outside or empty one, or with no code fails" {
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

@test "snippets: a fence that is indented, quoted, of tildes or never closed fails" {
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

@test "snippets: of several documents the failing one is named" {
  echo 'fine' >docs/b.md
  printf '```c\n```\n' >docs/c.md
  run tests/bin/doc-snippets docs/b.md docs/c.md docs/b.md
  assert_failure 1
  assert_output --partial 'docs/c.md:1: '
  run tests/bin/doc-snippets docs/missing.md
  assert_failure
}

# --- doc-console

@test "console: what commands print on both outputs, in their order, in one shell, passes" {
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
  assert_output 'docs/a.md: 1 console blocks: 1 as shown, 0 not, 0 skipped'
}

@test "console: a command goes on after a backslash, in a quote and in a here-document" {
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

@test "console: a wrong, an extra and a missing line of output each fail, with the place" {
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

@test "console: a line that differs in white space or as a number only fails" {
  console <<<$'$ echo "a  b"\na b'
  assert_failure 1
  console <<<$'$ echo 1.0\n1'
  assert_failure 1
  console <<<$'$ echo " a"\na'
  assert_failure 1
}

@test "console: blanks at the end of a line, which nobody sees, do not count" {
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

@test "console: a line of … stands for any number of lines, also none, of that command only" {
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
END
  assert_success
  console <<<$'$ (sleep 60) &\nlistening'
  assert_failure 1
}

@test "console: everything that a block started is ended with it, and no job notice is shown" {
  console 01-echo <<'END'
$ sleep 61 & echo $! >plain
$ timeout 62 sleep 62 & echo $! >wrapped
$ (trap '' TERM; for i in {1..20}; do sleep 1; done) & echo $! >stubborn
$ (trap 'sleep 0.3; echo bye >last-word; exit' TERM
> for i in {1..99}; do sleep 0.1; done) & echo $! >polite
$ setsid sleep 63 & echo $! >session
$ sleep 64 &
$ kill -9 $!
$ wait $!
END
  assert_success
  for name in plain wrapped stubborn session polite; do
    # A zombie has ended too: not every container's first process collects them.
    run ! grep -s 'State:.[^Z]' "/proc/$(<01-echo/$name)/status"
  done
  assert_equal "$(<01-echo/last-word)" bye
}

@test "console: programs find no descriptor open but the first three" {
  exec 7</dev/null
  console <<<$'$ ls /proc/self/fd  # 3 is the directory that ls reads\n0\n1\n2\n3'
  exec 7<&-
  assert_success
}

@test "console: a block that does not end fails at its time limit" {
  sed -i 's/^limit=30$/limit=1/' tests/bin/doc-console
  console <<<$'$ echo a; sleep 60\na'
  assert_failure 1
  assert_line 'docs/a.md:1: the block did not end within 1 s'
}

@test "console: a block that needs something missing is skipped and says so" {
  console needs=bash,nosuchtool <<<$'$ echo a\nb'
  assert_success
  assert_line 'docs/a.md:1: skipped: nosuchtool is missing'
  assert_line 'docs/a.md: all of its console blocks were skipped'
  check console <<<$'```console needs=nosuchtool\n$ a\n```\n```console\n$ echo a\nb\n```'
  assert_failure 1
  assert_line 'docs/a.md: 2 console blocks: 0 as shown, 1 not, 1 skipped'
}

@test "console: a block without a command, in a missing directory, or ended early fails" {
  console <<<'just output'
  assert_failure 1
  assert_line 'docs/a.md:1: the block has no command'
  console nosuchdir <<<$'$ echo a\na'
  assert_failure 1
  assert_line 'docs/a.md:1: no such directory: nosuchdir'
  console <<<$'$ exit 0\n$ echo a\na'
  assert_failure 1
}

@test "console: two blocks can use the same port at the same time, in namespaces of their own" {
  unshare -n ip link set lo up 2>/dev/null || unshare -rn ip link set lo up 2>/dev/null ||
    skip 'no network namespaces here'
  command -v nc >/dev/null || skip 'nc is missing'
  printf '```console needs=netns\n$ %s\nhi\n```\n' >docs/a.md \
    'nc -l 127.0.0.1 9001 & sleep 1; echo hi | nc -N 127.0.0.1 9001'
  timeout 20 tests/bin/doc-console docs/a.md >one 2>&1 3>&- &
  run timeout 20 tests/bin/doc-console docs/a.md
  assert_success
  assert_output --partial '1 as shown'
  wait $!
}

@test "console: without network namespaces a block runs plainly, unless a default port is taken" {
  mkdir bin
  printf '#!/bin/sh\nexit 1\n' >bin/unshare
  chmod +x bin/unshare
  PATH=$PWD/bin:$PATH
  check console <<<$'```console\n$ echo a\na\n```\n```console needs=netns\n$ echo b\n```'
  assert_line 'docs/a.md:5: skipped: a network namespace is needed'
  if [[ ${lines[*]} != *'is in use'* ]]; then
    assert_success
    assert_line 'docs/a.md: 2 console blocks: 1 as shown, 0 not, 1 skipped'
  fi
}

# --- doc-links

@test "links: those to files, directories, headings, images and the web pass" {
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
