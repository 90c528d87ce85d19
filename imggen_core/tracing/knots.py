"""How many points an outline needs: more where the picture is still missed, fewer where it costs nothing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from .drawing import Drawing, numbers_in
from .outlines import Outline, outline_of, refine_outlines, rim_of, with_boxes
from .tiles import Target


def along(d: Drawing, target: Target, layers) -> tuple[np.ndarray, np.ndarray]:
    """For each point of a drawing's paths: the squared error in the pixels of its line or curve, and how much the path stands out there
    (squared)."""
    rim, canvas = rim_of(d, target, layers), layers[3]
    cell, first = np.unique(np.stack([rim.edge.points[:, 1], rim.tile, rim.spot], 1), axis=0, return_index=True)
    point, tile, spot = cell.T
    contrast = (rim.contrast[first] ** 2).sum(1)
    off = ((canvas - target.pixels)[tile, :, spot] ** 2).sum(1).numpy()
    total = lambda v: np.bincount(point, v, len(d.points))
    return total(off * (contrast > 0.003)), total(contrast) / np.maximum(total(np.ones(len(point))), 1)


def with_outline(d: Drawing, o: Outline, came_from: np.ndarray) -> Drawing:
    """`d` with other points for its paths; `came_from` [K]: the old point whose path and loop each new one is of."""
    knots = d.knots[torch.from_numpy(came_from)]
    knots[:, 2] = torch.from_numpy(o.knot).long()
    return with_boxes(replace(d, points=torch.from_numpy(o.points).float(), knots=knots))


def denser(o: Outline, wrong: np.ndarray, least: float) -> tuple[Outline, np.ndarray]:
    """The outline with each curve halved, and each line given a curve, whose pixels are off by more than `least`; and for each point the
    old one that it comes from."""
    before, after = o.neighbours()
    points, came_from, knot = [], [], []
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
            came_from.append(k)
    return Outline(np.array(points), o.loop[came_from], np.array(knot)), np.array(came_from)


def sparser(o: Outline, contrast: np.ndarray, most: float) -> tuple[Outline, np.ndarray]:
    """The outline without points whose loss should raise the squared error by less than `most`, never two neighbours at a time; and which
    are left."""
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
    return Outline(p[keep], o.loop[keep], o.knot[keep]), np.flatnonzero(keep)


def cost(d: Drawing, target: Target, solver) -> float:
    """What a drawing costs: its squared error, and the price of its numbers."""
    return solver.squared_error(d, target) + solver.price * numbers_in(d)


def adapt(d: Drawing, target: Target, solver, rounds: int = 3) -> Drawing:
    """Points put in and taken out of all paths, refined each time, as long as that lowers the cost."""
    if not len(d.points):
        return d
    now = cost(d, target, solver)
    changes = [lambda o, off, c: denser(o, off, 20 * solver.price)]
    changes += [lambda o, off, c, share=share: sparser(o, c, share * solver.price) for share in (2, 0.5)]
    for _ in range(rounds):
        better = False
        for change in changes:
            new = with_outline(d, *change(outline_of(d), *along(d, target, solver.layers(d, target))))
            if len(new.points) == len(d.points):
                continue
            new = refine_outlines(new, target, solver)
            if (then := cost(new, target, solver)) < now:
                d, now, better = new, then, True
        if not better:
            break
    return d
