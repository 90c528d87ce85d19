"""What holds for every chapter that trains and for every model that ships, said once: see design.md, "Done means, for a chapter"."""

import importlib
import inspect
import math
import re

import pytest
import torch
from trainings import kill, same, train, train_in_two, weights

from imggen_core.kit import cards, notebooks, parameters, sampler, settings, zoo
from imggen_core.kit.settings import InputError

# A training of seconds; the calls of `step` and `log` at which it is killed, one after the other; whether two processes can share it.
SMALL = {
    "wireframe": ({"image_size": 24, "naive_steps": 20, "grid_steps": 20, "fourier_steps": 20, "siren_steps": 20, "channels": 16,
                   "batch_pixels": 64, "progress_every": 10}, (7, 30, 25), False),
    "strokes": ({"image_size": 24, "turns": 1}, (1, 2), False),
    "population": ({"image_size": 16, "boxes": 6, "population": 33, "rounds": 2, "iterations": 60}, (2, 1), True),
    "unet": ({"image_size": 40, "train_designs": 48, "valid_designs": 16, "test_designs": 8, "epochs": 5, "batch_size": 8,
              "width": 4, "lr": 1e-4}, (3, 24), True),  # so slow that the plateau is felt: the rate falls before the second kill
    "wnet": ({"image_size": 32, "scenes": 6, "crop": 24, "classes": 4, "widths": [4, 8], "steps": 3, "batch_size": 4, "overfit_size": 16,
              "presentations": 6}, (4, 5), True),
    "abstractor": ({"size": 32, "n_train": 48, "n_valid": 16, "epochs": 2, "batch_size": 16, "width": 4, "cells": 4}, (2, 3), True),
    "metrics": ({"size": 32, "n_train": 48, "n_valid": 16, "epochs": 2, "batch_size": 16, "width": 4, "num_features": 8,
                 "n": 16}, (2, 3), True),
    "ddpm": ({"size": 32, "n_train": 24, "steps": 6, "batch_size": 4, "widths": [8, 16], "stem": 2, "n_test": 4}, (2, 3), True),
    "designer": ({"size": 32, "n_train": 24, "steps": 4, "batch_size": 4, "widths": [8, 16], "n_samples": 128, "accumulate": 2}, (3, 1),
                 True),
}  # fmt: skip
READY = [name for name, chapter in settings.chapters().items() if chapter.ready]
every_training = pytest.mark.parametrize("chapter", SMALL)
every_model = pytest.mark.parametrize("name", zoo.models())


def module(chapter: str):
    return importlib.import_module(f"imggen_core.{chapter}")


def test_every_chapter_that_trains_is_held_to_the_contract():
    assert [name for name in READY if hasattr(module(name), "train")] == list(SMALL)


# ---- trainings -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def whole(tmp_path_factory):
    """Each small training, uninterrupted, once: what it ends with and its folder."""
    done = {}

    def of(chapter: str):
        if chapter not in done:
            folder = tmp_path_factory.mktemp(chapter)
            done[chapter] = weights(train(chapter, folder, SMALL[chapter][0])), folder
        return done[chapter]

    return of


def rows(folder) -> list[str]:
    """The histories of a run and its parts without what depends on the clock."""
    found = []
    for path in sorted(folder.rglob("history.csv")):
        names, *lines = [line.split(",") for line in path.read_text().splitlines()]
        kept = [k for k, name in enumerate(names) if "seconds" not in name]
        found += [",".join(line[k] for k in kept) for line in [names, *lines]]
    return found


@every_training
def test_a_training_killed_twice_ends_bit_identical(chapter, whole, tmp_path):
    small, calls, _ = SMALL[chapter]
    for last in calls:
        kill(chapter, tmp_path, small, last)
    resumed = train(chapter, tmp_path, small)
    ended, folder = whole(chapter)
    assert same(weights(resumed), ended)
    assert rows(tmp_path) == rows(folder)


@pytest.mark.parametrize("chapter", [name for name in SMALL if name not in ("wireframe", "strokes")])  # the run's seed; a fit's tolerance
def test_another_seed_ends_elsewhere(chapter, whole, tmp_path):
    assert not same(weights(train(chapter, tmp_path, SMALL[chapter][0] | {"seed": 1})), whole(chapter)[0])


@pytest.mark.parametrize("chapter", [chapter for chapter, (_, _, shared) in SMALL.items() if shared])
def test_two_processes_end_with_equal_weights(chapter, whole, tmp_path):
    first, second = train_in_two(chapter, tmp_path / "run", SMALL[chapter][0])
    assert first and same(first, second) and all(value.isfinite().all() for value in first.values())
    ended, folder = whole(chapter)
    assert len(rows(tmp_path / "run")) == len(rows(folder)), "a batch is shared, not doubled"
    if chapter == "population":  # nothing is drawn at random while it trains
        assert same(first, ended)
    assert (tmp_path / "run" / "model" / "config.json").is_file()


@every_training
def test_a_training_leaves_what_every_run_leaves(chapter, whole):
    _, folder = whole(chapter)
    model = zoo.load(folder)
    assert model.sample(1).shape[:2] == (1, 3)
    card = (folder / "model" / "README.md").read_text()
    assert card.startswith(f"# {chapter}\n\n> ") and (folder / "model" / "samples.png").is_file()
    assert (folder / "results.json").is_file() and list(folder.rglob("history.csv"))


# ---- parameters ------------------------------------------------------------------------------------------------------


