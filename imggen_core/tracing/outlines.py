"""Filled paths: outlines of lines and quadratic curves, how much of each pixel they cover, and how that changes with their points.

An outline is what a TrueType letter is: closed loops of points. Through some (knots) it goes; each of the others pulls it, as the control
point of a quadratic curve. Between two that pull, the curve goes through the middle, smoothly, and nobody has to say so.

The area that an outline encloses is a sum over its edge (Green's theorem), so one walk along the edge tells the coverage of every pixel.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import scipy.sparse.linalg
import torch
from scipy import sparse
from torch import Tensor

from .drawing import PATH, Drawing, one
from .tiles import TILE, Target


@dataclass
class Outline:
    """`points` [K,2] in pixels, `loop` [K] (whole numbers, in order), `knot` [K] bool: the outline goes through the point."""

    points: np.ndarray
    loop: np.ndarray
    knot: np.ndarray

    def neighbours(self) -> tuple[np.ndarray, np.ndarray]:
        """The index of the point before and after each, around its loop [K]."""
        n = np.arange(len(self.loop))
        first = np.r_[True, self.loop[1:] != self.loop[:-1]]
        last = np.r_[first[1:], True]
        start = np.maximum.accumulate(np.where(first, n, 0))
        end = np.minimum.accumulate(np.where(last, n, len(n))[::-1])[::-1]
        return np.where(first, end, n - 1), np.where(last, start, n + 1)


def outline_of(points: Tensor, knots: Tensor) -> Outline:
    """The outline that the points and knots of one path of a drawing are."""
    return Outline(points.double().numpy(), knots[:, 1].numpy(), knots[:, 2].numpy().astype(bool))


def as_shape(paper: Drawing, o: Outline, colour: Tensor) -> Drawing:
    """A drawing with this one path."""
    new = one(paper, PATH, [*o.points.min(0), *o.points.max(0)], 0, colour)
    new.points = torch.from_numpy(o.points).float()
    new.knots = torch.from_numpy(np.stack([np.zeros_like(o.loop), o.loop, o.knot.astype(o.loop.dtype)], 1)).long()
    return new


@dataclass
class Edge:
    """An outline cut into pieces that each lie within one pixel: that pixel [E,2], the way that the piece goes [E,2], where its middle is
    from the pixel's left [E], and the three points that move it [E,3] with their weights [E,3]."""

    pixel: np.ndarray
    way: np.ndarray
    left: np.ndarray
    points: np.ndarray
    weights: np.ndarray


def edge_of(o: Outline) -> Edge:
    """Walk along an outline: a piece for each point that a loop is pulled by, or line between two knots; steps of less than a pixel."""
    before, after = o.neighbours()
    # A curve for each point that pulls; a line, which is pulled by its own end, for each knot with a knot behind it.
    mine = np.flatnonzero(~o.knot | o.knot[after])
    a, b, c = before[mine], mine, after[mine]
    line = o.knot[b]
    half = lambda other: np.where(line, 0, np.where(o.knot[other], 1.0, 0.5))
    ends = half(a), half(c)
    points = np.stack([np.where(line, b, a), b, c], 1)
    p = o.points[points]
    start = np.where(line[:, None], p[:, 1], ends[0][:, None] * p[:, 0] + (1 - ends[0])[:, None] * p[:, 1])
    stop = np.where(line[:, None], p[:, 2], ends[1][:, None] * p[:, 2] + (1 - ends[1])[:, None] * p[:, 1])
    size = np.where(line, np.hypot(*(stop - start).T), np.hypot(*(p[:, 1] - start).T) + np.hypot(*(stop - p[:, 1]).T))
    steps = np.ceil(np.where(line, size, np.maximum(size * 1.5, 4)) + 1e-9).astype(int).clip(1, 4000)
    who = np.repeat(np.arange(len(mine)), steps)
    nth = np.arange(len(who)) - np.repeat(np.cumsum(steps) - steps, steps)

    def weights(t):
        """Of the three points at parameter t of the curves or lines `who`."""
        low, high = ends[0][who], ends[1][who]
        w0, w1, w2 = (1 - t) ** 2, 2 * t * (1 - t), t * t
        curve = np.stack([w0 * low, w1 + w0 * (1 - low) + w2 * (1 - high), w2 * high], 1)
        return np.where(line[who, None], np.stack([0 * t, 1 - t, t], 1), curve)

    w0, w1 = weights(nth / steps[who]), weights((nth + 1) / steps[who])
    here = p[who]
    q0, q1 = (w0[:, :, None] * here).sum(1), (w1[:, :, None] * here).sum(1)
    # Cut where a pixel's boundary is crossed: a step shorter than a pixel crosses at most one of each direction.
    move, cell = q1 - q0, (np.floor(q0), np.floor(q1))
    with np.errstate(divide="ignore", invalid="ignore"):
        cut = np.where(cell[0] != cell[1], (np.maximum(*cell) - q0) / move, 1.0)
    cut = np.sort(np.clip(cut, 0, 1), 1)
    t = np.stack([np.zeros(len(cut)), cut[:, 0], cut[:, 1], np.ones(len(cut))], 1)
    share, middle = np.diff(t, axis=1), (t[:, 1:] + t[:, :-1]) / 2
    keep = share > 1e-9
    row = np.nonzero(keep)[0]
    share, middle = share[keep], middle[keep][:, None]
    at = q0[row] + middle * move[row]
    pixel = np.floor(at).astype(int)
    return Edge(pixel, share[:, None] * move[row], at[:, 0] - pixel[:, 0], points[who[row]], (1 - middle) * w0[row] + middle * w1[row])


