"""The picture that a chapter learns: from an SVG or a picture file, at the size that is asked for."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from . import images, svg
from .files import find
from .settings import InputError

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor


def target(path: str | os.PathLike, image_size: int | str | tuple[int, int] | None = None) -> Tensor:
    """The picture to learn, float32 [3,H,W] in [0,1] on white, from an SVG or a picture file.

    `image_size`: None for the native size; a number for the longer side; (width, height) or "WxH" for exactly that, picture fitted inside.
    """
    pixels, shape = read(path, image_size)
    import torch  # late: a refusal need not wait for it

    image = torch.from_numpy(pixels).permute(2, 0, 1).contiguous()
    return image if image.shape[1:] == shape else images.fit(image, images.parse_size(image_size))


def read(path: str | os.PathLike, image_size=None) -> tuple[np.ndarray, tuple[int, int]]:
    """What is in the file, float32 [H,W,3], and the height and width that `target` gives it: an SVG is drawn in them already."""
    size = images.parse_size(image_size)
    if svg.is_text(path) or not images.is_picture(find(path)):
        asked = {"longer": size} if isinstance(size, int) else dict(zip(("width", "height"), size or (), strict=False))
        pixels = svg.rasterise(path, **asked)
        return pixels, pixels.shape[:2]
    pixels = images.decode(path)
    height, width = size[::-1] if isinstance(size, tuple) else images.fitted(*pixels.shape[:2], size) if size else pixels.shape[:2]
    if height * width > images.PIXELS:
        raise InputError(f"{path}: is {width} × {height} pixels, more than {images.PIXELS:,} — give a smaller size with image_size=…")
    return pixels, (height, width)
