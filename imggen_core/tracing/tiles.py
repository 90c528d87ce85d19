"""A picture in tiles of 16 × 16 pixels, and which shapes can touch which tile: only those pairs are ever computed."""

from __future__ import annotations

import torch
from torch import Tensor

from .drawing import CURVE, FRAME, LINE, RING, Drawing, bounds, meets, pick
from .nearest import nearest_t

TILE = 16  # pixels


def tile_corners(width: int, height: int) -> Tensor:
    """Top left corners [T,2] of the tiles that cover a picture, row by row."""
    y, x = torch.meshgrid(torch.arange(0, height, TILE), torch.arange(0, width, TILE), indexing="ij")
    return torch.stack([x.flatten(), y.flatten()], 1).float()


def pixel_centres(corners: Tensor) -> tuple[Tensor, Tensor]:
    """x and y [T,256] of the pixel centres of tiles."""
    y, x = torch.meshgrid(torch.arange(TILE) + 0.5, torch.arange(TILE) + 0.5, indexing="ij")
    return corners[:, :1] + x.reshape(1, -1), corners[:, 1:] + y.reshape(1, -1)


def to_tiles(image: Tensor) -> Tensor:
    """[C,H,W] → [T,C,256], zeros in the padding."""
    rows, columns = -(-image.shape[1] // TILE), -(-image.shape[2] // TILE)
    padded = torch.zeros(len(image), rows * TILE, columns * TILE)
    padded[:, : image.shape[1], : image.shape[2]] = image
    return padded.reshape(-1, rows, TILE, columns, TILE).permute(1, 3, 0, 2, 4).reshape(rows * columns, -1, TILE * TILE)


def from_tiles(tiles: Tensor, width: int, height: int) -> Tensor:
    """[T,C,256] → [C,H,W], the padding cut off."""
    rows, columns = -(-height // TILE), -(-width // TILE)
    whole = tiles.reshape(rows, columns, -1, TILE, TILE).permute(2, 0, 3, 1, 4).reshape(-1, rows * TILE, columns * TILE)
    return whole[:, :height, :width]


def passes_by(kind: int, s: Tensor, corner: Tensor) -> Tensor:
    """Whether a stroke's ink [M] keeps clear of tiles [M,2] that its bounding box meets."""
    centre, half = corner + TILE / 2, s[:, 6] / 2
    reach = TILE * 0.7072 + 1.5 + half
    if kind == LINE:
        across = s[:, 2:4] - s[:, 0:2]
        to = centre - s[:, 0:2]
        return (to[:, 1] * across[:, 0] - to[:, 0] * across[:, 1]).abs() / (across.norm(dim=1) + 1e-3) > reach
    if kind == CURVE:
        t = nearest_t(s, centre[:, :1], centre[:, 1:])
        point = (1 - t) ** 2 * s[:, 0:2] + 2 * t * (1 - t) * s[:, 2:4] + t * t * s[:, 4:6]
        return (centre - point).norm(dim=1) > reach
    if kind == RING:  # certain only for the empty middle of a roundish ring
        away = (centre - s[:, 0:2]).norm(dim=1)
        return away + reach < s[:, 2:4].amin(1)
    if kind == FRAME:
        clear = half[:, None] + 1
        return ((corner > s[:, 0:2] + clear) & (corner + TILE < s[:, 2:4] - clear)).all(1)
    return torch.zeros(len(s), dtype=torch.bool)


def pairs(d: Drawing, corners: Tensor) -> tuple[Tensor, Tensor]:
    """Tile and shape of every pair that can touch, sorted by tile, then from the bottom up."""
    with torch.no_grad():
        tiles = torch.cat([corners, corners + TILE], 1)
        t, i = meets(tiles[:, None], bounds(d)[None]).nonzero(as_tuple=True)
        clear = torch.zeros(len(t), dtype=torch.bool)
        for kind in (FRAME, RING, LINE, CURVE):
            m = (d.kind[i] == kind).nonzero()[:, 0]
            if len(m):
                clear[m] = passes_by(kind, d.shape[i[m]], corners[t[m]])
    return t[~clear], i[~clear]


class Target:
    """A picture [3,H,W] in [0,1] cut into tiles: `pixels` [T,3,256] and `mask` [T,1,256], which is 0 in the padding."""

    def __init__(self, image: Tensor):
        self.image, (self.height, self.width) = image, image.shape[1:]
        self.corners = tile_corners(self.width, self.height)
        self.pixels, self.mask = to_tiles(image), to_tiles(torch.ones_like(image[:1]))


def tiles_of(d: Drawing, target: Target, which) -> Tensor:
    """Indices of the tiles that the shapes `which` can touch."""
    return pairs(pick(d, which), target.corners)[0].unique()
