/* scan: a strict walk over JSON text that keeps what a request needs: where each member of the object stands.
 *
 * It knows the whole grammar (docs/protocol.md, "Transport"): UTF-8, escapes, surrogates, the range of integers, depth.
 * What it does not decide it marks as `unusual`, and jansson decides then: keys with escapes, an object with more than
 * SCAN_MEMBERS members, a key that is there twice, a real number that may be too large for a double. So a text is
 * acceptable when the scanner accepts it and, where it is unusual, jansson too. Nothing is allocated; all is borrowed
 * from the text. Internal to proto/. */
#pragma once
#include "base/str.h"

enum { SCAN_DEPTH = 32, SCAN_MEMBERS = 16 };

enum scan_kind {
    SCAN_STRING,  /* without escapes: what stands between the quotes is the text */
    SCAN_ESCAPED, /* a string with escapes */
    SCAN_INT,     /* within int64 */
    SCAN_REAL,
    SCAN_TRUE,
    SCAN_FALSE,
    SCAN_NULL,
    SCAN_OBJECT,
    SCAN_ARRAY,
};
struct member {
    struct str key;   /* as it stands between the quotes */
    struct str value; /* as it stands, with quotes or brackets */
    enum scan_kind kind;
};
struct members {
    size_t n;
    struct member v[SCAN_MEMBERS];
};
struct scan {
    const char *p, *end; /* after a fault: where it is */
    unsigned depth;
    bool unusual;
    enum scan_kind kind;    /* of the text as a whole */
    struct members top;     /* when it is an object */
    struct members content; /* of the object that is its member `content` */
};

/* False: not JSON by our grammar. */
bool scan_text(struct scan *s, struct str text);
/* The first complete member `key` of the object that `text` begins with, whatever follows it. */
bool scan_find(struct str text, const char *key, struct member *out);
/* The member of a usual object, or NULL. */
const struct member *members_get(const struct members *m, const char *key, size_t len);
/* The text between the quotes of a string. */
static inline struct str scan_inner(struct str value) { return (struct str){value.p + 1, value.len - 2}; }
/* The texts of an array that holds nothing but strings without escapes, at most `max`; false for any other. */
bool scan_strings(struct str array, struct str *items, size_t max, size_t *n);
