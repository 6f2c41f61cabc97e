/* name.h: what a name may be. */
#pragma once

enum { NAME_LIMIT = 32 }; /* bytes */

/* Returns why name, a string of clean text (text.h), cannot be a name; NULL if it can. A name has
 * letters and digits, so that nobody can take it for a notice of the server, for two names in a
 * list, or for nothing at all. (Letters that look alike are accepted: the list of them is long.)
 * Call text_set_locale before. */
const char *name_problem(const char *name);
