/* Unit tests of 07's room.h: a room without sockets. What a member is owed counts as sent when it
 * is looked at. AddressSanitizer and its leak check watch over who owns a message. */
#include "../../util.h"

/* The Kth call from now fails; 0: none does. */
static unsigned malloc_fails_at;
static void *test_malloc(size_t size) {
    return malloc_fails_at && --malloc_fails_at == 0 ? NULL : malloc(size);
}
#define malloc test_malloc
#include "room_check.h"
#undef malloc
#include <CUnit/Basic.h>

enum { MANY = 50, TEXT = 2 * QUEUE_LIMIT, PIECES = 16 };

static struct room room;
static struct member ann, bob, eve, crowd[MANY];
static struct member *const members[] = {&ann, &bob, &eve};
static long long now = 1000000;
static char text[TEXT]; /* of the last reads */

static void check_all(void) {
    check_room(&room, members, 3);
}

/* ---- a member ---- */

/* All it is owed, as text. A few pieces at a time. */
static const char *read_all(struct member *m) {
    struct iovec piece[PIECES];
    size_t size = 0;
    for (unsigned n; (n = room_owed(m, piece, PIECES)) > 0;) {
        size_t begin = size;
        for (unsigned i = 0; i < n; i++) {
            REQUIRE(size + piece[i].iov_len < TEXT);
            memcpy(text + size, piece[i].iov_base, piece[i].iov_len);
            size += piece[i].iov_len;
        }
        room_sent(&room, m, size - begin);
    }
    text[size] = '\0';
    return text;
}

/* The server's part: to everyone his own, until nobody waits any more. */
static void attend_nobody(void) {
    while (room_next(&room))
        ;
}

/* Whether that, and no more, is what m hears now. */
static void hears(struct member *m, const char *want, int line) {
    const char *got = read_all(m);
    if (strcmp(got, want) != 0) {
        printf("\n    line %d: heard: %s    wanted: %s", line, got, want);
        CU_FAIL("heard something else");
    } else {
        CU_PASS("heard it");
    }
}
#define HEARS(m, want) hears(&(m), want, __LINE__)

static enum heard says_bytes(struct member *m, const char *data, size_t size, size_t *used) {
    char *block = malloc(size ? size : 1); /* of just its size */
    memcpy(block, data, size);
    enum heard heard = room_hear(&room, m, block, size, now, used);
    free(block);
    return heard;
}

static enum heard says(struct member *m, const char *data) {
    size_t used;
    enum heard heard = says_bytes(m, data, strlen(data), &used);
    attend_nobody();
    return heard;
}

static void comes(struct member *m, const char *name) {
    room_arrive(&room, m);
    CU_ASSERT_EQUAL(says(m, name), HEARD_ALL);
    CU_ASSERT_EQUAL_FATAL(m->place, INSIDE);
}

/* A new room; ann and bob are in it, and have heard all so far. */
static void open_room(unsigned most, unsigned keep, unsigned rate) {
    room_open(&room, most, keep, rate);
    ann = bob = eve = (struct member){.place = OUTSIDE};
    comes(&ann, "ann\n");
    comes(&bob, "bob\n");
    read_all(&ann);
    read_all(&bob);
    check_all();
}

static void close_room(void) {
    room.closing = 1;
    for (size_t i = 0; i < 3; i++)
        room_forget(&room, members[i], NULL);
    attend_nobody();
    room_close(&room);
    check_all();
    CU_ASSERT_EQUAL(room.people, 0);
    CU_ASSERT_EQUAL(room.history_count, 0);
}

/* ---- coming and going ---- */

