"""How many points an outline needs: more where the picture is still missed, fewer where it costs nothing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from .drawing import PATH, Drawing, numbers_in
from .outlines import Outline, edge_of, outline_of, refine_outlines
from .tiles import TILE, Target


def with_outline(d: Drawing, i: int, o: Outline) -> Drawing:
    """`d` with another outline for path i."""
    other = d.knots[:, 0] != i
    knots = np.stack([np.full_like(o.loop, i), o.loop, o.knot.astype(o.loop.dtype)], 1)
    return replace(d, points=torch.cat([d.points[other], torch.from_numpy(o.points).float()]), knots=torch.cat([d.knots[other], torch.from_numpy(knots).long()]))


def along(d: Drawing, i: int, o: Outline, target: Target, layers) -> tuple[np.ndarray, np.ndarray]:
    """For each point of path i: the squared error in the pixels of its line or curve, and how much the path stands out there (squared)."""
    t, who, cover, canvas, under, shows = layers
    e = edge_of(o)
    x, y = e.pixel.T
    inside = (x >= 0) & (x < target.width) & (y >= 0) & (y < target.height)
    own = np.full(len(target.corners), -1)
    mine = (who == i).nonzero()[:, 0]
    own[t[mine].numpy()] = mine.numpy()
    across = -(-target.width // TILE)
    tile, spot, unit = (y // TILE * across + x // TILE)[inside], (y % TILE * TILE + x % TILE)[inside], e.points[inside, 1]
    there = own[tile] >= 0
    cell, index = np.unique(np.stack([unit[there], tile[there], spot[there]], 1), axis=0, return_inverse=True)
    unit, tile, spot = cell.T
    m = own[tile]
    contrast = ((shows[m, 0, spot][:, None] * (d.colour[i] - under[m, :, spot])) ** 2).sum(1).numpy()
    off = ((canvas - target.pixels)[tile, :, spot] ** 2).sum(1).numpy()
    total = lambda v: np.bincount(unit, v, len(o.points))
    count = np.maximum(total(np.ones(len(unit))), 1)
    return total(off * (contrast > 0.003)), total(contrast) / count


def denser(o: Outline, wrong: np.ndarray, least: float) -> Outline:
    """The outline with each curve halved, and each line given a curve, whose pixels are off by more than `least`."""
    before, after = o.neighbours()
    points, loop, knot = [], [], []
    for k in range(len(o.points)):
        add = [(o.points[k], o.knot[k])]
        p, q = o.points[before[k]], o.points[after[k]]
        if wrong[k] > least and o.knot[k] and o.knot[after[k]]:
            add.append(((o.points[k] + q) / 2, False))
        elif wrong[k] > least and not o.knot[k]:
            start = p if o.knot[before[k]] else (p + o.points[k]) / 2
            stop = q if o.knot[after[k]] else (q + o.points[k]) / 2
            add = [((start + o.points[k]) / 2, False), ((stop + o.points[k]) / 2, False)]
            add = add if o.knot[before[k]] else [(start, True), *add]
            add = add if o.knot[after[k]] or wrong[after[k]] > least else [*add, (stop, True)]
        for xy, on in add:
            points.append(xy)
            knot.append(on)
            loop.append(o.loop[k])
    return Outline(np.array(points), np.array(loop), np.array(knot))


def sparser(o: Outline, contrast: np.ndarray, most: float) -> Outline:
    """The outline without points whose loss should raise the squared error by less than `most`; never two neighbours at a time."""
    before, after = o.neighbours()
    p, a, b = o.points, o.points[before], o.points[after]
    chord = np.linalg.norm(b - a, axis=1) + 1e-9
    off = np.abs((p - a)[:, 0] * (b - a)[:, 1] - (p - a)[:, 1] * (b - a)[:, 0]) / chord
    pulls = ~o.knot
    between = o.knot & pulls[before] & pulls[after]
    corner = o.knot & o.knot[before] & o.knot[after]
    moved = np.where(pulls, off / 2, np.where(between, np.linalg.norm(p - (a + b) / 2, axis=1) / 2, np.where(corner, off / 2, np.inf)))
    stands = np.maximum(contrast, contrast[before])
    rise = np.where(np.isfinite(moved), moved, 1e9) ** 2 * chord * (stands + 1e-9)
    keep, size = np.ones(len(p), bool), np.bincount(o.loop)
    for k in np.argsort(rise):
        if rise[k] >= most:
            break
        if keep[before[k]] and keep[after[k]] and size[o.loop[k]] > 3:
            keep[k] = False
            size[o.loop[k]] -= 1
    return Outline(p[keep], o.loop[keep], o.knot[keep])


def cost(d: Drawing, target: Target, solver) -> float:
    """What a drawing costs: its squared error, and the price of its numbers."""
    return solver.squared_error(d, target) + solver.price * numbers_in(d)


def adapt(d: Drawing, target: Target, solver, rounds: int = 3) -> Drawing:
    """Points put in and taken out of all paths, refined each time, as long as that lowers the cost."""
    now = cost(d, target, solver)
    changes = [lambda o, off, c: denser(o, off, 20 * solver.price)]
    changes += [lambda o, off, c, share=share: sparser(o, c, share * solver.price) for share in (2, 0.5)]
    for _ in range(rounds):
        better = False
        for change in changes:
            new, layers = d, solver.layers(d, target)
            for i in (d.kind == PATH).nonzero()[:, 0].tolist():
                mine = d.knots[:, 0] == i
                o = outline_of(d.points[mine], d.knots[mine])
                new = with_outline(new, i, change(o, *along(d, i, o, target, layers)))
            if len(new.points) == len(d.points):
                continue
            new = refine_outlines(new, target, solver)
            if (then := cost(new, target, solver)) < now:
                d, now, better = new, then, True
        if not better:
            break
    return d
