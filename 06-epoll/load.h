/* load.h: the load generator without its sockets: what is sent, whether a reply is the right one,
 * and what came of it all: counts, times, troubles (tests/unit/load.c).
 *
 * Rules: no text is kept. A line follows from its number and its connection's, and two are the same
 * once in 65,536 times (of 2 bytes: in 94): a reply that is old, doubled or another connection's is
 * found. Memory is the same for any number of lines and of times. Times are nanoseconds. */
#pragma once
#include "../util.h"
#include <limits.h>

enum {
    LONGEST_LINE = 65536,
    CHUNK = 2 * LONGEST_LINE,     /* bytes of a batch dealt with together */
    FINE = 64,                    /* buckets of time to each doubling */
    BUCKETS = (63 - 6 + 1) * FINE /* enough for 2^63 ns */
};
enum trouble { REFUSED, WRONG, LOST, UNCONNECTED, TROUBLES };

struct batch { /* lines that one connection sends together */
    unsigned connection, first, lines;
    size_t sent, got; /* bytes: of the lines, of their replies */
};

struct histogram { /* a bucket is a power of two and the six bits that follow: 1.6 % wide */
    long long total, longest, counts[BUCKETS];
};

struct load {
    long left, at_once;                        /* lines to be asked yet; of a batch */
    size_t line_size;                          /* with its newline; the reply is "+" and the line */
    long long asked, waiting;                  /* lines; of these, to be answered yet */
    long unheard;                              /* connections that wait for their first reply */
    struct histogram times;                    /* its total: lines answered */
    long long bad[TROUBLES];                   /* how many of each */
    char why[WHY_TEXT];                        /* the first trouble; "": none */
    char letters[CHUNK];                       /* each line is cut from these */
    char room[CHUNK + 2 * (LONGEST_LINE + 1)]; /* for load_text: a line more at both ends */
};

/* ---- times ---- */

static inline long long now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static inline size_t bucket_of(long long ns) {
    unsigned long long value = ns > 0 ? (unsigned long long)ns : 0;
    size_t shift = value < FINE ? 0 : 57 - (size_t)__builtin_clzll(value); /* keeps seven bits */
    return shift * FINE + (size_t)(value >> shift);
}

/* The middle of a bucket. */
static inline double bucket_ns(size_t bucket) {
    size_t shift = bucket < FINE ? 0 : bucket / FINE - 1;
    unsigned long long width = 1ULL << shift, low = (bucket - shift * FINE) * width;
    return (double)low + (double)(width - 1) / 2;
}

/* The same time, n times. */
static inline void histogram_add(struct histogram *h, long long ns, long long n) {
    h->counts[bucket_of(ns)] += n;
    h->total += n;
    h->longest = n && ns > h->longest ? ns : h->longest;
}

/* The time that `percent` of the times do not exceed (nearest rank); 0 if there are none. */
static inline double histogram_at(const struct histogram *h, double percent) {
    double rank = (double)h->total * percent / 100, longest = (double)h->longest;
    long long seen = 0;
    for (size_t bucket = 0; bucket < BUCKETS; bucket++) {
        seen += h->counts[bucket];
        if (seen && (double)seen >= rank)
            return bucket_ns(bucket) < longest ? bucket_ns(bucket) : longest;
    }
    return 0;
}

/* ---- lines and replies ---- */

static inline void load_begin(struct load *l) {
    for (size_t i = 0; i < sizeof l->letters; i++)
        l->letters[i] = (char)('!' + random() % ('~' - '!' + 1));
}

/* What is sent (plus 0) or must come back (plus 1: with "+" before each line): size bytes, at most
 * CHUNK, from byte `from` of the batch on. They stand until the next call. */
static inline const char *load_text(struct load *l, const struct batch *b, size_t plus, size_t from,
                                    size_t size) {
    size_t length = l->line_size + plus, skip = from % length;
    size_t cut = b->connection * 40503UL + (b->first + from / length) * 7919UL;
    for (char *next = l->room; next < l->room + skip + size; next += length, cut += 7919) {
        *next = '+';
        memcpy(next + plus, l->letters + cut % LONGEST_LINE, l->line_size - 1);
        next[length - 1] = '\n';
    }
    return l->room + skip;
}

