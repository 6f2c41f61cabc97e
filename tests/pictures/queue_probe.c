/* queue_probe.c: the server of chapter 07 as it is, and a look at the members' queues now and then.
 *
 * Before a step of the loop, at most every SAMPLE_MS, it writes one line for each named member to
 * stderr: milliseconds, the name, the cost of its queue (queue.h), and the bytes in the kernel that
 * the peer has not acknowledged (SIOCOUTQ, tcp(7)). `measure.py queue` runs it. */
#define loop_step sampled_step /* what serve calls */
#include "../../07-chat/server.c"
#undef loop_step
#include <linux/sockios.h>
#include <sys/ioctl.h>

enum { SAMPLE_MS = 5 };

void loop_step(void);

static void sample(long long now) {
    const struct member *m = room.inside.next;
    while (m != &room.inside) {
        const struct conn *c = conn_of_member((struct member *)(uintptr_t)m);
        int unacknowledged = 0;
        ioctl(c->fd, SIOCOUTQ, &unacknowledged);
        fprintf(stderr, "%lld %s %u %d\n", now, m->name, m->queue.cost, unacknowledged);
        m = m->next;
    }
}

void sampled_step(void) {
    static long long last;
    const long long now = now_ms();
    if (now - last >= SAMPLE_MS) {
        sample(now);
        last = now;
    }
    loop_step();
}