static void welcome(void) {
    open_room(3, 20, 0);
    room_arrive(&room, &eve);
    HEARS(eve, ""); /* the server says nothing before the name */
    CU_ASSERT_EQUAL(eve.place, AT_THE_DOOR);
    CU_ASSERT_EQUAL(room.people, 3);
    says(&ann, "anyone here?\n");
    HEARS(eve, ""); /* who is at the door hears nothing */
    HEARS(bob, "ann: anyone here?\n");
    CU_ASSERT_EQUAL(says(&eve, "张三\r\n"), HEARD_ALL);
    HEARS(eve, "+welcome 张三, here: ann, bob, 张三\n(earlier) ann: anyone here?\n");
    HEARS(ann, "* 张三 joined\n");
    HEARS(bob, "* 张三 joined\n");
    close_room();
}

static void full(void) {
    open_room(2, 20, 0);
    size_t used;
    room_arrive(&room, &eve);
    CU_ASSERT_EQUAL(eve.place, OUTSIDE);
    HEARS(eve, "-the room is full (2)\n");
    CU_ASSERT_EQUAL(says_bytes(&eve, "eve\n", 4, &used), LEFT);
    CU_ASSERT_EQUAL(used, 0);
    HEARS(eve, "");
    room_leave(&room, &bob, NULL);
    comes(&eve, "eve\n");
    HEARS(eve, "+welcome eve, here: ann, eve\n");
    close_room();
}

static void refused_names(void) {
    open_room(3, 20, 0);
    room_arrive(&room, &eve);
    CU_ASSERT_EQUAL(says(&eve, "ANN\n"), HEARD_ALL);
    HEARS(eve, "-name ANN: taken\n");
    CU_ASSERT_EQUAL(says(&eve, "\x1B[2J\n"), HEARD_ALL);
    HEARS(eve, "-name \xEF\xBF\xBD[2J: has a control character, or is not UTF-8\n");
    CU_ASSERT_EQUAL(says(&eve, "\neve\n"), LEFT); /* what follows is not heard any more */
    HEARS(eve, "-name : empty\n-too many tries\n");
    CU_ASSERT_EQUAL(eve.place, OUTSIDE);
    CU_ASSERT_EQUAL(room.people, 2);
    HEARS(ann, "");
    close_room();
}

static void second_try(void) {
    open_room(3, 20, 0);
    room_arrive(&room, &eve);
    says(&eve, "a b\n/who\neve\nhello\n");
    HEARS(eve, "-name a b: has a space, or a character that cannot be seen\n"
               "-name /who: begins with one of * + - / (\n"
               "+welcome eve, here: ann, bob, eve\n");
    HEARS(ann, "* eve joined\neve: hello\n");
    close_room();
}

static void ways_to_leave(void) {
    open_room(3, 20, 0);
    comes(&eve, "eve\n");
    read_all(&ann);
    CU_ASSERT_EQUAL(says(&eve, "/quit so long, all\nand more\n"), LEFT);
    room_leave(&room, &eve, NULL); /* again: the server does so whenever a member has LEFT */
    HEARS(ann, "* eve left (so long, all)\n");
    CU_ASSERT_STRING_EQUAL(read_all(&eve) + strlen("+welcome eve, here: ann, bob, eve\n"),
                           "+bye\n");
    room_keep(&room, &bob, "half", 4);
    says(&bob, "/quit\n");
    CU_ASSERT(!bob.kept && bob.kept_size == 0); /* it is not heard any more */
    HEARS(ann, "* bob left\n");
    HEARS(bob, "* eve joined\n* eve left (so long, all)\n+bye\n");
    check_all();
    comes(&eve, "bob\n"); /* the name is free again */
    room_forget(&room, &eve, "connection lost");
    HEARS(ann, "* bob joined\n* bob left (connection lost)\n");
    room.closing = 1;
    room_leave(&room, &ann, NULL);
    CU_ASSERT_EQUAL(room.people, 0);
    close_room();
}

/* ---- who hears what ---- */

