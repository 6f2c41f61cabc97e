/* 07-chat/client.c: a person in the room, or a pipe.
 *
 * Teaches: to wait for a keyboard and a socket at once; a half-typed line stays when a message
 *   comes (terminal.h); nothing that came from a network is printed raw to a terminal (text.h).
 * New since 06: the server speaks without being asked.
 * Run: ./client -n ann   (tab completes names; /help)   printf 'hi\n' | ./client -n bob
 * Try to break it: stop the server with Ctrl-Z and type on; let a server send escape sequences.
 * Still wrong: anyone between the two can read everything, and can play the server (see 08).
 */
#include "../util.h"
#include "display.h"
#include "name.h"
#include "people.h"
#include "terminal.h"
#include "text.h"
#include <pwd.h>

enum {
    IN_SIZE = 131072, /* a longer line of the server's is shown in parts */
    OUT_SIZE = 65536, /* when it is full, a pipe is not read, and a typed line is refused */
    CHUNK = 4096,
    QUIT_SECONDS = 2 /* how long we wait for the reply to /quit after SIGINT or SIGTERM */
};

static const char usage[] =
    "usage: client [-a ADDR] [-p PORT] [-n NAME] [MESSAGE ...]\n"
    "  -a ADDR  name, IPv4 or IPv6 address of the server (127.0.0.1)\n"
    "  -p PORT  1 to 65535 (9007)\n"
    "  -n NAME  what the others call you (your login name)\n"
    "Sends each MESSAGE, or the lines of its standard input (`/quit` or its end ends them), and\n"
    "prints what the others say. /help lists what the server can do.\n";
static const char *address = "127.0.0.1";
static const char *port = "9007";
static const char *name;

/* 0: go on. 1: a signal has asked us to stop; one more for each second since then. Built in 01. */
static volatile sig_atomic_t stop_count;

static int server_fd;
static enum { NAMELESS, NAME_SENT, MEMBER } state;
static const char *gone; /* NULL, or why there is no server any more, */
static int gone_error;   /* and the errno of that, or 0 */
static int said_goodbye; /* the server has answered /quit */
static int lost_a_line;  /* one of ours was too long */
static int on_terminal;  /* stdout is one */
static int editing;      /* by terminal.h; else we are a pipe */
static int in_color;
static char in[IN_SIZE];
static char out[OUT_SIZE + sizeof "/quit"];
static size_t in_size, out_size;
static struct people people;

/* ---- what the server says ---- */

/* Shows a line of clean text on a terminal, with a line editor or without one. */
static void show(const char *text) {
    static char shown[DISPLAY_EXTRA + 3 * IN_SIZE * DISPLAY_GROWTH]; /* display_size */
    char clock[sizeof "00:00"];
    time_t now = time(NULL);
    strftime(clock, sizeof clock, "%H:%M", localtime(&now));
    display_line(editing ? clock : NULL, text, terminal_columns(), editing && in_color, shown);
    terminal_print(shown);
}

/* The newline is missing where the connection ends, or where the line is longer than IN_SIZE. */
static void on_line(const char *line, size_t size) {
    static char text[3 * IN_SIZE + 1]; /* cleaning makes it up to three times as long */
    const int has_newline = line[size - 1] == '\n';
    text_clean(line, has_newline ? size - 1 : size, text);
    if (state == NAME_SENT)
        state = *text == '-' ? NAMELESS : MEMBER;
    if (strcmp(text, "+bye") == 0)
        said_goodbye = 1;
    people_learn(&people, text);
    if (on_terminal)
        show(text);
    else
        fwrite(line, 1, size, stdout);
    if (!editing && state == NAMELESS)
        gone = "the server refuses that name";
}

/* Handles all complete lines of in; a partial one, too, if no more can come. */
static void on_lines(void) {
    size_t used = 0;
    size_t size;
    while ((size = (size_t)line_length(in + used, in_size - used, IN_SIZE + 1)) > 0) {
        on_line(in + used, size);
        used += size;
    }
    in_size -= used;
    memmove(in, in + used, in_size);
    if (in_size == IN_SIZE || (in_size > 0 && gone)) {
        on_line(in, in_size);
        in_size = 0;
    }
}

