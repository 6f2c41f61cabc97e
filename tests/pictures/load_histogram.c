/* load_histogram.c: the load generator of chapter 06 as it is; at its end it also prints how many
 * replies came after what time: lines of nanoseconds and a number. `measure.py latency` runs it. */
#define main load_main
#include "../../06-epoll/load.c"
#undef main
#include "../../06-epoll/histogram.c" /* for bucket_middle */

int main(int argc, char **argv) {
    const int status = load_main(argc, argv);
    for (size_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
        if (requests.times.counts[i] > 0)
            printf("%.0f %lld\n", bucket_middle(i), requests.times.counts[i]);
    }
    return status;
}
