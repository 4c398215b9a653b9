#include "cmd/parley_load_script.h"
#include "base/hash.h"

enum { PLACES = 64 };
#define HEAD "{\"type\":\"text\",\"text\":\""
#define TAIL "\"}"
static const char HEX[] = "0123456789abcdef";

void script_init(struct script *s, uint32_t run, uint64_t seed, size_t text_bytes)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz012345";

    for (size_t i = 0; i < SCRIPT_RUN; i++)
        s->run[i] = HEX[run >> (28 - 4 * i) & 15];
    s->run[SCRIPT_RUN] = '.';
    s->fill = text_bytes - SCRIPT_START;
    s->pad = mem_alloc(s->fill + PLACES);
    for (size_t i = 0; i < s->fill + PLACES; i++)
        s->pad[i] = letters[hash_u64(seed + i * 0x9e3779b97f4a7c15u) & 31];
}

void script_deinit(struct script *s)
{
    mem_free(s->pad);
    *s = (struct script){0};
}

size_t script_content_max(const struct script *s) { return sizeof HEAD + sizeof TAIL + SCRIPT_START + s->fill; }

static const char *pad_of(const struct script *s, uint32_t sender, uint32_t counter)
{
    return s->pad + (sender * 7 + counter) % PLACES;
}

static char *put_u32(char *p, uint32_t v)
{
    char digits[10];
    size_t at = sizeof digits;

    do
        digits[--at] = (char)('0' + v % 10);
    while (v /= 10);
    memcpy(p, digits + at, sizeof digits - at);
    return p + (sizeof digits - at);
}

size_t script_cid(const struct script *s, char *out, uint32_t sender, uint32_t counter)
{
    char *p = out;

    memcpy(p, s->run, sizeof s->run);
    p = put_u32(p + sizeof s->run, sender);
    *p++ = '.';
    p = put_u32(p, counter);
    return (size_t)(p - out);
}

static bool u32_read(struct str s, uint32_t *out)
{
    uint64_t v = 0;

    if (s.len == 0 || s.len > 10)
        return false;
    for (size_t i = 0; i < s.len; i++) {
        if (s.p[i] < '0' || s.p[i] > '9')
            return false;
        v = v * 10 + (uint64_t)(s.p[i] - '0');
    }
    *out = (uint32_t)v;
    return v <= UINT32_MAX;
}

bool script_cid_read(const struct script *s, struct str cid, uint32_t *sender, uint32_t *counter)
{
    struct str a, b;

    return str_starts(cid, str_of(s->run, sizeof s->run)) && str_cut(str_from(cid, sizeof s->run), '.', &a, &b) &&
           u32_read(a, sender) && u32_read(b, counter);
}

size_t script_content(const struct script *s, char *out, uint32_t sender, uint32_t counter, uint64_t start_us)
{
    char *p = out;

    memcpy(p, HEAD, sizeof HEAD - 1);
    p += sizeof HEAD - 1;
    for (int shift = 60; shift >= 0; shift -= 4)
        *p++ = HEX[start_us >> shift & 15];
    memcpy(p, pad_of(s, sender, counter), s->fill);
    p += s->fill;
    memcpy(p, TAIL, sizeof TAIL - 1);
    return (size_t)(p - out) + sizeof TAIL - 1;
}

bool script_content_read(const struct script *s, struct str content, uint32_t sender, uint32_t counter,
                         uint64_t *start_us)
{
    const char *p = content.p;
    uint64_t start = 0;

    if (content.len != sizeof HEAD - 1 + SCRIPT_START + s->fill + sizeof TAIL - 1 ||
        memcmp(p, HEAD, sizeof HEAD - 1) != 0)
        return false;
    p += sizeof HEAD - 1;
    for (int i = 0; i < SCRIPT_START; i++, p++) {
        bool is_digit = *p >= '0' && *p <= '9';
        if (!is_digit && (*p < 'a' || *p > 'f'))
            return false;
        start = start << 4 | (uint64_t)(is_digit ? *p - '0' : *p - 'a' + 10);
    }
    *start_us = start;
    return memcmp(p, pad_of(s, sender, counter), s->fill) == 0 && memcmp(p + s->fill, TAIL, sizeof TAIL - 1) == 0;
}