static void golden_transcript(void) {
    room_open(&room, 10, 20, 0);
    ann = bob = eve = (struct member){.place = OUTSIDE};
    comes(&ann, "ann\n");
    comes(&bob, "bob\n");
    says(&ann, "/nick eve\n");
    says(&bob, "/msg ann hi\n/msg EVE hi,  you\n");
    says(&ann, "/quit\n");
    HEARS(ann, "+welcome ann, here: ann\n* bob joined\n* ann is now known as eve\n"
               "bob (to you): hi,  you\n+bye\n");
    HEARS(bob, "+welcome bob, here: ann, bob\n* ann is now known as eve\n-no ann here\n"
               "+sent to eve\n* eve left\n");
    close_room();
}

static const struct {
    const char *line, *ann, *bob;
} spoken[] = {
    {"hello\n", "", "ann: hello\n"},
    {" hello \n", "", "ann:  hello \n"},
    {"hello\r\n", "", "ann: hello\n"},
    {"a\rb\n", "",
     "ann: a\xEF\xBF\xBD"
     "b\n"},
    {"* bob left\n", "", "ann: * bob left\n"},
    {"\n\r\n", "", ""},
    {"//who\n", "", "ann: /who\n"},
    {"///\n", "", "ann: //\n"},
    {"/me waves\n", "", "* ann: waves\n"},
    {"/me\n", "-usage: /me TEXT\n", ""},
    {"/who\n", "+here: ann, bob\n", ""},
    {"/who else\n", "+here: ann, bob\n", ""},
    {"/whoever\n", "-unknown command /whoever, try /help\n", ""},
    {"/\n", "-unknown command /, try /help\n", ""},
    {"/\x1B x\n", "-unknown command /\xEF\xBF\xBD, try /help\n", ""},
    {"/msg\n", "-usage: /msg NAME TEXT\n", ""},
    {"/msg bob\n", "-usage: /msg NAME TEXT\n", ""},
    {"/msg bob \n", "-usage: /msg NAME TEXT\n", ""},
    {"/msg Bob x\n", "+sent to bob\n", "ann (to you): x\n"},
    {"/msg ann x\n", "ann (to you): x\n+sent to ann\n", ""},
    {"/msg joe x\n", "-no joe here\n", ""},
    {"/msg  bob x\n", "-no  here\n", ""},
    {"/nick\n", "-name : empty\n", ""},
    {"/nick bob\n", "-name bob: taken\n", ""},
    {"/nick a b\n", "-name a b: has a space, or a character that cannot be seen\n", ""},
    {"/nick ANN\n/nick ann\n", "* ann is now known as ANN\n* ANN is now known as ann\n",
     "* ann is now known as ANN\n* ANN is now known as ann\n"},
    {"one\ntwo\n/me x\n", "", "ann: one\nann: two\n* ann: x\n"},
};

static void commands(void) {
    open_room(3, 0, 0);
    for (size_t i = 0; i < sizeof spoken / sizeof *spoken; i++) {
        CU_ASSERT_EQUAL(says(&ann, spoken[i].line), HEARD_ALL);
        HEARS(ann, spoken[i].ann);
        HEARS(bob, spoken[i].bob);
    }
    says(&ann, "/help\n");
    const char *help = read_all(&ann);
    for (const char *line = help; *line; line = strchr(line, '\n') + 1)
        CU_ASSERT_EQUAL(*line, '+');
    CU_ASSERT_PTR_NOT_NULL(strstr(help, "/quit"));
    HEARS(bob, "");
    close_room();
}

static void same_order_for_all(void) {
    static char first[TEXT];
    room_open(&room, MANY, 0, 0);
    for (int i = 0; i < MANY; i++) {
        char name[8];
        snprintf(name, sizeof name, "m%d\n", i);
        comes(&crowd[i], name);
    }
    for (int i = 0; i < MANY; i++)
        read_all(&crowd[i]);
    for (int i = 2; i < MANY; i++)
        says(&crowd[i], "/me speaks\n");
    strcpy(first, read_all(&crowd[0]));
    CU_ASSERT_EQUAL(strlen(first), MANY * strlen("* m10: speaks\n") - 2 * 14 - 8);
    HEARS(crowd[1], first);
    room.closing = 1;
    for (int i = 0; i < MANY; i++)
        room_forget(&room, &crowd[i], NULL);
    attend_nobody();
    CU_ASSERT_EQUAL(room.people, 0);
}

