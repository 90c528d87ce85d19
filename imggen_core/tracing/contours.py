"""From patches to outlines: the contour of each, in as few lines and curves as explain it."""

from __future__ import annotations

import numpy as np
import torch
from skimage.measure import find_contours

from .curves import corners_of, evenly, fit_curve, fit_line, longest_prefixes
from .drawing import FREE, Drawing, blank, insert, pick
from .knots import adapt, cost
from .outlines import Outline, as_shape, refine_outlines
from .patches import Patch, missing, patches_of
from .regions import background_of
from .tiles import Target

STEP = 0.75  # pixels from one point of a contour to the next


def loops_of(p: Patch, least: float = 2.0) -> list[np.ndarray]:
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


def with_patches(d: Drawing, patches: list[Patch]) -> Drawing:
    """`d` with a path for each patch on top."""
    for p in patches:
        o = outline_through(p)
        if o is not None:
            d = insert(d, as_shape(d, o, torch.from_numpy(p.colour).float()))
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


def from_patches(target: Target, solver) -> Drawing:
    """A drawing of filled paths alone: one for each patch of the picture."""
    background = background_of(target.image)
    d = with_patches(blank(target.width, target.height, background), patches_of(target.image, background))
    return adapt(refine_outlines(d, target, solver), target, solver)


def with_missing(d: Drawing, target: Target, solver, rounds: int = 3) -> Drawing:
    """`d` with paths on top for what it misses, again and again as long as that lowers the cost."""
    for _ in range(rounds):
        new = with_patches(d, missing(target.image, solver.render(d)))
        new = adapt(worthwhile(refine_outlines(new, target, solver), target, solver), target, solver)
        if cost(new, target, solver) > 0.98 * cost(d, target, solver):
            break
        d = new
    return d
