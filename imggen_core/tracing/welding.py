"""Welding: strokes whose ends nearly meet become one path. CairoSVG judges the file, as our own rasteriser knows no corners of a path."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from .document import cairo, elements, follows, to_svg
from .drawing import CURVE, Drawing, ends, is_stroke, length, mask_of, outward, pick


def file_error(d: Drawing, image: Tensor) -> float:
    """Squared error of the emitted file, drawn by CairoSVG."""
    return ((cairo(to_svg(d)) - image) ** 2).sum().item()


def path_of(d: Drawing, i: int) -> list[int]:
    """The strokes that are one path with stroke i."""
    low = high = i
    while low > 0 and follows(d, low - 1, low):
        low -= 1
    while high + 1 < len(d) and follows(d, high, high + 1):
        high += 1
    return list(range(low, high + 1))


def crossing(p: Tensor, u: Tensor, q: Tensor, v: Tensor) -> Tensor:
    """Where the line from p along u meets the line from q along v; the middle of p and q if that is far or nowhere."""
    turn, middle = u[0] * v[1] - u[1] * v[0], (p + q) / 2
    if abs(turn) < 0.3:
        return middle
    m = p + u * ((q - p)[0] * v[1] - (q - p)[1] * v[0]) / turn
    return m if (m - middle).norm() < 3 else middle


def welded(d: Drawing, a: int, f: int, b: int, g: int) -> Drawing | None:
    """`d` with end f of stroke a and end g of stroke b made one point, and their paths one; None if those are not free ends."""
    first, second = path_of(d, a), path_of(d, b)
    if b in first or a != first[-1 if f else 0] or b != second[-1 if g else 0]:
        return None
    both = [*(first if f else first[::-1]), *(second[::-1] if g else second)]
    new, e, o = replace(d, shape=d.shape.clone(), colour=d.colour.clone(), round=d.round.clone()), ends(d), outward(d)
    for i, end in ((a, f), (b, g)):
        new.shape[i, [0, 1] if not end else [4, 5] if d.kind[i] == CURVE else [2, 3]] = crossing(e[a, f], o[a, f], e[b, g], o[b, g])
    size = torch.tensor([length(d, i) for i in both])
    new.shape[both, 6] = (d.shape[both, 6] * size).sum() / size.sum()
    new.colour[both] = (d.colour[both] * size[:, None]).sum(0) / size.sum()
    new.round[both] = bool(d.round[both[int(size.argmax())]])
    for i in ([] if f else first) + (second if g else []):  # drawn the other way round
        turned = [4, 5, 2, 3, 0, 1] if d.kind[i] == CURVE else [2, 3, 0, 1, 4, 5]
        new.shape[i, :6] = new.shape[i, turned]
    rest = [i for i in range(len(d)) if i not in both]
    at = sum(i < max(both) for i in rest)
    return pick(new, rest[:at] + both + rest[at:])


def weld(d: Drawing, image: Tensor, slack: float) -> Drawing:
    """Make one path of strokes of one ink whose ends meet, the closest first, where the file's squared error rises by less than `slack`."""
    now, tried = file_error(d, image), set()
    while True:
        e, strokes, options = ends(d), is_stroke(d).nonzero()[:, 0].tolist(), []
        for a, b in [(a, b) for a in strokes for b in strokes if a < b]:
            if (d.colour[a] - d.colour[b]).abs().max() < 0.06 and (d.shape[a, 6] - d.shape[b, 6]).abs() < 0.25:
                gaps = [(float((e[a, f] - e[b, g]).norm()), a, f, b, g) for f in (0, 1) for g in (0, 1)]
                options += [
                    (*gap, tuple(torch.cat([e[a, gap[2]], e[b, gap[4]]]).tolist())) for gap in gaps if 0 < gap[0] < 1 + 0.75 * d.shape[a, 6]
                ]
        options = [option for option in sorted(options) if option[-1] not in tried]
        if not options:
            return d
        _, a, f, b, g, name = options[0]
        tried.add(name)
        new = welded(d, a, f, b, g)
        if new is not None and (error := file_error(new, image)) < now + slack:
            d, now = new, min(error, now)


def drop_invisible(d: Drawing, image: Tensor, visible: Tensor | None = None) -> Drawing:
    """Leave out elements without which CairoSVG draws the very same picture; shapes in the mask `visible` [N] are not looked at."""
    visible = torch.zeros(len(d), dtype=torch.bool) if visible is None else visible
    while True:
        whole, dropped = cairo(to_svg(d)), False
        for _, who in reversed(elements(d)):  # from the top down, the numbers of what is below stay
            if not visible[who].any():
                less = ~mask_of(len(d), who)
                if torch.equal(cairo(to_svg(pick(d, less))), whole):
                    d, visible, dropped = pick(d, less), visible[less], True
        if not dropped:
            return d
