"""How long a training step takes, what bfloat16 and channels-last buy, and what share of the time goes into waiting for data."""

import time
from collections.abc import Callable

import torch
from torch import nn

from . import settings


def fastest(work: Callable, times: int = 3) -> float:
    """Wall-clock seconds of the fastest of `times` calls of `work`."""
    tries = []
    for _ in range(times):
        begun = time.perf_counter()
        work()
        tries.append(time.perf_counter() - begun)
    return min(tries)


def step_seconds(make: Callable[[], nn.Module], inputs: torch.Tensor, loss: Callable, turns: int = 5) -> dict[str, float]:
    """Seconds of a training step of `make()` on `inputs`: "float32", a plain loop, and "ours", what `Run.prepare` sets up.

    Ours: bfloat16 autocast (where the processor has the units), channels-last, fused Adam. Turns are taken alternately, so that whatever
    else the machine does slows both, and the best of `turns` counts; on a CPU in processor time. loss(output): a scalar.
    """
    device = inputs.device
    clock = time.process_time if device.type == "cpu" else time.perf_counter
    plain, ours = make().to(device), make().to(device, memory_format=torch.channels_last)
    half = device.type != "cpu" or bool(settings.bfloat16_units())
    contestants = {"float32": (plain, torch.optim.Adam(plain.parameters()), False),
                   "ours": (ours, torch.optim.Adam(ours.parameters(), fused=True), half)}  # fmt: skip
    seconds = {name: [] for name in contestants}
    for _ in range(turns + 1):
        for name, (net, opt, low) in contestants.items():
            begun = clock()
            with torch.autocast(device.type, torch.bfloat16, enabled=low):
                output = net(inputs)
            loss(output).backward()
            norm = nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            opt.step()
            opt.zero_grad()
            norm.item()  # waits for a GPU
            seconds[name].append(clock() - begun)
    return {name: min(times[1:]) for name, times in seconds.items()}  # the first turn warms up


def batch_seconds(loader, batches: int = 50) -> float:
    """Wall-clock seconds to get one batch from `loader`, after a first pass has brought the data from the disk."""
    for _ in range(2):
        begun, seen = time.perf_counter(), 0
        for seen, _ in enumerate(loader, 1):
            if seen == batches:
                break
        one = (time.perf_counter() - begun) / max(seen, 1)
    return one
