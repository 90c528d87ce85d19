"""What a training can be given: one schema for the calls of `train`, for -p and for sliders."""

import inspect
import math
import re
from importlib import import_module
from pathlib import Path
from typing import Annotated

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from imggen_core import cli
from imggen_core.kit import parameters, sampler, settings
from imggen_core.kit.notebooks import parameters_of
from imggen_core.kit.parameters import (
    Flag,
    LearningRate,
    Maybe,
    OneOf,
    Parameter,
    PictureFile,
    Real,
    Several,
    Target,
    Whole,
    Words,
    validated,
)
from imggen_core.kit.sampler import Choice, Slider, Text
from imggen_core.kit.settings import InputError

KINDS = {
    "steps": Whole(0, 10, "how many", "batches"),
    "cells": Whole(4, 64, multiple=4),
    "lr": Real(0, above=True),
    "decay": Real(0, 1, below=True),
    "loud": Flag(),
    "way": OneOf(("ddim", "ddpm", 3)),
    "name": Words(),
    "widths": Several(Whole(1, 99), least=1, most=3),
    "goal": Maybe(OneOf(("sell", "inform"))),
}


@pytest.mark.parametrize(
    "name, text, value",
    [
        ("steps", "3", 3), ("steps", "1e1", 10), ("steps", " 0 ", 0), ("lr", "1e-3", 0.001), ("lr", "2", 2.0), ("decay", "0", 0.0),
        ("loud", "true", True), ("loud", "No", False), ("way", "ddim", "ddim"), ("way", "3", 3), ("name", "007", "007"),
        ("name", "None", "None"), ("widths", "[8, 16]", [8, 16]), ("widths", "(8,)", [8]), ("goal", "none", None), ("goal", "sell", "sell"),
    ],
)  # fmt: skip
def test_what_a_person_types_becomes_a_value(name, text, value):
    found = KINDS[name].typed(name, text)
    assert found == value and type(found) is type(value)


@pytest.mark.parametrize(
    "name, text, line",
    [
        ("steps", "three", "steps='three': must be a whole number from 0 to 10"),
        ("steps", "2.5", "steps=2.5: must be a whole number from 0 to 10"),
        ("steps", "True", "steps=True: must be a whole number from 0 to 10"),
        ("cells", "6", "cells=6: must be a whole number from 4 to 64, a multiple of 4"),
        ("lr", "0", "lr=0: must be a number above 0"),
        ("lr", "nan", "lr='nan': must be a number above 0"),
        ("lr", "1e308", "lr=1e+308, more than a float32 can hold: must be a number above 0"),
        ("widths", "[]", "widths=[]: must be a list of 1 to 3 values, each a whole number from 1 to 99"),
        ("decay", "1", "decay=1: must be a number of at least 0 and below 1"),
        ("loud", "3", "loud=3: must be true or false"),
        ("way", "dim", "way='dim': did you mean 'ddim'?"),
        ("widths", "8", "widths=8: must be a list of 1 to 3 values, each a whole number from 1 to 99"),
        ("widths", "[8, 0]", "widths[1]=0: must be a whole number from 1 to 99"),
        ("goal", "sel", "goal='sel': did you mean 'sell'?"),
    ],
)
def test_what_does_not_fit_gets_one_line(name, text, line):
    with pytest.raises(InputError) as caught:
        KINDS[name].typed(name, text)
    assert str(caught.value) == line


@given(st.sampled_from(sorted(KINDS)), st.text(max_size=20))
def test_any_text_is_a_value_or_one_line(name, text):
    try:
        value = KINDS[name].typed(name, text)
    except InputError as error:
        assert "\n" not in str(error)
    else:
        assert KINDS[name].read(name, value) == value


@pytest.mark.parametrize("value", [1, 15, 4097, "64x3", "15x15", "4097x64", "1e9"])
def test_a_picture_too_small_or_too_large_to_work_with_is_refused(value):
    with pytest.raises(InputError, match="image_size.*16 to 4096|image_size.*give a"):
        parameters.PictureSize().read("image_size", value)


@pytest.mark.parametrize("value", [None, 16, "64x4", "4x64", (320, 200)])
def test_other_sizes_are_taken(value):
    assert parameters.PictureSize().read("image_size", value) == value


