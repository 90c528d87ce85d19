"""Rows of a pure function of an index, kept as memory-mapped arrays: built once, whole or not at all, by one process at a time.

A data world draws row `index` always the same. `rows` draws the first n of them once and keeps them in a folder: one `.npy` file for
each array that a row consists of, and `version.json` with a fingerprint of the code that drew them. A cache that is damaged, cut, or
drawn by another version is said and drawn again; one with too few rows grows.
"""

import json
import os
import shutil
import tempfile
import zlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
from filelock import FileLock

from . import progress, untrusted
from .files import replace_folder
from .settings import InputError

Row = tuple[np.ndarray, ...]


def fingerprint(few: Iterable[Row]) -> int:
    """A number that changes when what draws these few rows does."""
    return zlib.crc32(b"".join(array.tobytes() for row in few for array in row))


def rows(folder: Path, names: Sequence[str], n: int, draw: Callable[[int], Row], version: int) -> list[np.ndarray]:
    """Rows 0..n-1 of `draw` as memory-mapped arrays [n,...], one for each of `names`; only the rows that `folder` lacks are drawn.

    draw: gives row `index` as one array for each name, of the same shapes and types whatever the index; version: its `fingerprint`.
    InputError where the folder can be neither used nor written.
    """
    folder = Path(folder)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.with_suffix(".lock")):
            arrays, wrong = look(folder, names, draw, version)
            if wrong:
                print(f"{folder.parent.name}: the cache {folder.name} {wrong}: drawing it again")
            if arrays is None or len(arrays[0]) < n:
                build(folder, names, n, draw, version, arrays)
                arrays, wrong = look(folder, names, draw, version)
    except OSError as error:
        arrays, _ = look(folder, names, draw, version)  # what cannot be written may still be whole
        if arrays is None or len(arrays[0]) < n:
            why = error.strerror or error
            raise InputError(f"{folder}: cannot be written ({why}) — make room there, or choose another root") from None
    return [array[:n] for array in arrays]


def look(folder: Path, names: Sequence[str], draw: Callable[[int], Row], version: int) -> tuple[list[np.ndarray] | None, str]:
    """The memory-mapped arrays in `folder`, or None and what is wrong with them ("" where there is nothing)."""
    if not folder.is_dir():
        return None, ""
    try:
        found = untrusted.read_json(folder / "version.json")["fingerprint"]
        arrays = [np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False) for name in names]
    except (OSError, ValueError, KeyError, TypeError, EOFError) as error:
        return None, f"cannot be read ({' '.join(str(error).split())[:60]})"
    if found != version:
        return None, f"was written by another version of the {folder.parent.name}"
    if any(not array.ndim or not len(array) or len(array) != len(arrays[0]) for array in arrays):
        return None, "is cut short"
    last = draw(len(arrays[0]) - 1)
    whole = all(array.dtype == part.dtype and np.array_equal(array[-1], part) for array, part in zip(arrays, last, strict=True))
    return (arrays, "") if whole else (None, "is damaged")


def build(folder: Path, names: Sequence[str], n: int, draw: Callable[[int], Row], version: int, known: list[np.ndarray] | None) -> None:
    """Put the first `n` rows into `folder`, all or nothing; those in the arrays `known` are copied."""
    for left_over in folder.parent.glob(f".{folder.name}-*"):  # of a process that was killed
        shutil.rmtree(left_over, ignore_errors=True)
    there = len(known[0]) if known else 0
    first = draw(there)
    needed = n * sum(part.nbytes for part in first)
    if needed > shutil.disk_usage(folder.parent).free:
        raise OSError(f"{n} rows need {needed / 1e6:,.1f} MB")
    work = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        # Written as ordinary files: a memory map of a file on a disk that fills up would end the process without a word.
        files = [(work / f"{name}.npy").open("wb") for name in names]
        try:
            for number, (file, part) in enumerate(zip(files, first, strict=True)):
                header = {"descr": np.lib.format.dtype_to_descr(part.dtype), "fortran_order": False, "shape": (n, *part.shape)}
                np.lib.format.write_array_header_1_0(file, header)
                for start in range(0, there, 1000):
                    file.write(known[number][start : start + 1000].tobytes())
            with progress.counted(n, f"drawing {folder.parent.name} {folder.name}", there) as done:
                for index in range(there, n):
                    for file, part in zip(files, first if index == there else draw(index), strict=True):
                        file.write(part.tobytes())
                    done.update()
            for file in files:
                file.flush()
                os.fsync(file.fileno())
        finally:
            for file in files:
                file.close()
        (work / "version.json").write_text(json.dumps({"fingerprint": version, "rows": n}))
        os.chmod(work, 0o755)
        replace_folder(work, folder)
    finally:
        shutil.rmtree(work, ignore_errors=True)
