"""What a training can be given: type, range, unit and meaning of each parameter stand in one place, the signature of `train`.

    @validated
    def train(run: Run, *, steps: Steps = 2000, lr: LearningRate = 2e-3,
              floor: Annotated[float, Real(0, 5, "the least weight of a squared error")] = 0.2):
        ...

From that come the check of every call, the errors of `imggen run -p`, the list that `imggen chapters NAME` prints, and sliders
(`sampler.controls_of`).
"""

import ast
import functools
import inspect
import math
import os
import sys
import typing
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Annotated, Any

from .settings import ROOT, InputError, nearest, parse

FLOAT32 = 3.4e38  # the largest number that a network computes with
SHORTER, LONGER = 4, (16, 4096)  # pixels: what a picture's shorter side has at least, and its longer side, for a chapter to work with it


class Parameter:
    """What a value may be. `meaning`: one line for the learner; `unit`: what a number counts or measures ("" for a bare number)."""

    meaning: str = ""
    unit: str = ""

    @property
    def wants(self) -> str:
        """What it must be, as the end of a sentence: "a whole number from 1 to 64"."""
        return "anything"

    def read(self, name: str, value: Any) -> Any:
        """`value` (also as text, as a command line gives it) as this parameter's type; InputError when it does not fit."""
        return value

    def typed(self, name: str, text: str) -> Any:
        """What a person typed as `text`: a Python literal, or else the text itself, read as this parameter."""
        return self.read(name, parse(text))

    def look(self, name: str, values: dict) -> None:
        """InputError for what shows only beside the other `values`, and before anything long begins."""

    def wrong(self, name: str, value: Any) -> InputError:
        return InputError(f"{name}={one_line(value)}: must be {self.wants}")


@dataclass(frozen=True)
class Number(Parameter):
    """A finite number in [low, high]; with `above`, low itself is too little; with `below`, high itself is too much."""

    low: float = -math.inf
    high: float = math.inf
    meaning: str = ""
    unit: str = ""
    _: KW_ONLY
    above: bool = False
    below: bool = False
    article = "a number"

    @property
    def wants(self) -> str:
        if not self.above and not self.below and math.isfinite(self.low) and math.isfinite(self.high):
            return f"{self.article} from {text_of(self.low)} to {text_of(self.high)}"
        low = f" {'above' if self.above else 'of at least'} {text_of(self.low)}" if math.isfinite(self.low) else ""
        high = f" {'below' if self.below else 'of at most'} {text_of(self.high)}" if math.isfinite(self.high) else ""
        return self.article + (" and".join(filter(None, (low, high))))

    def read(self, name: str, value: Any) -> float:
        value = value.item() if getattr(value, "ndim", None) == 0 else value  # a number of NumPy or PyTorch
        if not isinstance(value, int | float | str) or isinstance(value, bool):
            raise self.wrong(name, value)
        try:
            number = float(value)
        except (ValueError, OverflowError):
            raise self.wrong(name, value) from None
        inside = math.isfinite(number) and self.low <= number <= self.high
        if not inside or (self.above and number == self.low) or (self.below and number == self.high):
            raise self.wrong(name, value)
        return number


@dataclass(frozen=True)
class Real(Number):
    """A finite number that a float32 can hold."""

    def read(self, name: str, value: Any) -> float:
        number = super().read(name, value)
        if abs(number) > FLOAT32:
            raise InputError(f"{name}={one_line(value)}, more than a float32 can hold: must be {self.wants}")
        return number


@dataclass(frozen=True)
class Whole(Number):
    """A whole number, a multiple of `multiple`."""

    _: KW_ONLY
    multiple: int = 1
    article = "a whole number"

    @property
    def wants(self) -> str:
        return super().wants + (f", a multiple of {self.multiple}" if self.multiple > 1 else "")

    def read(self, name: str, value: Any) -> int:
        number = super().read(name, value)
        if number != int(number) or int(number) % self.multiple or abs(number) >= 2**53:  # from there a float skips some
            raise self.wrong(name, value)
        return int(number)


@dataclass(frozen=True)
class Flag(Parameter):
    """True or False."""

    meaning: str = ""
    wants = "true or false"

    def read(self, name: str, value: Any) -> bool:
        known = {"true": True, "yes": True, "false": False, "no": False}
        if isinstance(value, bool):
            return value
        if str(value).lower() not in known:
            raise self.wrong(name, value)
        return known[str(value).lower()]


@dataclass(frozen=True)
class OneOf(Parameter):
    """One of `options`."""

    options: tuple = ()
    meaning: str = ""

    @property
    def wants(self) -> str:
        return f"one of {', '.join(map(str, self.options))}"

    def read(self, name: str, value: Any) -> Any:
        for option in self.options:
            if type(option) is type(value) and option == value or str(option) == str(value):
                return option
        raise InputError(f"{name}={one_line(value)}: {nearest(value, map(str, self.options))}")


