"""Trained models on disk: a folder with safetensors weights, the configuration, a card and samples. Nothing is ever unpickled."""

import hashlib
import importlib
import inspect
import io
import json
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING

from . import files, settings
from .settings import InputError, nearest

if TYPE_CHECKING:
    import torch

WEIGHTS, CONFIG, CARD, SAMPLES = "model.safetensors", "config.json", "README.md", "samples.png"


def save(model: "torch.nn.Module", folder, card: str = "", samples=None, module: str | None = None) -> Path:
    """Save `model` (a PyTorchModelHubMixin) as `folder`, in one piece: the old folder stays until the new one is complete.

    `card` is the model card in Markdown (its first `> ` line says in one line what the model is); `samples` [n,3,H,W] in [0,1] or a
    PIL picture; `module` names the model's module where the class is being defined in a notebook ("imggen_core.wireframe").
    """
    from torch.nn.parallel import DistributedDataParallel

    from . import images

    folder, model = Path(folder), model.module if isinstance(model, DistributedDataParallel) else model
    cls, config = type(model), getattr(model, "_hub_mixin_config", None) or {}
    if not hasattr(cls, "from_pretrained"):
        raise TypeError(f"{cls.__name__} cannot be saved — let it inherit PyTorchModelHubMixin")
    if missing := [name for name in required(cls) if name not in config]:
        raise TypeError(f"{cls.__name__} cannot be saved: its argument {missing[0]!r} is no value that JSON can hold")
    module = module if module and cls.__module__ == "__main__" else cls.__module__
    with files.whole_folder(folder) as new:
        model._save_pretrained(new)
        (new / CONFIG).write_text(json.dumps({"class": f"{module}.{cls.__qualname__}", **config}, indent=2) + "\n", encoding="utf-8")
        (new / CARD).write_text(card if card.startswith(("#", "---")) else f"# {folder.name}\n\n{card}\n", encoding="utf-8")
        if samples is not None:
            (samples if hasattr(samples, "save") else images.to_pil(images.sheet(samples))).save(new / SAMPLES, optimize=True)
    return folder


def required(cls: type) -> list[str]:
    """The names of a class's constructor arguments that have no default."""
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    parameters = inspect.signature(cls.__init__).parameters.values()
    return [p.name for p in parameters if p.name != "self" and p.kind in kinds and p.default is p.empty]


def models(checkpoints: Path | None = None) -> dict[str, str]:
    """The models that ship, by name, each with the line its card says about it."""
    checkpoints = checkpoints or settings.CHECKPOINTS
    return {path.parent.name: about(path.parent) for path in sorted(checkpoints.glob(f"*/{CONFIG}")) if path.parent.name[0] != "."}


def about(folder: Path) -> str:
    """The card's first `> ` line, else the first line that is neither heading nor front matter."""
    try:
        lines = [line.strip() for line in (folder / CARD).read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError):
        return ""
    if lines[:1] == ["---"] and "---" in lines[1:]:
        lines = lines[lines.index("---", 1) + 1 :]
    quoted = [line[1:].strip() for line in lines if line.startswith("> ")]
    return next(iter(quoted or [line for line in lines if line and line[0] not in "#>|!"]), "")


def find(name_or_path) -> Path:
    """The folder of a model: a name in checkpoints/, a model's folder, or a run's folder; InputError with the nearest name."""
    for folder in (settings.CHECKPOINTS / str(name_or_path), Path(name_or_path), Path(name_or_path) / "model"):
        if (folder / CONFIG).is_file():
            return folder
    if Path(name_or_path).is_dir():
        raise InputError(f"{name_or_path}: no model in this folder ({CONFIG} is missing) — give a run that kept one, or a name: {known()}")
    raise InputError(f"no model {str(name_or_path)!r} — {nearest(name_or_path, models())}")


def known() -> str:
    return ", ".join(models()) or "none ships yet"


def load(name_or_path) -> "torch.nn.Module":
    """The model called so (in checkpoints/) or saved in that folder, on the CPU, in eval mode; InputError if it is unknown or damaged."""
    from safetensors import SafetensorError

    folder = find(name_or_path)
    cls = model_class(folder)
    try:
        with redirect_stdout(io.StringIO()):  # the hub says where it loads from
            return cls.from_pretrained(str(folder), map_location="cpu", strict=True).eval()
    except InputError:
        raise
    except (OSError, ValueError, TypeError, KeyError, RuntimeError, AttributeError, SafetensorError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise InputError(f"{folder}: damaged, or not a {cls.__name__} ({reason[:160]}) — restore the folder or train it again") from None


def fingerprint(name_or_path) -> str:
    """A number that changes when a model's weights or its configuration do."""
    folder = find(name_or_path)
    return hashlib.sha256((folder / CONFIG).read_bytes() + (folder / WEIGHTS).read_bytes()).hexdigest()[:16]


def model_class(folder: Path) -> type:
    """The class a model's folder names; only a model of this library is accepted, since building one runs its code."""
    import torch

    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        module, _, name = str(config["class"]).rpartition(".")
    except (OSError, ValueError, TypeError, KeyError):
        raise InputError(f"{folder / CONFIG}: damaged, or it names no class — restore the folder or train the model again") from None
    cls = None
    if module.startswith("imggen_core.") and all(part.isidentifier() for part in module.split(".")):
        try:
            cls = vars(importlib.import_module(module)).get(name)
        except ImportError:
            pass
    if not (isinstance(cls, type) and issubclass(cls, torch.nn.Module) and cls.__module__ == module and hasattr(cls, "from_pretrained")):
        raise InputError(f"{folder / CONFIG}: its class {config['class']!r} is no model of imggen_core — only the course's own models load")
    return cls