/* ---- queues ---- */

/* One message: the queues of two, and the history, own it. */
static void sharing(void) {
    open_room(3, 1, 0);
    comes(&eve, "eve\n");
    read_all(&ann), read_all(&bob), read_all(&eve);
    says(&ann, "hello\n");
    struct message *message = bob.queue.ring[bob.queue.first];
    CU_ASSERT_PTR_EQUAL(eve.queue.ring[eve.queue.first], message);
    CU_ASSERT_PTR_EQUAL(room.history[room.history_first], message);
    CU_ASSERT_EQUAL(message->owners, 3);
    read_all(&bob);
    CU_ASSERT_EQUAL(message->owners, 2);
    says(&ann, "again\n"); /* the history has room for one */
    CU_ASSERT_EQUAL(message->owners, 1);
    HEARS(eve, "ann: hello\nann: again\n");
    close_room();
}

/* send(2) takes what it takes: so many bytes at a time. */
static void short_sends(void) {
    static const char want[] = "ann: one\nann: two\nann: three\nann: four\nann: five\n";
    for (size_t step = 1; step < sizeof want; step++) {
        char got[sizeof want] = "";
        size_t size = 0;
        open_room(3, 0, 0);
        says(&ann, "one\ntwo\nthree\nfour\nfive\n");
        for (struct iovec piece = {0}; room_owed(&bob, &piece, 1) == 1;) {
            size_t n = piece.iov_len < step ? piece.iov_len : step;
            memcpy(got + size, piece.iov_base, n);
            size += n;
            room_sent(&room, &bob, n);
            check_all();
        }
        CU_ASSERT_STRING_EQUAL(got, want);
        close_room();
    }
}

/* The ring turns, and grows while it does; one send may end several messages and begin another. */
static void turning_queue(void) {
    char line[16], want[16];
    unsigned in = 0, out = 0;
    open_room(3, 0, 0);
    for (unsigned round = 1; round < 40; round++) {
        for (unsigned i = 0; i < round; i++) {
            snprintf(line, sizeof line, "%05u\n", in++);
            says(&ann, line);
        }
        for (unsigned i = 0; i < round - round / 8; i++) {
            struct iovec piece = {0};
            CU_ASSERT_EQUAL_FATAL(room_owed(&bob, &piece, 1), 1);
            snprintf(want, sizeof want, "ann: %05u\n", out++);
            CU_ASSERT(piece.iov_len == strlen(want) && !memcmp(piece.iov_base, want, 11));
            room_sent(&room, &bob, piece.iov_len);
            check_all();
        }
    }
    CU_ASSERT(bob.queue.count > 32 && bob.queue.count == in - out);
    struct iovec piece[PIECES];
    CU_ASSERT_EQUAL(room_owed(&bob, piece, PIECES), PIECES);
    room_sent(&room, &bob, 11 * 3 + 4); /* three, and 4 bytes of the next */
    CU_ASSERT_EQUAL(room_owed(&bob, piece, PIECES), PIECES);
    snprintf(want, sizeof want, "ann: %05u\n", out + 3);
    CU_ASSERT(piece[0].iov_len == 7 && memcmp(piece[0].iov_base, want + 4, 7) == 0);
    CU_ASSERT_EQUAL(piece[1].iov_len, 11);
    check_all();
    close_room();
}