@dataclass(frozen=True)
class Words(Parameter):
    """Any text."""

    meaning: str = ""
    wants = "a text"

    def read(self, name: str, value: Any) -> str:
        return str(value)

    typed = read


@dataclass(frozen=True)
class Line(Words):
    """One line of text, no longer than a path may be."""

    wants = "a line of text"

    def read(self, name: str, value: Any) -> str:
        if not isinstance(value, str) or len(value) > 4096 or not value.isprintable():
            raise self.wrong(name, value)
        return value


@dataclass(frozen=True)
class Several(Parameter):
    """A list or tuple of `least` to `most` values, each of them `each`."""

    each: Parameter = Parameter()
    meaning: str = ""
    unit: str = ""
    _: KW_ONLY
    least: int = 1
    most: int = 64

    @property
    def wants(self) -> str:
        count = f"{self.least}" if self.least == self.most else f"{self.least} to {self.most}"
        return f"a list of {count} values, each {self.each.wants}"

    def read(self, name: str, value: Any) -> list:
        if not isinstance(value, list | tuple) or not self.least <= len(value) <= self.most:
            raise self.wrong(name, value)
        return [self.each.read(f"{name}[{k}]", item) for k, item in enumerate(value)]


@dataclass(frozen=True)
class Maybe(Parameter):
    """None, or what `kind` takes."""

    kind: Parameter = Parameter()
    meaning: str = ""

    @property
    def wants(self) -> str:
        return f"none, or {self.kind.wants}"

    def read(self, name: str, value: Any) -> Any:
        return None if value is None else self.kind.read(name, value)

    def typed(self, name: str, text: str) -> Any:
        return None if parse(text) is None else self.kind.typed(name, text)

    def look(self, name: str, values: dict) -> None:
        if values[name] is not None:
            self.kind.look(name, values)


@dataclass(frozen=True)
class PictureFile(Parameter):
    """An SVG or picture file, named from the working folder or the project's; it is drawn at the parameter called `size`, if there is one.

    The name that is kept holds from everywhere: from the project's root where the file lies there, otherwise absolute.
    """

    meaning: str = ""
    _: KW_ONLY
    size: str = "image_size"
    wants = "the name of an SVG or of a picture file"

    def read(self, name: str, value: Any) -> str:
        if not isinstance(value, str | Path):
            raise self.wrong(name, value)
        path = os.path.expanduser(value)
        path = Path(os.path.abspath(path if os.path.exists(path) or not os.path.exists(ROOT / path) else ROOT / path))
        return path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else str(path)

    typed = read

    def look(self, name: str, values: dict) -> None:
        from . import targets

        height, width = targets.read(ROOT / values[name], values.get(self.size))[1]
        if not sides_fit(height, width):
            raise InputError(f"{values[name]}: is {width} × {height} pixels, and the longer side must be {LONGER[0]} to {LONGER[1]}, the "
                             f"other {SHORTER} or more — give {self.size}=WxH")  # fmt: skip


@dataclass(frozen=True)
class PictureSize(Parameter):
    """The longer side of a picture in pixels, both sides as "320x200", or none for its own size."""

    meaning: str = ""
    wants = f'the longer side in pixels, from {LONGER[0]} to {LONGER[1]}, both sides ("320x200"), or none for its own size'

    def read(self, name: str, value: Any) -> Any:
        from . import images

        size = images.parse_size(value)
        if size is not None and not sides_fit(*(size if isinstance(size, tuple) else (size, size))):
            raise self.wrong(name, value)
        return value


def sides_fit(height: int, width: int) -> bool:
    return SHORTER <= min(height, width) and LONGER[0] <= max(height, width) <= LONGER[1]


def one_line(value: Any) -> str:
    """`value` as it would be written, in less than 60 characters without a line's end."""
    text = " ".join(repr(value).split())
    return text if len(text) < 60 else text[:57] + "..."


def text_of(number: float) -> str:
    return f"{int(number)}" if isinstance(number, int) or number == int(number) and abs(number) < 1e15 else f"{number:g}"


