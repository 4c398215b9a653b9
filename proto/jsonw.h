/* jsonw: writes JSON text straight into a buf. Commas are its business; nesting is the caller's.
 *
 *   jsonw_open(b, '{'); jsonw_key(b, "seq"); jsonw_int(b, 7); jsonw_close(b, '}');
 *
 * It is not jansson, because entries carry `content` byte for byte as the sender wrote it, and a tree would have to
 * parse it again; and because printing an entry is on the path of every message. */
#pragma once
#include "base/buf.h"
#include "proto/id.h"

void jsonw_open(struct buf *b, char bracket);   /* '{' or '[', with a comma before it where one is due */
void jsonw_close(struct buf *b, char bracket);  /* '}' or ']' */
void jsonw_key(struct buf *b, const char *key); /* a plain ASCII key */
void jsonw_int(struct buf *b, int64_t v);
void jsonw_bool(struct buf *b, bool v);
void jsonw_str(struct buf *b, struct str s); /* escapes; s is UTF-8 */
void jsonw_raw(struct buf *b, struct str json);
void jsonw_user(struct buf *b, user_id u);
void jsonw_device(struct buf *b, device_id d);
void jsonw_conv(struct buf *b, const struct conv_id *c);
#define jsonw_key_int(b, k, v) (jsonw_key(b, k), jsonw_int(b, v))
#define jsonw_key_str(b, k, v) (jsonw_key(b, k), jsonw_str(b, v))
#define jsonw_key_bool(b, k, v) (jsonw_key(b, k), jsonw_bool(b, v))
#define jsonw_key_user(b, k, v) (jsonw_key(b, k), jsonw_user(b, v))
#define jsonw_key_conv(b, k, v) (jsonw_key(b, k), jsonw_conv(b, v))