/* Up to the limit, and not a byte beyond it; the others are told when the server has closed it. */
static void too_slow(void) {
    char line[LINE_LIMIT + 2], note[64];
    open_room(3, 0, 0);
    memset(line, 'x', sizeof line);
    strcpy(line + 1000 - MESSAGE_COST - strlen("ann: \n"), "\n"); /* each costs 1,000 */
    for (int i = 0; i < QUEUE_LIMIT / 1000; i++) {
        CU_ASSERT_EQUAL(room.lagging, bob.queue.cost > QUEUE_LAG);
        says(&ann, line);
    }
    CU_ASSERT_EQUAL(bob.queue.cost, QUEUE_LIMIT / 1000 * 1000);
    strcpy(line + QUEUE_LIMIT % 1000 - MESSAGE_COST - strlen("ann: \n"), "\n");
    says(&ann, line);
    CU_ASSERT_EQUAL(bob.queue.cost, QUEUE_LIMIT);
    CU_ASSERT_PTR_NULL(bob.cut);
    CU_ASSERT_EQUAL(room.lagging, 1);
    check_all();
    size_t used;
    says_bytes(&ann, "x\n", 2, &used);
    CU_ASSERT_PTR_EQUAL_FATAL(room_next(&room), &bob);
    CU_ASSERT_STRING_EQUAL_FATAL(bob.cut, "too slow");
    CU_ASSERT_EQUAL(room.lagging, 0);
    check_all();
    says(&ann, "y\n"); /* it is not there for him */
    CU_ASSERT_EQUAL(bob.queue.count, 0);
    CU_ASSERT_EQUAL(says(&bob, "hello?\n"), LEFT);
    room_forget(&room, &bob, bob.cut);
    snprintf(note, sizeof note, "* bob left (too slow)\n");
    HEARS(ann, note);
    close_room();
}

/* Who waits is served in order, and stands in line once, whatever comes meanwhile. */
static void the_line(void) {
    size_t used;
    open_room(3, 0, 0);
    attend_nobody();
    says_bytes(&ann, "1\n2\n3\n", 6, &used);
    room_attend(&room, &ann);
    room_attend(&room, &bob);
    CU_ASSERT_PTR_EQUAL(room_next(&room), &bob);
    room_attend(&room, &bob);
    CU_ASSERT_PTR_EQUAL(room_next(&room), &ann);
    CU_ASSERT_PTR_EQUAL(room_next(&room), &bob);
    CU_ASSERT_PTR_NULL(room_next(&room));
    CU_ASSERT_EQUAL(room.fresh, 0);
    room_attend(&room, &ann);
    CU_ASSERT_PTR_EQUAL(room_next(&room), &ann);
    CU_ASSERT_PTR_NULL(room_next(&room));
    close_room();
}

/* ---- history ---- */

static void history(void) {
    char line[16];
    open_room(3, 3, 0);
    for (int i = 0; i < 5; i++) {
        snprintf(line, sizeof line, "line %d\n", i);
        says(&ann, line);
        check_all();
    }
    says(&ann, "/me waves\n/msg bob secret\n/nick joe\n/foo\n"); /* only the first is for all */
    comes(&eve, "eve\n");
    HEARS(eve, "+welcome eve, here: joe, bob, eve\n(earlier) ann: line 3\n(earlier) ann: line 4\n"
               "(earlier) * ann: waves\n");
    close_room();
}

/* As many as -k says, but no more than HISTORY_LIMIT: a newcomer must not be too slow for it. */
static void long_history(void) {
    char line[LINE_LIMIT + 2];
    memset(line, '\x01', LINE_LIMIT); /* each becomes three bytes */
    strcpy(line + LINE_LIMIT, "\n");
    open_room(3, HISTORY_MOST, 0);
    for (int i = 0; i < 30; i++) {
        says(&ann, line);
        read_all(&bob);
        check_all();
    }
    CU_ASSERT(room.history_count == 10 && room.history_cost > HISTORY_LIMIT - 3 * LINE_LIMIT);
    for (int i = 0; i < 3 * HISTORY_MOST; i++) {
        says(&ann, "x\n");
        read_all(&bob);
    }
    check_all();
    CU_ASSERT_EQUAL(room.history_count, HISTORY_LIMIT / (6 + 2 * MESSAGE_COST + 1));
    comes(&eve, "eve\n");
    CU_ASSERT_PTR_NULL(eve.cut);
    close_room();
}

/* ---- pace ---- */

