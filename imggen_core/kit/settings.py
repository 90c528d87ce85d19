"""The course's settings: paths, chapters and their scales from `settings.ini`, the choice of device, precision and threads, seeding."""

import ast
import configparser
import difflib
import functools
import math
import os
import platform
import random
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

SCALES = ("smoke", "laptop", "full")


class InputError(ValueError):
    """Something the user gave is wrong; `str(error)` is the one line that says what, and what to do about it."""


def nearest(name: str, known) -> str:
    """The end of a sentence about an unknown name: the closest of the `known` ones, or all of them if none is close."""
    known = list(known)
    close = difflib.get_close_matches(str(name), known, n=1, cutoff=0.5)
    return f"did you mean {close[0]!r}?" if close else f"there is {', '.join(known) or 'none'}"


def find_root() -> Path:
    """The folder that holds `settings.ini`: the checkout this package lies in, else the working folder or one above it."""
    own = Path(__file__).resolve().parents[2]
    try:
        here = Path.cwd()
    except FileNotFoundError:  # a working folder that was deleted
        here = own
    return next((folder for folder in (own, here, *here.parents) if (folder / "settings.ini").is_file()), here)


ROOT = find_root()
RUNS, DATA, CHECKPOINTS = ROOT / "runs", ROOT / "data", ROOT / "checkpoints"


@dataclass(frozen=True)
class Chapter:
    """One chapter of the course as `settings.ini` describes it; `minutes` maps a scale to the expected time on two cores (full: a GPU)."""

    number: int
    name: str
    about: str
    notebook: Path
    minutes: dict[str, float]

    @property
    def ready(self) -> bool:
        """False while the chapter is still to come."""
        return self.notebook.is_file()


@functools.cache
def sections() -> configparser.ConfigParser:
    """`settings.ini`, read once; InputError when it is missing or malformed, or has a section of an unknown chapter or scale."""
    parser = configparser.ConfigParser(interpolation=None)
    parser.optionxform = str
    path = ROOT / "settings.ini"
    try:
        parser.read_string(path.read_text(encoding="utf-8-sig"), str(path))
    except FileNotFoundError:
        raise InputError(f"{path}: not found — run this inside a checkout of the course") from None
    except (OSError, UnicodeDecodeError, configparser.Error) as error:
        raise InputError(f"{path}: cannot be read ({unreadable(error)}) — correct it, or restore the file from the repository") from None
    names = [section.removeprefix("chapter ") for section in parser.sections() if section.startswith("chapter ")]
    for section in parser.sections():
        name, dot, scale = section.partition(".")
        if dot and name in names and scale not in SCALES:
            raise InputError(f"{path}: [{section}]: no scale {scale!r} — {nearest(scale, SCALES)}")
        if section != "course" and not (name in names if dot else section.startswith("chapter ")):
            raise InputError(f"{path}: [{section}]: no such section — there are [course], [chapter NAME], [NAME.smoke] and [NAME.full]")
    return parser


def unreadable(error: Exception) -> str:
    """What is wrong with a settings file, in a few words."""
    if isinstance(error, UnicodeDecodeError):
        return f"line {error.object[: error.start].count(10) + 1} is not UTF-8"
    if isinstance(error, configparser.DuplicateSectionError | configparser.DuplicateOptionError):
        key = getattr(error, "option", None)
        return f"line {error.lineno}: [{error.section}]{f' {key}' if key else ''} stands there a second time"
    if isinstance(error, configparser.MissingSectionHeaderError):
        return f"line {error.lineno} stands in no [section]"
    if isinstance(error, configparser.ParsingError):
        return f"line {error.errors[0][0]} is no `name = value`"
    return getattr(error, "strerror", None) or str(error).splitlines()[0]


def parse(text: str) -> Any:
    """The Python value that `text` spells ("8", "1e-4", "[1, 2]", "None"), else the text itself."""
    try:
        with warnings.catch_warnings(action="ignore"):  # "0if" is a text, and nobody's Python
            return ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return {"true": True, "false": False, "none": None}.get(text.strip().lower(), text)


@functools.cache
def chapters() -> dict[str, Chapter]:
    """Every chapter by name, in course order, also those that are still to come."""
    found = []
    for section in sections().sections():
        kind, _, name = section.partition(" ")
        if kind == "chapter" and name:
            values = sections()[section]
            number = number_in(section, "number", int)
            minutes = {scale: number_in(section, key, float) for scale in SCALES if (key := f"minutes_{scale}") in values}
            found.append(Chapter(number, name, values.get("about", ""), ROOT / "nbs" / f"{number:02d}_{name}.ipynb", minutes))
    return {chapter.name: chapter for chapter in sorted(found, key=lambda chapter: chapter.number)}


def number_in(section: str, key: str, kind: type) -> float:
    """The number that `settings.ini` must have as `key` of `section`, from 0 to a million; InputError names both."""
    text = sections()[section].get(key, "")
    try:
        number = kind(text)
    except ValueError:
        number = math.nan
    if not 0 <= number <= 1e6:
        raise in_settings(section, f"{key} = {text!r}: must be a {'whole ' * (kind is int)}number")
    return number