@pytest.mark.parametrize("name", ["tall.svg", "tall.png", "wide.svg", "dot.png"])
def test_a_picture_is_measured_before_anything_starts(tmp_path, name):
    sides = {"tall": (1, 10_000), "wide": (10_000, 1), "dot": (9, 9)}[name[:-4]]
    if name.endswith("svg"):
        (tmp_path / name).write_text(f'<svg xmlns="http://www.w3.org/2000/svg" width="{sides[0]}" height="{sides[1]}"/>')
    else:
        Image.new("RGB", sides).save(tmp_path / name)
    with pytest.raises(InputError, match=f"is {sides[0]} × {sides[1]} pixels, and the longer side must be 16 to 4096"):
        PictureFile().look("target", {"target": str(tmp_path / name), "image_size": None})
    PictureFile().look("target", {"target": str(tmp_path / name), "image_size": "64x48"})


def test_what_every_scale_asks_for_fits_the_schema():
    for chapter in (chapter for chapter in settings.chapters().values() if chapter.ready):
        defaults = parameters_of(chapter.notebook)
        schema = cli.schema_of(chapter.name, defaults)
        for scale in settings.SCALES:
            values = cli.chosen(chapter.name, schema, defaults, scale, None)
            assert set(values) == set(defaults)
            if scale == "smoke" and "target" in schema:
                schema["target"].look("target", values)


# ------------------------------------------------------------------------------------------- whatever is given, of whatever kind


@st.composite
def numbers(draw):
    """A number's schema, of every form."""
    low = draw(st.one_of(st.just(-math.inf), st.integers(-1000, 1000)))
    high = draw(st.one_of(st.just(math.inf), st.integers(0, 1000).map(lambda more: more + max(low, -1000))))
    kind = draw(st.sampled_from([Real, Whole]))
    more = {"multiple": draw(st.integers(1, 9))} if kind is Whole else {}
    return kind(low, high, above=draw(st.booleans()), below=draw(st.booleans()), **more)


ANY_NUMBER = st.one_of(
    st.integers(-2000, 2000), st.integers(), st.floats(), st.floats(-2000, 2000), st.integers(-2000, 2000).map(float),
    st.integers(-2000, 2000).map(str), st.floats().map(repr), st.integers(-2000, 2000).map(np.int32), st.floats(width=32).map(np.float32),
    st.floats(-2000, 2000).map(torch.tensor), st.sampled_from([10**400, -(10**400), "1e999", 2**53 + 1, math.nan, np.float64("nan")]),
)  # fmt: skip
ANYTHING = st.one_of(
    ANY_NUMBER, st.none(), st.booleans(), st.booleans().map(np.bool_), st.text(), st.binary(), st.complex_numbers(),
    st.lists(st.integers(), max_size=80), st.dictionaries(st.text(), st.integers(), max_size=3),
    st.sampled_from([np.zeros((3, 400)), torch.zeros(3, 3), np.ones(1), object(), int, lambda: 0, {1}, "\0", "a\nb", "x" * 1000]),
)  # fmt: skip


@given(numbers(), ANYTHING)
def test_a_number_that_is_read_lies_in_its_range_and_is_what_was_given(kind, value):
    try:
        found = kind.read("depth", value)
    except InputError as error:
        line = str(error)
        assert line.startswith("depth=") and line.endswith(f": must be {kind.wants}") and len(line.splitlines()) == 1 and len(line) < 200
        return
    assert type(found) is (int if isinstance(kind, Whole) else float) and math.isfinite(found)
    assert kind.low < found < kind.high or (found == kind.low and not kind.above) or (found == kind.high and not kind.below)
    assert found == (float(value) if isinstance(value, str) else value)
    assert found % getattr(kind, "multiple", 1) == 0 or isinstance(kind, Real)
    assert not isinstance(value, bool | np.bool_ | bytes)


@given(numbers(), st.integers(-1000, 1000))
def test_a_number_in_its_range_is_taken_in_every_form(kind, n):
    n *= getattr(kind, "multiple", 1)
    if not kind.low < n < kind.high:
        return
    forms = n, float(n), str(n), f" {n} ", f"{n}.0", np.int64(n), np.float32(n), np.array(n), torch.tensor(n), torch.tensor(float(n))
    assert [kind.read("depth", form) for form in forms] == [n] * len(forms)
    assert kind.typed("depth", str(n)) == n


