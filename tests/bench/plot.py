"""One HTML page of line plots, drawn as SVG, with no script and nothing from elsewhere: as parley-load's --html."""
import html
import math

WIDTH, HEIGHT, LEFT, BOTTOM = 900, 240, 80, 24
COLORS = ("#06c", "#c60", "#080", "#c00", "#808", "#444")


def short(v):
    return f"{v:,.0f}" if v >= 1000 else f"{v:.3g}"


def plot(title, lines, x_unit, is_log=False):
    """lines: {name: [(x, y), …]}. The y axis begins at 0."""
    points = [p for line in lines.values() for p in line]
    if not points:
        return ""
    place = (lambda x: math.log10(max(x, 1))) if is_log else (lambda x: x)
    low, high = place(min(x for x, _ in points)), place(max(x for x, _ in points))
    top = max(max(y for _, y in points), 1e-9) * 1.05
    at = lambda x, y: (LEFT + (place(x) - low) / ((high - low) or 1) * (WIDTH - LEFT - 10), (HEIGHT - BOTTOM) * (1 - y / top))
    out = [f"<h2>{html.escape(title)}</h2><p>"]
    for color, name in zip(COLORS, lines):
        out.append(f'<b style="color:{color}">{html.escape(name)}</b> ')
    out.append(f'</p><svg viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}">')
    for i in range(5):
        y = (HEIGHT - BOTTOM) * (1 - i / 4)
        out.append(f'<line x1="{LEFT}" x2="{WIDTH}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>'
                   f'<text x="0" y="{y + (11 if i == 4 else 0):.1f}" font-size="11">{short(top * i / 4)}</text>')
    for color, line in zip(COLORS, lines.values()):
        spots = [at(x, y) for x, y in line]
        out.append(f'<polyline fill="none" stroke="{color}" stroke-width="1.5" points="'
                   + " ".join(f"{x:.1f},{y:.1f}" for x, y in spots) + '"/>')
        if len(spots) < 40:
            out += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{color}"/>' for x, y in spots]
    for x, anchor in ((min(x for x, _ in points), "start"), (max(x for x, _ in points), "end")):
        out.append(f'<text x="{at(x, 0)[0]:.1f}" y="{HEIGHT - 6}" font-size="11" text-anchor="{anchor}">{short(x)} {x_unit}</text>')
    return "".join(out) + "</svg>\n"


def page(title, text, *plots):
    return (f'<!doctype html>\n<html lang="en"><meta charset="utf-8"><title>{html.escape(title)}</title>\n'
            "<style>body{font:14px sans-serif;margin:2em}pre{font-size:13px}svg{max-width:100%}</style>\n"
            f"<h1>{html.escape(title)}</h1>\n<pre>{html.escape(text)}</pre>\n{''.join(plots)}</html>\n")
