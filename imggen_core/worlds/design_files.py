"""Designs as bytes, as tensors, and as plain files in a folder."""

import json
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from ..kit.settings import InputError
from .layouts import FORMATS, GOALS, SCORES
from .palette import COLOURS

PARTS = {"images": ".npy", "f_tensors": ".npy", "metadata": ".json"}


def packed(design) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """P_Image uint8 [3,H,W], F_Tensor uint8 [4,H,W] (the hierarchy map in 255ths), and goal, format, tone and grammar float32 [7]."""
    f_tensor = design.f_tensor * np.array([1, 1, 1, 255], np.float32)[:, None, None]
    meta = np.array([GOALS.index(design.goal), FORMATS.index(design.format), design.tone, *design.grammar], np.float32)
    return design.image.transpose(2, 0, 1), np.round(f_tensor).astype(np.uint8), meta


def unpacked(images, f_tensors, meta) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    """What `packed` made, with any leading dimensions, as tensors: image in [0,1], F_Tensor, and meta by name."""
    image = torch.from_numpy(np.array(images)).float().div_(255)
    f_tensor = torch.from_numpy(np.array(f_tensors)).float()
    f_tensor[..., 3, :, :] /= 255
    meta = torch.from_numpy(np.array(meta))
    return image, f_tensor, {"goal": meta[..., 0].long(), "format": meta[..., 1].long(), "tone": meta[..., 2], "grammar": meta[..., 3:]}


def files_of(path: Path, stem: str) -> list[Path]:
    """The three files of one design: image, F_Tensor, metadata."""
    return [Path(path) / part / (stem + suffix) for part, suffix in PARTS.items()]


def write_folder(designs, path) -> None:
    """Write designs (an iterable of Design) as images/000000.npy, f_tensors/000000.npy and metadata/000000.json below `path`."""
    for part in PARTS:
        (Path(path) / part).mkdir(parents=True, exist_ok=True)
    for index, design in enumerate(designs):
        image, f_tensor, metadata = files_of(path, f"{index:06d}")
        np.save(image, design.image.transpose(2, 0, 1))
        np.save(f_tensor, design.f_tensor)
        scores = dict(zip(SCORES, map(float, design.grammar), strict=True))
        metadata.write_text(json.dumps({"goal": design.goal, "format": design.format, "tone": design.tone, "grammar": scores}))


def read_design(path: Path, stem: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One design of a folder, as `packed`; ValueError where its files are missing, cut, of wrong shapes, or hold wrong values."""
    image_file, f_tensor_file, metadata_file = files_of(path, stem)
    image, f_tensor = (np.load(file, allow_pickle=False) for file in (image_file, f_tensor_file))
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[0] != 3 or f_tensor.shape != (4, *image.shape[1:]):
        raise ValueError("the image is not uint8 [3,H,W], or the F_Tensor not [4,H,W] of the same size")
    f_tensor = f_tensor.astype(np.float32)
    highest = np.array([1, 1, len(COLOURS) - 1, 1], np.float32)[:, None, None]
    if not ((f_tensor >= 0) & (f_tensor <= highest)).all() or (f_tensor[:3] % 1).any():
        raise ValueError("the F_Tensor holds values that it cannot")
    meta = json.loads(metadata_file.read_text())
    values = [GOALS.index(meta["goal"]), FORMATS.index(meta["format"]), meta["tone"], *(meta["grammar"][score] for score in SCORES)]
    values = np.array(values, np.float32)
    if not ((values[2:] >= 0) & (values[2:] <= 1)).all():
        raise ValueError("tone and scores lie in [0,1]")
    f_tensor[3] *= 255
    return image, np.round(f_tensor).astype(np.uint8), values


class DesignFolder(Dataset):
    """Designs in the layout of `write_folder`: the same items and batches as `Designs`, all of the size of the first that can be read.

    What cannot be read, is cut short, or has another size is skipped and counted in one printed line. InputError where nothing is left.
    """

    def __init__(self, path):
        if not (Path(path) / "images").is_dir():
            raise InputError(f"{path}: no folder of designs — it needs images/, f_tensors/ and metadata/")
        self.path, designs, skipped = Path(path), [], 0
        for stem in sorted(file.stem for file in (self.path / "images").glob("*.npy")):
            try:
                design = read_design(self.path, stem)
            except (OSError, ValueError, KeyError, TypeError, EOFError):
                design = None
            if design is None or (designs and design[0].shape != designs[0][0].shape):
                skipped += 1
            else:
                designs.append(design)
        if skipped:
            print(f"{path}: {skipped} of {skipped + len(designs)} designs skipped: unreadable, incomplete, or of another size")
        if not designs:
            raise InputError(f"{path}: no design that can be read — write some with write_folder")
        self.images, self.f_tensors, self.numbers = map(np.stack, zip(*designs, strict=True))

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index):
        """One design by its number, or a batch of them by a list of numbers."""
        return unpacked(self.images[index], self.f_tensors[index], self.numbers[index])

    __getitems__ = __getitem__
