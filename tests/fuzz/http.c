/* Attacks http.c of exercise 6-3's solution with libFuzzer: `make fuzz-http`. A second reading of
 * the grammar, by regular expressions as strict as the RFCs' rules, has to come to the same
 * requests, field by field, to the same refusals and the same replies, in whatever pieces the
 * bytes come. An input is a byte for the size of the pieces, one for how often the rest is
 * repeated, and what a client sends. */
/* parts: build/fuzz/6-3/06-epoll/http.c */
#include "../../util.h"
#include "http.h"
#include <arpa/inet.h>
#include <ctype.h>
#include <regex.h>
#include <stdint.h>

#define REQUIRE(what)                                                                              \
    do {                                                                                           \
        if (!(what)) {                                                                             \
            fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #what);              \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

#define TOKEN "[a-zA-Z0-9!#$%&'*+.^_`|~-]+" /* RFC 9110, 5.6.2 */
#define DATE  "Sun, 06 Nov 1994 08:49:37 GMT"

enum { REQUEST, PATH, URL, FIELD, HOST, PATTERNS, GROUPS = 6, DATA_MAX = 20000 };
static const char *const patterns[PATTERNS] = {
    [REQUEST] = "^(" TOKEN ") ([^ ]*) HTTP/([0-9])\\.([0-9])$",     [PATH] = "^/[!-\"$-~]*$",
    [URL] = "^[hH][tT][tT][pP]://([^/?]+)([/?][!-\"$-~]*)?$",       [FIELD] = "^(" TOKEN "):(.*)$",
    [HOST] = "^([a-zA-Z0-9._-]+|\\[([^]]*)\\])(:0*([0-9]{0,5}))?$",
};
static regex_t compiled[PATTERNS];

/* A request as the second reading sees it. */
struct head {
    size_t size; /* 0: it has not ended yet */
    const char *status;
    char target[HTTP_HEAD_LIMIT + 1];
    int begun, is_head, minor, hosts, lengths, close, keep_alive;
};

/* ---- the second reading ---- */

static int matches(int pattern, const char *text, regmatch_t *groups) {
    return regexec(&compiled[pattern], text, GROUPS, groups, 0) == 0;
}

/* Ends the group's text with a NUL, in text, and returns it; "" for a group that is not there. */
static char *group(char *text, const regmatch_t *g) {
    static char nothing[1];
    if (g->rm_so < 0)
        return nothing;
    text[g->rm_eo] = '\0';
    return text + g->rm_so;
}

static int is_good_host(char *text) {
    regmatch_t groups[GROUPS];
    struct in6_addr address;
    if (!matches(HOST, text, groups))
        return 0;
    if (atoi(group(text, &groups[4])) > 65535)
        return 0;
    return groups[2].rm_so < 0 || inet_pton(AF_INET6, group(text, &groups[2]), &address) == 1;
}

static int is_good_target(const char *target) {
    static char copy[HTTP_HEAD_LIMIT + 1];
    regmatch_t groups[GROUPS];
    if (matches(PATH, target, groups))
        return 1;
    strcpy(copy, target);
    return matches(URL, copy, groups) && is_good_host(group(copy, &groups[1]));
}

static const char *first_line(struct head *h, char *line) {
    regmatch_t groups[GROUPS];
    h->begun = 1;
    if (!matches(REQUEST, line, groups))
        return "400 Bad Request";
    const char *method = group(line, &groups[1]);
    strcpy(h->target, group(line, &groups[2]));
    h->minor = atoi(group(line, &groups[4]));
    if (atoi(group(line, &groups[3])) != 1)
        return "505 HTTP Version Not Supported";
    if (!h->is_head && strcmp(method, "GET") != 0)
        return "501 Not Implemented";
    if (!is_good_target(h->target))
        return "400 Bad Request";
    return NULL;
}

/* Takes spaces and tabs away from both ends of text. */
static char *strip(char *text) {
    size_t n;
    text += strspn(text, " \t");
    for (n = strlen(text); n > 0 && strchr(" \t", text[n - 1]); n--)
        text[n - 1] = '\0';
    return text;
}

static void options(struct head *h, char *value) {
    char *rest = value;
    while (rest) {
        const char *option = strip(strsep(&rest, ","));
        if (strcasecmp(option, "close") == 0)
            h->close = 1;
        if (strcasecmp(option, "keep-alive") == 0)
            h->keep_alive = 1;
    }
}

static const char *content_length(struct head *h, const char *value) {
    size_t digits = strspn(value, "0123456789");
    h->lengths++;
    if (h->lengths > 1 || digits == 0 || value[digits])
        return "400 Bad Request";
    if (strspn(value, "0") < digits)
        return "413 Content Too Large";
    return NULL;
}

static const char *host(struct head *h, char *value) {
    h->hosts++;
    if (*value != '\0' && !is_good_host(value))
        return "400 Bad Request";
    return NULL;
}

static const char *field(struct head *h, char *line) {
    regmatch_t groups[GROUPS];
    if (!matches(FIELD, line, groups))
        return "400 Bad Request";
    const char *name = group(line, &groups[1]);
    char *value = strip(group(line, &groups[2]));
    if (strcasecmp(name, "host") == 0)
        return host(h, value);
    if (strcasecmp(name, "content-length") == 0)
        return content_length(h, value);
    if (strcasecmp(name, "transfer-encoding") == 0)
        return "501 Not Implemented";
    if (strcasecmp(name, "connection") == 0)
        options(h, value);
    return NULL;
}

static int is_head(const char *line, size_t n) {
    return n >= 5 && memcmp(line, "HEAD ", 5) == 0;
}

static int has_control_character(const char *line, size_t n) {
    for (size_t i = 0; i < n; i++) {
        if (iscntrl((unsigned char)line[i]) && line[i] != '\t')
            return 1;
    }
    return 0;
}

/* One line, without its end: a string, unless a NUL is in it. */
static const char *next_line(struct head *h, char *line, size_t n) {
    if (!h->begun)
        h->is_head = is_head(line, n);
    if (has_control_character(line, n))
        return "400 Bad Request";
    if (!h->begun && n == 0)
        return NULL;
    if (!h->begun)
        return first_line(h, line);
    if (n > 0)
        return field(h, line);
    if (h->hosts > 1 || (h->minor > 0 && h->hosts == 0))
        return "400 Bad Request";
    return "200 OK";
}

static void read_strictly(struct head *h, const char *data, size_t size) {
    static char line[HTTP_HEAD_LIMIT + 1];
    size_t n = 0;
    *h = (struct head){.size = 0};
    for (size_t at = 0; at < size && !h->status; at++) {
        line[n] = data[at];
        n++;
        if (data[at] != '\n')
            continue;
        n--;
        if (n > 0 && line[n - 1] == '\r')
            n--;
        line[n] = '\0';
        h->status = next_line(h, line, n);
        if (h->status)
            h->size = at + 1;
        n = 0;
    }
    if (!h->status && size == HTTP_HEAD_LIMIT) {
        if (!h->begun)
            h->is_head = is_head(line, n);
        h->status = "431 Request Header Fields Too Large";
        h->size = size;
    }
}

/* ---- the comparison ---- */

static void compare(const struct http_request *r, size_t used, const struct head *h) {
    REQUIRE(used == h->size);
    if (!used)
        return;
    REQUIRE(strcmp(r->status, h->status) == 0);
    REQUIRE(r->is_head == h->is_head);
    if (*r->status != '2')
        return;
    REQUIRE(r->target_size == strlen(h->target));
    REQUIRE(memcmp(r->target, h->target, r->target_size) == 0);
    REQUIRE(r->minor == h->minor);
    REQUIRE(r->hosts == h->hosts && r->lengths == h->lengths);
    REQUIRE(r->close == h->close && r->keep_alive == h->keep_alive);
}

/* Writes the reply as it has to be, and returns its end. */
static char *expected_reply(const struct head *h, int last, char *next) {
    const char *body = h->status;
    const char *connection = "";
    if (*h->status == '2')
        body = h->target;
    if (last)
        connection = "Connection: close\r\n";
    else if (h->minor == 0)
        connection = "Connection: keep-alive\r\n";
    next += sprintf(next,
                    "HTTP/1.1 %s\r\nDate: " DATE "\r\nContent-Type: text/plain\r\n"
                    "Content-Length: %zu\r\n%s\r\n",
                    h->status, strlen(body) + 1, connection);
    if (!h->is_head)
        next += sprintf(next, "%s\n", body);
    return next;
}

static size_t smaller(size_t a, size_t b) {
    return a < b ? a : b;
}

/* Returns how many bytes of empty lines there are before the next request. */
static size_t empty_lines_size(const char *data, size_t size) {
    size_t at = 0;
    while (at < size) {
        if (data[at] == '\n')
            at += 1;
        else if (size - at > 1 && memcmp(data + at, "\r\n", 2) == 0)
            at += 2;
        else
            break;
    }
    return at;
}

/* Reads all requests in both ways; writes to replies what has to be answered, returns its size. */
static size_t expect(const char *data, size_t size, char *replies) {
    static struct head h;
    char *next = replies;
    int last = 0;
    while (size > 0 && !last) {
        size_t empty = empty_lines_size(data, size);
        data += empty;
        size -= empty;
        size_t read_size = smaller(size, HTTP_HEAD_LIMIT);
        struct http_request r;
        size_t used = http_read_request(&r, data, read_size);
        read_strictly(&h, data, read_size);
        compare(&r, used, &h);
        if (!used)
            break;
        last = *h.status != '2' || h.close || (h.minor == 0 && !h.keep_alive);
        next = expected_reply(&h, last, next);
        data += used;
        size -= used;
    }
    return (size_t)(next - replies);
}

/* Does what the server does with pieces of that size; returns the size of all replies. */
static size_t serve(const char *data, size_t size, size_t piece, char *replies) {
    static char head[HTTP_HEAD_LIMIT];
    char *once = malloc(HTTP_REPLIES); /* exactly: the sanitizer sees one byte more */
    size_t begun = 0;
    size_t total = 0;
    ssize_t used = 0;
    while (size > 0 && used >= 0) {
        size_t replies_size;
        size_t n = smaller(piece, HTTP_HEAD_LIMIT - begun);
        n = smaller(n, size);
        REQUIRE(n > 0); /* or the connection would never go on */
        memcpy(head + begun, data, n);
        begun += n;
        used = http_answer(head, begun, DATE, once, &replies_size);
        REQUIRE(replies_size <= HTTP_REPLIES);
        memcpy(replies + total, once, replies_size);
        total += replies_size;
        if (used > 0) {
            begun -= (size_t)used;
            memmove(head, head + used, begun);
        }
        data += n;
        size -= n;
    }
    free(once);
    return total;
}

static void compile_patterns(void) {
    for (int i = 0; i < PATTERNS; i++)
        REQUIRE(regcomp(&compiled[i], patterns[i], REG_EXTENDED) == 0);
}

/* Writes what the client sends, again and again, into data (DATA_MAX bytes). Returns its size. */
static size_t repeat(char *data, const uint8_t *sent, size_t size, int times) {
    size_t total = 0;
    for (int i = 0; i < times && total + size <= DATA_MAX; i++) {
        memcpy(data + total, sent, size);
        total += size;
    }
    return total;
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size) {
    static char data[DATA_MAX];
    static char expected[8 * DATA_MAX];
    static char replies[8 * DATA_MAX];
    if (!compiled[PATTERNS - 1].re_nsub)
        compile_patterns();
    if (size <= 2 || size - 2 > DATA_MAX)
        return 0;
    size_t n = repeat(data, input + 2, size - 2, 1 + 4 * input[1]);
    size_t expected_size = expect(data, n, expected);
    REQUIRE(serve(data, n, HTTP_HEAD_LIMIT, replies) == expected_size);
    REQUIRE(memcmp(expected, replies, expected_size) == 0);
    REQUIRE(serve(data, n, 1 + *input * 8U, replies) == expected_size);
    REQUIRE(memcmp(expected, replies, expected_size) == 0);
    return 0;
}
