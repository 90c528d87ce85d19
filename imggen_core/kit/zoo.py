"""Trained models on disk: a folder with safetensors weights, the configuration, a card and samples. Nothing is ever unpickled."""

import hashlib
import importlib
import inspect
import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, get_type_hints

from . import files, settings, untrusted
from .files import shown
from .parameters import Flag, Line, Parameter, Real, Whole, like, noted, one_line
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
        lines = [line.strip() for line in untrusted.read(folder / CARD).decode().splitlines()]
    except (OSError, ValueError):
        return ""
    if lines[:1] == ["---"] and "---" in lines[1:]:
        lines = lines[lines.index("---", 1) + 1 :]
    quoted = [line[1:].strip() for line in lines if line.startswith("> ")]
    return next(iter(quoted or [line for line in lines if line and line[0] not in "#>|!"]), "")


def find(name_or_path) -> Path:
    """The folder of a model: a name in checkpoints/, a model's folder, or a run's folder; InputError with the nearest name."""
    try:
        for folder in (settings.CHECKPOINTS / str(name_or_path), Path(name_or_path), Path(name_or_path) / "model"):
            if (folder / CONFIG).is_file():
                return folder
        is_folder = Path(name_or_path).is_dir()
    except (OSError, ValueError):  # too long for a name, or in a folder that may not be read
        is_folder = False
    if is_folder:
        raise InputError(f"{name_or_path}: no model in this folder ({CONFIG} is missing) — give a run that kept one, or a name: {known()}")
    raise InputError(f"no model {files.short(str(name_or_path))} — {nearest(name_or_path, models())}")


def known() -> str:
    return ", ".join(models()) or "none ships yet"


def load(name_or_path) -> "torch.nn.Module":
    """The model called so (in checkpoints/) or saved in that folder, on the CPU, in eval mode; InputError if it is unknown or damaged.

    The folder may be anybody's. Its configuration is read by the signature of the model's class and its weights by their header alone,
    and only when the two fit together is anything allocated; what the tensors hold is looked at last.
    """
    import torch
    from safetensors.torch import load_model

    folder = find(name_or_path)
    cls = model_class(folder)
    given = arguments(folder, cls)
    try:
        there = untrusted.tensors_in(folder / WEIGHTS)
        with torch.device("meta"):  # shapes without numbers
            compare(there, cls(**given))
        model = cls(**given)
        load_model(model, folder / WEIGHTS, strict=True)
        check(model)
        return model.eval()
    except Exception as error:  # what a constructor says to values that its schema lets through may be anything
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise InputError(
            f"{shown(folder)}: damaged, or not a {cls.__name__} ({reason[:100]}) — restore the folder or train it again"
        ) from None


def fingerprint(name_or_path) -> str:
    """A number that changes when a model's weights or its configuration do."""
    folder, found = find(name_or_path), hashlib.sha256()
    for path in (folder / CONFIG, folder / WEIGHTS):
        try:
            with untrusted.ordinary(path, untrusted.WEIGHTS_BYTES) as file:
                while block := file.read(1 << 20):
                    found.update(block)
        except (OSError, ValueError) as error:
            raise InputError(
                f"{shown(path)}: {getattr(error, 'strerror', None) or error} — restore the folder or train the model again"
            ) from None
    return found.hexdigest()[:16]


def configuration(folder: Path) -> dict:
    """A model's config.json: its class, and what that is built with."""
    try:
        config = untrusted.read_json(folder / CONFIG)
        if isinstance(config, dict) and isinstance(config.get("class"), str):
            return config
        reason = "it names no class"
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
    raise InputError(f"{shown(folder / CONFIG)}: damaged ({reason}) — restore the folder or train the model again")


