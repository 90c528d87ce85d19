"""Small drawings with shapes of every kind, for the tests of chapter 02 and of what it stands on."""

import numpy as np
import pytest
import torch

from imggen_core.tracing.drawing import BOX, CURVE, ELLIPSE, FRAME, FREE, LINE, PARTS, RING, ROUNDED, Drawing, blank, insert, one
from imggen_core.tracing.drawing import KINDS as SHAPES
from imggen_core.tracing.outlines import Outline, as_shape

SIDE, FINE = 40, 8  # of the small pictures, and the points per pixel and axis of the supersampled reference
SHARP = [(kind, False) for kind in (BOX, FRAME, ELLIPSE, RING)]
KINDS = [*SHARP, (LINE, False), (LINE, True), (CURVE, False), (CURVE, True), (ROUNDED, False)]
NAMES = [f"{SHAPES[kind]}{' round' * rounded}" for kind, rounded in KINDS]
every_kind = pytest.mark.parametrize("kind, rounded", KINDS, ids=NAMES)


def paper(width=SIDE, height=SIDE, ground=(0.0, 0.0, 0.0)):
    return blank(width, height, torch.tensor(ground))


def shape(kind: int, chance: np.random.Generator, inner=2.0) -> tuple[np.ndarray, float]:
    """Numbers and width of a shape inside the small picture, its edges on the points of no supersample; curves bend, but not back."""
    u = lambda low, high, *n: (chance.uniform(low, high, n) * FINE).round() / FINE
    if kind in (BOX, FRAME):
        corner = u(4, 18, 2)
        return np.concatenate([corner, corner + u(8, 18, 2)]), float(chance.integers(1, 3) * inner / 2)
    if kind == ROUNDED:
        corner = u(4, 18, 2)
        return np.concatenate([corner, corner + u(10, 18, 2), u(1, 5, 1)]), 0.0
    if kind in (ELLIPSE, RING):
        return np.concatenate([u(16, 24, 2), u(7, 11, 2)]), float(u(1, 4))
    ends = np.concatenate([u(5, 14, 2), u(25, 35, 2)])
    ends = ends if chance.random() < 0.5 else ends[[0, 3, 2, 1]]
    if kind == LINE:
        return ends, float(u(1, 5))
    across = np.array([ends[1] - ends[3], ends[2] - ends[0]])
    return np.concatenate([ends[:2], (ends[:2] + ends[2:]) / 2 + chance.uniform(-0.45, 0.45) * across, ends[2:]]), float(u(1, 4))


