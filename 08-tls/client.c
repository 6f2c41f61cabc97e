/* 08-tls/client.c: sends lines over TLS to a server that has proved who it is, prints the replies.
 *
 * Teaches: verifying a server: an authority that we trust has signed its certificate, which is for
 *   this name and valid today; sending nothing of the user's input before that; sending and reading
 *   at the same time over TLS; noticing whether a stream has ended or was cut off.
 * New since 03: TLS; no second try, since someone may have broken the connection on purpose.
 * Run: ./client hello    or ./client -i hello    or -c certs/client.pem -k certs/client.key
 * Try to break it: ./client -n example.org hello; another CA; stop the server in mid-conversation.
 */
#include "../util.h"
#include "tls.h"
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>

enum {
    LINE_LIMIT = 65536,            /* bytes of a line, its newline included */
    OUT_CAPACITY = 4 * LINE_LIMIT, /* bytes of lines without a reply, at most */
    END_MS = 2000                  /* how long the client waits for the server's close_notify */
};

static const char usage[] =
    "usage: client [-a ADDR] [-p PORT] [-C CA] [-n NAME] [-c CERT -k KEY] [-i] [MESSAGE ...]\n"
    "  -a ADDR  name, IPv4 or IPv6 address of the server (127.0.0.1)\n"
    "  -p PORT  1 to 65535 (9008)\n"
    "  -C CA    file with the authorities' certificates that it trusts (made by make certs)\n"
    "  -n NAME  name or address that must be in the server's certificate (ADDR)\n"
    "  -c CERT  file with the client's own certificate, for a server that asks for one\n"
    "  -k KEY   file with its private key\n"
    "  -i       say on stderr who the server is, and how the connection is protected\n"
    "Without a MESSAGE it sends the lines of its standard input; `exit` or `q` ends them.\n";
static const char *address = "127.0.0.1";
static const char *port = "9008";
static const char *ca = CERTS "/ca.pem";
static const char *name; /* of the server; NULL: address */
static const char *certificate;
static const char *key;
static int verbose; /* say who the server is */

static int server_fd;
static SSL *tls;
static const char *end_reason; /* why the connection has ended, with no reply missing; or NULL */
static int cannot_send;        /* the server may have said why before it left */

static FILE *input_file;
static int input_fd;
static int input_ended; /* nothing more to read */
static int prompted;    /* "> " is shown */

/* Input that has no reply yet:
 *   answered | sent, no reply yet | complete lines | partial line | free
 *   0        out_answered         out_sent         out_complete   out_size   OUT_CAPACITY */
static char out[OUT_CAPACITY];
static size_t out_answered, out_sent, out_complete, out_size;

static char in[LINE_LIMIT + 1]; /* a reply that is not complete: "+" and a line */
static size_t in_size;

/* Ends the program: "client: handshake: wrong version number". If a certificate was wrong, why says
 * everything. */
static _Noreturn void fail(const char *what, const char *why) {
    if (tls_verify_error())
        fprintf(stderr, "client: %s\n", why);
    else
        fprintf(stderr, "client: %s: %s\n", what, why);
    exit(1);
}

/* Returns whether a call has failed with n because the connection has ended, cleanly or not.
 * Returns 0 after an alert or an invalid record. */
static int met_end(int n) {
    int error = SSL_get_error(tls, n);
    if (error == SSL_ERROR_ZERO_RETURN || error == SSL_ERROR_SYSCALL)
        return 1;
    return ERR_GET_REASON(ERR_peek_error()) == SSL_R_UNEXPECTED_EOF_WHILE_READING;
}

/* ---- input ---- */

/* Opens the input: the messages or, if there are none, standard input. The messages go through a
 * file, so that they are read as standard input is. */
static void open_input(char **messages) {
    input_file = stdin;
    if (*messages)
        input_file = tmpfile();
    if (!input_file)
        die("tmpfile", errno);
    input_fd = fileno(input_file);
    if (!*messages)
        return;
    for (char **message = messages; *message; message++)
        fprintf(input_file, "%s\n", *message);
    if (ferror(input_file) || fseek(input_file, 0, SEEK_SET) < 0) /* is the disk full? */
        die("tmpfile", errno);
}

