#include "cmd/parley_load_msg.h"

static const char MAGIC[4] = {'P', 'L', 'W', 'K'};

size_t msg_begin(struct buf *out, enum msg_type type)
{
    size_t mark = out->len;

    enc_add_u32(out, 0);
    enc_add_u8(out, (uint8_t)type);
    return mark;
}

void msg_end(struct buf *out, size_t mark) { enc_u32(out->p + mark, (uint32_t)(out->len - mark - MSG_HEAD)); }

static size_t longest(unsigned type, bool is_known)
{
    if (is_known && type == MSG_JOB)
        return MSG_JOB_MAX;
    if (is_known && type == MSG_RESULT)
        return MSG_RESULT_MAX;
    if (is_known && type == MSG_TOPS)
        return MSG_TOPS_MAX;
    return MSG_SMALL_MAX;
}

enum msg_state msg_parse(struct str in, bool is_known, struct msg *out)
{
    if (in.len < MSG_HEAD)
        return MSG_PART;
    size_t len = dec_u32(in.p);
    unsigned type = (uint8_t)in.p[4];
    if (type == 0 || type >= MSG_TYPES || len > longest(type, is_known))
        return MSG_BAD;
    if (in.len < MSG_HEAD + len)
        return MSG_PART;
    *out = (struct msg){(enum msg_type)type, str_of(in.p + MSG_HEAD, len), MSG_HEAD + len};
    return MSG_WHOLE;
}

void hello_encode(const struct hello *h, struct buf *out)
{
    buf_add(out, MAGIC, sizeof MAGIC);
    enc_add_u32(out, h->version);
    enc_add_u8(out, h->has_secret);
    buf_add(out, h->nonce, sizeof h->nonce);
}

enum err hello_decode(struct str body, struct hello *h)
{
    struct dec d = dec_of(body);
    struct str magic = dec_get_bytes(&d, sizeof MAGIC), nonce;

    h->version = dec_get_u32(&d);
    if (!dec_ok(&d) || !str_eq(magic, str_of(MAGIC, sizeof MAGIC)))
        return ERR_INVALID;
    if (h->version != MSG_VERSION)
        return ERR_OK;
    h->has_secret = dec_get_u8(&d) != 0;
    nonce = dec_get_bytes(&d, sizeof h->nonce);
    if (!dec_done(&d))
        return ERR_INVALID;
    memcpy(h->nonce, nonce.p, sizeof h->nonce);
    return ERR_OK;
}

void job_encode(const struct job *j, struct buf *out)
{
    enc_add_u32(out, j->run);
    enc_add_u32(out, j->base);
    enc_add_field(out, j->options);
    enc_add_field(out, j->users);
    enc_add_u32(out, j->workers);
    enc_add_u32(out, j->at);
    enc_add_field(out, j->ids);
}

/* Each ends in NUL, and there are not too many. */
static bool args_split(struct job *j)
{
    struct str rest = j->options, arg;

    for (j->n_args = 0; rest.len; j->n_args++) {
        if (j->n_args == MSG_ARGS_MAX || !str_starts(rest, STR("--")))
            return false;
        const char *at = rest.p;
        if (!str_cut(rest, '\0', &arg, &rest))
            return false;
        j->args[j->n_args] = at;
    }
    return true;
}

enum err job_decode(struct str body, struct job *j)
{
    struct dec d = dec_of(body);

    *j = (struct job){0};
    j->run = dec_get_u32(&d);
    j->base = dec_get_u32(&d);
    j->options = dec_get_field(&d);
    j->users = dec_get_field(&d);
    j->workers = dec_get_u32(&d);
    j->at = dec_get_u32(&d);
    j->ids = dec_get_field(&d);
    return dec_done(&d) && args_split(j) ? ERR_OK : ERR_INVALID;
}
