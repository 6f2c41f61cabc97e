/* 07-chat/client.c: a person in the room, or a pipe.
 *
 * Teaches: to wait for a keyboard and a socket at once; what is half typed stays when a message
 *   comes (terminal.h); nothing that came from a network is printed raw to a terminal (text.h).
 * New since 06: the server speaks without being asked.
 * Run: ./client -n ann   (tab completes names; /help)   printf 'hi\n' | ./client -n bob
 * Try to break it: stop the server with Ctrl-Z and type on; let a server send escape sequences.
 * Still wrong: whoever sits between the two reads all, and may be the server (see chapter 08).
 */
#include "people.h"
#include "terminal.h"
#include <pwd.h>

enum {
    IN_ROOM = 131072, /* a longer line of the server's is shown in parts */
    OUT_ROOM = 65536, /* when full, a pipe is not read on, and a typed line is refused */
    CHUNK = 4096,
    QUIT_SECONDS = 2 /* so long we wait for the goodbye after SIGINT or SIGTERM */
};

static const char usage[] =
    "usage: client [-a ADDR] [-p PORT] [-n NAME] [MESSAGE ...]\n"
    "  -a ADDR  name, IPv4 or IPv6 address of the server (127.0.0.1)\n"
    "  -p PORT  1 to 65535 (9007)\n"
    "  -n NAME  what the others call you (your login name)\n"
    "Sends each MESSAGE, or the lines of its standard input (`/quit` or its end ends them), and\n"
    "prints what the others say. /help lists what the server can do.\n";

static int server, editing, on_terminal, in_colour; /* editing: by terminal.h; else a pipe */
static enum { NAMELESS, NAME_SENT, MEMBER } state;
static const char *gone;                     /* NULL, or why there is no server any more */
static int gone_error, goodbye, lost_a_line; /* goodbye: it has answered /quit */
static char in[IN_ROOM], out[OUT_ROOM + sizeof "/quit"];
static size_t in_size, out_size;
static struct people people;

/* ---- what the server says ---- */

static void show(const char *text) {
    static char message[3 * IN_ROOM + 64];
    char clock[sizeof "00:00"];
    time_t now = time(NULL);
    strftime(clock, sizeof clock, "%H:%M", localtime(&now));
    people_show(clock, text, in_colour, message, sizeof message);
    terminal_print(message);
}

/* Its newline is missing where the connection ends, or where the line is longer than IN_ROOM. */
static void on_line(const char *line, size_t size) {
    static char text[3 * IN_ROOM + 1]; /* cleaning makes it up to three times as long */
    clean_text(line, size - (line[size - 1] == '\n'), text);
    if (state == NAME_SENT)
        state = *text == '-' ? NAMELESS : MEMBER;
    goodbye |= !strcmp(text, "+bye");
    people_heed(&people, text);
    if (editing)
        show(text);
    else if (on_terminal)
        puts(text);
    else
        fwrite(line, 1, size, stdout);
    if (!editing && state == NAMELESS)
        gone = "the server refuses that name";
}

static void on_readable(void) {
    ssize_t n = recv(server, in + in_size, IN_ROOM - in_size, MSG_DONTWAIT);
    size_t used = 0, size;
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        gone = n == 0 ? "the server closed the connection" : "recv";
        gone_error = n < 0 ? errno : 0;
    }
    in_size += n > 0 ? (size_t)n : 0;
    while ((size = (size_t)line_length(in + used, in_size - used, IN_ROOM + 1)) > 0) {
        on_line(in + used, size);
        used += size;
    }
    memmove(in, in + used, in_size -= used);
    if (in_size == IN_ROOM || (in_size && gone)) {
        on_line(in, in_size);
        in_size = 0;
    }
    terminal_flush();
}

/* ---- what we say ---- */

/* A failure is not told here: recv does, after what the server had still to say. */
static void on_writable(void) {
    ssize_t n = send(server, out, out_size, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n < 0 && errno != EAGAIN && errno != EINTR)
        n = (ssize_t)out_size;
    if (n > 0)
        memmove(out, out + n, out_size -= (size_t)n);
}

static void queue(const char *line, size_t size) {
    memcpy(out + out_size, line, size);
    out[out_size + size] = '\n';
    out_size += size + 1;
}

/* ---- both at once ---- */

/* Waits for the server and, if asked to, for the keyboard; says whether that has something. */
static int wait_for(int keyboard) {
    struct pollfd fds[] = {{.fd = keyboard ? STDIN_FILENO : -1, .events = POLLIN},
                           {.fd = server, .events = out_size ? POLLIN | POLLOUT : POLLIN}};
    int n = poll(fds, 2, -1);
    if (stopping > QUIT_SECONDS)
        gone = "stopped before the server had said goodbye";
    if (n > 0 && fds[1].revents & POLLOUT)
        on_writable();
    if (n > 0 && fds[1].revents & ~POLLOUT)
        on_readable();
    return n > 0 && fds[0].revents && !gone; /* on EINTR they mean nothing */
}

