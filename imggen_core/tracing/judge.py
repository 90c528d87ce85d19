"""What the judge says: the file, drawn by CairoSVG at 1× and 4×, beside the target."""

from __future__ import annotations

import contextlib
import math

import torch
from torch import Tensor

from ..kit import files, images, svg, targets
from ..kit.images import psnr
from ..kit.settings import InputError
from .document import cairo, elements, hex_colour, to_svg
from .drawing import Drawing


def useless_elements(d: Drawing) -> int:
    """How many elements of the file change nothing in CairoSVG's picture when they are removed."""
    parts = [text for text, _ in elements(d)]
    whole = cairo(svg.document(d.width, d.height, parts, hex_colour(d.background)))
    less = [cairo(svg.document(d.width, d.height, parts[:k] + parts[k + 1 :], hex_colour(d.background))) for k in range(len(parts))]
    return sum(torch.equal(picture, whole) for picture in less)


def enlarged(target, image: Tensor, scale: int = 4) -> Tensor | None:
    """The target drawn at `scale` times the size; None for a picture, which has no such truth, and for what is too large to draw."""
    if images.is_picture(files.find(target)):
        return None
    with contextlib.suppress(InputError):
        return targets.target(target, (image.shape[2] * scale, image.shape[1] * scale))


def figures(d: Drawing, image: Tensor, large: Tensor | None) -> dict[str, float]:
    """What CairoSVG makes of the drawing's file beside `image` [3,H,W], and at 4× beside `large` [3,4H,4W] (None: not measured, NaN).

    `gain_over_bicubic_4x_db` is how much nearer to `large` the file comes than a perfect picture at 1×, enlarged bicubically.
    """
    text = to_svg(d)
    at_4x = math.nan if large is None else psnr(cairo(text, 4), large)
    bicubic = math.nan if large is None else psnr(images.enlarge(image, 4), large)
    return {
        "svg_psnr_db": psnr(cairo(text), image),
        "svg_psnr_4x_db": at_4x,
        "bicubic_4x_db": bicubic,
        "gain_over_bicubic_4x_db": at_4x - bicubic,
        "primitives": len(elements(d)),
        "useless_elements": useless_elements(d),
        "svg_bytes": len(text.encode()),
    }
