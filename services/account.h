/* account: usernames, passwords, tokens: what a sign-up and a login are checked by.
 *
 * Thread: pure functions. */
#pragma once
#include "proto/record.h"
#include "storage/placement.h"

enum { USERNAME_MIN = 3, USERNAME_MAX = 32, PASSWORD_MIN = 8, PASSWORD_MAX = 256, TOKEN_BYTES = 32, TOKEN_TEXT = 43 };

/* Folds a username to lower case into out. False: not 3 to 32 of a-z 0-9 . _ - (after folding). */
bool account_fold(struct str name, char out[USERNAME_MAX], struct str *folded);
/* What the tables keep of a token: a keyed hash. False: no token has this shape. */
bool account_token_hash(const struct data_keys *k, struct str token, uint8_t out[32]);
/* A new token of 32 random bytes; out gets TOKEN_TEXT characters. */
void account_token_new(struct env *env, const struct data_keys *k, char out[TOKEN_TEXT], uint8_t hash[32]);
