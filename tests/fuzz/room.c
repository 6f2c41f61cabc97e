/* Attacks 07's room, from input.h down to text.h, with libFuzzer: `make fuzz`. The bytes of an
 * input decide what each member sends, how much it reads, and when members come and go. Whatever
 * they are: a member receives nothing but lines of valid UTF-8 without control characters, and what
 * tests/unit/room_check.h requires holds. */
/* parts: 07-chat/input.c 07-chat/commands.c 07-chat/members.c 07-chat/room.c */
/* parts: 07-chat/history.c 07-chat/queue.c 07-chat/message.c 07-chat/pace.c 07-chat/text.c */
/* parts: 07-chat/name.c */
#include "../../util.h"
#include "../../07-chat/input.h"
#include "../../07-chat/text.h"
#include "../unit/room_check.h"
#include <stddef.h>

enum { MEMBERS = 5, INPUT_SIZE = 8192, PIECES = 7, HEARD_SIZE = 4 * TEXT_CLEAN_SIZE };

/* What the server has for each connection, and what its client has received. */
struct person {
    struct member member;
    int connected;
    char partial[HEARD_SIZE]; /* a line whose end has not arrived */
    size_t partial_size;
};

static struct room room;
static struct person people[MEMBERS];
static struct member *members[MEMBERS]; /* of those who are connected */
static long long now;
static unsigned readers; /* a bit for each; the others read a little or nothing, and are dropped */

/* ---- the input ---- */

static const uint8_t *next;
static const uint8_t *end;

/* Returns the next byte of the input; 0 after its end. */
static unsigned next_byte(void) {
    if (next == end)
        return 0;
    next++;
    return next[-1];
}

static size_t smaller(size_t a, size_t b) {
    return a < b ? a : b;
}

/* ---- what the members receive ---- */

static void check_line(const char *line, size_t size) {
    uint32_t c;
    REQUIRE(size > 0); /* nobody may send an empty line */
    while (size > 0) {
        size_t n = text_next_character(line, size, &c);
        REQUIRE(c != TEXT_NOT_UTF8);
        REQUIRE(c >= ' ' && !(c >= 0x7F && c <= 0x9F));
        REQUIRE(!(c >= 0x2028 && c <= 0x202E) && !(c >= 0x2066 && c <= 0x2069));
        line += n;
        size -= n;
    }
}

static void listen_to(struct person *p, const char *data, size_t size) {
    const char *line = p->partial;
    REQUIRE(p->partial_size + size <= HEARD_SIZE);
    memcpy(p->partial + p->partial_size, data, size);
    p->partial_size += size;
    for (;;) {
        const char *newline = memchr(line, '\n', p->partial_size);
        if (!newline)
            break;
        check_line(line, (size_t)(newline - line));
        p->partial_size -= (size_t)(newline + 1 - line);
        line = newline + 1;
    }
    memmove(p->partial, line, p->partial_size);
}

/* As sendmsg would, takes at most max bytes of what is queued. */
static void take(struct person *p, size_t max) {
    struct iovec piece[PIECES];
    size_t taken = 0;
    unsigned n = queue_pieces(&p->member.queue, piece, PIECES);
    for (unsigned i = 0; i < n && taken < max; i++) {
        size_t part = smaller(piece[i].iov_len, max - taken);
        listen_to(p, piece[i].iov_base, part);
        taken += part;
    }
    room_sent(&room, &p->member, taken);
}

/* ---- the server's part ---- */

static void disconnect(struct person *p, const char *why) {
    p->connected = 0;
    members_forget(&room, &p->member, why);
}

static void flush_member(struct person *p) {
    struct member *m = &p->member;
    if (!p->connected)
        return;
    if (m->drop_reason)
        disconnect(p, m->drop_reason);
    else if (readers >> (p - people) & 1)
        take(p, SIZE_MAX);
    if (p->connected && m->state == ROOM_OUTSIDE && !m->queue.count)
        disconnect(p, NULL);
}

static void flush_pending(void) {
    struct member *m = room_next_pending(&room);
    while (m) {
        flush_member((struct person *)(void *)((char *)m - offsetof(struct person, member)));
        m = room_next_pending(&room);
    }
}

/* Hands the input over, as often as the room wants to send first. Adds to *used what was used. */
static enum input_result hear(struct member *m, const char *input, size_t size, size_t *used) {
    enum input_result result;
    *used = 0;
    for (;;) {
        size_t part = 0;
        result = input_hear(&room, m, input + *used, size - *used, now, &part);
        *used += part;
        if (result != INPUT_SEND_FIRST)
            return result;
        flush_pending();
    }
}

