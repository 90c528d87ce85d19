"""Where a shape is nearest to a pixel. No gradient goes through it: the distance is a minimum there (the envelope theorem)."""

from __future__ import annotations

import torch
from torch import Tensor


def unit(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """The vector (x, y) at length 1."""
    size = (x * x + y * y + 1e-9).sqrt()
    return x / size, y / size


def nearest_t(s: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """t [M,Q] in [0,1] of the point of each quadratic curve `s` [M,≥6] that is nearest to each pixel; without gradient."""
    with torch.no_grad():
        x0, y0, x1, y1, x2, y2 = (s[:, i, None] for i in range(6))
        ax, ay, bx, by = x0 - 2 * x1 + x2, y0 - 2 * y1 + y2, 2 * (x1 - x0), 2 * (y1 - y0)
        grid = torch.linspace(0, 1, 17)
        px, py = x0 + grid * (bx + grid * ax), y0 + grid * (by + grid * ay)
        t = grid[((px - x.mean(1, keepdim=True)) ** 2 + (py - y.mean(1, keepdim=True)) ** 2).argmin(1)][:, None].repeat(1, x.shape[1])
        hairpin = ((x1 - x0) * (x2 - x1) + (y1 - y0) * (y2 - y1) < 0)[:, 0].nonzero()[:, 0]
        if len(hairpin):
            gap = (px[hairpin, None] - x[hairpin, :, None]) ** 2 + (py[hairpin, None] - y[hairpin, :, None]) ** 2
            t[hairpin] = grid[gap.argmin(2)]
        for _ in range(4):
            rx, ry = x0 - x + t * (bx + t * ax), y0 - y + t * (by + t * ay)
            vx, vy = bx + 2 * t * ax, by + 2 * t * ay
            speed = vx * vx + vy * vy
            t = (t - (rx * vx + ry * vy) / torch.maximum(speed + 2 * (rx * ax + ry * ay), 0.3 * speed + 1e-6)).clamp(0, 1)
        return t


def ellipse_distance(s: Tensor, x: Tensor, y: Tensor):
    """First-order signed distance from ellipses [M,4: cx cy rx ry] (negative inside), the outward normal, and the point of the
    unit circle."""
    rx, ry = s[:, 2, None].clamp(min=0.3), s[:, 3, None].clamp(min=0.3)
    u, v = (x - s[:, 0, None]) / rx, (y - s[:, 1, None]) / ry
    k = (u * u + v * v + 1e-8).sqrt()
    gx, gy = u / rx, v / ry
    g = (gx * gx + gy * gy + 1e-12).sqrt()
    return (k - 1) * k / g, gx / g, gy / g, u / k, v / k
