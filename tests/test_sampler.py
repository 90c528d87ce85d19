"""The one interface of every generator."""

import dataclasses
from typing import Annotated

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from imggen_core.kit import sampler
from imggen_core.kit.parameters import Flag, LearningRate, OneOf, Pixels, Share, Words, validated
from imggen_core.kit.sampler import Choice, Sampler, Slider, Text, checked, generate, generator, noise
from imggen_core.kit.settings import InputError

CONTROLS = {
    "wander": Slider(0.5, 0.0, 2.0, 0.1, "how far"),
    "steps": Slider(10, 1, 50, 1, "how many"),
    "method": Choice("ddim", ("ddim", "ddpm", 3), "which way"),
    "prompt": Text("a cat", "what to draw"),
}


class Clouds(Sampler):
    controls = {"wander": Slider(0.5, 0.0, 2.0, 0.1, "how far")}

    def make(self, n, seed, first, wander):
        return 0.5 + wander * noise(n, seed, 3, 4, 5, first=first)


def test_what_is_not_given_is_the_default():
    assert checked(CONTROLS, {}) == {"wander": 0.5, "steps": 10, "method": "ddim", "prompt": "a cat"}


def test_texts_become_what_the_control_is():
    found = checked(CONTROLS, {"wander": "1.5", "steps": "7", "method": "3", "prompt": 5})
    assert found == {"wander": 1.5, "steps": 7, "method": 3, "prompt": "5"}
    assert [type(value) for value in found.values()] == [float, int, int, str]


@pytest.mark.parametrize(
    "given, line",
    [
        ({"wandr": 1}, "no control 'wandr' — did you mean 'wander'?"),
        ({"qq": 1}, "no control 'qq' — there is wander, steps, method, prompt"),
        ({"wander": 2.1}, "wander=2.1: must be a number from 0 to 2"),
        ({"wander": "nan"}, "wander='nan': must be a number from 0 to 2"),
        ({"wander": "far"}, "wander='far': must be a number from 0 to 2"),
        ({"wander": None}, "wander=None: must be a number from 0 to 2"),
        ({"wander": True}, "wander=True: must be a number from 0 to 2"),
        ({"steps": 2.5}, "steps=2.5: must be a whole number from 1 to 50"),
        ({"steps": 10**400}, "must be a whole number from 1 to 50"),
        ({"method": "dim"}, "method='dim': did you mean 'ddim'?"),
    ],
)
def test_what_does_not_fit_gets_one_line(given, line):
    with pytest.raises(InputError) as caught:
        checked(CONTROLS, given)
    assert str(caught.value).endswith(line)


@given(st.floats(0, 2), st.integers(1, 50))
def test_what_fits_comes_through_unchanged(wander, steps):
    assert checked(CONTROLS, {"wander": wander, "steps": str(steps)}) | {} == checked(CONTROLS, {}) | {"wander": wander, "steps": steps}


def test_a_control_that_contradicts_itself_is_a_bug_of_the_author():
    for wrong in (lambda: Slider(3, 0, 2, 1, ""), lambda: Slider(1, 0, 2, 0, ""), lambda: Choice("a", ("b",), "")):
        with pytest.raises(ValueError):
            wrong()
    with pytest.raises(dataclasses.FrozenInstanceError):
        CONTROLS["wander"].default = 3


@given(st.integers(-(2**70), 2**70), st.integers(0, 100))
def test_a_picture_depends_on_seed_and_number_alone(seed, i):
    first = torch.randn(4, generator=generator(seed, i))
    assert torch.equal(first, torch.randn(4, generator=generator(seed, i)))
    assert not torch.equal(first, torch.randn(4, generator=generator(seed, i + 1)))
    assert not torch.equal(first, torch.randn(4, generator=generator(seed + 1, i)))


def test_more_pictures_do_not_change_the_first_ones():
    torch.manual_seed(1)
    few = noise(2, 7, 3, 2)
    torch.manual_seed(2)
    assert torch.equal(noise(5, 7, 3, 2)[:2], few)
    assert abs(float(noise(400, 0, 16).mean())) < 0.05 and abs(float(noise(400, 0, 16).std()) - 1) < 0.05


def test_sample_reads_what_comes_from_outside():
    images = Clouds().sample("2", "7", wander="2.0")
    assert images.shape == (2, 3, 4, 5) and images.min() == 0 and images.max() == 1
    assert torch.equal(images, Clouds().sample(3, 7, wander=2)[:2])
    for wrong in ({"n": 0}, {"n": "many"}, {"n": 10**6}, {"seed": 1.5}, {"first": -1}, {"wander": 9}, {"other": 1}):
        with pytest.raises(InputError):
            Clouds().sample(**wrong)


def test_pictures_from_the_middle_are_those_of_the_whole():
    whole = Clouds().sample(5, 7)
    assert torch.equal(Clouds().sample(2, 7, first="3"), whole[3:])
    make = lambda draw, rows: draw()
    for first in range(4):
        assert torch.equal(generate(make, 5 - first, 7, 3, 2, first=first, batch=2), noise(5, 7, 3, 2)[first:])


def test_a_generator_of_pixels_has_no_svg_and_says_so():
    with pytest.raises(InputError, match="Clouds: draws pixels, and has no SVG"):
        Clouds().sample_svg(7)


def test_sample_notices_a_generator_that_breaks_its_promise():
    class Grey(Clouds):
        def make(self, n, seed, first, wander):
            return torch.zeros(n, 1, 4, 4)

    with pytest.raises(TypeError, match=r"Grey.make must return \[2,3,H,W\], not \[2, 1, 4, 4\]"):
        Grey().sample(2)


def test_a_value_from_outside_is_read_once_and_every_control_gets_one(monkeypatch):
    read, got = [], {}
    monkeypatch.setattr(Slider, "read", lambda self, name, value, real=Slider.read: read.append(name) or real(self, name, value))

    class Noted(Clouds):
        controls = Clouds.controls | {"depth": Slider(1.0, 0.0, 2.0, 0.1, "how deep")}

        def make(self, n, seed, first, **controls):
            got.update(controls, n=n, seed=seed, first=first)
            return torch.zeros(n, 3, 2, 2)

    Noted().sample("2", "7", wander="1.5")
    assert read == ["wander"] and got == {"n": 2, "seed": 7, "first": 0, "wander": 1.5, "depth": 1.0}


def test_a_trainings_schema_gives_its_controls():
    @validated
    def train(run, *, size: Pixels = 64, share: Share = 0.5, lr: LearningRate = 0.1, way: Annotated[str, OneOf(("a", "b"), "which")] = "a",
              loud: Annotated[bool, Flag("or not")] = True, name: Annotated[str, Words("its name")] = "x"):  # fmt: skip
        ...

    assert sampler.controls_of(train) == {
        "size": Slider(64, 16, 2048, 1, "the side of a picture"),
        "share": Slider(0.5, 0, 1, 0.01, "a share of the whole"),
        "way": Choice("a", ("a", "b"), "which"),
        "loud": Choice(True, (False, True), "or not"),
        "name": Text("x", "its name"),
    }  # a number without bounds has no slider


def test_the_module_names_what_a_generator_needs():
    with pytest.raises(NotImplementedError):
        sampler.Sampler().sample()
