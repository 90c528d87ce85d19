"""A drawing as data: shapes on a background, and what can be asked of them without painting them.

Every function makes a new drawing out of an old one, and leaves the old one as it is.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

BOX, FRAME, ELLIPSE, RING, LINE, CURVE, ROUNDED, PATH = range(8)
KINDS = ("box", "frame", "ellipse", "ring", "line", "curve", "rounded box", "path")
NUMBERS = 7  # of a shape; the last is the stroke's width
COLUMNS = NUMBERS + 3  # and its colour: all that can be solved for
FREE = torch.tensor(
    [
        [1, 1, 1, 1, 0, 0, 0],
        [1, 1, 1, 1, 0, 0, 1],
        [1, 1, 1, 1, 0, 0, 0],
        [1, 1, 1, 1, 0, 0, 1],
        [1, 1, 1, 1, 0, 0, 1],
        [1, 1, 1, 1, 1, 1, 1],
        [1, 1, 1, 1, 1, 0, 0],
        [0, 0, 0, 0, 0, 0, 0],
    ],
    dtype=torch.bool,
)  # which ones a kind has


PARTS = ("background", "kind", "shape", "colour", "round", "points", "knots")  # of a drawing, beside its size


@dataclass(eq=False)
class Drawing:
    """N shapes on a background, bottom first: `kind` [N] long, `shape` [N,7] in pixels, `colour` [N,3] in [0,1], `round` [N] bool
    (round caps).

    A path's numbers are its bounding box; what it is stands in `points` [P,2] (pixels) and `knots` [P,3] long: the shape that a point
    belongs to, the loop of its outline, and 1 where the outline goes through the point (0: the point pulls it, see `outlines`).
    """

    width: int
    height: int
    background: Tensor
    kind: Tensor
    shape: Tensor
    colour: Tensor
    round: Tensor
    points: Tensor = field(default_factory=lambda: torch.zeros(0, 2))
    knots: Tensor = field(default_factory=lambda: torch.zeros(0, 3, dtype=torch.long))

    def __len__(self) -> int:
        return len(self.kind)


def blank(width: int, height: int, background: Tensor) -> Drawing:
    """A drawing without shapes; `background` [3] in [0,1]."""
    none = torch.zeros(0)
    return Drawing(width, height, background, none.long(), none.view(0, NUMBERS), none.view(0, 3), none.bool())


def pick(d: Drawing, index) -> Drawing:
    """The shapes at `index` (a mask, a slice, or indices in a new order)."""
    index = index if isinstance(index, slice | Tensor) else torch.tensor(index, dtype=torch.long)
    new = replace(d, kind=d.kind[index], shape=d.shape[index], colour=d.colour[index], round=d.round[index])
    if not len(d.points):
        return new
    came_from = torch.arange(len(d))[index]
    mine = [(d.knots[:, 0] == i).nonzero()[:, 0] for i in came_from.tolist()]
    knots = d.knots[torch.cat(mine)] if mine else d.knots[:0]
    knots[:, 0] = torch.arange(len(new)).repeat_interleave(torch.tensor([len(m) for m in mine], dtype=torch.long))
    return replace(new, points=d.points[torch.cat(mine)] if mine else d.points[:0], knots=knots)


def insert(d: Drawing, new: Drawing, at: int | None = None) -> Drawing:
    """`d` with the shapes of `new` painted just before its shape number `at` (None: on top)."""
    at = len(d) if at is None else at
    both = {
        name: torch.cat([getattr(d, name)[:at], getattr(new, name), getattr(d, name)[at:]]) for name in ("kind", "shape", "colour", "round")
    }
    old, fresh = d.knots.clone(), new.knots.clone()
    old[:, 0] += len(new) * (old[:, 0] >= at)
    fresh[:, 0] += at
    return replace(d, **both, points=torch.cat([d.points, new.points]), knots=torch.cat([old, fresh]))


def one(d: Drawing, kind: int, numbers, width: float = 0.0, colour: Tensor | None = None, rounded=False) -> Drawing:
    """A drawing of `d`'s size with a single shape."""
    shape = torch.zeros(1, NUMBERS)
    shape[0, : len(numbers)] = torch.as_tensor(np.asarray(numbers, dtype=np.float32))
    shape[0, 6] = float(width)
    colour = torch.zeros(3) if colour is None else colour
    return replace(
        blank(d.width, d.height, d.background),
        kind=torch.tensor([kind]),
        shape=shape,
        colour=colour.clone()[None],
        round=torch.tensor([bool(rounded)]),
    )


