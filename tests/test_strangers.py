"""A model's folder from anybody: whatever stands in it, loading takes at most 10 s and 2 GB, and ends with a model or one line.

`python -m pytest -s tests/test_strangers.py` prints the worst that was measured.
"""

import contextlib
import hashlib
import io
import json
import math
import os
import pickle
import re
import resource
import shutil
import signal
import socket
import sys
import time
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from safetensors.torch import load_file, save_file
from test_run import little

from imggen_core.kit import parameters, state, untrusted, zoo
from imggen_core.kit.run import Run
from imggen_core.kit.settings import InputError

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="measured in forked children")
SHIPPED = list(zoo.models())
SECONDS, MEGABYTES = 10, 2048
IMPORTED = 800  # MB that a process holds that has only imported the chapters; what earlier tests left in this one is not counted
CONFIG, WEIGHTS = zoo.CONFIG, zoo.WEIGHTS


class Outcome(NamedTuple):
    """How one thing ended: `said` is the line of its InputError, "" if there was none; seconds of wall clock, and its peak in MB."""

    what: str
    said: str
    seconds: float
    megabytes: int


def in_a_child(jobs) -> list[Outcome]:
    """Each of `jobs`, pairs (what, do), one after the other in a forked child. Fails for any error but an InputError of one line, for
    one that takes more than SECONDS of the processor, and where more memory was held than MEGABYTES."""
    reader, writer = os.pipe()
    if not (pid := os.fork()):
        try:
            with open(writer, "w") as pipe:
                for what, do in jobs:
                    print(json.dumps(what), end=" ", file=pipe, flush=True)
                    print(json.dumps(measured(do)), file=pipe, flush=True)
        finally:
            os._exit(0)
    os.close(writer)
    with open(reader) as pipe:
        lines = pipe.read().splitlines()
    assert os.waitpid(pid, 0)[1] == 0, f"took more than {SECONDS} s, or crashed: {lines[-1:]}"
    decoder, outcomes = json.JSONDecoder(), []
    for line in lines:
        what, end = decoder.raw_decode(line)
        outcome = Outcome(what, *json.loads(line[end:]))
        assert outcome.megabytes < MEGABYTES and not outcome.said.startswith("unexpected"), outcome
        assert "\n" not in outcome.said and len(outcome.said) < 700 and (not outcome.said or " — " in outcome.said), outcome
        outcomes.append(outcome)
    return outcomes


def measured(do) -> tuple[str, float, int]:
    """What the InputError of `do()` says, its seconds, and the most memory that was held meanwhile, in MB (Linux: else, so far)."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    held = megabytes_held()
    signal.setitimer(signal.ITIMER_PROF, SECONDS)  # of the processor: the machine may be busy with other things
    signal.alarm(10 * SECONDS)  # and of the clock, for what waits for ever
    begun, said = time.monotonic(), ""
    try:
        do()
    except InputError as error:
        said = str(error)
    except BaseException as error:
        said = f"unexpected: {error!r}"
    signal.setitimer(signal.ITIMER_PROF, 0)
    signal.alarm(0)
    return said, time.monotonic() - begun, megabytes_held("VmHWM") - max(0, held - IMPORTED)


def megabytes_held(what: str = "VmRSS") -> int:
    status = Path("/proc/self/status")
    held = re.search(rf"{what}:\s*(\d+)", status.read_text())[1] if status.exists() else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(held) // 1024


@pytest.fixture(scope="module", autouse=True)
def worst():
    """The chapters are imported once, here; prints the worst of all children (`pytest -s`)."""
    for name in SHIPPED:
        zoo.load(name)
    seen = []
    yield seen
    if seen:
        slow, large = max(seen, key=lambda o: o.seconds), max(seen, key=lambda o: o.megabytes)
        print(f"\n{len(seen)} folders: at most {slow.seconds:.2f} s ({slow.what}) and {large.megabytes} MB ({large.what})")


@pytest.fixture
def folder_of(tmp_path):
    """A copy of a shipped model's folder, to be spoilt."""

    def copy(name: str) -> Path:
        folder = tmp_path / f"{name}-{len(list(tmp_path.iterdir()))}"
        shutil.copytree(zoo.find(name), folder)
        return folder

    return copy


@pytest.fixture
def loaded(worst):
    """For changes of a folder, (what, change) each: it is changed and loaded, and with `draw` one picture is drawn; the Outcomes."""

    def load(folder: Path, changes, draw: bool = False) -> list[Outcome]:
        def do(change):
            change()
            model = zoo.load(folder)
            if draw:
                model.sample(1)

        outcomes = in_a_child((what, partial(do, change)) for what, change in changes)
        assert all(str(folder) in outcome.said for outcome in outcomes if outcome.said)
        worst.extend(outcomes)
        return outcomes

    return load