static void on_readable(void) {
    ssize_t n = recv(server_fd, in + in_size, IN_SIZE - in_size, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n < 0) {
        gone = "recv";
        gone_error = errno;
    } else if (n == 0) {
        gone = "the server closed the connection";
        gone_error = 0;
    } else {
        in_size += (size_t)n;
    }
    on_lines();
    terminal_flush();
}

/* ---- what we say ---- */

/* A failure is not reported here: recv reports it, after what the server has said before. */
static void on_writable(void) {
    ssize_t n = send(server_fd, out, out_size, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n < 0 && errno != EAGAIN && errno != EINTR)
        n = (ssize_t)out_size;
    if (n <= 0)
        return;
    out_size -= (size_t)n;
    memmove(out, out + n, out_size);
}

/* Adds a line to what is to be sent. The caller has made sure that there is room. */
static void put_line(const char *line, size_t size) {
    memcpy(out + out_size, line, size);
    out[out_size + size] = '\n';
    out_size += size + 1;
}

/* ---- both at once ---- */

/* Waits for the server and, if asked to, for the keyboard. Returns whether that can be read. */
static int wait_for(int keyboard) {
    struct pollfd fds[] = {{.fd = keyboard ? STDIN_FILENO : -1, .events = POLLIN},
                           {.fd = server_fd, .events = POLLIN}};
    if (out_size > 0)
        fds[1].events |= POLLOUT;
    int n = poll(fds, 2, -1);
    if (stop_count > QUIT_SECONDS)
        gone = "stopped before the server had answered /quit";
    if (n <= 0)
        return 0; /* EINTR: revents mean nothing */
    if (fds[1].revents & POLLOUT)
        on_writable();
    if (fds[1].revents & ~POLLOUT)
        on_readable();
    return fds[0].revents && !gone;
}

/* ---- a person ---- */

static const char *prompt(void) {
    if (state == NAMELESS)
        return "name> ";
    return "> ";
}

static int wait_for_key(void) {
    for (;;) {
        terminal_handle_signals(); /* some keys are signals, too */
        if (gone || stop_count)
            return 0;
        if (wait_for(1))
            return !stop_count;
    }
}

static const char *complete_name(const char *text, size_t size) {
    static char rest[PEOPLE_REST_SIZE];
    people_complete(&people, text, size, rest);
    return rest;
}

/* Shows again, as a message, what was typed: the others get it from the server, we do not. */
static void show_own(const char *line, size_t size) {
    static char text[sizeof "(you): " + TEXT_CLEAN_SIZE] = "(you): ";
    text_clean(line, size, text + strlen("(you): "));
    show(text);
}

static void on_typed(const char *line, size_t size) {
    if (size > TEXT_LINE_LIMIT) {
        show("-not sent: the line has more than 2000 bytes");
    } else if (state == NAME_SENT) {
        show("-not sent: the server has not let us in yet");
    } else if (out_size + size >= OUT_SIZE) {
        show("-not sent: the server is not reading; try again later");
    } else if (size > 0) {
        show_own(line, size);
        put_line(line, size);
        if (state == NAMELESS)
            state = NAME_SENT;
    }
}

static void talk(void) {
    terminal_open(prompt, wait_for_key, complete_name);
    while (!gone && !stop_count) {
        size_t size;
        const char *line = terminal_line(&size);
        if (!line)
            break;
        on_typed(line, size);
    }
    terminal_close();
}

/* ---- a pipe ---- */

/* A line of the input that has not ended yet. Its size goes on counting beyond the limit. */
static char partial[TEXT_LINE_LIMIT];
static size_t partial_size;

static void end_line(void) {
    if (partial_size <= TEXT_LINE_LIMIT) {
        put_line(partial, partial_size);
    } else {
        fprintf(stderr, "client: not sent: a line of more than 2000 bytes\n");
        lost_a_line = 1;
    }
    partial_size = 0;
}

static void on_input(const char *data, size_t size) {
    for (size_t i = 0; i < size; i++) {
        if (data[i] == '\n') {
            end_line();
            continue;
        }
        if (partial_size < TEXT_LINE_LIMIT)
            partial[partial_size] = data[i];
        partial_size++;
    }
}

/* Reads nothing until the server has let us in: if it refused the name, the first line would become
 * the name. */
static int can_read_input(void) {
    return state == MEMBER && out_size < OUT_SIZE - CHUNK - TEXT_LINE_LIMIT;
}