/* Returns whether a line of standard input is `exit` or `q`. */
static int is_command(const char *line, size_t length) {
    if (input_fd != STDIN_FILENO)
        return 0;
    if (length == strlen("exit\n"))
        return memcmp(line, "exit\n", length) == 0;
    return length == strlen("q\n") && memcmp(line, "q\n", length) == 0;
}

/* Finds the lines that have become complete. A command ends the input and is not sent. */
static void find_lines(void) {
    ssize_t length;
    while ((length = line_length(out + out_complete, out_size - out_complete, LINE_LIMIT)) > 0) {
        if (is_command(out + out_complete, (size_t)length)) {
            input_ended = 1;
            out_size = out_complete;
            return;
        }
        out_complete += (size_t)length;
    }
    if (length < 0)
        out_complete = out_size; /* too long: the server will say so */
}

/* Reads input into what is free of out, except one byte, which is for the last newline. */
static void on_input(void) {
    ssize_t n = read(input_fd, out + out_size, OUT_CAPACITY - 1 - out_size);
    prompted = 0;
    if (n < 0) {
        if (errno != EINTR && errno != EAGAIN)
            die("stdin", errno);
        return;
    }
    out_size += (size_t)n;
    if (n == 0)
        input_ended = 1;
    if (n == 0 && out_size > out_complete) { /* the last line has no newline */
        out[out_size] = '\n';
        out_size++;
    }
    find_lines();
}

/* ---- the conversation ---- */

/* Sends until it would have to wait. Returns for what: POLLIN or POLLOUT; or 0. If it cannot send
 * any more, the server may have said why before it left, and on_readable will find it. */
static short on_writable(void) {
    while (out_sent < out_complete && !cannot_send) {
        const char *why;
        ERR_clear_error();
        int n = SSL_write(tls, out + out_sent, (int)(out_complete - out_sent));
        if (n > 0) {
            out_sent += (size_t)n;
            continue;
        }
        short interest = tls_interest(tls, n, &why);
        if (interest != 0)
            return interest;
        cannot_send = 1;
    }
    return 0;
}

/* Ends the program with the reason in a refusal, "-reason\n". */
static _Noreturn void end_refused(const char *reply, size_t size) {
    char what[WHY_TEXT];
    int reason_size = 0;
    if (size > 1)
        reason_size = (int)size - 2;
    snprintf(what, sizeof what, "the server refuses: %.*s", reason_size, reply + 1);
    die(what, 0);
}

/* Prints one reply, which has to be "+" and the first line that had none. */
static void take_reply(const char *reply, size_t size) {
    const size_t line_size = size - 1;
    if (reply[0] == '-')
        end_refused(reply, size);
    if (reply[0] != '+' || out_sent - out_answered < line_size ||
        memcmp(reply + 1, out + out_answered, line_size) != 0)
        die("the reply does not fit the line sent", 0);
    if (fwrite(reply, 1, size, stdout) < size)
        die("stdout", errno);
    out_answered += line_size;
}

/* Prints the replies that are complete, and keeps a partial one. */
static void take_replies(void) {
    const char *reply = in;
    ssize_t size;
    while ((size = line_length(reply, in_size, sizeof in)) > 0) {
        take_reply(reply, (size_t)size);
        reply += size;
        in_size -= (size_t)size;
    }
    if (size < 0)
        die("the reply is longer than any line may be", 0);
    memmove(in, reply, in_size);
    if (fflush(stdout) != 0)
        die("stdout", errno);
}

/* SSL_read has returned n: nothing more will come. That is an error if a line has no reply, or if
 * another line comes from the input. On a terminal the input ends, too. */
static void on_end(int n, const char *why) {
    if (out_answered < out_size || !met_end(n))
        fail("the connection", why);
    end_reason = why;
    if (isatty(input_fd))
        input_ended = 1;
}

/* Returns whether all input has been read and answered. */
static int is_done(void) {
    return input_ended && out_answered == out_size;
}

