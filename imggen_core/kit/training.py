"""What several trainings share and no chapter teaches: the learning rate's course, one thread, bfloat16 arithmetic and weights."""

import contextlib
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


@contextlib.contextmanager
def one_thread():
    """Compute on one thread meanwhile: small operations gain nothing from more, and the numbers do not depend on how many there are."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def autocast_bf16(device: torch.device | str):
    """A context in which matrix products are made in bfloat16 where `device` has units for it, and in float32 elsewhere."""
    device = torch.device(device)
    return torch.autocast(device.type, torch.bfloat16, enabled=settings.choose_precision(device) == "bf16")


def cosine_factor(progress: float) -> float:
    """The learning rate's factor at `progress` in 0..1: up over the first twentieth, then down along a cosine."""
    return min(1.0, progress * 20 + 0.01) * (0.5 + 0.5 * math.cos(math.pi * min(progress, 1.0)))


def warm_cosine_factor(step: int, steps: int, warm: float = 0.1) -> float:
    """The learning rate's factor at `step` of `steps`: up over the first share `warm`, then down to 0 along a cosine."""
    rise = min(1.0, (step + 1) / max(1, warm * steps))
    return min(rise, 0.5 + 0.5 * math.cos(math.pi * max(0.0, step / steps - warm) / (1 - warm)))


def adamw(net: torch.nn.Module, lr: float, weight_decay: float = 0.02) -> torch.optim.AdamW:
    """AdamW whose weight decay leaves biases and normalisations alone."""
    matrices = [p for p in net.parameters() if p.ndim > 1]
    others = [p for p in net.parameters() if p.ndim <= 1]
    return torch.optim.AdamW([{"params": matrices, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}], lr)


def to_bfloat16(model: torch.nn.Module) -> torch.nn.Module:
    """A copy in eval mode whose weights are bfloat16, half the bytes; buffers stay as they are."""
    model = copy.deepcopy(model).eval()
    for weight in model.parameters():
        weight.data = weight.data.bfloat16()
    return model


def rounded_to_bfloat16(model: torch.nn.Module) -> torch.nn.Module:
    """The model that ships, ready to compute: weights as in `to_bfloat16`, in float32 again."""
    return to_bfloat16(model).float()
