"""Files: found by the name that a person typed, and written in one piece or not at all."""

import contextlib
import difflib
import os
import shutil
import stat
import time
from collections.abc import Iterator
from pathlib import Path

from .settings import ROOT, InputError

# Nothing but a regular file is ever replaced. A link is followed where a person named it (`find`, `named`); inside of a folder that was
# named (a run's, samples, a stranger's pictures) none is followed out of it (`refuse_links`, `inside`), neither to read nor to write nor
# to remove.


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
    system = os.path.realpath(found).startswith(("/proc/", "/sys/"))  # some of those never end, or block
    if system or not found.is_file():
        raise InputError(f"{name}: {'cannot be read: ' * system}is not an ordinary file — give the path of an SVG or a picture")
    return found


def short(value) -> str:
    """`value` as it would be typed, cut to 40 characters."""
    text = repr(value)
    return text if len(text) <= 40 else text[:37] + "..."


def shown(path: str | os.PathLike) -> str:
    """`path` as a person would type it: relative to the working folder when it lies below it."""
    with contextlib.suppress(FileNotFoundError):  # the working folder may have been deleted
        path = Path(path).absolute()
        return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
    return str(path)


def printable(text: str) -> str:
    """`text` as it can be shown in one line: a line's end, a terminal's escapes and what else is no character, written out (\\n, \\x1b)."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


KINDS = {
    stat.S_IFREG: "a file", stat.S_IFDIR: "a folder", stat.S_IFLNK: "a link", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device",
    stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket",
}  # fmt: skip


def kind(path: str | os.PathLike, follow: bool = False) -> str:
    """What stands at `path` (`follow`: at the end of its links), as one of KINDS, in words; "" where there is nothing."""
    try:
        return KINDS.get(stat.S_IFMT(os.stat(path, follow_symlinks=follow).st_mode), "no file")
    except (FileNotFoundError, NotADirectoryError):
        return ""


def typed(name: str | os.PathLike, option: str = "") -> Path:
    """The path that a person typed (as `option`, if that is given), its `~` resolved; InputError for one that no file can have."""
    try:
        path = Path(name).expanduser()
        kind(path)
    except (OSError, ValueError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or ("no such user" if str(name).startswith("~") else "not a path")
        raise InputError(f"{option} {name}: cannot be used ({reason}) — give another name".lstrip()) from None
    return path


def named(name: str | os.PathLike, option: str = "") -> Path:
    """The file that a person named to be written, behind a link the one that it leads to; InputError where none can be, before the work."""
    path, said = typed(name, option), f"{option} {name}".lstrip()
    try:
        there = kind(path, follow=True)
        path = Path(os.path.realpath(path)) if path.is_symlink() else path
        if there not in ("", "a file"):
            raise InputError(f"{said}: is {there} — name a file")
        if there and any(os.path.samestat(os.stat(path), os.fstat(stream)) for stream in (1, 2)):
            raise InputError(f"{said}: is where this command's own output goes — name another file")
        if not path.parent.is_dir():
            raise InputError(f"{said}: its folder does not exist — name a file in a folder that is there")
        part_of(path).unlink()
    except OSError as error:
        raise InputError(f"{said}: cannot be written ({error.strerror}) — name another file") from None
    return path


def inside(path: str | os.PathLike, folder: str | os.PathLike) -> bool:
    """Whether `path`, all links followed, is a file or a folder below `folder`; a device, a pipe or a socket is neither."""
    real = os.path.realpath(path)
    return Path(real).is_relative_to(os.path.realpath(folder)) and (os.path.isfile(real) or os.path.isdir(real))


def refuse_links(folder: str | os.PathLike) -> None:
    """InputError for a link in `folder`, at any depth, that leads out of it, and for a device, a pipe or a socket."""
    todo = [folder]
    while todo:
        with os.scandir(todo.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    todo.append(entry.path)
                elif not entry.is_file(follow_symlinks=False) and not inside(entry.path, folder):
                    what = f"{kind(entry.path)}{' that leads out of the folder' if entry.is_symlink() else ''}"
                    raise InputError(f"{shown(entry.path)}: is {what} — remove it, or name another folder")


def write(path: Path, content: str | bytes) -> Path:
    """Write a file in one piece: a kill or a power cut leaves the old one or the new one."""
    with whole_file(path) as part:
        part.write_bytes(content.encode() if isinstance(content, str) else content)
    return Path(path)


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Another name (of the same suffix) to write to; at the end of `with` it goes through to the disk and becomes `path`.

    InputError where something else than a regular file stands at `path`, a link included.
    """
    path = Path(path)
    refuse(path, "a file")
    part = part_of(path)
    try:
        yield part
        sync(part)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def part_of(path: Path) -> Path:
    """A new and empty file beside `path`, on the same disk: not what a killed process, or a stranger, left under that name."""
    part = path.with_name(f".part-{path.name}")
    if kind(part) in ("a file", "a link"):
        part.unlink()
    part.touch(exist_ok=False)
    return part


def refuse(path: Path, wanted: str) -> None:
    """InputError unless `wanted`, one of KINDS, or nothing is at `path`."""
    if (there := kind(path)) not in ("", wanted):
        raise InputError(f"{shown(path)}: is {there} — {'remove it, or ' if there == 'a link' else ''}name {wanted}")


@contextlib.contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """A new folder to fill; at the end of `with` it goes through to the disk and becomes `folder`, in place of what was there."""
    folder = Path(folder)
    refuse(folder, "a folder")
    new = folder.with_name(f".{folder.name}-new")
    remove(new)  # of a process that was killed
    new.mkdir(parents=True)
    try:
        yield new
        for path in new.rglob("*"):
            if path.is_file():
                sync(path)
        replace_folder(new, folder)
        sync_folder(folder.parent)
    finally:
        shutil.rmtree(new, ignore_errors=True)


def sync(path: Path) -> None:
    """Bring a file through to the disk."""
    with open(path, "rb+") as file:
        os.fsync(file.fileno())


def replace_folder(new: Path, folder: Path) -> None:
    """Put the complete folder `new` where `folder` is or will be."""
    refuse(folder, "a folder")
    old = folder.with_name(f".{folder.name}-old")
    remove(old)
    if folder.exists():
        os.replace(folder, old)
    os.replace(new, folder)
    remove(old)


def remove(folder: Path) -> None:
    """Take away a folder with all that is in it; of a link the link alone."""
    if kind(folder) == "a link":
        folder.unlink()
    else:
        shutil.rmtree(folder, ignore_errors=True)


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
