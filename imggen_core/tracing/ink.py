"""Ink: what a canvas still misses of a picture, in layers of one colour each, and the frames among it."""

from __future__ import annotations

import math

import numpy as np
import torch
from scipy import ndimage
from skimage.measure import label
from torch import Tensor

from .regions import EIGHT, colour_ids, id_colour, ink_run, regions_in


def unmix(residual: np.ndarray, ink: Tensor, canvas: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """α and what it leaves unexplained, for residual = α (ink - canvas); arrays [3,...] → [...]."""
    step = ink.numpy().reshape(3, *[1] * (residual.ndim - 1)) - canvas
    alpha = (residual * step).sum(0) / ((step * step).sum(0) + 1e-6)
    return alpha, np.linalg.norm(residual - alpha.clip(0, 1) * step, axis=0)


def ink_colours(image: Tensor, canvas: Tensor, wrong: np.ndarray, agree: int) -> list[int]:
    """Colour ids of the ink: those of wrong pixels that at least `agree` neighbours share, without blends of canvas and another ink."""
    ids, residual, base = colour_ids(image), (image - canvas).numpy(), canvas.numpy()
    same = sum((np.roll(ids, (a, b), (0, 1)) == ids).astype(int) for a in (-1, 0, 1) for b in (-1, 0, 1)) - 1
    core = (same >= agree) & wrong
    colours, count = np.unique(ids[core], return_counts=True)
    known = [int(colours[n]) for n in np.argsort(-count) if count[n] >= 6][:16]
    out = []
    for c in known:
        y, x = np.nonzero((ids == c) & core)
        blend = np.zeros(len(y), bool)
        for other in known:
            if other != c:
                alpha, rest = unmix(residual[:, y, x], id_colour(other), base[:, y, x])
                beside = ndimage.binary_dilation((ids == other) & core, EIGHT)[y, x]
                blend |= (rest < 0.03) & (alpha > 0.03) & (alpha < 0.97) & beside
        if blend.mean() < 0.6:
            out.append(c)
    return out


def ink_layers(
    image: Tensor, canvas: Tensor, agree: int = 3, least: float = 0.06
) -> tuple[list[tuple[Tensor | None, np.ndarray]], np.ndarray]:
    """The ink that the canvas misses, by colour: [(colour or None, mask [H,W])], and how wrong each pixel is [H,W]."""
    residual = (image - canvas).numpy()
    size = np.linalg.norm(residual, axis=0)
    wrong = size > least
    strong = wrong & (size > 0.5 * ndimage.maximum_filter(size, 5))
    colours = ink_colours(image, canvas, wrong, agree)
    if not colours:
        return [(None, strong)], size
    alphas, costs = zip(*(unmix(residual, id_colour(c), canvas.numpy()) for c in colours), strict=True)
    far = [ndimage.distance_transform_edt(colour_ids(image) != c) > 2.5 for c in colours]
    costs = np.array(costs) + 0.06 * np.array(far)
    which, cost = costs.argmin(0), costs.min(0)
    alpha = np.take_along_axis(np.array(alphas), which[None], 0)[0]
    layers = [(id_colour(c), wrong & (which == n) & (cost < 0.15) & (alpha >= 0.5)) for n, c in enumerate(colours)]
    return [*layers, (None, strong & (cost >= 0.15))], size


def side_of(lines: np.ndarray) -> tuple[float, float]:
    """Of lines of pixels from one border inward: the share that begin with ink (within 3 pixels), and their typical thickness."""
    inked = lines[lines[:, :3].any(1)]
    runs = [ink_run(line[line.argmax() :]) for line in inked]
    return len(inked) / len(lines), float(np.median(runs)) if runs else 0.0


def frames_in(mask: np.ndarray) -> tuple[list[tuple[list[float], float]], np.ndarray]:
    """Frames in a mask of ink, as ([x0, y0, x1, y1], width), and the mask without their sides."""
    found, rest = [], mask.copy()
    for r in regions_in(label(mask, connectivity=2), None):
        if min(r.mask.shape) < 7:
            continue
        shares, runs = zip(*(side_of(m) for m in (r.mask, r.mask[:, ::-1], r.mask.T, r.mask.T[:, ::-1])), strict=True)
        t = float(np.median(runs))
        if min(shares) < 0.95 or t > min(r.mask.shape) / 4 or max(runs) > 2 * t + 2:
            continue
        found.append(([r.x0 + t / 2, r.y0 + t / 2, r.x1 - t / 2, r.y1 - t / 2], t))
        sides = r.mask.copy()
        depth = math.ceil(t) + 1
        sides[depth:-depth, depth:-depth] = False
        rest[r.y0 : r.y1, r.x0 : r.x1] &= ~sides
    return found, rest


def at_pixels(values: np.ndarray, points: np.ndarray) -> np.ndarray:
    """`values` [...,H,W] at points [n,2] (x, y) → [...,n]."""
    x, y = np.clip(np.floor(points).astype(int), 0, [values.shape[-1] - 1, values.shape[-2] - 1]).T
    return values[..., y, x]


class Ink:
    """What a drawing misses: `layers` of ink by colour, how `wrong` each pixel is, how deep in its ink (`depth`), and where there
    is any (`near`)."""

    def __init__(self, image: Tensor, canvas: Tensor, agree: int):
        self.image, self.canvas = image.numpy(), canvas.numpy()
        self.layers, self.wrong = ink_layers(image, canvas, agree)
        self.depth = np.max([ndimage.distance_transform_edt(mask) for _, mask in self.layers], 0)
        self.near = ndimage.binary_dilation(self.depth > 0, EIGHT)

    def width(self, points: np.ndarray) -> float:
        """Of the stroke along some points."""
        return max(2 * float(np.median(at_pixels(self.depth, points))) - 0.7, 1.0)

    def colour(self, points: np.ndarray, known: Tensor | None) -> Tensor:
        """Of the stroke along some points: the layer's, or what stands where the ink is strongest."""
        strongest = points[np.argsort(-at_pixels(self.wrong, points))[: max(len(points) * 2 // 5, 1)]]
        return torch.from_numpy(np.median(at_pixels(self.image, strongest), 1)).float() if known is None else known
