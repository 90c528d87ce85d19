"""Edits: sets of shapes to drop and what to put in their place. Each function here looks at a drawing and yields those worth a try.

Nothing is judged here: the lesson puts an edit in place, refines it, and keeps it or not.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch

from .curves import angle, fit_curve, fit_ellipse, fit_line
from .drawing import BOX, CURVE, ELLIPSE, FRAME, LINE, RING, Drawing, bounds, ends, insert, is_stroke, length, one, outward, pick, points_on


@dataclass
class Edit:
    """Shapes `drop` of a drawing, what takes their place (may be nothing), and where in the order (counted in the old drawing)."""

    drop: list[int]
    new: Drawing
    at: int

    def name_in(self, d: Drawing) -> tuple:
        """What tells it from other edits of `d` and of later drawings: the numbers of what goes, to ¼ pixel, and of what comes."""
        rounded = lambda s: tuple(s.round().flatten().tolist())
        place = self.at < len(d) and self.at
        return rounded(d.shape[sorted(self.drop)] * 4), rounded(self.new.shape), tuple(self.new.round.tolist()), place


def extended(d: Drawing, i: int, p: np.ndarray) -> np.ndarray:
    """The numbers of stroke i, carried on along its own line or parabola to the point nearest p; never shorter.

    The blossom B(u, v) of a quadratic is symmetric, and linear in u and in v; B(a,a), B(a,b), B(b,b) are the control points of the piece
    from a to b, outside of [0, 1] as well. (Ramshaw 1989.)
    """
    s = d.shape[i].numpy().astype(float)
    if d.kind[i] == LINE:
        a, v = s[0:2], s[2:4] - s[0:2]
        t = (p - a) @ v / (v @ v + 1e-9)
        return np.concatenate([a + min(t, 0) * v, a + max(t, 1) * v])
    p0, p1, p2 = s[0:2], s[2:4], s[4:6]
    blossom = lambda u, v: (1 - u) * (1 - v) * p0 + (u * (1 - v) + v * (1 - u)) * p1 + u * v * p2
    ts = np.linspace(-2.5, 3.5, 601)
    t = ts[np.linalg.norm(np.array([blossom(t, t) for t in ts]) - p, axis=1).argmin()]
    return np.concatenate([blossom(u, v) for u, v in ((min(t, 0), min(t, 0)), (min(t, 0), max(t, 1)), (max(t, 1), max(t, 1)))])


def alike(d: Drawing, i: int, j: int, slack: float = 0.12) -> bool:
    """Whether two outlines could be of one ink and width."""
    wider = float(torch.maximum(d.shape[i, 6], d.shape[j, 6]))
    return bool((d.colour[i] - d.colour[j]).abs().max() < slack and (d.shape[i, 6] - d.shape[j, 6]).abs() < 1.2 + 0.3 * wider)


def continuations(d: Drawing, i: int, j: int, f: int, g: int):
    """Numbers for one stroke in the place of i and j, joined at end f of i and end g of j: [(cost, kind, numbers)]."""
    e, o = ends(d), outward(d)
    gap, turn = float((e[i, f] - e[j, g]).norm()), angle(-o[i, f].numpy(), o[j, g].numpy())
    a, b = points_on(d, i), points_on(d, j)
    both = np.concatenate([a[:: 1 if f else -1], b[:: -1 if g else 1]])
    near = gap < 4 + float(torch.maximum(d.shape[i, 6], d.shape[j, 6]))
    if near and turn < 2.9:
        for k, other, far in ((i, b, e[j, 1 - g]), (j, a, e[i, 1 - f])):
            if d.kind[k] == CURVE or turn < 0.9:
                s = extended(d, k, far.numpy())
                reach = np.linalg.norm(points_on(one(d, int(d.kind[k]), s), 0, 64)[:, None] - other[None], axis=2).min(0).max()
                if reach < 4:
                    yield gap + 5 * min(turn, 1) + reach, int(d.kind[k]), s
    across = (e[j, g] - e[i, f]).numpy() / (gap + 1e-9)
    aimed = turn < 1.2 and max(angle(o[i, f].numpy(), across), angle(o[j, g].numpy(), -across)) < 0.6  # the middle may be under other ink
    if near and turn < 0.9 or aimed:
        s, off = fit_curve(both, 6)
        if off.max() < (3 if near else 1.5):
            yield min(gap, 10) + 5 * turn + off.max(), CURVE, s
    s, off = fit_line(both)
    if off.max() < 1.5 and (turn < 0.12 or gap < 8 and turn < 0.3 or d.kind[i] == d.kind[j] == LINE and off.max() < 1.2):
        yield 0.05 * gap + 5 * min(turn, 0.3) + off.max() - 1, LINE, s


def above_fills(d: Drawing, new: Drawing) -> int:
    """The place in the order just above the fills that hold a shape whole: what was painted over in the middle belongs beneath."""
    mine, theirs = bounds(new)[0], bounds(d)
    holds = ((d.kind == BOX) | (d.kind == ELLIPSE)) & (theirs[:, :2] <= mine[:2] + 3).all(1) & (theirs[:, 2:] >= mine[2:] - 3).all(1)
    return int(holds.nonzero()[-1]) + 1 if holds.any() else 0


def joined_strokes(d: Drawing):
    """Edits: two strokes that are one."""
    strokes, found = is_stroke(d).nonzero()[:, 0].tolist(), []
    for n, i in enumerate(strokes):
        for j in strokes[n + 1 :]:
            if alike(d, i, j):
                longer = max(i, j, key=lambda k: length(d, k))
                for f, g in ((0, 0), (0, 1), (1, 0), (1, 1)):
                    for cost, kind, numbers in continuations(d, i, j, f, g):
                        found.append((cost, i, j, one(d, kind, numbers, float(d.shape[longer, 6]), d.colour[longer], d.round[longer])))
    for _, i, j, new in sorted(found, key=lambda c: c[0]):
        for at in sorted({max(i, j), min(i, j), above_fills(d, new)}, reverse=True) if new.kind[0] == LINE else [max(i, j)]:
            yield Edit([i, j], new, at)


def straightened(d: Drawing):
    """Edits: a curve that is a line."""
    for i in (d.kind == CURVE).nonzero()[:, 0].tolist():
        s, off = fit_line(points_on(d, i))
        if off.max() < 1.2:
            yield Edit([i], one(d, LINE, s, float(d.shape[i, 6]), d.colour[i], d.round[i]), i)


def cornered(d: Drawing):
    """Edits: a curve that is two lines which meet; at the apex, further out, or to one side."""
    for i in (d.kind == CURVE).nonzero()[:, 0].tolist():
        p, control = points_on(d, i, 33), d.shape[i, 2:4].numpy()
        if fit_line(p)[1].max() > 1:
            for corner in (p[16], (p[16] + control) / 2, p[11], p[21]):
                halves = [
                    one(d, LINE, [*a, *b], float(d.shape[i, 6]), d.colour[i], d.round[i]) for a, b in ((p[0], corner), (corner, p[-1]))
                ]
                yield Edit([i], insert(*halves), i)


def framed(d: Drawing):
    """Edits: two level and two upright lines that are a frame."""
    s, lines = d.shape, (d.kind == LINE).nonzero()[:, 0].tolist()
    level = [i for i in lines if abs(s[i, 1] - s[i, 3]) < 1.2]
    upright = [i for i in lines if abs(s[i, 0] - s[i, 2]) < 1.2]
    span = lambda i, axis: sorted(s[i, [axis, axis + 2]].tolist())
    close = lambda a, b: all(abs(p - q) < 5 for p, q in zip(a, b, strict=True))
    for n, i in enumerate(level):
        for j in level[n + 1 :]:
            top, bottom = sorted((float(s[i, [1, 3]].mean()), float(s[j, [1, 3]].mean())))
            if not (alike(d, i, j, 0.3) and close(span(i, 0), span(j, 0)) and bottom - top > 4):
                continue
            at = lambda x: [k for k in upright if abs(s[k, [0, 2]].mean() - x) < 4 and close(span(k, 1), (top, bottom))]  # noqa: B023
            for left, right in [(a, b) for a in at(span(i, 0)[0]) for b in at(span(i, 0)[1]) if a != b]:
                four = [i, j, left, right]
                box = [s[left, [0, 2]].mean(), top, s[right, [0, 2]].mean(), bottom]
                yield Edit(four, one(d, FRAME, box, float(s[four, 6].median()), d.colour[four].median(0).values), max(four))


def outlined_once(d: Drawing):
    """Edits: two frames, one just inside the other, that are the two halves of one outline (with the fill between them, if there is one).

    An outline that runs along a pixel boundary covers half a pixel on each side, often on two grounds: regions see two pale frames.
    """
    frames = (d.kind == FRAME).nonzero()[:, 0].tolist()
    for n, i in enumerate(frames):
        for j in frames[n + 1 :]:
            middle = (d.shape[i, :4] + d.shape[j, :4]) / 2
            if (d.shape[i, :4] - d.shape[j, :4]).abs().max() > 1.8:
                continue
            fill = [k for k in range(len(d)) if d.kind[k] == BOX and (d.shape[k, :4] - middle).abs().max() < 1.8][:1]
            colour, width = (d.colour[i] + d.colour[j]) / 2, float(d.shape[[i, j], 6].mean())
            for strength in (1, 2):  # either as strong and twice as wide, or twice as strong
                new = one(d, FRAME, middle, 2 * width / strength, (d.background + strength * (colour - d.background)).clamp(0, 1))
                new = insert(one(d, BOX, middle, 0, d.colour[fill[0]]), new) if fill else new
                yield Edit([i, j, *fill], new, min([i, j, *fill]))


def united_boxes(d: Drawing):
    """Edits: two boxes of one colour, in line, that are one."""
    boxes = (d.kind == BOX).nonzero()[:, 0].tolist()
    for n, i in enumerate(boxes):
        for j in boxes[n + 1 :]:
            apart = (d.shape[i, :4] - d.shape[j, :4]).abs()
            if (d.colour[i] - d.colour[j]).abs().max() < 0.05 and (apart[[1, 3]].max() < 1.5 or apart[[0, 2]].max() < 1.5):
                low, high = torch.minimum(d.shape[i], d.shape[j]), torch.maximum(d.shape[i], d.shape[j])
                new = one(d, BOX, [*low[:2], *high[2:4]], 0, d.colour[i])
                for at in {min(i, j), above_fills(d, new)}:
                    yield Edit([i, j], new, at)


def ringed(d: Drawing):
    """Edits: strokes that touch one another and lie on one ellipse."""
    strokes, e = is_stroke(d).nonzero()[:, 0].tolist(), ends(d)
    for i in strokes:
        group, grown, fitted = [i], True, None
        while grown:
            grown = False
            for j in strokes:
                if j in group or not alike(d, i, j) or torch.cdist(e[group].flatten(0, 1), e[j]).min() > 5 + d.shape[i, 6]:
                    continue
                ellipse = fit_ellipse(np.concatenate([points_on(d, k) for k in [*group, j]]))
                if ellipse is not None and ellipse[1].max() < 1.5 and ellipse[0][2:].min() > 1.5:
                    group, grown, fitted = [*group, j], True, ellipse[0]
        if fitted is not None:
            yield Edit(group, one(d, RING, fitted, float(d.shape[group, 6].median()), d.colour[i]), max(group))


def rounded_fills(d: Drawing):
    """Edits: a box under a ring that fills the ring."""
    for i in (d.kind == RING).nonzero()[:, 0].tolist():
        for j in (d.kind == BOX).nonzero()[:, 0].tolist():
            centre, half = (d.shape[j, 0:2] + d.shape[j, 2:4]) / 2, (d.shape[j, 2:4] - d.shape[j, 0:2]) / 2
            if (centre - d.shape[i, 0:2]).abs().max() < 3 and ((half - d.shape[i, 2:4]).abs() < 0.3 * d.shape[i, 2:4] + 1).all():
                yield Edit([j], one(d, ELLIPSE, d.shape[i, :4], 0, d.colour[j]), min(i, j))


def cleared(d: Drawing):
    """Edits: a stroke without the short ones along it that patch it up (a local minimum often looks so), with either kind of cap."""
    strokes = is_stroke(d).nonzero()[:, 0].tolist()
    for i in strokes:
        way, short = torch.from_numpy(points_on(d, i, 48)).float(), 0.4 * length(d, i)
        beside = lambda j: torch.cdist(torch.from_numpy(points_on(d, j, 3)).float(), way).amin(1).max() < d.shape[i, 6] + 4  # noqa: B023
        patches = [j for j in strokes if j != i and length(d, j) < short and beside(j)]
        for rounded in (False, True) if patches else ():
            yield Edit([i, *patches], replace(pick(d, [i]), round=torch.tensor([rounded])), i)


def other_caps(d: Drawing):
    """Edits: a stroke with the other kind of cap, its ends moved by half a width so that it covers the same."""
    for i in is_stroke(d).nonzero()[:, 0].tolist():
        new = pick(d, [i])
        new = replace(new, shape=new.shape.clone(), round=~new.round)
        by = outward(d)[i] * d.shape[i, 6] / 2 * (1 if d.round[i] else -1)
        last = slice(4, 6) if d.kind[i] == CURVE else slice(2, 4)
        new.shape[0, 0:2] += by[0]
        new.shape[0, last] += by[1]
        yield Edit([i], new, i)


MERGES = (straightened, framed, outlined_once, joined_strokes, ringed, united_boxes, rounded_fills, cleared)
