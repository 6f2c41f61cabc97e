/* people.c: see people.h. */
#include "people.h"
#include <stdio.h>
#include <string.h>

static const char earlier[] = "(earlier) ";
static const char list_begin[] = "here: ";

const char *people_name(const char *line, size_t *size) {
    if (strncmp(line, earlier, strlen(earlier)) == 0)
        line += strlen(earlier);
    if (strncmp(line, "* ", 2) == 0)
        line += 2;
    *size = strcspn(line, " :");
    if (*line == '+' || *line == '-')
        *size = 0;
    return line;
}

static int is_known(const struct people *p, const char *name) {
    for (size_t i = 0; i < PEOPLE_MAX; i++) {
        if (strcmp(p->names[i], name) == 0)
            return 1;
    }
    return 0;
}

/* Remembers size bytes of text as a name, if they can be one. */
static void remember(struct people *p, const char *text, size_t size) {
    char name[PEOPLE_NAME_SIZE];
    if (size > NAME_LIMIT)
        return;
    memcpy(name, text, size);
    name[size] = '\0';
    if (name_problem(name) || is_known(p, name))
        return;
    strcpy(p->names[p->next], name);
    p->next = (p->next + 1) % PEOPLE_MAX;
}

/* Remembers the names of a list: "ann, bob, 张三". */
static void remember_list(struct people *p, const char *list) {
    for (int i = 0; i < PEOPLE_MAX && *list; i++) {
        size_t size = strcspn(list, ",");
        remember(p, list, size);
        list += size;
        list += strspn(list, ", ");
    }
}

void people_learn(struct people *p, const char *line) {
    size_t size;
    const char *name = people_name(line, &size);
    remember(p, name, size);
    if (*line != '+')
        return;
    const char *list = strstr(line, list_begin);
    if (list)
        remember_list(p, list + strlen(list_begin));
}

/* Returns how many bytes two names have in common at their beginning, of at most max. */
static size_t common_size(const char *one, const char *other, size_t max) {
    size_t size = 0;
    while (size < max && one[size] && one[size] == other[size])
        size++;
    return size;
}

/* Returns whether this byte of UTF-8 is not a character's first (RFC 3629, 3). */
static int is_continuation(char byte) {
    return ((unsigned char)byte & 0xC0) == 0x80;
}

/* Returns the size of the last word of text. */
static size_t last_word(const char *text, size_t size) {
    size_t word = 0;
    while (word < size && text[size - word - 1] != ' ')
        word++;
    return word;
}

void people_complete(const struct people *p, const char *text, size_t size, char *rest) {
    const size_t word_size = last_word(text, size);
    const char *word = text + size - word_size;
    const char *first = NULL; /* of the names that begin with word */
    size_t common = 0;
    size_t count = 0;
    for (size_t i = 0; i < PEOPLE_MAX; i++) {
        const char *name = p->names[i];
        if (!*name || strncmp(name, word, word_size) != 0)
            continue;
        if (count == 0) {
            first = name;
            common = strlen(name);
        }
        common = common_size(first, name, common);
        count++;
    }
    *rest = '\0';
    if (count == 0)
        return;
    while (common > word_size && is_continuation(first[common]))
        common--; /* not in mid-character */
    snprintf(rest, PEOPLE_REST_SIZE, "%.*s%s", (int)(common - word_size), first + word_size,
             count == 1 ? " " : "");
}
