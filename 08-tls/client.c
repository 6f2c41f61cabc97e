/* 08-tls/client.c: sends lines over TLS to a server that has proved who it is, prints the replies.
 *
 * Teaches: to verify a server: is its certificate signed by somebody whom we trust, is it for this
 *   name, is it valid today? To send nothing of the user's before that. To send and to read at the
 *   same time over TLS. To tell an end from a stream that was cut off.
 * New since 03: TLS; no second try: a connection that breaks may have been broken on purpose.
 * Run: ./client hello    or ./client -i hello    or -c certs/client.pem -k certs/client.key
 * Try to break it: ./client -n example.org hello; another CA; stop the server in mid-conversation.
 */
#include "tls.h"
#include <netinet/in.h>
#include <netinet/tcp.h>

enum { LINE_LIMIT = 65536, WINDOW = 4 * LINE_LIMIT, END_MS = 2000 };

static const char usage[] =
    "usage: client [-a ADDR] [-p PORT] [-C CA] [-n NAME] [-c CERT -k KEY] [-i] [MESSAGE ...]\n"
    "  -a ADDR  name, IPv4 or IPv6 address of the server (127.0.0.1)\n"
    "  -p PORT  1 to 65535 (9008)\n"
    "  -C CA    file with the certificates that are trusted to sign (that of `make certs`)\n"
    "  -n NAME  name or address that the server's certificate has to be for (ADDR)\n"
    "  -c CERT  file with our own certificate, for a server that asks for one\n"
    "  -k KEY   file with its private key\n"
    "  -i       say on stderr who the server is, and how the connection is protected\n"
    "Without a MESSAGE it sends the lines of its standard input; `exit` or `q` ends them.\n";

/* out:   answered | sent, no reply yet | complete lines | a line begun | free
 *        0        head                 sent            whole          tail   WINDOW */
static struct {
    SSL *tls;
    FILE *file;
    int fd, input, input_ended, prompted, cannot_send;
    size_t head, sent, whole, tail, in_size;
    char out[WINDOW];
    char in[LINE_LIMIT + 1]; /* a reply that is not complete */
} c;

/* "handshake: wrong version number"; what was wrong with a certificate says it all by itself. */
static _Noreturn void fail(const char *what, const char *why) {
    fprintf(stderr, "client: %s%s%s\n", why == tls_refused ? "" : what,
            why == tls_refused ? "" : ": ", why);
    exit(1);
}

/* Makes call, SSL_connect or SSL_shutdown, until it is done (1), or for ms (0). */
static int complete(int (*call)(SSL *), const char *what, int ms) {
    const char *why;
    long long left, end = now_ms() + ms;
    for (int n; ERR_clear_error(), (n = call(c.tls)) != 1;) {
        short wish = n == 0 && call == SSL_shutdown ? POLLIN : tls_wish(c.tls, n, &why);
        if (!wish)
            fail(what, why);
        if ((left = end - now_ms()) <= 0)
            return 0;
        poll(&(struct pollfd){.fd = c.fd, .events = wish}, 1, (int)left);
    }
    return 1;
}

/* Reads input while there is room for it, and finds where the last complete line ends. */
static void on_input(void) {
    ssize_t n = read(c.input, c.out + c.tail, WINDOW - 1 - c.tail);
    if (n < 0 && errno != EINTR && errno != EAGAIN)
        die("stdin", errno);
    c.tail += n > 0 ? (size_t)n : 0;
    c.input_ended = n == 0;
    if (c.input_ended && c.tail > c.whole)
        c.out[c.tail++] = '\n'; /* the last line had none; a byte was kept for it */
    for (ssize_t line; (line = line_length(c.out + c.whole, c.tail - c.whole, LINE_LIMIT)) != 0;) {
        const char *text = c.out + c.whole;
        if (c.input == STDIN_FILENO && (!strncmp(text, "exit\n", 5) || !strncmp(text, "q\n", 2))) {
            c.input_ended = 1;
            c.tail = c.whole;
            break;
        }
        c.whole = line < 0 ? c.tail : c.whole + (size_t)line; /* too long: the server will say so */
    }
    c.prompted = 0;
}