/* Reads until it would have to wait, but no further than the last reply. Returns for what: POLLIN
 * or POLLOUT; or 0. */
static short on_readable(void) {
    while (!end_reason && !is_done()) {
        const char *why;
        ERR_clear_error();
        int n = SSL_read(tls, in + in_size, (int)(sizeof in - in_size));
        if (n <= 0) {
            short interest = tls_interest(tls, n, &why);
            if (interest == 0)
                on_end(n, why);
            return interest;
        }
        in_size += (size_t)n;
        take_replies();
    }
    return 0;
}

/* Shows the prompt on a terminal, if it is the user's turn. */
static void show_prompt(void) {
    if (prompted || input_ended || out_answered < out_size || !isatty(input_fd))
        return;
    fputs("> ", stdout);
    if (fflush(stdout) == 0)
        prompted = 1;
}

/* Makes room at the end of out, if it is full, or if nothing has to be moved. */
static void make_room(void) {
    if (out_size < OUT_CAPACITY - 1 && out_answered < out_size)
        return;
    memmove(out, out + out_answered, out_size - out_answered);
    out_sent -= out_answered;
    out_complete -= out_answered;
    out_size -= out_answered;
    out_answered = 0;
}

/* Waits until the socket is ready for interest, or input comes, which it reads. */
static void wait_for(short interest) {
    struct pollfd server = {.fd = server_fd, .events = interest};
    struct pollfd input = {.fd = input_fd, .events = POLLIN};
    if (end_reason)
        server.fd = -1; /* poll leaves it out */
    if (input_ended || out_size == OUT_CAPACITY - 1)
        input.fd = -1;
    struct pollfd both[] = {server, input};
    poll(both, 2, -1);
    if (both[1].revents)
        on_input();
}

/* Does everything that can be done without waiting, then waits for what is needed next. */
static void converse(void) {
    while (!is_done()) {
        const short to_read = on_readable();
        show_prompt(); /* after reading: a reply may have come, or the end */
        make_room();
        const short to_write = on_writable();
        if (!is_done())
            wait_for((short)(to_read | to_write));
        if (end_reason && out_answered < out_size)
            fail("the connection", end_reason);
    }
}

/* ---- the connection ---- */

/* Lets the handshake fail unless the server's certificate is for the name that we want. A name is
 * also sent to the server (SNI); an address never is. */
static void expect_name(void) {
    X509_VERIFY_PARAM *checks = SSL_get0_param(tls);
    X509_VERIFY_PARAM_set_hostflags(checks, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS |
                                                X509_CHECK_FLAG_NEVER_CHECK_SUBJECT);
    if (X509_VERIFY_PARAM_set1_ip_asc(checks, name) == 1)
        return;
    if (SSL_set1_host(tls, name) != 1 || SSL_set_tlsext_host_name(tls, name) != 1)
        fail(name, "cannot be in a certificate");
}

/* Waits until the socket is ready for interest. Returns 0, or -1 if the deadline has passed. */
static int wait_until(long long deadline, short interest) {
    struct pollfd server = {.fd = server_fd, .events = interest};
    const long long left = deadline - now_ms();
    if (left <= 0)
        return -1;
    poll(&server, 1, (int)left);
    return 0;
}

/* Returns only if the server has proved to be the one that we want. */
static void shake_hands(void) {
    const long long deadline = now_ms() + TLS_HANDSHAKE_MS;
    const char *why;
    for (;;) {
        ERR_clear_error();
        int n = SSL_connect(tls);
        if (n == 1)
            return;
        short interest = tls_interest(tls, n, &why);
        if (interest == 0)
            fail("handshake", why);
        if (wait_until(deadline, interest) < 0)
            fail("handshake", "the server takes too long (5 s)");
    }
}

