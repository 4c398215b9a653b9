/* header: what a request's head says, read from libwebsockets' table of headers while it has one. */
#pragma once
#include "base/mem.h"

struct lws;

/* Copies of header values, in the arena; empty when absent or longer than `max`. `token` is a WSI_TOKEN. */
struct str header_get(struct lws *wsi, int token, size_t max, struct arena *a);
/* One that libwebsockets has no token for: "name:" in lower case. */
struct str header_custom(struct lws *wsi, struct str name, size_t max, struct arena *a);
/* What stands behind "Bearer " in Authorization. False when there is something else; *out is empty when there is none.
 */
bool header_bearer(struct lws *wsi, struct arena *a, struct str *out);
/* The query, put together again from the pieces into which libwebsockets decoded it. */
struct str header_query(struct lws *wsi, struct arena *a);
bool header_has_word(struct str list, const char *word); /* in a comma-separated list, ignoring case */
