"""A drawing as an SVG file: one element per shape, but an outline and its fill are one element, and strokes end to end are one path."""

from __future__ import annotations

import torch
from torch import Tensor

from ..kit import svg
from .drawing import BOX, CURVE, ELLIPSE, FRAME, LINE, PATH, RING, ROUNDED, Drawing, bounds, ends, is_stroke, meets
from .outlines import outline_of, path_data


def hex_colour(colour: Tensor) -> str:
    """#rrggbb of a colour [3] in [0,1]."""
    return "#" + "".join(f"{c:02x}" for c in (colour.clamp(0, 1) * 255).round().int().tolist())


def element(d: Drawing, i: int, **style) -> str:
    """The SVG element of shape `i`; `style` overrides attributes."""
    kind, (a, b, c, e, f, g, width) = int(d.kind[i]), d.shape[i].tolist()
    colour = hex_colour(d.colour[i])
    if kind == PATH:
        return svg.element("path", d=path_data(outline_of(d, i)), fill=colour, **style)
    style = (
        {"fill": colour} | style if kind in (BOX, ELLIPSE, ROUNDED) else {"fill": "none", "stroke": colour, "stroke_width": width} | style
    )
    if kind in (LINE, CURVE) and d.round[i]:
        style["stroke_linecap"] = "round"
    if kind in (BOX, FRAME):
        return svg.element("rect", x=a, y=b, width=c - a, height=e - b, **style)
    if kind == ROUNDED:
        return svg.element("rect", x=a, y=b, width=c - a, height=e - b, rx=f, **style)
    if kind in (ELLIPSE, RING):
        return svg.element("ellipse", cx=a, cy=b, rx=c, ry=e, **style)
    if kind == LINE:
        return svg.element("line", x1=a, y1=b, x2=c, y2=e, **style)
    return svg.element("path", d=["M", a, b, "Q", c, e, f, g], **style)


def cairo(text: str, scale: float = 1) -> Tensor:
    """SVG text that we wrote, drawn by CairoSVG at `scale`: [3,H,W] in [0,1]."""
    return torch.from_numpy(svg.rasterise(text, scale=scale, trusted=True)).permute(2, 0, 1)


def filled_by(d: Drawing, i: int, alone: set[int]) -> int | None:
    """The fill, among those `alone` in their element, that outline i can take over: same numbers, and nothing in between touches
    the outline."""
    want, s = BOX if d.kind[i] == FRAME else ELLIPSE, d.shape[i]
    below = [j for j in range(i) if j in alone and d.kind[j] == want and (d.shape[j, :4] - s[:4]).abs().max() < 2e-3]
    if not below:
        return None
    b, half = bounds(d), s[6] / 2
    for j in range(below[-1] + 1, i):
        within = d.kind[i] == FRAME and bool((b[j, :2] >= s[:2] + half).all() and (b[j, 2:] <= s[2:4] - half).all())
        around = d.kind[j] == FRAME and bool(
            (d.shape[j, :2] + d.shape[j, 6] / 2 <= b[i, :2] + 1).all() and (d.shape[j, 2:4] - d.shape[j, 6] / 2 >= b[i, 2:] - 1).all()
        )
        if meets(b[j], b[i]) and not within and not around:
            return None
    return below[-1]


def follows(d: Drawing, a: int, b: int) -> bool:
    """Whether stroke b is of the ink of stroke a and starts where that ends."""
    same = torch.cat([ends(d)[a, 1] - ends(d)[b, 0], d.colour[a] - d.colour[b], d.shape[a, 6:] - d.shape[b, 6:]]).abs().max() < 1e-4
    return bool(same and is_stroke(d)[[a, b]].all() and d.round[a] == d.round[b])


def path(d: Drawing, strokes: list[int]) -> str:
    """One SVG path through strokes that follow one another."""
    data = ["M", *d.shape[strokes[0], :2].tolist()]
    for i in strokes:
        data += ["L", *d.shape[i, 2:4].tolist()] if d.kind[i] == LINE else ["Q", *d.shape[i, 2:6].tolist()]
    i = strokes[0]
    soft = {"stroke_linecap": "round", "stroke_linejoin": "round"} if d.round[i] else {}
    return svg.element("path", d=data, fill="none", stroke=hex_colour(d.colour[i]), stroke_width=float(d.shape[i, 6]), **soft)


def elements(d: Drawing) -> list[tuple[str, list[int]]]:
    """SVG elements from the bottom up, each with the shapes that it draws."""
    out: list[tuple[str, list[int]]] = []
    for i in range(len(d)):
        text, who = element(d, i), [i]
        if d.kind[i] in (FRAME, RING):
            fill = filled_by(d, i, {w[0] for _, w in out if len(w) == 1})
            if fill is not None:
                text, who = element(d, i, fill=hex_colour(d.colour[fill])), [fill, i]
                out = [e for e in out if e[1] != [fill]]
        elif out and follows(d, out[-1][1][-1], i):
            who = [*out.pop()[1], i]
            text = path(d, who)
        out.append((text, who))
    return sorted(out, key=lambda e: e[1][0])


def to_svg(d: Drawing) -> str:
    """The drawing as SVG text."""
    return svg.document(d.width, d.height, [text for text, _ in elements(d)], hex_colour(d.background))