static unsigned lines_now(struct member *m, unsigned most) {
    unsigned n = 0;
    while (n < most && room_pace(&room, m, now))
        n++;
    return n;
}

/* -r LINES a second, and those of two seconds at once; more than that cannot be saved up. */
static void pace(void) {
    open_room(3, 0, 20);
    CU_ASSERT_EQUAL(lines_now(&ann, 1000), 40);
    now += 49;
    CU_ASSERT_EQUAL(lines_now(&ann, 1000), 0);
    now += 1;
    CU_ASSERT_EQUAL(lines_now(&ann, 1000), 1);
    now += 75; /* one and a half: the half is not lost */
    CU_ASSERT_EQUAL(lines_now(&ann, 1000), 1);
    now += 25;
    CU_ASSERT_EQUAL(lines_now(&ann, 1000), 1);
    CU_ASSERT_EQUAL(lines_now(&bob, 1000), 40); /* each has its own */
    now += 1000LL * 3600 * 24 * 365 * 50;
    CU_ASSERT_EQUAL(lines_now(&ann, 1000), 40);
    room.rate = 1;
    now += 2500;
    CU_ASSERT_EQUAL(lines_now(&ann, 1000), 2);
    room.rate = 1000;
    now += 1;
    CU_ASSERT_EQUAL(lines_now(&ann, 1000), 1);
    room.rate = 0;
    CU_ASSERT_EQUAL(lines_now(&ann, 100000), 100000);
    close_room();
}

/* What is too early stays where it is, and costs nothing; an empty line is a line, too. */
static void too_early(void) {
    size_t used;
    open_room(3, 0, 1);
    CU_ASSERT_EQUAL(says_bytes(&ann, "1\n\n3\n4\n", 7, &used), MUST_WAIT);
    CU_ASSERT_EQUAL(used, 3);
    HEARS(bob, "ann: 1\n");
    now += 999;
    CU_ASSERT_EQUAL(says_bytes(&ann, "3\n4\n", 4, &used), MUST_WAIT);
    CU_ASSERT_EQUAL(used, 0);
    now += 1;
    CU_ASSERT_EQUAL(says_bytes(&ann, "3\n4\n", 4, &used), MUST_WAIT);
    CU_ASSERT_EQUAL(used, 2);
    HEARS(bob, "ann: 3\n");
    CU_ASSERT_EQUAL(says_bytes(&ann, "4", 1, &used), HEARD_ALL); /* a line begun may wait */
    CU_ASSERT_EQUAL(used, 0);
    close_room();
}

/* ---- what they send ---- */

/* However a stream is cut into pieces, all of it is heard; kept is what a connection would keep. */
static void any_pieces(void) {
    static const char stream[] = "one\n\n/me two three\r\n//four\nfive\n\nrest";
    static const char want[] = "ann: one\n* ann: two three\nann: /four\nann: five\n";
    for (size_t cut = 1; cut < sizeof stream; cut++) {
        char input[sizeof stream];
        open_room(3, 0, 0);
        for (size_t at = 0, n; at < sizeof stream - 1; at += n) {
            size_t used, size = ann.kept_size;
            n = cut < sizeof stream - 1 - at ? cut : sizeof stream - 1 - at;
            if (ann.kept)
                memcpy(input, ann.kept, size);
            memcpy(input + size, stream + at, n);
            CU_ASSERT_EQUAL(says_bytes(&ann, input, size + n, &used), HEARD_ALL);
            room_keep(&room, &ann, input + used, size + n - used);
        }
        HEARS(bob, want);
        CU_ASSERT(ann.kept_size == 4 && memcmp(ann.kept, "rest", 4) == 0);
        room_keep(&room, &ann, ann.kept, 0);
        CU_ASSERT(ann.kept_size == 0 && !ann.kept);
        close_room();
    }
}

