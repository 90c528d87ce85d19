"""What several trainings share and no chapter teaches: the learning rate's course, bfloat16 arithmetic and weights."""

import copy
import math

import torch

from . import settings


def lr_factor(step: int, steps: int, warmup: int = 50, fall: float = 0.3, least: float = 0.02) -> float:
    """The learning rate's factor at `step` of `steps`: up over the first `warmup`, level, down to `least` over the last share `fall`."""
    return min(1.0, (step + 1) / warmup) * min(1.0, max(least, (1 - step / steps) / fall))


def set_lr(opt: torch.optim.Optimizer, lr: float) -> None:
    """Give every group of `opt` the learning rate `lr`."""
    for group in opt.param_groups:
        group["lr"] = lr


def autocast_bf16(device: torch.device | str):
    """A context in which matrix products are made in bfloat16 where `device` has units for it, and in float32 elsewhere."""
    device = torch.device(device)
    return torch.autocast(device.type, torch.bfloat16, enabled=settings.choose_precision(device) == "bf16")


def cosine_factor(progress: float) -> float:
    """The learning rate's factor at `progress` in 0..1: up over the first twentieth, then down along a cosine."""
    return min(1.0, progress * 20 + 0.01) * (0.5 + 0.5 * math.cos(math.pi * min(progress, 1.0)))


def to_bfloat16(model: torch.nn.Module) -> torch.nn.Module:
    """A copy in eval mode whose weights are bfloat16, half the bytes; buffers stay as they are."""
    model = copy.deepcopy(model).eval()
    for weight in model.parameters():
        weight.data = weight.data.bfloat16()
    return model


def rounded_to_bfloat16(model: torch.nn.Module) -> torch.nn.Module:
    """The model that ships, ready to compute: weights as in `to_bfloat16`, in float32 again."""
    return to_bfloat16(model).float()
