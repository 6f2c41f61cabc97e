/* terminal.h: a line that is being typed, and messages above it; by libedit (editline(3)).
 *
 * terminal_line gives the next line typed. While it waits for a key it calls `wait`, where messages
 * may come: terminal_print lifts the typed line off the screen and prints, terminal_flush puts it
 * back. Libedit's own way (EL_UNBUFFERED, or rl_callback_read_char) waits in read(2) after an Esc,
 * and no message would come until the next key. GNU readline could do all this too; its licence
 * would become the program's. */
#pragma once
#include "../util.h"
#include <histedit.h>
#include <langinfo.h>
#include <locale.h>
#include <sys/ioctl.h>
#include <wchar.h>

static struct {
    EditLine *editor;
    History *past;
    char *(*prompt)(void);
    int prompt_width;  /* of the one on the screen */
    int (*wait)(void); /* 1: a key is there; 0: read no more */
    int typing;        /* prompt and typed text are on the screen */
    int lifted;        /* or rather would be, but messages are being printed */
} terminal;
static volatile sig_atomic_t terminal_resized, terminal_suspended;

/* To the left end of the row in which the prompt begins, and clears from there on. The cursor is
 * after text, and some rows below; a wide character is never cut at the end of a row. */
static inline void terminal_clear(const char *text, size_t size, int rows) {
    struct winsize window = {0};
    wchar_t c;
    ioctl(STDOUT_FILENO, TIOCGWINSZ, &window);
    int columns = window.ws_col ? window.ws_col : 80, column = terminal.prompt_width;
    for (int n; (n = mbtowc(&c, text, size)) > 0; text += n, size -= (size_t)n) {
        int width = wcwidth(c) < 0 ? 2 : wcwidth(c); /* a control character is shown as ^A */
        rows += column + width > columns;
        column = column + width > columns ? width : column + width;
    }
    rows += column == columns; /* libedit goes to the next row at once */
    printf(rows ? "\r\033[%dA\033[J" : "\r\033[J", rows);
}

static inline void terminal_print(const char *text) {
    if (terminal.typing && !terminal.lifted) {
        const LineInfo *line = el_line(terminal.editor);
        terminal_clear(line->buffer, (size_t)(line->cursor - line->buffer), 0);
        terminal.lifted = 1;
    }
    fputs(text, stdout);
}

static inline void terminal_flush(void) {
    if (terminal.lifted)
        el_set(terminal.editor, EL_REFRESH);
    terminal.lifted = 0;
    if (fflush(stdout) != 0 || ferror(stdout))
        die("stdout", errno);
}

static inline void terminal_on_signal(int number) {
    terminal_resized |= number == SIGWINCH;
    terminal_suspended |= number == SIGTSTP;
}

/* Before we stop, the shell gets its terminal (termios(3)); when we go on, we take it again. */
static inline void terminal_heed_signals(void) {
    if (!terminal_resized && !terminal_suspended)
        return;
    terminal_print("");
    fflush(stdout);
    if (terminal_suspended) {
        el_set(terminal.editor, EL_PREP_TERM, 0);
        signal(SIGTSTP, SIG_DFL); /* not SIGSTOP: where no shell could continue us, */
        raise(SIGTSTP);           /* the kernel does not stop us at all */
        signal(SIGTSTP, terminal_on_signal);
        el_set(terminal.editor, EL_PREP_TERM, 1);
    }
    terminal_resized = terminal_suspended = 0;
    el_resize(terminal.editor);
    terminal_flush();
}

/* For libedit, which waits nowhere else. A character's bytes may come one by one. */
static inline int terminal_next_key(EditLine *editor, wchar_t *key) {
    static mbstate_t begun;
    char byte;
    (void)editor;
    for (size_t n;;) {
        if (!terminal.wait())
            return -1;
        if (read(STDIN_FILENO, &byte, 1) != 1)
            return 0;
        if ((n = mbrtowc(key, &byte, 1, &begun)) <= 1)
            return 1;
        if (n == (size_t)-1)
            begun = (mbstate_t){0};
    }
}

/* Whether there is a keyboard, and a screen on which the cursor can be moved. */
static inline int terminal_can_edit(void) {
    const char *kind = getenv("TERM");
    return isatty(STDIN_FILENO) && isatty(STDOUT_FILENO) && kind && *kind && strcmp(kind, "dumb");
}

/* For libedit, whenever it draws. */
static inline char *terminal_draw_prompt(EditLine *editor) {
    char *prompt = terminal.prompt();
    (void)editor;
    terminal.prompt_width = (int)strlen(prompt);
    return prompt;
}

static inline void terminal_close(void) {
    el_end(terminal.editor); /* its settings are again what they were */
    history_end(terminal.past);
}

/* complete is bound to the tab key: editline(3), EL_ADDFN. */
static inline void terminal_open(char *(*prompt)(void), int (*wait)(void),
                                 unsigned char (*complete)(EditLine *, int)) {
    const struct sigaction action = {.sa_handler = terminal_on_signal};
    HistEvent event;
    setlocale(LC_CTYPE, "");
    if (strcmp(nl_langinfo(CODESET), "UTF-8") != 0)
        setlocale(LC_CTYPE, "C.UTF-8"); /* that is what the room speaks */
    terminal.prompt = prompt;
    terminal.wait = wait;
    terminal.past = history_init();
    terminal.editor = el_init("client", stdin, stdout, stderr);
    if (!terminal.past || !terminal.editor)
        die("no line editor for this terminal", 0);
    atexit(terminal_close);
    history(terminal.past, &event, H_SETSIZE, 500);
    el_set(terminal.editor, EL_PROMPT, terminal_draw_prompt);
    el_set(terminal.editor, EL_EDITOR, "emacs");
    el_set(terminal.editor, EL_HIST, history, terminal.past);
    el_set(terminal.editor, EL_GETCFN, terminal_next_key);
    el_wset(terminal.editor, EL_ADDFN, L"complete-name", L"", complete); /* el_set leaks them */
    el_set(terminal.editor, EL_BIND, "^I", "complete-name", NULL);
    el_set(terminal.editor, EL_BIND, "-r", "^V", NULL); /* it would quote control characters */
    signal(SIGQUIT, SIG_IGN); /* its default action would leave the terminal as it is */
    sigaction(SIGWINCH, &action, NULL);
    sigaction(SIGTSTP, &action, NULL);
}

/* The next line, without its newline, which is taken off the screen; NULL at the end. */
static inline const char *terminal_line(size_t *size) {
    HistEvent event;
    int n = 0;
    terminal.typing = 1;
    const char *line = el_gets(terminal.editor, &n);
    if (!line || n < 1)
        terminal_print("");
    terminal.typing = terminal.lifted = 0;
    fflush(stdout);
    if (!line || n < 1)
        return NULL;
    if (n > 1)
        history(terminal.past, &event, H_ENTER, line);
    *size = (size_t)n - 1;
    terminal_clear(line, *size, 1);
    return line;
}
