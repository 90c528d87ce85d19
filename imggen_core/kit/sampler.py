"""The one interface of every generator: `controls` says what can be turned, `sample(n, seed, **controls)` gives pictures.

A generator writes `make`, and everybody calls `sample`, which is written here, once. `sample` reads n, seed, first and every control that
is given, each by its Control; `make` gets a value for every control, and takes these values as they are. A control's reading is that of
`kit.parameters`: the same ranges, the same words when a value is wrong.
"""

import hashlib
import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from . import parameters, progress
from .parameters import OneOf, Real, Whole
from .settings import InputError, nearest

if TYPE_CHECKING:
    import torch


class Control:
    """One thing that can be turned on a generator: `default` is where it stands, `meaning` one line for the learner."""

    def read(self, name: str, value: Any) -> Any:
        """`value` (also as text, as a command line gives it) as this control's type; InputError when it does not fit."""
        raise NotImplementedError


@dataclass(frozen=True)
class Slider(Control):
    """A number in [low, high]; an integer if default, low, high and step all are. `step` is the widget's, values between are fine."""

    default: float
    low: float
    high: float
    step: float
    meaning: str

    def __post_init__(self):
        if not (self.low <= self.default <= self.high and self.step > 0):
            raise ValueError(f"Slider: default {self.default} must lie in {self.low}..{self.high}, and step {self.step} be positive")

    @property
    def whole(self) -> bool:
        return all(isinstance(value, int) for value in (self.default, self.low, self.high, self.step))

    def read(self, name: str, value: Any) -> float:
        return (Whole if self.whole else Real)(self.low, self.high).read(name, value)


@dataclass(frozen=True)
class Choice(Control):
    """One of `options`."""

    default: Any
    options: tuple
    meaning: str

    def __post_init__(self):
        if self.default not in self.options:
            raise ValueError(f"Choice: default {self.default!r} must be one of {', '.join(map(str, self.options))}")

    def read(self, name: str, value: Any) -> Any:
        return OneOf(self.options).read(name, value)


@dataclass(frozen=True)
class Text(Control):
    """Any text."""

    default: str
    meaning: str

    def read(self, name: str, value: Any) -> str:
        return str(value)


def checked(controls: dict[str, Control], given: dict[str, Any]) -> dict[str, Any]:
    """A value for every control: `given` where it is given (converted, checked), the default elsewhere; InputError names what is wrong."""
    for name in given:
        if name not in controls:
            raise InputError(f"no control {name!r} — {nearest(name, controls)}")
    return {name: control.read(name, given[name]) if name in given else control.default for name, control in controls.items()}


def controls_of(function: Callable) -> dict[str, Control]:
    """The parameters of a training function that a slider, a menu or a text field can set, at their defaults, from its schema."""
    found, signature = {}, inspect.signature(function)
    for name, kind in parameters.of(function).items():
        default = signature.parameters[name].default
        if isinstance(kind, parameters.Number) and math.isfinite(kind.low) and math.isfinite(kind.high) and default is not None:
            step = kind.multiple if isinstance(kind, Whole) else (kind.high - kind.low) / 100
            found[name] = Slider(default, kind.low, kind.high, step, kind.meaning)
        elif isinstance(kind, OneOf | parameters.Flag):
            found[name] = Choice(default, getattr(kind, "options", (False, True)), kind.meaning)
        elif isinstance(kind, parameters.Words | parameters.PictureFile):
            found[name] = Text(default, kind.meaning)
    return found


def generator(seed: int, i: int = 0) -> "torch.Generator":
    """A CPU generator for picture `i` of `seed`: it depends on the two alone, so picture i is the same whatever n is asked for."""
    import torch

    mixed = hashlib.blake2b(f"{int(seed)}/{int(i)}".encode(), digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(mixed, "little") >> 1)


