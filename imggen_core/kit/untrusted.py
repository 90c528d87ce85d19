"""Files from elsewhere, read within limits: ordinary files alone, so many bytes, so deep.

What is wrong with one is a ValueError (an OSError where it cannot be read at all); who reads says which file, and what to do.
"""

import contextlib
import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

JSON_BYTES, DEPTH = 1 << 24, 64  # of a JSON file: 16 MB, and lists and objects within each other
WEIGHTS_BYTES, NUMBERS = 1 << 29, 10**8  # of a model: 512 MB on the disk, and at most so many numbers
STATE_BYTES = 1 << 32  # of a run's saved state: 4 GB


@contextlib.contextmanager
def ordinary(path: Path, most: int) -> Iterator[BinaryIO]:
    """The ordinary file `path` of at most `most` bytes, open for reading; a pipe, a device or a socket is never waited for."""
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    try:
        found = os.fstat(handle)
        if not stat.S_ISREG(found.st_mode):
            raise ValueError("is no ordinary file")
        if found.st_size > most:
            raise ValueError(f"is larger than {most >> 20:,} MB")
    except ValueError:
        os.close(handle)
        raise
    with open(handle, "rb") as file:
        yield file


def read(path: Path, most: int = JSON_BYTES) -> bytes:
    """The bytes of an ordinary file."""
    with ordinary(path, most) as file:
        data = file.read(most + 1)
    if len(data) > most:  # it grows, or is one whose size nobody knows beforehand
        raise ValueError(f"is larger than {most >> 20:,} MB")
    return data


def read_json(path: Path, most: int = JSON_BYTES):
    """The value in a JSON file."""
    try:
        value = json.loads(read(path, most))
    except RecursionError:
        raise ValueError("is nested too deep") from None
    level = [value]
    for _ in range(DEPTH + 1):
        lists = [outer.values() if isinstance(outer, dict) else outer for outer in level if isinstance(outer, dict | list)]
        level = [inner for outer in lists for inner in outer]
    if level:
        raise ValueError("is nested too deep")
    return value


def tensors_in(path: Path, most: int = WEIGHTS_BYTES) -> dict[str, tuple[str, list[int]]]:
    """The tensors of a safetensors file, {name: (type, shape)}, by its header alone."""
    from safetensors import safe_open

    with ordinary(path, most) as file:
        if int.from_bytes(file.read(8), "little") > JSON_BYTES:
            raise ValueError("its header is damaged")
    with safe_open(path, "pt") as file:  # it sees to it that the header says of every byte, once, whose it is
        parts = {name: file.get_slice(name) for name in file.keys()}
        return {name: (part.get_dtype(), part.get_shape()) for name, part in parts.items()}