@given(st.sampled_from(sorted(KINDS)), ANYTHING)
def test_whatever_is_given_is_a_value_that_is_read_again_alike_or_one_line_that_names_the_parameter(name, value):
    try:
        found = KINDS[name].read("depth", value)
    except InputError as error:
        assert re.match(r"depth(\[\d+\])?=", str(error)) and len(str(error).splitlines()) == 1 and len(str(error)) < 250
    else:
        again = KINDS[name].read("depth", found)
        assert again == found and type(again) is type(found)


@given(st.integers(2, 64), st.integers(0, 200), st.integers(-300, 300))
def test_whole_numbers_are_multiples(multiple, low, n):
    kind = Whole(low, 300, multiple=multiple)
    if n % multiple or not low <= n <= 300:
        with pytest.raises(InputError, match=f"a multiple of {multiple}$"):
            kind.read("side", n)
    else:
        assert kind.read("side", n) == n


def test_a_whole_number_is_never_rounded():
    for wrong in (2**53 + 1, 2**60, str(2**53 + 3), 1e17):
        with pytest.raises(InputError, match="^seed="):
            Whole().read("seed", wrong)
    assert Whole().read("seed", -(2**53) + 1) == -(2**53) + 1


@given(st.one_of(st.integers(-(10**9), 10**9), st.floats(-1e9, 1e9), st.booleans(), st.text(), st.lists(st.integers(0, 99), min_size=1)))
def test_a_default_fits_the_schema_that_is_made_from_it(default):
    kind = parameters.like(default)
    found = kind.read("depth", default)
    assert found == default and type(found) is type(default)


@pytest.mark.parametrize("default, wrong", [(3, -1), (3, 2.5), (0.5, -0.1), (True, 1), ([1, 2], 3), ([1, 2], ["a"]), (False, "maybe")])
def test_what_is_not_like_the_default_is_refused(default, wrong):
    with pytest.raises(InputError, match=r"^depth(\[0\])?="):
        parameters.like(default).read("depth", wrong)


def test_only_keyword_parameters_have_a_schema_and_others_pass_unread():
    @validated
    def train(run, size="any", *, depth: Annotated[int, Whole(1, 3)] = 2, **rest):
        """Its words."""
        return run, size, depth, rest

    assert list(parameters.of(train)) == ["depth"] and train.__doc__ == "Its words." and train.__name__ == "train"
    assert train("run", -1, depth=np.int64(3), other="x") == ("run", -1, 3, {"other": "x"})
    assert train("run")[2] == 2, "a default is not read"
    with pytest.raises(InputError, match="^depth=nan: must be a whole number from 1 to 3$"):
        train("run", depth=math.nan)


def test_parameters_that_have_a_range_become_controls():
    def train(run, *, eta: Annotated[float, Real(0, 1, "noise")] = 0.5, n: Annotated[int, Whole(0, 64, "how many", multiple=8)] = 8,
              lr: LearningRate = 1e-3, way: Annotated[str, OneOf(("a", "b"), "which")] = "b", loud: Annotated[bool, Flag("aloud")] = False,
              name: Annotated[str, Words("called")] = "x", target: Target = "data/a.svg", widths=(1, 2)):  # fmt: skip
        ...

    assert sampler.controls_of(train) == {
        "eta": Slider(0.5, 0, 1, 0.01, "noise"), "n": Slider(8, 0, 64, 8, "how many"), "way": Choice("b", ("a", "b"), "which"),
        "loud": Choice(False, (False, True), "aloud"), "name": Text("x", "called"),
        "target": Text("data/a.svg", "the picture that is learnt"),
    }  # fmt: skip


def test_a_file_of_the_project_is_named_alike_from_everywhere(tmp_path, monkeypatch):
    kind = PictureFile()
    (tmp_path / "my.svg").touch()
    monkeypatch.chdir(tmp_path)
    for value in ("data/wireframe.svg", Path("data/wireframe.svg"), settings.ROOT / "data" / "wireframe.svg"):
        assert kind.read("target", value) == "data/wireframe.svg"
    assert kind.read("target", "my.svg") == str(tmp_path / "my.svg")
    monkeypatch.chdir(settings.ROOT / "data")
    assert kind.typed("target", "wireframe.svg") == "data/wireframe.svg"
    for wrong in ("\0", "x" * 5000, "~nobody-here/x.svg"):
        with pytest.raises(InputError):
            kind.look("target", {"target": kind.read("target", wrong)})
    with pytest.raises(InputError, match="target=3: must be the name of an SVG"):
        kind.read("target", 3)


