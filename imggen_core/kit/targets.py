"""The picture that a chapter learns: from an SVG or a picture file, at the size that is asked for."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from . import images, svg
from .files import find
from .settings import InputError

if TYPE_CHECKING:
    from torch import Tensor


def target(path: str | os.PathLike, image_size: int | str | tuple[int, int] | None = None) -> Tensor:
    """The picture to learn, float32 [3,H,W] in [0,1] on white, from an SVG or a picture file.

    `image_size`: None for the native size; a number for the longer side; (width, height) or "WxH" for exactly that, picture fitted inside.
    """
    size = images.parse_size(image_size)
    if not svg.is_text(path) and images.is_picture(find(path)):
        picture = images.open_image(path, size)
        height, width = picture.shape[1:]
        if height * width > images.PIXELS:
            raise InputError(f"{path}: is {width} × {height} pixels, more than {images.PIXELS:,} — give a smaller size with image_size=…")
        return picture
    asked = {"longer": size} if isinstance(size, int) else dict(zip(("width", "height"), size or (), strict=False))
    pixels = svg.rasterise(path, **asked)
    import torch  # late: a refusal need not wait for it

    return torch.from_numpy(pixels).permute(2, 0, 1).contiguous()
