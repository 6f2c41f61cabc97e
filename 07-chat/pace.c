/* pace.c: see pace.h. */
#include "pace.h"
#include <string.h>

unsigned pace_lines(size_t size) {
    if (size == 0)
        return 1;
    return (unsigned)((size + PACE_LINE_BYTES - 1) / PACE_LINE_BYTES);
}

/* Adds the credit of the time since the last call, then returns whether it is enough for so many
 * lines. For more lines than the capacity, a full bucket is enough. */
static int bucket_has(struct pace_bucket *b, unsigned rate, unsigned capacity, unsigned lines,
                      long long now) {
    const long long full = 1000LL * capacity;
    b->credit += (now - b->filled_at) * rate;
    b->filled_at = now;
    if (b->credit > full)
        b->credit = full;
    return b->credit == full || b->credit >= 1000LL * lines;
}

/* Lines beyond the credit are a debt, which is paid off before any new credit. */
static void bucket_take(struct pace_bucket *b, unsigned lines, long long now) {
    b->credit -= 1000LL * lines;
    b->taken_at = now;
    b->taken = lines;
}

/* Returns how much must be left in the room's bucket, in thousandths of a line, before the owner of
 * b may take lines out of it: the whole reserve just after a line, half of it a second later (after
 * a line that counts as 20, half of it 20 seconds later). So the next one to be heard is the one
 * that has waited longest, compared with the size of its last line. A member that is mostly silent
 * is heard at once, however many others there are. */
static long long bucket_reserve(const struct pace_bucket *b, long long now) {
    const long long share = 1000LL * b->taken;
    if (share == 0)
        return 0;
    return 1000LL * PACE_SLOW_RESERVE * share / (share + now - b->taken_at);
}

/* Returns whether the room, in which a member lags, can hear the owner of b now. One line of credit
 * is enough: those who waited for more would wait for those with less. */
static int slow_room_allows(struct pace *p, const struct pace_bucket *b, long long now) {
    if (!bucket_has(&p->slow_room, PACE_SLOW_RATE, PACE_SLOW_BURST, 1, now))
        return 0;
    return p->slow_room.credit >= 1000 + bucket_reserve(b, now);
}

int pace_allow(struct pace *p, struct pace_bucket *bucket, unsigned lines, int lagging,
               long long now) {
    if (p->rate == 0)
        return 1;
    if (!bucket_has(bucket, p->rate, 2 * p->rate, lines, now))
        return 0;
    if (lagging && !slow_room_allows(p, bucket, now))
        return 0;
    bucket_take(bucket, lines, now);
    if (lagging)
        bucket_take(&p->slow_room, lines, now);
    return 1;
}

void pace_newcomer(struct pace_bucket *bucket, long long now) {
    *bucket = (struct pace_bucket){.filled_at = now, .taken_at = now, .taken = 1};
    bucket->credit = 1000LL * PACE_NEWCOMER_LINES;
}

uint64_t pace_address_key(const struct sockaddr_in6 *peer) {
    const struct sockaddr_in *ipv4 = (const struct sockaddr_in *)(const void *)peer;
    const uint8_t *bytes = peer->sin6_addr.s6_addr;
    uint64_t key = UINT64_MAX; /* as IPv6 that is multicast: nobody comes from there */
    if (peer->sin6_family == AF_INET)
        memcpy(&key, &ipv4->sin_addr, 4); /* the other four bytes tell it from IPv6 */
    else if (IN6_IS_ADDR_V4MAPPED(&peer->sin6_addr))
        memcpy(&key, bytes + 12, 4);
    else
        memcpy(&key, bytes, sizeof key);
    return key;
}

struct pace_bucket *pace_address_bucket(struct pace *p, uint64_t key) {
    struct pace_address *oldest = p->addresses;
    for (size_t i = 0; i < PACE_ADDRESSES; i++) {
        struct pace_address *a = &p->addresses[i];
        if (a->key == key)
            return &a->bucket;
        if (a->bucket.filled_at < oldest->bucket.filled_at)
            oldest = a;
    }
    *oldest = (struct pace_address){.key = key};
    return &oldest->bucket;
}
