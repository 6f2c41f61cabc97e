/* keys.h: what the keyboard sends, for the line editor: bytes in, characters out.
 *
 * Pasted bytes are not keys. Terminals that know "bracketed paste" put ESC[200~ and ESC[201~
 * around it, if they are asked to; between these, no byte is a key of the editor's. So the kernel
 * must not make signals of keys (ISIG, termios(3)): it would do so within a paste, too. Keys that
 * are typed become signals here. */
#pragma once
#include <wchar.h>

/* Finds out which keys are signals in this terminal: tcgetattr(3). */
void keys_open(void);

/* From now on all input is pasted, until the terminal says that the paste has ended. */
void keys_begin_paste(void);

/* Reads the next character into *key. Calls wait before each byte; it returns 1 when standard input
 * can be read, or 0: read no more. Returns 1; 0 at the end of input; or -1 if wait returned 0. */
int keys_next(int (*wait)(void), wchar_t *key);
