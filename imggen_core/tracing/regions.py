"""Flat regions: connected pixels of one colour, and the boxes, ellipses, frames and rings that each of them could be."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from scipy import ndimage
from skimage.measure import label
from torch import Tensor

from .drawing import BOX, ELLIPSE, FRAME, RING, ROUNDED, Drawing, bounds, meets, one

EIGHT = np.ones((3, 3), int)  # a pixel and its eight neighbours
HAIR = 0.02  # pixels that a shape is proposed too large: an edge exactly between two pixels has a slope by neither


def colour_ids(image: Tensor) -> np.ndarray:
    """Each pixel's colour as one whole number, [H,W]."""
    r, g, b = (image * 255).round().to(torch.uint8).numpy().astype(np.int64)
    return (r << 16) + (g << 8) + b


def id_colour(number: int) -> Tensor:
    """The colour [3] in [0,1] of such a number."""
    return torch.tensor([number >> 16, (number >> 8) & 255, number & 255]) / 255


def background_of(image: Tensor) -> Tensor:
    """The commonest colour [3] along the border."""
    ids = colour_ids(image)
    colours, count = np.unique(np.concatenate([ids[0], ids[-1], ids[:, 0], ids[:, -1]]), return_counts=True)
    return id_colour(int(colours[count.argmax()]))


@dataclass
class Region:
    """Pixels of one colour: the box [x0, x1) × [y0, y1), the mask inside it, the colour; `joined` if thin things had cut it apart."""

    x0: int
    y0: int
    x1: int
    y1: int
    mask: np.ndarray
    colour: Tensor
    joined: bool = False

    @property
    def area(self) -> int:
        return (self.x1 - self.x0) * (self.y1 - self.y0)


def regions_in(labels: np.ndarray, colour, x0=0, y0=0, joined=False, smallest=1) -> list[Region]:
    """One Region for each label of at least `smallest` pixels; `colour` is a colour or a function of (y, x)."""
    out, size = [], np.bincount(labels.ravel())
    for n, box in enumerate(ndimage.find_objects(labels), 1):
        if box is not None and size[n] >= smallest:
            mask = labels[box] == n
            y, x = np.argwhere(mask)[0] + [box[0].start, box[1].start]
            out.append(
                Region(
                    x0 + box[1].start,
                    y0 + box[0].start,
                    x0 + box[1].stop,
                    y0 + box[0].stop,
                    mask,
                    colour(y, x) if callable(colour) else colour,
                    joined,
                )
            )
    return out


def flat_regions(image: Tensor, smallest: int = 12) -> list[Region]:
    """The connected regions of exactly one colour."""
    return regions_in(label(colour_ids(image) + 1, connectivity=1), lambda y, x: image[:, y, x].clone(), smallest=smallest)


def joined_regions(regions: list[Region], size: tuple[int, int], reach: int = 4) -> list[Region]:
    """Regions of one colour less than 2·reach pixels apart, as one: a cross had cut a card into four; `size` = (H, W)."""
    out = []
    for colour in {tuple(r.colour.tolist()) for r in regions}:
        alike = [r for r in regions if tuple(r.colour.tolist()) == colour]
        if len(alike) > 1:
            ink = np.zeros(size, bool)
            for r in alike:
                ink[r.y0 : r.y1, r.x0 : r.x1] |= r.mask
            labels = label(ndimage.binary_dilation(ink, np.ones((3, 3)), iterations=reach), connectivity=1) * ink
            merged = regions_in(labels, alike[0].colour, joined=True)
            out += [m for m in merged if sum(r.x0 >= m.x0 and r.y0 >= m.y0 and r.x1 <= m.x1 and r.y1 <= m.y1 for r in alike) > 1]
    return out


def thick_parts(r: Region, size: int = 5) -> list[Region]:
    """What is left of a region where it is at least `size` pixels thick: the bars without the axis that they stand on."""
    opened = ndimage.binary_opening(np.pad(r.mask, size), np.ones((size, size)))[size:-size, size:-size]
    parts = regions_in(label(opened, connectivity=1), r.colour, r.x0, r.y0)
    return parts if any(p.mask.shape != r.mask.shape for p in parts) else []