/* heard: how much of it bob hears. */
static const struct {
    size_t size;
    const char *end;
    enum heard want;
    size_t heard;
} lengths[] = {
    {LINE_LIMIT, "\n", HEARD_ALL, LINE_LIMIT},
    {LINE_LIMIT, "\r\n", HEARD_ALL, LINE_LIMIT},
    {LINE_LIMIT - 1, "\r\r\n", HEARD_ALL, LINE_LIMIT - 1 + 3}, /* one CR is U+FFFD */
    {LINE_LIMIT, "", HEARD_ALL, 0},
    {LINE_LIMIT + 1, "", HEARD_ALL, 0}, /* it may be a CR */
    {LINE_LIMIT + 1, "\n", LEFT, 0},
    {LINE_LIMIT + 1, "\r\n", LEFT, 0},
    {LINE_LIMIT + 2, "", LEFT, 0},
    {3 * LINE_LIMIT, "", LEFT, 0},
};

static void long_lines(void) {
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        static char line[3 * LINE_LIMIT + 8];
        memset(line, 'x', sizeof line);
        strcpy(line + lengths[i].size, lengths[i].end);
        open_room(3, 0, 0);
        CU_ASSERT_EQUAL(says(&ann, line), lengths[i].want);
        if (lengths[i].want == LEFT) {
            HEARS(ann, "-line of more than 2000 bytes\n");
            HEARS(bob, "* ann left (line too long)\n");
        } else {
            size_t size = strlen(read_all(&bob));
            CU_ASSERT_EQUAL(size, lengths[i].heard ? strlen("ann: \n") + lengths[i].heard : 0);
        }
        close_room();
    }
    open_room(3, 0, 0); /* at the door, too */
    room_arrive(&room, &eve);
    static char name[LINE_LIMIT + 8];
    memset(name, 'x', LINE_LIMIT + 2);
    CU_ASSERT_EQUAL(says(&eve, name), LEFT);
    HEARS(eve, "-line of more than 2000 bytes\n");
    HEARS(bob, "");
    close_room();
}

/* Enough was made, or enough places were taken: nobody is cut for what he could not be sent yet. */
static void time_to_send(void) {
    static char flood[20000];
    size_t used = 0, at = 0;
    int rounds = 0;
    memset(flood, '\n', sizeof flood);
    for (size_t i = 0; i < sizeof flood; i += 2)
        flood[i] = 'x';
    open_room(3, 0, 0);
    enum heard heard;
    while ((heard = says_bytes(&ann, flood + at, sizeof flood - at, &used)) == MUST_SEND) {
        CU_ASSERT(used > 0 && room.fresh < FRESH_LIMIT + 200);
        at += used;
        attend_nobody();
        read_all(&bob);
        CU_ASSERT_PTR_NULL(bob.cut);
        rounds++;
    }
    CU_ASSERT(heard == HEARD_ALL && at + used == sizeof flood);
    CU_ASSERT(rounds > 10);
    attend_nobody();
    room.places = PLACES_LIMIT + 1;
    CU_ASSERT_EQUAL(says_bytes(&ann, "x\n", 2, &used), MUST_SEND);
    CU_ASSERT_EQUAL(used, 0);
    attend_nobody();
    CU_ASSERT_EQUAL(says_bytes(&ann, "x\n", 2, &used), HEARD_ALL);
    close_room();
}

/* The longest list of names, and the longest history beside it, fit into a queue that has taken
 * FRESH_LIMIT already: PEOPLE_MOST promises it. */
static void a_big_room(void) {
    static struct member people[PEOPLE_MOST];
    char line[LINE_LIMIT + 2];
    room_open(&room, PEOPLE_MOST, HISTORY_MOST, 0);
    for (int i = 0; i < PEOPLE_MOST; i++) {
        snprintf(line, sizeof line, "%032d\n", i);
        comes(&people[i], line);
        for (int j = 0; i % 100 == 0 && j < i; j++)
            read_all(&people[j]);
        if (i == 0)
            for (int j = 0; j < 10 * HISTORY_MOST; j++)
                says(&people[0], "x\n");
    }
    CU_ASSERT_PTR_NULL(people[PEOPLE_MOST - 1].cut);
    CU_ASSERT(people[PEOPLE_MOST - 1].queue.cost < QUEUE_LIMIT - 2 * FRESH_LIMIT);
    CU_ASSERT(room.history_cost > HISTORY_LIMIT - 200);
    room.closing = 1;
    for (int i = 0; i < PEOPLE_MOST; i++)
        room_forget(&room, &people[i], NULL);
    attend_nobody();
    room_close(&room);
}

