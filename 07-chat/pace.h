/* pace.h: how much may be said, and how soon again: token buckets.
 *
 * A bucket fills at a steady rate up to its capacity, and whatever is said takes credit out of it.
 * Each member has one, each address from which people come has one, and so has the whole room; that
 * one counts only while a member lags. All of them count lines: a line of more than PACE_LINE_BYTES
 * counts as several. With a rate of 0 (-r 0) nothing here limits anything. */
#pragma once
#include <netinet/in.h>
#include <stddef.h>
#include <stdint.h>

enum {
    PACE_LINE_BYTES = 100, /* each 100 bytes of text, or part of them, count as a line */
    /* The credit with which a member begins. */
    PACE_NEWCOMER_LINES = 3,
    /* What a visit takes from its address: that credit, and the notices "joined" and "left". */
    PACE_VISIT_LINES = PACE_NEWCOMER_LINES + 2,
    /* Lines per second of all members together while a member lags, and the capacity of their
     * bucket. A part of it is kept for members who have said little lately. */
    PACE_SLOW_RATE = 100,
    PACE_SLOW_BURST = 50,
    PACE_SLOW_RESERVE = 25,
    /* Addresses that are remembered; a new one replaces the least recent visitor's. */
    PACE_ADDRESSES = 1024
};

struct pace_bucket {
    long long credit;    /* in thousandths of a line */
    long long filled_at; /* on now_ms's clock; 0: never, so it is full */
    long long taken_at;  /* on now_ms's clock: when lines were last taken out of it; 0: never */
    unsigned taken;      /* how many lines that were */
};

struct pace_address {
    uint64_t key; /* pace_address_key */
    struct pace_bucket bucket;
};

struct pace {
    unsigned rate;                /* lines a second of each member; 0: no limit */
    struct pace_bucket slow_room; /* all members together, while a member lags */
    struct pace_address addresses[PACE_ADDRESSES];
};

/* Returns how many lines a text of size bytes counts as: at least 1. Pure. */
unsigned pace_lines(size_t size);

/* Takes lines out of bucket, which is a member's or an address's, and out of the room's if a member
 * lags (lagging is not 0). now: now_ms. Returns 1; or 0 if it is too early, and nothing is
 * taken. */
int pace_allow(struct pace *p, struct pace_bucket *bucket, unsigned lines, int lagging,
               long long now);

/* Gives a bucket to a member who has just come: credit for PACE_NEWCOMER_LINES. now: now_ms. */
void pace_newcomer(struct pace_bucket *bucket, long long now);

/* Returns what all who share a credit have in common: an IPv4 address, or the first 64 bits of an
 * IPv6 address, as one household has all addresses that begin with them (RFC 4291, 2.5.4). Pure. */
uint64_t pace_address_key(const struct sockaddr_in6 *peer);

/* Returns the bucket of an address: a full one if no visit from it is remembered. It is valid until
 * the next call. */
struct pace_bucket *pace_address_bucket(struct pace *p, uint64_t key);