/* Sends until it would have to wait, and returns for what. If it cannot, the server may have said
 * why before it left: on_readable will know. */
static short on_writable(void) {
    const char *why;
    while (c.sent < c.whole && !c.cannot_send) {
        ERR_clear_error();
        int n = SSL_write(c.tls, c.out + c.sent, (int)(c.whole - c.sent));
        short wish = n > 0 ? 0 : tls_wish(c.tls, n, &why);
        c.cannot_send = n <= 0 && !wish;
        c.sent += n > 0 ? (size_t)n : 0;
        if (wish)
            return wish;
    }
    return 0;
}

/* One reply: "+" and the first line that had none, or the server's refusal. */
static void check_reply(const char *reply, size_t n) {
    char what[WHY_TEXT];
    snprintf(what, sizeof what, "the server refuses: %.*s", n > 1 ? (int)n - 2 : 0, reply + 1);
    if (reply[0] == '-')
        die(what, 0);
    if (reply[0] != '+' || c.sent - c.head < n - 1 || memcmp(reply + 1, c.out + c.head, n - 1) != 0)
        die("a reply that does not fit the line sent", 0);
    if (fwrite(reply, 1, n, stdout) < n)
        die("stdout", errno);
    c.head += n - 1;
}

static void take_replies(void) {
    const char *reply = c.in;
    ssize_t line;
    while ((line = line_length(reply, c.in_size, sizeof c.in)) > 0) {
        check_reply(reply, (size_t)line);
        reply += line;
        c.in_size -= (size_t)line;
    }
    if (line < 0)
        die("a reply without an end", 0);
    memmove(c.in, reply, c.in_size);
    if (fflush(stdout) != 0)
        die("stdout", errno);
}

/* Reads until it would have to wait, and returns for what; no further than the last reply. */
static short on_readable(void) {
    const char *why;
    while (!c.input_ended || c.head < c.tail) {
        ERR_clear_error();
        int n = SSL_read(c.tls, c.in + c.in_size, (int)(sizeof c.in - c.in_size));
        if (n <= 0) {
            short wish = tls_wish(c.tls, n, &why);
            if (!wish)
                fail("the connection", why);
            return wish;
        }
        c.in_size += (size_t)n;
        take_replies();
    }
    return 0;
}

/* Messages are read as standard input is. */
static void open_input(char **messages) {
    c.file = *messages ? tmpfile() : stdin;
    if (!c.file)
        die("tmpfile", errno);
    c.input = fileno(c.file);
    for (char **m = messages; *m; m++)
        fprintf(c.file, "%s\n", *m);
    if (*messages && (ferror(c.file) || fseek(c.file, 0, SEEK_SET) < 0)) /* the disk is full? */
        die("tmpfile", errno);
}

/* Does all that is possible without waiting, then waits for whatever that waits for, and input. */
static void converse(void) {
    while (!c.input_ended || c.head < c.tail) {
        short wish = on_readable(); /* by now we know whether what was sent was the last */
        if (!c.prompted && !c.input_ended && c.head == c.tail && isatty(c.input)) {
            printf("> ");
            c.prompted = !fflush(stdout);
        }
        if (c.tail == WINDOW - 1 || c.head == c.tail) { /* makes room at the end of out */
            memmove(c.out, c.out + c.head, c.tail - c.head);
            c.sent -= c.head;
            c.whole -= c.head;
            c.tail -= c.head;
            c.head = 0;
        }
        wish |= on_writable();
        int reading = !c.input_ended && c.tail < WINDOW - 1;
        struct pollfd wait[2] = {
            {.fd = c.fd, .events = wish},
            {.fd = reading ? c.input : -1, .events = POLLIN}, /* -1: not now */
        };
        if (!c.input_ended || c.head < c.tail)
            poll(wait, 2, -1);
        if (wait[1].revents)
            on_input();
    }
}

