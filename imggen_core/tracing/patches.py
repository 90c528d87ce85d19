"""Patches: every pixel of a picture given to one patch of colour, and the patches put one on the other, the largest at the bottom."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage, sparse
from scipy.sparse.csgraph import connected_components
from skimage.measure import label
from torch import Tensor

from .ink import ink_layers
from .regions import EIGHT

STEPS = ((0, 1), (1, 1), (1, 0), (1, -1))  # to half of a pixel's neighbours; the other half is opposite


def shifted(a: np.ndarray, dy: int, dx: int) -> np.ndarray:
    """`a` [...,H,W] as seen from its neighbour: out[y,x] = a[y+dy,x+dx], the border repeated."""
    pad = np.pad(a, [(0, 0)] * (a.ndim - 2) + [(1, 1), (1, 1)], mode="edge")
    return pad[..., 1 + dy : pad.shape[-2] - 1 + dy, 1 + dx : pad.shape[-1] - 1 + dx]


def blends(image: np.ndarray, slack: float = 0.03, flat: float = 0.03) -> np.ndarray:
    """The pixels [H,W] of `image` [3,H,W] that lie between two opposite neighbours in colour, as the pixels of an edge do."""
    out = np.zeros(image.shape[1:], bool)
    for step in STEPS:
        a, b = shifted(image, *step), shifted(image, -step[0], -step[1])
        way = b - a
        size = (way * way).sum(0)
        share = ((image - a) * way).sum(0) / (size + 1e-9)
        off = np.linalg.norm(image - a - share * way, axis=0)
        out |= (size > flat**2) & (share > 0.02) & (share < 0.98) & (off < slack + 0.1 * np.sqrt(size))
    return out


def seeds(image: np.ndarray, slack: float = 0.04, smallest: int = 3) -> np.ndarray:
    """Numbered groups [H,W] (from 1) of neighbouring pixels of nearly one colour; 0 where colours blend."""
    pure = ~blends(image)
    n = np.arange(pure.size).reshape(pure.shape)
    rows, columns = [], []
    for a, b in (
        ((slice(None), slice(1, None)), (slice(None), slice(None, -1))),
        ((slice(1, None), slice(None)), (slice(None, -1), slice(None))),
    ):
        near = pure[a] & pure[b] & (np.abs(image[:, *a] - image[:, *b]).max(0) < slack)
        rows.append(n[a][near])
        columns.append(n[b][near])
    rows, columns = np.concatenate(rows), np.concatenate(columns)
    graph = sparse.coo_matrix((np.ones(len(rows)), (rows, columns)), (pure.size, pure.size))
    group = connected_components(graph, directed=False)[1].reshape(pure.shape) + 1
    size = np.bincount(group.ravel())
    group[~pure | (size[group] < smallest)] = 0
    return np.unique(np.r_[0, group.ravel()], return_inverse=True)[1][1:].reshape(pure.shape)


def spread(group: np.ndarray, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Each pixel given to the group whose colour, at the nearest pure pixel, is nearest to its own: groups [H,W], those colours [3,H,W]."""
    group, colour = group.copy(), np.where(group > 0, image, np.nan)
    while (group == 0).any():
        best, given, pure = np.full(group.shape, np.inf), group.copy(), colour.copy()
        for dy in (-1, 0, 1):
            for dx in (-1, 0, 1):
                g, c = shifted(group, dy, dx), shifted(colour, dy, dx)
                off = np.where(g > 0, np.abs(c - image).sum(0) + 0.01 * (abs(dy) + abs(dx)), np.inf)
                better = (group == 0) & (off < best)
                best[better], given[better], pure[:, better] = off[better], g[better], c[:, better]
        if (given == group).all():
            break
        group, colour = given, pure
    return group, colour


@dataclass
class Patch:
    """What is to be painted: a `mask` [H,W] of the pixels, of which those in `hidden` are painted over later; a colour [3]; and how much
    of each pixel is covered, as its colour tells (`share` [H,W])."""

    mask: np.ndarray
    hidden: np.ndarray
    colour: np.ndarray
    share: np.ndarray