/* ---- a person ---- */

static char *prompt(void) {
    return state == NAMELESS ? "name> " : "> ";
}

static int wait_for_key(void) {
    while (!wait_for(1) && !gone && !stopping)
        terminal_heed_signals();
    return !gone && !stopping;
}

static unsigned char complete_name(EditLine *editor, int key) {
    const LineInfo *line = el_line(editor);
    char rest[NAME_ROOM + 1];
    (void)key;
    people_complete(&people, line->buffer, (size_t)(line->cursor - line->buffer), rest);
    return *rest && el_insertstr(editor, rest) == 0 ? CC_REFRESH : CC_ERROR;
}

/* What was typed is shown again, as a message: the others get it from the server, we do not. */
static void on_typed(const char *line, size_t size) {
    static char text[sizeof "(you): " + CLEAN_ROOM] = "(you): ";
    if (size > LINE_LIMIT) {
        show("-not sent: it has more than 2000 bytes");
    } else if (state == NAME_SENT) {
        show("-not sent: the server has not let us in yet");
    } else if (out_size + size >= OUT_ROOM) {
        show("-not sent: the server does not take it");
    } else if (size > 0) {
        clean_text(line, size, text + strlen("(you): "));
        show(text);
        queue(line, size);
        state = state == NAMELESS ? NAME_SENT : state;
    }
}

static void talk(void) {
    size_t size;
    terminal_open(prompt, wait_for_key, complete_name);
    for (const char *line; !gone && !stopping && (line = terminal_line(&size));)
        on_typed(line, size);
}

/* ---- a pipe ---- */

/* Bytes in, lines out. Returns the size of the line begun, which goes on counting at its limit. */
static size_t take(const char *data, size_t n) {
    static char line[LINE_LIMIT];
    static size_t size;
    for (; n--; data++) {
        if (*data != '\n') {
            line[size < LINE_LIMIT ? size : 0] = *data;
            size++;
            continue;
        }
        lost_a_line |= size > LINE_LIMIT;
        if (size > LINE_LIMIT)
            fprintf(stderr, "client: not sent: a line of more than 2000 bytes\n");
        else
            queue(line, size);
        size = 0;
    }
    return size;
}

/* It waits until we are let in, or its first line could become our name. */
static void talk_plainly(void) {
    char chunk[CHUNK];
    ssize_t n = 1;
    while (n > 0 && !gone && !stopping)
        if (wait_for(state == MEMBER && out_size < OUT_ROOM - CHUNK - LINE_LIMIT) &&
            (n = read(STDIN_FILENO, chunk, sizeof chunk)) > 0)
            take(chunk, (size_t)n);
    if (n < 0)
        die("stdin", errno);
    if (n == 0 && take(NULL, 0) > 0)
        take("\n", 1);
}

/* ---- start and end ---- */

static void say_goodbye(void) {
    if (state == MEMBER && !gone)
        queue("/quit", 5);
    while (state == MEMBER && !gone)
        wait_for(0);
    if (!goodbye)
        die(gone ? gone : "stopped before the server had let us in", gone_error);
}

static const char *login_name(void) {
    const struct passwd *user = getpwuid(getuid());
    const char *name = getlogin(); /* the one on whose terminal we are; there may be none */
    return name ? name : user ? user->pw_name : getenv("LOGNAME");
}

/* The messages become the standard input. */
static void read_messages(char **messages) {
    FILE *file = tmpfile();
    for (; file && *messages; messages++)
        fprintf(file, "%s\n", *messages);
    if (!file || ferror(file) || fseek(file, 0, SEEK_SET) < 0 ||
        dup2(fileno(file), STDIN_FILENO) < 0)
        die("no file for the messages", errno);
}

int main(int argc, char **argv) {
    const char *address = "127.0.0.1", *port = "9007", *name = NULL;
    char why[WHY_TEXT];
    for (int option; (option = getopt(argc, argv, "+a:p:n:h")) != -1;) {
        switch (option) {
        case 'a': address = optarg; break;
        case 'p': number_arg(usage, 'p', optarg, 1, 65535), port = optarg; break;
        case 'n': name = optarg; break;
        case 'h': return fputs(usage, stdout) < 0;
        default: return fputs(usage, stderr), 2; /* getopt has said what is wrong */
        }
    }
    name = name ? name : login_name();
    const char *problem = name ? name_problem(name) : "this user has no login name";
    snprintf(why, sizeof why, "-n: %s", problem ? problem : "");
    if (problem)
        usage_error(usage, why);
    if (optind < argc)
        read_messages(argv + optind);
    server = connect_to(address, port, why);
    if (server < 0)
        die(why, errno);
    stop_on_signals();
    on_terminal = isatty(STDOUT_FILENO);
    editing = terminal_can_edit();
    in_colour = !getenv("NO_COLOR") || !*getenv("NO_COLOR"); /* no-color.org */
    queue(name, strlen(name));
    state = NAME_SENT;
    editing ? talk() : talk_plainly();
    say_goodbye();
    return lost_a_line;
}