def winding(e: Edge, width: int, height: int) -> np.ndarray:
    """How often each pixel [H,W] is enclosed, on average over its area; negative where the loop goes the other way round."""
    total = np.zeros(height * (width + 2))
    inside = (e.pixel[:, 1] >= 0) & (e.pixel[:, 1] < height)
    x, left = e.pixel[:, 0], e.left
    left = np.where(x < 0, 0, np.where(x >= width, 0, left))
    at = (e.pixel[:, 1] * (width + 2) + x.clip(0, width))[inside]
    down, left = e.way[inside, 1], left[inside]
    total += np.bincount(at, down * (1 - left), len(total)) + np.bincount(at + 1, down * left, len(total))
    return total.reshape(height, width + 2).cumsum(1)[:, :width]


def cover_outline(o: Outline, width: int, height: int) -> np.ndarray:
    """Coverage [H,W] in [0,1] of a filled outline."""
    return np.abs(winding(edge_of(o), width, height)).clip(0, 1)


@lru_cache(maxsize=512)
def _covered(points: bytes, knots: bytes, box: tuple[int, int, int, int]) -> Tensor:
    o = outline_of(*(torch.frombuffer(bytearray(data), dtype=kind).view(-1, n) for data, kind, n in ((points, torch.float32, 2), (knots, torch.long, 3))))
    x0, y0, x1, y1 = box
    return torch.from_numpy(cover_outline(Outline(o.points - [x0, y0], o.loop, o.knot), x1 - x0, y1 - y0)).float()


def cover_path(d: Drawing, i: int, x: Tensor, y: Tensor) -> Tensor:
    """Coverage [M,Q] of path i over pixel centres x, y [M,Q]."""
    mine = d.knots[:, 0] == i
    points, knots = d.points[mine], d.knots[mine]
    x0, y0 = (points.amin(0).floor().int() - 1).tolist()
    x1, y1 = (points.amax(0).ceil().int() + 2).tolist()
    cover = _covered(points.numpy().tobytes(), knots.numpy().tobytes(), (x0, y0, x1, y1))
    column, row = (x - x0).long(), (y - y0).long()
    inside = (column >= 0) & (column < x1 - x0) & (row >= 0) & (row < y1 - y0)
    return torch.where(inside, cover[row.clamp(0, y1 - y0 - 1), column.clamp(0, x1 - x0 - 1)], 0.0)


# Least squares


