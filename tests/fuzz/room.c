/* Attacks 07's room.h and text.h with libFuzzer: `make fuzz`. The bytes of an input tell who sends
 * what, who reads how much, who comes and goes. Whatever they are: a member hears nothing but lines
 * of valid UTF-8 without control characters, and what tests/unit/room_check.h requires holds. */
#include "../unit/room_check.h"
#include <stddef.h>

enum { MEMBERS = 5, READ_ROOM = 8192, PIECES = 7, HEARD_ROOM = 4 * CLEAN_ROOM };

/* What the server has for each connection, and its client's ear. */
struct person {
    struct member member;
    int connected;
    char begun[HEARD_ROOM]; /* a line of which not all has come */
    size_t begun_size;
};

static struct room room;
static struct person people[MEMBERS];
static struct member *members[MEMBERS]; /* of those who are connected */
static long long now;
static unsigned readers; /* a bit for each: some read a little, and some nothing, so some are cut */

/* ---- the input ---- */

static const uint8_t *next, *end;

static unsigned next_byte(void) {
    return next < end ? *next++ : 0;
}

/* ---- what they hear ---- */

static void check_line(const char *line, size_t size) {
    uint32_t c;
    REQUIRE(size > 0); /* an empty line is nobody's */
    for (size_t n; size > 0; line += n, size -= n) {
        n = next_character(line, size, &c);
        REQUIRE(c != NOT_UTF8);
        REQUIRE(c >= ' ' && !(c >= 0x7F && c <= 0x9F));
        REQUIRE(!(c >= 0x2028 && c <= 0x202E) && !(c >= 0x2066 && c <= 0x2069));
    }
}

static void listen_to(struct person *p, const char *data, size_t size) {
    const char *line = p->begun, *newline;
    REQUIRE(p->begun_size + size <= HEARD_ROOM);
    memcpy(p->begun + p->begun_size, data, size);
    p->begun_size += size;
    while ((newline = memchr(line, '\n', p->begun_size))) {
        check_line(line, (size_t)(newline - line));
        p->begun_size -= (size_t)(newline + 1 - line);
        line = newline + 1;
    }
    memmove(p->begun, line, p->begun_size);
}

/* As sendmsg would, takes at most so many bytes of what is owed. */
static void take(struct person *p, size_t most) {
    struct iovec piece[PIECES];
    size_t taken = 0;
    unsigned n = room_owed(&p->member, piece, PIECES);
    for (unsigned i = 0; i < n && taken < most; i++) {
        size_t part = piece[i].iov_len < most - taken ? piece[i].iov_len : most - taken;
        listen_to(p, piece[i].iov_base, part);
        taken += part;
    }
    room_sent(&room, &p->member, taken);
}

/* ---- the server's part ---- */

static void disconnect(struct person *p, const char *why) {
    p->connected = 0;
    room_forget(&room, &p->member, why);
}

static void attend(void) {
    for (struct member *m; (m = room_next(&room));) {
        struct person *p = (struct person *)(void *)((char *)m - offsetof(struct person, member));
        if (!p->connected)
            continue;
        if (m->cut)
            disconnect(p, m->cut);
        else if (readers >> (p - people) & 1)
            take(p, SIZE_MAX);
        if (p->connected && m->place == OUTSIDE && !m->queue.count)
            disconnect(p, NULL);
    }
}

static void say(struct person *p, const char *data, size_t n) {
    static char input[READ_ROOM];
    struct member *m = &p->member;
    size_t size = m->kept_size + n, at = 0, used;
    enum heard heard;
    REQUIRE(size <= READ_ROOM);
    if (m->kept)
        memcpy(input, m->kept, m->kept_size);
    if (n)
        memcpy(input + m->kept_size, data, n);
    size_t before = room.fresh > FRESH_LIMIT ? room.fresh : FRESH_LIMIT;
    while ((heard = room_hear(&room, m, input + at, size - at, now, &used)) == MUST_SEND) {
        at += used;
        attend();
    }
    at += used;
    REQUIRE(room.fresh <= before + 2 * CLEAN_ROOM);
    REQUIRE(at <= size && (heard != HEARD_ALL || size - at < LINE_LIMIT + 2));
    if (!p->connected || m->cut)
        return;
    room_keep(&room, m, input + at, heard == LEFT ? 0 : size - at);
    if (heard == LEFT)
        room_leave(&room, m, NULL);
}

/* ---- the attack ---- */

/* A piece of the input. */
static void speak(struct person *p) {
    size_t n = next_byte(), left = (size_t)(end - next);
    size_t free_room = READ_ROOM - p->member.kept_size;
    n = n < left ? n : left;
    n = n < free_room ? n : free_room;
    say(p, (const char *)next, n);
    next += n;
}

/* Many lines of the same few bytes, so that queues fill up. */
static void flood(struct person *p) {
    static char lines[READ_ROOM / 2];
    size_t line = 200 + next_byte() * 7;
    unsigned times = 1 + next_byte() % 32;
    for (size_t i = 0; i < sizeof lines; i++)
        lines[i] = (char)(i < 4 ? next_byte() : (unsigned)lines[i - 4]);
    for (size_t at = line; at < sizeof lines; at += line + 1)
        lines[at] = '\n';
    while (times-- > 0 && p->connected && p->member.kept_size <= sizeof lines)
        say(p, lines, sizeof lines);
}

static void come(struct person *p) {
    if (p->member.in_line) /* the server frees it only after that */
        attend();
    p->begun_size = 0;
    p->connected = 1;
    room_arrive(&room, &p->member);
}

static void step(unsigned what, struct person *p) {
    if (!p->connected) {
        come(p);
    } else if (what < 20) {
        speak(p);
    } else if (what < 24) {
        flood(p);
    } else if (what < 27) {
        take(p, next_byte() * 16);
    } else if (what < 29) {
        now += next_byte() * 10;
        say(p, NULL, 0);
    } else if (what < 30) {
        room_leave(&room, &p->member, NULL);
    } else if (what < 31) {
        disconnect(p, "connection lost");
    } else {
        readers = next_byte();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    next = data;
    end = data + size;
    now = 5000;
    readers = 0xFF;
    unsigned most = 1 + next_byte() % MEMBERS, keep = next_byte() * 4, rate = next_byte();
    room_open(&room, most, keep, rate < 128 ? 0 : rate - 127);
    for (int i = 0; i < 3; i++) { /* so that few bytes are enough for something to happen */
        come(&people[i]);
        say(&people[i], i == 0 ? "ann\n" : i == 1 ? "bob\n" : "eve\n", 4);
    }
    while (next < end) {
        unsigned byte = next_byte();
        step(byte >> 3, &people[byte % 8 % MEMBERS]);
        if (byte & 1)
            attend();
        for (size_t i = 0; i < MEMBERS; i++)
            members[i] = people[i].connected ? &people[i].member : NULL;
        check_room(&room, members, MEMBERS);
    }
    for (size_t i = 0; i < MEMBERS; i++)
        if (people[i].connected)
            disconnect(&people[i], NULL);
    attend();
    room_close(&room);
    REQUIRE(room.people == 0 && room.lagging == 0 && room.history_count == 0);
    return 0;
}
