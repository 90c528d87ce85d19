"""What the judge of designs needs beyond the lesson: any picture as an array, the page, its noise and ink, text told from pictures."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import ndimage

from ..kit import images
from ..kit.settings import InputError
from .inputs import SIZES
from .layouts import LETTERED


def as_picture(image) -> np.ndarray:
    """Any picture (array, tensor, Pillow picture or path of a file) as float32 [H,W,3] in [0,1]; InputError for what is none."""
    if isinstance(image, str | Path):
        image = images.open_image(image)
    if np.ndim(image) == 3 and np.shape(image)[-1] == 4 and np.shape(image)[0] != 3:
        image = np.asarray(image)[..., :3]  # opaque, or made for white
    try:
        picture = np.asarray(images.as_array(image))
    except (TypeError, ValueError) as error:
        raise InputError(f"judge: {error} — give one picture") from None
    if not np.issubdtype(picture.dtype, np.floating):
        raise InputError(f"judge: a picture of {picture.dtype} — give bytes, or floats in [0,1]")
    if not all(SIZES[0] <= side <= SIZES[1] for side in picture.shape[:2]):
        raise InputError(f"judge: {picture.shape[1]} × {picture.shape[0]} pixels — give from {SIZES[0]} to {SIZES[1]} to a side")
    if not np.isfinite(picture).all():
        raise InputError("judge: a picture with NaN or infinity in it — look at what made it")
    if picture.min() < -0.9 or picture.max() > 2:
        raise InputError(f"judge: values from {picture.min():.3g} to {picture.max():.3g} — scale the picture to [0,1]")
    return picture.clip(0, 1).astype(np.float32)


def extent(counts: np.ndarray) -> slice:
    """From the first to the last of `counts` [n] above half the largest; all of it where they are all 0."""
    kept = np.flatnonzero(counts > 0.5 * counts.max())
    return slice(int(kept[0]), int(kept[-1]) + 1) if len(kept) else slice(0, len(counts))


def find_page(image: np.ndarray) -> tuple[slice, slice, np.ndarray]:
    """The page in a picture float [H,W,3]: its rows, its columns, and its background colour [3]."""
    corners = np.concatenate([image[:2, :2], image[:2, -2:], image[-2:, :2], image[-2:, -2:]]).reshape(-1, 3)
    off_board = np.abs(image - np.median(corners, 0)).max(2) > 0.07
    rows, columns = (extent(off_board.sum(axis)) for axis in (1, 0))
    pixels = image[rows, columns].reshape(-1, 3)
    bins = (pixels * 15.99).astype(int) @ np.array([256, 16, 1])
    common = pixels[bins == np.bincount(bins).argmax()].mean(0)
    near = pixels[np.abs(pixels - common).max(1) < 0.08]
    return rows, columns, np.median(near if len(near) else pixels, 0)


def noise_of(page: np.ndarray, background: np.ndarray) -> float:
    """The standard deviation of the noise on a page [h,w,3], from the median deviation of its background."""
    bare = np.abs(page - background)[np.abs(page - background).max(2) < 0.12]
    return 1.4826 * float(np.median(bare)) if len(bare) else 0.0


def ink_mask(apart: np.ndarray, noise: float, reach: int) -> np.ndarray:
    """Where a page is inked, given how far each pixel is from the background [h,w]; without what touches the page's edge.

    noise: of the background; reach: how many pixels away a pixel's neighbourhood ends.
    """
    strongest = ndimage.maximum_filter(apart, 2 * reach + 1)
    ink = apart > np.maximum(max(0.08, 4.5 * noise), 0.35 * strongest)
    pieces, _ = ndimage.label(ink, np.ones((3, 3)))
    edge = np.concatenate([pieces[0], pieces[-1], pieces[:, 0], pieces[:, -1]])
    return ink & ~np.isin(pieces, edge[edge > 0])


@dataclass(frozen=True)
class Element:
    """Something found on a page. Lengths are shares of the picture's sides."""

    x: float
    y: float
    w: float
    h: float
    ink: np.ndarray  # [3] in [0,1]: the colour of its strongest pixels
    is_text: bool


def looks_like_text(strength: np.ndarray, off_line: np.ndarray, height: float, noise: float = 0.0) -> bool:
    """Whether an element is a line of text.

    strength: how far each of its pixels [h,w] is from the background; off_line [n]: how far its colours are from the line between ink
    and background; height: a share of the picture's height; noise: of the background.
    """
    strength = strength / max(np.quantile(strength[strength > 0], 0.8), 1e-6) if strength.any() else strength
    lettered = height > LETTERED and strength.max(0)[2:-2].min(initial=1) < 0.7
    return bool((off_line > 0.1 + 2.5 * noise).mean() < 0.1 and (height < LETTERED or (height < 0.185 and lettered)))


def ink_colour(colours: np.ndarray, strength: np.ndarray, background: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The full colour [3] of an element's pixels `colours` [n,3], and how far each lies off the line from the background to it [n]."""
    full = np.median(colours[strength >= np.quantile(strength, 0.8)], 0)
    line = full - background
    along = ((colours - background) @ line / max(line @ line, 1e-9))[:, None]
    return full, np.abs(colours - background - along * line).max(1)


def belongs(line: Element, last: Element) -> bool:
    """Whether `line` goes on the block whose last line is `last`."""
    overlap = min(last.x + last.w, line.x + line.w) - max(last.x, line.x)
    near = -0.2 * last.h < line.y - last.y - last.h < 1.3 * min(last.h, line.h)
    return bool(near and overlap > 0 and 0.7 < line.h / last.h < 1.4)


def blocks_of(lines: list[Element]) -> list[list[Element]]:
    """Lines of text joined to blocks: near under one another and of like height."""
    blocks = []
    for line in sorted(lines, key=lambda line: line.y):
        home = next((block for block in blocks if belongs(line, block[-1])), None)
        if home is None:
            blocks.append([line])
        else:
            home.append(line)
    return blocks


def bounds_of(block: list[Element]) -> tuple:
    """x, y, w, h of the smallest box round a block."""
    x, y = min(line.x for line in block), min(line.y for line in block)
    return x, y, max(line.x + line.w for line in block) - x, max(line.y + line.h for line in block) - y