def noise_source(n: int, seed: int, *shape: int, first: int = 0, device="cpu") -> Callable[[], "torch.Tensor"]:
    """A function that draws standard normal noise [n, *shape] afresh at each call, row i always from `generator(seed, first + i)`."""
    import torch

    own = [generator(seed, first + i) for i in range(n)]
    return lambda: torch.stack([torch.randn(shape, generator=one) for one in own]).to(device)


def noise(n: int, seed: int, *shape: int, first: int = 0, device="cpu") -> "torch.Tensor":
    """Standard normal noise [n, *shape]: the first that `noise_source` draws."""
    return noise_source(n, seed, *shape, first=first, device=device)()


def picture_count(n: int, most: int) -> int:
    """`n` if it is a number of pictures that can be asked for; InputError otherwise."""
    if isinstance(n, bool) or not isinstance(n, int) or not 1 <= n <= most:
        raise InputError(f"n={n!r}: must be a whole number of pictures from 1 to {most}")
    return n


LARGEST = 2**31  # bytes that all pictures of one call may take


def generate(make: Callable, n: int, seed: int, *shape: int, first: int = 0, batch: int = 64, device="cpu") -> "torch.Tensor":
    """Pictures first..first+n-1 of `seed`, [n, *shape] on the CPU, made `batch` at a time, so that memory is bounded.

    `make(draw, rows)` makes the pictures that are the `rows` (a slice) of these n; `draw()` gives noise for them, afresh at each call.
    """
    import torch

    made = torch.empty(picture_count(n, LARGEST // (4 * math.prod(shape))), *shape)
    with progress.counted(n, "pictures made") as done:
        for start in range(0, n, batch):
            rows = slice(start, min(start + batch, n))
            made[rows] = make(noise_source(rows.stop - start, seed, *shape, first=first + start, device=device), rows).cpu()
            done.update(rows.stop - start)
    return made


class Sampler:
    """What a generator is: its `controls`, and `make`, which each writes for itself. Everybody else calls `sample`."""

    controls: dict[str, Control] = {}

    def make(self, n: int, seed: int, first: int, **controls) -> "torch.Tensor":
        """Pictures first..first+n-1 of `seed`, [n,3,H,W] in [0,1]: each depends on the seed, its index and the controls alone.

        What comes in is read already, and there is a value for every control.
        """
        raise NotImplementedError

    def make_svg(self, seed: int, index: int, **controls) -> str:
        """Picture `index` of `seed` as SVG text; only a generator that draws vectors has one."""
        raise InputError(f"{type(self).__name__}: draws pixels, and has no SVG — give a name that ends in .png")

    def sample(self, n: int = 1, seed: int = 0, first: int = 0, **controls) -> "torch.Tensor":
        """Pictures first..first+n-1 of `seed`: [n,3,H,W] float32 in [0,1] on the CPU, without gradient.

        Picture i is the same whatever n and first are, but for rounding in another batch. A control that is not given stands at its
        default; InputError for n, seed, first or a control that does not fit.
        """
        n, seed, first = Whole(1, 10**5).read("n", n), read_seed(seed), read_index("first", first)
        return made(self, n, seed, first, checked(self.controls, controls))

    def sample_svg(self, seed: int = 0, index: int = 0, **controls) -> str:
        """Picture `index` of `seed` as SVG text; InputError as for `sample`, and where the generator draws no vectors."""
        return self.make_svg(read_seed(seed), read_index("index", index), **checked(self.controls, controls))


def read_seed(seed) -> int:
    return Whole(-(2**53), 2**53).read("seed", seed)


def read_index(name: str, index) -> int:
    return Whole(0, 2**53).read(name, index)


def made(sampler: Sampler, n: int, seed: int, first: int, controls: dict[str, Any]) -> "torch.Tensor":
    """`sampler.sample` for values that are read already, with one for every control."""
    import torch

    with torch.no_grad():
        images = sampler.make(n, seed, first, **controls)
    if images.dim() != 4 or tuple(images.shape[:2]) != (n, 3):
        raise TypeError(f"{type(sampler).__name__}.make must return [{n},3,H,W], not {list(images.shape)}")
    return images.detach().float().clamp(0, 1).cpu()
