"""Features of many pictures: read in batches by a network in eval mode, checked before they are compared, kept on the disk."""

import io
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from . import progress
from .files import write
from .settings import DATA, InputError


def batches_of(pictures, n: int | None = None, batch: int = 250) -> Iterator[Tensor]:
    """The first `n` pictures of a tensor [N,3,H,W], or of a data set whose items are or begin with one, in batches [B,3,H,W]."""
    there = len(pictures)
    if n is not None and (isinstance(n, bool) or not isinstance(n, int) or not 1 <= n <= there):
        raise InputError(f"n={n!r}: there are {there} pictures — give a whole number from 1 to {there}, or make more")
    for start in range(0, there if n is None else n, batch):
        which = list(range(start, min(start + batch, there if n is None else n)))
        if isinstance(pictures, Tensor):
            yield pictures[start : start + len(which)]
        elif hasattr(pictures, "__getitems__"):
            yield pictures.__getitems__(which)[0]
        else:
            items = [pictures[index] for index in which]
            yield torch.stack([item if isinstance(item, Tensor) else item[0] for item in items])


@torch.no_grad()
def read_in_batches(network: nn.Module, answer: Callable, pictures, n: int | None = None, batch: int = 250) -> list:
    """`answer(images)` for every batch of `pictures`, with `network` in eval mode, the pictures on its device."""
    training, device = network.training, next((p.device for p in network.parameters()), torch.device("cpu"))
    network.eval()
    answers = []
    try:
        with progress.counted(len(pictures) if n is None else n, "pictures read") as done:
            for images in batches_of(pictures, n, batch):
                answers.append(answer(images.to(device)))
                done.update(len(images))
        return answers
    finally:
        network.train(training)


def features_of(pictures, network: nn.Module, n: int | None = None, batch: int = 250) -> Tensor:
    """Features [n,d] (float64, on the CPU) that `network`, in eval mode, makes of the first `n` of `pictures` (see `batches_of`)."""
    return torch.cat([part.double().cpu() for part in read_in_batches(network, network, pictures, n, batch)])


def kept_features(pictures, network: nn.Module, n: int | None = None, folder: Path = DATA / "cache" / "features") -> Tensor:
    """`features_of(pictures, network, n)`, kept in `folder` under a hash of the pictures and the weights, and read from there again."""
    key = 0
    for value in network.state_dict().values():
        key = zlib.crc32(value.detach().cpu().contiguous().numpy().tobytes(), key)
    for images in batches_of(pictures, n):
        key = zlib.crc32((images.clamp(0, 1) * 255).round().byte().contiguous().numpy().tobytes(), key)
    path = Path(folder) / f"{getattr(network, 'name', 'features')}-{len(pictures) if n is None else n}-{key:08x}.npy"
    try:
        return torch.from_numpy(np.load(path, allow_pickle=False)).double()
    except (OSError, ValueError, EOFError):
        features = features_of(pictures, network, n).float()
    path.parent.mkdir(parents=True, exist_ok=True)
    file = io.BytesIO()
    np.save(file, features.numpy())
    write(path, file.getvalue())
    return features.double()


def checked_features(*sets: Tensor, least: int = 2) -> list[Tensor]:
    """Feature sets [N,d] as float64; InputError names what is wrong: shape, fewer than `least` rows, NaN, features that never vary."""
    for features in sets:
        if not isinstance(features, Tensor) or features.ndim != 2 or not features.shape[1]:
            what = list(features.shape) if isinstance(features, Tensor) else type(features).__name__
            raise InputError(f"features are a tensor [N,d], and this is {what} — give one row for each picture")
        if len(features) < least:
            raise InputError(f"features of {len(features)} picture{'s'[: len(features) != 1]} are too few — give at least {least}")
        if features.shape[1] != sets[0].shape[1]:
            raise InputError(f"features of {sets[0].shape[1]} and of {features.shape[1]} numbers — give both sets from one network")
        if not torch.isfinite(features).all():
            raise InputError("these features hold NaN or infinity — look at the pictures and at the network")
    sets = [features.detach().double().cpu() for features in sets]
    together = torch.cat(sets)
    if together.std(0).max() <= 1e-9 * (1 + together.abs().max()):
        raise InputError("all pictures have the same features, so any distance is 0, a perfect score — the network, or the set, is dead")
    return sets
