"""Exercise checks: they run the learner's function and say which property failed, on which input and by how much, with a hint.

    check(q_sample,
          agrees_with(ddpm.q_sample, [(x0, t, noise)], hint="the noise is scaled by the square root of 1 - alpha_bar"),
          holds("step 0 changes little", lambda f, x0: None if ... else "it changed by ...", [x0]))

`check` prints and returns; it never raises. A function that still holds a `...` is "not filled in yet".
"""

import ast
import copy
import inspect
import linecache
import math
import random
import textwrap
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from numbers import Number

import numpy as np
import torch
from torch import Tensor, nn

SEED = 20240601  # every call starts from the same random state, so that the learner's function and the reference draw the same noise


@dataclass(frozen=True)
class Property:
    """What must be true of a function on each of the `inputs` {label: arguments}; `judge(function, *arguments)`: None or what is wrong."""

    name: str
    judge: Callable
    inputs: Mapping[str, tuple]
    hint: str = ""


class Wrong(Exception):
    """The learner's function did something wrong before its result could be judged."""


class Unfilled(Exception):
    """The learner's function says that it is not written yet."""


def agrees_with(reference: Callable, inputs, tolerance: float = 1e-5, hint: str = "", name: str = "agrees with the reference") -> Property:
    """The function returns what `reference` returns: type, shape, dtype, and values within tolerance * (1 + |expected|).

    `inputs` is a list whose items are the argument, or a tuple of the arguments; or a dict {label: item}.
    """

    def judge(function, *arguments):
        with _same_noise():
            expected = reference(*map(_copy, arguments))
        return difference(function(*arguments), expected, tolerance)

    return Property(name, judge, _labelled(inputs), hint)


def holds(name: str, predicate: Callable, inputs=((),), hint: str = "") -> Property:
    """`predicate(function, *arguments)` is None or True where the property holds, else False or a message: by how much it fails."""
    return Property(name, predicate, _labelled(inputs), hint)


def check(function: Callable, *properties: Property, title: str | None = None) -> bool:
    """Print one line per property, ✓ or ✗ with what failed, on which input and a hint; ○ where a hole is left. True if all hold."""
    title = title or getattr(function, "__name__", type(function).__name__)
    hole = _hole(function)
    passed = True
    for number, each in enumerate(properties):
        for label, arguments in each.inputs.items():
            watched = _Watched(function)
            try:
                verdict = each.judge(watched, *map(_copy, arguments))
                verdict = verdict if verdict is None or isinstance(verdict, str) else bool(verdict)
            except Unfilled:
                return _unfilled(title, hole)
            except Exception as error:
                verdict = watched.wrong or f"its result could not be judged: {_short(error)}"
            verdict = watched.wrong or verdict
            if verdict is None or verdict is True:
                continue
            if hole or (watched.returned_nothing and not _has_code(function)):
                return _unfilled(title, hole)
            on = label.strip() or watched.described
            hints = [later.hint for later in properties[number:]] if watched.raised else [each.hint]  # nothing more will be tried
            print(f"✗ {title}: {each.name} — {_line(verdict) if isinstance(verdict, str) else 'it does not hold'}")
            print(*(f"    {key}: {text}" for key, text in (("on", on), *(("hint", hint) for hint in hints)) if text), sep="\n")
            passed = False
            if watched.raised:
                return False
            break
        else:
            print(f"✓ {title}: {each.name}")
    return passed


def _line(text: str) -> str:
    """`text` as one line that a person reads: what a learner returned may stand in it, and be of any length."""
    text = " ".join(text.split())
    return text if len(text) <= 300 else f"{text[:299]}…"


def _unfilled(title: str, hole: int | None) -> bool:
    print(f"○ {title}: not filled in yet{f' (line {hole} still holds the ...)' if hole else ''}")
    return False


class _Watched:
    """The learner's function, watched: same noise each call, arguments compared afterwards, what it raised kept in one line."""

    def __init__(self, function: Callable):
        self.function, self.wrong, self.raised, self.returned_nothing, self.described = function, None, False, False, ""
        self.__name__ = getattr(function, "__name__", "function")

    def __call__(self, *arguments, **named):
        before = [_copy(value) for value in (*arguments, *named.values())]
        self.described = _described(self.function, arguments, named)
        try:
            with _same_noise():
                result = self.function(*arguments, **named)
        except (Exception, SystemExit) as error:  # `exit()` is a wrong answer, too
            if isinstance(error, NotImplementedError) and (not str(error) or _hole(self.function)):  # PyTorch's own say what is missing
                raise Unfilled from error
            self.wrong, self.raised = f"it raised {_short(error)}{_place(error, self.function)}", True
            raise Wrong from error
        if isinstance(result, Iterator):  # it may have no end
            self.wrong = f"it returned a {type(result).__name__}, which gives its values one by one: return a list"
            raise Wrong
        if result is None or result is Ellipsis:
            self.returned_nothing = True
            self.wrong = "it returned nothing: is a `return` missing?"
            raise Wrong
        for name, old, new in zip(_names(self.function, arguments, named), before, (*arguments, *named.values()), strict=False):
            if isinstance(old, Tensor | np.ndarray | list | dict) and difference(new, old, 0.0):
                self.wrong = f"it changes its argument {name} in place: work on a copy, such as {name}.clone()"
                raise Wrong
        return result

    def __getattr__(self, name):
        return getattr(self.function, name)


