/* histogram.h: counts times and reports percentiles: the time that 50 % or 99 % do not exceed.
 *
 * Rules: times are nanoseconds, at least 0. Memory is the same for any number of times: each power
 * of two has 64 buckets, so a time is known to 1.6 %. A histogram of zeros is an empty one. */
#pragma once

enum {
    HISTOGRAM_FINE = 64, /* buckets for each power of two */
    /* 58 groups: one for 0 to 63, and one for each highest bit from 6 to 62. */
    HISTOGRAM_BUCKETS = 58 * HISTOGRAM_FINE
};

struct histogram {
    long long total;   /* times counted */
    long long longest; /* exactly */
    long long counts[HISTOGRAM_BUCKETS];
};

/* Counts a time (ns) as often as times says. */
void histogram_add(struct histogram *h, long long ns, long long times);

/* Returns the time that percent of the times (above 0, to 100) do not exceed: the middle of the
 * bucket of the nearest rank, and never more than the longest. 0 if there are no times. */
double histogram_percentile(const struct histogram *h, double percent);