def deep(levels: int) -> str:
    return "[" * levels + "]" * levels


SAYS_NOTHING_OF_TENSORS = {"size", "image_size", "overfit_size", "T", "target", "prediction_type", "schedule", "optimize_memory", "stem"}
HOSTILE = ["1000000000", "-5", "0", "1" + "0" * 400, "1" + "0" * 5000, "1e999", "NaN", "0.5", '"x"', '""', '"a\\nb"', "null", "true", "{}",
           "[1000000000]", "[1, NaN]", "[[4]]", json.dumps([4] * 100000), deep(30), deep(900), deep(100000)]  # fmt: skip


@pytest.mark.parametrize("name", SHIPPED)
def test_no_value_in_a_configuration_allocates_or_crashes(name, folder_of, loaded):
    folder = folder_of(name)
    config = json.loads((folder / CONFIG).read_text())
    texts = {(key, value): json.dumps({**config, key: "HERE"}).replace('"HERE"', value) for key in config for value in HOSTILE}
    changes = [(f"{key}={value[:40]}", partial((folder / CONFIG).write_text, text)) for (key, value), text in texts.items()]
    for (key, value), outcome in zip(texts, loaded(folder, changes), strict=True):
        if key not in SAYS_NOTHING_OF_TENSORS:
            assert outcome.said or json.loads(value) == config[key], f"{name}: {outcome.what} was taken"


@pytest.mark.parametrize("name", SHIPPED)
def test_every_argument_of_a_model_has_a_range(name):
    chapter = sys.modules[type(zoo.load(name)).__module__]
    models = [cls for cls in vars(chapter).values() if hasattr(cls, "from_pretrained") and cls.__module__ == chapter.__name__]
    for cls in models:
        for argument, kind in zoo.schema_of(cls).items():
            assert type(kind) is not parameters.Parameter and type(kind) is not parameters.Words, (cls, argument)


def test_an_unknown_argument_is_named(folder_of, loaded):
    folder = folder_of("strokes")
    config = json.loads((folder / CONFIG).read_text())
    keys = ["config", "self", "cls", "kwargs", "map_location", "strict", "_hub_mixin_config", "strides", "a\nb", "x" * 10**6]
    changes = [(key[:40], partial((folder / CONFIG).write_text, json.dumps({**config, key: {"width": 3}}))) for key in keys]
    assert all("StrokeDrawing has no " in outcome.said for outcome in loaded(folder, changes))


def pipe(path):
    path.unlink()
    os.mkfifo(path)


def device(path):
    path.unlink()
    path.symlink_to("/dev/zero")


def plug(path):
    path.unlink()
    with socket.socket(socket.AF_UNIX) as server:
        here = os.getcwd()
        os.chdir(path.parent)  # a socket's path must be short
        server.bind(path.name)
        os.chdir(here)


def directory(path):
    path.unlink()
    path.mkdir()


def huge(path):
    with open(path, "ab") as file:
        file.truncate(1 << 36)  # takes no room on the disk


def empty(path):
    path.write_bytes(b"")


@pytest.mark.parametrize("file", [CONFIG, WEIGHTS, zoo.CARD])
def test_only_ordinary_files_of_a_bounded_size_are_opened(file, folder_of, loaded):
    for spoil in (pipe, device, plug, directory, huge, empty):
        folder = folder_of("strokes")
        (outcome,) = loaded(folder, [(f"{file}: {spoil.__name__}", partial(spoil, folder / file))])
        assert outcome.said or file == zoo.CARD
        reads = {"the list": partial(zoo.models, folder.parent), "the fingerprint": partial(zoo.fingerprint, folder)}
        assert len(in_a_child(reads.items())) == 2