def difference(given, expected, tolerance: float = 1e-5) -> str | None:
    """What parts `given` from `expected` in one line, or None: type, shape, dtype, NaN, then the largest difference and where it is."""
    if isinstance(expected, Tensor):
        if not isinstance(given, Tensor):
            return f"it is {_value(given)}, expected a tensor of shape {list(expected.shape)}"
        if given.shape != expected.shape:
            return f"its shape is {list(given.shape)}, expected {list(expected.shape)}"
        if given.dtype != expected.dtype:
            return f"its dtype is {_name(given.dtype)}, expected {_name(expected.dtype)}"
        return _furthest(given.detach().cpu(), expected.detach().cpu(), tolerance)
    if isinstance(expected, np.ndarray):
        if not isinstance(given, np.ndarray):
            return f"it is {_value(given)}, expected an array of shape {list(expected.shape)}"
        if given.shape != expected.shape:
            return f"its shape is {list(given.shape)}, expected {list(expected.shape)}"
        if given.dtype != expected.dtype:
            return f"its dtype is {given.dtype}, expected {expected.dtype}"
        if expected.dtype.kind not in "fciub":
            return None if np.array_equal(given, expected) else "its values differ"
        return _furthest(torch.from_numpy(given.copy()), torch.from_numpy(expected.copy()), tolerance)
    if isinstance(expected, Number | np.generic):
        if isinstance(given, Tensor | np.ndarray | np.generic) and np.ndim(given) == 0:
            given = given.item()
        if not isinstance(given, Number) or isinstance(given, bool) != isinstance(expected, bool | np.bool_):
            return f"it is {_value(given)}, expected a {type(expected).__name__}"
        if given == expected or (_is_nan(given) and _is_nan(expected)):
            return None
        off = abs(given - expected)
        return None if off <= tolerance * (1 + abs(expected)) else f"it is {given:.6g}, expected {expected:.6g} (off by {off:.3g})"
    if isinstance(expected, tuple | list):
        if not isinstance(given, tuple | list):
            return f"it is {_value(given)}, expected a {type(expected).__name__} of {len(expected)}"
        if len(given) != len(expected):
            return f"it has {len(given)} items, expected {len(expected)}"
        parts = ((f"item {i}", g, e) for i, (g, e) in enumerate(zip(given, expected, strict=True)))
    elif isinstance(expected, Mapping):
        if not isinstance(given, Mapping):
            return f"it is {_value(given)}, expected a dict"
        if given.keys() != expected.keys():
            return f"its keys are {sorted(map(str, given))}, expected {sorted(map(str, expected))}"
        parts = ((f"{key!r}", given[key], expected[key]) for key in expected)
    else:
        return None if type(given) is type(expected) and given == expected else f"it is {_value(given)}, expected {_value(expected)}"
    return next((f"{where}: {what}" for where, g, e in parts if (what := difference(g, e, tolerance))), None)


def _furthest(given: Tensor, expected: Tensor, tolerance: float) -> str | None:
    """The largest difference of two tensors of one shape and dtype, and where it is."""
    if given.is_complex():
        given, expected = torch.view_as_real(given), torch.view_as_real(expected)
    if not expected.numel():
        return None
    a, b = given.double(), expected.double()
    lost = a.isnan() & ~b.isnan()
    if lost.any():
        return f"{_count(lost.sum(), 'value')} of {lost.numel()} {'is' if lost.sum() == 1 else 'are'} NaN, the first at {_first(lost)}"
    off = torch.where((a == b) | (a.isnan() & b.isnan()), 0.0, (a - b).abs()).nan_to_num(nan=math.inf, posinf=math.inf)
    beyond = off - tolerance * (1 + torch.where(b.isfinite(), b.abs(), 0.0))
    if (beyond <= 0).all():
        return None
    where = _first(off == off.max())
    at = tuple(where)
    place = f" at {where}" if where else ""
    far = int((beyond > 0).sum())
    share = f"; {far} of {off.numel()} values are off" if off.numel() > 1 else ""
    return f"it differs by up to {off.max():.3g}{place}: {a[at]:.6g}, expected {b[at]:.6g}{share}"


def _first(mask: Tensor) -> list[int]:
    return mask.nonzero()[0].tolist()


def _count(n, noun: str) -> str:
    return f"{int(n)} {noun}{'' if n == 1 else 's'}"


