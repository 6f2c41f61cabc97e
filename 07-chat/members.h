/* members.h: who comes, who goes, and under which name. */
#pragma once
#include "room.h"

/* Takes over a new connection from an address (pace_address_key). m is unnamed then; or, if the
 * room is full, outside, and owed the reason. */
void members_arrive(struct room *r, struct member *m, uint64_t address);

/* Lets m come inside under a name: it is owed the welcome and the history, the others a notice. A
 * name that it cannot have is refused; after the third one m is outside. */
void members_enter(struct room *r, struct member *m, const char *name);

/* Gives m, who is inside, another name, and notifies everyone; or tells m why it cannot have it. */
void members_rename(struct room *r, struct member *m, const char *name);

/* Lets m leave: it gets only what it is owed already, and is not heard any more. If it was inside,
 * the others are told, with the server's reason unless that is NULL: "* ann left (too slow)". */
void members_leave(struct room *r, struct member *m, const char *reason);

/* The same, with the member's own words unless they are "": "* ann left: see you". */
void members_quit(struct room *r, struct member *m, const char *words);

/* The connection is closed: lets m leave, and frees what it holds. It may still be on the pending
 * list. */
void members_forget(struct room *r, struct member *m, const char *reason);

/* Returns the member inside that has this name, in whatever case; or NULL. */
struct member *members_find(const struct room *r, const char *name);

/* Returns why m cannot have this name (name.h; "taken"); NULL if it can. */
const char *members_name_problem(const struct room *r, const struct member *m, const char *name);

/* Tells to the names of all who are inside, in order of joining: "…ann, bob, 张三". */
void members_tell_names(struct room *r, struct member *to, const char *before);