def drawing(seed: int, n=12, width=SIDE, height=SIDE) -> Drawing:
    """Shapes of every kind on one another, some beyond the border."""
    chance, d = np.random.default_rng(seed), paper(width, height, (1.0, 0.9, 0.8))
    for k in range(n):
        kind, rounded = KINDS[k % len(KINDS)]
        numbers, w = shape(kind, chance)
        offset = chance.uniform(-15, (max(width - 25, 1), max(height - 25, 1)))
        places = 2 if kind in (ELLIPSE, RING) else len(numbers) // 2 * 2
        numbers = numbers + np.concatenate([np.tile(offset, places // 2), np.zeros(len(numbers) - places)])
        colour = torch.from_numpy(chance.random(3)).float()
        d = insert(d, one(d, kind, numbers, w if FREE[kind, 6] else 0, colour, rounded))
    return d


def along(kind: int, numbers) -> np.ndarray:
    """Many points along the centre line of a stroke or a ring, the obvious way."""
    t = np.linspace(0, 1, 2001)[:, None]
    n = np.asarray(numbers)
    if kind == RING:
        return n[:2] + n[2:4] * np.concatenate([np.cos(2 * np.pi * t), np.sin(2 * np.pi * t)], 1)
    if kind == LINE:
        return (1 - t) * n[:2] + t * n[2:4]
    return (1 - t) ** 2 * n[:2] + 2 * t * (1 - t) * n[2:4] + t * t * n[4:6]


def alone(kind, rounded, seed=0, colour=(1.0, 1.0, 1.0), ground=(0.0, 0.0, 0.0)) -> Drawing:
    numbers, width = shape(kind, np.random.default_rng(seed))
    return one(paper(ground=ground), kind, numbers, width if FREE[kind, 6] else 0, torch.tensor(colour), rounded)


INK = torch.tensor([0.1, 0.1, 0.4])
WHITE = (1.0, 1.0, 1.0)


def parts(*shapes) -> Drawing:
    d = paper(60, 60, WHITE)
    for kind, numbers, width in shapes:
        d = insert(d, one(d, kind, numbers, width, INK))
    return d


def scattered() -> Drawing:
    """One shape of each kind, side by side with room."""
    d, chance = paper(135, 90, (1.0, 1.0, 1.0)), np.random.default_rng(8)
    for k, (kind, rounded) in enumerate(KINDS[:6]):
        numbers, width = shape(kind, chance)
        shift = np.array([45 * (k % 3), 45 * (k // 3)])
        count = 1 if kind in (ELLIPSE, RING) else len(numbers) // 2
        numbers[: 2 * count] += np.tile(shift, count)
        d = insert(d, one(d, kind, numbers, width if FREE[kind, 6] else 0, torch.tensor([0.1, 0.2, 0.15 * k]), rounded))
    return d


def same(a: Drawing, b: Drawing) -> bool:
    return all(torch.equal(getattr(a, name), getattr(b, name)) for name in PARTS)


def noise(*size) -> torch.Tensor:
    return torch.rand(3, *size, generator=torch.Generator().manual_seed(0))


# ---- paths -----------------------------------------------------------------------------------------------------------


def outline(*loops) -> Outline:
    """Of loops of (x, y, whether it goes through the point)."""
    points, knot = [[p[:2] for p in loop] for loop in loops], [[p[2] for p in loop] for loop in loops]
    loop = np.repeat(np.arange(len(loops)), [len(p) for p in points])
    return Outline(np.concatenate(points).astype(np.float32).astype(float), loop, np.concatenate(knot).astype(bool))


def path(*loops, colour=INK, on: Drawing | None = None) -> Drawing:
    """A drawing with one path, of loops as in `outline`."""
    return as_shape(paper(ground=WHITE) if on is None else on, outline(*loops), torch.as_tensor(colour))


def loop_about(chance: np.random.Generator, centre, radius: float, n=7, pulled=0.5, least=0.6) -> list[tuple]:
    """A random loop around a point, which it never crosses: n points, the share `pulled` of which only pull."""
    angle = (np.arange(n) + chance.uniform(-0.25, 0.25, n)) * 2 * np.pi / n
    far = radius * chance.uniform(least, 1, n)
    return [(centre[0] + r * np.cos(a), centre[1] + r * np.sin(a), chance.random() >= pulled) for a, r in zip(angle, far, strict=True)]


def pieces(o: Outline) -> list[list[np.ndarray]]:
    """The lines [2,2] and quadratic curves [3,2] of each loop, by TrueType's rule: between two points that pull lies one in the middle."""
    out = []
    for n in np.unique(o.loop):
        p, on = o.points[o.loop == n], o.knot[o.loop == n]
        full = []
        for k in range(len(p)):
            full.append((p[k], on[k]))
            if not on[k] and not on[(k + 1) % len(p)]:
                full.append(((p[k] + p[(k + 1) % len(p)]) / 2, True))
        first = next(k for k, (_, through) in enumerate(full) if through)
        full = full[first:] + full[: first + 1]
        stops = [k for k, (_, through) in enumerate(full) if through]
        out.append([np.array([q for q, _ in full[a : b + 1]]) for a, b in zip(stops, stops[1:], strict=False)])
    return out


def along_piece(piece: np.ndarray, n=24) -> np.ndarray:
    """n points along a line or curve, the last left out."""
    t = np.arange(n)[:, None] / n
    return (1 - t) * piece[0] + t * piece[1] if len(piece) == 2 else (1 - t) ** 2 * piece[0] + 2 * t * (1 - t) * piece[1] + t * t * piece[2]


def enclosed(o: Outline) -> float:
    """The area, signed, in closed form: of the polygon through the ends, and ⅔ of the triangle of each curve."""
    cross = lambda a, b: a[0] * b[1] - a[1] * b[0]
    flat = [piece for loop in pieces(o) for piece in loop]
    return sum(cross(q[0], q[-1]) / 2 + (cross(q[1] - q[0], q[2] - q[0]) / 3 if len(q) == 3 else 0) for q in flat)


def letter(on: Drawing | None = None) -> Drawing:
    """A path like a letter: straight sides, a round back, and a hole."""
    outer = [(8, 6, 1), (22, 6, 1), (34, 6, 0), (34, 20, 0), (34, 34, 0), (22, 34, 1), (8, 34, 1)]
    return path(outer, [(14, 12, 1), (14, 28, 1), (28, 28, 0), (28, 12, 0)], on=on)
