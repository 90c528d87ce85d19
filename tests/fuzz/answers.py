"""What a learner's function may return, in every exercise of the labs: the checks say a line about it, and never raise or hang."""

import functools
import itertools  # noqa: F401 – for answers
import math

# Beside the labs' own: what is right, and what a property of it looks at, for an answer of each kind.
KINDS = {
    "torch.zeros(2, 3)": "f(x).sum() == 0", "torch.ones(4, 3, 5, 5)": "None if images.psnr(f(x), f(x)) == 100 else f'it is {f(x)!r:.99}'",
    "np.zeros((2, 3))": "f(x).max() < 1", "0.5": "abs(f(x) - 0.5) < 1", "True": "f(x)", "'x'": "f(x) == 'x'",
    "(torch.zeros(2, 3), [1, 2])": "list(f(x)) == [0, 1]", "{'a': torch.zeros(2, 3), 'b': 1}": "sorted(f(x)) == ['a', 'b']",
    "torch.nn.Linear(2, 3)": "f(x)(torch.zeros(1, 2)).shape == (1, 3)", "Image.new('RGB', (3, 2))": "images.as_array(f(x)).mean() < 1",
}  # fmt: skip


class Strange:
    """Everything that can be asked of it goes wrong."""

    def __getattr__(self, name):
        raise RuntimeError(f"no {name}")

    def __repr__(self):
        raise ValueError("no words\nfor this")

    def __eq__(self, other):
        raise TypeError("not to be compared")

    __hash__ = None
    __len__ = __bool__ = __float__ = __iter__ = __repr__


class Named(dict):
    shape, dtype, ndim = (2, 3), "float", 2


ANSWERS = """
    None | ... | NotImplemented | True | 0 | -1 | 10**5000 | 1e308 | nan | inf | 1j | "" | "a\\nb" * 5000 | b"x" | [] | () | {} |
    set() | [[]] | [None] * 3 | {1: 2} | object() | Strange() | Named() | Strange | len | print | math | torch | torch.nn |
    (lambda: 0) | itertools.count() | iter([1]) | (x for x in itertools.count()) | range(10**15) | Exception("x") | Exception |
    slice(1) | memoryview(b"12") | torch.tensor(3) | torch.tensor(nan) | torch.zeros(0) | torch.zeros(2, 3) |
    torch.zeros(2, 3).double() | torch.zeros(3, 2).int() | torch.full((2, 3), nan) | torch.full((2, 3), inf) | torch.zeros(2, 3) + 1j |
    torch.zeros(2, 3, device="meta") | torch.zeros(2, 3).to_sparse() | torch.zeros(1).expand(2**40) | torch.zeros(1).expand(2, 3) |
    torch.zeros(2, 3, requires_grad=True) | torch.nn.Parameter(torch.zeros(2, 3)) |
    torch.quantize_per_tensor(torch.zeros(2, 3), 0.1, 0, torch.quint8) | torch.zeros(2, 3).bool() | torch.zeros([1] * 30) |
    torch.zeros(2, 3).half() | torch.zeros(2, 3).bfloat16() | torch.zeros(2, 3).to(torch.float8_e4m3fn) | torch.nn.Linear(2, 3) |
    torch.nn.Linear | torch.device("cpu") | torch.float32 | torch.Generator() | torch.Size([2, 3]) |
    torch.nested.nested_tensor([torch.zeros(1), torch.zeros(2)]) | torch.nn.Sequential() | np.zeros((2, 3)) |
    np.zeros((2, 3), object) | np.array([None, "x"], object) | np.zeros(0) | np.float32(nan) | np.int64(3) | np.zeros((2, 3), "U5") |
    np.zeros((2, 3), "M8[s]") | np.zeros((2, 3), [("a", "f4")]) | np.ma.masked_array([1, 2], [0, 1]) | np.bool_(True) | np.str_("x") |
    np.array(5) | np.broadcast_to(np.zeros(1), (2**40,)) | np.zeros((2, 3), np.uint64) + 2**63 | np.matrix([[1, 2]]) |
    np.zeros((2, 3)).view("c16") | np.nan | Image.new("RGB", (3, 2)) | Image.new("P", (0, 0)) | [torch.zeros(2, 3), None] |
    (torch.zeros(2, 3), itertools.count()) | {"a": torch.zeros(2, 3), "b": Strange()} | {"a": itertools.count(), "b": 1} |
    own_tail([]) | stop(ValueError("x\\n" * 500)) | stop(Strange) | stop(SystemExit(3)) | stop(StopIteration) | stop(RecursionError) |
    stop(MemoryError) | stop(NotImplementedError) | stop(AssertionError) | stop(KeyError("\\x1b[31m")) |
    stop(UnicodeDecodeError("utf-8", b"", 0, 1, "x")) | stop(Warning("x")) | forever(0) | warn() | arguments[0] | arguments |
    spoiled(arguments) | torch.seed() | np.random.seed(3) | globals() | type | quit
"""


