/* terminal.h: a line that is being typed, and messages above it; by libedit (editline(3)).
 *
 * terminal_line returns the next line typed. While it waits for a key it calls wait, in which
 * messages may come: terminal_print takes the typed line off the screen and prints, terminal_flush
 * puts it back. Libedit's own way (EL_UNBUFFERED, or rl_callback_read_char) waits in read(2) after
 * an Esc, and no message would come until the next key. GNU readline could do all this too; its
 * license would become the program's. */
#pragma once
#include <stddef.h>

/* Returns whether there is a keyboard, and a screen on which the cursor can be moved. */
int terminal_can_edit(void);

/* Returns how many columns the terminal has; 80 if that is not known. */
size_t terminal_columns(void);

/* Starts the line editor; ends the program if it cannot. prompt returns what stands before a line.
 * wait waits until standard input can be read, and returns 1; or 0 if no more is to be read.
 * complete, for the tab key, returns what to insert after text (size bytes, all before the cursor);
 * "" if there is nothing. At the end of the program at the latest, the terminal gets its settings
 * back. */
void terminal_open(const char *(*prompt)(void), int (*wait)(void),
                   const char *(*complete)(const char *text, size_t size));

/* Gives the terminal its settings back. */
void terminal_close(void);

/* Returns the next line, and its size without its newline in *size, and takes it off the screen;
 * NULL at the end. It is valid until the next call. */
const char *terminal_line(size_t *size);

/* Prints text above the line that is being typed; or as it is, if there is none. */
void terminal_print(const char *text);

/* Puts the typed line back after terminal_print. Ends the program if stdout cannot be written. */
void terminal_flush(void);

/* Suspends the program, or draws the line anew, if SIGTSTP or SIGWINCH has come. wait calls it. */
void terminal_handle_signals(void);
