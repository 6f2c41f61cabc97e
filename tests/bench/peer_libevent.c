/* peer_libevent.c: the line service on libevent's bufferevents (libevent.org), for the bench.
 *
 * What a careful user of the library writes: the input is looked at where it lies, and all replies
 * to it are added to the output in one piece. The lines are those of chapter 06 (lines.h).
 * Less than 06: no idle timeout, no limit of what is queued for a client that does not read. */
/* parts: 06-epoll/lines.c */
#include "../../util.h"
#include "../../06-epoll/lines.h"
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/listener.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/resource.h>

static char reply_buffer[LINES_REPLIES];

/* After the end of the input, or a refusal: the output is empty, so it has been sent. */
static void on_sent(struct bufferevent *client, void *unused) {
    (void)unused;
    bufferevent_free(client);
}

static void on_event(struct bufferevent *client, short what, void *unused) {
    (void)unused;
    if ((what & BEV_EVENT_EOF) && evbuffer_get_length(bufferevent_get_output(client)) > 0)
        bufferevent_setcb(client, NULL, on_sent, on_event, NULL);
    else
        bufferevent_free(client);
}

static void on_read(struct bufferevent *client, void *unused) {
    struct evbuffer *input = bufferevent_get_input(client);
    size_t size = evbuffer_get_length(input);
    size_t replies_size;
    (void)unused;
    if (size > LINES_LIMIT)
        size = LINES_LIMIT;
    const char *data = (const char *)evbuffer_pullup(input, (ssize_t)size);
    ssize_t used = lines_answer(data, size, reply_buffer, &replies_size);
    bufferevent_write(client, reply_buffer, replies_size);
    if (used >= 0) {
        evbuffer_drain(input, (size_t)used);
        return;
    }
    evbuffer_drain(input, size);
    bufferevent_disable(client, EV_READ);
    bufferevent_setcb(client, NULL, on_sent, on_event, NULL);
}

static void on_accept(struct evconnlistener *listener, evutil_socket_t fd, struct sockaddr *peer,
                      int size, void *base) {
    const int on = 1;
    (void)listener;
    (void)peer;
    (void)size;
    struct bufferevent *client = bufferevent_socket_new(base, fd, BEV_OPT_CLOSE_ON_FREE);
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
    char why[WHY_TEXT];
    int fd = listen_on("127.0.0.1", argc == 3 ? argv[2] : "0", why); /* -p PORT */
    if (fd < 0)
        die(why, errno);
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
