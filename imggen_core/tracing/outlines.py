"""Filled paths: outlines of lines and quadratic curves, how much of each pixel they cover, and how that changes with their points.

An outline is what a TrueType letter is: closed loops of points. Through some (knots) it goes; each of the others pulls it, as the control
point of a quadratic curve. Between two that pull, the curve goes through the middle, smoothly, and nobody has to say so.

The area that an outline encloses is a sum over its edge (Green's theorem), so one walk along the edge tells the coverage of every pixel.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from ..kit.settings import InputError
from .drawing import KINDS, PATH, Drawing, bounds, one
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


def outline_of(d: Drawing, i: int | None = None) -> Outline:
    """The outline of path i of a drawing; of all its paths, for None, each loop with a number of its own."""
    points, knots = (d.points, d.knots) if i is None else (d.points[d.knots[:, 0] == i], d.knots[d.knots[:, 0] == i])
    new = (knots[1:, :2] != knots[:-1, :2]).any(1).long().cumsum(0)
    loop = np.r_[0, new.numpy()] if len(knots) else np.zeros(0, int)
    return Outline(points.double().numpy(), loop, knots[:, 2].numpy().astype(bool))


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
    steps = np.ceil(np.where(line, size, np.maximum(size * 2, 4)) + 1e-9).astype(int).clip(1, 4000)
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


def boxes_of(d: Drawing) -> np.ndarray:
    """[N,4] whole numbers x0 y0 x1 y1: the pixels that each path can touch, and one more on each side; zeros for other shapes."""
    box = np.zeros((len(d), 4), int)
    path = (d.kind == PATH).numpy()
    box[path] = torch.cat([d.shape[path, :2].floor() - 1, d.shape[path, 2:4].floor() + 3], 1).int().numpy()
    return box


@lru_cache(maxsize=4)
def _windings(points: bytes, knots: bytes, boxes: bytes) -> tuple[Tensor, Tensor]:
    """How much each pixel of each path's box is enclosed, all in one row, and where each path begins in it."""
    as_array = lambda data, kind, n: np.frombuffer(data, kind).reshape(-1, n)
    xy, knots, box = as_array(points, np.float32, 2), as_array(knots, np.int64, 3), as_array(boxes, np.int64, 4)
    loop = np.r_[0, (knots[1:, :2] != knots[:-1, :2]).any(1).cumsum()]
    e = edge_of(Outline(xy.astype(float), loop, knots[:, 2] == 1))
    size = box[:, 2:] - box[:, :2]
    start = np.r_[0, (size[:, 0] * size[:, 1]).cumsum()]
    who = knots[e.points[:, 1], 0]
    column, row = (e.pixel - box[who, :2]).T
    at = start[who] + row * size[who, 0] + column
    down = e.way[:, 1]
    # All that is to the right of a piece is enclosed as far as the piece goes down: in its own pixel in part, in the next ones wholly.
    total = np.bincount(at, down * (1 - e.left), start[-1]) + np.bincount(at + 1, down * e.left, start[-1])
    return torch.from_numpy(np.abs(total.cumsum()).clip(0, 1)).float(), torch.from_numpy(start)