def test_a_target_is_drawn_at_its_size_before_anything_begins():
    Maybe(PictureFile()).look("target", {"target": None})
    PictureFile().look("target", {"target": "data/wireframe.svg", "image_size": 32})
    with pytest.raises(InputError, match="image_size"):
        PictureFile().look("target", {"target": "data/wireframe.svg", "image_size": 0})
    PictureFile(size="side").look("target", {"target": "data/wireframe.svg", "image_size": 0})


def test_every_call_of_a_training_is_read_by_its_schema():
    @validated
    def train(run, *, steps: Annotated[int, Whole(0, 10)] = 3, target: Target = "data/wireframe.svg", extra=0.5):
        return steps, target, extra

    assert parameters.of(train) == {"steps": Whole(0, 10), "target": PictureFile("the picture that is learnt"), "extra": Real(0)}
    assert train(None, steps="4", extra=1) == (4, "data/wireframe.svg", 1.0)
    for wrong in ({"steps": 11}, {"extra": -1}, {"target": None}):
        with pytest.raises(InputError, match=f"^{next(iter(wrong))}="):
            train(None, **wrong)


CHAPTERS = [name for name in settings.chapters() if (settings.ROOT / "imggen_core" / f"{name}.py").exists()]


@pytest.mark.parametrize("name", CHAPTERS)
def test_the_schema_in_a_chapters_source_is_that_of_its_train(name):
    chapter = import_module(f"imggen_core.{name}")
    schema = parameters.of(chapter.train) if hasattr(chapter, "train") else {}
    said = [{key: (type(kind), kind.wants, kind.meaning, kind.unit) for key, kind in found.items()}
            for found in (parameters.declared(Path(chapter.__file__)), schema)]  # fmt: skip
    assert said[0] == said[1]
    notebook = parameters_of(settings.chapter(name).notebook)
    for parameter in inspect.signature(chapter.train).parameters.values() if schema else ():
        if parameter.name in notebook:
            default = list(parameter.default) if isinstance(parameter.default, tuple) else parameter.default
            assert default == notebook[parameter.name], f"{parameter.name}: train and its notebook have other defaults"


@pytest.mark.parametrize("name", CHAPTERS)
def test_every_scale_is_within_the_chapters_schema(name):
    schema = parameters.declared(settings.ROOT / "imggen_core" / f"{name}.py")
    for scale in settings.SCALES:
        values = parameters_of(settings.chapter(name).notebook) | settings.scale_parameters(name, scale)
        for key in schema.keys() & values.keys():
            read = schema[key].read(key, values[key])
            assert read == values[key] or list(read) == list(values[key]), key


def test_a_schema_is_read_without_the_chapter(tmp_path):
    (tmp_path / "first.py").write_text("from typing import Annotated\nfrom .kit.parameters import OneOf\nWAYS = ('a', 'b')\n"
                                       "Way = Annotated[str, OneOf(WAYS, 'which way')]\n")  # fmt: skip
    (tmp_path / "second.py").write_text(
        "import torch_is_not_here\nfrom typing import Annotated\nfrom .kit.parameters import Steps as Many, Whole\nfrom .first import Way\n"
        "MOST = 5\n@validated\ndef train(run, *, way: Way = 'a', n: Annotated[int, Whole(1, MOST + 1)] = 2, steps: Many = 3,\n"
        "          alpha=(1, 2)): ...\n"
    )
    found = parameters.declared(tmp_path / "second.py")
    assert found["way"] == OneOf(("a", "b"), "which way") and found["n"] == Whole(1, 6)
    assert found["steps"] == Whole(0, 10**9, "how many batches are learnt from", "batches")
    assert found["alpha"] == Several(Whole(0), least=0, most=4096) and parameters.declared(tmp_path / "first.py") == {}
    (tmp_path / "third.py").write_text("def train(run, *, n: Unknown = 1): ...\n")
    with pytest.raises(NameError):
        parameters.declared(tmp_path / "third.py")


def test_what_has_only_a_default_takes_values_like_it():
    assert parameters.like(3) == Whole(0) and parameters.like(-0.5).low < -1e9 and type(parameters.like(None)) is Parameter
    assert parameters.like([8]).typed("widths", "[4, 5]") == [4, 5] and parameters.like(True) == Flag()