/* The input now begins with this part of it, which waits for more. */
static void keep_rest(struct person *p, enum input_result result, const char *rest, size_t size) {
    if (!p->connected || p->member.drop_reason)
        return;
    if (result == INPUT_LEFT) {
        input_keep(&room, &p->member, rest, 0);
        members_leave(&room, &p->member, NULL);
    } else {
        input_keep(&room, &p->member, rest, size);
    }
}

static void say(struct person *p, const char *data, size_t n) {
    static char input[INPUT_SIZE];
    struct member *m = &p->member;
    size_t size = m->input_size + n;
    size_t used;
    REQUIRE(size <= INPUT_SIZE);
    if (m->input)
        memcpy(input, m->input, m->input_size);
    if (n)
        memcpy(input + m->input_size, data, n);
    size_t unsent_max = room.unsent_bytes;
    if (unsent_max < ROOM_UNSENT_BYTES_MAX)
        unsent_max = ROOM_UNSENT_BYTES_MAX;
    enum input_result result = hear(m, input, size, &used);
    REQUIRE(room.unsent_bytes <= unsent_max + 2 * TEXT_CLEAN_SIZE);
    REQUIRE(used <= size);
    REQUIRE(result != INPUT_HEARD || size - used < TEXT_LINE_LIMIT + 2);
    keep_rest(p, result, input + used, size - used);
}

/* ---- the attack ---- */

/* A piece of the input. */
static void speak(struct person *p) {
    size_t n = next_byte();
    n = smaller(n, (size_t)(end - next));
    n = smaller(n, INPUT_SIZE - p->member.input_size);
    say(p, (const char *)next, n);
    next += n;
}

/* Many lines of the same few bytes, so that queues fill up. */
static void flood(struct person *p) {
    static char lines[INPUT_SIZE / 2];
    size_t line = 200 + next_byte() * 7;
    unsigned times = 1 + next_byte() % 32;
    for (size_t i = 0; i < 4; i++)
        lines[i] = (char)next_byte();
    for (size_t i = 4; i < sizeof lines; i++)
        lines[i] = lines[i - 4];
    for (size_t at = line; at < sizeof lines; at += line + 1)
        lines[at] = '\n';
    while (times > 0 && p->connected && p->member.input_size <= sizeof lines) {
        say(p, lines, sizeof lines);
        times--;
    }
}

static void come(struct person *p) {
    if (p->member.on_pending_list) /* the server frees it only after that */
        flush_pending();
    p->partial_size = 0;
    p->connected = 1;
    members_arrive(&room, &p->member, (uint64_t)(p - people) % 2);
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
        members_leave(&room, &p->member, NULL);
    } else if (what < 31) {
        disconnect(p, "connection lost");
    } else {
        readers = next_byte();
    }
}

/* Opens a room with three people in it, so that few bytes are enough for something to happen. */
static void open_room(void) {
    static const char *const names[] = {"ann\n", "bob\n", "eve\n"};
    unsigned members_max = 1 + next_byte() % MEMBERS;
    unsigned history_max = next_byte() * 4;
    unsigned rate = next_byte();
    if (rate < 128)
        rate = 0; /* no limit */
    else
        rate -= 127;
    room_open(&room, members_max, history_max, rate);
    for (int i = 0; i < 3; i++) {
        come(&people[i]);
        say(&people[i], names[i], 4);
    }
}

static void check_everything(void) {
    for (size_t i = 0; i < MEMBERS; i++) {
        members[i] = NULL;
        if (people[i].connected)
            members[i] = &people[i].member;
    }
    check_room(&room, members, MEMBERS);
}

static void close_room(void) {
    for (size_t i = 0; i < MEMBERS; i++) {
        if (people[i].connected)
            disconnect(&people[i], NULL);
    }
    flush_pending();
    room_close(&room);
    REQUIRE(room.members == 0 && room.lagging == 0 && room.history.count == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    next = data;
    end = data + size;
    now = 5000;
    readers = 0xFF;
    open_room();
    while (next < end) {
        unsigned byte = next_byte();
        step(byte >> 3, &people[byte % 8 % MEMBERS]);
        if (byte & 1)
            flush_pending();
        check_everything();
    }
    close_room();
    return 0;
}