def nonsense(kind: parameters.Parameter) -> list:
    """Values that a parameter cannot have."""
    if isinstance(kind, parameters.Maybe):
        return nonsense(kind.kind)
    if isinstance(kind, parameters.Number):
        below = [kind.low - 1] if math.isfinite(kind.low) else []
        above = [kind.high + 1] if math.isfinite(kind.high) else []
        return ["many", True, math.nan, math.inf, *below, *above, *([1.5] if isinstance(kind, parameters.Whole) else [])]
    if isinstance(kind, parameters.Several):
        return ["many", 3]
    if isinstance(kind, parameters.PictureFile | parameters.PictureSize):
        return [7, 0] if isinstance(kind, parameters.PictureFile) else [0, "large", -3]
    return ["no such thing"] if isinstance(kind, parameters.OneOf | parameters.Flag) else []


@every_training
def test_a_parameter_that_makes_no_sense_gets_one_line_before_anything_begins(chapter):
    checked = module(chapter).train
    for name, kind in parameters.of(checked).items():
        for value in nonsense(kind):
            with pytest.raises(InputError) as error:
                checked(None, **{name: value})
            assert str(error.value).startswith(name) and "\n" not in str(error.value), (name, value)


def test_a_target_that_is_not_there_is_named_in_one_line(tmp_path):
    for chapter in ("wireframe", "strokes", "population"):
        with pytest.raises(InputError, match="none.svg") as error:
            train(chapter, tmp_path / chapter, SMALL[chapter][0] | {"target": "data/none.svg"})
        assert "\n" not in str(error.value)


@every_training
def test_every_parameter_says_its_range_and_meaning_and_takes_its_own_default(chapter):
    checked = module(chapter).train
    for name, kind in parameters.of(checked).items():
        default = inspect.signature(checked).parameters[name].default
        assert kind.meaning and type(kind) is not parameters.Parameter, f"{name}: say in the signature what it is"
        read = kind.read(name, default)
        assert read == (list(default) if isinstance(default, tuple) else default), name


@pytest.mark.parametrize("chapter", READY)
def test_notebook_signature_and_scales_agree(chapter):
    notebook = settings.chapter(chapter).notebook
    own, lab = notebooks.parameters_of(notebook), notebooks.parameters_of(notebooks.LESSONS / notebook.name)
    function = getattr(module(chapter), "train", None)
    taken = inspect.signature(function).parameters if function else {}
    schema = parameters.of(function) if function else {}
    for name in own.keys() & taken.keys():
        default = taken[name].default
        assert own[name] == (list(default) if isinstance(own[name], list) and default is not None else default), name
    for scale in ("smoke", "full"):
        for name, value in settings.scale_parameters(chapter, scale).items():
            assert name in own or name in taken or name in lab, f"[{chapter}.{scale}] {name}"
            (schema.get(name) or parameters.like(own.get(name, lab.get(name)))).read(name, value)


# ---- models ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def shipped():
    loaded = {}
    return lambda name: loaded.setdefault(name, zoo.load(name))


def other_values(control) -> list:
    """Values of a control that are not its default; of a slider its cheap end."""
    if isinstance(control, sampler.Slider):
        return [control.low if control.low != control.default else control.high]
    return [option for option in control.options if option != control.default]


BESIDE = {("metrics", "amount"): {"damage": "blur"}}  # controls that do nothing until another one is moved


@every_model
def test_every_control_of_a_shipped_model_moves_the_picture(name, shipped):
    model = shipped(name)
    base = model.sample(1, 3)
    assert torch.equal(base, model.sample(1, 3)), "the same seed, the same picture"
    for control, kind in model.controls.items():
        beside = BESIDE.get((name, control), {})
        before = model.sample(1, 3, **beside) if beside else base
        moved = [model.sample(1, 3, **beside, **{control: value}) for value in other_values(kind)]
        assert any(picture.shape != base.shape or (picture - before).abs().mean() > 0.001 for picture in moved), control
        with pytest.raises(InputError, match=control):
            model.sample(1, 3, **{control: "nonsense"})


@every_model
def test_a_shipped_model_makes_pictures_and_leaves_reading_to_sample(name, shipped):
    cls = type(shipped(name))
    assert cls.sample is sampler.Sampler.sample and cls.sample_svg is sampler.Sampler.sample_svg
    assert cls.make is not sampler.Sampler.make


@every_model
def test_picture_i_of_a_shipped_model_is_the_same_whatever_n_and_first_are(name, shipped):
    three = shipped(name).sample(3, 5)
    for number in (0, 2):
        alone = shipped(name).sample(1, 5, first=number)[0]
        assert (alone - three[number]).abs().mean() <= 0.5 / 255, "but for rounding in another batch"


@every_model
def test_a_shipped_model_survives_being_saved(name, shipped, tmp_path):
    zoo.save(shipped(name), tmp_path / "model", "> a test")
    again = zoo.load(tmp_path / "model")
    assert same(weights(again), weights(shipped(name)))


@every_model
def test_a_shipped_models_card_is_the_writers_and_its_figures_keep_the_criteria(name, shipped):
    folder, criteria = zoo.find(name), module(zoo.model_class(zoo.find(name)).__module__.rpartition(".")[2]).CRITERIA
    card = (folder / "README.md").read_text()
    assert card.startswith(f"# {name}\n\n> ")
    assert sum(file.stat().st_size for file in folder.iterdir()) < 15e6
    figures = {row[1]: row[2] for row in re.finditer(r"^\| (\w+) \| ([\d.,e+-]+|–) \|", card, re.MULTILINE)}
    assert criteria.keys() <= figures.keys(), "the card says what was measured for every criterion"
    for figure, (sign, bound) in criteria.items():
        value = float(figures[figure].replace(",", ""))
        assert value >= bound if sign == ">=" else value <= bound, (figure, value)
        assert f"| {figure} | {figures[figure]} | {cards.promised((sign, bound))} |" in card
