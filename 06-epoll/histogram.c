/* histogram.c: see histogram.h.
 *
 * A bucket is named by the place of a time's highest bit and by the six bits after it. So the first
 * 128 have a width of 1 ns, the next 64 one of 2 ns, then 4 ns, and so on. */
#include "histogram.h"
#include <stddef.h>

static size_t bucket_of(long long ns) {
    unsigned long long value = (unsigned long long)ns;
    if (value < HISTOGRAM_FINE)
        return (size_t)value;
    size_t shift = 57 - (size_t)__builtin_clzll(value); /* leaves seven bits */
    return shift * HISTOGRAM_FINE + (size_t)(value >> shift);
}

/* Returns the middle of a bucket. */
static double bucket_middle(size_t bucket) {
    if (bucket < HISTOGRAM_FINE)
        return (double)bucket;
    size_t shift = bucket / HISTOGRAM_FINE - 1;
    unsigned long long width = 1ULL << shift;
    unsigned long long low = (bucket - shift * HISTOGRAM_FINE) * width;
    return (double)low + (double)(width - 1) / 2;
}

void histogram_add(struct histogram *h, long long ns, long long times) {
    if (times == 0)
        return;
    h->counts[bucket_of(ns)] += times;
    h->total += times;
    if (ns > h->longest)
        h->longest = ns;
}

double histogram_percentile(const struct histogram *h, double percent) {
    const double rank = (double)h->total * percent / 100;
    double time = (double)h->longest;
    long long seen = 0;
    for (size_t bucket = 0; bucket < HISTOGRAM_BUCKETS; bucket++) {
        seen += h->counts[bucket];
        if (seen > 0 && (double)seen >= rank) {
            time = bucket_middle(bucket);
            break;
        }
    }
    if (time > (double)h->longest)
        time = (double)h->longest;
    return time;
}
