"""A small picture of answers beside the truth, for models whose samples are graded pictures."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont


def scorecard(
    words: Sequence[tuple[str, bool]], bars: Mapping[str, tuple[float, float]], width: int = 128, height: int = 192
) -> torch.Tensor:
    """`words` (text, is it right?) green or red; below, for each of `bars` {name: (answer, truth)}, a bar and a black tick at the truth.

    Answers and truths lie in [0,1]. Returns [3,height,width] in [0,1].
    """
    sheet = Image.new("RGB", (width, height), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(11)
    for k, (text, right) in enumerate(words):
        pen.text((8, 4 + 16 * k), text, font=font, fill="#2a7a3f" if right else "#c03030")
    for k, (name, (answer, truth)) in enumerate(bars.items()):
        y, full, answer = 10 + 16 * len(words) + 30 * k, width - 16, float(answer)
        pen.text((8, y), f"{name} {answer:.2f}", font=font, fill="#333")
        pen.rectangle((8, y + 15, 8 + full, y + 22), fill="#e4e8ee")
        if 0 <= answer <= 1:  # NaN has no bar
            pen.rectangle((8, y + 15, 8 + round(full * answer), y + 22), fill="#4f7fa8")
        pen.rectangle((7 + round(full * truth), y + 13, 8 + round(full * truth), y + 24), fill="black")
    return torch.from_numpy(np.array(sheet)).permute(2, 0, 1) / 255