def patches_of(image: Tensor, background: Tensor, slack: float = 0.03, most: int = 200) -> list[Patch]:
    """The patches that, painted one after the other on `background`, make `image` [3,H,W]."""
    pixels = image.numpy().astype(float)
    first = seeds(pixels)
    if not first.any():
        return []
    group, pure = spread(first, pixels)
    count = group.max() + 1
    size = np.bincount(group.ravel(), minlength=count)
    colour = np.stack([np.bincount(group.ravel(), pure[c].ravel(), count) for c in range(3)]) / np.maximum(size, 1)
    boxes = ndimage.find_objects(group)
    extent = [ndimage.binary_fill_holes(group[box] == g).sum() if box else 0 for g, box in enumerate(boxes, 1)]
    order = [g for g in np.argsort(extent, kind="stable")[::-1] + 1 if size[g]][:most]
    canvas = np.broadcast_to(background.numpy()[:, None, None], pixels.shape).astype(float)
    waiting, out = set(order), []
    painted_over = lambda: np.isin(group, list(waiting))
    for g in order:
        waiting.discard(g)
        own = group == g
        if np.abs(canvas[:, own] - colour[:, g, None]).max(0).mean() < slack:
            continue
        right = np.abs(canvas - colour[:, group]).max(0) < slack  # what is right already stays
        later = painted_over() & ~right
        mask = own | (ndimage.binary_fill_holes(own) & later) | (ndimage.binary_dilation(own, EIGHT, iterations=2) & later)
        out.append(Patch(mask, mask & ~own, colour[:, g], share_of(mask, mask & ~own, pixels, pure, colour[:, g])))
        canvas[:, mask] = colour[:, g, None]
    return out


def share_of(mask: np.ndarray, hidden: np.ndarray, pixels: np.ndarray, pure: np.ndarray, colour: np.ndarray) -> np.ndarray:
    """How much of each pixel [H,W] a patch covers: as its colour lies between the patch's and that of what is beside it."""
    beside = ndimage.binary_dilation(mask, EIGHT) & ~ndimage.binary_erosion(mask, EIGHT, border_value=1)
    outer = pure[:, *ndimage.distance_transform_edt(mask, return_distances=False, return_indices=True)]
    way = colour[:, None, None] - outer
    share = ((pixels - outer) * way).sum(0) / ((way * way).sum(0) + 1e-6)
    clear = (way * way).sum(0) > 0.002
    return np.where(beside & ~hidden & clear, share.clip(0, 1), mask.astype(float))


def missing(image: Tensor, canvas: Tensor, least: int = 2, most: int = 200) -> list[Patch]:
    """Patches for the ink of `image` [3,H,W] that its picture `canvas` misses: thin things, of which no pixel was pure; the worst first."""
    pixels, base, out = image.numpy().astype(float), canvas.numpy().astype(float), []
    layers, off = ink_layers(image, canvas)
    for known, ink in layers:
        groups = label(ink, connectivity=2)
        for n, box in enumerate(ndimage.find_objects(groups), 1):
            mask = np.zeros(ink.shape, bool)
            mask[box] = groups[box] == n
            if mask.sum() < least:
                continue
            worst = np.argsort(-np.where(mask, off, 0).ravel())[: max(1, int(mask.sum()) // 4)]
            colour = np.median(pixels.reshape(3, -1)[:, worst], 1) if known is None else known.numpy().astype(float)
            way = colour[:, None, None] - base
            share = (((pixels - base) * way).sum(0) / ((way * way).sum(0) + 1e-6)).clip(0, 1)
            near = ndimage.binary_dilation(mask, EIGHT)
            out.append((float((off[mask] ** 2).sum()), Patch(mask, np.zeros_like(mask), colour, np.where(near, share, 0))))
    return [p for _, p in sorted(out, key=lambda item: -item[0])[:most]]