/* Reads once from standard input. Returns 0 at its end, else 1; does not return if it fails. */
static int read_stdin(void) {
    char chunk[CHUNK];
    ssize_t n = read(STDIN_FILENO, chunk, sizeof chunk);
    if (n > 0)
        on_input(chunk, (size_t)n);
    if (n < 0 && errno != EINTR && errno != EAGAIN)
        die("stdin", errno);
    return n != 0;
}

static void talk_plainly(void) {
    int is_open = 1;
    while (is_open && !gone && !stop_count) {
        if (wait_for(can_read_input()))
            is_open = read_stdin();
    }
    if (!is_open && partial_size > 0)
        end_line();
}

/* ---- start and end ---- */

static void say_goodbye(void) {
    if (state == MEMBER && !gone)
        put_line("/quit", strlen("/quit"));
    while (state == MEMBER && !gone)
        wait_for(0);
    if (said_goodbye)
        return;
    if (!gone)
        die("stopped before the server had let us in", 0);
    die(gone, gone_error);
}

/* Returns the name of the user whose terminal this is; if it has none, of the user whose rights
 * the program has. */
static const char *login_name(void) {
    const struct passwd *user = getpwuid(getuid());
    const char *login = getlogin();
    if (login)
        return login;
    if (user)
        return user->pw_name;
    return getenv("LOGNAME");
}

static void require_name(void) {
    char why[WHY_TEXT];
    const char *problem = "this user has no login name";
    if (!name)
        name = login_name();
    if (name)
        problem = name_problem(name);
    if (!problem)
        return;
    snprintf(why, sizeof why, "-n: %s", problem);
    usage_error(usage, why);
}

/* The messages become the standard input. */
static void read_messages(char **messages) {
    FILE *file = tmpfile();
    if (!file)
        die("cannot create a file for the messages", errno);
    for (size_t i = 0; messages[i]; i++)
        fprintf(file, "%s\n", messages[i]);
    if (ferror(file) || fseek(file, 0, SEEK_SET) < 0 || dup2(fileno(file), STDIN_FILENO) < 0)
        die("cannot create a file for the messages", errno);
}

/* Written out in 01. */
static void on_stop_signal(int signal_number) {
    if (signal_number == SIGALRM && stop_count == 0)
        return; /* nobody has asked to stop: this alarm is not ours */
    if (signal_number != SIGALRM && stop_count > 0)
        return; /* asked again: the alarm that is already set must not be delayed */
    stop_count = stop_count + 1;
    alarm(1);
}

static void catch_signals(void) {
    const struct sigaction action = {.sa_handler = on_stop_signal}; /* no SA_RESTART: see 01 */
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGALRM, &action, NULL);
    if (!signal_ignored(SIGHUP)) /* a terminal sends it when it is closed */
        sigaction(SIGHUP, &action, NULL);
    signal(SIGPIPE, SIG_IGN); /* a pipe that nobody reads any more is an error of stdout's */
}

/* Returns -1: go on; or the exit status: 0 after -h, 2 after a wrong option. */
static int parse_options(int argc, char **argv) {
    int option;
    while ((option = getopt(argc, argv, "+a:p:n:h")) != -1) {
        switch (option) {
        case 'a': address = optarg; break;
        case 'p':
            number_arg(usage, 'p', optarg, 1, 65535);
            port = optarg;
            break;
        case 'n': name = optarg; break;
        case 'h': return print_usage(usage);
        default: fputs(usage, stderr); return 2; /* getopt has said what is wrong */
        }
    }
    return -1;
}

int main(int argc, char **argv) {
    char why[WHY_TEXT];
    const char *no_color = getenv("NO_COLOR"); /* no-color.org */
    reset_inherited();
    text_set_locale();
    int status = parse_options(argc, argv);
    if (status >= 0)
        return status;
    require_name();
    if (optind < argc)
        read_messages(argv + optind);
    server_fd = connect_to(address, port, why);
    if (server_fd < 0)
        die(why, errno);
    catch_signals();
    on_terminal = isatty(STDOUT_FILENO);
    editing = terminal_can_edit();
    in_color = !no_color || *no_color == '\0';
    put_line(name, strlen(name));
    state = NAME_SENT;
    if (editing)
        talk();
    else
        talk_plainly();
    say_goodbye();
    return lost_a_line;
}
