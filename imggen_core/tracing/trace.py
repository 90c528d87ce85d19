"""Tracing: strokes for the ink that a canvas misses. Frames from the masks, rings from the chains, lines and curves from the rest."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from .curves import cut_at_corners, fit_curve, fit_ellipse, fit_line, off_ellipse, pieces_of
from .drawing import CURVE, FRAME, LINE, RING, Drawing, insert, one
from .ink import Ink, at_pixels, frames_in
from .skeleton import Chain, chains_in, join_chains

MOST = 120  # pieces that one tracing may add, the longest first: it is for drawings, and a photo would never end


def ring_of(c: Chain, ink: np.ndarray) -> np.ndarray | None:
    """The ellipse that a chain lies on, if it goes round far enough and the rest of the way is ink too."""
    fitted = fit_ellipse(c.points) if len(c.points) >= 10 else None
    if fitted is None or np.quantile(fitted[1], 0.9) > 1.2 or fitted[0][2:].min() < 2:
        return None
    e = fitted[0]
    a = np.linspace(0, 2 * np.pi, 96, endpoint=False)
    around = e[:2] + e[2:] * np.stack([np.cos(a), np.sin(a)], 1)
    inside = ((around >= 0) & (around < [ink.shape[1], ink.shape[0]])).all(1)
    way = (c.points - e[:2]) / e[2:]
    turn = np.ptp(np.unwrap(np.arctan2(way[:, 1], way[:, 0])))
    goes_round = c.closed or turn > 2.5
    return e if goes_round and inside.mean() > 0.6 and at_pixels(ink, around[inside]).mean() > 0.85 else None


def shape_of(points: np.ndarray, width: float, colour: Tensor, paper: Drawing) -> Drawing:
    """A line if one explains the points (all but the outermost, which bend at junctions), else a curve."""
    segment, off = fit_line(points)
    if len(points) > 8:
        off = fit_line(points[2:-2])[1]
    straight = off.max() < 0.8 + 0.002 * len(points)
    return one(paper, LINE if straight else CURVE, segment if straight else fit_curve(points)[0], width, colour)


def trace(image: Tensor, canvas: Tensor, d: Drawing, tolerance: float = 0.9, agree: int = 3) -> Drawing:
    """Put frames, rings, lines and quadratic curves on top of `d` for the ink of `image` [3,H,W] that its picture `canvas` misses.

    tolerance: pixels that a curve may be off its points; agree: neighbours that must share a colour for it to be an ink's.
    """
    ink, chains, rings, pieces = Ink(image, canvas, agree), [], [], []
    for colour, mask in ink.layers:
        frames, rest = frames_in(mask)
        for (x0, y0, x1, y1), t in frames:
            d = insert(d, one(d, FRAME, [x0, y0, x1, y1], t, ink.colour(np.array([[x0, y0], [x1, y0], [x0, y1], [x1, y1]]), colour)))
        chains += chains_in(rest, colour)
    for c in sorted(join_chains(chains, ink.image, ink.canvas), key=lambda c: -len(c.points)):
        e = ring_of(c, ink.near)
        if e is None:
            pieces += [(p, c.colour) for p in cut_at_corners(c.points, c.closed)]
        elif not any(np.abs(e - other).max() < 3 for other in rings):
            rings.append(e)
            d = insert(d, one(d, RING, e, ink.width(c.points), ink.colour(c.points, c.colour)))
    for points, colour in sorted(pieces, key=lambda p: -len(p[0]))[:MOST]:
        if not any((np.abs(off_ellipse(points, e)) < 1.5).mean() > 0.7 for e in rings):
            for p in pieces_of(points, tolerance):
                if len(p) >= 4:
                    d = insert(d, shape_of(p, ink.width(p), ink.colour(p, colour), d))
    return d
