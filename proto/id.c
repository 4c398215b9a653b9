#include "proto/id.h"

const struct conv_id CONV_NONE = {{255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255}};

static size_t number_text(char *out, char letter, uint64_t v)
{
    uint8_t b[8];

    enc_be64(b, v);
    out[0] = letter;
    return 1 + enc_base32(out + 1, b, sizeof b);
}

static bool number_parse(struct str s, char letter, uint64_t *out)
{
    uint8_t b[8];
    uint64_t v;

    if (s.len != USER_TEXT || s.p[0] != letter || !dec_base32(b, sizeof b, str_from(s, 1)))
        return false;
    v = dec_be64(b);
    if (v == 0)
        return false;
    *out = v;
    return true;
}

size_t user_text(char *out, user_id u) { return number_text(out, 'u', u); }
size_t device_text(char *out, device_id d) { return number_text(out, 'd', d); }
bool user_parse(struct str s, user_id *out) { return number_parse(s, 'u', out); }
bool device_parse(struct str s, device_id *out) { return number_parse(s, 'd', out); }

size_t conv_text(char *out, const struct conv_id *c)
{
    out[0] = 'c';
    return 1 + enc_base32(out + 1, c->b, sizeof c->b);
}

bool conv_parse(struct str s, struct conv_id *out)
{
    return s.len == CONV_TEXT && s.p[0] == 'c' && dec_base32(out->b, sizeof out->b, str_from(s, 1));
}

static const bool id_char[256] = {
    ['0' ... '9'] = true, ['A' ... 'Z'] = true, ['a' ... 'z'] = true, ['.'] = true,
    ['_'] = true,         [':'] = true,         ['-'] = true,
};

static bool is_word(struct str s, size_t max)
{
    if (s.len == 0 || s.len > max)
        return false;
    for (size_t i = 0; i < s.len; i++)
        if (!id_char[(uint8_t)s.p[i]])
            return false;
    return true;
}

bool cid_is_valid(struct str s) { return is_word(s, CID_MAX); }
bool id_is_valid(struct str s) { return is_word(s, ID_TEXT_MAX); }
