"""Lines, quadratic curves and upright ellipses through ordered points (least squares), and where to cut points into such pieces."""

from __future__ import annotations

import math

import numpy as np


def angle(a: np.ndarray, b: np.ndarray) -> float:
    """The angle between unit vectors, in radians."""
    return float(np.arccos(np.clip(a @ b, -1, 1)))


def fit_line(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The segment [4] through ordered points, and their distances from it."""
    middle = points.mean(0)
    way = np.linalg.svd(points - middle, full_matrices=False)[2][0]
    way = way if (points[-1] - points[0]) @ way > 0 else -way
    along = (points - middle) @ way
    return np.concatenate([middle + along.min() * way, middle + along.max() * way]), np.abs((points - middle) @ [-way[1], way[0]])


def fit_curve(points: np.ndarray, rounds: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """The quadratic Bézier curve [6] through ordered points, and their distances across it."""
    t = np.concatenate([[0], np.linalg.norm(np.diff(points, axis=0), axis=1).cumsum()])
    t = t / max(t[-1], 1e-9)
    for n in range(rounds):
        basis = np.stack([(1 - t) ** 2, 2 * t * (1 - t), t * t], 1)
        c = np.linalg.lstsq(basis, points, rcond=None)[0]
        speed = 2 * (1 - t)[:, None] * (c[1] - c[0]) + 2 * t[:, None] * (c[2] - c[1])
        if n + 1 < rounds:
            t = np.clip(t + ((points - basis @ c) * speed).sum(1) / ((speed**2).sum(1) + 1e-6), 0, 1)
    normal = np.stack([-speed[:, 1], speed[:, 0]], 1) / (np.linalg.norm(speed, axis=1, keepdims=True) + 1e-9)
    return c.ravel(), np.abs(((points - basis @ c) * normal).sum(1))


def fit_ellipse(points: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """The upright ellipse [4: cx cy rx ry] a x² + b y² + c x + d y = 1 through points, and their distances; None if it is none."""
    middle = points.mean(0)
    scale = max(np.abs(points - middle).max(), 1)
    x, y = ((points - middle) / scale).T
    a, b, c, d = np.linalg.lstsq(np.stack([x * x, y * y, x, y], 1), np.ones(len(x)), rcond=None)[0]
    if min(a, b) <= 1e-3:
        return None
    cx, cy = -c / (2 * a), -d / (2 * b)
    k = 1 + a * cx * cx + b * cy * cy
    e = np.array([cx, cy, math.sqrt(k / a), math.sqrt(k / b)]) * scale + [*middle, 0, 0]
    return e, np.abs(off_ellipse(points, e))


def off_ellipse(points: np.ndarray, e: np.ndarray) -> np.ndarray:
    """First-order distances of points from an ellipse."""
    u = (points - e[:2]) / e[2:]
    k = np.linalg.norm(u, axis=1) + 1e-9
    return (k - 1) * k / (np.linalg.norm(u / e[2:], axis=1) + 1e-9)


def corners_of(points: np.ndarray, closed: bool, reach: int = 7, turn: float = 0.75) -> list[int]:
    """Where ordered points bend by more than `turn` radians (43°) within ±reach points, one per bend."""
    p, n = points, len(points)
    if n < 9:
        return []
    i = np.arange(n)
    before, after = (p[(i + s) % n] if closed else p[np.clip(i + s, 0, n - 1)] for s in (-reach, reach))
    a, b = p - before, after - p
    bend = np.abs(np.arctan2(a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0], (a * b).sum(1)))
    if not closed:
        bend[:4] = bend[-4:] = 0
    out = []
    for k in np.argsort(-bend):
        apart = [min(abs(k - j), n - abs(k - j)) if closed else abs(k - j) for j in out]
        if bend[k] >= turn and all(distance > reach for distance in apart):
            out.append(int(k))
    return sorted(out)


def cut_at_corners(points: np.ndarray, closed: bool) -> list[np.ndarray]:
    """The pieces of ordered points between their corners."""
    cut = corners_of(points, closed)
    if closed:
        first = cut[0] if cut else 0
        points, cut = np.concatenate([points[first:], points[: first + 1]]), [k - first for k in cut[1:]]
    return [points[a : b + 1] for a, b in zip([0, *cut], [*cut, len(points) - 1], strict=True)]


def longest_prefixes(points: np.ndarray, tolerance: float) -> list[np.ndarray]:
    """Cut ordered points into the longest prefixes that one quadratic explains to within `tolerance` pixels (found by bisection)."""
    out = []
    fits = lambda p: len(p) < 5 or fit_curve(p)[1].max() < tolerance
    while len(points) > 1:
        low, high = min(4, len(points)), len(points)
        low = high if fits(points) else low
        while high - low > 2:
            middle = (low + high) // 2
            low, high = (middle, high) if fits(points[:middle]) else (low, middle)
        low = len(points) if len(points) - low < 4 else low
        out.append(points[:low])
        points = points[low - 1 :] if low < len(points) else points[:0]
    return out


def pieces_of(points: np.ndarray, tolerance: float) -> list[np.ndarray]:
    """The fewer of the prefixes seen from the front and from the back."""
    return min(longest_prefixes(points, tolerance), longest_prefixes(points[::-1], tolerance), key=len)


def evenly(points: np.ndarray, step: float) -> np.ndarray:
    """A closed way through `points`, the last beside the first, walked in steps of about `step`."""
    way = np.concatenate([points, points[:1]])
    far = np.r_[0, np.linalg.norm(np.diff(way, axis=0), axis=1).cumsum()]
    n = max(int(round(far[-1] / step)), 8)
    at = np.arange(n) * far[-1] / n
    return np.stack([np.interp(at, far, way[:, k]) for k in (0, 1)], 1)
