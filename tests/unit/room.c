/* Unit tests of 07's room: room.h, members.h, commands.h, input.h and what they are made of. No
 * sockets: what a member is owed counts as sent when it is looked at. AddressSanitizer and its leak
 * check watch over who owns a message. The parts that allocate are included, so that malloc can
 * fail. */
/* parts: 07-chat/room.c 07-chat/members.c 07-chat/commands.c 07-chat/history.c 07-chat/pace.c */
/* parts: 07-chat/text.c 07-chat/name.c */
#include "../../util.h"
#include <locale.h>

static unsigned malloc_fails_at; /* the Kth call from now fails; 0: none does */

static void *test_malloc(size_t size) {
    if (malloc_fails_at > 0) {
        malloc_fails_at--;
        if (malloc_fails_at == 0) {
            errno = ENOMEM;
            return NULL;
        }
    }
    return malloc(size);
}

#define malloc test_malloc
#include "../../07-chat/input.c"
#include "../../07-chat/message.c"
#include "../../07-chat/queue.c"
#undef malloc
#include "room_check.h"
#include <CUnit/Basic.h>
#include <arpa/inet.h>
#include <limits.h>

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
    for (unsigned n; (n = queue_pieces(&m->queue, piece, PIECES)) > 0;) {
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

/* The server's part, but for the sending: takes everyone off the list of pending members. */
static void send_nothing(void) {
    while (room_next_pending(&room))
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

static enum input_result says_bytes(struct member *m, const char *data, size_t size, size_t *used) {
    char *block = malloc(size ? size : 1); /* of just its size */
    memcpy(block, data, size);
    enum input_result heard = input_hear(&room, m, block, size, now, used);
    free(block);
    return heard;
}

static enum input_result says(struct member *m, const char *data) {
    size_t used;
    enum input_result heard = says_bytes(m, data, strlen(data), &used);
    send_nothing();
    return heard;
}

static void comes(struct member *m, const char *name) {
    members_arrive(&room, m, 0);
    now += 10000; /* nobody waits because of the one before */
    CU_ASSERT_EQUAL(says(m, name), INPUT_HEARD);
    CU_ASSERT_EQUAL_FATAL(m->state, ROOM_INSIDE);
}

/* A new room; ann and bob are in it, and have heard all so far. */
static void open_room(unsigned most, unsigned keep, unsigned rate) {
    room_open(&room, most, keep, rate);
    ann = bob = eve = (struct member){.state = ROOM_OUTSIDE};
    comes(&ann, "ann\n");
    comes(&bob, "bob\n");
    read_all(&ann);
    read_all(&bob);
    check_all();
}

static void close_room(void) {
    room.closing = 1;
    for (size_t i = 0; i < 3; i++)
        members_forget(&room, members[i], NULL);
    send_nothing();
    room_close(&room);
    check_all();
    CU_ASSERT_EQUAL(room.members, 0);
    CU_ASSERT_EQUAL(room.history.count, 0);
}

/* ---- coming and going ---- */

static void welcome(void) {
    open_room(3, 20, 0);
    members_arrive(&room, &eve, 0);
    HEARS(eve, ""); /* the server says nothing before the name */
    CU_ASSERT_EQUAL(eve.state, ROOM_UNNAMED);
    CU_ASSERT_EQUAL(room.members, 3);
    says(&ann, "anyone here?\n");
    HEARS(eve, ""); /* without a name one hears nothing */
    HEARS(bob, "ann: anyone here?\n");
    CU_ASSERT_EQUAL(says(&eve, "张三\r\n"), INPUT_HEARD);
    HEARS(eve, "+welcome 张三, here: ann, bob, 张三\n(earlier) ann: anyone here?\n");
    HEARS(ann, "* 张三 joined\n");
    HEARS(bob, "* 张三 joined\n");
    close_room();
}

static void full(void) {
    open_room(2, 20, 0);
    size_t used;
    members_arrive(&room, &eve, 0);
    CU_ASSERT_EQUAL(eve.state, ROOM_OUTSIDE);
    HEARS(eve, "-the room is full (2)\n");
    CU_ASSERT_EQUAL(says_bytes(&eve, "eve\n", 4, &used), INPUT_LEFT);
    CU_ASSERT_EQUAL(used, 0);
    HEARS(eve, "");
    members_leave(&room, &bob, NULL);
    comes(&eve, "eve\n");
    HEARS(eve, "+welcome eve, here: ann, eve\n");
    close_room();
}

static void refused_names(void) {
    open_room(3, 20, 0);
    members_arrive(&room, &eve, 0);
    CU_ASSERT_EQUAL(says(&eve, "ANN\n"), INPUT_HEARD);
    HEARS(eve, "-name ANN: taken\n");
    CU_ASSERT_EQUAL(says(&eve, "\x1B[2J\n"), INPUT_HEARD);
    HEARS(eve, "-name \xEF\xBF\xBD[2J: does not begin with a letter or a digit\n");
    CU_ASSERT_EQUAL(says(&eve, "\neve\n"), INPUT_LEFT); /* what follows is not heard any more */
    HEARS(eve, "-name : empty\n-too many tries\n");
    CU_ASSERT_EQUAL(eve.state, ROOM_OUTSIDE);
    CU_ASSERT_EQUAL(room.members, 2);
    HEARS(ann, "");
    close_room();
}

static void second_try(void) {
    open_room(3, 20, 0);
    members_arrive(&room, &eve, 0);
    says(&eve, "a b\n/who\neve\nhello\n");
    HEARS(eve, "-name a b: has a character that is not a letter, a digit or one of - _ . '\n"
               "-name /who: does not begin with a letter or a digit\n"
               "+welcome eve, here: ann, bob, eve\n");
    HEARS(ann, "* eve joined\neve: hello\n");
    close_room();
}

static void ways_to_leave(void) {
    open_room(3, 20, 0);
    comes(&eve, "eve\n");
    read_all(&ann);
    CU_ASSERT_EQUAL(says(&eve, "/quit so long, all\nand more\n"), INPUT_LEFT);
    members_leave(&room, &eve, NULL); /* again: the server does so whenever a member has LEFT */
    HEARS(ann, "* eve left: so long, all\n");
    CU_ASSERT_STRING_EQUAL(read_all(&eve) + strlen("+welcome eve, here: ann, bob, eve\n"),
                           "+bye\n");
    input_keep(&room, &bob, "half", 4);
    says(&bob, "/quit\n");
    CU_ASSERT(!bob.input && bob.input_size == 0); /* it is not heard any more */
    HEARS(ann, "* bob left\n");
    HEARS(bob, "* eve joined\n* eve left: so long, all\n+bye\n");
    check_all();
    comes(&eve, "bob\n"); /* the name is free again */
    members_forget(&room, &eve, "connection lost");
    HEARS(ann, "* bob joined\n* bob left (connection lost)\n");
    room.closing = 1;
    members_leave(&room, &ann, NULL);
    CU_ASSERT_EQUAL(room.members, 0);
    close_room();
}

/* ---- who hears what ---- */

static void golden_transcript(void) {
    room_open(&room, 10, 20, 0);
    ann = bob = eve = (struct member){.state = ROOM_OUTSIDE};
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
    {"/nick a b\n", "-name a b: has a character that is not a letter, a digit or one of - _ . '\n",
     ""},
    {"/nick ANN\n/nick ann\n", "* ann is now known as ANN\n* ANN is now known as ann\n",
     "* ann is now known as ANN\n* ANN is now known as ann\n"},
    {"one\ntwo\n/me x\n", "", "ann: one\nann: two\n* ann: x\n"},
};

static void commands(void) {
    open_room(3, 0, 0);
    for (size_t i = 0; i < sizeof spoken / sizeof *spoken; i++) {
        CU_ASSERT_EQUAL(says(&ann, spoken[i].line), INPUT_HEARD);
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
        members_forget(&room, &crowd[i], NULL);
    send_nothing();
    CU_ASSERT_EQUAL(room.members, 0);
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
    CU_ASSERT_PTR_EQUAL(room.history.ring[room.history.first], message);
    CU_ASSERT_EQUAL(message->refcount, 3);
    read_all(&bob);
    CU_ASSERT_EQUAL(message->refcount, 2);
    says(&ann, "again\n"); /* the history has room for one */
    CU_ASSERT_EQUAL(message->refcount, 1);
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
        for (struct iovec piece = {0}; queue_pieces(&bob.queue, &piece, 1) == 1;) {
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
            CU_ASSERT_EQUAL_FATAL(queue_pieces(&bob.queue, &piece, 1), 1);
            snprintf(want, sizeof want, "ann: %05u\n", out++);
            CU_ASSERT(piece.iov_len == strlen(want) && !memcmp(piece.iov_base, want, 11));
            room_sent(&room, &bob, piece.iov_len);
            check_all();
        }
    }
    CU_ASSERT(bob.queue.count > 32 && bob.queue.count == in - out);
    struct iovec piece[PIECES];
    CU_ASSERT_EQUAL(queue_pieces(&bob.queue, piece, PIECES), PIECES);
    room_sent(&room, &bob, 11 * 3 + 4); /* three, and 4 bytes of the next */
    CU_ASSERT_EQUAL(queue_pieces(&bob.queue, piece, PIECES), PIECES);
    snprintf(want, sizeof want, "ann: %05u\n", out + 3);
    CU_ASSERT(piece[0].iov_len == 7 && memcmp(piece[0].iov_base, want + 4, 7) == 0);
    CU_ASSERT_EQUAL(piece[1].iov_len, 11);
    check_all();
    close_room();
}

/* Up to the limit, and not a byte beyond it; the others are told when the server has closed it. */
static void too_slow(void) {
    char line[TEXT_LINE_LIMIT + 2], note[64];
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
    CU_ASSERT_PTR_NULL(bob.drop_reason);
    CU_ASSERT_EQUAL(room.lagging, 1);
    check_all();
    size_t used;
    says_bytes(&ann, "x\n", 2, &used);
    CU_ASSERT_PTR_EQUAL_FATAL(room_next_pending(&room), &bob);
    CU_ASSERT_STRING_EQUAL_FATAL(bob.drop_reason, "too slow");
    CU_ASSERT_EQUAL(room.lagging, 0);
    check_all();
    says(&ann, "y\n"); /* it is not there for him */
    CU_ASSERT_EQUAL(bob.queue.count, 0);
    CU_ASSERT_EQUAL(says(&bob, "hello?\n"), INPUT_LEFT);
    members_forget(&room, &bob, bob.drop_reason);
    snprintf(note, sizeof note, "* bob left (too slow)\n");
    HEARS(ann, note);
    close_room();
}

/* Pending members are served in order, and are on the list once, whatever comes meanwhile. */
static void the_pending_list(void) {
    size_t used;
    open_room(3, 0, 0);
    send_nothing();
    says_bytes(&ann, "1\n2\n3\n", 6, &used);
    room_mark_pending(&room, &ann);
    room_mark_pending(&room, &bob);
    CU_ASSERT_PTR_EQUAL(room_next_pending(&room), &bob);
    room_mark_pending(&room, &bob);
    CU_ASSERT_PTR_EQUAL(room_next_pending(&room), &ann);
    CU_ASSERT_PTR_EQUAL(room_next_pending(&room), &bob);
    CU_ASSERT_PTR_NULL(room_next_pending(&room));
    CU_ASSERT_EQUAL(room.unsent_bytes, 0);
    room_mark_pending(&room, &ann);
    CU_ASSERT_PTR_EQUAL(room_next_pending(&room), &ann);
    CU_ASSERT_PTR_NULL(room_next_pending(&room));
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
    char line[TEXT_LINE_LIMIT + 2];
    memset(line, '\x01', TEXT_LINE_LIMIT); /* each becomes three bytes */
    strcpy(line + TEXT_LINE_LIMIT, "\n");
    open_room(3, HISTORY_MAX, 0);
    for (int i = 0; i < 30; i++) {
        says(&ann, line);
        read_all(&bob);
        check_all();
    }
    CU_ASSERT(room.history.count == 10 && room.history.cost > HISTORY_LIMIT - 3 * TEXT_LINE_LIMIT);
    for (int i = 0; i < 3 * HISTORY_MAX; i++) {
        says(&ann, "x\n");
        read_all(&bob);
    }
    check_all();
    CU_ASSERT_EQUAL(room.history.count, HISTORY_LIMIT / (6 + 2 * MESSAGE_COST + 1));
    comes(&eve, "eve\n");
    CU_ASSERT_PTR_NULL(eve.drop_reason);
    close_room();
}

/* ---- pace ---- */

static unsigned lines_now(struct member *m, unsigned most) {
    unsigned n = 0;
    while (n < most && pace_allow(&room.pace, &m->bucket, 1, room.lagging > 0, now))
        n++;
    return n;
}

/* -r LINES a second, and those of two seconds at once; more than that cannot be saved up. */
static void pace(void) {
    open_room(3, 0, 20);
    CU_ASSERT_EQUAL(lines_now(&bob, 1000), PACE_NEWCOMER_LINES);
    now += 2000;
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
    room.pace.rate = 1;
    now += 2500;
    CU_ASSERT_EQUAL(lines_now(&ann, 1000), 2);
    room.pace.rate = 1000;
    now += 1;
    CU_ASSERT_EQUAL(lines_now(&ann, 1000), 1);
    room.pace.rate = 0;
    CU_ASSERT_EQUAL(lines_now(&ann, 100000), 100000);
    close_room();
}

static void lines_of_a_text(void) {
    CU_ASSERT_EQUAL(pace_lines(0), 1);
    CU_ASSERT_EQUAL(pace_lines(1), 1);
    CU_ASSERT_EQUAL(pace_lines(100), 1);
    CU_ASSERT_EQUAL(pace_lines(101), 2);
    CU_ASSERT_EQUAL(pace_lines(2000), 20);
    CU_ASSERT_EQUAL(pace_lines(3 * TEXT_LINE_LIMIT), 60);
}

/* A line of 2,000 bytes is one of 20 lines; if each byte becomes three, of 60. What is more than
 * the bucket holds waits until that is full, and is a debt then. */
static void long_lines_count_more(void) {
    static char line[TEXT_LINE_LIMIT + 2];
    size_t used;
    open_room(3, 0, 20);
    memset(line, 'x', TEXT_LINE_LIMIT);
    line[TEXT_LINE_LIMIT] = '\n';
    bob.bucket = (struct pace_bucket){.credit = 3000, .filled_at = now};
    now += 849;
    CU_ASSERT_EQUAL(says_bytes(&bob, line, TEXT_LINE_LIMIT + 1, &used), INPUT_TOO_EARLY);
    now += 1;
    CU_ASSERT_EQUAL(says_bytes(&bob, line, TEXT_LINE_LIMIT + 1, &used), INPUT_HEARD);
    CU_ASSERT_EQUAL(says_bytes(&bob, "\n", 1, &used), INPUT_TOO_EARLY);
    memset(line, '\x01', TEXT_LINE_LIMIT);
    now += 1999;
    CU_ASSERT_EQUAL(says_bytes(&bob, line, TEXT_LINE_LIMIT + 1, &used), INPUT_TOO_EARLY);
    now += 1;
    CU_ASSERT_EQUAL(says_bytes(&bob, line, TEXT_LINE_LIMIT + 1, &used), INPUT_HEARD);
    now += 1049; /* 20 of debt, and the next line */
    CU_ASSERT_EQUAL(says_bytes(&bob, "\n", 1, &used), INPUT_TOO_EARLY);
    now += 1;
    CU_ASSERT_EQUAL(says_bytes(&bob, "\n", 1, &used), INPUT_HEARD);
    close_room();
}

static enum input_result tries(struct member *m, uint64_t address) {
    members_arrive(&room, m, address);
    return says(m, "eve\nx\nx\nx\nx\n");
}

static void leaves(struct member *m) {
    members_leave(&room, m, NULL);
    read_all(m);
    send_nothing();
}

/* Who comes again and again has no more to say, and is heard of no more often, than who stays. */
static void visits(void) {
    int came = 0;
    open_room(3, 0, 20);
    while (tries(&eve, 7) == INPUT_TOO_EARLY && eve.state == ROOM_INSIDE) {
        came++;
        leaves(&eve);
    }
    CU_ASSERT_EQUAL(came, 8); /* of 40 lines */
    CU_ASSERT_EQUAL(eve.state, ROOM_UNNAMED);
    HEARS(eve, ""); /* it is not refused, it waits */
    leaves(&eve);
    CU_ASSERT_EQUAL(tries(&eve, 8), INPUT_TOO_EARLY); /* from another address */
    CU_ASSERT_EQUAL(eve.state, ROOM_INSIDE);
    leaves(&eve);
    now += 249;
    tries(&eve, 7);
    CU_ASSERT_EQUAL(eve.state, ROOM_UNNAMED);
    now += 1;
    says(&eve, "eve\n");
    CU_ASSERT_EQUAL(eve.state, ROOM_INSIDE);
    leaves(&eve);
    members_arrive(&room, &eve, 7);
    CU_ASSERT_EQUAL(says(&eve, "ann\n*\n"), INPUT_HEARD); /* a name that is refused costs nothing */
    close_room();
}

static int may_visit(uint64_t address) {
    return pace_allow(&room.pace, pace_address_bucket(&room.pace, address), PACE_VISIT_LINES,
                      room.lagging > 0, now);
}

/* The table is bounded: the address whose last visitor came longest ago is forgotten. */
static void many_addresses(void) {
    open_room(3, 0, 20);
    for (uint64_t address = 1; address <= PACE_ADDRESSES; address++) {
        now++;
        for (int i = 0; i < 8; i++)
            may_visit(address);
    }
    CU_ASSERT_FALSE(may_visit(PACE_ADDRESSES));
    CU_ASSERT(may_visit(PACE_ADDRESSES + 1));
    CU_ASSERT_FALSE(may_visit(PACE_ADDRESSES));
    close_room();
}

static uint64_t key_of(const char *numbers) {
    struct sockaddr_in6 peer = {.sin6_family = AF_INET6};
    struct sockaddr_in *ipv4 = (struct sockaddr_in *)(void *)&peer;
    if (inet_pton(AF_INET6, numbers, &peer.sin6_addr) == 1)
        return pace_address_key(&peer);
    peer.sin6_family = AF_INET;
    CU_ASSERT_EQUAL_FATAL(inet_pton(AF_INET, numbers, &ipv4->sin_addr), 1);
    return pace_address_key(&peer);
}

static void keys_of_addresses(void) {
    CU_ASSERT(key_of("127.0.0.1") != key_of("127.0.0.2"));
    CU_ASSERT(key_of("127.0.0.1") == key_of("::ffff:127.0.0.1"));
    CU_ASSERT(key_of("::ffff:1.2.3.4") != key_of("::ffff:1.2.3.5"));
    CU_ASSERT(key_of("2001:db8::1") == key_of("2001:db8::2"));
    CU_ASSERT(key_of("2001:db8::1") != key_of("2001:db8:0:1::1"));
    CU_ASSERT(key_of("2001:db8::1") != key_of("32.1.13.184")); /* the same four bytes */
}

/* While somebody lags, all together have SLOW_RATE lines a second; a part of that is for members
 * who have not said much. */
static void slow_room(void) {
    unsigned loud = 0;
    open_room(MANY, 0, 1000);
    room.lagging = 1;
    for (int i = 0; i < MANY; i++)
        crowd[i].bucket = (struct pace_bucket){.filled_at = now, .taken_at = now, .taken = 1};
    now += 100; /* each of them has 100 lines */
    for (int i = 0; i < MANY; i++)
        loud += lines_now(&crowd[i], 1000);
    CU_ASSERT(loud >= PACE_SLOW_BURST - PACE_SLOW_RESERVE);
    CU_ASSERT(loud < PACE_SLOW_BURST - PACE_SLOW_RESERVE + 4);
    bob.bucket = (struct pace_bucket){0};
    CU_ASSERT_EQUAL(lines_now(&bob, 1000), 1); /* a silent member is heard, once */
    now += 1000;
    CU_ASSERT_EQUAL(lines_now(&bob, 1), 1);
    room.lagging = 0;
    CU_ASSERT(lines_now(&bob, 10000) > 1000);
    close_room();
}

enum { LOUD = 200, TURN_SECONDS = 200, TURN_MS = 30, ASK_MS = 5000 };

static unsigned turns[LOUD]; /* how often each loud member was heard */

/* A loud member with an odd number has lines that count as 20. */
static unsigned loud_lines(int i) {
    return i % 2 == 1 ? 20 : 1;
}

/* All loud members try, in the same order each time, as by a timer. Returns the lines heard. */
static unsigned loud_turn(struct pace_bucket *loud) {
    unsigned lines = 0;
    for (int i = 0; i < LOUD; i++) {
        if (!pace_allow(&room.pace, &loud[i], loud_lines(i), 1, now))
            continue;
        turns[i]++;
        lines += loud_lines(i);
    }
    return lines;
}

/* Returns how often the one was heard that was heard least, of those with so many lines. */
static unsigned fewest_turns(unsigned lines) {
    unsigned fewest = UINT_MAX;
    for (int i = 0; i < LOUD; i++) {
        if (loud_lines(i) == lines && turns[i] < fewest)
            fewest = turns[i];
    }
    return fewest;
}

/* Nobody waits for ever in the slow room, and a member who speaks every five seconds next to not at
 * all; the order in which members are asked does not decide who is heard. */
static void turns_in_a_slow_room(void) {
    static struct pace_bucket loud[LOUD];
    unsigned lines = 0;
    open_room(3, 0, 20);
    for (int i = 0; i < LOUD; i++) {
        loud[i] = (struct pace_bucket){.filled_at = now, .taken_at = now, .taken = 1};
        loud[i].credit = 40000;
    }
    const long long end = now + 1000 * TURN_SECONDS;
    long long ask = now + 6 * ASK_MS;
    for (; now < end; now += TURN_MS) {
        lines += loud_turn(loud);
        if (now >= ask && pace_allow(&room.pace, &bob.bucket, 1, 1, now))
            ask += ASK_MS;
        CU_ASSERT_FATAL(now < ask + 1000);
    }
    CU_ASSERT(lines < PACE_SLOW_RATE * TURN_SECONDS + PACE_SLOW_BURST + 20);
    CU_ASSERT(lines > PACE_SLOW_RATE * TURN_SECONDS * 9 / 10);
    CU_ASSERT(fewest_turns(20) > 0);
    CU_ASSERT(fewest_turns(1) >= 10 * fewest_turns(20));
    close_room();
}

/* Who asks more than it reads is not heard until it has read: so nobody is dropped for answers. */
static void asks_more_than_it_reads(void) {
    size_t used, asked = 0;
    open_room(3, 0, 0);
    while (says_bytes(&ann, "/help\n", 6, &used) != INPUT_TOO_EARLY && asked++ < 10000)
        send_nothing();
    CU_ASSERT(asked > 100 && !ann.drop_reason && ann.queue.cost > QUEUE_LAG);
    CU_ASSERT(ann.queue.cost < QUEUE_LAG + 1000);
    CU_ASSERT_EQUAL(says(&bob, "hello\n"), INPUT_HEARD); /* the others are heard */
    read_all(&ann);
    CU_ASSERT_EQUAL(says(&ann, "/help\n"), INPUT_HEARD);
    close_room();
}

/* What is too early stays where it is, and costs nothing; an empty line is a line, too. */
static void too_early(void) {
    size_t used;
    open_room(3, 0, 1);
    now += 5000;
    CU_ASSERT_EQUAL(says_bytes(&ann, "1\n\n3\n4\n", 7, &used), INPUT_TOO_EARLY);
    CU_ASSERT_EQUAL(used, 3);
    HEARS(bob, "ann: 1\n");
    now += 999;
    CU_ASSERT_EQUAL(says_bytes(&ann, "3\n4\n", 4, &used), INPUT_TOO_EARLY);
    CU_ASSERT_EQUAL(used, 0);
    now += 1;
    CU_ASSERT_EQUAL(says_bytes(&ann, "3\n4\n", 4, &used), INPUT_TOO_EARLY);
    CU_ASSERT_EQUAL(used, 2);
    HEARS(bob, "ann: 3\n");
    CU_ASSERT_EQUAL(says_bytes(&ann, "4", 1, &used), INPUT_HEARD); /* a line begun may wait */
    CU_ASSERT_EQUAL(used, 0);
    close_room();
}

/* ---- what they send ---- */

/* However a stream is cut into pieces, all of it is heard; kept is what a connection would keep. */
static void any_pieces(void) {
    static const char stream[] = "one\n\n/me two three\r\n//four\nfive\n\nrest";
    static const char want[] = "ann: one\n* ann: two three\nann: /four\nann: five\n";
    for (size_t drop_reason = 1; drop_reason < sizeof stream; drop_reason++) {
        char input[sizeof stream];
        open_room(3, 0, 0);
        for (size_t at = 0, n; at < sizeof stream - 1; at += n) {
            size_t used, size = ann.input_size;
            n = drop_reason < sizeof stream - 1 - at ? drop_reason : sizeof stream - 1 - at;
            if (ann.input)
                memcpy(input, ann.input, size);
            memcpy(input + size, stream + at, n);
            CU_ASSERT_EQUAL(says_bytes(&ann, input, size + n, &used), INPUT_HEARD);
            input_keep(&room, &ann, input + used, size + n - used);
        }
        HEARS(bob, want);
        CU_ASSERT(ann.input_size == 4 && memcmp(ann.input, "rest", 4) == 0);
        input_keep(&room, &ann, ann.input, 0);
        CU_ASSERT(ann.input_size == 0 && !ann.input);
        close_room();
    }
}

/* heard: how much of it bob hears. */
static const struct {
    size_t size;
    const char *end;
    enum input_result want;
    size_t heard;
} lengths[] = {
    {TEXT_LINE_LIMIT, "\n", INPUT_HEARD, TEXT_LINE_LIMIT},
    {TEXT_LINE_LIMIT, "\r\n", INPUT_HEARD, TEXT_LINE_LIMIT},
    {TEXT_LINE_LIMIT - 1, "\r\r\n", INPUT_HEARD, TEXT_LINE_LIMIT - 1 + 3}, /* one CR is U+FFFD */
    {TEXT_LINE_LIMIT, "", INPUT_HEARD, 0},
    {TEXT_LINE_LIMIT + 1, "", INPUT_HEARD, 0}, /* it may be a CR */
    {TEXT_LINE_LIMIT + 1, "\n", INPUT_LEFT, 0},
    {TEXT_LINE_LIMIT + 1, "\r\n", INPUT_LEFT, 0},
    {TEXT_LINE_LIMIT + 2, "", INPUT_LEFT, 0},
    {3 * TEXT_LINE_LIMIT, "", INPUT_LEFT, 0},
};

static void long_lines(void) {
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        static char line[3 * TEXT_LINE_LIMIT + 8];
        memset(line, 'x', sizeof line);
        strcpy(line + lengths[i].size, lengths[i].end);
        open_room(3, 0, 0);
        CU_ASSERT_EQUAL(says(&ann, line), lengths[i].want);
        if (lengths[i].want == INPUT_LEFT) {
            HEARS(ann, "-line of more than 2000 bytes\n");
            HEARS(bob, "* ann left (line too long)\n");
        } else {
            size_t size = strlen(read_all(&bob));
            CU_ASSERT_EQUAL(size, lengths[i].heard ? strlen("ann: \n") + lengths[i].heard : 0);
        }
        close_room();
    }
    open_room(3, 0, 0); /* without a name, too */
    members_arrive(&room, &eve, 0);
    static char name[TEXT_LINE_LIMIT + 8];
    memset(name, 'x', TEXT_LINE_LIMIT + 2);
    CU_ASSERT_EQUAL(says(&eve, name), INPUT_LEFT);
    HEARS(eve, "-line of more than 2000 bytes\n");
    HEARS(bob, "");
    close_room();
}

/* Enough was made, or enough slots were taken: no member is dropped for what nobody could have sent
 * to it yet. */
static void time_to_send(void) {
    static char flood[20000];
    size_t used = 0, at = 0;
    int rounds = 0;
    memset(flood, '\n', sizeof flood);
    for (size_t i = 0; i < sizeof flood; i += 2)
        flood[i] = 'x';
    open_room(3, 0, 0);
    enum input_result heard;
    while ((heard = says_bytes(&ann, flood + at, sizeof flood - at, &used)) == INPUT_SEND_FIRST) {
        CU_ASSERT(used > 0 && room.unsent_bytes < ROOM_UNSENT_BYTES_MAX + 200);
        at += used;
        send_nothing();
        read_all(&bob);
        CU_ASSERT_PTR_NULL(bob.drop_reason);
        rounds++;
    }
    CU_ASSERT(heard == INPUT_HEARD && at + used == sizeof flood);
    CU_ASSERT(rounds > 10);
    send_nothing();
    room.unsent_slots = ROOM_UNSENT_SLOTS_MAX + 1;
    CU_ASSERT_EQUAL(says_bytes(&ann, "x\n", 2, &used), INPUT_SEND_FIRST);
    CU_ASSERT_EQUAL(used, 0);
    send_nothing();
    CU_ASSERT_EQUAL(says_bytes(&ann, "x\n", 2, &used), INPUT_HEARD);
    close_room();
}

/* The longest list of names, and the longest history beside it, fit into a queue that has taken
 * FRESH_LIMIT already: PEOPLE_MOST promises it. */
static void a_big_room(void) {
    static struct member people[ROOM_MEMBERS_MAX];
    char line[TEXT_LINE_LIMIT + 2];
    room_open(&room, ROOM_MEMBERS_MAX, HISTORY_MAX, 0);
    for (int i = 0; i < ROOM_MEMBERS_MAX; i++) {
        snprintf(line, sizeof line, "%032d\n", i);
        comes(&people[i], line);
        for (int j = 0; i % 100 == 0 && j < i; j++)
            read_all(&people[j]);
        if (i == 0)
            for (int j = 0; j < 10 * HISTORY_MAX; j++)
                says(&people[0], "x\n");
    }
    CU_ASSERT_PTR_NULL(people[ROOM_MEMBERS_MAX - 1].drop_reason);
    CU_ASSERT(people[ROOM_MEMBERS_MAX - 1].queue.cost < QUEUE_LIMIT - 2 * ROOM_UNSENT_BYTES_MAX);
    CU_ASSERT(room.history.cost > HISTORY_LIMIT - 200);
    room.closing = 1;
    for (int i = 0; i < ROOM_MEMBERS_MAX; i++)
        members_forget(&room, &people[i], NULL);
    send_nothing();
    room_close(&room);
}

/* ---- no memory ---- */

/* A conversation in which the Kth malloc fails. Returns whether it did. */
static int conversation(unsigned k) {
    unsigned drop_reason = 0;
    room_open(&room, 3, 2, 0);
    ann = bob = eve = (struct member){.state = ROOM_OUTSIDE};
    malloc_fails_at = k;
    members_arrive(&room, &ann, 0);
    says(&ann, "ann\n");
    members_arrive(&room, &bob, 0);
    says(&bob, "bob\nhello\n/me waves\n");
    members_arrive(&room, &eve, 0);
    says(&eve, "ann\n");
    says(&eve, "eve\n");
    says(&ann, "1\n2\n3\n4\n5\n/who\n/msg bob x\n/nick joe\n");
    input_keep(&room, &ann, "kept", 4);
    check_all();
    int failed = malloc_fails_at == 0;
    malloc_fails_at = 0;
    for (size_t i = 0; i < 3; i++) {
        drop_reason += members[i]->drop_reason != NULL;
        if (members[i]->drop_reason)
            CU_ASSERT_STRING_EQUAL(members[i]->drop_reason, "out of memory");
    }
    CU_ASSERT(drop_reason <= 1);
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
    {"the list of pending members", the_pending_list},
    {"the history: so many", history},
    {"the history: so long", long_history},
    {"the biggest room: a welcome fits", a_big_room},
    {"no memory, at each call", no_memory},
    CU_TEST_INFO_NULL,
};
static CU_TestInfo sending[] = {
    {"so many lines a second", pace},
    {"how many lines a text is", lines_of_a_text},
    {"long lines count as several", long_lines_count_more},
    {"visits are paid for by the address", visits},
    {"many addresses", many_addresses},
    {"addresses that share a credit", keys_of_addresses},
    {"while somebody lags", slow_room},
    {"who is heard next while somebody lags", turns_in_a_slow_room},
    {"who asks more than it reads", asks_more_than_it_reads},
    {"lines that are too early", too_early},
    {"a stream cut anywhere", any_pieces},
    {"up to the longest line, and beyond it", long_lines},
    {"a flood: when it is time to send", time_to_send},
    CU_TEST_INFO_NULL,
};

int main(void) {
    text_set_locale();
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
