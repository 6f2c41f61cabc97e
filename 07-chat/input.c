/* input.c: see input.h. */
#include "../util.h"
#include "input.h"
#include "commands.h"
#include "members.h"
#include "text.h"

/* A visit is paid for by its address: so someone who leaves and joins again can say no more than
 * someone who stays. A name that is refused costs nothing: three tries are enough of a limit. */
static int name_is_in_time(struct room *r, struct member *m, const char *name, long long now) {
    if (members_name_problem(r, m, name))
        return 1;
    struct pace_bucket *address = pace_address_bucket(&r->pace, m->address);
    if (!pace_allow(&r->pace, address, PACE_VISIT_LINES, r->lagging > 0, now))
        return 0;
    pace_newcomer(&m->bucket, now);
    return 1;
}

/* Returns whether what m says can be heard now; it is paid for then. */
static int is_in_time(struct room *r, struct member *m, const char *text, long long now) {
    if (m->lags) /* it asks more than it reads */
        return 0;
    if (m->state == ROOM_UNNAMED)
        return name_is_in_time(r, m, text, now);
    return pace_allow(&r->pace, &m->bucket, pace_lines(strlen(text)), r->lagging > 0, now);
}

static void hear_text(struct room *r, struct member *m, char *text) {
    if (m->state == ROOM_UNNAMED) {
        members_enter(r, m, text);
    } else if (text[0] == '/' && text[1] != '/') {
        commands_run(r, m, text);
    } else if (text[0]) {
        const char *said = text[0] == '/' ? text + 1 : text; /* "//who" says "/who" */
        room_say(r, m, message_printf("%s: %s\n", m->name, said));
    }
}

/* Returns the size of a line without its end, "\n" or "\r\n". size: with it. */
static size_t text_size(const char *line, size_t size) {
    size--;
    if (size > 0 && line[size - 1] == '\r')
        size--;
    return size;
}

static int is_time_to_send(const struct room *r) {
    return r->unsent_bytes > ROOM_UNSENT_BYTES_MAX || r->unsent_slots > ROOM_UNSENT_SLOTS_MAX;
}

static void refuse_line(struct room *r, struct member *m) {
    room_tell(r, m, message_printf("-line of more than %d bytes\n", TEXT_LINE_LIMIT));
    members_leave(r, m, "line too long");
}

enum input_result input_hear(struct room *r, struct member *m, const char *data, size_t size,
                             long long now, size_t *used) {
    char text[TEXT_CLEAN_SIZE];
    *used = 0;
    while (m->state != ROOM_OUTSIDE && !m->drop_reason) {
        const char *line = data + *used;
        ssize_t length = line_length(line, size - *used, TEXT_LINE_LIMIT + strlen("\r\n"));
        if (length == 0)
            return INPUT_HEARD;
        if (is_time_to_send(r))
            return INPUT_SEND_FIRST;
        if (length < 0 || text_size(line, (size_t)length) > TEXT_LINE_LIMIT) {
            refuse_line(r, m);
            break;
        }
        text_clean(line, text_size(line, (size_t)length), text);
        if (!is_in_time(r, m, text, now))
            return INPUT_TOO_EARLY;
        hear_text(r, m, text);
        *used += (size_t)length;
    }
    return INPUT_LEFT;
}

void input_keep(struct room *r, struct member *m, const char *data, size_t size) {
    free(m->input);
    m->input = NULL;
    m->input_size = 0;
    if (size == 0)
        return;
    m->input = malloc(size);
    if (!m->input) {
        room_drop(r, m, "out of memory");
        return;
    }
    memcpy(m->input, data, size);
    m->input_size = (unsigned)size;
}