Seed = Annotated[int, Whole(1 - 2**53, 2**53 - 1, "the same seed, the same result")]
Steps = Annotated[int, Whole(0, 10**9, "how many batches are learnt from", "batches")]
Epochs = Annotated[int, Whole(0, 10**6, "how often all training data are seen", "passes")]
BatchSize = Annotated[int, Whole(1, 65536, "how many samples one step learns from", "samples")]
NormBatch = Annotated[int, Whole(2, 65536, "how many samples one step learns from, normalised by each other", "samples")]
Accumulate = Annotated[int, Whole(1, 4096, "how many batches make one step of the optimiser", "batches")]
LearningRate = Annotated[float, Real(0, math.inf, "how far one step moves the weights", above=True)]
Decay = Annotated[float, Real(0, 1, "what share of the averaged weights stays at each step", below=True)]
Share = Annotated[float, Real(0, 1, "a share of the whole")]
Count = Annotated[int, Whole(1, 10**7, "how many of them are used", "samples")]
Pixels = Annotated[int, Whole(LONGER[0], 2048, "the side of a picture", "pixels")]
Square = Annotated[int, Whole(1, 2048, "the side of a model's square pictures", "pixels")]
Side = Annotated[int, Whole(1, LONGER[1], "a side of a model's pictures", "pixels")]
Width = Annotated[int, Whole(1, 4096, "channels of the first level", "channels")]
Widths = Annotated[tuple, Several(Whole(1, 4096), "channels of each level, each half as large", "channels", most=8)]
Numbers = Annotated[int, Whole(1, 65536, "how many numbers", "numbers")]
Target = Annotated[str, PictureFile("the picture that is learnt")]
TargetName = Annotated[str, Line("the picture that a model was trained on")]


def of(function: Callable) -> dict[str, Parameter]:
    """The schema of a training function: its keyword-only parameters by name, from their annotations or else like their defaults."""
    hints = typing.get_type_hints(function, include_extras=True)
    given = [p for p in inspect.signature(function).parameters.values() if p.kind is p.KEYWORD_ONLY]
    return {p.name: noted(hints.get(p.name)) or like(p.default) for p in given}


def noted(hint: Any) -> Parameter | None:
    """The Parameter in an annotation, if there is one."""
    return next((note for note in getattr(hint, "__metadata__", ()) if isinstance(note, Parameter)), None)


def declared(module: Path) -> dict[str, Parameter]:
    """`of(train)` from the source of a chapter's module: importing a chapter takes seconds and 450 MB. {} where there is no `train`.

    NameError (or its like) where an annotation needs more than this module, constants of the chapter and those of earlier chapters.
    """
    names = Names(module)
    train = next((node for node in names.tree.body if isinstance(node, ast.FunctionDef) and node.name == "train"), None)
    given = zip(train.args.kwonlyargs, train.args.kw_defaults, strict=True) if train else ()
    return {arg.arg: noted(names.value(arg.annotation)) or like(names.value(default)) for arg, default in given}


class Names(dict):
    """The constants at the top of a module's source, each worked out when it is asked for."""

    def __init__(self, module: Path):
        self.module, self.tree = module, ast.parse(module.read_text(encoding="utf-8"))

    def value(self, expression: ast.expr | None) -> Any:
        return None if expression is None else eval(compile(ast.Expression(expression), str(self.module), "eval"), {}, self)

    def __missing__(self, name: str) -> Any:
        for node in self.tree.body:
            if isinstance(node, ast.Assign) and name in [target.id for target in node.targets if isinstance(target, ast.Name)]:
                return self.value(node.value)
            for alias in node.names if isinstance(node, ast.ImportFrom) else ():
                if name == (alias.asname or alias.name):
                    return self.imported(node, alias.name)
        raise KeyError(name)

    def __getattr__(self, name: str) -> Any:
        return self[name]  # a module's constant: `designs.GOALS`

    def imported(self, node: ast.ImportFrom, name: str) -> Any:
        """What `from … import name` brings: a module of this library as its Names, or what stands in one."""
        if node.module == "typing":
            return getattr(typing, name)
        place = self.module.parents[node.level - 1].joinpath(*(node.module or "").split("."))
        if place.name == "kit" and name == "parameters":
            return sys.modules[__name__]
        if place.parts[-2:] == ("kit", "parameters"):
            return globals()[name]
        return Names(place / f"{name}.py") if (place / f"{name}.py").is_file() else Names(place.with_suffix(".py"))[name]


def like(default: Any) -> Parameter:
    """What a parameter takes of which only the default is known: values of its kind, and none below 0 if it is not."""
    if isinstance(default, bool):
        return Flag()
    if isinstance(default, int | float):
        return (Whole if isinstance(default, int) else Real)(0 if default >= 0 else -math.inf)
    if isinstance(default, str):
        return Words()
    if isinstance(default, list | tuple):
        return Several(like(default[0]) if default else Parameter(), least=0, most=4096)
    return Parameter()


def validated(function: Callable) -> Callable:
    """`function` with its keyword-only arguments read by its schema at every call; InputError names the first that does not fit."""
    schema = of(function)

    @functools.wraps(function)
    def call(*arguments, **given):
        return function(*arguments, **{name: schema[name].read(name, value) if name in schema else value for name, value in given.items()})

    return call