def cover_paths(d: Drawing, i: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Coverage [M,Q] in [0,1] of the paths `i` [M] over pixel centres x, y [M,Q]."""
    boxes = boxes_of(d)
    cover, start = _windings(d.points.numpy().tobytes(), d.knots.numpy().tobytes(), boxes.tobytes())
    box = torch.from_numpy(boxes)[i]
    column, row = x.long() - box[:, 0, None], y.long() - box[:, 1, None]
    inside = (column >= 0) & (row >= 0) & (x < box[:, 2, None]) & (y < box[:, 3, None])
    at = start[i][:, None] + row * (box[:, 2] - box[:, 0])[:, None] + column
    return torch.where(inside, cover[torch.where(inside, at, 0)], 0.0)


# Least squares


@dataclass
class Rim:
    """The pixels along the edges of a drawing's paths: the pieces [R] of `edge` that can be seen, in which pixel of the tiles each lies
    (`tile`, `spot`), and how much the path differs from what is under it there (`contrast` [R,3], times what shows)."""

    edge: Edge
    tile: np.ndarray
    spot: np.ndarray
    contrast: np.ndarray


def rim_of(d: Drawing, target: Target, layers) -> Rim:
    """`layers` is what the lesson's `paint` returned with the pairs: (t, i, cover, canvas, under, shows)."""
    t, i, _, _, under, shows = layers
    e = edge_of(outline_of(d))
    (x, y), across = e.pixel.T, -(-target.width // TILE)
    inside = (x >= 0) & (x < target.width) & (y >= 0) & (y < target.height)
    tile, spot = np.where(inside, y // TILE * across + x // TILE, 0), y % TILE * TILE + x % TILE
    pair = np.full((len(target.corners), len(d)), -1)
    pair[t.numpy(), i.numpy()] = np.arange(len(t))
    m = pair[tile, d.knots[:, 0].numpy()[e.points[:, 1]]]
    seen = inside & (m >= 0)
    m, spot, tile = m[seen], spot[seen], tile[seen]
    contrast = shows[m, 0, spot][:, None] * (d.colour[i[m]] - under[m, :, spot])
    return Rim(Edge(e.pixel[seen], e.way[seen], e.left[seen], e.points[seen], e.weights[seen]), tile, spot, contrast.double().numpy())


def turns(d: Drawing) -> np.ndarray:
    """+1 or -1 for each shape [N]: which way round its path goes, on the whole."""
    e = edge_of(outline_of(d))
    area = np.bincount(d.knots[:, 0].numpy()[e.points[:, 1]], -e.way[:, 1] * (e.pixel[:, 0] + e.left), len(d))
    return np.where(area < 0, -1.0, 1.0)


def slopes(d: Drawing, target: Target, layers) -> tuple[sparse.csr_matrix, np.ndarray]:
    """How the pixels [T·3·256] change with the points and then the colours of all paths, and what they are off by."""
    t, i, cover, canvas, _, shows = layers
    rim, n, area = rim_of(d, target, layers), 2 * len(d.points), TILE * TILE
    e = rim.edge
    # A piece that moves sideways uncovers, or covers, as many pixels as it is long.
    push = turns(d)[d.knots[:, 0].numpy()[e.points[:, 1]]][:, None] * np.stack([-e.way[:, 1], e.way[:, 0]], 1)
    value = rim.contrast[:, :, None, None] * push[:, None, None] * e.weights[:, None, :, None]  # [R, channel, point, axis]
    row = (rim.tile * 3 * area + rim.spot)[:, None, None, None] + (np.arange(3) * area)[:, None, None]
    column = (2 * e.points)[:, None, :, None] + np.arange(2)
    number = (d.kind == PATH).cumsum(0).numpy() - 1
    own = (d.kind[i] == PATH).nonzero()[:, 0]
    tint = (shows[own, 0] * cover[own] * target.mask[t[own], 0]).numpy()
    at, spot = np.nonzero(tint > 1e-3)
    tint_row = (t[own].numpy()[at] * 3 * area + spot)[:, None] + np.arange(3) * area
    tint_column = n + 3 * number[i[own].numpy()[at]][:, None] + np.arange(3)
    flat = lambda a, b, like: np.concatenate([np.broadcast_to(a, value.shape).ravel(), np.broadcast_to(b, like.shape).ravel()])
    size = (canvas.numel(), n + 3 * int((d.kind == PATH).sum()))
    j = sparse.csr_matrix(
        (flat(value, tint[at, spot][:, None], tint_row), (flat(row, tint_row, tint_row), flat(column, tint_column, tint_row))), size
    )
    return j, ((canvas - target.pixels) * target.mask).double().numpy().ravel()


def with_boxes(d: Drawing) -> Drawing:
    """`d` with the numbers of its paths, which are their bounding boxes, as their points have it."""
    shape, who = d.shape.clone(), d.knots[:, :1].expand(-1, 2)
    for columns, which in (((0, 1), "amin"), ((2, 3), "amax")):
        extreme = torch.zeros(len(d), 2).scatter_reduce(0, who, d.points, which, include_self=False)
        shape[:, columns] = torch.where((d.kind == PATH)[:, None], extreme, shape[:, columns])
    return replace(d, shape=shape)


REACH, AREA, WAY = 1 << 15, 1 << 25, 1 << 18  # pixels: of a number, of the boxes of all shapes together, of all outlines' lengths


def drawable(d: Drawing) -> Drawing:
    """`d`, which may be from anybody, if it can be drawn in bounded memory; InputError names the part that is not so."""
    paths, of = d.kind == PATH, d.knots[:, 0]
    right = {
        "kind": ((d.kind >= 0) & (d.kind < len(KINDS))).all(),
        "colour": ((d.colour >= 0) & (d.colour <= 1)).all() and ((d.background >= 0) & (d.background <= 1)).all(),
        "shape": (d.shape.abs() <= REACH).all() and (d.shape[:, 6] >= 0).all(),
        "points": (d.points.abs() <= REACH).all() and len(d.points) == len(d.knots),
        "knots": len(of) == 0 or (0 <= of.min() and of.max() < len(d) and paths[of].all()),
        "kind, points": len(of.unique()) == paths.sum(),
    }
    for name, good in right.items():
        if not good:
            raise InputError(f"{name}: holds what no drawing can")
    d = with_boxes(d)
    page = torch.tensor([d.width, d.height]).repeat(2)
    boxes = torch.where(paths[:, None], bounds(d), bounds(d).clamp(min=0).minimum(page))  # a path is measured beyond the page, too
    way = (d.points.diff(dim=0).norm(dim=1) * (of[1:] == of[:-1])).sum()
    if (boxes[:, 2:] - boxes[:, :2]).clamp(min=0).prod(1).sum() > AREA or way > WAY:
        raise InputError("its shapes are too many, and too large, to be drawn")
    return d


def moved(d: Drawing, step: np.ndarray) -> Drawing:
    """`d` with the points and colours of its paths moved by `step`, points by at most a pixel."""
    paths, n = (d.kind == PATH).nonzero()[:, 0], 2 * len(d.points)
    points = d.points + torch.from_numpy(step[:n]).float().view(-1, 2).clamp(-1, 1)
    colour = d.colour.clone()
    colour[paths] = (colour[paths] + torch.from_numpy(step[n:]).float().view(-1, 3).clamp(-0.3, 0.3)).clamp(0, 1)
    return with_boxes(replace(d, points=points, colour=colour))


def refine_outlines(d: Drawing, target: Target, solver, steps: int = 10, least: float = 3e-3) -> Drawing:
    """At most `steps` Levenberg–Marquardt steps on the points and colours of all paths; ends when one gains less than the share `least`."""
    damping, error = 1e-2, solver.squared_error(d, target)
    for _ in range(steps if (d.kind == PATH).any() else 0):
        j, residual = slopes(d, target, solver.layers(d, target))
        normal, right = (j.T @ j).tocsc(), j.T @ residual
        for _ in range(5):
            system = normal + sparse.diags(damping * normal.diagonal() + 1e-3)
            step = sparse.linalg.cg(system, right, rtol=1e-3, maxiter=100, M=sparse.diags(1 / system.diagonal()))[0]
            new = moved(d, -step)
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


def path_data(o: Outline) -> str:
    """The outline as the `d` of an SVG path: relative, two decimals; T where the control point is the last one mirrored."""
    words, before, after = [], *o.neighbours()
    pen = np.zeros(2)

    def put(letter: str, *points: np.ndarray) -> None:
        nonlocal pen
        steps = [np.round(p - pen, 2) for p in points]
        words.append(letter + " ".join(f"{v + 0.0:.2f}".rstrip("0").rstrip(".") for step in steps for v in step))
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
