/* requests.c: see requests.h.
 *
 * Each line is cut from a text of printable characters, at a place that its connection's number and
 * its own decide. The factors are odd, so 65,536 neighbors are cut at 65,536 different places. */
#include "../util.h"
#include "requests.h"

enum { CONNECTION_STEP = 40503, LINE_STEP = 7919 };

static char letters[2 * REQUESTS_LINE_LIMIT];
static char text[REQUESTS_CHUNK + 2 * (REQUESTS_LINE_LIMIT + 1)]; /* a line more at both ends */

static void fill_letters(void) {
    for (size_t i = 0; i < sizeof letters; i++)
        letters[i] = (char)('!' + random() % ('~' - '!' + 1));
}

/* Writes size bytes of the batch's lines, at most REQUESTS_CHUNK, from byte `from` on, each line
 * after a prefix of prefix_size bytes: 0, or 1 for the "+" of a reply. Returns where they begin. */
static const char *batch_text(const struct requests *r, const struct requests_batch *b,
                              size_t prefix_size, size_t from, size_t size) {
    const size_t length = prefix_size + r->line_size;
    const size_t skip = from % length; /* bytes before `from` in its line */
    const size_t number = b->first + from / length;
    size_t cut = b->connection * (size_t)CONNECTION_STEP + number * LINE_STEP;
    char *next = text;
    if (letters[0] == '\0')
        fill_letters();
    while (next < text + skip + size) {
        *next = '+';
        memcpy(next + prefix_size, letters + cut % REQUESTS_LINE_LIMIT, r->line_size - 1);
        next[length - 1] = '\n';
        next += length;
        cut += LINE_STEP;
    }
    return text + skip;
}

/* ---- a batch ---- */

/* Returns how many lines of the batch are answered. */
static unsigned answered(const struct requests *r, const struct requests_batch *b) {
    return (unsigned)(b->received / (r->line_size + 1));
}

/* Returns whether this is a first batch without a single reply. */
static int has_no_reply(const struct requests *r, const struct requests_batch *b) {
    return b->lines > 0 && b->first == 0 && answered(r, b) == 0;
}

unsigned requests_next_batch(struct requests *r, struct requests_batch *b, long long now) {
    b->first += b->lines;
    b->lines = (unsigned)(r->remaining < r->pipeline ? r->remaining : r->pipeline);
    b->sent = 0;
    b->received = 0;
    b->start = now;
    r->remaining -= (long)b->lines;
    r->asked += b->lines;
    r->pending += b->lines;
    if (has_no_reply(r, b))
        r->unanswered_connections++;
    return b->lines;
}

const char *requests_unsent(const struct requests *r, const struct requests_batch *b,
                            size_t *size) {
    *size = b->lines * r->line_size - b->sent;
    if (*size > REQUESTS_CHUNK)
        *size = REQUESTS_CHUNK;
    return batch_text(r, b, 0, b->sent, *size);
}

int requests_batch_sent(const struct requests *r, const struct requests_batch *b) {
    return b->sent == b->lines * r->line_size;
}

int requests_batch_done(const struct requests *r, const struct requests_batch *b) {
    return answered(r, b) == b->lines;
}

void requests_drop(struct requests *r, const struct requests_batch *b) {
    r->pending -= b->lines - answered(r, b);
    if (has_no_reply(r, b))
        r->unanswered_connections--;
}

/* ---- replies ---- */

/* Returns how many bytes, from the first on, two texts have in common. */
static size_t common_size(const char *one, const char *other, size_t size) {
    size_t common = 0;
    if (memcmp(one, other, size) == 0)
        return size;
    while (one[common] == other[common])
        common++;
    return common;
}

/* Counts so many bytes more of the replies: they are the right ones. */
static void count_replies(struct requests *r, struct requests_batch *b, size_t size,
                          long long now) {
    const int first_reply_pending = has_no_reply(r, b);
    const unsigned before = answered(r, b);
    b->received += size;
    const unsigned lines = answered(r, b) - before;
    r->pending -= lines;
    histogram_add(&r->times, now - b->start, lines);
    if (first_reply_pending && lines > 0)
        r->unanswered_connections--;
}

/* The rest of what came is wrong. Says what it is: a refusal, or anything else. */
static void fail_reply(struct requests *r, const struct requests_batch *b, const char *rest,
                       size_t size) {
    char what[sizeof r->first_failure];
    const char *newline = memchr(rest, '\n', size);
    const int at_start = b->received % (r->line_size + 1) == 0;
    if (rest[0] != '-' || !at_start) {
        requests_fail(r, REQUESTS_WRONG, "the reply does not fit the line sent", 0);
        return;
    }
    if (!newline)
        newline = rest + 1; /* its text has not come */
    snprintf(what, sizeof what, "the server refuses: %.*s", (int)(newline - rest - 1), rest + 1);
    requests_fail(r, REQUESTS_REFUSED, what, 0);
}

int requests_take(struct requests *r, struct requests_batch *b, const char *bytes, size_t size,
                  long long now) {
    const size_t pending = b->lines * (r->line_size + 1) - b->received;
    size_t compared = size;
    if (compared > pending)
        compared = pending;
    const char *expected = batch_text(r, b, 1, b->received, compared);
    const size_t good = common_size(bytes, expected, compared);
    count_replies(r, b, good, now);
    if (good == size)
        return 0;
    fail_reply(r, b, bytes + good, size - good);
    return -1;
}

void requests_fail(struct requests *r, enum requests_failure kind, const char *what, int error) {
    const size_t size = sizeof r->first_failure;
    r->failures[kind]++;
    if (r->first_failure[0] != '\0')
        return;
    if (error)
        snprintf(r->first_failure, size, "%s: %s (%s)", what, strerror(error), errno_name(error));
    else
        snprintf(r->first_failure, size, "%s", what);
}
