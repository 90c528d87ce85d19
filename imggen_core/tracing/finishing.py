"""Finishing a drawing: order, common widths, fills under their outlines, round numbers, and shapes that neighbours can stand in for.

Every one asks the lesson's least squares what a change costs, which is handed over as a `Solver`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from .drawing import BOX, ELLIPSE, FRAME, FREE, NUMBERS, RING, Drawing, bounds, is_stroke, mask_of, meets, pick
from .tiles import Target, tiles_of


@dataclass(frozen=True)
class Solver:
    """What the lesson teaches and these functions need.

    refine(d, target, steps, active, colours, frozen, least) -> Drawing; squared_error(d, target, tiles) -> float; render(d) -> [3,H,W];
    layers(d, target) -> (t, i, cover, canvas, under, shows), as `cover_tiles` and `paint` tell them; worth(d, target) -> [N];
    price: the squared error that one number of a shape must save.
    """

    refine: Callable[..., Drawing]
    squared_error: Callable[..., float]
    layers: Callable[[Drawing, Target], tuple]
    render: Callable[[Drawing], Tensor]
    worth: Callable[[Drawing, Target], Tensor]
    price: float


def reorder(d: Drawing, target: Target, solver: Solver) -> Drawing:
    """Move shapes beneath others, one at a time, wherever that lowers the error."""
    for _ in range(3):
        changed = False
        for i in range(len(d)):
            tiles = tiles_of(d, target, [i])
            now = solver.squared_error(d, target, tiles) if len(tiles) else 0
            if now < 0.05:
                continue
            best, rest = (now - 0.02, d), [k for k in range(len(d)) if k != i]
            for j in (meets(bounds(d), bounds(d)[i]) & (torch.arange(len(d)) != i)).nonzero()[:, 0].tolist():
                at = rest.index(j) + (j > i)
                other = pick(d, rest[:at] + [i] + rest[at:])
                best = min(best, (solver.squared_error(other, target, tiles), other), key=lambda b: b[0])
            changed |= best[1] is not d
            d = best[1]
        if not changed:
            return d
    return d


def drop_and_refit(d: Drawing, target: Target, solver: Solver, most: int = 12) -> Drawing:
    """Leave out shapes, of the dozen that are worth least, whose strokes and boxes nearby can make up for them."""
    tried, found = set(), True
    while found and len(d):
        found, value = False, solver.worth(d, target)
        for i in value.argsort()[:most].tolist():
            name = tuple(d.shape[i].tolist())
            if name in tried or value[i] > 40:
                continue
            tried.add(name)
            near = meets(bounds(d), bounds(d)[i] + torch.tensor([-3, -3, 3, 3])) & ((d.kind == BOX) | (d.kind == RING) | is_stroke(d))
            keep = torch.arange(len(d)) != i
            new = solver.refine(pick(d, keep), target, 8, near[keep])
            tiles = torch.cat([tiles_of(d, target, ~keep | near), tiles_of(new, target, near[keep])]).unique()
            if solver.squared_error(new, target, tiles) < solver.squared_error(d, target, tiles) + 16 * solver.price:
                d, found = new, True
                break
    return d


def settle_widths(d: Drawing, target: Target, solver: Solver) -> Drawing:
    """Give thin outlines the commonest width (1, 2, 1.5, 2.5, ½) that serves as well, their colour solved again.

    A grey line of width 1 and a darker one of width 0.3 are the same picture at 1×; a person would have written 1.
    """
    for i in (FREE[d.kind, 6] & (d.shape[:, 6] < 2.6)).nonzero()[:, 0].tolist():
        tiles, me = tiles_of(d, target, [i]), mask_of(len(d), [i])
        now, still = solver.squared_error(d, target, tiles), torch.zeros(len(d), NUMBERS, dtype=torch.bool)
        still[:, 6] = True
        for width in (1.0, 2.0, 1.5, 2.5, 0.5):
            if abs(width - d.shape[i, 6]) < 0.02:
                break
            new = replace(d, shape=d.shape.clone())
            new.shape[i, 6] = width
            new = solver.refine(new, target, 4, me, frozen=still)
            if solver.squared_error(new, target, tiles) < now + 0.03:
                d = new
                break
    return d


def tie_fills(d: Drawing, target: Target, solver: Solver) -> Drawing:
    """Give a fill whose edge lies under an outline of its kind the outline's numbers, and put it right beneath."""
    for f in range(len(d)):
        if d.kind[f] not in (FRAME, RING):
            continue
        near = (d.shape[:, :4] - d.shape[f, :4]).abs().amax(1) < d.shape[f, 6] / 2 + 1.2
        for b in ((d.kind == (BOX if d.kind[f] == FRAME else ELLIPSE)) & near).nonzero()[:1, 0].tolist():
            order = [k for k in range(len(d)) if k != b]
            order.insert(order.index(f) if b > f else b, b)
            new = pick(d, order)
            fill, outline = order.index(b), order.index(f)
            still = torch.zeros(len(d), NUMBERS, dtype=torch.bool)
            still[fill] = True
            new.shape[fill, :4] = new.shape[outline, :4]
            new = solver.refine(new, target, 6, mask_of(len(d), [fill, outline]), frozen=still)
            new.shape[fill, :4] = new.shape[outline, :4]
            tiles = torch.cat([tiles_of(d, target, [b, f]), tiles_of(new, target, [fill, outline])]).unique()
            if solver.squared_error(new, target, tiles) < solver.squared_error(d, target, tiles) + 8 * solver.price:
                d = new
    return d


def snap(d: Drawing, target: Target, solver: Solver) -> Drawing:
    """Round each shape's numbers to 1, ½ or ¼ pixel where that moves none by more than 0.12 and costs less than 0.02 squared error."""
    for grid in (1.0, 0.5, 0.25):
        for i in range(len(d)):
            new = replace(d, shape=d.shape.clone())
            new.shape[i] = torch.where(FREE[d.kind[i]], (d.shape[i] / grid).round() * grid, d.shape[i])
            if 0 < (new.shape[i] - d.shape[i]).abs().max() <= 0.12:
                tiles = tiles_of(d, target, [i])
                if solver.squared_error(new, target, tiles) < solver.squared_error(d, target, tiles) + 0.02:
                    d = new
    return d
