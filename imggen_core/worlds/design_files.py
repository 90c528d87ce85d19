"""Designs as bytes, as tensors, and as plain files in a folder."""

import json
import math
import os
import warnings
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from ..kit import files, untrusted
from ..kit.images import PIXELS
from ..kit.settings import InputError
from .layouts import FORMATS, GOALS, SCORES
from .palette import COLOURS

PARTS = {"images": ".npy", "f_tensors": ".npy", "metadata": ".json"}
METADATA_BYTES = 10_000  # what is read of a design's words at most: they are about 200


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
    files.refuse_links(path)
    for index, design in enumerate(designs):
        image, f_tensor, metadata = files_of(path, f"{index:06d}")
        np.save(image, design.image.transpose(2, 0, 1))
        np.save(f_tensor, design.f_tensor)
        scores = dict(zip(SCORES, map(float, design.grammar), strict=True))
        metadata.write_text(json.dumps({"goal": design.goal, "format": design.format, "tone": design.tone, "grammar": scores}))


def read_design(path: Path, stem: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One design of a folder, as `packed`; ValueError or its like where its files are missing, cut, of wrong shapes or values, or links
    that lead out of the folder. What a header promises is held against the file's length and PIXELS before it is read."""
    image_file, f_tensor_file, metadata_file = files_of(path, stem)
    if not all(files.inside(file, path) and os.path.isfile(file) for file in (image_file, f_tensor_file, metadata_file)):
        raise ValueError("a file is missing, is none, or lies in another folder")
    image, f_tensor = (np.lib.format.open_memmap(file, "r") for file in (image_file, f_tensor_file))
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[0] != 3 or f_tensor.shape != (4, *image.shape[1:]):
        raise ValueError("the image is not uint8 [3,H,W], or the F_Tensor not [4,H,W] of the same size")
    if f_tensor.dtype.kind not in "biuf" or math.prod(image.shape[1:]) > PIXELS:
        raise ValueError("the F_Tensor holds no numbers, or the image too many")
    f_tensor = f_tensor.astype(np.float32)
    highest = np.array([1, 1, len(COLOURS) - 1, 1], np.float32)[:, None, None]
    if not ((f_tensor >= 0) & (f_tensor <= highest)).all() or (f_tensor[:3] % 1).any():
        raise ValueError("the F_Tensor holds values that it cannot")
    meta = untrusted.read_json(metadata_file, METADATA_BYTES)
    values = [GOALS.index(meta["goal"]), FORMATS.index(meta["format"]), meta["tone"], *(meta["grammar"][score] for score in SCORES)]
    values = np.array(values, np.float32)
    if not ((values[2:] >= 0) & (values[2:] <= 1)).all():
        raise ValueError("tone and scores lie in [0,1]")
    f_tensor[3] *= 255
    return np.array(image), np.round(f_tensor).astype(np.uint8), values


class DesignFolder(Dataset):
    """Designs in the layout of `write_folder`: the same items and batches as `Designs`, all of the size of the first that can be read.

    What cannot be read, is cut short, has another size, or is a link out of the folder is skipped and counted in one printed line.
    InputError where nothing is left.
    """

    def __init__(self, path):
        self.path, designs, skipped = files.typed(path), [], 0
        if not (self.path / "images").is_dir():
            raise InputError(f"{path}: no folder of designs — it needs images/, f_tensors/ and metadata/")
        for stem in sorted(file.stem for file in (self.path / "images").glob("*.npy")):
            try:
                with warnings.catch_warnings(action="error"):  # NumPy's, of a size that no number holds
                    design = read_design(self.path, stem)
            except Exception:  # what strangers wrote can fail in any way: too deep, too large, of another kind
                design = None
            if design is None or (designs and design[0].shape != designs[0][0].shape):
                skipped += 1
            else:
                designs.append(design)
        if skipped:
            said = f"{path}: {skipped} of {skipped + len(designs)} designs skipped: unreadable, incomplete, or of another size"
            print(files.printable(said))
        if not designs:
            raise InputError(f"{path}: no design that can be read — write some with write_folder")
        self.images, self.f_tensors, self.numbers = map(np.stack, zip(*designs, strict=True))

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index):
        """One design by its number, or a batch of them by a list of numbers."""
        return unpacked(self.images[index], self.f_tensors[index], self.numbers[index])

    __getitems__ = __getitem__
