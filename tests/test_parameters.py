"""What a training can be given: one schema for the calls of `train`, for -p and for sliders."""

import inspect
from importlib import import_module
from pathlib import Path
from typing import Annotated

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imggen_core.kit import parameters, settings
from imggen_core.kit.notebooks import parameters_of
from imggen_core.kit.parameters import Flag, Maybe, OneOf, Parameter, PictureFile, Real, Several, Target, Whole, Words, validated
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