def _is_nan(value) -> bool:
    return isinstance(value, float) and math.isnan(value)


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _labelled(inputs) -> dict[str, tuple]:
    """{label: arguments}; unlabelled inputs get labels of spaces, which print as nothing."""
    if isinstance(inputs, Tensor | np.ndarray | str) or not isinstance(inputs, Iterable):
        raise TypeError("inputs is a list of arguments or of tuples of arguments, such as [x] or [(x, t)]")
    items = inputs.items() if isinstance(inputs, Mapping) else ((" " * i, value) for i, value in enumerate(inputs))
    labelled = {label: value if isinstance(value, tuple) else (value,) for label, value in items}
    if not labelled:
        raise ValueError("a property needs at least one input to be tried on")
    return labelled


def _copy(value):
    """A copy to hand out, so that the next call sees the input as it was."""
    if isinstance(value, Tensor):
        return value.detach().clone().requires_grad_(value.requires_grad)
    if isinstance(value, torch.Generator):
        return torch.Generator(value.device).set_state(value.get_state())
    if isinstance(value, np.ndarray | list | dict | tuple | nn.Module | np.random.Generator | random.Random):
        return copy.deepcopy(value)
    return value


@contextmanager
def _same_noise():
    """Inside: random numbers start from one fixed state; afterwards: as before."""
    state, numpy_state = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED), random.seed(SEED), np.random.seed(SEED)
        try:
            yield
        finally:
            random.setstate(state), np.random.set_state(numpy_state)


def _source(function: Callable) -> tuple[ast.AST, int] | None:
    """The parsed source of a function or class and the line it starts on; None where there is none (built in, another language)."""
    try:
        lines, start = inspect.getsourcelines(inspect.unwrap(function))
        return ast.parse(textwrap.dedent("".join(lines))), start
    except (OSError, TypeError, SyntaxError):
        return None


def _hole(function: Callable) -> int | None:
    """The line, counted from the function's own first line, on which a `...` still stands for code; indexing with ... is none."""
    if (source := _source(function)) is None:
        return None
    for node in ast.walk(source[0]):
        value = getattr(node, "value", None)
        if (
            isinstance(node, ast.Expr | ast.Assign | ast.AnnAssign | ast.Return)
            and isinstance(value, ast.Constant)
            and value.value is Ellipsis
        ):
            return node.lineno
    return None


def _has_code(function: Callable) -> bool:
    """Whether the body is more than a docstring and `pass`; unknown counts as no."""
    if (source := _source(function)) is None or not isinstance(source[0], ast.Module) or not hasattr(source[0].body[0], "body"):
        return False
    body = source[0].body[0].body
    empty = (ast.Pass,)
    return not isinstance(body, list) or any(
        not isinstance(node, empty) and not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)) for node in body
    )


def _short(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}{': ' + textwrap.shorten(text, 200, placeholder=' …') if text else ''}"


def _place(error: BaseException, function: Callable) -> str:
    """Where in the learner's code an exception came from: the deepest line in the file or cell that holds the function."""
    code = getattr(inspect.unwrap(function), "__code__", None)
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if code and frame.filename == code.co_filename]
    if not frames:
        return ""
    line = (frames[-1].line or linecache.getline(frames[-1].filename, frames[-1].lineno)).strip()
    return f" in line {frames[-1].lineno}{f': {line}' if line else ''}"


def _names(function: Callable, arguments: tuple, named: Mapping) -> list[str]:
    try:
        parameters = list(inspect.signature(function).parameters)
    except (TypeError, ValueError):
        parameters = []
    return [*(parameters[i] if i < len(parameters) else f"number {i + 1}" for i in range(len(arguments))), *named]


def _described(function: Callable, arguments: tuple, named: Mapping) -> str:
    """What a function is called with, by the names that it gives its parameters."""
    values = (*arguments, *named.values())
    return ", ".join(f"{name} = {_value(value)}" for name, value in zip(_names(function, arguments, named), values, strict=True))


def _value(value) -> str:
    """A value in a few words: small ones in full, tensors by shape, dtype and range."""
    if isinstance(value, Tensor | np.ndarray):
        kind = "a tensor" if isinstance(value, Tensor) else "an array"
        array = value.detach().cpu().float().numpy() if isinstance(value, Tensor) and value.is_floating_point() else np.asarray(value)
        if array.size <= 6:
            return f"{kind} {np.array2string(array, precision=4, separator=', ').replace(chr(10), '')}"
        dtype = _name(value.dtype) if isinstance(value, Tensor) else value.dtype
        spread = f" in [{np.nanmin(array):.3g}, {np.nanmax(array):.3g}]" if array.dtype.kind in "fiu" and not np.isnan(array).all() else ""
        return f"{kind} {list(value.shape)} {dtype}{spread}"
    if callable(value) and hasattr(value, "__name__"):
        return value.__name__
    return textwrap.shorten(repr(value), 80, placeholder=" …") if not isinstance(value, nn.Module) else type(value).__name__
