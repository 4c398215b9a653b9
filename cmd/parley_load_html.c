/* html: the result as one page that needs nothing else: the table, and two plots drawn as SVG by us, so there is no
 * script in it and no library to vendor. */
#include "cmd/parley_load_report.h"

enum { WIDTH = 900, HEIGHT = 220, LEFT = 70, BOTTOM = 24 };

struct line {
    const char *name, *color;
    double (*get)(const struct sample *s);
};

static double acked(const struct sample *s) { return s->acked; }
static double delivered(const struct sample *s) { return s->delivered; }
static double p50(const struct sample *s) { return (double)s->p50 / 1e3; }
static double p99(const struct sample *s) { return (double)s->p99 / 1e3; }
static double p999(const struct sample *s) { return (double)s->p999 / 1e3; }

static double highest(const struct series *s, const struct line *lines, size_t n)
{
    double top = 0;

    for (size_t k = 0; k < n; k++) {
        for (size_t i = 0; i < s->n; i++)
            top = lines[k].get(&s->v[i]) > top ? lines[k].get(&s->v[i]) : top;
    }
    return top > 0 ? top : 1;
}

static void put_line(struct buf *out, const struct series *s, const struct line *l, double top)
{
    double end = s->n ? (double)s->v[s->n - 1].at_us : 1;

    buf_printf(out, "<polyline fill=\"none\" stroke=\"%s\" stroke-width=\"1.5\" points=\"", l->color);
    for (size_t i = 0; i < s->n; i++)
        buf_printf(out, "%.1f,%.1f ", LEFT + (double)s->v[i].at_us / end * (WIDTH - LEFT),
                   (HEIGHT - BOTTOM) * (1 - l->get(&s->v[i]) / top));
    buf_str(out, STR("\"/>\n"));
}

static void put_plot(struct buf *out, const struct series *s, const char *title, const struct line *lines, size_t n)
{
    double top = highest(s, lines, n) * 1.05, end = s->n ? (double)s->v[s->n - 1].at_us / 1e6 : 0;

    buf_printf(out, "<h2>%s</h2>\n<p>", title);
    for (size_t k = 0; k < n; k++)
        buf_printf(out, "<b style=\"color:%s\">%s</b> ", lines[k].color, lines[k].name);
    buf_printf(out, "</p>\n<svg viewBox=\"0 0 %d %d\" width=\"%d\" height=\"%d\">\n", WIDTH, HEIGHT, WIDTH, HEIGHT);
    for (int i = 0; i <= 4; i++) {
        double y = (HEIGHT - BOTTOM) * (1 - i / 4.0);
        buf_printf(out,
                   "<line x1=\"%d\" x2=\"%d\" y1=\"%.1f\" y2=\"%.1f\" stroke=\"#ddd\"/>"
                   "<text x=\"0\" y=\"%.1f\" font-size=\"11\">%.6g</text>\n",
                   LEFT, WIDTH, y, y, y + (i == 4 ? 11 : 0), top * i / 4);
    }
    for (size_t k = 0; k < n; k++)
        put_line(out, s, &lines[k], top);
    buf_printf(out,
               "<text x=\"%d\" y=\"%d\" font-size=\"11\">0 s</text>"
               "<text x=\"%d\" y=\"%d\" font-size=\"11\" text-anchor=\"end\">%.1f s</text>\n</svg>\n",
               LEFT, HEIGHT - 6, WIDTH, HEIGHT - 6, end);
}

static void put_escaped(struct buf *out, struct str s)
{
    for (size_t i = 0; i < s.len; i++) {
        if (s.p[i] == '<')
            buf_str(out, STR("&lt;"));
        else if (s.p[i] == '&')
            buf_str(out, STR("&amp;"));
        else
            buf_char(out, s.p[i]);
    }
}

void report_html(const struct run *r, struct buf *out)
{
    static const struct line rates[] = {{"acked", "#c60", acked}, {"delivered", "#06c", delivered}};
    static const struct line times[] = {{"p50", "#080", p50}, {"p99", "#c60", p99}, {"p99.9", "#c00", p999}};
    struct buf table = {0};

    report_table(r, &table);
    buf_str(out, STR("<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\"><title>parley-load</title>\n"
                     "<style>body{font:14px sans-serif;margin:2em}pre{font-size:13px}svg{max-width:100%}</style>\n"
                     "<h1>parley-load</h1>\n<pre>"));
    put_escaped(out, buf_get(&table));
    buf_str(out, STR("</pre>\n"));
    put_plot(out, r->series, "Entries a second", rates, 2);
    put_plot(out, r->series, "Delivery, ms", times, 3);
    buf_str(out, STR("</html>\n"));
    buf_deinit(&table);
}
