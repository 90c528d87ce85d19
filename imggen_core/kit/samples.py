"""The pictures of one generator as files: one sheet, a folder with a table, a ZIP, or one SVG.

A folder goes on where it was stopped, and ends with the same bytes: a file is written whole or not at all, and pictures are made in blocks
with fixed borders, each block as a whole, because the other pictures of a batch decide how one is rounded.
"""

import csv
import io
import json
import os
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import files, images, progress, untrusted
from .files import shown
from .folder import hold
from .sampler import Sampler, made
from .settings import InputError

if TYPE_CHECKING:
    import torch

BLOCK = 8  # pictures made at a time: on a CPU larger batches are no faster, and a bar that moves every few seconds is worth having
SHEET = 4096  # pictures on a sheet, at most
ABOUT, TABLE, LOCK = "samples.json", "table.csv", ".lock"


@dataclass(frozen=True)
class Samples:
    """Pictures first..first+n-1 of `seed` by `model`; name and weights say which model that is, `controls` has a value for each control."""

    model: Sampler
    name: str
    weights: str
    n: int
    seed: int
    first: int
    controls: dict[str, Any]

    @property
    def indices(self) -> range:
        return range(self.first, self.first + self.n)

    @property
    def count(self) -> str:
        return f"{self.n} picture{'s'[: self.n > 1]}"

    def blocks(self) -> list[range]:
        """The indices, cut at the multiples of BLOCK."""
        first, end = self.first, self.first + self.n
        return [range(max(at, first), min(at + BLOCK, end)) for at in range(first // BLOCK * BLOCK, end, BLOCK)]

    def pictures(self, block: range) -> "torch.Tensor":
        """The pictures of one block, [n,3,H,W] in [0,1]."""
        return made(self.model, len(block), self.seed, block.start, self.controls)


def writer(out: str) -> tuple[Callable[[Samples, Path], str], Path]:
    """What writes to a file or folder of this name, and its path; InputError for a name that says no kind, and where no file can be."""
    path = files.typed(out, "--out")
    if out.endswith(("/", os.sep)) or path.is_dir():
        return write_folder, path
    if path.suffix.lower() not in WRITERS:
        raise InputError(f"--out {out}: wants a name that ends in .png, .jpg, .svg or .zip, or a folder's, as in {path.name}/")
    return WRITERS[path.suffix.lower()], files.named(out, "--out")


def write_sheet(samples: Samples, path: Path) -> str:
    """All pictures on one sheet."""
    if samples.n > SHEET:
        raise InputError(f"n={samples.n}: too many for one sheet, which holds {SHEET} — give a folder, which holds any number: --out DIR/")
    pictures = []
    with progress.counted(samples.n, "pictures made") as done:
        for block in samples.blocks():
            pictures += [images.to_uint8(picture) for picture in samples.pictures(block)]
            done.update(len(block))
    images.save_image(images.sheet(pictures), path)
    height, width = pictures[0].shape[:2]
    return f"{samples.count} of {width}x{height}"


def write_svg(samples: Samples, path: Path) -> str:
    """The one picture as an SVG."""
    if samples.n > 1:
        raise InputError(f"n={samples.n}: an .svg holds one picture — choose it by --first, and give -n 1")
    files.write(path, samples.model.make_svg(samples.seed, samples.first, **samples.controls))
    return f"picture {samples.first} as an SVG"


def write_folder(samples: Samples, folder: Path) -> str:
    """A PNG for each picture, named by its index, and the table; goes on where it was stopped, and with a larger n or another `first`."""
    claim(samples, folder)
    with hold(folder, LOCK) as held:
        held.callback((folder / LOCK).unlink, missing_ok=True)
        missing = [block for block in samples.blocks() if not all(file(folder, index).exists() for index in block)]
        todo = sum(map(len, missing))
        try:
            with progress.counted(samples.n, "pictures made", samples.n - todo) as done:
                for block in missing:
                    for index, picture in zip(block, samples.pictures(block), strict=True):
                        images.save_image(picture, file(folder, index))
                    done.update(len(block))
        finally:
            there = sorted(int(path.stem) for path in folder.glob("*.png") if path.stem.isdecimal())
            files.write(folder / TABLE, table(samples, there))
    return f"{samples.count} and {TABLE}" + (f", {todo} of them made now" if todo < samples.n else "")


def write_zip(samples: Samples, path: Path) -> str:
    """The folder as a ZIP: the same pictures, the same bytes. It is made in a folder beside it, from which a stopped one goes on."""
    folder = path.with_name(f"{path.name}.unfinished")
    files.refuse(folder, "a folder")
    folder.mkdir(exist_ok=True)
    write_folder(samples, folder)
    files.write(folder / TABLE, table(samples, samples.indices))
    names = [ABOUT, TABLE, *(file(folder, index).name for index in samples.indices)]
    with files.whole_file(path) as part, zipfile.ZipFile(part, "w") as archive:
        for name in names:
            entry = zipfile.ZipInfo(name)  # of 1980, as nothing is to depend on the clock
            entry.create_system, entry.external_attr = 3, 0o644 << 16
            archive.writestr(entry, (folder / name).read_bytes())
    shutil.rmtree(folder)
    return f"{samples.count} and {TABLE}"


WRITERS = {".png": write_sheet, ".jpg": write_sheet, ".jpeg": write_sheet, ".svg": write_svg, ".zip": write_zip}


def file(folder: Path, index: int) -> Path:
    return folder / f"{index:05d}.png"


def table(samples: Samples, indices) -> str:
    """A row for each picture, as CSV: its file, and what makes it again."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["file", "seed", "index", *samples.controls])
    rows.writerows([file(Path(), index).name, samples.seed, index, *samples.controls.values()] for index in indices)
    return text.getvalue()


def claim(samples: Samples, folder: Path) -> None:
    """Make `folder` that of these samples, or see that it is; InputError for another model's, seed's or controls', and for other files."""
    here = {"model": samples.name, "weights": samples.weights, "seed": samples.seed, "controls": samples.controls}
    path = folder / ABOUT
    files.refuse_links(folder)
    if not path.exists():
        if any(entry.name[0] != "." for entry in folder.iterdir()):
            raise InputError(f"{shown(folder)}: holds other files, and no samples — name a new or an empty folder (--out)")
        files.write(path, json.dumps(here, indent=2) + "\n")
    try:
        there = untrusted.read_json(path)
        saved, given = (found | {"model": f"{found['model']} ({found['weights']})"} | found["controls"] for found in (there, here))
    except (OSError, ValueError, KeyError, TypeError):
        raise InputError(f"{shown(path)}: damaged, or no samples' — name another folder (--out), or delete this one") from None
    names = ["seed", *samples.controls] if there["weights"] == samples.weights else ["model"]
    different = [f"{name} {saved.get(name)} there, {given[name]} now" for name in names if saved.get(name) != given[name]]
    if different:
        raise InputError(f"{shown(folder)}: holds other samples ({'; '.join(different)}) — give the same model, seed and controls, "
                         "or another name (--out)")  # fmt: skip
