"""From patches to outlines: the contour of each, in as few lines and curves as explain it."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import torch
from skimage.measure import find_contours

from .curves import corners_of, evenly, fit_curve, fit_line, longest_prefixes
from .drawing import BOX, ELLIPSE, FREE, PATH, ROUNDED, Drawing, blank, insert, one, pick
from .knots import adapt, cost
from .outlines import Outline, as_shape, refine_outlines
from .patches import Patch, missing, patches_of
from .regions import Region, background_of, shapes_of
from .tiles import Target

STEP = 0.75  # pixels from one point of a contour to the next


def loops_of(p: Patch, least: float = 0.5) -> list[np.ndarray]:
    """The closed contours [n,2] (x, y) of a patch that enclose at least `least` pixels."""
    found = find_contours(np.pad(p.share, 1), 0.5)
    loops = [c[:-1, ::-1] - 0.5 for c in found if len(c) > 4]
    area = lambda c: abs((c[:, 0] * np.roll(c[:, 1], -1) - c[:, 1] * np.roll(c[:, 0], -1)).sum()) / 2
    return [evenly(c, STEP) for c in loops if area(c) >= least]


def outline_through(p: Patch, tolerance: float = 0.3) -> Outline | None:
    """The outline of a patch; None if there is nothing to enclose."""
    points, loop, knot = [], [], []
    for n, c in enumerate(loops_of(p)):
        xy, on = fitted_loop(c, tolerance)
        points.append(xy)
        knot.append(on)
        loop.append(np.full(len(xy), n))
    return Outline(np.concatenate(points), np.concatenate(loop), np.concatenate(knot)) if points else None


def fitted_loop(c: np.ndarray, tolerance: float) -> tuple[np.ndarray, np.ndarray]:
    """Points [K,2] and knots [K] of one loop through the contour `c`."""
    cut = corners_of(c, True, reach=4, turn=0.7)
    first = cut[0] if cut else 0
    way, cut = np.concatenate([c[first:], c[: first + 1]]), [k - first for k in cut[1:]]
    points, knot = [], []
    for a, b in zip([0, *cut], [*cut, len(way) - 1], strict=True):
        for piece in longest_prefixes(way[a : b + 1], tolerance):
            ends = piece[[0, -1]]
            points.append(ends[0])
            knot.append(True)
            if len(piece) > 3 and fit_line(piece)[1].max() > 0.6 * tolerance:
                points.append(fit_curve(piece)[0][2:4])
                knot.append(False)
    return smoothed(np.array(points), np.array(knot))


def smoothed(points: np.ndarray, knot: np.ndarray, slack: float = 0.6) -> tuple[np.ndarray, np.ndarray]:
    """Without the knots that lie about in the middle between two points that pull: there the curve goes anyway."""
    before, after = np.roll(points, 1, 0), np.roll(points, -1, 0)
    off = np.linalg.norm(points - (before + after) / 2, axis=1)
    size = np.linalg.norm(after - before, axis=1)
    drop = knot & ~np.roll(knot, 1) & ~np.roll(knot, -1) & (off < slack + 0.05 * size)
    return points[~drop], knot[~drop]


def round_shape(share: np.ndarray, paper: Drawing) -> Drawing:
    """The ellipse with the middle and the spread of `share` [H,W]."""
    total, places = share.sum(), np.indices(share.shape) + 0.5
    middle = (places * share).sum((1, 2)) / total
    spread = (((places - middle[:, None, None]) ** 2) * share).sum((1, 2)) / total
    return one(paper, ELLIPSE, [*middle[::-1], *2 * np.sqrt(spread.clip(0.05))[::-1]])


def simple_shape(p: Patch, paper: Drawing, render, slack: float = 0.12) -> Drawing | None:
    """The box, rounded box or ellipse that a patch is, if its pixels differ by less than `slack` (root mean square, along its rim); a dot
    is an ellipse."""
    if (area := p.share.sum()) < 6:  # a dot, whose spread says little
        middle = (np.indices(p.share.shape) * p.share).sum((1, 2)) / area + 0.5
        return one(paper, ELLIPSE, [*middle[::-1], *2 * [math.sqrt(area / math.pi)]])
    inside = p.share > 0.5
    if not inside.any():
        return None
    rows, columns = (np.flatnonzero(inside.any(axis)) for axis in (1, 0))
    (y0, y1), (x0, x1) = ((n[0], n[-1] + 1) for n in (rows, columns))
    part = slice(max(y0 - 1, 0), y1 + 1), slice(max(x0 - 1, 0), x1 + 1)
    region = Region(x0, y0, x1, y1, inside[y0:y1, x0:x1], torch.ones(3))
    black, rim, best = blank(paper.width, paper.height, torch.zeros(3)), 2 * (x1 - x0 + y1 - y0), None
    for new in [replace(round_shape(p.share, black), colour=torch.ones(1, 3)), *shapes_of(region, black)]:
        if int(new.kind[0]) in (BOX, ROUNDED, ELLIPSE):
            off = (((render(new)[0].numpy() - p.share) * ~p.hidden)[part] ** 2).sum() / rim
            if off < slack**2 and (best is None or off < 0.7 * best[0]):
                best = off, new
    return best[1] if best else None


def with_patches(d: Drawing, patches: list[Patch], render) -> Drawing:
    """`d` with a shape for each patch on top: a simple one, or a path."""
    for p in patches:
        colour = torch.from_numpy(p.colour).float()
        new = simple_shape(p, d, render)
        if new is not None:
            d = insert(d, replace(new, colour=colour[None], background=d.background))
        elif (o := outline_through(p)) is not None:
            d = insert(d, as_shape(d, o, colour))
    return d


def worthwhile(d: Drawing, target: Target, solver) -> Drawing:
    """`d` without the shapes that save less than their numbers cost, the least first."""
    while len(d):
        numbers = FREE[d.kind].sum(1) + 3 + 2 * torch.bincount(d.knots[:, 0], minlength=len(d))
        gain = solver.worth(d, target) - solver.price * numbers
        if gain.min() >= 0:
            break
        d = pick(d, torch.arange(len(d)) != gain.argmin())
    return d


def refine_simple(d: Drawing, target: Target, solver) -> Drawing:
    """`d` with all that is no path refined."""
    simple = d.kind != PATH
    return solver.refine(d, target, 6, simple) if simple.any() else d


def from_patches(target: Target, solver) -> Drawing:
    """A drawing of filled paths alone: one for each patch of the picture."""
    background = background_of(target.image)
    d = with_patches(blank(target.width, target.height, background), patches_of(target.image, background), solver.render)
    return adapt(refine_outlines(refine_simple(d, target, solver), target, solver), target, solver)


def with_missing(d: Drawing, target: Target, solver, rounds: int = 8) -> Drawing:
    """`d` with paths on top for what it misses, again and again as long as that lowers the cost."""
    for _ in range(rounds):
        new = refine_simple(with_patches(d, missing(target.image, solver.render(d)), solver.render), target, solver)
        new = adapt(worthwhile(refine_outlines(new, target, solver), target, solver), target, solver)
        if cost(new, target, solver) > 0.98 * cost(d, target, solver):
            break
        d = new
    return d
