"""What a learner's function may return: the checks say a line about it, and never raise or hang."""

import itertools
import math

EXERCISES = ["a tensor", "a batch", "an array", "a number", "a truth", "a text", "a tuple", "a dict", "a module", "a picture"]


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
    spoiled(arguments) | torch.seed() | np.random.seed(3) | globals() | given | type | quit
"""


def seeds() -> list[str]:
    return EXERCISES


def mutate(random, exercise: str) -> dict:
    answers = [answer.strip() for answer in ANSWERS.replace("\n", " ").split(" | ")]
    wrapped = random.choice(["{}"] * 6 + ["[{}]", "({}, {})", "{{'a': {}, 'b': {}}}", "[{}] * 3", "[[[{}]]]", "np.array({}, object)",
                            "torch.nn.ParameterList([{}])"])  # fmt: skip
    return {"exercise": exercise, "answer": wrapped.format(*random.choices(answers, k=2)), "arguments": random.choice(["x", "*x", "",
            "x, y", "*x, **y"])}  # fmt: skip


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


def feed(data: dict) -> None:
    import contextlib
    import io
    import warnings

    import numpy as np
    import torch
    from PIL import Image

    from imggen_core.kit import images
    from imggen_core.kit.checks import agrees_with, check, holds

    names = {"np": np, "torch": torch, "Image": Image, "nan": math.nan, "inf": math.inf}
    names |= {thing.__name__: thing for thing in (math, itertools, Strange, Named, stop, forever, own_tail, warn, spoiled)}
    given = {"x": "(x,)", "*x": "x", "": "()", "x, y": "(x, y)", "*x, **y": "x"}[data["arguments"]]
    head = f"def answer({data['arguments']}):\n    arguments = {given}\n"
    exec(head + f"    given = globals\n    return {data['answer']}\n", names)
    right = {"a tensor": lambda x: torch.zeros(2, 3), "a batch": lambda x: torch.rand(4, 3, 5, 5), "an array": lambda x: np.zeros((2,
             3)), "a number": lambda x: 0.5, "a truth": lambda x: True, "a text": lambda x: "x", "a tuple": lambda x: (torch.zeros(2,
             3), [1, 2]), "a dict": lambda x: {"a": torch.zeros(2, 3), "b": 1}, "a module": lambda x: torch.nn.Linear(2, 3),
             "a picture": lambda x: Image.new("RGB", (3, 2))}[data["exercise"]]  # fmt: skip
    looks = {"a tensor": lambda f, x: f(x).sum() == 0, "a batch": lambda f, x: None if images.psnr(f(x),
             f(x)) == 100 else f"it is {f(x)!r:.99}", "an array": lambda f, x: f(x).max() < 1, "a number": lambda f,
             x: abs(f(x) - 0.5) < 1, "a truth": lambda f, x: f(x), "a text": lambda f, x: f(x) == "x", "a tuple": lambda f,
             x: list(f(x)) == [0, 1], "a dict": lambda f, x: sorted(f(x)) == ["a", "b"], "a module": lambda f, x: f(x)(torch.zeros(1,
             2)).shape == (1, 3), "a picture": lambda f, x: images.as_array(f(x)).mean() < 1}  # fmt: skip
    with contextlib.redirect_stdout(io.StringIO()) as printed, warnings.catch_warnings(action="ignore"):
        passed = check(names["answer"], agrees_with(right, [torch.ones(2), 3.0], hint="so"), holds("looks right",
                       looks[data["exercise"]], [torch.ones(2)], hint="so"))  # fmt: skip
    lines = printed.getvalue().splitlines()
    assert isinstance(passed, bool) and lines and all(line[0] in "✓✗○ " for line in lines), lines
    assert max(map(len, lines)) < 1000 and len(lines) < 20, "more than a person reads"