def in_settings(section: str, what: str) -> InputError:
    """An error in what `section` of `settings.ini` says."""
    return InputError(f"{ROOT / 'settings.ini'}: [{section}] {what}")


def chapter(name: str) -> Chapter:
    """The chapter called `name`; InputError that suggests the nearest name."""
    if name not in chapters():
        raise InputError(f"no chapter {name!r} — {nearest(name, chapters())}")
    return chapters()[name]


def scale_parameters(chapter: str, scale: str) -> dict[str, Any]:
    """The parameters that `scale` changes in a chapter's notebook; laptop scale is the notebook as it stands: {}."""
    if scale not in SCALES:
        raise InputError(f"no scale {scale!r} — {nearest(scale, SCALES)}")
    section = f"{chapter}.{scale}"
    return {name: parse(text) for name, text in sections()[section].items()} if section in sections() else {}


def course(name: str, default: str) -> str:
    """One value of `settings.ini`'s [course] section."""
    return sections().get("course", name, fallback=default)


def thread_environment(processes: int = 1) -> dict[str, str]:
    """The policy for threads, as variables for one of `processes` that share this machine; what a person has set stays.

    Threads that wait for each other sleep (OMP_WAIT_POLICY=passive, which GNU's OpenMP and LLVM's both heed), GNU's after some ten
    microseconds (GOMP_SPINCOUNT): on an idle machine that wins back most of what going to sleep costs. By default they spin, and beside
    other busy programs a step on two threads takes many times as long as on one (tests/benchmarks/bench_threads.py). Several processes
    share the cores evenly (OMP_NUM_THREADS); one alone has as many threads as PyTorch chooses.

    OpenMP reads them when torch is imported. `import imggen_core` sets those for waiting, and every process that is started then
    inherits them; where a notebook in another Jupyter imports torch before, it is too late: set them before that Jupyter starts.
    """
    wanted = {} if os.environ.get("OMP_WAIT_POLICY") else {"OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": "1000"}
    if processes > 1:
        wanted["OMP_NUM_THREADS"] = str(max(1, cores() // processes))
    return {name: os.environ.get(name) or value for name, value in wanted.items()}


def cores() -> int:
    """How many cores this process may use: a batch scheduler may allot fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def choose_device(name: str = "auto") -> "torch.device":
    """The device to train on: `name` (auto, cuda, mps or cpu), where auto is the course's setting, then the fastest this machine has."""
    import torch

    given = name = str(name).lower()
    if name == "auto":
        name = course("device", "auto").lower()
    present = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        name = next(device for device, there in present.items() if there)
    if name not in present:
        wrong = f"no device {name!r} — choose auto, cuda, mps or cpu"
        raise in_settings("course", wrong) if given == "auto" else InputError(wrong)
    if not present[name]:
        raise InputError(f"device {name!r} was asked for, but this machine has none that PyTorch can use — choose auto or cpu")
    return torch.device(name)


def choose_precision(device: "torch.device", name: str = "auto") -> str:
    """"bf16" or "no" (float32) for `name` (auto, no, float32, bf16, bfloat16); auto takes bf16 where the device computes in it natively."""
    given = name = str(name).lower()
    if name == "auto":
        name = course("precision", "auto").lower()
    if name == "auto":
        name = "bf16" if bfloat16_units(device) else "no"
    names = {"no": "no", "float32": "no", "fp32": "no", "bf16": "bf16", "bfloat16": "bf16"}
    if name not in names:
        wrong = f"no precision {name!r} — choose auto, float32 or bfloat16"
        raise in_settings("course", wrong) if given == "auto" else InputError(wrong)
    return names[name]


def bfloat16_units(device: "torch.device | str" = "cpu") -> str:
    """What multiplies bfloat16 in hardware on `device`, by name ("AMX and AVX-512 BF16"); "" where nothing does that PyTorch uses."""
    import torch

    kind = torch.device(device).type
    if kind == "cuda":
        return "tensor cores" if torch.cuda.is_bf16_supported(including_emulation=False) else ""
    if kind != "cpu":
        return ""
    if platform.machine().lower() in ("arm64", "aarch64"):  # asks the processor, and whether this PyTorch has kernels for it
        return "Arm BF16" if torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported() else ""
    probes = {"AMX": "_is_amx_tile_supported", "AVX-512 BF16": "_is_avx512_bf16_supported"}
    return " and ".join(name for name, probe in probes.items() if getattr(torch.cpu, probe, bool)())


def seed_everything(seed: int) -> None:
    """Seed Python's, NumPy's and PyTorch's global generators (every device) with `seed`, any integer."""
    import numpy
    import torch

    seed = int(seed)
    random.seed(seed)
    numpy.random.seed(seed % 2**32)
    torch.manual_seed(seed % 2**63)


def headless() -> bool:
    """True where no widget can be shown: IMGGEN_HEADLESS=1 (papermill runs), or no Jupyter kernel."""
    if os.environ.get("IMGGEN_HEADLESS") == "1":
        return True
    if "IPython" not in sys.modules:
        return True
    from IPython import get_ipython

    return getattr(get_ipython(), "kernel", None) is None
