"""The one interface of every generator: `controls` says what can be turned, `sample(n, seed, **controls)` makes pictures.

Who checks what. A value that comes from outside (a command line, a widget, a page) is read once, by its Control, at one door: `pictures`,
which reads n, seed and every control, calls `sample` with a value for each control, and looks at the shape of what comes back. `sample` and
all that it calls take these values as they are, and so do its defaults: code that calls `sample` directly hands over values that fit, or
reads its own with `checked` first. A control's reading is that of `kit.parameters`: the same ranges, the same words when a value is wrong.
"""

import hashlib
import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from . import parameters
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


def noise(n: int, seed: int, *shape: int, device="cpu") -> "torch.Tensor":
    """Standard normal noise [n, *shape]: the first that `noise_source` draws."""
    return noise_source(n, seed, *shape, device=device)()


def picture_count(n: int, most: int) -> int:
    """`n` if it is a number of pictures that can be asked for; InputError otherwise."""
    if isinstance(n, bool) or not isinstance(n, int) or not 1 <= n <= most:
        raise InputError(f"n={n!r}: must be a whole number of pictures from 1 to {most}")
    return n


LARGEST = 2**31  # bytes that all pictures of one call may take


def generate(make: Callable, n: int, seed: int, *shape: int, batch: int = 64, device="cpu") -> "torch.Tensor":
    """n pictures [n, *shape] on the CPU, made `batch` at a time, so that memory is bounded and picture i the same whatever n is.

    `make(draw, rows)` makes the pictures with the numbers `rows` (a slice), for which `draw()` gives noise, afresh at each call.
    """
    import torch

    made = torch.empty(picture_count(n, LARGEST // (4 * math.prod(shape))), *shape)
    for first in range(0, n, batch):
        rows = slice(first, min(first + batch, n))
        made[rows] = make(noise_source(rows.stop - first, seed, *shape, first=first, device=device), rows).cpu()
    return made


class Sampler:
    """What a generator promises. A model inherits this (or just has the two names) and everything that shows pictures can use it."""

    controls: dict[str, Control] = {}

    def sample(self, n: int = 1, seed: int = 0, **controls) -> "torch.Tensor":
        """n pictures [n,3,H,W] float32 in [0,1]; the same seed and controls give the same pictures, picture i whatever n is.

        Every control has its default here; what is given fits it (`pictures` sees to that).
        """
        raise NotImplementedError


def pictures(sampler: Sampler, n: int = 1, seed: int = 0, **given) -> "torch.Tensor":
    """`sampler.sample` for values that come from outside: n, seed and every control read here, no gradient; [n,3,H,W] on the CPU."""
    import torch

    n, seed = Whole(1, 4096).read("n", n), Whole(-(2**53), 2**53).read("seed", seed)
    with torch.no_grad():
        images = sampler.sample(n, seed, **checked(sampler.controls, given))
    if images.dim() != 4 or tuple(images.shape[:2]) != (n, 3):
        raise TypeError(f"{type(sampler).__name__}.sample must return [{n},3,H,W], not {list(images.shape)}")
    return images.detach().float().clamp(0, 1).cpu()
