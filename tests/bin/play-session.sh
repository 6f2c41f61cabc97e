# shellcheck shell=bash
# What play adds to a session's bash (sessions.sh: prelude). __prompt types a command, and waits
# until Enter is pressed. The other keys end that bash, and the file choice tells play what is next.
# __lines: what is printed here must not be counted as output of a command.
# shellcheck disable=SC2154 # play and prelude set the others

trap '__choose quit' INT
__names=" $(compgen -v | tr '\n' ' ') "

__choose() { # WHAT
    echo "$1" >"$DOC_BLOCK/choice"
    echo
    exit 0
}

__type() { # LINE…
    local __text __at __step
    printf -v __text '%s\n' "$@"
    __text=${__text%$'\n'}
    __step=$((${#__text} / 40 + 1))
    printf %s "$PLAY_BOLD"
    for ((__at = 0; __at < ${#__text}; __at += __step)); do
        printf %s "${__text:__at:__step}"
        read -rt 0.01 __nothing <>"$DOC_BLOCK/never"
    done
    printf %s "$PLAY_OFF"
}

__help() {
    printf '\n%s  %s\n  %s%s\n' "$PLAY_DIM" \
        'Enter: run the command   n: next session   r: repeat this session from its start' \
        's: open a shell here     q or Ctrl-C: quit' "$PLAY_OFF"
    ((__lines += 3))
}

# A shell with the variables of the session, in its directory and in its network.
__shell() {
    local __name
    for __name in $(compgen -v); do
        [[ $__names == *" $__name "* || $__name == __* ]] || declare -p "$__name"
    done >"$DOC_BLOCK/rc"
    echo 'PS1="shell in \W \$ " HISTFILE=' >>"$DOC_BLOCK/rc"
    printf '\n%s  %s%s\n' "$PLAY_DIM" 'This is a shell. Type exit or Ctrl-D to go on.' "$PLAY_OFF"
    ((__lines += 2))
    stty echo </dev/tty
    TERM=$PLAY_TERM bash --rcfile "$DOC_BLOCK/rc" -i </dev/tty >/dev/tty 2>&1
    stty -echo </dev/tty
}

__forget_keys() {
    local __key
    while IFS= read -rsn 1 -t 0.01 __key </dev/tty; do :; done
}

__wait() { # COMMAND WORD…: runs it, and again after help and after a shell, until Enter is pressed
    local __key
    "$@"
    __forget_keys # those that were pressed too early
    while IFS= read -rsn 1 __key </dev/tty || __choose quit; do
        case $__key in
        '' | ' ') break ;;
        n) __choose next ;;
        r) __choose repeat ;;
        q | $'\x04') __choose quit ;;
        s) __shell ;;
        $'\e') # an arrow, for example
            __forget_keys
            continue
            ;;
        *) __help ;;
        esac
        "$@"
        ((__lines += $# - 2))
    done
    echo
}

__prompt() { # LINE…
    __wait __type "$@"
    return "$__rc"
}

__end() {
    __wait printf %s "$PLAY_DIM(end of this session: Enter goes on, r repeats it, s, q) $PLAY_OFF"
}