def ink_run(line: np.ndarray) -> int:
    """How many pixels from the start of a line of pixels are ink."""
    return len(line) if line.all() else int((~line).argmax())


def thickness_at_sides(mask: np.ndarray) -> list[float]:
    """The typical run of ink inward from each of the four sides, where at least half of a side is ink."""
    runs = []
    for m in (mask, mask[:, ::-1], mask.T, mask.T[:, ::-1]):
        rows = m[m[:, 0]]
        if len(rows) >= 0.5 * len(m):
            runs.append(float(np.median([ink_run(r) for r in rows])))
    return runs


def corner_radius(mask: np.ndarray) -> float:
    """The radius [pixels] of the rounded corners of a box, by the pixels that each of its four corners lacks (the fewest count)."""
    half = tuple(-(-n // 2) for n in mask.shape)
    empty = []
    for m in (mask, mask[::-1], mask[:, ::-1], mask[::-1, ::-1]):
        groups = label(~m[: half[0], : half[1]], connectivity=1)
        empty.append((groups == groups[0, 0]).sum() if groups[0, 0] else 0)
    return math.sqrt(min(empty) / (1 - math.pi / 4))


def shapes_of(r: Region, paper: Drawing) -> list[Drawing]:
    """The shapes that a region could be."""
    w, h, cx, cy, out = r.x1 - r.x0, r.y1 - r.y0, (r.x0 + r.x1) / 2, (r.y0 + r.y1) / 2, []
    if ndimage.distance_transform_edt(np.pad(r.mask, 1)).max() >= 2:
        out.append(one(paper, BOX, [r.x0 - HAIR, r.y0 - HAIR, r.x1 + HAIR, r.y1 + HAIR], 0, r.colour))
        if min(w, h) >= 4:
            out.append(one(paper, ELLIPSE, [cx, cy, w / 2 + 0.2, h / 2 + 0.2], 0, r.colour))
        radius = corner_radius(r.mask)
        if 1.5 <= radius <= min(w, h) / 2 and (radius < 0.35 * min(w, h) or max(w, h) > 1.3 * min(w, h)):  # else it is a circle
            out.append(one(paper, ROUNDED, [r.x0 - HAIR, r.y0 - HAIR, r.x1 + HAIR, r.y1 + HAIR, radius], 0, r.colour))
    if r.joined or min(w, h) < 6:
        return out
    runs = thickness_at_sides(r.mask)
    if len(runs) >= 3 and np.median(runs) < min(w, h) / 3:
        t = float(np.median(runs))
        out.append(one(paper, FRAME, [r.x0 + t / 2, r.y0 + t / 2, r.x1 - t / 2, r.y1 - t / 2], t + 2 * HAIR, r.colour))
    row, column = r.mask[h // 2], r.mask[:, w // 2]
    runs = [run for run in map(ink_run, (row, row[::-1], column, column[::-1])) if run]
    if len(runs) >= 2 and np.median(runs) < 0.4 * min(w, h):
        t = float(np.median(runs)) + 0.5
        out.append(one(paper, RING, [cx, cy, w / 2 + 0.2 - t / 2, h / 2 + 0.2 - t / 2], t, r.colour))
    return out


@dataclass
class Trial:
    """A shape tried on a canvas: where (`at` in the order, `crop`), what comes out, and what it gains: capped, and in plain
    squared error."""

    shape: Drawing
    at: int
    crop: tuple[slice, slice]
    canvas: Tensor
    gain: float
    plain: float


def places_for(d: Drawing, new: Drawing) -> list[int]:
    """On top; and beneath all that it meets but does not lie within."""
    mine, theirs = bounds(new)[0], bounds(d)
    around = (theirs[:, :2] <= mine[:2] + 1).all(1) & (theirs[:, 2:] >= mine[2:] - 1).all(1)
    over = (meets(theirs, mine) & ~around).nonzero()[:, 0].tolist()
    return [len(d)] + over[:1]
