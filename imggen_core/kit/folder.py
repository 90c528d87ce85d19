"""A run's folder: whose it is stands in its params.json, which is written, read and compared here and nowhere else; and its one writer.

A folder has one writer. Whoever trains in it (a command, or a `Run` that belongs to none) holds its `run.lock`; the `Run` itself holds
`writer.lock` as well, so that the next command waits for one whose command was killed a moment ago. The system frees a lock when the
process that holds it ends, however it ends; the files stay, and say which process and which machine held them last.
"""

import contextlib
import errno
import json
import os
import socket
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, SoftFileLock, Timeout

from . import files, processes, untrusted
from .files import shown
from .settings import InputError

PARAMS, LOCK, WRITER = "params.json", "run.lock", "writer.lock"
DYING = 10.0  # seconds that a process may take to end after its command was killed
OWN = (LOCK, WRITER, "notebook.ipynb")  # papermill writes the notebook that it executes before the notebook's own run begins
NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP)


def claim(folder: Path, chapter: str, scale: str, parameters: dict) -> contextlib.ExitStack:
    """Make `folder` this run's, or see that it is; what `parameters` (JSON values) says beyond the saved ones is added to them.

    The answer holds the folder's lock: to its `close`, to the end of `with`, or for as long as it is kept. InputError in one line for the
    folder of another chapter, of another scale or of other parameters, for a damaged params.json, for a folder that holds other
    files and no run, and for one in which another process trains.
    """
    folder = Path(folder)
    if folder.is_dir():
        files.refuse_links(folder)
    here = json.loads(json.dumps({"chapter": chapter, "scale": scale, "parameters": parameters}))  # as it will be read: lists, no tuples
    merge(folder, here)  # nothing is written where it does not fit
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with hold(folder) as held:
            there, merged = merge(folder, here)
            if merged != there:
                files.write(folder / PARAMS, json.dumps(merged, indent=2) + "\n")
            return held.pop_all()


def merge(folder: Path, here: dict) -> tuple[dict | None, dict]:
    """What the params.json of `folder` says (None without one) and what it is to say; InputError where `here` does not fit."""
    path = folder / PARAMS
    there = read(path) if path.exists() else None
    if there is None:
        if folder.exists() and any(entry.name[0] != "." and entry.name not in OWN for entry in folder.iterdir()):
            raise InputError(f"{shown(folder)}: holds other files, and no run — name a new or an empty folder (--out)")
        return None, here
    saved, given = flat(there), flat(here)
    different = [f"{name} {saved[name]!r} there, {given[name]!r} now" for name in given if name in saved and saved[name] != given[name]]
    if different:
        raise InputError(f"{shown(folder)}: holds another run ({'; '.join(different)}) — name another folder (--out), "
                         "or give the same parameters")  # fmt: skip
    return there, there | {"parameters": there["parameters"] | here["parameters"]}


def read(path: Path) -> dict:
    """A params.json: {"chapter", "scale", "parameters"}; InputError when it is not one."""
    try:
        found = untrusted.read_json(path)
        if isinstance(found["chapter"], str) and isinstance(found["scale"], str) and isinstance(found["parameters"], dict):
            return found
    except (OSError, ValueError, KeyError, TypeError):
        pass
    raise InputError(f"{shown(path)}: damaged, or no run's — name another folder (--out), or delete this one")


def flat(found: dict) -> dict:
    return {"chapter": found["chapter"], "scale": found["scale"]} | found["parameters"]


# ---- one writer ------------------------------------------------------------------------------------------------------


def hold(folder: Path, name: str = LOCK, wait: float = 0.0) -> contextlib.ExitStack:
    """The lock `name` of `folder` (a part's is that of the whole run), to the end of `with`, or for as long as the answer is kept.

    This process may hold it already, or its command may. InputError when after `wait` seconds another process still holds it.
    """
    folder = folder.parent.parent if folder.parent.name == "parts" else folder
    path = Path(os.path.realpath(folder / name))
    held = contextlib.ExitStack()
    for kind in (FileLock, SoftFileLock):  # the second, a file that is there or not, for the disks of other machines that know no locks
        lock = kind(path, thread_local=False, is_singleton=True)  # a Run that is opened again in this process shares its lock
        try:
            with warnings.catch_warnings(action="ignore"):  # filelock takes the second kind by itself where it can tell
                lock.acquire(timeout=max(wait, 0.5), poll_interval=0.1)
            held.callback(lock.release)
        except Timeout:
            soft, (pid, host, age) = isinstance(lock, SoftFileLock), holder(path)
            if soft and name == WRITER and host != socket.gethostname():  # its command gave up run.lock, or a person said that it is gone
                path.unlink(missing_ok=True)
                return hold(folder, name, wait)
            if pid is None or pid != processes.command() or host != socket.gethostname():
                raise InputError(busy(folder, path, pid, host, age, soft, name == WRITER)) from None
        except OSError as error:
            if error.errno in NO_LOCKS and kind is FileLock:
                continue
            raise
        else:
            if lock.lock_counter == 1 and not isinstance(lock, SoftFileLock):
                path.write_text(f"{os.getpid()}\n{socket.gethostname()}\n")
        return held


def holder(path: Path) -> tuple[int | None, str, float]:
    """The process that a lock's file names, its machine, and for how many seconds it has held it; no process where none is named."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        pid, host, *_ = path.read_text().splitlines()
        return int(pid), host, max(0.0, time.time() - path.stat().st_mtime)
    return None, "", 0.0


def busy(folder: Path, path: Path, pid: int | None, host: str, age: float, soft: bool, dying: bool) -> str:
    """The one line for a folder that another process holds."""
    where = shown(folder)
    if pid is None:
        return f"{where}: another process is at work here — wait for it or end it, or name another folder (--out)"
    since = f"for {age:.0f} s" if age < 90 else f"for {age / 60:.0f} min" if age < 5400 else f"for {age / 3600:.1f} hours"
    there = "" if host == socket.gethostname() else f" of the machine {host}"
    if there and soft:
        return (f"{where}: process {pid}{there} has been at work here {since}; this disk does not tell whether it still is — end it there, "
                f"or, if it is gone, delete {shown(path)}")  # fmt: skip
    if dying and not there:
        return f"{where}: process {pid}, whose command was killed, still writes here — end it (kill -9 {pid}), then give the same again"
    end = f"end it (kill {pid})" if not there else "end it there"
    return f"{where}: process {pid}{there} has been at work here {since} — wait for it, {end}, or name another folder (--out)"


@contextlib.contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Turn a full or read-only disk into one line about `folder`."""
    try:
        yield
    except Exception as error:
        number, name = getattr(error, "errno", None), getattr(error, "filename", None)
        if type(error).__name__ == "SafetensorError" and "os error 28" in str(error):
            number = errno.ENOSPC  # it writes files by itself
        if number in (errno.ENOSPC, errno.EDQUOT):
            full = name if isinstance(name, str) and not Path(name).is_relative_to(folder) else folder
            raise InputError(f"{full}: the disk is full — free some space and run the same again, it goes on from the last "
                             "saved state") from None  # fmt: skip
        if number in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.EEXIST):
            raise InputError(f"{name or folder}: cannot be written ({error.strerror}) — give another folder") from None
        raise
