"""Files: found by the name that a person typed, and written in one piece or not at all."""

import contextlib
import difflib
import os
import shutil
import time
from pathlib import Path

from .settings import ROOT, InputError


def find(path: str | os.PathLike) -> Path:
    """The ordinary file at `path`, seen from the working folder or else from the project's; InputError names the nearest if none."""
    name = str(path).replace("\0", "?")
    try:
        given = Path(path).expanduser()
        found = next((choice for choice in (given, ROOT / given) if choice.exists()), None)
    except (OSError, ValueError, RuntimeError):
        raise InputError(f"{short(name)}: not a usable path — give the path of a file") from None
    if not name.strip():
        raise InputError("target: an empty path — give the path of an SVG or a picture")
    if found is None:
        folder = next((choice for choice in (given.parent, ROOT / given.parent) if choice.is_dir()), None)
        names = [entry.name for entry in folder.iterdir()] if folder and os.access(folder, os.R_OK) else []
        close = difflib.get_close_matches(given.name, names, n=1, cutoff=0.8)
        raise InputError(f"{name}: no such file — {f'did you mean {close[0]}?' if close else 'check the path'}")
    if found.is_dir():
        raise InputError(f"{name}: is a folder — give the path of a file in it")
    if not found.is_file():
        raise InputError(f"{name}: is not an ordinary file — give the path of an SVG or a picture")
    return found


def short(value) -> str:
    """`value` as it would be typed, cut to 40 characters."""
    text = repr(value)
    return text if len(text) <= 40 else text[:37] + "..."


def shown(path: str | os.PathLike) -> str:
    """`path` as a person would type it: relative to the working folder when it lies below it."""
    path = Path(path).absolute()
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def write(path: Path, content: str | bytes) -> Path:
    """Write a file in one piece: through to the disk under another name, then renamed; a kill leaves the old one."""
    path = Path(path)
    temporary = path.with_name(f".{path.name}.part")
    try:
        with open(temporary, "wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return path


def replace_folder(new: Path, folder: Path) -> None:
    """Put the complete folder `new` where `folder` is or will be."""
    old = folder.with_name(f".{folder.name}-old")
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        os.replace(folder, old)
    os.replace(new, folder)
    shutil.rmtree(old, ignore_errors=True)


def sync_folder(folder: Path) -> None:
    """Make renames in `folder` last through a power cut, where the system can (Windows cannot)."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def fresh_folder(parent: Path, name: str) -> Path:
    """A new folder PARENT/NAME-YYYYmmdd-HHMMSS, made here and now; InputError where there is no free name."""
    stem = f"{name}-{time.strftime('%Y%m%d-%H%M%S')}"
    for suffix in ("", *(f"-{i}" for i in range(2, 1000))):
        folder = parent / (stem + suffix)
        with contextlib.suppress(FileExistsError):
            folder.mkdir(parents=True)
            return folder
    raise InputError(f"{parent}: no free name for a run's folder — give one (--out)")
