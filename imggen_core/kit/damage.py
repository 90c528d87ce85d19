"""What happens to pictures on their way: blur, noise, a JPEG file. Pictures are floats [B,3,H,W] in [0,1]."""

import io

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms.functional import gaussian_blur

from .images import as_saved


def blurred(images: Tensor, sigma: float) -> Tensor:
    """Pictures under a Gaussian of standard deviation `sigma` pixels, mirrored at the edges; 0 changes nothing."""
    reach = min(int(4 * sigma + 0.5), min(images.shape[2:]) - 1)
    return gaussian_blur(images, [2 * reach + 1] * 2, [sigma] * 2) if reach else images


def noisy(images: Tensor, deviation: float, random: torch.Generator | None = None) -> Tensor:
    """Pictures with normal noise of this standard deviation, clamped to [0,1]; without `random` the same noise every time."""
    random = random or torch.Generator().manual_seed(0)
    return (images + deviation * torch.randn(images.shape, generator=random)).clamp(0, 1)


def jpeg(images: Tensor, quality: int) -> Tensor:
    """Pictures saved as JPEG files of `quality` 1..95 and opened again."""
    opened = []
    for picture in as_saved(images):
        file = io.BytesIO()
        Image.fromarray((picture * 255).round().byte().permute(1, 2, 0).numpy()).save(file, "JPEG", quality=quality)
        opened.append(torch.from_numpy(np.array(Image.open(file))).permute(2, 0, 1) / 255)
    return torch.stack(opened)
