/* terminal.c: see terminal.h. */
#include "../util.h"
#include "terminal.h"
#include "keys.h"
#include <histedit.h>
#include <sys/ioctl.h>
#include <wchar.h>

enum { HISTORY_LINES = 500 };

/* Asks the terminal to mark what is pasted (keys.h). */
static const char paste_on[] = "\033[?2004h";
static const char paste_off[] = "\033[?2004l";

static EditLine *editor;
static History *past;
static const char *(*get_prompt)(void);
static int (*wait_for_key)(void);
static const char *(*completion)(const char *text, size_t size);
static int prompt_width; /* of the prompt on the screen */
static int typing;       /* the prompt and the typed text are on the screen; */
static int lifted;       /* or would be, but messages are being printed */
static volatile sig_atomic_t resized, suspended;

int terminal_can_edit(void) {
    const char *kind = getenv("TERM");
    if (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO))
        return 0;
    return kind && *kind && strcmp(kind, "dumb") != 0;
}

size_t terminal_columns(void) {
    struct winsize window = {0};
    ioctl(STDOUT_FILENO, TIOCGWINSZ, &window);
    return window.ws_col ? window.ws_col : 80;
}

/* ---- messages above the line ---- */

/* Returns how many rows below the prompt's the cursor is after text. */
static int rows_below(const char *text, size_t size) {
    const int columns = (int)terminal_columns();
    int column = prompt_width;
    int rows = 0;
    wchar_t c;
    int n = mbtowc(&c, text, size);
    while (n > 0) {
        int width = wcwidth(c);
        if (width < 0)
            width = 2; /* a control character is shown as ^A */
        column += width;
        if (column > columns) { /* a wide character is not cut, it goes to the next row */
            rows++;
            column = width;
        }
        text += n;
        size -= (size_t)n;
        n = mbtowc(&c, text, size);
    }
    if (column == columns)
        rows++; /* libedit goes to the next row at once */
    return rows;
}

/* Moves the cursor to the left end of the row that many rows above, and clears from there on. */
static void clear_rows(int rows) {
    printf("\r");
    if (rows > 0)
        printf("\033[%dA", rows);
    printf("\033[J");
}

/* Takes the typed line off the screen. */
static void lift(void) {
    if (!typing || lifted)
        return;
    const LineInfo *line = el_line(editor);
    clear_rows(rows_below(line->buffer, (size_t)(line->cursor - line->buffer)));
    lifted = 1;
}

void terminal_print(const char *text) {
    lift();
    fputs(text, stdout);
}

void terminal_flush(void) {
    if (lifted)
        el_set(editor, EL_REFRESH);
    lifted = 0;
    if (fflush(stdout) != 0 || ferror(stdout))
        die("stdout", errno);
}

/* ---- signals ---- */

static void on_signal(int number) {
    if (number == SIGWINCH)
        resized = 1;
    else
        suspended = 1;
}

static void print_now(const char *text) {
    fputs(text, stdout);
    fflush(stdout);
}

/* Gives the terminal to the shell before the program stops, and takes it again after (termios(3)).
 * SIGSTOP would not do: where no shell could continue us, the kernel ignores SIGTSTP only. */
static void suspend(void) {
    print_now(paste_off);
    el_set(editor, EL_PREP_TERM, 0);
    signal(SIGTSTP, SIG_DFL);
    raise(SIGTSTP);
    signal(SIGTSTP, on_signal);
    el_set(editor, EL_PREP_TERM, 1);
    fputs(paste_on, stdout);
}

void terminal_handle_signals(void) {
    if (!resized && !suspended)
        return;
    lift();
    fflush(stdout);
    if (suspended)
        suspend();
    resized = 0;
    suspended = 0;
    el_resize(editor);
    terminal_flush();
}

/* ---- what libedit calls ---- */

/* For each key: libedit waits nowhere else. */
static int next_key(EditLine *e, wchar_t *key) {
    (void)e;
    return keys_next(wait_for_key, key);
}

/* When a paste begins. */
static unsigned char on_paste(EditLine *e, int key) {
    (void)e;
    (void)key;
    keys_begin_paste();
    return CC_NORM;
}

/* For the tab key. */
static unsigned char on_complete(EditLine *e, int key) {
    const LineInfo *line = el_line(e);
    const char *rest = completion(line->buffer, (size_t)(line->cursor - line->buffer));
    (void)key;
    if (*rest == '\0' || el_insertstr(e, rest) < 0)
        return CC_ERROR;
    return CC_REFRESH;
}

/* Whenever it draws the line. */
static char *draw_prompt(EditLine *e) {
    static char prompt[64];
    (void)e;
    snprintf(prompt, sizeof prompt, "%s", get_prompt());
    prompt_width = (int)strlen(prompt);
    return prompt;
}

/* ---- start, lines, end ---- */

static void set_up_editor(void) {
    HistEvent event;
    history(past, &event, H_SETSIZE, HISTORY_LINES);
    el_set(editor, EL_PROMPT, draw_prompt);
    el_set(editor, EL_EDITOR, "emacs");
    el_set(editor, EL_HIST, history, past);
    el_set(editor, EL_GETCFN, next_key);
    el_wset(editor, EL_ADDFN, L"complete-name", L"", on_complete); /* el_set would leak these */
    el_set(editor, EL_BIND, "^I", "complete-name", NULL);
    el_set(editor, EL_BIND, "-r", "^V", NULL); /* it would quote control characters */
    el_wset(editor, EL_ADDFN, L"paste", L"", on_paste);
    el_set(editor, EL_BIND, "\\e[200~", "paste", NULL);
    el_set(editor, EL_BIND, "\\e[201~", "ed-unassigned", NULL); /* the end comes too late */
    el_set(editor, EL_SETTY, "-d", "-isig", NULL); /* keys are not signals while it edits */
    el_set(editor, EL_SETTY, "-x", "-isig", NULL); /* a line, nor between two lines */
}

void terminal_open(const char *(*prompt)(void), int (*wait)(void),
                   const char *(*complete)(const char *text, size_t size)) {
    /* A write that waits for a stopped screen (Ctrl-S) goes on; poll does not: signal(7). */
    const struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    get_prompt = prompt;
    wait_for_key = wait;
    completion = complete;
    past = history_init();
    editor = el_init("client", stdin, stdout, stderr);
    if (!past || !editor)
        die("no line editor for this terminal", 0);
    atexit(terminal_close);
    set_up_editor();
    keys_open();
    fputs(paste_on, stdout);
    signal(SIGQUIT, SIG_IGN); /* its default action would leave the terminal as it is */
    sigaction(SIGWINCH, &action, NULL);
    sigaction(SIGTSTP, &action, NULL);
}

void terminal_close(void) {
    if (!editor)
        return;
    print_now(paste_off);
    el_end(editor);
    history_end(past);
    editor = NULL;
}

const char *terminal_line(size_t *size) {
    HistEvent event;
    int n = 0;
    typing = 1;
    const char *line = el_gets(editor, &n);
    if (n < 1)
        line = NULL;
    if (!line)
        lift();
    typing = 0;
    lifted = 0;
    fflush(stdout);
    if (!line)
        return NULL;
    *size = (size_t)n - 1;
    if (*size > 0)
        history(past, &event, H_ENTER, line);
    clear_rows(rows_below(line, *size) + 1);
    return line;
}