/* ---- no memory ---- */

/* A conversation in which the Kth malloc fails. Returns whether it did. */
static int conversation(unsigned k) {
    unsigned cut = 0;
    room_open(&room, 3, 2, 0);
    ann = bob = eve = (struct member){.place = OUTSIDE};
    malloc_fails_at = k;
    room_arrive(&room, &ann);
    says(&ann, "ann\n");
    room_arrive(&room, &bob);
    says(&bob, "bob\nhello\n/me waves\n");
    room_arrive(&room, &eve);
    says(&eve, "ann\n");
    says(&eve, "eve\n");
    says(&ann, "1\n2\n3\n4\n5\n/who\n/msg bob x\n/nick joe\n");
    room_keep(&room, &ann, "kept", 4);
    check_all();
    int failed = malloc_fails_at == 0;
    malloc_fails_at = 0;
    for (size_t i = 0; i < 3; i++) {
        cut += members[i]->cut != NULL;
        if (members[i]->cut)
            CU_ASSERT_STRING_EQUAL(members[i]->cut, "out of memory");
    }
    CU_ASSERT(cut <= 1);
    close_room();
    return failed && k;
}

/* malloc(3), ENOMEM: it costs one member, or a notice; nothing leaks. */
static void no_memory(void) {
    unsigned k = 1;
    CU_ASSERT_EQUAL(conversation(0), 0);
    while (conversation(k))
        k++;
    CU_ASSERT(k > 25);
}

static CU_TestInfo coming[] = {
    {"a name, then the welcome, and what was said before", welcome},
    {"one more than there is room for", full},
    {"three names are refused", refused_names},
    {"the next name may be good", second_try},
    {"ways to leave", ways_to_leave},
    CU_TEST_INFO_NULL,
};
static CU_TestInfo hearing[] = {
    {"the golden transcript", golden_transcript},
    {"who hears what of each command", commands},
    {"all hear the same order", same_order_for_all},
    CU_TEST_INFO_NULL,
};
static CU_TestInfo owing[] = {
    {"a message has many owners", sharing},
    {"sends that are cut short", short_sends},
    {"a ring that turns and grows", turning_queue},
    {"the limit, and beyond it", too_slow},
    {"who waits for attention", the_line},
    {"the history: so many", history},
    {"the history: so long", long_history},
    {"the biggest room: a welcome fits", a_big_room},
    {"no memory, at each call", no_memory},
    CU_TEST_INFO_NULL,
};
static CU_TestInfo sending[] = {
    {"so many lines a second", pace},
    {"lines that are too early", too_early},
    {"a stream cut anywhere", any_pieces},
    {"up to the longest line, and beyond it", long_lines},
    {"a flood: when it is time to send", time_to_send},
    CU_TEST_INFO_NULL,
};

int main(void) {
    CU_SuiteInfo suites[] = {
        {"coming and going", NULL, NULL, NULL, NULL, coming},
        {"who hears what", NULL, NULL, NULL, NULL, hearing},
        {"what is owed", NULL, NULL, NULL, NULL, owing},
        {"what they send", NULL, NULL, NULL, NULL, sending},
        CU_SUITE_INFO_NULL,
    };
    CU_initialize_registry();
    if (CU_register_suites(suites) == CUE_SUCCESS)
        CU_basic_run_tests();
    int failed = CU_get_number_of_failure_records() || CU_get_number_of_tests_run() == 0;
    CU_cleanup_registry();
    return failed;
}