@functools.cache
def seeds() -> list[tuple[str, str]]:
    """(lab, exercise), and as many ("", a right answer)."""
    from wrong_answers import WRONG

    own = [(lab, exercise) for lab in WRONG for exercise in WRONG[lab]]
    return own + [("", right) for right in KINDS] * (len(own) // len(KINDS))


def mutate(random, seed: tuple[str, str]) -> dict:
    answers = [answer.strip() for answer in ANSWERS.replace("\n", " ").split(" | ")]
    within = ["[{}]", "({}, {})", "{{'a': {}, 'b': {}}}", "[{}] * 3", "[[[{}]]]", "np.array({}, object)", "torch.nn.ParameterList([{}])"]
    answer = random.choice(["{}"] * 6 + within).format(*random.choices(answers, k=2))
    return {"lab": seed[0], "exercise": seed[1], "answer": answer, "parameters": random.choice(["x", "*x", "", "x, y", "*x, **y"])}


def stop(error):
    raise error


def forever(depth):
    return forever(depth + 1)


def own_tail(value):
    value.append(value)
    return value


def warn():
    import warnings

    warnings.warn("a learner's own warning", RuntimeWarning, stacklevel=2)


def spoiled(arguments):
    """The arguments, changed in place."""
    for value in arguments:
        if hasattr(value, "fill_"):
            value.fill_(7)
    return arguments[0] if arguments else None


@functools.cache
def names() -> dict:
    """What the answers are written with."""
    import numpy as np
    import torch
    from PIL import Image

    from imggen_core.kit import images

    return globals() | {"np": np, "torch": torch, "Image": Image, "images": images, "nan": math.nan, "inf": math.inf}


def given(answer: str, arguments: tuple):
    """What the learner's function returns, or does."""
    return eval(answer, names() | {"arguments": arguments})


def feed(data: dict) -> None:
    import contextlib
    import io
    import warnings

    with contextlib.redirect_stdout(io.StringIO()) as printed, warnings.catch_warnings(action="ignore"):
        lines = (in_a_lab if data["lab"] else alone)(**data) or printed.getvalue()
    lines = [line for line in lines.splitlines() if line]
    assert any(line[0] in "✓✗○" for line in lines), lines
    assert max(map(len, lines)) < 1000 and len(lines) < 30, "more than a person reads"


@functools.lru_cache(2)
def lab_of(name: str):
    from labs import Lab
    from wrong_answers import WRONG

    return Lab(name, WRONG[name])


def in_a_lab(lab: str, exercise: str, answer: str, parameters: str) -> str:
    """What the cells from the exercise to its check print when its hole is filled with this answer."""
    import re

    from imggen_core.kit import notebooks

    filled = f"from fuzz import answers; return answers.given({answer!r}, tuple(locals().values()))"
    change = lambda source: re.sub(rf"{notebooks.BEGIN}.*?{notebooks.END}", lambda _: filled, source, flags=re.DOTALL)
    return lab_of(lab).verdict(exercise, change, lab_of(lab).checks(exercise)[-1])


def alone(lab: str, exercise: str, answer: str, parameters: str) -> None:
    """The checks themselves, with a function that takes its arguments in this way."""
    import torch

    from imggen_core.kit.checks import agrees_with, check, holds

    session = {"given": given}
    exec(f"def learner({parameters}):\n    return given({answer!r}, tuple(locals().values()))\n", session)
    same = agrees_with(lambda x: eval(exercise, names()), [torch.ones(2), 3.0], hint="so")
    looks = holds("looks right", lambda f, x: eval(KINDS[exercise], names() | {"f": f, "x": x}), [torch.ones(2)], hint="so")
    assert isinstance(check(session["learner"], same, looks), bool)
