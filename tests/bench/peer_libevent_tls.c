/* peer_libevent_tls.c: the line service over TLS on libevent's OpenSSL bufferevents, for the bench.
 *
 * What a careful user of the library writes, as in peer_libevent.c; the settings of TLS and the
 * lines are those of chapter 08 (tls.h, lines.h).
 * Less than 08: no deadline for the handshake, no idle timeout, no lingering close. */
/* parts: 08-tls/lines.c 08-tls/tls.c */
#include "../../util.h"
#include "../../08-tls/lines.h"
#include "../../08-tls/tls.h"
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/bufferevent_ssl.h>
#include <event2/event.h>
#include <event2/listener.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/resource.h>

static char reply_buffer[LINES_REPLIES];
static SSL_CTX *settings;

/* Frees it; the last reply is sent by now. */
static void on_end(struct bufferevent *client, void *unused) {
    SSL *tls = bufferevent_openssl_get_ssl(client);
    (void)unused;
    SSL_shutdown(tls);
    bufferevent_free(client);
}

static void on_event(struct bufferevent *client, short what, void *unused) {
    if ((what & BEV_EVENT_EOF) && evbuffer_get_length(bufferevent_get_output(client)) > 0)
        bufferevent_setcb(client, NULL, on_end, on_event, NULL); /* the replies leave first */
    else if (what & (BEV_EVENT_EOF | BEV_EVENT_ERROR))
        on_end(client, unused);
}

static void on_read(struct bufferevent *client, void *unused) {
    struct evbuffer *input = bufferevent_get_input(client);
    size_t size = evbuffer_get_length(input);
    size_t replies_size;
    if (size > LINES_LIMIT)
        size = LINES_LIMIT;
    (void)unused;
    const char *data = (const char *)evbuffer_pullup(input, (ssize_t)size);
    ssize_t used = lines_answer(data, size, reply_buffer, &replies_size);
    bufferevent_write(client, reply_buffer, replies_size);
    if (used >= 0) {
        evbuffer_drain(input, (size_t)used);
    } else {
        evbuffer_drain(input, size);
        bufferevent_disable(client, EV_READ);
        bufferevent_setcb(client, NULL, on_end, on_event, NULL);
    }
}

static void on_accept(struct evconnlistener *listener, evutil_socket_t fd, struct sockaddr *peer,
                      int size, void *base) {
    const int on = 1;
    (void)listener;
    (void)peer;
    (void)size;
    struct bufferevent *client = bufferevent_openssl_socket_new(
        base, fd, SSL_new(settings), BUFFEREVENT_SSL_ACCEPTING, BEV_OPT_CLOSE_ON_FREE);
    if (!client) {
        close(fd);
        return;
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    bufferevent_setwatermark(client, EV_READ, 0, LINES_LIMIT);
    bufferevent_setcb(client, on_read, NULL, on_event, NULL);
    bufferevent_enable(client, EV_READ | EV_WRITE);
}

int main(int argc, char **argv) {
    struct event_base *base = event_base_new();
    struct rlimit files;
    const char *port = "0";
    const char *reason;
    char why[WHY_TEXT];
    if (argc == 3)
        port = argv[2]; /* -p PORT */
    int fd = listen_on("127.0.0.1", port, why);
    if (fd < 0)
        die(why, errno);
    settings =
        tls_context(TLS_server_method(), CERTS "/server.pem", CERTS "/server.key", NULL, &reason);
    if (!settings)
        die(reason, 0);
    SSL_CTX_set_read_ahead(settings, 0); /* libevent asks SSL_pending, which does not count it */
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    signal(SIGPIPE, SIG_IGN);
    set_nonblocking(fd);
    if (!base || !evconnlistener_new(base, on_accept, base, LEV_OPT_CLOSE_ON_FREE, 0, fd))
        die("libevent", 0);
    announce(fd);
    return event_base_dispatch(base);
}
