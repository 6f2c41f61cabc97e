/* keys.c: see keys.h. */
#include "../util.h"
#include "keys.h"
#include <signal.h>
#include <stddef.h>
#include <termios.h>
#include <unistd.h>

enum { PASTE_PAUSE_MS = 2000 }; /* after such a pause a paste whose end was lost is over, too */

static const char paste_end[] = "\033[201~";

static int pasting;
static size_t end_seen;         /* how many bytes of paste_end have come */
static cc_t interrupt, suspend; /* the keys for SIGINT and SIGTSTP */

void keys_open(void) {
    struct termios settings;
    if (tcgetattr(STDIN_FILENO, &settings) < 0)
        return;
    interrupt = settings.c_cc[VINTR];
    suspend = settings.c_cc[VSUSP];
}

void keys_begin_paste(void) {
    pasting = 1;
    end_seen = 0;
}

static int is_control(char byte) {
    return (byte >= 0 && byte < ' ') || byte == 0x7F;
}

/* Returns the byte that takes the place of a pasted one, or 0 for none. A newline ends a line, as
 * if it were typed. */
static char pasted(char byte) {
    if (byte != paste_end[end_seen])
        end_seen = 0; /* it was another escape sequence: its first bytes are left out */
    if (byte == paste_end[end_seen]) {
        end_seen++;
        pasting = paste_end[end_seen] != '\0';
        return 0;
    }
    if (byte == '\t')
        return ' ';
    if (is_control(byte) && byte != '\r' && byte != '\n')
        return 0;
    return byte;
}

/* Returns a typed byte; or 0, after it has become a signal. */
static char typed(char byte) {
    if (byte == '\0') /* also the value of a key that is switched off */
        return 0;
    if ((cc_t)byte == interrupt) {
        raise(SIGINT);
        return 0;
    }
    if ((cc_t)byte == suspend) {
        raise(SIGTSTP);
        return 0;
    }
    return byte;
}

/* Adds a byte to the character. Returns 1 if it is complete then. Bytes that become no character
 * are left out; the byte that shows it begins the next one. */
static int complete(char byte, wchar_t *key) {
    static mbstate_t partial;
    size_t n = mbrtowc(key, &byte, 1, &partial);
    if (n == (size_t)-1) {
        partial = (mbstate_t){0};
        n = mbrtowc(key, &byte, 1, &partial);
    }
    if (n == (size_t)-1)
        partial = (mbstate_t){0};
    return n == 1;
}

int keys_next(int (*wait)(void), wchar_t *key) {
    char byte;
    for (;;) {
        const long long start = now_ms();
        if (!wait())
            return -1;
        if (now_ms() - start > PASTE_PAUSE_MS)
            pasting = 0;
        if (read(STDIN_FILENO, &byte, 1) != 1)
            return 0;
        byte = pasting ? pasted(byte) : typed(byte);
        if (byte && complete(byte, key))
            return 1;
    }
}