def slopes(d: Drawing, target: Target, layers) -> tuple[sparse.csr_matrix, np.ndarray]:
    """How the pixels [3·H·W] change with the points and then the colours of all paths, and what they are off by.

    `layers` is what the lesson's `paint` returned with the pairs: (t, i, cover, canvas, under, shows).
    """
    t, i, cover, canvas, under, shows = layers
    residual = ((canvas - target.pixels) * target.mask).numpy()
    pair = np.full((len(target.corners), len(d)), -1)
    pair[t.numpy(), i.numpy()] = np.arange(len(t))
    across = -(-target.width // TILE)
    paths, rows, columns, values = (d.kind == PATH).nonzero()[:, 0].tolist(), [], [], []
    contrast = (shows * (d.colour[i][:, :, None] - under)).numpy()
    channel = np.arange(3) * TILE * TILE
    for n, s in enumerate(paths):
        mine = (d.knots[:, 0] == s).nonzero()[:, 0].numpy()
        e = edge_of(outline_of(d.points[mine], d.knots[mine]))
        x, y = e.pixel.T
        inside = (x >= 0) & (x < target.width) & (y >= 0) & (y < target.height)
        tile, spot = (y // TILE * across + x // TILE)[inside], (y % TILE * TILE + x % TILE)[inside]
        inside[inside], m = (pair[tile, s] >= 0), pair[tile, s]
        tile, spot, m = tile[m >= 0], spot[m >= 0], m[m >= 0]
        # the area grows on the side that is being enclosed
        sign = np.sign((e.way[:, 1] * (-e.pixel[:, 0] - e.left)).sum()) or 1.0
        push = sign * np.stack([-e.way[inside, 1], e.way[inside, 0]], 1)
        value = contrast[m, :, spot][:, :, None, None] * push[:, None, None] * e.weights[inside][:, None, :, None]
        rows.append(np.broadcast_to((tile * 3 * TILE * TILE + spot)[:, None, None, None] + channel[:, None, None], value.shape).ravel())
        columns.append(np.broadcast_to((2 * mine[e.points[inside]])[:, None, :, None] + np.arange(2), value.shape).ravel())
        values.append(value.ravel())
        own = (i == s).nonzero()[:, 0]
        value = (shows[own, 0] * cover[own] * target.mask[t[own], 0]).numpy()
        at, spot = np.nonzero(value > 1e-3)
        for c in range(3):
            rows.append(t[own].numpy()[at] * 3 * TILE * TILE + c * TILE * TILE + spot)
            columns.append(np.full(len(at), 2 * len(d.points) + 3 * n + c))
            values.append(value[at, spot])
    size = (residual.size, 2 * len(d.points) + 3 * len(paths))
    j = sparse.csr_matrix((np.concatenate(values), (np.concatenate(rows), np.concatenate(columns))), size)
    return j, residual.ravel()


def moved(d: Drawing, step: np.ndarray) -> Drawing:
    """`d` with the points and colours of its paths moved by `step`, points by at most a pixel."""
    paths, n = (d.kind == PATH).nonzero()[:, 0], 2 * len(d.points)
    points = d.points + torch.from_numpy(step[:n]).float().view(-1, 2).clamp(-1, 1)
    colour, shape = d.colour.clone(), d.shape.clone()
    colour[paths] = (colour[paths] + torch.from_numpy(step[n:]).float().view(-1, 3).clamp(-0.3, 0.3)).clamp(0, 1)
    for i in paths.tolist():
        mine = points[d.knots[:, 0] == i]
        shape[i, :4] = torch.cat([mine.amin(0), mine.amax(0)])
    return replace(d, points=points, colour=colour, shape=shape)


def refine_outlines(d: Drawing, target: Target, solver, steps: int = 10, least: float = 3e-3) -> Drawing:
    """At most `steps` Levenberg–Marquardt steps on the points and colours of all paths; stops when one gains less than the share `least`."""
    damping, error = 1e-2, solver.squared_error(d, target)
    for _ in range(steps if (d.kind == PATH).any() else 0):
        j, residual = slopes(d, target, solver.layers(d, target))
        normal, right = (j.T @ j).tocsc(), j.T @ residual
        for _ in range(5):
            ridge = sparse.diags(damping * normal.diagonal() + 1e-3)
            new = moved(d, -sparse.linalg.spsolve(normal + ridge, right))
            now = solver.squared_error(new, target)
            if now < error:
                break
            damping *= 8
        else:
            return d
        d, damping, gain, error = new, max(damping / 5, 1e-5), 1 - now / error, now
        if gain < least:
            return d
    return d


# The file


def path_data(o: Outline, places: int = 2) -> str:
    """The outline as the `d` of an SVG path: relative, `places` decimals; T where the control point is the last one mirrored."""
    words, before, after = [], *o.neighbours()
    pen = np.zeros(2)

    def put(letter: str, *points: np.ndarray) -> None:
        nonlocal pen
        steps = [np.round(p - pen, places) for p in points]
        words.append(letter + " ".join(f"{v + 0.0:.{places}f}".rstrip("0").rstrip(".") for step in steps for v in step))
        pen = pen + steps[-1]

    for n in np.unique(o.loop):
        mine = np.flatnonzero(o.loop == n)
        if o.knot[mine].any():
            mine = np.roll(mine, -int(np.flatnonzero(o.knot[mine])[0]))
        p, knot = o.points, o.knot
        stop = lambda k: p[after[k]] if knot[after[k]] else (p[k] + p[after[k]]) / 2  # noqa: B023
        put("m" if words else "M", p[mine[0]] if knot[mine[0]] else (p[before[mine[0]]] + p[mine[0]]) / 2)
        home, mirrored = pen, 0
        for k in mine:
            if knot[k]:
                if knot[after[k]] and after[k] != mine[0]:
                    put("l", p[after[k]])
                mirrored = 0
            elif knot[before[k]] or k == mine[0] or mirrored > 5:
                put("q", p[k], stop(k))
                mirrored = 1
            else:
                put("t", stop(k))
                mirrored += 1
        words.append("z")
        pen = home
    return "".join(words)