def is_stroke(d: Drawing) -> Tensor:
    """[N] bool: lines and curves."""
    return (d.kind == LINE) | (d.kind == CURVE)


def numbers_in(d: Drawing) -> int:
    """How many numbers a drawing takes, colours included."""
    return int(FREE[d.kind].sum()) + 3 * len(d) + 2 * len(d.points)


def mask_of(n: int, which) -> Tensor:
    """[n] bool, True at `which`."""
    out = torch.zeros(n, dtype=torch.bool)
    out[list(which)] = True
    return out


def bounds(d: Drawing) -> Tensor:
    """[N,4] x0 y0 x1 y1 of what each shape can touch, one pixel of slack included."""
    s, curve, oval = d.shape, (d.kind == CURVE)[:, None], ((d.kind == ELLIPSE) | (d.kind == RING))[:, None]
    x = torch.where(curve, s[:, [0, 2, 4]], s[:, [0, 2, 0]])
    y = torch.where(curve, s[:, [1, 3, 5]], s[:, [1, 3, 1]])
    x = torch.where(oval, torch.stack([s[:, 0] - s[:, 2], s[:, 0] + s[:, 2], s[:, 0]], 1), x)
    y = torch.where(oval, torch.stack([s[:, 1] - s[:, 3], s[:, 1] + s[:, 3], s[:, 1]], 1), y)
    slack = s[:, 6] / 2 + 1
    return torch.stack([x.amin(1) - slack, y.amin(1) - slack, x.amax(1) + slack, y.amax(1) + slack], 1)


def meets(a: Tensor, b: Tensor) -> Tensor:
    """Whether the boxes `a` [...,4] and `b` [...,4] overlap."""
    return (a[..., 0] < b[..., 2]) & (a[..., 2] > b[..., 0]) & (a[..., 1] < b[..., 3]) & (a[..., 3] > b[..., 1])


def crop_of(d: Drawing) -> tuple[slice, slice]:
    """Rows and columns that the first shape can touch."""
    x0, y0, x1, y1 = bounds(d)[0].tolist()
    return slice(max(int(y0), 0), min(int(y1) + 2, d.height)), slice(max(int(x0), 0), min(int(x1) + 2, d.width))


def ends(d: Drawing) -> Tensor:
    """First and last point of each stroke [N,2,2]."""
    return torch.stack([d.shape[:, 0:2], torch.where((d.kind == CURVE)[:, None], d.shape[:, 4:6], d.shape[:, 2:4])], 1)


def outward(d: Drawing) -> Tensor:
    """Unit direction out of both ends of each stroke [N,2,2]."""
    e, curved = ends(d), (d.kind == CURVE)[:, None, None]
    v = e - torch.where(curved, d.shape[:, None, 2:4], e.flip(1))
    return v / (v.norm(dim=2, keepdim=True) + 1e-6)


def points_on(d: Drawing, i: int, n: int = 24) -> np.ndarray:
    """n points [n,2] along stroke i."""
    t, s = np.linspace(0, 1, n)[:, None], d.shape[i].numpy().astype(float)
    if d.kind[i] == LINE:
        return (1 - t) * s[0:2] + t * s[2:4]
    return (1 - t) ** 2 * s[0:2] + 2 * t * (1 - t) * s[2:4] + t * t * s[4:6]


def length(d: Drawing, i: int) -> float:
    """Of stroke i, in pixels."""
    return float(np.linalg.norm(np.diff(points_on(d, i), axis=0), axis=1).sum())


class Easel:
    """The drawing that is being made, with a state that `Run` can save."""

    def __init__(self, d: Drawing):
        self.drawing = d

    def state_dict(self) -> dict:
        return {name: getattr(self.drawing, name) for name in PARTS}

    def load_state_dict(self, state: dict) -> None:
        self.drawing = replace(self.drawing, **{name: value.cpu() for name, value in state.items()})