static void connect_to_server(SSL_CTX *settings) {
    const int on = 1;
    char why[WHY_TEXT];
    server_fd = connect_to(address, port, why);
    if (server_fd < 0)
        die(why, errno);
    set_nonblocking(server_fd);
    setsockopt(server_fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    tls = SSL_new(settings);
    if (!tls || SSL_set_fd(tls, server_fd) != 1)
        fail("OpenSSL", tls_reason());
    SSL_set_mode(tls, SSL_MODE_ENABLE_PARTIAL_WRITE); /* SSL_write may take a part, like send */
    expect_name();
    shake_hands();
}

/* Says on stderr who the server is. */
static void show_server(void) {
    char subject[TLS_NAME_TEXT];
    char issuer[TLS_NAME_TEXT];
    const X509 *server = SSL_get0_peer_certificate(tls);
    BIO *text = BIO_new_fp(stderr, BIO_NOCLOSE);
    BIO_printf(text, "protocol  %s\ncipher    %s\n", SSL_get_version(tls),
               SSL_get_cipher_name(tls));
    BIO_printf(text, "subject   %s\nissuer    %s\nvalid     ",
               tls_name(X509_get_subject_name(server), subject),
               tls_name(X509_get_issuer_name(server), issuer));
    ASN1_TIME_print(text, X509_get0_notBefore(server));
    BIO_puts(text, " to ");
    ASN1_TIME_print(text, X509_get0_notAfter(server));
    BIO_puts(text, "\n");
    BIO_free(text);
}

/* Sends close_notify, and waits for the server's for at most END_MS. Returns NULL, or why the
 * connection has ended without it. */
static const char *exchange_ends(void) {
    const long long deadline = now_ms() + END_MS;
    const char *why;
    for (;;) {
        short interest = POLLIN;
        ERR_clear_error();
        int n = SSL_shutdown(tls);
        if (n == 1)
            return NULL;
        if (n < 0) /* 0: ours is sent, and that of the server has not come yet */
            interest = tls_interest(tls, n, &why);
        if (interest == 0 && !met_end(n))
            fail("at the end", why);
        if (interest == 0)
            return why;
        if (wait_until(deadline, interest) < 0)
            return NULL; /* the server takes too long, but it has answered everything */
    }
}

/* Ends the connection. Every line has its reply, so an end without close_notify has lost nothing
 * that we know of: it is mentioned and is no error. Many servers close as if there were no TLS. */
static void close_connection(void) {
    if (!end_reason || SSL_get_shutdown(tls) & SSL_RECEIVED_SHUTDOWN)
        end_reason = exchange_ends();
    if (end_reason)
        fprintf(stderr, "client: all is answered, but the connection ended badly: %s\n",
                end_reason);
    SSL_free(tls);
    close(server_fd);
}

/* Checks what OpenSSL does not: for it "" means any name, and ".org" any name below org. */
static void check_options(void) {
    if (!certificate != !key)
        usage_error(usage, "-c and -k belong together");
    if (name[0] == '\0' || name[0] == '.')
        usage_error(usage, "-n: not a name");
}

/* Returns -1: go on; or the exit status: 0 after -h, 2 after a wrong option. */
static int parse_options(int argc, char **argv) {
    int option;
    while ((option = getopt(argc, argv, "+a:p:C:n:c:k:ih")) != -1) {
        switch (option) {
        case 'a': address = optarg; break;
        case 'p':
            number_arg(usage, 'p', optarg, 1, 65535);
            port = optarg;
            break;
        case 'C': ca = optarg; break;
        case 'n': name = optarg; break;
        case 'c': certificate = optarg; break;
        case 'k': key = optarg; break;
        case 'i': verbose = 1; break;
        case 'h': return print_usage(usage);
        default: fputs(usage, stderr); return 2; /* getopt has said what is wrong */
        }
    }
    if (!name)
        name = address;
    check_options();
    return -1;
}

int main(int argc, char **argv) {
    const char *why;
    reset_inherited();
    int status = parse_options(argc, argv);
    if (status >= 0)
        return status;
    signal(SIGPIPE, SIG_IGN); /* OpenSSL sends without MSG_NOSIGNAL */
    SSL_CTX *settings = tls_context(TLS_client_method(), certificate, key, ca, &why);
    if (!settings)
        die(why, 0);
    connect_to_server(settings);
    if (verbose)
        show_server();
    open_input(argv + optind);
    converse();
    close_connection();
    SSL_CTX_free(settings);
    fclose(input_file);
    return 0;
}