/* The names that the certificate must bear: an address is no host name, nor does one send it. */
static void expect(const char *name) {
    X509_VERIFY_PARAM *checks = SSL_get0_param(c.tls);
    X509_VERIFY_PARAM_set_hostflags(checks, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS |
                                                X509_CHECK_FLAG_NEVER_CHECK_SUBJECT);
    if (!X509_VERIFY_PARAM_set1_ip_asc(checks, name) &&
        (!SSL_set1_host(c.tls, name) || !SSL_set_tlsext_host_name(c.tls, name)))
        fail(name, "cannot be in a certificate");
}

static void show_server(void) {
    char subject[NAME_TEXT], issuer[NAME_TEXT];
    const X509 *server = SSL_get0_peer_certificate(c.tls);
    BIO *text = BIO_new_fp(stderr, BIO_NOCLOSE);
    BIO_printf(text, "protocol  %s\ncipher    %s\nsubject   %s\nissuer    %s\nvalid     ",
               SSL_get_version(c.tls), SSL_get_cipher_name(c.tls),
               tls_name(X509_get_subject_name(server), subject),
               tls_name(X509_get_issuer_name(server), issuer));
    ASN1_TIME_print(text, X509_get0_notBefore(server));
    BIO_puts(text, " to ");
    ASN1_TIME_print(text, X509_get0_notAfter(server));
    BIO_puts(text, "\n");
    BIO_free(text);
}

/* Connects, and does not come back unless the server has proved to be the one with that name. */
static void connect_to_server(SSL_CTX *settings, const char *address, const char *port,
                              const char *name) {
    char why[WHY_TEXT];
    c.fd = connect_to(address, port, why);
    if (c.fd < 0)
        die(why, errno);
    set_nonblocking(c.fd);
    setsockopt(c.fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    c.tls = SSL_new(settings);
    if (!c.tls || SSL_set_fd(c.tls, c.fd) != 1)
        fail("OpenSSL", tls_reason());
    SSL_set_mode(c.tls, SSL_MODE_ENABLE_PARTIAL_WRITE); /* says what is sent, as send(2) does */
    expect(name);
    if (!complete(SSL_connect, "handshake", HANDSHAKE_MS))
        fail("handshake", "the server takes too long");
}

int main(int argc, char **argv) {
    const char *address = "127.0.0.1", *port = "9008", *ca = CERTS "/ca.pem", *name = NULL;
    const char *certificate = NULL, *key = NULL;
    int show = 0;
    for (int option; (option = getopt(argc, argv, "+a:p:C:n:c:k:ih")) != -1;)
        switch (option) {
        case 'a': address = optarg; break;
        case 'p': number_arg(usage, 'p', optarg, 1, 65535), port = optarg; break;
        case 'C': ca = optarg; break;
        case 'n': name = optarg; break;
        case 'c': certificate = optarg; break;
        case 'k': key = optarg; break;
        case 'i': show = 1; break;
        case 'h': return fputs(usage, stdout) < 0;
        default: return fputs(usage, stderr), 2; /* getopt has said what is wrong */
        }
    name = name ? name : address;
    if (!*name || *name == '.' || !certificate != !key) /* "": any name; ".org": any below org */
        usage_error(usage, !certificate != !key ? "-c and -k belong together" : "-n: not a name");
    signal(SIGPIPE, SIG_IGN); /* OpenSSL sends without MSG_NOSIGNAL */
    SSL_CTX *settings = tls_context(TLS_client_method(), certificate, key, ca);
    if (!settings)
        die(tls_why, 0);
    connect_to_server(settings, address, port, name);
    if (show)
        show_server();
    open_input(argv + optind);
    converse();
    complete(SSL_shutdown, "at the end", END_MS); /* all is answered: we need not hear the end */
    SSL_free(c.tls);
    SSL_CTX_free(settings);
    fclose(c.file);
    close(c.fd);
    return 0;
}