static inline unsigned load_answered(const struct load *l, const struct batch *b) {
    return (unsigned)(b->got / (l->line_size + 1));
}

static inline int load_unheard(const struct load *l, const struct batch *b) {
    return b->lines > 0 && b->first + load_answered(l, b) == 0;
}

/* Lets the connection ask for more, as far as there is more. Returns how many lines. */
static inline unsigned load_ask(struct load *l, struct batch *b) {
    b->first += b->lines;
    b->lines = (unsigned)(l->left < l->at_once ? l->left : l->at_once);
    b->sent = b->got = 0;
    l->left -= b->lines;
    l->asked += b->lines;
    l->waiting += b->lines;
    l->unheard += load_unheard(l, b);
    return b->lines;
}

/* The connection is no more: nobody waits for the rest of its replies. */
static inline void load_drop(struct load *l, const struct batch *b) {
    l->waiting -= b->lines - load_answered(l, b);
    l->unheard -= load_unheard(l, b);
}

static inline void load_trouble(struct load *l, enum trouble kind, const char *what, int error) {
    l->bad[kind]++;
    if (!*l->why)
        snprintf(l->why, WHY_TEXT, error ? "%s: %s (%s)" : "%s", what, strerror(error),
                 errno_name(error));
}

/* n bytes have come (1 to CHUNK), ns after the batch was sent. Returns 0; or -1 after a trouble:
 * they are not the ones that had to come next. */
static inline int load_take(struct load *l, struct batch *b, const char *bytes, size_t n,
                            long long ns) {
    unsigned before = load_answered(l, b), came;
    size_t owed = b->lines * (l->line_size + 1) - b->got, size = n < owed ? n : owed, good = 0;
    const char *right = load_text(l, b, 1, b->got, size);
    if (memcmp(bytes, right, size) == 0)
        good = size;
    while (good < size && bytes[good] == right[good])
        good++;
    l->unheard -= load_unheard(l, b);
    b->got += good;
    l->unheard += load_unheard(l, b);
    came = load_answered(l, b) - before;
    l->waiting -= came;
    histogram_add(&l->times, ns, came);
    if (good == n)
        return 0;
    const char *end = memchr(bytes + good, '\n', n - good);
    char what[WHY_TEXT];
    snprintf(what, sizeof what, "the server refuses: %.*s",
             end ? (int)(end - bytes - (ssize_t)good - 1) : 0, bytes + good + 1);
    if (bytes[good] == '-' && b->got % (l->line_size + 1) == 0)
        load_trouble(l, REFUSED, what, 0);
    else
        load_trouble(l, WRONG, "a reply that does not fit the line sent", 0);
    return -1;
}

static inline void load_progress(const struct load *l, long connected, long long ns) {
    double rate = ns > 0 ? (double)l->times.total * 1e9 / (double)ns : 0;
    fprintf(stderr, "%ld connections, %lld replies, %.0f a second, %lld to come\033[K\r", connected,
            l->times.total, rate, l->waiting);
}

static inline void load_print(const struct load *l, long long ns) {
    static const double percents[] = {50, 90, 99};
    const long long *bad = l->bad, answered = l->times.total;
    double seconds = (double)ns / 1e9;
    if (isatty(STDERR_FILENO))
        fputs("\033[K", stderr); /* wipes the progress line */
    printf("requests %lld in %.3f s\n", answered, seconds);
    printf("requests/s %.0f\n", ns > 0 ? (double)answered / seconds : 0);
    for (size_t i = 0; i < sizeof percents / sizeof *percents; i++)
        printf("p%.0f %.1f us\n", percents[i], histogram_at(&l->times, percents[i]) / 1000);
    printf("max %.1f us\n", (double)l->times.longest / 1000);
    printf("unanswered %lld\n", l->asked - answered);
    printf("errors %lld (refused %lld, wrong %lld, lost %lld, not connected %lld)\n",
           bad[REFUSED] + bad[WRONG] + bad[LOST] + bad[UNCONNECTED], bad[REFUSED], bad[WRONG],
           bad[LOST], bad[UNCONNECTED]);
    fflush(stdout);
}