def file_of(header, data: bytes = b"", length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return (len(text) if length is None else length).to_bytes(8, "little") + text + data


def tensor(shape, begin=0, end=0, dtype="F32"):
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


HEADERS = {
    "longer than the file": file_of({}, length=2**63),
    "100 MB": file_of({}, length=100_000_000) + bytes(1000),
    "no JSON": file_of(b"\xff" * 100),
    "a list": file_of([1]),
    "deep": file_of(b'{"__metadata__": ' + deep(100_000).encode() + b"}"),
    "deep metadata": file_of({"__metadata__": {"a": {"b": {"c": "d"}}}}),
    "a million metadata": file_of({"__metadata__": {str(k): "" for k in range(300_000)}}),
    "a hundred thousand tensors": file_of({f"t{k}": tensor([0]) for k in range(100_000)}),
    "a shape beyond 64 bits": file_of({"shape": tensor([2**40, 2**40])}),
    "a negative shape": file_of({"shape": tensor([-1, 7])}),
    "a shape of a million sides": file_of({"shape": tensor([1] * 1_000_000, 0, 4)}, bytes(4)),
    "beyond the end": file_of({"shape": tensor([27, 7], 0, 756)}, bytes(8)),
    "backwards": file_of({"shape": tensor([2], 8, 0)}, bytes(8)),
    "a hole": file_of({"shape": tensor([2], 8, 16)}, bytes(16)),
    "overlap": file_of({"shape": tensor([2], 0, 8), "colour": tensor([2], 0, 8)}, bytes(8)),
    "an unknown type": file_of({"shape": tensor([2], 0, 8, "F33")}, bytes(8)),
    "another type": file_of({"kind": tensor([27], 0, 108, "F32")}, bytes(108)),
    "another name": file_of({"a\nb": tensor([2], 0, 8)}, bytes(8)),
    "nothing in it": file_of({}),
    "a pickle": pickle.dumps({"shape": [1.0]}),
}


def test_no_header_is_believed(folder_of, loaded):
    folder = folder_of("strokes")
    changes = [(what, partial((folder / WEIGHTS).write_bytes, data)) for what, data in HEADERS.items()]
    assert all("damaged, or not a StrokeDrawing" in outcome.said for outcome in loaded(folder, changes))


def zeros(folder: Path, config: dict) -> None:
    """A model of DesignFeatures whose numbers are all 0, in a file that takes no room on the disk."""
    (folder / CONFIG).write_text(json.dumps({"class": "imggen_core.metrics.DesignFeatures", **config}))
    with torch.device("meta"):
        tensors = zoo.model_class(folder)(**config).state_dict()
    header, begin = {}, 0
    for name, value in tensors.items():
        end = begin + value.nbytes
        header[name], begin = tensor(list(value.shape), begin, end, "I64" if value.dtype == torch.int64 else "F32"), end
    with open(folder / WEIGHTS, "wb") as file:
        file.write(file_of(header))
        file.truncate(file.tell() + begin)


def test_the_largest_model_that_is_loaded_keeps_to_the_limits(folder_of, loaded):
    folder = folder_of("metrics")
    sizes = [{"width": 48, "num_features": count, "size": 64} for count in (63_500, 65_500)]
    most, more = loaded(folder, [(f"{config}", partial(zeros, folder, config)) for config in sizes])
    assert not most.said and f"more than {untrusted.NUMBERS:,} numbers" in more.said


@pytest.mark.parametrize("name", SHIPPED)
def test_no_number_in_a_tensor_breaks_the_drawing(name, folder_of, loaded):
    """Tensors filled with what they should not hold: refused when they are loaded, or drawn."""
    folder, learnt = folder_of(name), dict(zoo.load(name).named_parameters())
    tensors, kinds = load_file(folder / WEIGHTS), {}
    for key, value in tensors.items():  # of layers alike, one
        kinds.setdefault((key.rsplit(".", 1)[-1], value.dtype, value.dim()), key)
    wrong = {torch.bool: [], torch.int64: [-1, 10**9]}
    cases = [([key], value) for key in kinds.values() for value in wrong.get(tensors[key].dtype, [math.nan])]
    cases += [([key], -1e30) for key in kinds.values() if tensors[key].is_floating_point() and key not in learnt]
    cases += [(list(learnt), value) for value in (1e30, -1e30) if learnt]

    def fill(keys, value):
        save_file(tensors | {key: torch.full_like(tensors[key], value) for key in keys}, folder / WEIGHTS)

    outcomes = loaded(folder, [(f"{name}: {keys[:2]} = {value}", partial(fill, keys, value)) for keys, value in cases], draw=True)
    for (_, value), outcome in zip(cases, outcomes, strict=True):
        assert outcome.said or value - value == 0 or name == "population", outcome.what


STROKES = {
    "a kind that is none": ("kind", (0,), 8),
    "a stroke 1e9 pixels wide": ("shape", (0, 6), 1e9),
    "a stroke -5 pixels wide": ("shape", (0, 6), -5),
    "a corner a million pixels away": ("shape", (3, 0), -1e6),
    "a colour beyond white": ("colour", (0, 1), 3),
    "a path without points": ("kind", (0,), 7),
}


def test_a_drawing_that_cannot_be_drawn_is_refused_when_it_is_loaded(folder_of, loaded):
    folder = folder_of("strokes")
    tensors = load_file(folder / WEIGHTS)

    def change(name, place, value):
        new = tensors | {name: tensors[name].clone()}
        new[name][place] = value
        save_file(new, folder / WEIGHTS)

    outcomes = loaded(folder, [(what, partial(change, *how)) for what, how in STROKES.items()])
    for outcome, (name, _, _) in zip(outcomes, STROKES.values(), strict=True):
        assert f"({'kind, points' if 'points' in outcome.what else name}: holds what no drawing can" in outcome.said


def shapes(folder: Path, kind: int, count: int, points: int, side: int, far: float) -> None:
    """A drawing of `count` shapes as large as the picture, and as far beyond it; their points, if any, go to and fro."""
    config = {"class": "imggen_core.strokes.StrokeDrawing", "width": side, "height": side, "strokes": count, "points": points}
    (folder / CONFIG).write_text(json.dumps(config))
    corner = torch.arange(points).float() % 2 * (side + 2 * far) - far
    tensors = {
        "background": torch.ones(3),
        "kind": torch.full((count,), kind),
        "shape": torch.tensor([-far, -far, side + far, side + far, side / 2, -far, 3.0]).repeat(count, 1),
        "colour": torch.rand(count, 3),
        "round": torch.zeros(count, dtype=torch.bool),
    }
    if points:
        of = torch.arange(points) * count // points
        tensors |= {"points": torch.stack([corner, corner.roll(1)], 1), "knots": torch.stack([of, of, of % 2], 1)}
    save_file(tensors, folder / WEIGHTS)


@pytest.mark.parametrize("kind", [5, 7])  # curves and paths need the most memory
def test_the_largest_drawing_that_is_loaded_can_be_drawn(kind, folder_of, loaded):
    folder, points = folder_of("strokes"), 5 * (kind == 7)
    sizes = [(kind, n, n * points, side, far) for side, n, far in ((2048, 3, 0), (64, 300, 1), (2048, 9, 0), (64, 8300, 0))]
    sizes += [(7, 1, 3, 64, 30000)]  # one path, whose box is 60 000 pixels wide
    outcomes = loaded(folder, [(f"kind, n, points, side, far = {size}", partial(shapes, folder, *size)) for size in sizes], draw=True)
    assert ["too many, and too large" in outcome.said for outcome in outcomes] == [False, False, True, True, True]
    assert not any(outcome.said for outcome in outcomes[:2])


def body_of(name: str, value):
    """A change of the saved run's state: one of its entries replaced, and the sums made right again."""

    def change(folder: Path) -> None:
        path = folder / "state/step-00000005/state.json"
        header = json.loads(path.read_text())
        for pair in header["state"]["dict"]:
            pair[1] = value if pair[0] == name else pair[1]
        path.write_text(json.dumps(header | {"sha256_of_state": state.digest(header["state"])}))

    return change


def deep_state(folder: Path) -> None:
    (folder / "state/step-00000005/state.json").write_text(deep(100_000))


def transposed(folder: Path) -> None:
    """Moments of another shape than their weights, with the right sums."""
    path = folder / "state/step-00000005/state.safetensors"
    spoilt = {name: value.mT.contiguous() if "exp_avg" in name and value.dim() == 2 else value for name, value in load_file(path).items()}
    save_file(spoilt, path)
    header = json.loads((path.parent / "state.json").read_text())
    (path.parent / "state.json").write_text(json.dumps(header | {"sha256": hashlib.sha256(path.read_bytes()).hexdigest()}))


STATES = {
    "deep": deep_state,
    "moments of other shapes": transposed,
    "params.json deep": lambda folder: (folder / "params.json").write_text(deep(100_000)),
    "a step that is a list": body_of("step", [1]),
    "a step before the first": body_of("step", -1),
    "a clock of text": body_of("clock", ["a", "b"]),
    "no position": body_of("position", {"dict": []}),
    "a batch that never comes": body_of("position", {"dict": [["at", 1], ["pass", 1], ["batch", 10**9]]}),
    "an unknown kind": body_of("objects", {"pickle": "x"}),
    "nothing": body_of("random", {}),
    "a tensor that is not there": body_of("random", [{"tensor": "x", "layout": "plain", "on": "cpu"}]),
    "no generator's state": body_of("random", [{"tensor": "state.7.loss_sum", "layout": "plain", "on": "cpu"}]),
}


def test_a_saved_state_is_believed_only_as_far_as_it_fits(tmp_path):
    def go_on(what):
        folder = shutil.copytree(Path(__file__).parent / "saved_run", tmp_path / what)
        STATES[what](folder)
        with contextlib.redirect_stdout(io.StringIO()) as said:
            little(Run("toy", {"width": 2}, folder=folder, device="cpu", precision="no", seed=5, scale="laptop", quiet=True))
        if "state.json is not what was written" in said.getvalue():
            raise InputError("a line of the log says so — and the training begins anew")

    outcomes = in_a_child((what, partial(go_on, what)) for what in STATES)
    assert len(outcomes) == len(STATES) and all(outcome.said for outcome in outcomes), [o.what for o in outcomes if not o.said]