def model_class(folder: Path) -> type:
    """The class a model's folder names; only a model of this library is accepted, since building one runs its code."""
    import torch

    named = configuration(folder)["class"]
    package, _, name = named.rpartition(".")
    cls, chapter = None, package.removeprefix("imggen_core.")
    if chapter != package and chapter.isidentifier():
        try:
            cls = vars(importlib.import_module(package)).get(name)
        except ImportError:
            pass
    if not (isinstance(cls, type) and issubclass(cls, torch.nn.Module) and cls.__module__ == package and hasattr(cls, "from_pretrained")):
        raise InputError(
            f"{shown(folder / CONFIG)}: its class {one_line(named)} is no model of imggen_core — only the course's own models load"
        )
    return cls


def arguments(folder: Path, cls: type) -> dict:
    """What a model's configuration builds `cls` with, each value read as the annotation of that argument says; InputError otherwise."""
    from . import images

    given = {name: value for name, value in configuration(folder).items() if name != "class"}
    schema = schema_of(cls)
    try:
        for name in given:
            if name not in schema:
                raise InputError(f"{cls.__name__} has no {one_line(name)}: {nearest(name, schema)}")
        if missing := [name for name in required(cls) if name not in given]:
            raise InputError(f"{missing[0]} is missing")
        values = {name: schema[name].read(name, value) for name, value in given.items()}
        if values.get("width", 0) * values.get("height", 0) > images.PIXELS:
            raise InputError(f"{values['width']} x {values['height']} is more than the {images.PIXELS:,} pixels that are drawn")
        return values
    except (InputError, TypeError) as error:
        raise InputError(f"{shown(folder / CONFIG)}: {error} — restore the folder or train the model again") from None


PLAIN = {int: Whole(), float: Real(), bool: Flag(), str: Line()}


def schema_of(cls: type) -> dict[str, Parameter]:
    """What the arguments of a class's constructor may be: by their annotations, or else like their defaults."""
    hints = get_type_hints(cls.__init__, include_extras=True)
    _, *own = inspect.signature(cls.__init__).parameters.values()
    return {p.name: noted(hints.get(p.name)) or PLAIN.get(hints.get(p.name)) or like(p.default) for p in own}


KEPT_AS = {"torch.float32": ("F32", "F16", "BF16"), "torch.int64": ("I64",), "torch.bool": ("BOOL",)}  # where it ships as half the bytes


def compare(there: dict[str, tuple[str, list[int]]], model: "torch.nn.Module") -> None:
    """ValueError unless the tensors of a file, {name: (type, shape)}, are those of `model` (which may be without numbers)."""
    own = model.state_dict(keep_vars=True)
    if sum(map(math.prod, (shape for _, shape in there.values()))) > untrusted.NUMBERS:
        raise ValueError(f"it holds more than {untrusted.NUMBERS:,} numbers")
    for name, (kind, shape) in there.items():
        if name not in own:
            raise ValueError(f"its file holds {one_line(name)}, which this model has not")
        if shape != list(own[name].shape):
            raise ValueError(f"its file holds {name} {shape}, and by its configuration that is {list(own[name].shape)}")
        if kind not in KEPT_AS.get(str(own[name].dtype), (kind,)):
            raise ValueError(f"its file holds {name} as {kind}, and that is {own[name].dtype}")
    found = {id(own[name]) for name in there}  # tensors that a model has under two names are kept under one
    if missing := [name for name, tensor in own.items() if id(tensor) not in found]:
        raise ValueError(f"its file lacks {missing[0]}")


def check(model: "torch.nn.Module") -> None:
    """ValueError unless the numbers that a model was given are numbers, and what its own `check` asks for."""
    import torch

    for name, tensor in model.state_dict().items():
        if tensor.is_floating_point() and not tensor.isfinite().all() and not getattr(model, "may_diverge", False):
            raise ValueError(f"{name} holds NaN or infinity")
        if tensor.dtype == torch.bool and (tensor.view(torch.uint8) > 1).any():
            raise ValueError(f"{name} holds what is neither true nor false")
    if hasattr(model, "check"):
        model.check()
    getattr(model, "controls", None)  # made anew by some models, of what they hold
