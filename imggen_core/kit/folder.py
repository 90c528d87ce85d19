"""A run's folder: whose it is stands in its params.json, which is written, read and compared here and nowhere else."""

import json
from pathlib import Path

from . import files
from .files import shown
from .settings import InputError

PARAMS = "params.json"


def claim(folder: Path, chapter: str, scale: str, parameters: dict) -> None:
    """Make `folder` this run's, or see that it is; what `parameters` (JSON values) says beyond the saved ones is added to them.

    InputError in one line for the folder of another chapter, of another scale or of other parameters, for a damaged params.json, and
    for a folder that holds other files and no run.
    """
    path = Path(folder) / PARAMS
    if path.parent.is_dir():
        files.refuse_links(folder)
    here = json.loads(json.dumps({"chapter": chapter, "scale": scale, "parameters": parameters}))  # as it will be read: lists, no tuples
    there = read(path) if path.exists() else None
    if there is None:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Papermill writes the notebook that it executes into the folder before the notebook's own run begins.
        if any(entry.name[0] != "." and entry.name != "notebook.ipynb" for entry in path.parent.iterdir()):
            raise InputError(f"{shown(folder)}: holds other files, and no run — name a new or an empty folder (--out)")
        there = here | {"parameters": {}}
    saved, given = flat(there), flat(here)
    different = [f"{name} {saved[name]!r} there, {given[name]!r} now" for name in given if name in saved and saved[name] != given[name]]
    if different:
        raise InputError(f"{shown(folder)}: holds another run ({'; '.join(different)}) — name another folder (--out), "
                         "or give the same parameters")  # fmt: skip
    merged = there | {"parameters": there["parameters"] | here["parameters"]}
    if merged != there or not path.exists():
        files.write(path, json.dumps(merged, indent=2) + "\n")


def read(path: Path) -> dict:
    """A params.json: {"chapter", "scale", "parameters"}; InputError when it is not one."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(found["chapter"], str) and isinstance(found["scale"], str) and isinstance(found["parameters"], dict):
            return found
    except (OSError, ValueError, KeyError, TypeError):
        pass
    raise InputError(f"{shown(path)}: damaged, or no run's — name another folder (--out), or delete this one")


def flat(found: dict) -> dict:
    return {"chapter": found["chapter"], "scale": found["scale"]} | found["parameters"]
